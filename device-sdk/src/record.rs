//! The records that outlive a power cut, and their bytes. Each begins with its format's number.

use cip22_wire::{BatteryId, Hash, Sid, Signature, limits::TARIFF_BYTES_MAX};

#[cfg(feature = "bls")]
use crate::closed::CLOSED_BYTES;

/// The newest accepted epoch and the statement chain in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChainRecord {
    /// 0 = none accepted yet.
    pub(crate) epoch: u32,
    /// Statements signed in it.
    pub(crate) n: u8,
    pub(crate) head: Hash,
    pub(crate) group: u32,
    pub(crate) index: u8,
    pub(crate) challenge: Hash,
    pub(crate) policy_hash: Hash,
    /// Newest policy whose POLICY_ACK the gateway holds.
    pub(crate) acked_version: u32,
}

impl ChainRecord {
    pub(crate) const EMPTY: Self = Self {
        epoch: 0,
        n: 0,
        head: [0; 32],
        group: 0,
        index: 0,
        challenge: [0; 32],
        policy_hash: [0; 32],
        acked_version: 0,
    };

    pub(crate) fn encode(&self) -> [u8; CHAIN_BYTES] {
        let mut bytes = [0; CHAIN_BYTES];
        Writer::new(&mut bytes)
            .put(&[FORMAT])
            .put(&self.epoch.to_be_bytes())
            .put(&[self.n])
            .put(&self.head)
            .put(&self.group.to_be_bytes())
            .put(&[self.index])
            .put(&self.challenge)
            .put(&self.policy_hash)
            .put(&self.acked_version.to_be_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes)?;
        let record = Self {
            epoch: reader.u32()?,
            n: reader.u8()?,
            head: reader.take()?,
            group: reader.u32()?,
            index: reader.u8()?,
            challenge: reader.take()?,
            policy_hash: reader.take()?,
            acked_version: reader.u32()?,
        };
        reader.finish(record)
    }
}

/// The newest checkpoint signed for one battery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SignedCheckpoint {
    pub(crate) battery: BatteryId,
    pub(crate) segment: Sid,
    pub(crate) seq: u32,
    pub(crate) fp: Hash,
}

/// The newest checkpoint of each of the last batteries, latest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CheckpointsRecord(pub(crate) [Option<SignedCheckpoint>; CHECKPOINTS_MAX]);

impl CheckpointsRecord {
    pub(crate) const EMPTY: Self = Self([None; CHECKPOINTS_MAX]);

    pub(crate) fn of(&self, battery: &BatteryId) -> Option<&SignedCheckpoint> {
        self.0.iter().flatten().find(|signed| signed.battery == *battery)
    }

    /// The record with `newest` in front, in place of the same battery's or of the oldest.
    pub(crate) fn with(&self, newest: SignedCheckpoint) -> Self {
        let mut record = Self::EMPTY;
        let others = self.0.iter().flatten().filter(|signed| signed.battery != newest.battery);
        for (to, from) in record.0.iter_mut().zip(core::iter::once(&newest).chain(others)) {
            *to = Some(*from);
        }
        record
    }

    pub(crate) fn encode(&self) -> [u8; CHECKPOINTS_BYTES] {
        let mut bytes = [0; CHECKPOINTS_BYTES];
        let mut writer = Writer::new(&mut bytes);
        writer.put(&[FORMAT]);
        for place in &self.0 {
            match place {
                Some(signed) => writer
                    .put(&[1])
                    .put(&signed.battery)
                    .put(&signed.segment)
                    .put(&signed.seq.to_be_bytes())
                    .put(&signed.fp),
                None => writer.put(&[0; 1 + SIGNED_CHECKPOINT_BYTES]),
            };
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes)?;
        let mut record = Self::EMPTY;
        for place in &mut record.0 {
            let held = reader.u8()? == 1;
            let signed = SignedCheckpoint {
                battery: reader.take()?,
                segment: reader.take()?,
                seq: reader.u32()?,
                fp: reader.take()?,
            };
            *place = held.then_some(signed);
        }
        reader.finish(record)
    }
}

/// How a charge ended; once durable it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndRecord {
    pub(crate) wh: u32,
    pub(crate) minutes: u16,
    pub(crate) cause: u8,
    /// keccak256 of the meter record, empty if there was none.
    pub(crate) meter_hash: Hash,
}

/// The charge under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChargeRecord {
    pub(crate) sid: Sid,
    pub(crate) credit_wh: u32,
    pub(crate) credit_minutes: u16,
    pub(crate) end: Option<EndRecord>,
}

impl ChargeRecord {
    pub(crate) fn encode(&self) -> [u8; CHARGE_BYTES] {
        let mut bytes = [0; CHARGE_BYTES];
        let mut writer = Writer::new(&mut bytes);
        writer
            .put(&[FORMAT])
            .put(&self.sid)
            .put(&self.credit_wh.to_be_bytes())
            .put(&self.credit_minutes.to_be_bytes());
        if let Some(end) = &self.end {
            writer
                .put(&[1])
                .put(&end.wh.to_be_bytes())
                .put(&end.minutes.to_be_bytes())
                .put(&[end.cause])
                .put(&end.meter_hash);
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes)?;
        let (sid, credit_wh, credit_minutes) = (reader.take()?, reader.u32()?, reader.u16()?);
        let ended = reader.u8()? == 1;
        let end = EndRecord {
            wh: reader.u32()?,
            minutes: reader.u16()?,
            cause: reader.u8()?,
            meter_hash: reader.take()?,
        };
        reader.finish(Self { sid, credit_wh, credit_minutes, end: ended.then_some(end) })
    }
}

