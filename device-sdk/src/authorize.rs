//! From CHALLENGE_REQ to AUTH_ACK (protocol §4.1, 4 and §5.3, §5.4).

use cip22_wire::{
    Address, FrameType, Hash, NackCode, PublicKey, Sid,
    body::{Deny, Grant, SUITE_PLAIN},
    digest::{challenge_req_hash, ticket_hash},
    keccak256,
    limits::{TICKET_GRACE_BLOCKS_MIN, TICKET_LIFE_BLOCKS_MAX},
    message::{AuthAck, AuthDeny, AuthGrant, AuthResp, Body, Challenge, ChallengeReq, Nack},
    session_keys::SessionKeys,
    statement,
};
use zeroize::Zeroizing;

use crate::{
    charge::ActiveCharge,
    dispatch::Refusal,
    error::Error,
    event::Event,
    hal::{Clock, Entropy, Slot, Storage},
    record::ChargeRecord,
    retransmit::Label,
    session::Session,
    sign::{SigningKey, ecdh_x, recover_address},
};

/// How far an authorization has come.
#[derive(Debug)]
pub(crate) enum Authorization {
    Idle,
    /// CHALLENGE_REQ is to be made.
    Wanted,
    /// CHALLENGE_REQ awaits its CHALLENGE.
    Asking(Asking),
    /// The ticket passed the checks and is not answered yet.
    Holding(Ticket),
    /// AUTH_RESP awaits its answer.
    Answered(Answered),
    /// The grant is to be made durable.
    Granting(Answered, Credit),
}

#[derive(Debug)]
pub(crate) struct Asking {
    eph: SigningKey,
    dev_eph: PublicKey,
}

#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    sid: Sid,
    hash: Hash,
    keys: SessionKeys,
    gateway: Address,
}

#[derive(Clone)]
pub(crate) struct Answered {
    ticket: Ticket,
    a: Zeroizing<[u8; 32]>,
}

impl core::fmt::Debug for Answered {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Answered").field("ticket", &self.ticket).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Credit {
    wh: u32,
    minutes: u16,
    revoked: bool,
}

