//! One pile's session: frames in, answers out, and what others push in between. The same code serves every binding.

pub mod activity;
pub mod allowance;
pub mod outbox;
pub mod registry;
pub mod sealed;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use cip22_wire::message::{Heartbeat, Hello, HelloAck, Nack};
use cip22_wire::sealed::FEATURE_SEALED_BODIES;
use cip22_wire::{DecodeError, DeviceId, FrameType, Hash, Message, NackCode, limits};
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use metrics::counter;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tracing::Instrument;

use self::allowance::Verdict;
use self::outbox::Outbox;
use self::registry::{End, Entered};
use crate::clock::SharedClock;
use crate::config::SealedBodies;
use crate::directory::Place;
use crate::edge::link::{Binding, Link};
use crate::failpoint::failpoint;
use crate::gateway::{Gateway, Settings};
use crate::limits::{FRAMES_IN_FLIGHT_MAX, SESSION_END_TIMEOUT_MS};
use crate::pipeline::decode::{Inbox, type_name};
use crate::pipeline::{
    Handled, acknowledge, challenge, charge, cosign, frame_bytes, grant, refuse, refuse_with, revoke,
};
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
    let device_id = link.device_id;
    let entered = gateway.sessions.enter(device_id);
    let number = entered.number;
    let (peer, now_ms) = (link.peer.to_string(), gateway.clock.unix_ms());
    gateway.sessions.note(&device_id, |activity| activity.opened(link.binding.label(), peer, now_ms));
    async {
        tracing::info!("session opened");
        let why = Session::new(Arc::clone(&gateway), &link).run(link, entered).await;
        counter!("sessions_ended_total", "why" => why.label()).increment(1);
        gateway.sessions.note(&device_id, |activity| activity.ended_because = Some(why.label()));
        tracing::info!(why = why.label(), "session closed");
    }
    .instrument(span)
    .await;
    gateway.sessions.leave(device_id, number);
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// The gateway stops.
    Draining,
    /// A newer session of the device took over.
    Superseded,
    /// The pile does not read what it is sent.
    TooSlow,
    /// The device's key was rotated: its place in HELLO_ACK does not hold any more.
    Moved,
    /// The pile closed the connection.
    ClosedByPile,
    /// The connection broke.
    Lost,
    /// The stream is out of step.
    FrameError,
    /// HELLO could not be served.
    Refused,
    /// No byte for too long.
    Silent,
    /// No HELLO in time.
    NoHello,
    /// A frame was begun and not finished in time.
    SlowFrame,
    /// The journal failed.
    JournalFailed,
}

impl Why {
    fn label(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Superseded => "superseded",
            Self::TooSlow => "too_slow",
            Self::Moved => "moved",
            Self::ClosedByPile => "closed_by_pile",
            Self::Lost => "lost",
            Self::FrameError => "frame_error",
            Self::Refused => "refused",
            Self::Silent => "silent",
            Self::NoHello => "no_hello",
            Self::SlowFrame => "slow_frame",
            Self::JournalFailed => "journal_failed",
        }
    }

    /// Whether the pile is asked to come back.
    fn drains(self) -> bool {
        matches!(self, Self::Draining | Self::Moved | Self::TooSlow)
    }

    /// Whether there is no one, or no right, to tell anything.
    fn is_mute(self) -> bool {
        matches!(self, Self::Lost | Self::JournalFailed)
    }
}

impl From<End> for Why {
    fn from(end: End) -> Self {
        match end {
            End::Superseded => Self::Superseded,
            End::TooSlow => Self::TooSlow,
        }
    }
}

struct Session {
    gateway: Arc<Gateway>,
    device_id: DeviceId,
    binding: Binding,
    greeted: Option<Greeted>,
    inbox: Inbox,
    /// Answers in the order of their frames: a refusal must not overtake the answer to an earlier frame of its type.
    in_flight: InFlight,
    outbox: Outbox,
    frames_handled: u64,
    /// A BATCH_ROOT is on its way out.
    root_offered: bool,
}

/// What HELLO told, and what was sent since.
struct Greeted {
    place: Place,
    max_payload: u16,
    policy_version: u32,
    /// Rollbacks of policies that were known when `policy_version` was noted.
    policy_rollbacks: u64,
    epoch: u32,
    /// Roots that were offered in this session, of those still on offer.
    roots: Vec<Hash>,
    /// Both sides agreed on sealed bodies.
    seals: bool,
}

