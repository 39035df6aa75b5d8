use crate::{Hash, Sid};

message! {
    /// AUTH_FINAL, gateway to pile: the head is on chain.
    for<'a> AuthFinal {
        /// The ticket granted.
        1 sid: Sid;
        /// [`Level::Safe`](crate::Level::Safe) or [`Level::Final`](crate::Level::Final).
        2 level: u8;
        /// Hash of the transaction that recorded it.
        3 transaction: Hash;
        /// Its block number.
        4 block: u64;
    }
}
