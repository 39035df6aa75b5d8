//! What stands in `body` of AUTH_GRANT, AUTH_DENY and CREDIT_UPDATE, under suite 1 sealed (§4.2): itself a TLV sequence, without a frame.

use crate::{
    error::{DecodeError, EncodeError},
    tlv::{Writer, fields},
};

/// Suite of a body in plain.
pub const SUITE_PLAIN: u8 = 0;
/// Suite of a body sealed by SM4-GCM (§4.5).
pub const SUITE_SM4_GCM: u8 = 1;

fields! {
    /// Body of AUTH_GRANT: the credit.
    for<'a> Grant {
        /// Energy, Wh.
        1 wh: u32;
        /// Time, minutes.
        2 minutes: u16;
    }
}

fields! {
    /// Body of AUTH_DENY.
    for<'a> Deny {
        /// A [`DenyReason`](crate::DenyReason).
        1 reason: u8;
    }
}

fields! {
    /// Body of CREDIT_UPDATE: the new totals.
    for<'a> Credit {
        /// Strictly increasing per sid.
        1 seq: u32;
        /// Energy since the grant, Wh.
        2 wh: u32;
        /// Time since the grant, minutes.
        3 minutes: u16;
    }
}

macro_rules! bodies {
    ($($name:ident)*) => {$(
        impl $name {
            /// Reads the body.
            ///
            /// # Errors
            /// The bytes are not this body; `field` is a tag inside it.
            pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
                Self::take_fields(body)
            }

            /// Writes the body to the start of `out`; returns its length, bytes.
            ///
            /// # Errors
            /// `out` is too short.
            pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
                let mut writer = Writer::new(out);
                self.put_fields(&mut writer)?;
                Ok(writer.written())
            }
        }
    )*};
}

bodies!(Grant Deny Credit);
