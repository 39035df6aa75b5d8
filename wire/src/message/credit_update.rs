use crate::{Hash, Sid, limits::BODY_BYTES_MAX};

message! {
    /// CREDIT_UPDATE, gateway to pile: new totals of the credit.
    for<'a> CreditUpdate<'a> {
        /// The ticket granted.
        1 sid: Sid;
        /// How `body` is protected: [`SUITE_PLAIN`](crate::body::SUITE_PLAIN) or [`SUITE_SM4_GCM`](crate::body::SUITE_SM4_GCM).
        2 suite: u8;
        /// A [`Credit`](crate::body::Credit), under suite 1 as a [`SealedBody`](crate::sealed::SealedBody).
        3 body: &'a [u8], max BODY_BYTES_MAX;
        /// [`SessionKeys::tag`](crate::session_keys::SessionKeys::tag).
        4 tag: Hash;
    }
}
