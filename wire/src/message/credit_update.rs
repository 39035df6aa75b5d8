use crate::{Hash, Sid, limits::BODY_BYTES_MAX};

message! {
    /// CREDIT_UPDATE, gateway to pile: new totals of the credit.
    for<'a> CreditUpdate<'a> {
        /// The ticket granted.
        1 sid: Sid;
        /// How `body` is protected; 0 = plain.
        2 suite: u8;
        /// Under suite 0 a [`Credit`](crate::body::Credit).
        3 body: &'a [u8], max BODY_BYTES_MAX;
        /// [`SessionKeys::tag`](crate::session_keys::SessionKeys::tag).
        4 tag: Hash;
    }
}
