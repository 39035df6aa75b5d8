//! The devices of the registry, as its events tell. Activations count from `safe`, revocations at once.

use std::collections::HashMap;

use cip22_wire::{Address, DeviceId};

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

/// A registered device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its places, oldest first; the last is the present one.
    pub places: Vec<Place>,
    /// Revoked (seen at `latest`): obeyed at once.
    pub revoked: bool,
}

impl Device {
    /// The place whose key counts in `epoch`.
    pub fn place_at(&self, epoch: u32) -> Option<&Place> {
        self.places.iter().rev().find(|place| place.active_from <= epoch && epoch <= place.active_until)
    }
}

/// All registered devices by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directory {
    /// Devices by id.
    pub devices: HashMap<DeviceId, Device>,
}
