//! Which sent frames still lack their answer (protocol §4, "Answered by"). The fleet's stop and the report both count by this.

use std::collections::HashMap;

use cip22_wire::{BatteryId, FrameType, Message, PublicKey, Sid};

/// What makes a sent frame one frame, however often it is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sent {
    /// HELLO; a later HELLO_ACK of any connection answers it, since it asks for nothing else.
    Hello,
    /// HEARTBEAT; so does its answer or a new session, since it only asks whether the connection lives.
    Heartbeat,
    /// CHALLENGE_REQ, by its ephemeral key.
    ChallengeReq(PublicKey),
    /// AUTH_RESP, AUTH_ACK or CHARGE_END, by the charge.
    OfCharge(FrameType, Sid),
    /// CHARGE_STATUS, by the charge, Wh and minutes.
    ChargeStatus(Sid, u32, u16),
    /// BATT_TELEM.
    BattTelem(BatteryId, u32),
    /// TELEM_CHECKPOINT, with its (epoch, n).
    Checkpoint(BatteryId, u32, (u32, u8)),
    /// TELEM_HEAD as a question.
    TelemHead(BatteryId),
    /// POLICY_ACK, by (epoch, n).
    PolicyAck(u32, u8),
    /// BATCH_SIG, by the epoch.
    BatchSig(u32),
    /// LEAF_REQ, by the epoch.
    LeafReq(u32),
}

/// The fields of a frame that tell which frame it is and what it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its type.
    pub frame_type: FrameType,
    /// `sid`.
    pub sid: Option<Sid>,
    /// `battery`.
    pub battery: Option<BatteryId>,
    /// `seq`.
    pub seq: Option<u32>,
    /// `epoch`.
    pub epoch: Option<u32>,
    /// `n`.
    pub n: Option<u8>,
    /// `dev_eph`.
    pub dev_eph: Option<PublicKey>,
    /// `wh`.
    pub wh: Option<u32>,
    /// `minutes`.
    pub minutes: Option<u16>,
    /// `checkpoint`.
    pub checkpoint: Option<u8>,
    /// `frame_type`: the type that an ACK or NACK is about.
    pub about: Option<u8>,
}

impl Facts {
    /// Of a frame of `frame_type`, without any field.
    #[must_use]
    pub const fn new(frame_type: FrameType) -> Self {
        Self {
            frame_type,
            sid: None,
            battery: None,
            seq: None,
            epoch: None,
            n: None,
            dev_eph: None,
            wh: None,
            minutes: None,
            checkpoint: None,
            about: None,
        }
    }
}

impl From<&Message<'_>> for Facts {
    fn from(message: &Message<'_>) -> Self {
        let facts = Self::new(message.frame_type());
        let of_charge = |sid: &Sid| Self { sid: Some(*sid), ..facts };
        match message {
            Message::Nack(m) => Self { about: Some(m.frame_type), ..facts },
            Message::Ack(m) => {
                Self { about: Some(m.frame_type), sid: m.sid, epoch: m.epoch, n: m.n, ..facts }
            }
            Message::ChallengeReq(m) => Self { dev_eph: Some(m.dev_eph), ..facts },
            Message::Challenge(m) => Self { dev_eph: Some(m.dev_eph), ..facts },
            Message::AuthResp(m) => of_charge(&m.sid),
            Message::AuthGrant(m) => of_charge(&m.sid),
            Message::AuthDeny(m) => of_charge(&m.sid),
            Message::AuthAck(m) => of_charge(&m.sid),
            Message::ChargeEnd(m) => of_charge(&m.sid),
            Message::ChargeStatus(m) => {
                Self { sid: Some(m.sid), wh: Some(m.wh), minutes: Some(m.minutes), ..facts }
            }
            Message::BattTelem(m) => Self { battery: Some(m.battery), seq: Some(m.seq), ..facts },
            Message::TelemCheckpoint(m) => Self {
                battery: Some(m.battery),
                seq: Some(m.seq),
                epoch: Some(m.epoch),
                n: Some(m.n),
                ..facts
            },
            Message::TelemAck(m) => {
                Self { battery: Some(m.battery), seq: Some(m.seq), checkpoint: Some(m.checkpoint), ..facts }
            }
            Message::TelemHead(m) => Self { battery: Some(m.battery), ..facts },
            Message::PolicyAck(m) => Self { epoch: Some(m.epoch), n: Some(m.n), ..facts },
            Message::BatchRoot(m) => Self { epoch: Some(m.epoch), ..facts },
            Message::BatchSig(m) => Self { epoch: Some(m.epoch), ..facts },
            Message::LeafReq(m) => Self { epoch: Some(m.epoch), ..facts },
            _ => facts,
        }
    }
}

