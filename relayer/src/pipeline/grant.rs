//! The local decision on an AUTH_RESP, in the order of protocol §6. A grant is a bounded credit and is durable before it leaves.

use cip22_wire::body::{Deny, Grant, SUITE_PLAIN, SUITE_SM4_GCM};
use cip22_wire::message::{AuthDeny, AuthGrant, AuthResp};
use cip22_wire::tariff::Tariff;
use cip22_wire::{DenyReason, DeviceId, FrameType, Hash, NackCode, Sid, keccak256, statement};
use metrics::{counter, histogram};

use super::authenticate::{self, Position};
use super::journal::{self, Journaled};
use super::{Handled, frame_bytes, revoke};
use crate::config::SealedBodies;
use crate::failpoint::failpoint;
use crate::gateway::Gateway;
use crate::journal::Record;
use crate::journal::record::StatementKind;
use crate::limits::NOT_READY_RETRY_MS;
use crate::seal::{ANSWER_NUMBER, TicketKeys};
use crate::state::{State, Ticket};

const TYPE: u8 = FrameType::AuthResp.code();
const FIELD_N: u8 = 2;

/// Answers an AUTH_RESP; `payload` is its bytes as received, and `seals` says whether this session has agreed on sealed bodies.
#[tracing::instrument(name = "grant", skip_all, fields(device = %hex::encode(device_id), sid = %hex::encode(response.sid)))]
pub fn handle(
    gateway: &Gateway,
    device_id: &DeviceId,
    response: &AuthResp,
    payload: &[u8],
    seals: bool,
) -> Handled {
    let started_ms = gateway.clock.monotonic_ms();
    let handled = decide(gateway, device_id, response, payload, seals).unwrap_or_else(|code| {
        counter!("auth_resp_total", "result" => code.name()).increment(1);
        tracing::info!(code = code.name(), "AUTH_RESP refused");
        match code {
            NackCode::NotReady => Handled::refused_until(TYPE, code, NOT_READY_RETRY_MS),
            code => Handled::refused(TYPE, code),
        }
    });
    let elapsed_ms = gateway.clock.monotonic_ms().saturating_sub(started_ms);
    histogram!("grant_decision_seconds").record(elapsed_ms as f64 / 1_000.0);
    handled
}

fn decide(
    gateway: &Gateway,
    device_id: &DeviceId,
    response: &AuthResp,
    payload: &[u8],
    seals: bool,
) -> Result<Handled, NackCode> {
    let request_hash = keccak256(&[payload]);
    let ticket = known_ticket(&gateway.state(), device_id, response)?;
    gateway.place_at(device_id, ticket.challenge.epoch)?;
    if let Some(handled) = answered_before(gateway, &ticket, &request_hash)? {
        return Ok(handled);
    }
    if !seals && gateway.settings.sealed_bodies == SealedBodies::Required {
        return Err(NackCode::Unsupported);
    }
    if response.n == 0 {
        return Ok(Handled::refused_field(TYPE, NackCode::FieldValue, FIELD_N, None));
    }
    let epoch = ticket.challenge.epoch;
    let stmt = statement::auth(device_id, epoch, response.n, &ticket.ticket_hash, &response.l);
    let position = Position {
        epoch,
        n: response.n,
        prev_head: response.prev_head,
        head: statement::next_head(&response.prev_head, &stmt),
        signature: response.signature,
    };
    let authenticated = authenticate::statement(gateway, device_id, &position)?;
    let keys = keys_of(gateway, &ticket).ok_or(NackCode::FieldValue)?;
    let suite = if seals { SUITE_SM4_GCM } else { SUITE_PLAIN };
    let answered = Answered { gateway, sid: response.sid, keys, suite, request_hash };

    let mut state = gateway.state();
    // Another connection may have been quicker since.
    let ticket = known_ticket(&state, device_id, response)?;
    if let Some(handled) = answered_before(gateway, &ticket, &request_hash)? {
        return Ok(handled);
    }
    let place = (authenticated.place.group, authenticated.place.index, epoch);
    state
        .check_chain(place, position.n, &position.prev_head, &position.head)
        .map_err(authenticate::conflict_code)?;
    if gateway.view.borrow().latest_block > ticket.challenge.answer_by {
        return Ok(answered.deny(&mut state, DenyReason::Expired));
    }
    let Some((wh, minutes)) = credit(gateway, &state, device_id, epoch) else {
        return Ok(answered.deny(&mut state, DenyReason::NoCredit));
    };
    let answer = answered.grant_frame(wh, minutes);
    failpoint("grant::sealed");
    let kind = StatementKind::Auth {
        sid: response.sid,
        ticket_hash: ticket.ticket_hash,
        l: response.l,
        request_hash,
        wh,
        minutes,
        answer: answer.clone(),
    };
    match journal::statement(gateway, &mut state, device_id, &position, &authenticated, kind)? {
        Journaled::New(durable) => {
            counter!("auth_resp_total", "result" => "GRANTED").increment(1);
            Ok(Handled::after(durable, answer))
        }
        // The statement stands, yet no answer to this ticket: the n was used for another one.
        Journaled::Held(_) => Err(NackCode::ChainConflict),
    }
}

