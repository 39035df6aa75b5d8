//! The messages of §4, one file each, and [`Message`], which is any of them.

use crate::error::{DecodeError, EncodeError};

/// A message as the payload of a frame of its own type.
pub trait Body<'a>: Sized {
    /// Type of the frame.
    const TYPE: FrameType;

    /// Reads the payload of a frame of this type.
    ///
    /// # Errors
    /// The frame is to be refused with [`DecodeError::nack`].
    fn decode(payload: &'a [u8]) -> Result<Self, DecodeError>;

    /// Writes the whole frame, header and CRC included, to the start of `out`; returns its length, bytes.
    ///
    /// # Errors
    /// `out` is too short, or a byte string has a length that its field may not have.
    fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError>;

    /// Writes the payload alone to the start of `out`, as SEALED carries it; returns its length, bytes.
    ///
    /// # Errors
    /// As [`Self::encode`].
    fn encode_payload(&self, out: &mut [u8]) -> Result<usize, EncodeError>;
}

/// Declares a message: its struct, as [`fields!`] does, and its [`Body`].
macro_rules! message {
    (
        $(#[$doc:meta])*
        for<$lt:lifetime> $name:ident $(<$own:lifetime>)? { $($fields:tt)* }
    ) => {
        $crate::tlv::fields! {
            $(#[$doc])*
            for<$lt> $name $(<$own>)? { $($fields)* }
        }

        impl<$lt> $crate::message::Body<$lt> for $name $(<$own>)? {
            const TYPE: $crate::message::FrameType = $crate::message::FrameType::$name;

            fn decode(payload: &$lt [u8]) -> Result<Self, $crate::DecodeError> {
                Self::take_fields(payload)
            }

            fn encode(&self, out: &mut [u8]) -> Result<usize, $crate::EncodeError> {
                $crate::frame::write(out, Self::TYPE.code(), |writer| self.put_fields(writer))
            }

            fn encode_payload(&self, out: &mut [u8]) -> Result<usize, $crate::EncodeError> {
                let mut writer = $crate::tlv::Writer::new(out);
                self.put_fields(&mut writer)?;
                Ok(writer.written())
            }
        }
    };
}

mod ack;
mod auth_ack;
mod auth_deny;
mod auth_final;
mod auth_grant;
mod auth_resp;
mod auth_revoke;
mod batch_root;
mod batch_sig;
mod batt_telem;
mod challenge;
mod challenge_req;
mod charge_end;
mod charge_status;
mod credit_update;
mod drain;
mod epoch;
mod fault_claim;
mod heartbeat;
mod hello;
mod hello_ack;
mod leaf_req;
mod nack;
mod ota_chunk;
mod ota_offer;
mod ota_req;
mod ota_status;
mod policy_ack;
mod sealed;
mod set_policy;
mod telem_ack;
mod telem_checkpoint;
mod telem_head;
mod trust_update;

/// Declares every message of the table of §4.
macro_rules! messages {
    (for<$lt:lifetime> $($code:literal $text:literal $module:ident::$name:ident $(<$own:lifetime>)?;)*) => {
        $(pub use $module::$name;)*

        /// Type of a frame: which message its payload is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum FrameType {
            $(#[doc = concat!($text, ", [`", stringify!($name), "`]")] $name = $code,)*
        }

        impl FrameType {
            /// Every type, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The type of this byte; `None` if no message has it.
            #[must_use]
            pub const fn from_u8(value: u8) -> Option<Self> {
                match value {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The byte on the wire.
            #[must_use]
            pub const fn code(self) -> u8 {
                self as u8
            }

            /// The name as the protocol text spells it: `AUTH_RESP`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }

        /// Any message.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(clippy::large_enum_variant, reason = "without an allocator there is nothing to box into")]
        pub enum Message<$lt> {
            $(#[doc = $text] $name($name $(<$own>)?),)*
        }

        impl<$lt> Message<$lt> {
            /// Reads the payload of a frame of `frame_type`.
            ///
            /// # Errors
            /// The frame is to be refused with [`DecodeError::nack`].
            pub fn decode(frame_type: u8, payload: &$lt [u8]) -> Result<Self, DecodeError> {
                match FrameType::from_u8(frame_type).ok_or(DecodeError::UnknownType)? {
                    $(FrameType::$name => $name::decode(payload).map(Self::$name),)*
                }
            }

            /// Writes the whole frame to the start of `out`; returns its length, bytes.
            ///
            /// # Errors
            /// `out` is too short, or a byte string has a length that its field may not have.
            pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
                match self {
                    $(Self::$name(message) => message.encode(out),)*
                }
            }

            /// Type of the frame that carries it.
            #[must_use]
            pub const fn frame_type(&self) -> FrameType {
                match self {
                    $(Self::$name(_) => FrameType::$name,)*
                }
            }
        }

        $(impl<$lt> From<$name $(<$own>)?> for Message<$lt> {
            fn from(message: $name $(<$own>)?) -> Self {
                Self::$name(message)
            }
        })*
    };
}

messages! { for<'a>
    0x01 "HELLO" hello::Hello<'a>;
    0x02 "HELLO_ACK" hello_ack::HelloAck;
    0x03 "EPOCH" epoch::Epoch;
    0x04 "HEARTBEAT" heartbeat::Heartbeat;
    0x05 "NACK" nack::Nack;
    0x06 "DRAIN" drain::Drain;
    0x07 "ACK" ack::Ack;
    0x10 "CHALLENGE_REQ" challenge_req::ChallengeReq;
    0x11 "CHALLENGE" challenge::Challenge;
    0x12 "AUTH_RESP" auth_resp::AuthResp;
    0x13 "AUTH_GRANT" auth_grant::AuthGrant<'a>;
    0x14 "AUTH_DENY" auth_deny::AuthDeny<'a>;
    0x15 "AUTH_ACK" auth_ack::AuthAck;
    0x16 "AUTH_FINAL" auth_final::AuthFinal;
    0x17 "AUTH_REVOKE" auth_revoke::AuthRevoke;
    0x18 "SEALED" sealed::Sealed<'a>;
    0x20 "CREDIT_UPDATE" credit_update::CreditUpdate<'a>;
    0x21 "CHARGE_STATUS" charge_status::ChargeStatus;
    0x22 "CHARGE_END" charge_end::ChargeEnd<'a>;
    0x30 "BATT_TELEM" batt_telem::BattTelem;
    0x31 "TELEM_CHECKPOINT" telem_checkpoint::TelemCheckpoint;
    0x32 "TELEM_ACK" telem_ack::TelemAck;
    0x33 "TELEM_HEAD" telem_head::TelemHead;
    0x40 "BATCH_ROOT" batch_root::BatchRoot<'a>;
    0x41 "BATCH_SIG" batch_sig::BatchSig;
    0x42 "LEAF_REQ" leaf_req::LeafReq;
    0x50 "SET_POLICY" set_policy::SetPolicy<'a>;
    0x51 "POLICY_ACK" policy_ack::PolicyAck;
    0x52 "TRUST_UPDATE" trust_update::TrustUpdate<'a>;
    0x60 "FAULT_CLAIM" fault_claim::FaultClaim<'a>;
    0x70 "OTA_OFFER" ota_offer::OtaOffer;
    0x71 "OTA_REQ" ota_req::OtaReq;
    0x72 "OTA_CHUNK" ota_chunk::OtaChunk<'a>;
    0x73 "OTA_STATUS" ota_status::OtaStatus;
}
