use crate::Sid;

message! {
    /// ACK, gateway to pile.
    for<'a> Ack {
        /// Type of the frame acknowledged.
        1 frame_type: u8;
        /// A [`Level`](crate::Level).
        2 level: u8;
        /// The charge, where the frame named one.
        3 sid: Option<Sid>;
        /// The statement's epoch, where the frame carried one.
        4 epoch: Option<u32>;
        /// The statement's number, where the frame carried one.
        5 n: Option<u8>;
    }
}
