use crate::{BatteryId, Hash, Sid, Signature};

message! {
    /// TELEM_CHECKPOINT, pile to gateway: the CHECKPOINT statement; answered by TELEM_ACK.
    for<'a> TelemCheckpoint {
        /// Epoch of the statement.
        1 epoch: u32;
        /// The statement's number in that epoch.
        2 n: u8;
        /// head_{n-1}.
        3 prev_head: Hash;
        /// The battery.
        4 battery: BatteryId;
        /// Of the record named.
        5 segment: Sid;
        /// Of the record named.
        6 seq: u32;
        /// Of the record named, Unix.
        7 time_ms: u64;
        /// Of the record named.
        8 fp: Hash;
        /// Of the battery's previous checkpoint; 0 for the first.
        9 prev_seq: u32;
        /// Of the battery's previous checkpoint; zeros for the first.
        10 prev_fp: Hash;
        /// The device's, over `Head`.
        11 signature: Signature;
    }
}