/// A policy as governance signed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PolicyRecord<'a> {
    pub(crate) version: u32,
    pub(crate) first_epoch: u32,
    pub(crate) signature: Signature,
    pub(crate) tariff: &'a [u8],
}

impl<'a> PolicyRecord<'a> {
    /// Bytes and their length; `None` if the tariff is too long.
    pub(crate) fn encode(&self) -> Option<([u8; POLICY_BYTES_MAX], usize)> {
        let mut bytes = [0; POLICY_BYTES_MAX];
        let len =
            POLICY_HEADER_BYTES.checked_add(self.tariff.len()).filter(|len| *len <= POLICY_BYTES_MAX)?;
        Writer::new(&mut bytes)
            .put(&[FORMAT])
            .put(&self.version.to_be_bytes())
            .put(&self.first_epoch.to_be_bytes())
            .put(&self.signature)
            .put(self.tariff);
        Some((bytes, len))
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes)?;
        Some(Self {
            version: reader.u32()?,
            first_epoch: reader.u32()?,
            signature: reader.take()?,
            tariff: reader.rest(),
        })
    }
}

/// Fills a record from its start; every record's size is that of its fields, so nothing is ever cut.
pub(crate) struct Writer<'o>(&'o mut [u8]);

impl<'o> Writer<'o> {
    pub(crate) const fn new(out: &'o mut [u8]) -> Self {
        Self(out)
    }

    pub(crate) fn put(&mut self, field: &[u8]) -> &mut Self {
        if let Some((to, rest)) = core::mem::take(&mut self.0).split_at_mut_checked(field.len()) {
            to.copy_from_slice(field);
            self.0 = rest;
        }
        self
    }
}

pub(crate) struct Reader<'r>(&'r [u8]);

impl<'r> Reader<'r> {
    pub(crate) fn new(bytes: &'r [u8]) -> Option<Self> {
        let (format, rest) = bytes.split_first()?;
        (*format == FORMAT).then_some(Self(rest))
    }

    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.take().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    pub(crate) fn rest(self) -> &'r [u8] {
        self.0
    }

    pub(crate) fn finish<T>(self, record: T) -> Option<T> {
        self.0.is_empty().then_some(record)
    }
}

/// Longest record of any slot, bytes.
#[cfg(not(feature = "bls"))]
pub const RECORD_BYTES_MAX: usize = POLICY_BYTES_MAX;
/// Longest record of any slot, bytes.
#[cfg(feature = "bls")]
pub const RECORD_BYTES_MAX: usize =
    if CLOSED_BYTES > POLICY_BYTES_MAX { CLOSED_BYTES } else { POLICY_BYTES_MAX };

pub(crate) const FORMAT: u8 = 1;
const CHAIN_BYTES: usize = 1 + 4 + 1 + 32 + 4 + 1 + 32 + 32 + 4;
const CHECKPOINTS_MAX: usize = 4;
const SIGNED_CHECKPOINT_BYTES: usize = 32 + 16 + 4 + 32;
const CHECKPOINTS_BYTES: usize = 1 + CHECKPOINTS_MAX * (1 + SIGNED_CHECKPOINT_BYTES);
const CHARGE_BYTES: usize = 1 + 16 + 4 + 2 + 1 + 4 + 2 + 1 + 32;
const POLICY_HEADER_BYTES: usize = 1 + 4 + 4 + 64;
const POLICY_BYTES_MAX: usize = POLICY_HEADER_BYTES + TARIFF_BYTES_MAX;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn every_record_reads_back_as_it_was_written() {
        let chain = ChainRecord {
            epoch: 7,
            n: 3,
            head: [1; 32],
            group: 9,
            index: 223,
            challenge: [2; 32],
            policy_hash: [3; 32],
            acked_version: 4,
        };
        assert_eq!(ChainRecord::decode(&chain.encode()), Some(chain));

        let signed = SignedCheckpoint { battery: [4; 32], segment: [5; 16], seq: 6, fp: [7; 32] };
        let checkpoints = CheckpointsRecord::EMPTY.with(signed);
        assert_eq!(CheckpointsRecord::decode(&checkpoints.encode()), Some(checkpoints));

        let end = EndRecord { wh: 1, minutes: 2, cause: 3, meter_hash: [8; 32] };
        for end in [None, Some(end)] {
            let charge = ChargeRecord { sid: [9; 16], credit_wh: 10, credit_minutes: 11, end };
            assert_eq!(ChargeRecord::decode(&charge.encode()), Some(charge));
        }

        let policy = PolicyRecord { version: 1, first_epoch: 2, signature: [3; 64], tariff: &[4; 493] };
        let (bytes, len) = policy.encode().unwrap();
        assert_eq!(PolicyRecord::decode(&bytes[..len]), Some(policy));
    }

    #[test]
    fn a_cut_record_or_another_format_is_refused() {
        let bytes = ChainRecord::EMPTY.encode();
        for len in 0..bytes.len() {
            assert_eq!(ChainRecord::decode(&bytes[..len]), None);
        }
        let mut other = bytes;
        other[0] = 2;
        assert_eq!(ChainRecord::decode(&other), None);
    }

    #[test]
    fn a_battery_has_one_place_and_the_oldest_gives_way() {
        let signed = |battery: u8, seq| SignedCheckpoint {
            battery: [battery; 32],
            segment: [0; 16],
            seq,
            fp: [0; 32],
        };
        let mut record = CheckpointsRecord::EMPTY;
        for battery in 1..=5 {
            record = record.with(signed(battery, 1));
        }
        assert_eq!(record.of(&[1; 32]), None);
        record = record.with(signed(2, 9));
        assert_eq!(record.of(&[2; 32]).unwrap().seq, 9);
        assert!([3, 4, 5].iter().all(|battery| record.of(&[*battery; 32]).is_some()));
    }
}