impl Sent {
    fn of(frame: &Facts) -> Option<Self> {
        Some(match frame.frame_type {
            FrameType::Hello => Self::Hello,
            FrameType::Heartbeat => Self::Heartbeat,
            FrameType::ChallengeReq => Self::ChallengeReq(frame.dev_eph?),
            FrameType::AuthResp | FrameType::AuthAck | FrameType::ChargeEnd => {
                Self::OfCharge(frame.frame_type, frame.sid?)
            }
            FrameType::ChargeStatus => Self::ChargeStatus(frame.sid?, frame.wh?, frame.minutes?),
            FrameType::BattTelem => Self::BattTelem(frame.battery?, frame.seq?),
            FrameType::TelemCheckpoint => {
                Self::Checkpoint(frame.battery?, frame.seq?, (frame.epoch?, frame.n?))
            }
            FrameType::TelemHead => Self::TelemHead(frame.battery?),
            FrameType::PolicyAck => Self::PolicyAck(frame.epoch?, frame.n?),
            FrameType::BatchSig => Self::BatchSig(frame.epoch?),
            FrameType::LeafReq => Self::LeafReq(frame.epoch?),
            _ => return None,
        })
    }

    /// Type of the frame.
    #[must_use]
    pub fn frame_type(&self) -> FrameType {
        match self {
            Self::Hello => FrameType::Hello,
            Self::Heartbeat => FrameType::Heartbeat,
            Self::ChallengeReq(_) => FrameType::ChallengeReq,
            Self::OfCharge(frame_type, _) => *frame_type,
            Self::ChargeStatus(..) => FrameType::ChargeStatus,
            Self::BattTelem(..) => FrameType::BattTelem,
            Self::Checkpoint(..) => FrameType::TelemCheckpoint,
            Self::TelemHead(_) => FrameType::TelemHead,
            Self::PolicyAck(..) => FrameType::PolicyAck,
            Self::BatchSig(_) => FrameType::BatchSig,
            Self::LeafReq(_) => FrameType::LeafReq,
        }
    }

    /// Whether `answer` from the gateway answers this, other than by a NACK.
    fn answered_by(&self, answer: &Facts) -> bool {
        let acks = |frame_type: FrameType| {
            answer.frame_type == FrameType::Ack && answer.about == Some(frame_type.code())
        };
        match self {
            Self::Hello => answer.frame_type == FrameType::HelloAck,
            Self::Heartbeat => [FrameType::Heartbeat, FrameType::HelloAck].contains(&answer.frame_type),
            Self::ChallengeReq(dev_eph) => {
                answer.frame_type == FrameType::Challenge && answer.dev_eph == Some(*dev_eph)
            }
            Self::OfCharge(FrameType::AuthResp, sid) => {
                [FrameType::AuthGrant, FrameType::AuthDeny].contains(&answer.frame_type)
                    && answer.sid == Some(*sid)
            }
            Self::OfCharge(frame_type, sid) => acks(*frame_type) && answer.sid == Some(*sid),
            Self::ChargeStatus(sid, ..) => acks(FrameType::ChargeStatus) && answer.sid == Some(*sid),
            // A record is durable only with every one before it.
            Self::BattTelem(battery, seq) => {
                answer.frame_type == FrameType::TelemAck
                    && answer.checkpoint == Some(0)
                    && answer.battery == Some(*battery)
                    && answer.seq >= Some(*seq)
            }
            Self::Checkpoint(battery, seq, _) => {
                answer.frame_type == FrameType::TelemAck
                    && answer.checkpoint == Some(1)
                    && answer.battery == Some(*battery)
                    && answer.seq == Some(*seq)
            }
            Self::TelemHead(battery) => {
                answer.frame_type == FrameType::TelemHead && answer.battery == Some(*battery)
            }
            Self::BatchSig(epoch) => acks(FrameType::BatchSig) && answer.epoch == Some(*epoch),
            Self::LeafReq(epoch) => answer.frame_type == FrameType::BatchRoot && answer.epoch == Some(*epoch),
            Self::PolicyAck(epoch, n) => {
                acks(FrameType::PolicyAck) && answer.epoch == Some(*epoch) && answer.n == Some(*n)
            }
        }
    }
}

/// The frames a pile sent whose answers have not come.
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    /// With the order of sending.
    open: HashMap<Sent, u64>,
    sent: u64,
}

