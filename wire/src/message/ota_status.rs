message! {
    /// OTA_STATUS, pile to gateway; answered by ACK.
    for<'a> OtaStatus {
        /// The firmware's version.
        1 version: u32;
        /// State of the update, the vendor's codes.
        2 state: u8;
        /// Result, the vendor's codes.
        3 code: u8;
    }
}
