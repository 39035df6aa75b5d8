//! Suite 1 as a scenario sees it: what the gateway sealed is opened by hand, and every sealed frame that ever left it is compared.

use std::collections::BTreeMap;

use cip22_wire::body::SUITE_SM4_GCM;
use cip22_wire::message::{AuthDeny, AuthGrant, Body, CreditUpdate, Sealed};
use cip22_wire::sealed::{SealedBody, associated_data};
use cip22_wire::session_keys::SessionKeys;
use cip22_wire::{FrameType, Hash, Sid, digest};
use shangmi::session::{Opener, Role, Sealer, SessionSecret};
use shangmi::suite::Suite;

use crate::pile::{Pile, Ticket, whole_frame};

/// The pile's end of a ticket's sealed bodies.
#[derive(Debug)]
pub struct PileEnd {
    keys: SessionKeys,
    device_id: Hash,
    sid: Sid,
    ticket_hash: Hash,
}

impl PileEnd {
    /// Of a ticket that the pile got.
    pub fn new(pile: &Pile, ticket: &Ticket) -> Self {
        Self {
            keys: pile.session_keys(ticket),
            device_id: pile.device_id,
            sid: ticket.challenge.sid,
            ticket_hash: digest::ticket_hash(&ticket.challenge),
        }
    }

    /// Number and content of a body that the gateway sealed, as often as one likes.
    pub fn open(&self, frame_type: FrameType, body: &[u8]) -> Option<(u32, Vec<u8>)> {
        let SealedBody { seq, ciphertext, tag } = SealedBody::parse(body)?;
        let data = associated_data(&self.ticket_hash, frame_type, SUITE_SM4_GCM);
        let mut plain = ciphertext.to_vec();
        self.ends().1.open(u64::from(seq), &data, &mut plain, tag).ok()?;
        Some((seq, plain))
    }

    /// Number and content of AUTH_GRANT's or CREDIT_UPDATE's payload; its tag is checked.
    pub fn open_frame(&self, frame_type: FrameType, payload: &[u8]) -> (u32, Vec<u8>) {
        let (sid, suite, body, tag) = match frame_type {
            FrameType::CreditUpdate => {
                let update = CreditUpdate::decode(payload).expect("CREDIT_UPDATE");
                (update.sid, update.suite, update.body, update.tag)
            }
            _ => {
                let grant = AuthGrant::decode(payload).expect("AUTH_GRANT");
                (grant.sid, grant.suite, grant.body, grant.tag)
            }
        };
        assert_eq!((sid, suite), (self.sid, SUITE_SM4_GCM), "{frame_type:?}");
        assert!(self.keys.verify_tag(&self.ticket_hash, frame_type, suite, body, &tag), "tag");
        self.open(frame_type, body).expect("sealed for this pile")
    }

    /// Number, type and payload of what SEALED's payload carries.
    pub fn open_sealed(&self, payload: &[u8]) -> (u32, FrameType, Vec<u8>) {
        let sealed = Sealed::decode(payload).expect("SEALED");
        assert_eq!((sealed.sid, sealed.suite), (self.sid, SUITE_SM4_GCM));
        let (number, plain) = self.open(FrameType::Sealed, sealed.body).expect("sealed for this pile");
        let (inside, payload) = plain.split_first().expect("a type");
        (number, FrameType::from_u8(*inside).expect("a known type"), payload.to_vec())
    }

    /// The SEALED frame in which the pile sends `type ‖ payload`.
    pub fn seal(&self, number: u32, inside: &[u8]) -> Vec<u8> {
        let data = associated_data(&self.ticket_hash, FrameType::Sealed, SUITE_SM4_GCM);
        let mut ciphertext = inside.to_vec();
        let sealer = self.ends().0;
        let tag = sealer.starting_at(u64::from(number)).seal(&data, &mut ciphertext).expect("sealed").tag;
        let body = [&number.to_be_bytes()[..], &ciphertext, &tag].concat();
        whole_frame(&Sealed { sid: self.sid, suite: SUITE_SM4_GCM, body: &body })
    }

    fn ends(&self) -> (Sealer, Opener) {
        let shared = [*self.keys.enc_gateway(), *self.keys.enc_pile()].concat();
        let secret = SessionSecret::derive(&self.device_id, &shared, &self.sid).expect("derived");
        secret.split(Suite::Sm4Gcm, Role::Responder)
    }
}

/// Every sealed frame that left a gateway, over all its lives.
#[derive(Debug, Default)]
pub struct Left {
    by_number: BTreeMap<(Sid, u32), (u8, Vec<u8>)>,
    /// Frames that came again.
    pub repeats: usize,
}

impl Left {
    /// Takes in what came to a pile of suite 1 and fails if a number of a ticket stood for other bytes before, or if anything that has to
    /// be sealed is not.
    pub fn take(&mut self, received: impl IntoIterator<Item = (u8, Vec<u8>)>) {
        for (frame_type, payload) in received {
            let Some((sid, body)) = sealed_body(frame_type, &payload) else { continue };
            let number = SealedBody::parse(&body).expect("number and tag").seq;
            let before = self.by_number.insert((sid, number), (frame_type, payload.clone()));
            if let Some(before) = before {
                assert_eq!(before, (frame_type, payload), "number {number} of {} twice", hex::encode(sid));
                self.repeats += 1;
            }
        }
    }

    /// Numbers under which anything of a ticket left, in order.
    pub fn numbers(&self, sid: Sid) -> Vec<u32> {
        self.by_number.range((sid, 0)..=(sid, u32::MAX)).map(|((_, number), _)| *number).collect()
    }
}

fn sealed_body(frame_type: u8, payload: &[u8]) -> Option<(Sid, Vec<u8>)> {
    let (sid, suite, body) = match FrameType::from_u8(frame_type)? {
        FrameType::AuthGrant => {
            let grant = AuthGrant::decode(payload).expect("AUTH_GRANT");
            (grant.sid, grant.suite, grant.body)
        }
        FrameType::AuthDeny => {
            let denial = AuthDeny::decode(payload).expect("AUTH_DENY");
            (denial.sid, denial.suite, denial.body)
        }
        FrameType::CreditUpdate => {
            let update = CreditUpdate::decode(payload).expect("CREDIT_UPDATE");
            (update.sid, update.suite, update.body)
        }
        FrameType::Sealed => {
            let sealed = Sealed::decode(payload).expect("SEALED");
            (sealed.sid, sealed.suite, sealed.body)
        }
        FrameType::AuthRevoke => panic!("AUTH_REVOKE in plain"),
        _ => return None,
    };
    assert_eq!(suite, SUITE_SM4_GCM, "in plain");
    Some((sid, body.to_vec()))
}
