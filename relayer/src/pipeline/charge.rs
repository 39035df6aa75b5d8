//! What follows a grant: AUTH_ACK, CHARGE_STATUS, CHARGE_END.

use cip22_wire::digest;
use cip22_wire::message::{Ack, AuthAck, ChargeEnd, ChargeStatus};
use cip22_wire::{DeviceId, EndCause, FrameType, Level, NackCode, Sid, keccak256};
use metrics::counter;

use super::{Handled, frame_bytes};
use crate::gateway::Gateway;
use crate::gateway_key;
use crate::journal::Record;
use crate::state::{State, Ticket};

const FIELD_SID: u8 = 1;
const FIELD_A: u8 = 2;
const FIELD_CAUSE: u8 = 4;

/// Takes in the preimage of `l`: the pile verified our answer.
pub fn auth_ack(gateway: &Gateway, device_id: &DeviceId, ack: &AuthAck) -> Handled {
    let frame_type = FrameType::AuthAck.code();
    let mut state = gateway.state();
    let Some(ticket) = granted(&state, device_id, &ack.sid) else {
        return Handled::refused_field(frame_type, NackCode::UnknownTicket, FIELD_SID, None);
    };
    let l = ticket.answer.as_ref().and_then(|answer| answer.statement).map(|(_, _, l)| l);
    if l != Some(keccak256(&[&ack.a])) {
        return Handled::refused_field(frame_type, NackCode::FieldValue, FIELD_A, None);
    }
    let reply = frame_bytes(&sid_ack(FrameType::AuthAck, Level::Durable, ack.sid));
    if ticket.acked {
        return Handled::after(gateway.barrier(), reply);
    }
    let record = Record::AuthAcked { sid: ack.sid, a: ack.a };
    Handled::after(gateway.commit(&mut state, vec![record]), reply)
}

/// Takes note of the energy so far.
pub fn status(gateway: &Gateway, device_id: &DeviceId, status: &ChargeStatus) -> Handled {
    let frame_type = FrameType::ChargeStatus.code();
    if granted(&gateway.state(), device_id, &status.sid).is_none() {
        return Handled::refused_field(frame_type, NackCode::UnknownTicket, FIELD_SID, None);
    }
    tracing::debug!(sid = %hex::encode(status.sid), wh = status.wh, minutes = status.minutes, "charging");
    Handled::now(frame_bytes(&sid_ack(FrameType::ChargeStatus, Level::Received, status.sid)))
}

/// Ends a charge: what the pile signed is kept, the unused credit is free again.
pub fn end(gateway: &Gateway, device_id: &DeviceId, end: &ChargeEnd<'_>) -> Handled {
    let frame_type = FrameType::ChargeEnd.code();
    let ticket = match granted(&gateway.state(), device_id, &end.sid) {
        Some(ticket) => ticket.clone(),
        None => return Handled::refused_field(frame_type, NackCode::UnknownTicket, FIELD_SID, None),
    };
    let Some(cause) = EndCause::from_u8(end.cause) else {
        return Handled::refused_field(frame_type, NackCode::FieldValue, FIELD_CAUSE, None);
    };
    let digest = gateway.digest(&digest::charge_end_hash(device_id, end));
    let key_fits =
        gateway_key::recover(&digest, &end.signature).is_ok_and(|(key, _)| key == ticket.device_key);
    if !key_fits {
        return Handled::refused(frame_type, NackCode::BadSignature);
    }
    let reply = frame_bytes(&sid_ack(FrameType::ChargeEnd, Level::Durable, end.sid));
    let mut state = gateway.state();
    if state.tickets.get(&end.sid).is_some_and(|ticket| ticket.ended) {
        return Handled::after(gateway.barrier(), reply);
    }
    counter!("charges_ended_total", "cause" => cause.name()).increment(1);
    let record = Record::ChargeEnded {
        sid: end.sid,
        wh: end.wh,
        minutes: end.minutes,
        cause: end.cause,
        meter: end.meter.unwrap_or_default().to_vec(),
        signature: end.signature.to_vec(),
    };
    Handled::after(gateway.commit(&mut state, vec![record]), reply)
}

fn granted<'s>(state: &'s State, device_id: &DeviceId, sid: &Sid) -> Option<&'s Ticket> {
    state.tickets.get(sid).filter(|ticket| {
        ticket.challenge.device_id == *device_id
            && ticket.answer.as_ref().is_some_and(|answer| answer.credit.is_some())
    })
}

fn sid_ack(frame_type: FrameType, level: Level, sid: Sid) -> Ack {
    Ack { frame_type: frame_type.code(), level: level.code(), sid: Some(sid), epoch: None, n: None }
}
