use crate::{BatteryId, Hash, Sid};

message! {
    /// BATT_TELEM, pile to gateway: one record of a battery (§9); answered by TELEM_ACK.
    for<'a> BattTelem {
        /// The battery.
        1 battery: BatteryId;
        /// The charge; zeros outside one.
        2 segment: Sid;
        /// From 1, contiguous per battery, across piles.
        3 seq: u32;
        /// Unix; never decreases.
        4 time_ms: u64;
        /// Pack voltage, mV.
        5 voltage_mv: u32;
        /// Pack current, mA; positive into the battery.
        6 current_ma: i32;
        /// State of charge, hundredths of a percent.
        7 soc_centi_percent: u16;
        /// Temperature, hundredths of a degree Celsius.
        8 temperature_centi_c: i16;
        /// Energy counter, Wh.
        9 energy_wh: u32;
        /// Fingerprint up to this record.
        10 fp: Hash;
    }
}
