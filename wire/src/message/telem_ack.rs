use crate::BatteryId;

message! {
    /// TELEM_ACK, gateway to pile.
    for<'a> TelemAck {
        /// The battery.
        1 battery: BatteryId;
        /// The record acknowledged.
        2 seq: u32;
        /// A [`Level`](crate::Level).
        3 level: u8;
        /// 1 if it answers TELEM_CHECKPOINT, else 0.
        4 checkpoint: u8;
    }
}
