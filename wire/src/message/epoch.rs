use crate::{Hash, Signature};

message! {
    /// EPOCH, gateway to pile: opens an epoch (§5.2).
    for<'a> Epoch {
        /// The pile's group.
        1 group: u32;
        /// The epoch that opens.
        2 epoch: u32;
        /// Hash of the epoch's first block.
        3 challenge: Hash;
        /// Policy in force.
        4 policy_hash: Hash;
        /// The gateway's, over `Epoch`.
        5 signature: Signature;
    }
}