impl Exchange {
    /// A frame left.
    pub fn sent(&mut self, frame: &Facts) {
        if let Some(key) = Sent::of(frame) {
            self.sent += 1;
            let order = self.sent;
            self.open.entry(key).or_insert(order);
        }
    }

    /// A frame came. Returns the frame that it refuses, if it is a NACK.
    pub fn received(&mut self, frame: &Facts) -> Option<Sent> {
        if frame.frame_type == FrameType::Nack {
            let refused = self
                .open
                .iter()
                .filter(|(sent, _)| Some(sent.frame_type().code()) == frame.about)
                .min_by_key(|(_, order)| **order)
                .map(|(sent, _)| *sent)?;
            self.open.remove(&refused);
            return Some(refused);
        }
        self.open.retain(|sent, _| !sent.answered_by(frame));
        None
    }

    /// Frames neither answered nor refused.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.open.len()
    }

    /// Their types.
    pub fn unanswered_types(&self) -> impl Iterator<Item = FrameType> {
        self.open.keys().map(Sent::frame_type)
    }
}

#[cfg(test)]
mod tests {
    use cip22_wire::message::{
        Ack, BatchRoot, BatchSig, BattTelem, ChargeEnd, LeafReq, Nack, PolicyAck, TelemAck,
    };

    use super::*;

    fn record(seq: u32) -> Facts {
        let record = BattTelem {
            battery: [7; 32],
            segment: [0; 16],
            seq,
            time_ms: 1,
            voltage_mv: 1,
            current_ma: 1,
            soc_centi_percent: 1,
            temperature_centi_c: 1,
            energy_wh: 1,
            fp: [0; 32],
        };
        Facts::from(&Message::from(record))
    }

    fn facts<'a>(message: impl Into<Message<'a>>) -> Facts {
        Facts::from(&message.into())
    }

    #[test]
    fn a_frame_sent_twice_needs_one_answer() {
        let mut exchange = Exchange::default();
        let end = ChargeEnd { sid: [1; 16], wh: 1, minutes: 1, cause: 1, meter: None, signature: [0; 64] };
        let end = facts(end);
        exchange.sent(&end);
        exchange.sent(&end);
        assert_eq!(exchange.unanswered(), 1);
        let other = Ack { frame_type: 0x22, level: 2, sid: Some([2; 16]), epoch: None, n: None };
        exchange.received(&facts(other));
        assert_eq!(exchange.unanswered(), 1, "an answer to another charge");
        exchange.received(&facts(Ack { sid: Some([1; 16]), ..other }));
        assert_eq!(exchange.unanswered(), 0);
    }

    #[test]
    fn a_root_answers_the_question_for_its_leaf_and_an_ack_the_signature_of_its_epoch() {
        let mut exchange = Exchange::default();
        let (group, root) = (1, [3; 32]);
        exchange.sent(&facts(LeafReq { group, epoch: 9 }));
        exchange.sent(&facts(BatchSig { group, epoch: 9, root, signature: [0; 48] }));
        let (version, policy_hash, first_epoch) = (1, [0; 32], 0);
        let (prev_head, signature) = ([0; 32], [0; 64]);
        let policy = PolicyAck { epoch: 9, n: 1, prev_head, version, policy_hash, first_epoch, signature };
        exchange.sent(&facts(policy));
        let offer = BatchRoot { group, epoch: 8, root, leaf: 0, path: &[], n: 1, head: [0; 32] };
        exchange.received(&facts(offer));
        let ack = Ack { frame_type: 0x41, level: 1, sid: None, epoch: Some(8), n: None };
        exchange.received(&facts(ack));
        assert_eq!(exchange.unanswered(), 3, "answers of another epoch");
        exchange.received(&facts(BatchRoot { epoch: 9, ..offer }));
        exchange.received(&facts(Ack { epoch: Some(9), ..ack }));
        assert_eq!(exchange.unanswered_types().collect::<Vec<_>>(), [FrameType::PolicyAck]);
    }

    #[test]
    fn a_record_acknowledged_answers_those_before_it_and_a_nack_refuses_the_oldest() {
        let mut exchange = Exchange::default();
        for seq in 1..=4 {
            exchange.sent(&record(seq));
        }
        exchange.received(&facts(TelemAck { battery: [7; 32], seq: 2, level: 2, checkpoint: 0 }));
        assert_eq!(exchange.unanswered(), 2);
        let nack = Nack { frame_type: 0x30, code: 20, field: None, limit: Some(3), retry_ms: None };
        assert_eq!(exchange.received(&facts(nack)), Some(Sent::BattTelem([7; 32], 3)));
        assert_eq!(exchange.unanswered(), 1);
    }
}
