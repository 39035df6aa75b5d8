//! The keys of one ticket at the gateway, and what it seals and opens with them (protocol §4.5, §5.3).
//!
//! The number of a frame is its nonce: whoever seals gives one that belongs to that frame alone, see [`crate::state::Ticket::news`].

use std::fmt;

use cip22_wire::body::{SUITE_PLAIN, SUITE_SM4_GCM};
use cip22_wire::limits::SEAL_OVERHEAD_BYTES;
use cip22_wire::message::{Challenge, Sealed};
use cip22_wire::sealed::{self, SealedBody};
use cip22_wire::session_keys::SessionKeys;
use cip22_wire::{DeviceId, FrameType, Hash, PublicKey, Sid, digest, frame};
use metrics::counter;
use shangmi::session::{ReplayWindow, Role, SessionSecret};
use shangmi::suite::Suite;
use zeroize::Zeroizing;

use crate::gateway_key::SiteSecret;
use crate::pipeline::decode::type_name;
use crate::pipeline::frame_bytes;

/// Number of the answer to AUTH_RESP.
pub const ANSWER_NUMBER: u32 = 0;

/// The keys of a ticket. Erased when dropped.
pub struct TicketKeys {
    session: SessionKeys,
    device_id: DeviceId,
    sid: Sid,
    ticket_hash: Hash,
}

/// Why a sealed body was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unopened {
    /// Its number was seen before, or is before the window.
    Repeated,
    /// It is not what the other end sealed for this frame.
    Forged,
}

impl TicketKeys {
    /// From the ticket's ephemeral key, which derives from the site secret, and the device's two keys. `None` for points that
    /// take no part in an exchange, for which no ticket is ever issued.
    pub fn new(site_secret: &SiteSecret, challenge: &Challenge, device_key: &PublicKey) -> Option<Self> {
        let key = site_secret.ticket_key(&challenge.sid).ok()?;
        let z = key.shared_secret(&challenge.dev_eph, device_key).ok()?;
        Some(Self {
            session: SessionKeys::derive(&z, &challenge.sid),
            device_id: challenge.device_id,
            sid: challenge.sid,
            ticket_hash: digest::ticket_hash(challenge),
        })
    }

    /// `body` and `tag` of AUTH_GRANT, AUTH_DENY or CREDIT_UPDATE. `None` for a number beyond those that a key may have.
    pub fn body(
        &self,
        suite: u8,
        frame_type: FrameType,
        number: u32,
        plain: &[u8],
    ) -> Option<(Vec<u8>, Hash)> {
        let body = if suite == SUITE_PLAIN {
            plain.to_vec()
        } else {
            self.seal(Role::Initiator, frame_type, number, plain)?
        };
        let tag = self.session.tag(&self.ticket_hash, frame_type, suite, &body);
        Some((body, tag))
    }

    /// The SEALED frame that carries this whole frame.
    pub fn sealed_frame(&self, number: u32, inside: &[u8]) -> Option<Vec<u8>> {
        let parsed = frame::parse(inside, u16::MAX).ok()??;
        let plain = Zeroizing::new([&[parsed.frame_type][..], parsed.payload].concat());
        let body = self.seal(Role::Initiator, FrameType::Sealed, number, &plain)?;
        Some(frame_bytes(&Sealed { sid: self.sid, suite: SUITE_SM4_GCM, body: &body }))
    }

    /// Opens what the pile sealed for a frame of this type; only what opens moves the window.
    pub fn open(
        &self,
        window: &mut ReplayWindow,
        frame_type: FrameType,
        body: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Unopened> {
        let number = u64::from(SealedBody::parse(body).ok_or(Unopened::Forged)?.seq);
        window.check(number).map_err(|_| Unopened::Repeated)?;
        let plain = self.unseal(Role::Initiator, frame_type, body).ok_or(Unopened::Forged)?;
        window.accept(number).map_err(|_| Unopened::Repeated)?;
        Ok(plain)
    }

    /// Opens what this gateway sealed itself, to tell operators of it.
    pub fn open_own(&self, frame_type: FrameType, body: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        self.unseal(Role::Responder, frame_type, body)
    }

    /// What the pile would seal.
    #[cfg(test)]
    pub fn seal_as_pile(&self, number: u32, plain: &[u8]) -> Vec<u8> {
        self.seal(Role::Responder, FrameType::Sealed, number, plain).expect("a small number")
    }

    fn seal(&self, role: Role, frame_type: FrameType, number: u32, plain: &[u8]) -> Option<Vec<u8>> {
        let (sealer, _) = self.secret()?.split(Suite::Sm4Gcm, role);
        let mut ciphertext = plain.to_vec();
        let data = self.associated_data(frame_type);
        let sealed = sealer.starting_at(u64::from(number)).seal(&data, &mut ciphertext).ok()?;
        counter!("sealed_frames_total", "type" => type_name(frame_type.code())).increment(1);
        let mut body = vec![0; ciphertext.len().saturating_add(SEAL_OVERHEAD_BYTES)];
        SealedBody { seq: number, ciphertext: &ciphertext, tag: &sealed.tag }.encode(&mut body).ok()?;
        Some(body)
    }

    fn unseal(&self, role: Role, frame_type: FrameType, body: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let SealedBody { seq, ciphertext, tag } = SealedBody::parse(body)?;
        let (_, mut opener) = self.secret()?.split(Suite::Sm4Gcm, role);
        let mut plain = Zeroizing::new(ciphertext.to_vec());
        opener.open(u64::from(seq), &self.associated_data(frame_type), &mut plain, tag).ok()?;
        Some(plain)
    }

    fn secret(&self) -> Option<SessionSecret> {
        SessionSecret::derive(&self.device_id, self.session.enc_secret().as_slice(), &self.sid).ok()
    }

    fn associated_data(&self, frame_type: FrameType) -> [u8; sealed::ASSOCIATED_DATA_BYTES] {
        sealed::associated_data(&self.ticket_hash, frame_type, SUITE_SM4_GCM)
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKeys").field("sid", &hex::encode(self.sid)).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "seal_tests.rs"]
mod tests;
