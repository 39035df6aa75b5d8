message! {
    /// DRAIN, gateway to pile: the session is about to close.
    for<'a> Drain {
        /// Earliest reconnect, from now.
        1 reconnect_after_ms: u32;
        /// Reconnect at a random moment of this window.
        2 window_ms: u32;
    }
}
