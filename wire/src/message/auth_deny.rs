use crate::{Hash, Sid, limits::BODY_BYTES_MAX};

message! {
    /// AUTH_DENY, gateway to pile: no power.
    for<'a> AuthDeny<'a> {
        /// The ticket answered.
        1 sid: Sid;
        /// How `body` is protected: [`SUITE_PLAIN`](crate::body::SUITE_PLAIN) or [`SUITE_SM4_GCM`](crate::body::SUITE_SM4_GCM).
        2 suite: u8;
        /// A [`Deny`](crate::body::Deny), under suite 1 as a [`SealedBody`](crate::sealed::SealedBody).
        3 body: &'a [u8], max BODY_BYTES_MAX;
        /// [`SessionKeys::tag`](crate::session_keys::SessionKeys::tag).
        4 tag: Hash;
    }
}
