message! {
    /// OTA_REQ, pile to gateway; answered by OTA_CHUNK.
    for<'a> OtaReq {
        /// The firmware's version.
        1 version: u32;
        /// Where the chunk begins, bytes.
        2 offset: u32;
        /// How much is asked for, bytes.
        3 length: u16;
    }
}
