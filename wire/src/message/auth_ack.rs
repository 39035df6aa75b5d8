use crate::Sid;

message! {
    /// AUTH_ACK, pile to gateway, once the tag of the grant verified; answered by ACK.
    for<'a> AuthAck {
        /// The ticket granted.
        1 sid: Sid;
        /// Preimage of `l`.
        2 a: [u8; 32];
    }
}