type InFlight = FuturesOrdered<futures_util::future::BoxFuture<'static, Option<Vec<Vec<u8>>>>>;
type Reader = dyn AsyncRead + Send + Unpin;
type Writer = dyn AsyncWrite + Send + Unpin;

impl Session {
    fn new(gateway: Arc<Gateway>, link: &Link) -> Self {
        let inbox = Inbox::new(gateway.settings.max_payload);
        let outbox = Outbox::new(gateway.settings.send_queue_bytes_max);
        let (device_id, binding) = (link.device_id, link.binding);
        let in_flight = InFlight::new();
        Self {
            gateway,
            device_id,
            binding,
            greeted: None,
            inbox,
            in_flight,
            outbox,
            frames_handled: 0,
            root_offered: false,
        }
    }

    /// Runs until there is a reason to end, which it returns.
    async fn run(mut self, link: Link, mut entered: Entered) -> Why {
        let Link { mut reader, mut writer, .. } = link;
        let mut announced = self.gateway.announced();
        let mut offers = self.gateway.cosign.offers();
        let mut view = self.gateway.view.clone();
        let mut buffer = vec![0; READ_BYTES];
        let clock = Arc::clone(&self.gateway.clock);
        let mut timers = Timers::new(&clock, &self.gateway.settings);
        let (stop, failed) = (self.gateway.stop.clone(), self.gateway.failed.clone());
        let why = loop {
            let wait = match self.handle_frames() {
                Ok(wait) => wait,
                Err(why) => break why,
            };
            timers.update(&self, wait);
            let reads = wait.is_none() && self.has_room();
            tokio::select! {
                biased;
                () = failed.cancelled() => break Why::JournalFailed,
                () = stop.cancelled() => break Why::Draining,
                Ok(()) = entered.end.changed() => {
                    let end = *entered.end.borrow_and_update();
                    break end.map_or(Why::Superseded, Why::from);
                }
                written = self.outbox.write_some(&mut *writer), if !self.outbox.is_idle() => match written {
                    Ok(()) => {
                        timers.written = None;
                        if self.outbox.is_idle() && std::mem::take(&mut self.root_offered) {
                            failpoint("root::after_offer");
                        }
                    }
                    Err(_) => break Why::Lost,
                },
                Some(done) = self.in_flight.next(), if !self.in_flight.is_empty() => match done {
                    Some(frames) => self.outbox.extend(frames),
                    None => break Why::JournalFailed,
                },
                Some(frame) = entered.pushed.recv(), if self.outbox.has_room() => self.outbox.push(frame),
                Ok(()) = announced.changed() => {
                    let frames = self.epoch_frames();
                    self.outbox.extend(frames);
                    let frames = self.root_frames();
                    self.outbox.extend(frames);
                }
                Ok(()) = offers.changed() => {
                    let frames = self.root_frames();
                    self.outbox.extend(frames);
                }
                Ok(()) = view.changed() => {
                    if self.has_moved() {
                        break Why::Moved;
                    }
                    let frames = self.policy_frames();
                    self.outbox.extend(frames);
                }
                read = reader.read(&mut buffer), if reads => match read {
                    Ok(0) => break Why::ClosedByPile,
                    Err(_) => break Why::Lost,
                    Ok(count) => {
                        timers.heard();
                        self.inbox.extend(buffer.get(..count).unwrap_or_default());
                    }
                },
                () = due(&mut timers.pause) => timers.pause = None,
                () = due(&mut timers.written) => break Why::TooSlow,
                () = due(&mut timers.frame) => break Why::SlowFrame,
                () = due(&mut timers.hello) => break Why::NoHello,
                () = due(&mut timers.silence) => break Why::Silent,
            }
        };
        if !why.is_mute() {
            tokio::select! {
                () = self.finish(&mut *reader, &mut *writer, why, &mut entered) => {}
                () = failed.cancelled() => return Why::JournalFailed,
                () = clock.sleep(Duration::from_millis(SESSION_END_TIMEOUT_MS)) => {}
            }
        }
        why
    }

