use crate::limits::OTA_DATA_BYTES_MAX;

message! {
    /// OTA_CHUNK, gateway to pile.
    for<'a> OtaChunk<'a> {
        /// The firmware's version.
        1 version: u32;
        /// Where the chunk begins, bytes.
        2 offset: u32;
        /// Part of the firmware.
        3 data: &'a [u8], max OTA_DATA_BYTES_MAX;
    }
}
