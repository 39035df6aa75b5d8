//! A pile without hardware: storage that remembers what it was given and fails when told, a clock set by hand, counted randomness.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use cip22_device_sdk::sign::SigningKey;
use cip22_device_sdk::wire::{Body, FrameType, frame};
use cip22_device_sdk::{Clock, Entropy, EntropyError, Slot, Storage, StorageError};

pub(crate) const DEVICE_ID: [u8; 32] = [0xD1; 32];

pub(crate) fn device_key() -> SigningKey {
    SigningKey::from_bytes(&[0x11; 32]).expect("a scalar of the curve")
}

/// What stays of a pile without power. A failed store leaves the old record or the new one.
#[derive(Clone, Default)]
pub(crate) struct Flash {
    records: Rc<RefCell<HashMap<Slot, Vec<u8>>>>,
    failing: Rc<Cell<Option<Failing>>>,
    charges: Rc<RefCell<HashSet<[u8; 16]>>>,
}

/// The next `stores` fail, and leave the new record if `written`.
#[derive(Clone, Copy)]
pub(crate) struct Failing {
    pub(crate) stores: u8,
    pub(crate) written: bool,
}

impl Flash {
    pub(crate) fn fail(&self, failing: Option<Failing>) {
        self.failing.set(failing);
    }

    pub(crate) fn record(&self, slot: Slot) -> Vec<u8> {
        self.records.borrow().get(&slot).cloned().unwrap_or_default()
    }

    pub(crate) fn put(&self, slot: Slot, record: &[u8]) {
        if let (Slot::Charge, Some(sid)) = (slot, record.get(1..17)) {
            self.charges.borrow_mut().insert(sid.try_into().expect("16 bytes"));
        }
        self.records.borrow_mut().insert(slot, record.to_vec());
    }

    /// Epoch, n and head of the durable chain: after the format's byte, as `device-sdk/src/record.rs` writes them.
    pub(crate) fn chain(&self) -> (u32, u8, [u8; 32]) {
        let record = self.record(Slot::Chain);
        let (Some(epoch), Some(n), Some(head)) = (record.get(1..5), record.get(5), record.get(6..38)) else {
            return (0, 0, [0; 32]);
        };
        let epoch = u32::from_be_bytes(epoch.try_into().expect("4 bytes"));
        (epoch, *n, head.try_into().expect("32 bytes"))
    }

    /// Whether a grant of this charge was ever durable.
    pub(crate) fn held_charge(&self, sid: &[u8; 16]) -> bool {
        self.charges.borrow().contains(sid)
    }
}

impl Storage for Flash {
    fn store(&mut self, slot: Slot, record: &[u8]) -> Result<(), StorageError> {
        let failing = self.failing.get().filter(|failing| failing.stores > 0);
        if failing.is_none_or(|failing| failing.written) {
            self.put(slot, record);
        }
        let Some(failing) = failing else { return Ok(()) };
        self.failing.set(Some(Failing { stores: failing.stores - 1, ..failing }));
        Err(StorageError)
    }

    fn load(&mut self, slot: Slot, record: &mut [u8]) -> Result<usize, StorageError> {
        let bytes = self.record(slot);
        let len = bytes.len().min(record.len());
        record[..len].copy_from_slice(&bytes[..len]);
        Ok(bytes.len())
    }
}

#[derive(Clone, Default)]
pub(crate) struct HandClock(Rc<Cell<u64>>);

impl HandClock {
    pub(crate) fn set(&self, now_ms: u64) {
        self.0.set(now_ms);
    }

    pub(crate) fn pass(&self, ms: u64) {
        self.0.set(self.0.get().saturating_add(ms));
    }
}

impl Clock for HandClock {
    fn now_ms(&self) -> u64 {
        self.0.get()
    }
}

#[derive(Clone, Default)]
pub(crate) struct Counter {
    count: Rc<Cell<u64>>,
    failing: Rc<Cell<bool>>,
}

impl Counter {
    pub(crate) fn fail(&self, failing: bool) {
        self.failing.set(failing);
    }
}

impl Entropy for Counter {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        if self.failing.get() {
            return Err(EntropyError);
        }
        for chunk in bytes.chunks_mut(8) {
            self.count.set(self.count.get() + 1);
            let word = self.count.get().wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(())
    }
}

/// A frame the pile sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent(pub(crate) Vec<u8>);

impl Sent {
    pub(crate) fn frame_type(&self) -> FrameType {
        let parsed =
            frame::parse(&self.0, u16::MAX).expect("the pile's frames are sound").expect("and whole");
        FrameType::from_u8(parsed.frame_type).expect("and of a type there is")
    }

    pub(crate) fn read<'a, M: Body<'a>>(&'a self) -> M {
        assert_eq!(self.frame_type(), M::TYPE);
        let parsed =
            frame::parse(&self.0, u16::MAX).expect("the pile's frames are sound").expect("and whole");
        M::decode(parsed.payload).expect("and decode")
    }
}
