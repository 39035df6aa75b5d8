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
use crate::failpoint::failpoint;
use crate::gateway::Gateway;
use crate::journal::Record;
use crate::state::{DueRevocation, News, Revocation, State, Ticket, answers_for};

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

/// What a device that has just connected has to hear of its open charges: AUTH_REVOKE, or the newest CREDIT_UPDATE. It may leave once
/// everything committed so far is durable.
pub fn frames_for(gateway: &Gateway, device_id: &DeviceId) -> Vec<Vec<u8>> {
    let tickets: Vec<Ticket> = {
        let state = gateway.state();
        let open = state.open_charges.get(device_id).into_iter().flatten();
        open.filter_map(|sid| state.tickets.get(sid)).cloned().collect()
    };
    tickets.iter().filter_map(|ticket| frame_of(gateway, ticket)).collect()
}

/// What became of a grant since, as far as its pile has to act on it: the same bytes each time.
pub fn frame_of(gateway: &Gateway, ticket: &Ticket) -> Option<Vec<u8>> {
    let (number, news) = ticket.news()?;
    let suite = ticket.answer.as_ref()?.suite();
    let sid = ticket.challenge.sid;
    match news {
        News::Revoked(Revocation { cause, grace_wh }) => {
            let frame = frame_bytes(&AuthRevoke { sid, cause, grace_wh });
            if suite == SUITE_PLAIN {
                return Some(frame);
            }
            grant::keys_of(gateway, ticket)?.sealed_frame(number, &frame)
        }
        News::Reduced { seq, wh, minutes } => {
            let mut body = [0; 64];
            let length = Credit { seq, wh, minutes }.encode(&mut body).ok()?;
            let keys = grant::keys_of(gateway, ticket)?;
            let (body, tag) = keys.body(suite, FrameType::CreditUpdate, number, body.get(..length)?)?;
            Some(frame_bytes(&CreditUpdate { sid, suite, body: &body, tag }))
        }
    }
}

/// Whether the journal still takes records.
async fn revoke_due(gateway: &Gateway, settings: RevokeSettings) -> bool {
    let (due, told, durable) = {
        let mut state = gateway.state();
        let latest = gateway.view.borrow().latest_block;
        if latest == 0 {
            // Before the first look at the chain neither revoked devices nor tariffs are known.
            return true;
        }
        let directory = gateway.directory.load();
        let is_revoked =
            |device_id: &DeviceId| directory.devices.get(device_id).is_some_and(|device| device.revoked);
        let due = state.due_revocations(latest, settings.deadline_blocks, is_revoked);
        if due.is_empty() {
            return true;
        }
        failpoint("revoke::before_commit");
        let revoked = |due: &DueRevocation| Record::Revoked {
            sid: due.sid,
            cause: due.cause.code(),
            grace_wh: settings.grace_wh,
        };
        let mut sids: Vec<Sid> = due.iter().map(|due| due.sid).collect();
        let durable = gateway.commit_with(&mut state, due.iter().map(revoked).collect(), |state| {
            let reduced = reductions(gateway, state, &due);
            counter!("credits_reduced_total").increment(reduced.len() as u64);
            sids.extend(reduced.iter().map(|(sid, _)| *sid));
            reduced.into_iter().map(|(_, record)| record).collect()
        });
        // As they are now: the state runs ahead of the disk, and what it comes to later is not durable by then.
        let told: Vec<Ticket> = sids.iter().filter_map(|sid| state.tickets.get(sid)).cloned().collect();
        (due, told, durable)
    };
    if durable.await.is_err() {
        return false;
    }
    failpoint("revoke::after_commit");
    for DueRevocation { device_id, sid, cause } in due {
        counter!("auth_revoked_total", "cause" => label(cause)).increment(1);
        tracing::warn!(
            device = %hex::encode(device_id), sid = %hex::encode(sid), cause = cause.name(), "grant revoked"
        );
    }
    for ticket in told {
        if let Some(frame) = frame_of(gateway, &ticket) {
            gateway.push(&ticket.challenge.device_id, frame);
        }
    }
    failpoint("revoke::after_push");
    true
}

/// The open charges of devices that answer for a revocation, whose credit is above what such a device may have now.
fn reductions(gateway: &Gateway, state: &State, due: &[DueRevocation]) -> Vec<(Sid, Record)> {
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
                let sid = ticket.challenge.sid;
                let record = Record::CreditReduced {
                    sid,
                    seq: ticket.credit_seq.saturating_add(1),
                    wh: wh.min(wh_max),
                    minutes: minutes.min(minutes_max),
                };
                reduced.push((sid, record));
            }
        }
    }
    reduced
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
