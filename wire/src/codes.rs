/// Declares the codes of one table. Messages hold the raw integer, so a code added later survives a decode.
macro_rules! codes {
    ($(#[$doc:meta])* $name:ident: $raw:ty { $($(#[$code_doc:meta])* $code:ident = $value:literal $text:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr($raw)]
        pub enum $name {
            $($(#[$code_doc])* #[doc = concat!("(`", $text, "`)")] $code = $value,)*
        }

        impl $name {
            #[doc = concat!("The code of this value; `None` if version 2.0 knows none.")]
            #[must_use]
            pub const fn from_code(value: $raw) -> Option<Self> {
                match value {
                    $($value => Some(Self::$code),)*
                    _ => None,
                }
            }

            /// The value on the wire.
            #[must_use]
            pub const fn code(self) -> $raw {
                self as $raw
            }

            /// The name as the protocol text spells it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$code => $text,)*
                }
            }
        }
    };
}

/// [`codes!`] for one byte.
macro_rules! codes_u8 {
    ($(#[$doc:meta])* $name:ident { $($codes:tt)* }) => {
        codes! { $(#[$doc])* $name: u8 { $($codes)* } }

        impl $name {
            /// The code of this byte; `None` if version 2.0 knows none.
            #[must_use]
            pub const fn from_u8(value: u8) -> Option<Self> {
                Self::from_code(value)
            }
        }
    };
}

codes! {
    /// Why a frame was refused (§8).
    NackCode: u16 {
        /// The header holds another magic, codec or flags.
        MalformedHeader = 1 "MALFORMED_HEADER";
        /// The checksum differs.
        BadCrc = 2 "BAD_CRC";
        /// The payload is longer than the receiver takes; `limit` states how long it may be.
        PayloadTooLong = 3 "PAYLOAD_TOO_LONG";
        /// No message has this type.
        UnknownType = 4 "UNKNOWN_TYPE";
        /// The payload is no sequence of fields with increasing tags.
        MalformedTlv = 5 "MALFORMED_TLV";
        /// An even tag that this message does not have.
        UnknownField = 6 "UNKNOWN_FIELD";
        /// A required field is absent.
        MissingField = 7 "MISSING_FIELD";
        /// A field has another length than stated; `limit` states which.
        FieldLength = 8 "FIELD_LENGTH";
        /// A field has a value it may not have.
        FieldValue = 9 "FIELD_VALUE";
        /// The frame has no place at this point of the session.
        Unexpected = 10 "UNEXPECTED";
        /// The device id is not that of the certificate.
        DeviceMismatch = 11 "DEVICE_MISMATCH";
        /// The device is not registered.
        UnknownDevice = 12 "UNKNOWN_DEVICE";
        /// The device is revoked.
        RevokedDevice = 13 "REVOKED_DEVICE";
        /// No such ticket was issued to this device.
        UnknownTicket = 14 "UNKNOWN_TICKET";
        /// The ticket was answered with other bytes.
        TicketUsed = 15 "TICKET_USED";
        /// The signature does not verify.
        BadSignature = 16 "BAD_SIGNATURE";
        /// The policy is not held, or another one was signed.
        StalePolicy = 17 "STALE_POLICY";
        /// The epoch is not the open one.
        StaleEpoch = 18 "STALE_EPOCH";
        /// The statement conflicts with one already held.
        ChainConflict = 19 "CHAIN_CONFLICT";
        /// A record is missing before this one; `limit` is the next seq expected.
        TelemGap = 20 "TELEM_GAP";
        /// The fingerprint does not follow from the record.
        TelemFingerprint = 21 "TELEM_FINGERPRINT";
        /// The record is older than the one before it.
        TelemTime = 22 "TELEM_TIME";
        /// The checkpoint names no record held, or not the previous checkpoint.
        CheckpointMismatch = 23 "CHECKPOINT_MISMATCH";
        /// Too many frames; try again after `retry_ms`.
        RateLimited = 24 "RATE_LIMITED";
        /// The receiver is overloaded; try again after `retry_ms`.
        Overloaded = 25 "OVERLOADED";
        /// The receiver is not ready; try again after `retry_ms`.
        NotReady = 26 "NOT_READY";
        /// The receiver does not serve this message.
        Unsupported = 27 "UNSUPPORTED";
        /// No common version of the protocol.
        UnsupportedVersion = 28 "UNSUPPORTED_VERSION";
        /// Storage failed; try again after `retry_ms`.
        Storage = 29 "STORAGE";
    }
}

impl NackCode {
    /// The code of this value; `None` if version 2.0 knows none.
    #[must_use]
    pub const fn from_u16(value: u16) -> Option<Self> {
        Self::from_code(value)
    }
}

codes_u8! {
    /// What an acknowledgement promises (§7); a higher level includes the lower ones.
    Level {
        /// Parsed and accepted, nothing promised.
        Received = 1 "RECEIVED";
        /// On the gateway's disk, its own fsync returned.
        Durable = 2 "DURABLE";
        /// Recorded on chain in a block that the `safe` tag covers.
        Safe = 3 "SAFE";
        /// Covered by `finalized`.
        Final = 4 "FINAL";
    }
}

codes_u8! {
    /// Why power was denied (§4.2).
    DenyReason {
        /// The answer came after `answer_by`.
        Expired = 1 "EXPIRED";
        /// The device is revoked.
        Revoked = 2 "REVOKED";
        /// No credit is available.
        NoCredit = 3 "NO_CREDIT";
        /// The gateway is overloaded.
        Overloaded = 4 "OVERLOADED";
    }
}

codes_u8! {
    /// Why a charge ended, in the spelling of OCPP 2.0.1 (§4.3).
    EndCause {
        /// Stopped by the user at the pile.
        Local = 1 "Local";
        /// Stopped by the back office.
        Remote = 2 "Remote";
        /// The vehicle was unplugged.
        EvDisconnected = 3 "EVDisconnected";
        /// The authorization was withdrawn.
        DeAuthorized = 4 "DeAuthorized";
        /// The emergency stop was pressed.
        EmergencyStop = 5 "EmergencyStop";
        /// The energy credit is used up.
        EnergyLimitReached = 6 "EnergyLimitReached";
        /// The time credit is used up.
        TimeLimitReached = 7 "TimeLimitReached";
        /// The supply failed.
        PowerLoss = 8 "PowerLoss";
        /// The pile restarted.
        Reboot = 9 "Reboot";
        /// A ground fault was detected.
        GroundFault = 10 "GroundFault";
        /// An overcurrent was detected.
        OvercurrentFault = 11 "OvercurrentFault";
        /// The battery reached its charge limit.
        SocLimitReached = 12 "SOCLimitReached";
        /// Anything else.
        Other = 13 "Other";
    }
}

codes_u8! {
    /// Why a grant was revoked (AUTH_REVOKE).
    RevokeCause {
        /// The head was not final in time.
        NotFinal = 1 "not yet final in time";
        /// The contract skipped or refused the head.
        Rejected = 2 "rejected by contract";
        /// The block that held the head left the chain.
        ReorgedOut = 3 "reorged out";
        /// The device was revoked.
        DeviceRevoked = 4 "device revoked";
    }
}

codes_u8! {
    /// What TRUST_UPDATE replaces.
    TrustKind {
        /// The governance key.
        GovernanceKey = 1 "governance key";
        /// SHA-256 of the certificate root.
        CertificateRoot = 2 "certificate root SHA-256";
        /// The address of the verifier contract.
        VerifierAddress = 3 "verifier address";
        /// The lowest circuit version the pile accepts.
        CircuitVersionMin = 4 "minimum circuit version";
    }
}

codes_u8! {
    /// What FAULT_CLAIM carries.
    ClaimKind {
        /// A demand to explain.
        Demand = 1 "demand";
        /// A claim.
        Claim = 2 "claim";
    }
}
