//! AUTH_REVOKE: a grant that the chain did not bear out ends, with a grace. Durable before it leaves, told again at each HELLO until
//! the charge ends, and each cause counted by itself.
//!
//! Only what a pile answers for costs its device credit; the other charges of such a device get CREDIT_UPDATE.

use std::collections::HashSet;
use std::sync::Arc;

use cip22_wire::body::{Credit, SUITE_PLAIN};
use cip22_wire::message::{AuthRevoke, CreditUpdate};
use cip22_wire::tariff::Tariff;
use cip22_wire::{DeviceId, FrameType, RevokeCause, Sid};
use metrics::counter;
use tokio_util::sync::CancellationToken;

use super::{frame_bytes, grant};
use crate::gateway::Gateway;
use crate::journal::Record;
use crate::state::{DueRevocation, Revocation, State, Ticket, answers_for};

/// What revocations go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevokeSettings {
    /// Blocks from a ticket's issue after which a grant that no safe head covers is revoked.
    pub deadline_blocks: u64,
    /// Energy that may still flow after a revocation, Wh.
    pub grace_wh: u32,
}

/// Revokes what is due at each look at the chain, until told to stop.
pub async fn run(gateway: Arc<Gateway>, settings: RevokeSettings, stop: CancellationToken) {
    let mut view = gateway.view.clone();
    loop {
        view.borrow_and_update();
        if !revoke_due(&gateway, settings).await {
            return;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = view.changed() => if changed.is_err() { return },
        }
    }
}

/// What a device that has just connected has to hear of its open charges: AUTH_REVOKE, or the newest CREDIT_UPDATE.
pub fn frames_for(gateway: &Gateway, device_id: &DeviceId) -> Vec<Vec<u8>> {
    let state = gateway.state();
    let open = state.open_charges.get(device_id).into_iter().flatten();
    open.filter_map(|sid| state.tickets.get(sid)).flat_map(|ticket| frames_of(gateway, ticket)).collect()
}

/// What became of a grant since, as far as its pile has to act on it.
pub fn frames_of(gateway: &Gateway, ticket: &Ticket) -> Option<Vec<u8>> {
    if let Some(revocation) = ticket.revoked {
        return Some(revoke_frame(ticket.challenge.sid, revocation));
    }
    let (wh, minutes) = ticket.answer.as_ref()?.credit?;
    if ticket.credit_seq == 0 { None } else { credit_frame(gateway, ticket, ticket.credit_seq, wh, minutes) }
}

/// Whether the journal still takes records.
async fn revoke_due(gateway: &Gateway, settings: RevokeSettings) -> bool {
    let (due, reduced, durable) = {
        let mut state = gateway.state();
        let latest = gateway.view.borrow().latest_block;
        let directory = gateway.directory.load();
        let is_revoked =
            |device_id: &DeviceId| directory.devices.get(device_id).is_some_and(|device| device.revoked);
        let due = state.due_revocations(latest, settings.deadline_blocks, is_revoked);
        if due.is_empty() {
            return true;
        }
        let revoked = |due: &DueRevocation| Record::Revoked {
            sid: due.sid,
            cause: due.cause.code(),
            grace_wh: settings.grace_wh,
        };
        let mut durable = gateway.commit(&mut state, due.iter().map(revoked).collect());
        let reduced = reductions(gateway, &state, &due);
        if !reduced.is_empty() {
            durable = gateway.commit(&mut state, reduced.iter().map(|(_, record)| record.clone()).collect());
        }
        (due, reduced, durable)
    };
    if durable.await.is_err() {
        return false;
    }
    for DueRevocation { device_id, sid, cause } in due {
        counter!("auth_revoked_total", "cause" => label(cause)).increment(1);
        tracing::warn!(
            device = %hex::encode(device_id), sid = %hex::encode(sid), cause = cause.name(), "grant revoked"
        );
        let revocation = Revocation { cause: cause.code(), grace_wh: settings.grace_wh };
        gateway.push(&device_id, revoke_frame(sid, revocation));
    }
    for (device_id, record) in reduced {
        let Record::CreditReduced { sid, .. } = record else { continue };
        counter!("credits_reduced_total").increment(1);
        let frame = gateway.state().tickets.get(&sid).and_then(|ticket| frames_of(gateway, ticket));
        if let Some(frame) = frame {
            gateway.push(&device_id, frame);
        }
    }
    true
}

/// The open charges of devices that answer for a revocation, whose credit is above what such a device may have now.
fn reductions(gateway: &Gateway, state: &State, due: &[DueRevocation]) -> Vec<(DeviceId, Record)> {
    let at_fault: HashSet<DeviceId> =
        due.iter().filter(|due| answers_for(due.cause)).map(|due| due.device_id).collect();
    let view = gateway.view.borrow();
    let mut reduced = Vec::new();
    for device_id in at_fault {
        let open = state.open_charges.get(&device_id).into_iter().flatten();
        for ticket in open.filter_map(|sid| state.tickets.get(sid)).filter(|ticket| ticket.revoked.is_none())
        {
            let Some((wh, minutes)) = ticket.answer.as_ref().and_then(|answer| answer.credit) else {
                continue;
            };
            let Some(policy) = view.policy_at(ticket.challenge.epoch) else { continue };
            let Ok(tariff) = Tariff::parse(&policy.tariff) else { continue };
            let terms = tariff.terms();
            let (wh_max, minutes_max, _) =
                state.tightened(&device_id, terms.credit_wh, terms.credit_minutes, usize::MAX);
            if wh_max < wh || minutes_max < minutes {
                let record = Record::CreditReduced {
                    sid: ticket.challenge.sid,
                    seq: ticket.credit_seq.saturating_add(1),
                    wh: wh.min(wh_max),
                    minutes: minutes.min(minutes_max),
                };
                reduced.push((device_id, record));
            }
        }
    }
    reduced
}

fn revoke_frame(sid: Sid, revocation: Revocation) -> Vec<u8> {
    frame_bytes(&AuthRevoke { sid, cause: revocation.cause, grace_wh: revocation.grace_wh })
}

fn credit_frame(gateway: &Gateway, ticket: &Ticket, seq: u32, wh: u32, minutes: u16) -> Option<Vec<u8>> {
    let keys = grant::session_keys(gateway, ticket)?;
    let mut body = [0; 64];
    let length = Credit { seq, wh, minutes }.encode(&mut body).ok()?;
    let body = body.get(..length)?;
    let tag = keys.tag(&ticket.ticket_hash, FrameType::CreditUpdate, SUITE_PLAIN, body);
    Some(frame_bytes(&CreditUpdate { sid: ticket.challenge.sid, suite: SUITE_PLAIN, body, tag }))
}

/// Label of a cause for metrics.
fn label(cause: RevokeCause) -> &'static str {
    match cause {
        RevokeCause::NotFinal => "not_final",
        RevokeCause::Rejected => "rejected",
        RevokeCause::ReorgedOut => "reorged_out",
        RevokeCause::DeviceRevoked => "device_revoked",
    }
}