    /// Tells the pile what is on its way, and DRAIN if it is to come back. Bounded in time by the caller.
    async fn finish(&mut self, reader: &mut Reader, writer: &mut Writer, why: Why, entered: &mut Entered) {
        while let Some(done) = self.in_flight.next().await {
            // Nothing is said any more once the journal has failed.
            let Some(frames) = done else { return };
            self.outbox.extend(frames);
        }
        while let Ok(frame) = entered.pushed.try_recv() {
            self.outbox.push(frame);
        }
        if self.write_all(writer).await.is_err() {
            return;
        }
        if why.drains() {
            // After everything else, whatever its class.
            self.outbox.push(self.gateway.drain_frame());
            if self.write_all(writer).await.is_err() {
                return;
            }
        }
        if writer.shutdown().await.is_err() {
            return;
        }
        // Closed with bytes unread, the connection would be reset, and the last frames could be lost on their way.
        let mut buffer = [0; 1_024];
        while matches!(reader.read(&mut buffer).await, Ok(1..)) {}
    }

    async fn write_all(&mut self, writer: &mut Writer) -> std::io::Result<()> {
        while !self.outbox.is_idle() {
            self.outbox.write_some(writer).await?;
        }
        Ok(())
    }

    /// Whether another frame may be handled. If not, nothing is read either, and the transport holds the pile back.
    fn has_room(&self) -> bool {
        self.in_flight.len() < FRAMES_IN_FLIGHT_MAX && self.outbox.has_room()
    }

    /// Handles the whole frames of the inbox as long as there is room. Returns the time, ms, for which the rest is left unread
    /// because the pile sends too much.
    fn handle_frames(&mut self) -> Result<Option<u32>, Why> {
        while self.has_room() && self.inbox.has_frame() {
            let now_ms = self.gateway.clock.monotonic_ms();
            let verdict = self.gateway.sessions.judge_frame(&self.device_id, now_ms);
            if let Verdict::Wait(wait_ms) = verdict {
                counter!("session_pauses_total").increment(1);
                return Ok(Some(wait_ms));
            }
            let (frame_type, payload) = match self.inbox.take() {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ok(None),
                Err(error) => {
                    tracing::info!(%error, "stream out of step");
                    self.answer(Handled::now(refuse_with(error.nack(0))));
                    return Err(Why::FrameError);
                }
            };
            self.frames_handled += 1;
            counter!("frames_received_total", "type" => type_name(frame_type)).increment(1);
            let unix_ms = self.gateway.clock.unix_ms();
            self.gateway.sessions.note(&self.device_id, |activity| activity.received(frame_type, unix_ms));
            if frame_type == FrameType::ChallengeReq.code() {
                // The ticket is of the newest epoch, which this session may not have told yet.
                let frames = self.epoch_frames();
                self.outbox.extend(frames);
            }
            let handled = match verdict {
                Verdict::Refuse(retry_ms) => {
                    Handled::refused_until(frame_type, NackCode::RateLimited, retry_ms)
                }
                _ => self.handle(frame_type, &payload),
            };
            let close = handled.close;
            self.answer(handled);
            if close {
                return Err(Why::Refused);
            }
        }
        Ok(None)
    }

    /// Queues the answer to a frame behind those to the frames before it.
    fn answer(&mut self, handled: Handled) {
        let Handled { replies, durable, .. } = handled;
        self.gateway.sessions.note(&self.device_id, |activity| activity.answered(&replies));
        match durable {
            None if self.in_flight.is_empty() => self.outbox.extend(replies),
            None => self.in_flight.push_back(Box::pin(std::future::ready(Some(replies)))),
            Some(durable) => {
                self.in_flight.push_back(Box::pin(async move {
                    durable.await.ok()?;
                    failpoint("session::before_reply");
                    Some(replies)
                }));
            }
        }
    }

    /// Whether the device's key was rotated since HELLO_ACK told its place.
    fn has_moved(&self) -> bool {
        let Some(greeted) = &self.greeted else { return false };
        let directory = self.gateway.directory.load();
        let newest = directory.devices.get(&self.device_id).and_then(|device| device.places.last());
        newest.is_some_and(|place| !place.is_at(&greeted.place))
    }

