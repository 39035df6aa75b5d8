//! The devices of the registry, as its events tell. Activations count from `safe`, revocations at once.

use std::collections::HashMap;
use std::sync::Arc;

use cip22_wire::{Address, DeviceId};

use crate::chain::BlsKeyBytes;

/// A device's place and key, at one index of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Group number.
    pub group: u32,
    /// Index inside the group, 0..224.
    pub index: u8,
    /// Address of the identity key.
    pub key: Address,
    /// First epoch in which the key counts.
    pub active_from: u32,
    /// Last epoch in which it counts; `u32::MAX` while it is the newest.
    pub active_until: u32,
}

impl Place {
    /// Whether it is the same group and index.
    pub fn is_at(&self, other: &Self) -> bool {
        (self.group, self.index) == (other.group, other.index)
    }
}

/// The BLS key of an index. It ends with the index's ECDSA key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// Group number.
    pub group: u32,
    /// Index inside the group.
    pub index: u8,
    /// Key in G2, whose possession the contract has checked.
    pub key: Arc<BlsKeyBytes>,
    /// First epoch in which the key counts.
    pub active_from: u32,
}

/// A registered device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device {
    /// Its places, oldest first; the last is the present one.
    pub places: Vec<Place>,
    /// Its BLS keys, oldest first; an index has one at most.
    pub enrolments: Vec<Enrolment>,
    /// Revoked (seen at `latest`): obeyed at once.
    pub revoked: bool,
}

impl Device {
    /// The place whose key counts in `epoch`.
    pub fn place_at(&self, epoch: u32) -> Option<&Place> {
        self.places.iter().rev().find(|place| place.active_from <= epoch && epoch <= place.active_until)
    }

    /// The place whose key counts in `epoch`, if its BLS key does too.
    pub fn enrolment_at(&self, epoch: u32) -> Option<&Enrolment> {
        let place = self.place_at(epoch)?;
        self.enrolments.iter().find(|enrolment| {
            (enrolment.group, enrolment.index) == (place.group, place.index) && enrolment.active_from <= epoch
        })
    }
}

/// All registered devices by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directory {
    /// Devices by id.
    pub devices: HashMap<DeviceId, Device>,
}
