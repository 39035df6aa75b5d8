message! {
    /// NACK, both ways: a frame was refused. Never answered.
    for<'a> Nack {
        /// Type of the frame refused; 0 if unreadable.
        1 frame_type: u8;
        /// A [`NackCode`](crate::NackCode).
        2 code: u16;
        /// Tag at fault.
        3 field: Option<u8>;
        /// What the code's row in §8 says.
        4 limit: Option<u32>;
        /// When the same frame may be sent again; absent: never.
        5 retry_ms: Option<u32>;
    }
}
