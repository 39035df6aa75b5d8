message! {
    /// HEARTBEAT, both ways; the gateway answers with the same counter and its own time.
    for<'a> Heartbeat {
        /// Chosen by the pile.
        1 counter: u32;
        /// The sender's time, Unix.
        2 time_ms: u64;
    }
}
