use crate::{Hash, Sid, Signature};

message! {
    /// AUTH_RESP, pile to gateway: the AUTH statement; answered by AUTH_GRANT or AUTH_DENY.
    for<'a> AuthResp {
        /// The ticket answered.
        1 sid: Sid;
        /// The statement's number in the ticket's epoch.
        2 n: u8;
        /// head_{n-1}.
        3 prev_head: Hash;
        /// keccak256(a); `a` follows in AUTH_ACK.
        4 l: Hash;
        /// The device's, over `Head`.
        5 signature: Signature;
    }
}
