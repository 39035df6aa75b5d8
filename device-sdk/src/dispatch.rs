//! One input frame: which part of the session it belongs to, and what is answered if it is refused.

use cip22_wire::{
    FrameType, Level, Message, NackCode, frame,
    limits::{GATEWAY_PAYLOAD_BYTES_MIN, GROUP_INDICES_MAX},
    message::{Ack, Drain, HelloAck, Nack},
};

use crate::{
    event::Event,
    hal::{Clock, Entropy, Storage},
    keep_alive::KeepAlive,
    retransmit::Entry,
    session::{Link, Session},
};

/// Why a frame is refused; becomes a NACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    code: NackCode,
    field: Option<u8>,
    retry_ms: Option<u32>,
}

impl Refusal {
    pub(crate) const fn new(code: NackCode) -> Self {
        Self { code, field: None, retry_ms: None }
    }

    pub(crate) const fn field(code: NackCode, field: u8) -> Self {
        Self { code, field: Some(field), retry_ms: None }
    }

    pub(crate) const fn retry(code: NackCode) -> Self {
        Self { code, field: None, retry_ms: Some(RETRY_MS) }
    }
}

impl<S: Storage, C: Clock, E: Entropy> Session<'_, S, C, E> {
    /// Takes one frame whose CRC is right.
    pub(crate) fn dispatch(&mut self, frame_type: u8, payload: &[u8]) {
        let result = match Message::decode(frame_type, payload) {
            Ok(message) => self.take(&message),
            Err(_) if frame_type == FrameType::Nack.code() => Ok(()),
            Err(error) => return self.refuse(error.nack(frame_type)),
        };
        if let Err(refusal) = result {
            self.refuse(Nack {
                frame_type,
                code: refusal.code.code(),
                field: refusal.field,
                limit: None,
                retry_ms: refusal.retry_ms,
            });
        }
    }

    fn take(&mut self, message: &Message<'_>) -> Result<(), Refusal> {
        let up = matches!(self.link, Link::Up);
        match message {
            Message::HelloAck(message) => self.on_hello_ack(message),
            Message::Nack(message) => {
                self.on_nack(message);
                Ok(())
            }
            _ if !up => Err(Refusal::new(NackCode::Unexpected)),
            Message::Epoch(message) => self.on_epoch(message),
            Message::Heartbeat(message) => {
                self.gateway_time = Some((message.time_ms, self.clock.now_ms()));
                Ok(())
            }
            Message::Drain(message) => self.on_drain(message),
            Message::Ack(message) => self.on_ack(message),
            Message::Challenge(message) => self.on_challenge(message),
            Message::AuthGrant(message) => self.on_auth_grant(message),
            Message::AuthDeny(message) => self.on_auth_deny(message),
            Message::AuthFinal(message) => {
                self.on_auth_final(message);
                Ok(())
            }
            Message::AuthRevoke(message) => {
                self.on_auth_revoke(message);
                Ok(())
            }
            Message::CreditUpdate(message) => self.on_credit_update(message),
            Message::TelemAck(message) => self.on_telem_ack(message),
            Message::TelemHead(message) => self.on_telem_head(message),
            Message::SetPolicy(message) => self.on_set_policy(message),
            #[cfg(feature = "bls")]
            Message::BatchRoot(message) => self.on_batch_root(message),
            #[cfg(not(feature = "bls"))]
            Message::BatchRoot(_) => Err(Refusal::new(NackCode::Unsupported)),
            Message::Sealed(_) | Message::TrustUpdate(_) | Message::OtaOffer(_) | Message::OtaChunk(_) => {
                Err(Refusal::new(NackCode::Unsupported))
            }
            // Frames that only a pile sends.
            Message::Hello(_)
            | Message::ChallengeReq(_)
            | Message::AuthResp(_)
            | Message::AuthAck(_)
            | Message::ChargeStatus(_)
            | Message::ChargeEnd(_)
            | Message::BattTelem(_)
            | Message::TelemCheckpoint(_)
            | Message::BatchSig(_)
            | Message::LeafReq(_)
            | Message::PolicyAck(_)
            | Message::FaultClaim(_)
            | Message::OtaReq(_)
            | Message::OtaStatus(_) => Err(Refusal::new(NackCode::Unexpected)),
        }
    }

    fn on_hello_ack(&mut self, message: &HelloAck) -> Result<(), Refusal> {
        if !matches!(self.link, Link::Hello { sent: true, .. }) {
            return Err(Refusal::new(NackCode::Unexpected));
        }
        let wrong = [
            (message.version != frame::VERSION, 1),
            (message.max_payload < GATEWAY_PAYLOAD_BYTES_MIN, 3),
            (message.heartbeat_interval_ms == 0, 4),
            (message.index >= GROUP_INDICES_MAX, 6),
            (message.resumed > 1, 8),
        ];
        if let Some((_, field)) = wrong.into_iter().find(|(wrong, _)| *wrong) {
            self.close();
            let code = if field == 1 { NackCode::UnsupportedVersion } else { NackCode::FieldValue };
            return Err(Refusal::field(code, field));
        }
        let now_ms = self.clock.now_ms();
        let moved = (self.group, self.index) != (message.group, message.index);
        (self.group, self.index) = (message.group, message.index);
        self.link = Link::Up;
        self.keep_alive = KeepAlive::new(message.heartbeat_interval_ms, now_ms);
        self.gateway_time = Some((message.time_ms, now_ms));
        self.resume_token = Some(message.resume_token);
        self.reconnect.reset();
        self.events.push(Event::Connected {
            gateway: self.gateway,
            group: message.group,
            index: message.index,
            resumed: message.resumed == 1,
        });
        self.expire_ticket_elsewhere(moved);
        Ok(())
    }

    fn on_drain(&mut self, message: &Drain) -> Result<(), Refusal> {
        let mut random = [0; 4];
        // Without randomness all piles would come back at once, which is still better than not coming back.
        let _ = self.entropy.fill(&mut random);
        let span = message.window_ms.saturating_add(1);
        let within = u32::from_be_bytes(random).checked_rem(span).unwrap_or(0);
        let reconnect_ms = u64::from(message.reconnect_after_ms).saturating_add(u64::from(within));
        self.drain_at = Some(self.clock.now_ms().saturating_add(reconnect_ms));
        self.events.push(Event::Drain { reconnect_ms });
        Ok(())
    }

    fn on_ack(&mut self, message: &Ack) -> Result<(), Refusal> {
        let Ack { frame_type, level, sid, epoch, n } = *message;
        self.events.push(Event::Acked { frame_type, level, sid });
        let Some(frame_type) = FrameType::from_u8(frame_type) else {
            return Err(Refusal::field(NackCode::FieldValue, 1));
        };
        let by_ack = matches!(
            frame_type,
            FrameType::AuthAck
                | FrameType::ChargeStatus
                | FrameType::ChargeEnd
                | FrameType::PolicyAck
                | FrameType::BatchSig
        );
        // RECEIVED promises nothing, so such a frame is kept for the next connection; a status is outdated by then, and a root
        // whose signature is lost is offered again.
        let answered = level >= Level::Durable.code()
            || matches!(frame_type, FrameType::ChargeStatus | FrameType::BatchSig);
        if !by_ack || !answered {
            return Ok(());
        }
        let number = match frame_type {
            FrameType::BatchSig => epoch.map(u64::from),
            _ => epoch.zip(n).map(|(epoch, n)| crate::retransmit::statement_number(epoch, n)),
        };
        let matches = |entry: &Entry| {
            entry.is(frame_type)
                && entry.sent()
                && sid.is_none_or(|sid| entry.label.sid == sid || entry.label.sid == [0; 16])
                && number.is_none_or(|number| entry.label.number == number || entry.label.number == 0)
        };
        if let Some(label) = self.retransmit.remove(matches) {
            match frame_type {
                FrameType::PolicyAck => self.policy_acknowledged(label.number),
                FrameType::ChargeEnd => self.charge_settled(&label.sid),
                _ => {}
            }
        }
        Ok(())
    }

    /// A NACK names only a type; answers to one type come in the order of its frames, so the oldest one sent is meant.
    fn on_nack(&mut self, message: &Nack) {
        let Nack { frame_type, code, field, limit, retry_ms } = *message;
        self.events.push(Event::Nacked { frame_type, code, field, limit, retry_ms });
        let Some(frame_type) = FrameType::from_u8(frame_type) else {
            return;
        };
        match frame_type {
            FrameType::Hello => return self.close(),
            FrameType::BattTelem => return self.record_refused(message),
            _ => {}
        }
        let oldest = |entry: &Entry| entry.is(frame_type) && entry.sent();
        let Some(label) = self.retransmit.find(oldest).map(|(entry, _)| entry.label) else {
            return;
        };
        if let Some(retry_ms) = retry_ms {
            let due_ms = self.clock.now_ms().saturating_add(u64::from(retry_ms));
            return self.retransmit.again(due_ms, |entry| entry.label == label);
        }
        self.retransmit.remove(|entry| entry.label == label);
        match frame_type {
            FrameType::ChallengeReq | FrameType::AuthResp => self.authorization_refused(message),
            FrameType::ChargeEnd => self.charge_settled(&label.sid),
            FrameType::TelemCheckpoint => self.checkpoint_refused(message),
            FrameType::TelemHead => self.head_refused(),
            FrameType::PolicyAck => {
                self.policy_ack_refused(label.number, code == NackCode::StaleEpoch.code());
            }
            _ => {}
        }
    }
}

/// When the gateway may send a frame again that met a failing storage, ms.
const RETRY_MS: u32 = 1_000;
