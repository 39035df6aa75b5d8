use crate::{Signature, limits::TRUST_VALUE_BYTES_MAX};

message! {
    /// TRUST_UPDATE, gateway to pile: a trust anchor changes.
    for<'a> TrustUpdate<'a> {
        /// Strictly increasing.
        1 version: u32;
        /// A [`TrustKind`](crate::TrustKind).
        2 kind: u8;
        /// The new value.
        3 value: &'a [u8], max TRUST_VALUE_BYTES_MAX;
        /// Governance's, over `TrustUpdate`.
        4 signature: Signature;
    }
}