impl<S: Storage, C: Clock, E: Entropy> Session<'_, S, C, E> {
    /// Asks for power: gets a ticket unless one is held, answers it, and ends in [`Event::Granted`], [`Event::Denied`] or
    /// [`Event::AuthorizeFailed`]. Before an epoch is open the request waits for it.
    ///
    /// # Errors
    /// [`Error::Busy`]: an answer is awaited already, or a charge has not ended (its CHARGE_END may await its ACK).
    pub fn authorize(&mut self) -> Result<(), Error> {
        self.want_ticket()?;
        self.answer_wanted = true;
        self.work();
        Ok(())
    }

    /// Gets a ticket and holds it until [`Self::authorize`]: [`Event::TicketHeld`]. When the epoch advances it is asked anew.
    ///
    /// # Errors
    /// As [`Self::authorize`].
    pub fn request_ticket(&mut self) -> Result<(), Error> {
        self.want_ticket()?;
        self.work();
        Ok(())
    }

    fn want_ticket(&mut self) -> Result<(), Error> {
        if self.charge.is_some() {
            return Err(Error::Busy);
        }
        match self.authorization {
            Authorization::Idle => {
                self.authorization = Authorization::Wanted;
                self.tickets_refused = 0;
                Ok(())
            }
            Authorization::Wanted | Authorization::Asking(_) | Authorization::Holding(_) => Ok(()),
            Authorization::Answered(_) | Authorization::Granting(..) => Err(Error::Busy),
        }
    }

    /// Does what the state asks for and the buffers allow.
    pub(crate) fn advance_authorization(&mut self) -> Result<(), Error> {
        match &self.authorization {
            Authorization::Wanted => self.ask_ticket(),
            Authorization::Holding(_) if self.answer_wanted => self.answer_ticket(),
            Authorization::Granting(..) => self.take_grant(),
            Authorization::Idle
            | Authorization::Asking(_)
            | Authorization::Holding(_)
            | Authorization::Answered(_) => Ok(()),
        }
    }

    fn ask_ticket(&mut self) -> Result<(), Error> {
        if !self.epoch_open() || !self.retransmit.fits(CHALLENGE_REQ_BYTES) {
            return Ok(());
        }
        let eph = SigningKey::random(&mut self.entropy)?;
        let dev_eph = eph.public_key();
        let device_id = self.provisioning.device_id;
        let digest = self.provisioning.verifier_domain().digest(&challenge_req_hash(&device_id, &dev_eph));
        let message = ChallengeReq { device_id, dev_eph, signature: self.key.sign(&digest) };
        self.retransmit.put(Label::numbered(FrameType::ChallengeReq, 0), |out| message.encode(out))?;
        self.authorization = Authorization::Asking(Asking { eph, dev_eph });
        Ok(())
    }

    pub(crate) fn on_challenge(&mut self, message: &Challenge) -> Result<(), Refusal> {
        let Authorization::Asking(asking) = &self.authorization else {
            return Err(Refusal::new(NackCode::Unexpected));
        };
        let checked = self.check_ticket(message, asking);
        self.retransmit.remove(|entry| entry.is(FrameType::ChallengeReq));
        match checked {
            Ok(ticket) => {
                if !self.answer_wanted {
                    self.events.push(Event::TicketHeld { sid: ticket.sid });
                }
                self.authorization = Authorization::Holding(ticket);
                Ok(())
            }
            Err(field) => {
                self.tickets_refused = self.tickets_refused.saturating_add(1);
                self.events.push(Event::TicketRefused { field });
                if self.tickets_refused < TICKETS_REFUSED_MAX {
                    self.authorization = Authorization::Wanted;
                } else {
                    self.end_authorization(0);
                }
                Err(Refusal::field(NackCode::FieldValue, field))
            }
        }
    }

    /// The checks of §5.4; an error is the tag at fault.
    fn check_ticket(&self, message: &Challenge, asking: &Asking) -> Result<Ticket, u8> {
        let chain = &self.chain;
        let hash = ticket_hash(message);
        let digest = self.provisioning.verifier_domain().digest(&hash);
        let grace_from = message.answer_by.checked_add(TICKET_GRACE_BLOCKS_MIN);
        let life_until = message.issued.saturating_add(TICKET_LIFE_BLOCKS_MAX);
        let wrong = [
            (recover_address(&digest, &message.signature) != Ok(self.gateway), 16),
            (message.device_id != self.provisioning.device_id, 3),
            (message.group != self.group, 4),
            (message.index != self.index, 5),
            (message.dev_eph != asking.dev_eph, 14),
            (message.epoch != chain.epoch || !self.epoch_open(), 7),
            (message.epoch_challenge != chain.challenge, 8),
            (message.policy_hash != chain.policy_hash, 9),
            (message.issued > message.answer_by, 11),
            (grace_from.is_none_or(|from| message.deadline < from), 12),
            (message.deadline > life_until, 12),
            (message.circuit_version < self.provisioning.circuit_version_min, 1),
            (message.circuit_version != CIRCUIT_VERSION, 1),
            (message.h != [0; 32], 15),
        ];
        if let Some((_, field)) = wrong.into_iter().find(|(wrong, _)| *wrong) {
            return Err(field);
        }
        let keys = self.derive_keys(asking, message).map_err(|_| 13)?;
        Ok(Ticket { sid: message.sid, hash, keys, gateway: self.gateway })
    }

    /// Z = x(gwEph·devEph) ‖ x(gwEph·devStatic), then §5.3.
    fn derive_keys(&self, asking: &Asking, message: &Challenge) -> Result<SessionKeys, Error> {
        let ephemeral = ecdh_x(&asking.eph, &message.gw_eph)?;
        let fixed = ecdh_x(&self.key, &message.gw_eph)?;
        let mut z = Zeroizing::new([0; 64]);
        for (to, from) in z.iter_mut().zip(ephemeral.iter().chain(fixed.iter())) {
            *to = *from;
        }
        Ok(SessionKeys::derive(&z, &message.sid))
    }

    fn answer_ticket(&mut self) -> Result<(), Error> {
        let Authorization::Holding(ticket) = &self.authorization else {
            return Ok(());
        };
        if !self.epoch_open() || !self.retransmit.fits(AUTH_RESP_BYTES) {
            return Ok(());
        }
        // Without a number left the ticket lapses with the epoch, and is asked anew in the next.
        let Ok(at) = self.next_statement(0) else {
            return Ok(());
        };
        let ticket = ticket.clone();
        let mut a = Zeroizing::new([0; 32]);
        self.entropy.fill(&mut *a)?;
        let l = keccak256(&[&*a]);
        let stmt = statement::auth(&self.provisioning.device_id, at.epoch, at.n, &ticket.hash, &l);
        let signature = self.sign_statement(at, &stmt)?;
        let message = AuthResp { sid: ticket.sid, n: at.n, prev_head: at.prev_head, l, signature };
        // From here on the ticket is answered, so that no second answer to it can be signed.
        let label = Label::of_charge(FrameType::AuthResp, ticket.sid);
        self.authorization = Authorization::Answered(Answered { ticket, a });
        self.answer_wanted = false;
        self.retransmit.put(label, |out| message.encode(out))
    }

    pub(crate) fn on_auth_grant(&mut self, message: &AuthGrant<'_>) -> Result<(), Refusal> {
        if self.charge.as_ref().is_some_and(|charge| charge.record.sid == message.sid) {
            // The same answer again, to an AUTH_RESP that was sent again.
            return Ok(());
        }
        let answered =
            self.check_answer(FrameType::AuthGrant, message.sid, message.suite, message.body, &message.tag)?;
        let Some(answered) = answered else {
            return Ok(());
        };
        let grant = Grant::decode(message.body).map_err(|_| Refusal::field(NackCode::FieldValue, 3))?;
        // The tariff bounds one grant, whatever the gateway says.
        let (wh_max, minutes_max) = self
            .policy_by_hash(&self.chain.policy_hash)
            .map_or((u32::MAX, u16::MAX), |policy| (policy.credit_wh, policy.credit_minutes));
        let credit =
            Credit { wh: grant.wh.min(wh_max), minutes: grant.minutes.min(minutes_max), revoked: false };
        self.retransmit.remove(|entry| entry.is(FrameType::AuthResp));
        self.authorization = Authorization::Granting(answered, credit);
        Ok(())
    }

    pub(crate) fn on_auth_deny(&mut self, message: &AuthDeny<'_>) -> Result<(), Refusal> {
        let answered =
            self.check_answer(FrameType::AuthDeny, message.sid, message.suite, message.body, &message.tag)?;
        if answered.is_none() {
            return Ok(());
        }
        let deny = Deny::decode(message.body).map_err(|_| Refusal::field(NackCode::FieldValue, 3))?;
        self.retransmit.remove(|entry| entry.is(FrameType::AuthResp));
        self.authorization = Authorization::Idle;
        self.events.push(Event::Denied { sid: message.sid, reason: deny.reason });
        Ok(())
    }

    /// The answered ticket, if this is its answer; `None` if it has one already.
    fn check_answer(
        &self,
        frame_type: FrameType,
        sid: Sid,
        suite: u8,
        body: &[u8],
        tag: &Hash,
    ) -> Result<Option<Answered>, Refusal> {
        let answered = match &self.authorization {
            Authorization::Granting(answered, _) if answered.ticket.sid == sid => return Ok(None),
            Authorization::Answered(answered) if answered.ticket.sid == sid => answered,
            _ => return Err(Refusal::field(NackCode::UnknownTicket, 1)),
        };
        if suite != SUITE_PLAIN {
            return Err(Refusal::field(NackCode::FieldValue, 2));
        }
        if !answered.ticket.keys.verify_tag(&answered.ticket.hash, frame_type, suite, body, tag) {
            return Err(Refusal::field(NackCode::BadSignature, 4));
        }
        Ok(Some(answered.clone()))
    }

    /// Makes the begin of the charge durable; only then may power flow and `a` leave.
    fn take_grant(&mut self) -> Result<(), Error> {
        let Authorization::Granting(answered, credit) = &self.authorization else {
            return Ok(());
        };
        if !self.retransmit.fits(AUTH_ACK_BYTES) {
            return Ok(());
        }
        let record = ChargeRecord {
            sid: answered.ticket.sid,
            credit_wh: credit.wh,
            credit_minutes: credit.minutes,
            end: None,
        };
        if self.storage.store(Slot::Charge, &record.encode()).is_err() {
            self.storage_failed(Slot::Charge);
            return Ok(());
        }
        let message = AuthAck { sid: record.sid, a: *answered.a };
        let charge = ActiveCharge::granted(record, answered.ticket.hash, answered.ticket.keys.clone())
            .granted_revoked(credit.revoked);
        self.charge = Some(charge);
        self.authorization = Authorization::Idle;
        self.enter_segment(record.sid);
        self.events.push(Event::Granted {
            sid: record.sid,
            wh: record.credit_wh,
            minutes: record.credit_minutes,
        });
        self.retransmit.put(Label::of_charge(FrameType::AuthAck, record.sid), |out| message.encode(out))
    }

    /// A grant may be revoked while storage refuses its begin.
    pub(crate) fn revoke_granting(&mut self, sid: &Sid, grace_wh: u32) {
        if let Authorization::Granting(answered, credit) = &mut self.authorization
            && answered.ticket.sid == *sid
            && !credit.revoked
        {
            credit.wh = credit.wh.min(grace_wh);
            credit.revoked = true;
        }
    }

    /// The epoch closed: a ticket of it is asked anew. An answer already given stands; its own epoch covers it.
    pub(crate) fn expire_ticket(&mut self) {
        if let Authorization::Holding(ticket) = &self.authorization {
            self.events.push(Event::TicketExpired { sid: ticket.sid });
            self.authorization = Authorization::Wanted;
        }
    }

    /// A ticket is known to its gateway, and bound to the pile's place in its group.
    pub(crate) fn expire_ticket_elsewhere(&mut self, moved: bool) {
        let gateway = self.gateway;
        if matches!(&self.authorization, Authorization::Holding(ticket) if moved || ticket.gateway != gateway)
        {
            self.expire_ticket();
        }
    }

    /// CHALLENGE_REQ or AUTH_RESP was refused for good.
    pub(crate) fn authorization_refused(&mut self, message: &Nack) {
        self.end_authorization(message.code);
    }

    fn end_authorization(&mut self, code: u16) {
        self.authorization = Authorization::Idle;
        self.answer_wanted = false;
        self.events.push(Event::AuthorizeFailed { code });
    }
}

/// The only circuit version this crate answers.
const CIRCUIT_VERSION: u8 = 0;
/// Tickets refused in one authorization before it fails.
const TICKETS_REFUSED_MAX: u8 = 4;
/// Whole frames.
const CHALLENGE_REQ_BYTES: usize = 8 + 3 * 3 + 32 + 33 + 64;
const AUTH_RESP_BYTES: usize = 8 + 5 * 3 + 16 + 1 + 32 + 32 + 64;
const AUTH_ACK_BYTES: usize = 8 + 2 * 3 + 16 + 32;
