//! What is to be sent to a pile: three classes, the more urgent first, the order inside each kept.

use std::collections::VecDeque;
use std::io;

use cip22_wire::{FrameType, frame};
use metrics::counter;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::pipeline::decode::type_name;

/// How urgent a frame is. A NACK or an ACK is as urgent as the answers of the type it is about, so that it never overtakes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// A charge depends on it: tickets, grants, credit, epochs, the session itself.
    Authorization,
    /// SET_POLICY and what answers POLICY_ACK.
    Policy,
    /// Acknowledgements of telemetry and of heartbeats.
    Telemetry,
}

impl Class {
    /// The class of a whole frame.
    pub fn of(frame: &[u8]) -> Self {
        let Some(found) = frame.get(TYPE_AT).copied().and_then(FrameType::from_u8) else {
            return Self::Authorization;
        };
        match found {
            // Tag 1 of both is `frame_type`: one byte behind tag and length.
            FrameType::Nack | FrameType::Ack => {
                let about = frame.get(frame::HEADER_BYTES + 3).copied().and_then(FrameType::from_u8);
                about.map_or(Self::Authorization, Self::of_type)
            }
            found => Self::of_type(found),
        }
    }

    fn of_type(found: FrameType) -> Self {
        match found {
            FrameType::SetPolicy | FrameType::PolicyAck | FrameType::TrustUpdate => Self::Policy,
            FrameType::BattTelem
            | FrameType::TelemCheckpoint
            | FrameType::TelemAck
            | FrameType::TelemHead
            | FrameType::Heartbeat
            | FrameType::OtaOffer
            | FrameType::OtaReq
            | FrameType::OtaChunk
            | FrameType::OtaStatus => Self::Telemetry,
            _ => Self::Authorization,
        }
    }
}

/// Frames that wait for the pile to take them.
#[derive(Debug)]
pub struct Outbox {
    classes: [VecDeque<Vec<u8>>; CLASSES],
    /// Bytes in `classes`.
    bytes: usize,
    bytes_max: usize,
    /// What is being written, and how much of it has been.
    current: Vec<u8>,
    written: usize,
    unflushed: bool,
}

impl Outbox {
    /// An empty outbox that has room while it holds less than `bytes_max`.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            classes: [const { VecDeque::new() }; CLASSES],
            bytes: 0,
            bytes_max,
            current: Vec::new(),
            written: 0,
            unflushed: false,
        }
    }

    /// Queues a whole frame. Nothing is ever dropped: whoever can wait asks [`has_room`](Self::has_room) first.
    pub fn push(&mut self, frame: Vec<u8>) {
        let class = Class::of(&frame);
        if frame.get(TYPE_AT) == Some(&FrameType::Epoch.code()) {
            // The pile needs the policy that an EPOCH names: what was queued of it goes before.
            let [authorization, policy, _] = &mut self.classes;
            authorization.append(policy);
        }
        self.bytes += frame.len();
        self.classes[class as usize].push_back(frame);
    }

    /// Queues several.
    pub fn extend(&mut self, frames: impl IntoIterator<Item = Vec<u8>>) {
        frames.into_iter().for_each(|frame| self.push(frame));
    }

    /// Whether more may be taken in that would make answers.
    pub fn has_room(&self) -> bool {
        self.bytes < self.bytes_max
    }

    /// Whether all has left.
    pub fn is_idle(&self) -> bool {
        self.bytes == 0 && self.current.is_empty() && !self.unflushed
    }

    /// Writes some more, or flushes; returns after any progress. Does not return while idle. Safe to cancel.
    pub async fn write_some(&mut self, writer: &mut (dyn AsyncWrite + Send + Unpin)) -> io::Result<()> {
        if self.current.is_empty() {
            self.fill();
        }
        if self.current.is_empty() {
            if !self.unflushed {
                std::future::pending::<()>().await;
            }
            writer.flush().await?;
            self.unflushed = false;
            return Ok(());
        }
        let count = writer.write(self.current.get(self.written..).unwrap_or_default()).await?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.unflushed = true;
        self.written += count;
        if self.written >= self.current.len() {
            self.current.clear();
            self.written = 0;
        }
        Ok(())
    }

    /// Takes the most urgent frames for one write. Little at a time: what is handed over can no longer be overtaken.
    fn fill(&mut self) {
        while self.current.len() < WRITE_BYTES {
            let Some(frame) = self.classes.iter_mut().find_map(VecDeque::pop_front) else { return };
            let found = frame.get(TYPE_AT).copied().unwrap_or_default();
            counter!("frames_sent_total", "type" => type_name(found)).increment(1);
            self.bytes -= frame.len();
            self.current.extend_from_slice(&frame);
        }
    }
}

const CLASSES: usize = 3;
const TYPE_AT: usize = frame::HEADER_BYTES - 1;
const WRITE_BYTES: usize = 2 * 1024;

#[cfg(test)]
mod tests {
    use cip22_wire::message::{Ack, Epoch, Heartbeat, Nack, SetPolicy, TelemAck};
    use cip22_wire::{Level, NackCode};
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::pipeline::{frame_bytes, refuse_with};

