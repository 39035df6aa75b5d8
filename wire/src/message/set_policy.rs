use crate::{Signature, limits::POLICY_CHUNK_BYTES_MAX};

message! {
    /// SET_POLICY, gateway to pile: a chunk of a tariff (§10); answered by POLICY_ACK after the last.
    for<'a> SetPolicy<'a> {
        /// The policy's version.
        1 version: u32;
        /// First epoch it is in force.
        2 first_epoch: u32;
        /// Length of the whole tariff, bytes.
        3 total_len: u16;
        /// Where the chunk begins, bytes.
        4 offset: u16;
        /// Part of the tariff.
        5 chunk: &'a [u8], max POLICY_CHUNK_BYTES_MAX;
        /// Governance's, over `Policy` of the whole tariff.
        6 signature: Signature;
    }
}
