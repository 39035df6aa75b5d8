use crate::{DeviceId, limits::VERSIONS_BYTES_MAX};

message! {
    /// HELLO, pile to gateway, first of a session; answered by HELLO_ACK.
    for<'a> Hello<'a> {
        /// Versions the pile speaks, one byte each, best first.
        1 versions: &'a [u8], max VERSIONS_BYTES_MAX;
        /// Must be the certificate's.
        2 device_id: DeviceId;
        /// Feature bits the pile offers: [`FEATURE_SEALED_BODIES`](crate::sealed::FEATURE_SEALED_BODIES).
        3 features: u32;
        /// Largest payload the pile receives, bytes.
        4 max_payload: u16;
        /// Highest policy version held; 0 = none.
        5 policy_version: u32;
        /// Newest epoch accepted; 0 = none.
        6 epoch: u32;
        /// Token of an earlier HELLO_ACK, single-use.
        7 resume_token: Option<[u8; 16]>;
    }
}
