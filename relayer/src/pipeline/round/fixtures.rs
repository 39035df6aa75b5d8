//! A directory and settings for tests of rounds: device d stands at index d of group 1.

use std::sync::Arc;

use crate::bls::tests::key_bytes;
use crate::config::LaneRule;
use crate::deployment::Deployment;
use crate::directory::{Device, Directory, Enrolment, Place};
use crate::gateway::Announced;
use crate::pipeline::batch::{BatchSettings, Moment};
use crate::view::Epoch;

/// The epoch whose heads are carried.
pub const EPOCH: u32 = 5;

/// Settings with this rule.
pub fn settings(lane: LaneRule) -> BatchSettings {
    let address = |byte: &str| format!("0x{}", byte.repeat(20));
    let text = serde_json::json!({
        "chain_id": 1235, "start_block": 0, "epoch_len_blocks": 20, "ring_epochs": 32,
        "access_manager": address("01"), "device_registry": address("02"), "gateway_registry": address("03"),
        "policy_registry": address("04"), "battery_ledger": address("05"), "policy_signer": address("06"),
        "verifiers": [{"address": address("07"), "label": "v1"}],
    });
    BatchSettings {
        close_grace_ms: 500,
        records_max: 256,
        advance_max: 2,
        lane,
        root_deadline_ms: 3_000,
        deployment: Deployment::parse("test", &text.to_string()).unwrap(),
    }
}

/// Devices 1 to `devices`, those up to `enrolled` with a BLS key from epoch 3 on.
pub fn directory(devices: u8, enrolled: u8) -> Directory {
    let device = |index: u8| {
        let place = Place { group: 1, index, key: [index; 20], active_from: 1, active_until: u32::MAX };
        let enrolment = Enrolment { group: 1, index, key: Arc::new(key_bytes(index)), active_from: 3 };
        let enrolments = if index <= enrolled { vec![enrolment] } else { Vec::new() };
        ([index; 32], Device { places: vec![place], enrolments, revoked: false })
    };
    Directory { devices: (1..=devices).map(device).collect() }
}

/// A moment when the epoch is closed.
pub fn moment() -> Moment {
    let epoch = Epoch { epoch: EPOCH + 1, challenge: [1; 32], policy_hash: [2; 32] };
    let announced = Announced { epoch, at_ms: 1_000, withdrawn: false };
    Moment { announced, now_ms: 10_000, latest_block: 1_000, oldest_epoch: 0 }
}
