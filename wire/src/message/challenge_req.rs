use crate::{DeviceId, PublicKey, Signature};

message! {
    /// CHALLENGE_REQ, pile to gateway: asks for a ticket; answered by CHALLENGE.
    for<'a> ChallengeReq {
        /// Must be the certificate's.
        1 device_id: DeviceId;
        /// The pile's ephemeral key, for the session keys.
        2 dev_eph: PublicKey;
        /// The device's, over `ChallengeReq`.
        3 signature: Signature;
    }
}
