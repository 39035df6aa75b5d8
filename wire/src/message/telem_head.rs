use crate::{BatteryId, Hash};

message! {
    /// TELEM_HEAD, both ways: the pile asks with the battery alone, the gateway answers with all fields.
    for<'a> TelemHead {
        /// The battery.
        1 battery: BatteryId;
        /// Newest record held durably; 0 for an unknown battery.
        2 seq: Option<u32>;
        /// Its fingerprint.
        3 fp: Option<Hash>;
        /// Newest checkpoint; 0 if none.
        4 ledger_seq: Option<u32>;
        /// Its fingerprint.
        5 ledger_fp: Option<Hash>;
    }
}