    fn handle(&mut self, frame_type: u8, payload: &[u8]) -> Handled {
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
            Message::AuthResp(response) => {
                let seals = self.greeted.as_ref().is_some_and(|greeted| greeted.seals);
                grant::handle(gateway, device, &response, payload, seals)
            }
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
            Message::BatchSig(signature) => cosign::batch_sig(gateway, device, &signature),
            Message::LeafReq(request) => cosign::leaf_req(gateway, device, &request),
            Message::Sealed(frame) => match sealed::open(gateway, device, &frame) {
                // Never SEALED again: only what a pile may seal comes out.
                Ok((inside, payload)) => self.handle(inside, &payload),
                Err(handled) => handled,
            },
            Message::FaultClaim(_) | Message::OtaReq(_) | Message::OtaStatus(_) => {
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
            // A charge under way is still ended in good order.
            Some(device) if device.revoked && !gateway.state().has_open_charge(&self.device_id) => {
                return Handled::refused(frame_type, NackCode::RevokedDevice).closing();
            }
            Some(device) => device.places.last().copied(),
        };
        let Some(place) = place else {
            return Handled::refused(frame_type, NackCode::UnknownDevice).closing();
        };
        let resumed = hello
            .resume_token
            .is_some_and(|token| gateway.sessions.redeem_resume_token(&self.device_id, &token));
        let seals = hello.features & FEATURE_SEALED_BODIES != 0
            && gateway.settings.sealed_bodies != SealedBodies::Off;
        let ack = frame_bytes(&HelloAck {
            version: VERSION,
            features: if seals { FEATURE_SEALED_BODIES } else { 0 },
            max_payload: gateway.settings.max_payload,
            heartbeat_interval_ms: gateway.settings.heartbeat_interval_ms,
            group: place.group,
            index: place.index,
            time_ms: gateway.clock.unix_ms(),
            resumed: u8::from(resumed),
            resume_token: gateway.sessions.issue_resume_token(self.device_id),
        });
        tracing::info!(
            group = place.group,
            index = place.index,
            resumed,
            seals,
            binding = self.binding.label(),
            "hello"
        );
        let acked = gateway.state().policy_acks.get(&self.device_id).copied().unwrap_or(0);
        self.greeted = Some(Greeted {
            place,
            max_payload: hello.max_payload,
            // A policy that is held and was never acknowledged is sent again, which the pile acknowledges again.
            policy_version: hello.policy_version.min(acked.max(hello.policy_version.saturating_sub(1))),
            policy_rollbacks: gateway.view.borrow().policy_rollbacks,
            // EPOCH follows every HELLO_ACK, whatever the pile remembers: it signs nothing before.
            epoch: 0,
            roots: Vec::new(),
            seals,
        });
        let mut replies = vec![ack];
        replies.extend(self.policy_frames());
        replies.extend(self.epoch_frames());
        replies.extend(self.root_frames());
        self.gateway.sessions.greeted(&self.device_id);
        tokio::spawn(news(Arc::clone(&self.gateway), self.device_id));
        Handled { replies, durable: None, close: false }
    }

    /// A pile says that it could not use what we sent.
    fn nacked(&mut self, nack: &Nack) -> Handled {
        let code = NackCode::from_u16(nack.code).map_or("UNKNOWN", NackCode::name);
        tracing::info!(frame = type_name(nack.frame_type), code, field = nack.field, "refused by the pile");
        counter!("nacks_received_total", "code" => code).increment(1);
        self.gateway
            .sessions
            .note(&self.device_id, |activity| *activity.nacks_received.entry(code).or_default() += 1);
        let mut replies = Vec::new();
        if nack.frame_type == FrameType::BatchRoot.code() {
            cosign::refused(&self.gateway, &self.device_id);
        }
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
        let announced = announced.filter(|announced| !announced.withdrawn);
        let (Some(announced), Some(greeted)) = (announced, &mut self.greeted) else { return Vec::new() };
        // A key that does not count in this epoch, at the place that HELLO_ACK told, has nothing to sign in it.
        let place = self.gateway.place_at(&self.device_id, announced.epoch.epoch);
        let active = place.is_ok_and(|place| place.is_at(&greeted.place));
        if announced.epoch.epoch <= greeted.epoch || !active {
            return Vec::new();
        }
        greeted.epoch = announced.epoch.epoch;
        vec![self.gateway.epoch_frame(greeted.place.group, &announced.epoch)]
    }

