use crate::{Hash, Signature};

message! {
    /// POLICY_ACK, pile to gateway: the POLICY_ACK statement; answered by ACK.
    for<'a> PolicyAck {
        /// Epoch of the statement.
        1 epoch: u32;
        /// The statement's number in that epoch.
        2 n: u8;
        /// head_{n-1}.
        3 prev_head: Hash;
        /// The policy's version.
        4 version: u32;
        /// The policy's hash.
        5 policy_hash: Hash;
        /// First epoch it is in force.
        6 first_epoch: u32;
        /// The device's, over `Head`.
        7 signature: Signature;
    }
}
