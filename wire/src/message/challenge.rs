use crate::{DeviceId, Hash, PublicKey, Sid, Signature};

message! {
    /// CHALLENGE, gateway to pile: a ticket; answered by AUTH_RESP. What a pile checks in it is §5.4.
    for<'a> Challenge {
        /// 0: plain statements; others are reserved for zero-knowledge circuits.
        1 circuit_version: u8;
        /// Session id of the charge.
        2 sid: Sid;
        /// The pile it was issued to.
        3 device_id: DeviceId;
        /// The pile's group.
        4 group: u32;
        /// The pile's index in its group.
        5 index: u8;
        /// Makes tickets differ.
        6 nonce: Hash;
        /// The epoch the answer belongs to.
        7 epoch: u32;
        /// As in EPOCH.
        8 epoch_challenge: Hash;
        /// As in EPOCH.
        9 policy_hash: Hash;
        /// Block number when issued.
        10 issued: u64;
        /// Last block number at which the answer is in time.
        11 answer_by: u64;
        /// Block number by which the record must be on chain.
        12 deadline: u64;
        /// The gateway's ephemeral key.
        13 gw_eph: PublicKey;
        /// The pile's, from CHALLENGE_REQ.
        14 dev_eph: PublicKey;
        /// Zeros for circuit version 0.
        15 h: Hash;
        /// The gateway's, over `Ticket`.
        16 signature: Signature;
    }
}
