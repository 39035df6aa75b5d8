use crate::Sid;

message! {
    /// AUTH_REVOKE, gateway to pile: the grant ends early.
    for<'a> AuthRevoke {
        /// The ticket granted.
        1 sid: Sid;
        /// A [`RevokeCause`](crate::RevokeCause).
        2 cause: u8;
        /// Energy that may still flow, Wh.
        3 grace_wh: u32;
    }
}
