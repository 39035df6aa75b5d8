message! {
    /// HELLO_ACK, gateway to pile.
    for<'a> HelloAck {
        /// The version both speak from now on.
        1 version: u8;
        /// Feature bits in use, of those the pile offered.
        2 features: u32;
        /// Largest payload the gateway receives, bytes.
        3 max_payload: u16;
        /// Two intervals without a byte are a loss.
        4 heartbeat_interval_ms: u32;
        /// The pile's group.
        5 group: u32;
        /// The pile's index in its group.
        6 index: u8;
        /// The gateway's time, Unix.
        7 time_ms: u64;
        /// 1 if the gateway still held the session, else 0.
        8 resumed: u8;
        /// For the next HELLO.
        9 resume_token: [u8; 16];
    }
}
