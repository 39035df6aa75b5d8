//! The record of the last closed epochs, each with the one root of it that the pile signed.

use cip22_wire::Hash;

use crate::record::{ChainRecord, FORMAT, Reader, Writer};

/// An epoch in which the pile signed something and will sign no statement any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClosedEpoch {
    pub(crate) epoch: u32,
    pub(crate) group: u32,
    pub(crate) index: u8,
    /// Number of its last statement.
    pub(crate) n: u8,
    pub(crate) head: Hash,
    pub(crate) challenge: Hash,
    pub(crate) policy_hash: Hash,
    /// The root that is signed, or about to be; no other one of the epoch ever is.
    pub(crate) root: Option<Hash>,
}

impl ClosedEpoch {
    /// What a batch's tree has to hold of `chain` once its epoch is closed; `None` if nothing was signed in it.
    pub(crate) fn of(chain: &ChainRecord) -> Option<Self> {
        let ChainRecord { epoch, n, head, group, index, challenge, policy_hash, .. } = *chain;
        (epoch != 0 && n != 0).then_some(Self {
            epoch,
            group,
            index,
            n,
            head,
            challenge,
            policy_hash,
            root: None,
        })
    }
}

/// The last closed epochs, latest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClosedRecord([Option<ClosedEpoch>; CLOSED_EPOCHS_MAX]);

impl ClosedRecord {
    pub(crate) const EMPTY: Self = Self([None; CLOSED_EPOCHS_MAX]);

    pub(crate) fn of(&self, epoch: u32) -> Option<&ClosedEpoch> {
        self.0.iter().flatten().find(|closed| closed.epoch == epoch)
    }

    /// The record with `newest` in front, in place of the same epoch's or of the oldest.
    pub(crate) fn with(&self, newest: ClosedEpoch) -> Self {
        let mut record = Self::EMPTY;
        let others = self.0.iter().flatten().filter(|closed| closed.epoch != newest.epoch);
        for (to, from) in record.0.iter_mut().zip(core::iter::once(&newest).chain(others)) {
            *to = Some(*from);
        }
        record
    }

    /// The record with `root` as the one signed of `epoch`.
    pub(crate) fn with_root(&self, epoch: u32, root: Hash) -> Self {
        let mut record = *self;
        for closed in record.0.iter_mut().flatten().filter(|closed| closed.epoch == epoch) {
            closed.root = Some(root);
        }
        record
    }

    pub(crate) fn encode(&self) -> [u8; CLOSED_BYTES] {
        let mut bytes = [0; CLOSED_BYTES];
        let mut writer = Writer::new(&mut bytes);
        writer.put(&[FORMAT]);
        for place in &self.0 {
            match place {
                Some(closed) => writer
                    .put(&[1])
                    .put(&closed.epoch.to_be_bytes())
                    .put(&closed.group.to_be_bytes())
                    .put(&[closed.index, closed.n])
                    .put(&closed.head)
                    .put(&closed.challenge)
                    .put(&closed.policy_hash)
                    .put(&[u8::from(closed.root.is_some())])
                    .put(&closed.root.unwrap_or_default()),
                None => writer.put(&[0; 1 + CLOSED_EPOCH_BYTES]),
            };
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes)?;
        let mut record = Self::EMPTY;
        for place in &mut record.0 {
            let held = reader.u8()? == 1;
            let closed = ClosedEpoch {
                epoch: reader.u32()?,
                group: reader.u32()?,
                index: reader.u8()?,
                n: reader.u8()?,
                head: reader.take()?,
                challenge: reader.take()?,
                policy_hash: reader.take()?,
                root: {
                    let signed = reader.u8()? == 1;
                    let root = reader.take()?;
                    signed.then_some(root)
                },
            };
            *place = held.then_some(closed);
        }
        reader.finish(record)
    }
}

/// Closed epochs that are kept; a root of an older one is refused.
pub(crate) const CLOSED_EPOCHS_MAX: usize = 4;
const CLOSED_EPOCH_BYTES: usize = 4 + 4 + 1 + 1 + 32 + 32 + 32 + 1 + 32;
pub(crate) const CLOSED_BYTES: usize = 1 + CLOSED_EPOCHS_MAX * (1 + CLOSED_EPOCH_BYTES);

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn closed(epoch: u32, root: Option<Hash>) -> ClosedEpoch {
        let (head, challenge, policy_hash) = ([1; 32], [2; 32], [3; 32]);
        ClosedEpoch { epoch, group: 7, index: 223, n: 255, head, challenge, policy_hash, root }
    }

    #[test]
    fn the_record_reads_back_as_it_was_written_and_nothing_else_does() {
        let record = ClosedRecord::EMPTY.with(closed(1, None)).with(closed(2, Some([9; 32])));
        let bytes = record.encode();
        assert_eq!(ClosedRecord::decode(&bytes), Some(record));
        for len in 0..bytes.len() {
            assert_eq!(ClosedRecord::decode(&bytes[..len]), None);
        }
        assert_eq!(ClosedRecord::decode(&ClosedRecord::EMPTY.encode()), Some(ClosedRecord::EMPTY));
    }

    #[test]
    fn the_oldest_epoch_gives_way_and_the_others_keep_their_roots() {
        let mut record = ClosedRecord::EMPTY;
        for byte in 1..=5u8 {
            let epoch = u32::from(byte);
            record = record.with(closed(epoch, None)).with_root(epoch, [byte; 32]);
        }
        assert_eq!(record.of(1), None);
        for byte in 2..=5u8 {
            assert_eq!(record.of(u32::from(byte)).unwrap().root, Some([byte; 32]));
        }
    }

    #[test]
    fn an_epoch_in_which_nothing_was_signed_is_not_kept() {
        let empty = ChainRecord { epoch: 9, ..ChainRecord::EMPTY };
        assert_eq!(ClosedEpoch::of(&empty), None);
        assert_eq!(ClosedEpoch::of(&ChainRecord { n: 1, ..ChainRecord::EMPTY }), None);
        assert_eq!(ClosedEpoch::of(&ChainRecord { n: 1, ..empty }).unwrap().epoch, 9);
    }
}
