use crate::{Hash, limits::CLAIM_BYTES_MAX};

message! {
    /// FAULT_CLAIM, pile to gateway; answered by ACK.
    for<'a> FaultClaim<'a> {
        /// The ticket in dispute.
        1 ticket_hash: Hash;
        /// A [`ClaimKind`](crate::ClaimKind).
        2 kind: u8;
        /// The claim.
        3 body: &'a [u8], max CLAIM_BYTES_MAX;
    }
}
