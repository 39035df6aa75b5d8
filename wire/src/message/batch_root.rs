use crate::{
    Hash,
    limits::{PATH_BYTES_MAX, PATH_NODE_BYTES},
};

message! {
    /// BATCH_ROOT, gateway to pile: a root to co-sign; answered by BATCH_SIG.
    for<'a> BatchRoot<'a> {
        /// The group.
        1 group: u32;
        /// The epoch.
        2 epoch: u32;
        /// Root of the batch's tree.
        3 root: Hash;
        /// The pile's leaf.
        4 leaf: u16;
        /// Siblings from the leaf up, whole 32-byte nodes.
        5 path: &'a [u8], max PATH_BYTES_MAX, step PATH_NODE_BYTES;
        /// The pile's newest statement.
        6 n: u8;
        /// Its head.
        7 head: Hash;
    }
}
