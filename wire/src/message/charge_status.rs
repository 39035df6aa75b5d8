use crate::Sid;

message! {
    /// CHARGE_STATUS, pile to gateway; answered by ACK.
    for<'a> ChargeStatus {
        /// The charge.
        1 sid: Sid;
        /// Energy since the grant, Wh.
        2 wh: u32;
        /// Time since the grant, minutes.
        3 minutes: u16;
    }
}
