//! One pile's session: frames in, answers out, and what others push in between. The same code serves every binding.

use std::sync::Arc;
use std::time::Duration;

use cip22_wire::message::{Heartbeat, Hello, HelloAck, Nack};
use cip22_wire::{DecodeError, DeviceId, FrameType, Message, NackCode, limits};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use metrics::counter;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tracing::Instrument;

use crate::edge::link::{Binding, Link};
use crate::gateway::{Gateway, Push};
use crate::limits::FRAMES_IN_FLIGHT_MAX;
use crate::pipeline::decode::{Inbox, type_name};
use crate::pipeline::{Handled, challenge, charge, frame_bytes, grant, refuse, refuse_with};
use crate::policy::{ack as policy_ack, push as policy_push};
use crate::telemetry;

const VERSION: u8 = 0x20;
const READ_BYTES: usize = 8 * 1024;

/// Serves a pile until the connection ends, it falls silent, or the gateway stops.
pub async fn serve(gateway: Arc<Gateway>, link: Link) {
    let span = tracing::info_span!(
        "session",
        device = %hex::encode(link.device_id),
        binding = link.binding.label(),
        peer = %link.peer
    );
    let (push, pushed) = mpsc::channel(gateway.settings.send_queue_frames_max);
    let device_id = link.device_id;
    let number = gateway.enter(device_id, push);
    async {
        tracing::info!("session opened");
        let why = Session::new(Arc::clone(&gateway), &link).run(link, pushed).await;
        tracing::info!(why, "session closed");
    }
    .instrument(span)
    .await;
    gateway.leave(&device_id, number);
}

struct Session {
    gateway: Arc<Gateway>,
    device_id: DeviceId,
    binding: Binding,
    greeted: Option<Greeted>,
    allowance: Allowance,
}

/// What HELLO told, and what was sent since.
struct Greeted {
    group: u32,
    max_payload: u16,
    policy_version: u32,
    epoch: u32,
}

type InFlight = FuturesUnordered<futures_util::future::BoxFuture<'static, Option<Vec<Vec<u8>>>>>;

impl Session {
    fn new(gateway: Arc<Gateway>, link: &Link) -> Self {
        let allowance = Allowance {
            tokens: f64::from(gateway.settings.frame_burst_max),
            burst: f64::from(gateway.settings.frame_burst_max),
            per_second: f64::from(gateway.settings.frames_per_second_max),
            refilled_at_ms: gateway.clock.monotonic_ms(),
        };
        Self { gateway, device_id: link.device_id, binding: link.binding, greeted: None, allowance }
    }

