//! Canonical bytes and fingerprints of battery telemetry (§9).

use sha3::{Digest, Sha3_256};

use crate::{Hash, message::BattTelem};

/// fp_0 of every battery.
pub const FIRST_FINGERPRINT: Hash = [0; 32];
/// Canonical telemetry, bytes.
pub const CANONICAL_BYTES: usize = 80;

/// Canonical telemetry of `record`, 80 bytes. `fp` is not part of it.
#[must_use]
pub fn canonical(record: &BattTelem) -> [u8; CANONICAL_BYTES] {
    let mut out = [0; CANONICAL_BYTES];
    let parts: [&[u8]; 9] = [
        &record.battery,
        &record.segment,
        &record.seq.to_be_bytes(),
        &record.time_ms.to_be_bytes(),
        &record.voltage_mv.to_be_bytes(),
        &record.current_ma.to_be_bytes(),
        &record.soc_centi_percent.to_be_bytes(),
        &record.temperature_centi_c.to_be_bytes(),
        &record.energy_wh.to_be_bytes(),
    ];
    // The parts are 76 bytes; the last 4 of `out` stay zero.
    for (to, from) in out.iter_mut().zip(parts.into_iter().flatten()) {
        *to = *from;
    }
    out
}

/// fp_seq = SHA3-256(fp_{seq-1} ‖ canonical). `record.fp` is not looked at.
#[must_use]
pub fn fingerprint(prev: &Hash, record: &BattTelem) -> Hash {
    Sha3_256::new_with_prefix(prev).chain_update(canonical(record)).finalize().into()
}
