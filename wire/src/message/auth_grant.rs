use crate::{Hash, Sid, limits::BODY_BYTES_MAX};

message! {
    /// AUTH_GRANT, gateway to pile: power may flow; answered by AUTH_ACK.
    for<'a> AuthGrant<'a> {
        /// The ticket answered.
        1 sid: Sid;
        /// How `body` is protected; 0 = plain.
        2 suite: u8;
        /// Under suite 0 a [`Grant`](crate::body::Grant).
        3 body: &'a [u8], max BODY_BYTES_MAX;
        /// [`SessionKeys::tag`](crate::session_keys::SessionKeys::tag).
        4 tag: Hash;
    }
}
