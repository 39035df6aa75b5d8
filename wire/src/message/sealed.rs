use crate::{Sid, limits::SEALED_BODY_BYTES_MAX};

message! {
    /// SEALED, both ways: another frame's type and payload, sealed under the keys of a ticket (§4.5).
    for<'a> Sealed<'a> {
        /// The ticket whose keys seal it.
        1 sid: Sid;
        /// Never [`SUITE_PLAIN`](crate::body::SUITE_PLAIN).
        2 suite: u8;
        /// A [`SealedBody`](crate::sealed::SealedBody) of `type u8 ‖ payload`.
        3 body: &'a [u8], max SEALED_BODY_BYTES_MAX;
    }
}