    /// BATCH_ROOT for each root on offer that has this pile's leaf, once the pile has the epoch after it: before, it may still state
    /// something in it.
    fn root_frames(&mut self) -> Vec<Vec<u8>> {
        let Some(greeted) = &mut self.greeted else { return Vec::new() };
        let offers = self.gateway.cosign.offers();
        let offers = offers.borrow();
        greeted.roots.retain(|root| offers.iter().any(|offer| offer.record.root == *root));
        let mut frames = Vec::new();
        for offer in offers.iter() {
            let record = &offer.record;
            let ours = offer.seat(&self.device_id) == Some((greeted.place.group, greeted.place.index));
            if !ours || record.epoch >= greeted.epoch || greeted.roots.contains(&record.root) {
                continue;
            }
            greeted.roots.push(record.root);
            frames.extend(offer.frame(&self.device_id));
        }
        self.root_offered = self.root_offered || !frames.is_empty();
        frames
    }

    /// SET_POLICY for what the pile lacks, in chunks that fit it.
    fn policy_frames(&mut self) -> Vec<Vec<u8>> {
        let Some(greeted) = &mut self.greeted else { return Vec::new() };
        let rollbacks = self.gateway.view.borrow().policy_rollbacks;
        if std::mem::replace(&mut greeted.policy_rollbacks, rollbacks) != rollbacks {
            // What was sent may be in force nowhere: everything that is comes again.
            greeted.policy_version = 0;
        }
        let (frames, newest) =
            policy_push::frames_above(&self.gateway, greeted.policy_version, greeted.max_payload);
        greeted.policy_version = newest;
        if newest > 0 {
            self.gateway.sessions.note(&self.device_id, |activity| activity.policy_told = Some(newest));
        }
        frames
    }
}

/// Tells a pile that has just connected what became of its grants, once that is durable.
async fn news(gateway: Arc<Gateway>, device_id: DeviceId) {
    let mut frames = revoke::frames_for(&gateway, &device_id);
    frames.extend(acknowledge::finals_for(&gateway, &device_id));
    // Not earlier: the state runs ahead of the disk, and what it comes to after the barrier is not behind it.
    if gateway.barrier().await.is_err() {
        return;
    }
    for frame in frames {
        gateway.push(&device_id, frame);
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

/// What ends a session that does not do its part, and what keeps a flood unread.
struct Timers<'a> {
    clock: &'a SharedClock,
    idle: Duration,
    frame_timeout: Duration,
    /// No byte came.
    silence: Option<Timer<'a>>,
    /// HELLO is due.
    hello: Option<Timer<'a>>,
    /// The rest of a frame is due.
    frame: Option<Timer<'a>>,
    /// Frames handled when `frame` was started.
    frames_handled: u64,
    /// The pile takes nothing of what waits for it.
    written: Option<Timer<'a>>,
    /// Frames are left unread until then.
    pause: Option<Timer<'a>>,
}

type Timer<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

impl<'a> Timers<'a> {
    fn new(clock: &'a SharedClock, settings: &Settings) -> Self {
        let idle = Duration::from_millis(settings.idle_timeout_ms);
        Self {
            clock,
            idle,
            frame_timeout: Duration::from_millis(settings.frame_timeout_ms),
            silence: Some(clock.sleep(idle)),
            hello: Some(clock.sleep(Duration::from_millis(settings.hello_timeout_ms))),
            frame: None,
            frames_handled: 0,
            written: None,
            pause: None,
        }
    }

    fn heard(&mut self) {
        self.silence = Some(self.clock.sleep(self.idle));
    }

    /// Starts and stops them by what the session waits for.
    fn update(&mut self, session: &Session, wait_ms: Option<u32>) {
        let clock = self.clock;
        let set = |timer: &mut Option<Timer<'a>>, wanted: bool, after: Duration| match (wanted, &timer) {
            (true, None) => *timer = Some(clock.sleep(after)),
            (false, Some(_)) => *timer = None,
            _ => {}
        };
        if session.greeted.is_some() {
            self.hello = None;
        }
        if session.frames_handled != self.frames_handled {
            self.frames_handled = session.frames_handled;
            self.frame = None;
        }
        // While the session does not read, the rest of a frame cannot come.
        let reads = wait_ms.is_none() && session.has_room();
        set(&mut self.frame, reads && session.inbox.is_in_frame(), self.frame_timeout);
        set(&mut self.written, !session.outbox.is_idle(), self.idle);
        set(&mut self.pause, wait_ms.is_some(), Duration::from_millis(wait_ms.map_or(0, u64::from)));
        if !reads {
            self.heard();
        }
    }
}

/// Resolves when the timer does; never without one.
async fn due(timer: &mut Option<Timer<'_>>) {
    match timer {
        Some(timer) => timer.await,
        None => std::future::pending().await,
    }
}