    /// Runs until there is a reason to end, which it returns.
    async fn run(mut self, link: Link, mut pushed: mpsc::Receiver<Push>) -> &'static str {
        let Link { mut reader, mut writer, .. } = link;
        let mut inbox = Inbox::new(self.gateway.settings.max_payload);
        let mut announced = self.gateway.announced();
        let mut view = self.gateway.view.clone();
        let mut in_flight = InFlight::new();
        let mut buffer = vec![0; READ_BYTES];
        let idle = Duration::from_millis(self.gateway.settings.idle_timeout_ms);
        let clock = Arc::clone(&self.gateway.clock);
        let mut silence = clock.sleep(idle);
        let (stop, failed) = (self.gateway.stop.clone(), self.gateway.failed.clone());
        loop {
            let (mut replies, mut why) = (Vec::new(), None);
            tokio::select! {
                biased;
                () = failed.cancelled() => return "journal failed",
                () = stop.cancelled() => {
                    while let Some(done) = in_flight.next().await {
                        replies.extend(done.into_iter().flatten());
                    }
                    replies.push(self.gateway.drain_frame());
                    why = Some("draining");
                }
                Some(done) = in_flight.next(), if !in_flight.is_empty() => match done {
                    Some(frames) => replies = frames,
                    None => return "journal failed",
                },
                push = pushed.recv() => match push {
                    Some(Push::Frame(bytes)) => replies.push(bytes),
                    Some(Push::Superseded) | None => why = Some("superseded"),
                },
                Ok(()) = announced.changed() => replies = self.epoch_frames(),
                Ok(()) = view.changed() => replies = self.policy_frames(),
                read = reader.read(&mut buffer), if in_flight.len() < FRAMES_IN_FLIGHT_MAX => match read {
                    Ok(0) => why = Some("closed by the pile"),
                    Err(_) => why = Some("connection lost"),
                    Ok(count) => {
                        silence = clock.sleep(idle);
                        inbox.extend(buffer.get(..count).unwrap_or_default());
                        why = self.drain_inbox(&mut inbox, &mut replies, &mut in_flight);
                    }
                },
                () = &mut silence => why = Some("silent"),
            }
            if write_all(&mut writer, &replies).await.is_err() {
                return "connection lost";
            }
            if let Some(why) = why {
                let _ = writer.shutdown().await;
                return why;
            }
        }
    }

    /// Handles every whole frame of the inbox. Answers that wait for the disk go to `in_flight`.
    fn drain_inbox(
        &mut self,
        inbox: &mut Inbox,
        replies: &mut Vec<Vec<u8>>,
        in_flight: &mut InFlight,
    ) -> Option<&'static str> {
        loop {
            let (frame_type, payload) = match inbox.take() {
                Ok(Some(frame)) => frame,
                Ok(None) => return None,
                Err(error) => {
                    tracing::info!(%error, "stream out of step");
                    replies.push(refuse_with(error.nack(0)));
                    return Some("frame error");
                }
            };
            counter!("frames_received_total", "type" => type_name(frame_type)).increment(1);
            if frame_type == FrameType::ChallengeReq.code() {
                // The ticket is of the newest epoch, which this session may not have told yet.
                replies.extend(self.epoch_frames());
            }
            let handled = self.handle(frame_type, &payload);
            let close = handled.close;
            match handled.durable {
                None => replies.extend(handled.replies),
                Some(durable) => {
                    let frames = handled.replies;
                    in_flight.push(Box::pin(async move { durable.await.ok().map(|_| frames) }));
                }
            }
            if close {
                return Some("refused");
            }
        }
    }

    fn handle(&mut self, frame_type: u8, payload: &[u8]) -> Handled {
        if let Some(retry_ms) = self.allowance.take(self.gateway.clock.monotonic_ms()) {
            return Handled::refused_until(frame_type, NackCode::RateLimited, retry_ms);
        }
        let message = match Message::decode(frame_type, payload) {
            Ok(message) => message,
            Err(error) => return refuse_undecoded(frame_type, &error),
        };
        let (gateway, device) = (&*self.gateway, &self.device_id);
        if self.greeted.is_none() && !matches!(message, Message::Hello(_) | Message::Nack(_)) {
            return Handled::refused(frame_type, NackCode::Unexpected);
        }
        match message {
            Message::Hello(hello) => self.hello(&hello),
            Message::Heartbeat(beat) => Handled::now(frame_bytes(&Heartbeat {
                counter: beat.counter,
                time_ms: gateway.clock.unix_ms(),
            })),
            Message::ChallengeReq(request) => challenge::handle(gateway, device, &request),
            Message::AuthResp(response) => grant::handle(gateway, device, &response, payload),
            Message::AuthAck(ack) => charge::auth_ack(gateway, device, &ack),
            Message::ChargeStatus(status) => charge::status(gateway, device, &status),
            Message::ChargeEnd(end) => charge::end(gateway, device, &end),
            Message::BattTelem(record) => telemetry::record(gateway, device, &record, payload),
            Message::TelemCheckpoint(checkpoint) => telemetry::checkpoint(gateway, device, &checkpoint),
            Message::TelemHead(question) => telemetry::head(gateway, &question),
            Message::PolicyAck(ack) => {
                if let Some(greeted) = &mut self.greeted {
                    greeted.policy_version = greeted.policy_version.max(ack.version);
                }
                policy_ack::handle(gateway, device, &ack)
            }
            Message::Nack(nack) => self.nacked(&nack),
            Message::BatchSig(_) | Message::FaultClaim(_) | Message::OtaReq(_) | Message::OtaStatus(_) => {
                Handled::refused(frame_type, NackCode::Unsupported)
            }
            _ => Handled::refused(frame_type, NackCode::Unexpected),
        }
    }

    fn hello(&mut self, hello: &Hello<'_>) -> Handled {
        let frame_type = FrameType::Hello.code();
        let gateway = &self.gateway;
        if hello.device_id != self.device_id {
            return Handled::refused(frame_type, NackCode::DeviceMismatch).closing();
        }
        if !hello.versions.contains(&VERSION) {
            return Handled::refused_field(frame_type, NackCode::UnsupportedVersion, 1, None).closing();
        }
        if hello.max_payload < limits::PILE_PAYLOAD_BYTES_MIN {
            let limit = Some(u32::from(limits::PILE_PAYLOAD_BYTES_MIN));
            return Handled::refused_field(frame_type, NackCode::FieldValue, 4, limit).closing();
        }
        let directory = gateway.directory.load();
        let place = match directory.devices.get(&self.device_id) {
            None => return Handled::refused(frame_type, NackCode::UnknownDevice).closing(),
            Some(device) if device.revoked => {
                return Handled::refused(frame_type, NackCode::RevokedDevice).closing();
            }
            Some(device) => device.places.last().copied(),
        };
        let Some(place) = place else {
            return Handled::refused(frame_type, NackCode::UnknownDevice).closing();
        };
        let resumed =
            hello.resume_token.is_some_and(|token| gateway.redeem_resume_token(&self.device_id, &token));
        let ack = frame_bytes(&HelloAck {
            version: VERSION,
            features: 0,
            max_payload: gateway.settings.max_payload,
            heartbeat_interval_ms: gateway.settings.heartbeat_interval_ms,
            group: place.group,
            index: place.index,
            time_ms: gateway.clock.unix_ms(),
            resumed: u8::from(resumed),
            resume_token: gateway.issue_resume_token(self.device_id),
        });
        tracing::info!(
            group = place.group,
            index = place.index,
            resumed,
            binding = self.binding.label(),
            "hello"
        );
        let acked = gateway.state().policy_acks.get(&self.device_id).copied().unwrap_or(0);
        self.greeted = Some(Greeted {
            group: place.group,
            max_payload: hello.max_payload,
            // A policy that is held and was never acknowledged is sent again, which the pile acknowledges again.
            policy_version: hello.policy_version.min(acked.max(hello.policy_version.saturating_sub(1))),
            // EPOCH follows every HELLO_ACK, whatever the pile remembers: it signs nothing before.
            epoch: 0,
        });
        let mut replies = vec![ack];
        replies.extend(self.policy_frames());
        replies.extend(self.epoch_frames());
        replies.extend(policy_push::finals_for(&self.gateway, &self.device_id));
        Handled { replies, durable: None, close: false }
    }

    /// A pile says that it could not use what we sent.
    fn nacked(&mut self, nack: &Nack) -> Handled {
        let code = NackCode::from_u16(nack.code).map_or("UNKNOWN", NackCode::name);
        tracing::info!(frame = type_name(nack.frame_type), code, field = nack.field, "refused by the pile");
        counter!("nacks_received_total", "code" => code).increment(1);
        let mut replies = Vec::new();
        if nack.frame_type == FrameType::Epoch.code() && nack.code == NackCode::StalePolicy.code() {
            if let Some(greeted) = &mut self.greeted {
                greeted.policy_version = 0;
                greeted.epoch = 0;
            }
            replies.extend(self.policy_frames());
            replies.extend(self.epoch_frames());
        }
        Handled { replies, durable: None, close: false }
    }

    /// The EPOCH frame, if the pile does not have it yet and its key counts in it.
    fn epoch_frames(&mut self) -> Vec<Vec<u8>> {
        let announced = *self.gateway.announced().borrow();
        let (Some(announced), Some(greeted)) = (announced, &mut self.greeted) else { return Vec::new() };
        // A key that is not active yet has nothing to sign in this epoch.
        let active = self.gateway.place_at(&self.device_id, announced.epoch.epoch).is_ok();
        if announced.epoch.epoch <= greeted.epoch || !active {
            return Vec::new();
        }
        greeted.epoch = announced.epoch.epoch;
        vec![self.gateway.epoch_frame(greeted.group, &announced.epoch)]
    }

    /// SET_POLICY for what the pile lacks, in chunks that fit it.
    fn policy_frames(&mut self) -> Vec<Vec<u8>> {
        let Some(greeted) = &mut self.greeted else { return Vec::new() };
        let (frames, newest) =
            policy_push::frames_above(&self.gateway, greeted.policy_version, greeted.max_payload);
        greeted.policy_version = newest;
        frames
    }
}

