use crate::{Sid, Signature, limits::METER_BYTES_MAX};

message! {
    /// CHARGE_END, pile to gateway; answered by ACK.
    for<'a> ChargeEnd<'a> {
        /// The charge.
        1 sid: Sid;
        /// Energy since the grant, Wh.
        2 wh: u32;
        /// Time since the grant, minutes.
        3 minutes: u16;
        /// An [`EndCause`](crate::EndCause).
        4 cause: u8;
        /// The meter's OCMF record, untouched.
        5 meter: Option<&'a [u8]>, max METER_BYTES_MAX;
        /// The device's, over `ChargeEnd`.
        6 signature: Signature;
    }
}
