//! Tickets: a CHALLENGE_REQ that the device's key signed gets a time-limited ticket, durable before it leaves.

use cip22_wire::digest;
use cip22_wire::message::{Body, Challenge, ChallengeReq};
use cip22_wire::{DeviceId, FrameType, NackCode, PublicKey, Sid, frame};
use metrics::counter;

use super::{Handled, frame_bytes, refuse, refuse_with};
use crate::directory::Place;
use crate::gateway::{Gateway, fill_random};
use crate::gateway_key;
use crate::journal::Record;
use crate::limits::{NOT_READY_RETRY_MS, TICKETS_PER_EPOCH_MAX};
use crate::session::allowance::Verdict;
use crate::view::Epoch;

const TYPE: u8 = FrameType::ChallengeReq.code();
const FIELD_DEV_EPH: u8 = 2;

/// Answers a CHALLENGE_REQ.
#[tracing::instrument(name = "challenge", skip_all, fields(device = %hex::encode(device_id)))]
pub fn handle(gateway: &Gateway, device_id: &DeviceId, request: &ChallengeReq) -> Handled {
    if request.device_id != *device_id {
        return Handled::refused(TYPE, NackCode::DeviceMismatch);
    }
    let standing = gateway.announced().borrow().filter(|announced| !announced.withdrawn);
    let Some(announced) = standing else {
        return Handled::refused_until(TYPE, NackCode::NotReady, NOT_READY_RETRY_MS);
    };
    let place = match gateway.place_at(device_id, announced.epoch.epoch) {
        Ok(place) => place,
        // A device that joined becomes active with the next epochs.
        Err(NackCode::UnknownDevice) if gateway.directory.load().devices.contains_key(device_id) => {
            return Handled::refused_until(TYPE, NackCode::NotReady, NOT_READY_RETRY_MS);
        }
        Err(code) => return Handled::refused(TYPE, code),
    };
    let digest = gateway.digest(&digest::challenge_req_hash(device_id, &request.dev_eph));
    let device_key = match gateway_key::recover(&digest, &request.signature) {
        Ok((key, address)) if address == place.key => key,
        _ => return Handled::refused(TYPE, NackCode::BadSignature),
    };
    issue(gateway, device_id, request, &place, &announced.epoch, device_key)
}

/// Answers one CHALLENGE_REQ frame with one CHALLENGE or NACK frame (`POST /auth/challenge`).
pub async fn answer_once(gateway: &Gateway, device_id: &DeviceId, request: &[u8]) -> Vec<u8> {
    let handled = match frame::parse(request, gateway.settings.max_payload) {
        Err(error) => return refuse_with(error.nack(0)),
        Ok(None) => return refuse(0, NackCode::MalformedHeader),
        Ok(Some(parsed)) if parsed.frame_type != TYPE => {
            return refuse(parsed.frame_type, NackCode::Unexpected);
        }
        Ok(Some(parsed)) => match gateway.sessions.judge_frame(device_id, gateway.clock.monotonic_ms()) {
            Verdict::Refuse(retry_ms) | Verdict::Wait(retry_ms) => {
                Handled::refused_until(TYPE, NackCode::RateLimited, retry_ms)
            }
            Verdict::Take => match ChallengeReq::decode(parsed.payload) {
                Err(error) => return refuse_with(error.nack(TYPE)),
                Ok(message) => handle(gateway, device_id, &message),
            },
        },
    };
    if let Some(durable) = handled.durable
        && durable.await.is_err()
    {
        return refuse(TYPE, NackCode::Storage);
    }
    handled.replies.into_iter().next().unwrap_or_else(|| refuse(TYPE, NackCode::Storage))
}

fn issue(
    gateway: &Gateway,
    device_id: &DeviceId,
    request: &ChallengeReq,
    place: &Place,
    epoch: &Epoch,
    device_key: PublicKey,
) -> Handled {
    let mut state = gateway.state();
    if let Some(sid) = state.tickets_by_request.get(&(*device_id, request.dev_eph))
        && let Some(ticket) = state.tickets.get(sid)
        // A ticket of a closed epoch is of no use to a pile that has left it: the request is asked anew.
        && ticket.challenge.epoch == epoch.epoch
    {
        return Handled::after(gateway.barrier(), frame_bytes(&ticket.challenge));
    }
    if state.tickets_of(device_id, epoch.epoch) >= TICKETS_PER_EPOCH_MAX {
        return Handled::refused_until(TYPE, NackCode::Overloaded, NOT_READY_RETRY_MS);
    }
    let mut sid: Sid = [0; 16];
    fill_random(&mut sid);
    let mut nonce = [0; 32];
    fill_random(&mut nonce);
    let Ok(gw_eph) = gateway.site_secret.ticket_key(&sid).and_then(|key| {
        // A point that cannot take part in the exchange is refused now, not when the answer is due.
        key.ecdh_x(&request.dev_eph)?;
        Ok(*key.public_key())
    }) else {
        return Handled::refused_field(TYPE, NackCode::FieldValue, FIELD_DEV_EPH, None);
    };
    let issued = gateway.view.borrow().latest_block;
    let answer_by = issued.saturating_add(gateway.settings.answer_window_blocks);
    let mut challenge = Challenge {
        circuit_version: 0,
        sid,
        device_id: *device_id,
        group: place.group,
        index: place.index,
        nonce,
        epoch: epoch.epoch,
        epoch_challenge: epoch.challenge,
        policy_hash: epoch.policy_hash,
        issued,
        answer_by,
        deadline: answer_by.saturating_add(gateway.settings.deadline_margin_blocks),
        gw_eph,
        dev_eph: request.dev_eph,
        h: [0; 32],
        signature: [0; 64],
    };
    challenge.signature = gateway.key.sign(&gateway.digest(&digest::ticket_hash(&challenge)));
    let frame = frame_bytes(&challenge);
    let record = Record::TicketIssued {
        challenge_payload: payload_of(&frame).to_vec(),
        device_key: device_key.to_vec(),
    };
    counter!("tickets_total").increment(1);
    tracing::debug!(sid = %hex::encode(sid), epoch = epoch.epoch, "ticket issued");
    Handled::after(gateway.commit(&mut state, vec![record]), frame)
}

/// The payload inside a whole frame.
fn payload_of(frame: &[u8]) -> &[u8] {
    let end = frame.len().saturating_sub(1);
    frame.get(cip22_wire::frame::HEADER_BYTES..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_of_a_frame_decodes_to_the_message() {
        let request = ChallengeReq { device_id: [1; 32], dev_eph: [2; 33], signature: [3; 64] };
        let frame = frame_bytes(&request);
        assert_eq!(ChallengeReq::decode(payload_of(&frame)).unwrap(), request);
    }
}