    #[tokio::test]
    async fn authorization_overtakes_policy_and_policy_overtakes_telemetry() {
        let frames = [telem_ack(1), ack(FrameType::PolicyAck), ack(FrameType::AuthAck)];
        assert_eq!(sent(&frames).await, [frames[2].clone(), frames[1].clone(), frames[0].clone()].concat());
    }

    #[tokio::test]
    async fn frames_of_one_class_keep_their_order() {
        let frames: Vec<_> = (0..100).map(telem_ack).collect();
        assert_eq!(sent(&frames).await, frames.concat());
    }

    #[tokio::test]
    async fn a_refusal_does_not_overtake_an_answer_to_the_same_type() {
        let frames = [telem_ack(1), nack(FrameType::BattTelem), telem_ack(2)];
        assert_eq!(sent(&frames).await, frames.concat());
    }

    #[tokio::test]
    async fn an_epoch_does_not_overtake_the_policy_that_came_before_it() {
        let frames = [telem_ack(1), set_policy(), set_policy(), epoch()];
        assert_eq!(
            sent(&frames).await,
            [&frames[1..], &frames[..1]].concat().concat(),
            "SET_POLICY, EPOCH, then telemetry"
        );
    }

    #[tokio::test]
    async fn an_urgent_frame_waits_for_at_most_one_write_of_others() {
        let mut outbox = Outbox::new(1_000_000);
        outbox.extend((0..1_000).map(telem_ack));
        let (mut near, mut far) = tokio::io::duplex(1_000_000);
        outbox.write_some(&mut near).await.unwrap();
        let urgent = ack(FrameType::AuthAck);
        outbox.push(urgent.clone());
        while !outbox.is_idle() {
            outbox.write_some(&mut near).await.unwrap();
        }
        drop(near);
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap();
        let at = all.windows(urgent.len()).position(|window| window == urgent).unwrap();
        assert!(at < WRITE_BYTES + telem_ack(0).len(), "{at}");
    }

    #[tokio::test]
    async fn a_write_that_is_cut_off_goes_on_where_it_stopped() {
        let frames: Vec<_> = (0..200).map(telem_ack).collect();
        let mut outbox = Outbox::new(1_000_000);
        outbox.extend(frames.clone());
        let (mut near, mut far) = tokio::io::duplex(7);
        let mut all = Vec::new();
        while all.len() < frames.concat().len() {
            let mut piece = [0; 5];
            tokio::select! {
                biased;
                written = outbox.write_some(&mut near) => written.unwrap(),
                count = far.read(&mut piece) => all.extend_from_slice(&piece[..count.unwrap()]),
            }
        }
        assert_eq!(all, frames.concat());
    }

    #[test]
    fn there_is_no_room_from_the_limit_on_and_still_nothing_is_dropped() {
        let mut outbox = Outbox::new(telem_ack(1).len() + 1);
        outbox.push(telem_ack(1));
        assert!(outbox.has_room());
        outbox.push(telem_ack(2));
        assert!(!outbox.has_room());
        outbox.push(telem_ack(3));
        assert_eq!(outbox.classes[Class::Telemetry as usize].len(), 3);
    }

    #[test]
    fn heartbeats_and_refusals_of_nothing_known_have_a_class() {
        assert_eq!(Class::of(&frame_bytes(&Heartbeat { counter: 1, time_ms: 1 })), Class::Telemetry);
        assert_eq!(Class::of(&crate::pipeline::refuse(0, NackCode::BadCrc)), Class::Authorization);
        assert_eq!(Class::of(&[]), Class::Authorization);
    }

    async fn sent(frames: &[Vec<u8>]) -> Vec<u8> {
        let mut outbox = Outbox::new(1_000_000);
        outbox.extend(frames.to_vec());
        let mut writer = Vec::new();
        while !outbox.is_idle() {
            outbox.write_some(&mut writer).await.unwrap();
        }
        writer
    }

    fn telem_ack(seq: u32) -> Vec<u8> {
        frame_bytes(&TelemAck { battery: [1; 32], seq, level: Level::Durable.code(), checkpoint: 0 })
    }

    fn ack(about: FrameType) -> Vec<u8> {
        let (frame_type, level) = (about.code(), Level::Durable.code());
        frame_bytes(&Ack { frame_type, level, sid: None, epoch: None, n: None })
    }

    fn nack(about: FrameType) -> Vec<u8> {
        let (frame_type, code) = (about.code(), NackCode::TelemGap.code());
        refuse_with(Nack { frame_type, code, field: None, limit: None, retry_ms: None })
    }

    fn set_policy() -> Vec<u8> {
        let (chunk, signature) = (&[1][..], [0; 64]);
        frame_bytes(&SetPolicy { version: 1, first_epoch: 1, total_len: 1, offset: 0, chunk, signature })
    }

    fn epoch() -> Vec<u8> {
        let (challenge, policy_hash, signature) = ([0; 32], [0; 32], [0; 64]);
        frame_bytes(&Epoch { group: 1, epoch: 1, challenge, policy_hash, signature })
    }
}
