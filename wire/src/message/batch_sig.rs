use crate::Hash;

message! {
    /// BATCH_SIG, pile to gateway; answered by ACK.
    for<'a> BatchSig {
        /// The group.
        1 group: u32;
        /// The epoch.
        2 epoch: u32;
        /// The root signed.
        3 root: Hash;
        /// BLS12-381 signature in G1, compressed.
        4 signature: [u8; 48];
    }
}
