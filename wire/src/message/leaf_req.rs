message! {
    /// LEAF_REQ, pile to gateway: the pile asks again for its leaf and path in a root that it signed; answered by BATCH_ROOT.
    for<'a> LeafReq {
        /// The group.
        1 group: u32;
        /// The epoch.
        2 epoch: u32;
    }
}