fn known_ticket(state: &State, device_id: &DeviceId, response: &AuthResp) -> Result<Ticket, NackCode> {
    let ticket = state.tickets.get(&response.sid).ok_or(NackCode::UnknownTicket)?;
    if ticket.challenge.device_id == *device_id { Ok(ticket.clone()) } else { Err(NackCode::UnknownTicket) }
}

fn answered_before(
    gateway: &Gateway,
    ticket: &Ticket,
    request_hash: &Hash,
) -> Result<Option<Handled>, NackCode> {
    match &ticket.answer {
        None => Ok(None),
        Some(answer) if answer.request_hash == *request_hash => {
            counter!("auth_resp_total", "result" => "REPEATED").increment(1);
            let mut handled = Handled::after(gateway.barrier(), answer.frame.clone());
            // What became of the grant since would otherwise have come before it.
            handled.replies.extend(revoke::frame_of(gateway, ticket));
            Ok(Some(handled))
        }
        Some(_) => Err(NackCode::TicketUsed),
    }
}

/// The keys of a ticket.
pub fn keys_of(gateway: &Gateway, ticket: &Ticket) -> Option<TicketKeys> {
    TicketKeys::new(&gateway.site_secret, &ticket.challenge, &ticket.device_key)
}

/// The credit that policy and open charges leave to a device; `None` when it has none.
fn credit(gateway: &Gateway, state: &State, device_id: &DeviceId, epoch: u32) -> Option<(u32, u16)> {
    let open = state.open_charges.get(device_id).map_or(0, std::collections::HashSet::len);
    let view = gateway.view.borrow();
    let tariff = Tariff::parse(&view.policy_at(epoch)?.tariff).ok()?;
    let terms = tariff.terms();
    let open_max = gateway.settings.open_charges_per_device_max;
    let (wh, minutes, open_max) = state.tightened(device_id, terms.credit_wh, terms.credit_minutes, open_max);
    (open < open_max).then_some((wh, minutes))
}

/// What an answer is made of, besides the decision.
struct Answered<'g> {
    gateway: &'g Gateway,
    sid: Sid,
    keys: TicketKeys,
    suite: u8,
    request_hash: Hash,
}

impl Answered<'_> {
    fn grant_frame(&self, wh: u32, minutes: u16) -> Vec<u8> {
        let mut body = [0; 64];
        let length = Grant { wh, minutes }.encode(&mut body).expect("a grant's body is 12 bytes");
        let (body, tag) = self.body(FrameType::AuthGrant, &body[..length]);
        frame_bytes(&AuthGrant { sid: self.sid, suite: self.suite, body: &body, tag })
    }

    fn deny(&self, state: &mut State, reason: DenyReason) -> Handled {
        let mut body = [0; 64];
        let length = Deny { reason: reason.code() }.encode(&mut body).expect("a denial's body is 4 bytes");
        let (body, tag) = self.body(FrameType::AuthDeny, &body[..length]);
        let answer = frame_bytes(&AuthDeny { sid: self.sid, suite: self.suite, body: &body, tag });
        counter!("auth_resp_total", "result" => reason.name()).increment(1);
        tracing::info!(reason = reason.name(), "AUTH_RESP denied");
        let (sid, request_hash) = (self.sid, self.request_hash);
        let record = Record::Denied { sid, request_hash, answer: answer.clone() };
        Handled::after(self.gateway.commit(state, vec![record]), answer)
    }

    fn body(&self, frame_type: FrameType, plain: &[u8]) -> (Vec<u8>, Hash) {
        let body = self.keys.body(self.suite, frame_type, ANSWER_NUMBER, plain);
        body.expect("the first number is one that a key may have")
    }
}
