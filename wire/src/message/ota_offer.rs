use crate::{Hash, Signature};

message! {
    /// OTA_OFFER, gateway to pile: firmware is ready; answered by OTA_REQ.
    for<'a> OtaOffer {
        /// The firmware's version.
        1 version: u32;
        /// Its size, bytes.
        2 size: u32;
        /// SHA-256 of the whole.
        3 sha256: Hash;
        /// The vendor's.
        4 signature: Signature;
    }
}