/// A NACK for a payload that does not decode. A wrong device id inside is not looked at: nothing of it is trusted.
fn refuse_undecoded(frame_type: u8, error: &DecodeError) -> Handled {
    tracing::info!(frame = type_name(frame_type), %error, "frame refused");
    if matches!(error, DecodeError::UnknownType) {
        return Handled::now(refuse(frame_type, NackCode::UnknownType));
    }
    Handled::now(refuse_with(error.nack(frame_type)))
}

async fn write_all(writer: &mut (dyn AsyncWrite + Send + Unpin), frames: &[Vec<u8>]) -> std::io::Result<()> {
    if frames.is_empty() {
        return Ok(());
    }
    for frame in frames {
        counter!("frames_sent_total", "type" => type_name(frame.get(6).copied().unwrap_or(0))).increment(1);
    }
    writer.write_all(&frames.concat()).await?;
    writer.flush().await
}

/// A token bucket over frames.
struct Allowance {
    tokens: f64,
    burst: f64,
    per_second: f64,
    refilled_at_ms: u64,
}

impl Allowance {
    /// Takes one token, or says after how many ms there will be one.
    fn take(&mut self, now_ms: u64) -> Option<u32> {
        let elapsed_ms = now_ms.saturating_sub(self.refilled_at_ms);
        self.refilled_at_ms = now_ms;
        self.tokens = (self.tokens + elapsed_ms as f64 * self.per_second / 1_000.0).min(self.burst);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return None;
        }
        Some(((1.0 - self.tokens) * 1_000.0 / self.per_second).ceil() as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_allowance_refuses_a_flood_and_names_the_wait() {
        let mut allowance = Allowance { tokens: 2.0, burst: 2.0, per_second: 10.0, refilled_at_ms: 0 };
        assert_eq!(allowance.take(0), None);
        assert_eq!(allowance.take(0), None);
        assert_eq!(allowance.take(0), Some(100));
        assert_eq!(allowance.take(100), None);
        assert_eq!(allowance.take(100), Some(100));
    }
}
