//! What became of grants: revocations, what they cost the device in credit, and who is still to be told.

use cip22_wire::{DeviceId, RevokeCause, Sid};

use super::{MessageState, RecordedHead, State};
use crate::limits::{FINALS_DUE_MAX, STRIKES_MAX};

/// How a grant was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// A `RevokeCause`.
    pub cause: u8,
    /// Energy that may still flow, Wh.
    pub grace_wh: u32,
}

/// A grant that has to be revoked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueRevocation {
    /// The pile's device.
    pub device_id: DeviceId,
    /// Ticket.
    pub sid: Sid,
    /// Why.
    pub cause: RevokeCause,
}

impl State {
    /// Grants to be revoked at block `latest`, each once and for one cause. A revoked device comes first: the contract refuses its
    /// heads for no other reason.
    pub fn due_revocations(
        &self,
        latest: u64,
        deadline_blocks: u64,
        is_revoked: impl Fn(&DeviceId) -> bool,
    ) -> Vec<DueRevocation> {
        let mut due = Vec::new();
        for (device_id, sids) in self.open_charges.iter().filter(|(device_id, _)| is_revoked(device_id)) {
            let standing = sids.iter().filter(|sid| self.revocation(sid).is_none());
            due.extend(standing.map(|sid| DueRevocation {
                device_id: *device_id,
                sid: *sid,
                cause: RevokeCause::DeviceRevoked,
            }));
        }
        for sid in &self.pending_grants {
            let Some((device_id, state, issued)) = self.pending_grant(sid) else { continue };
            let late = latest > issued.saturating_add(deadline_blocks);
            let cause = match state {
                MessageState::ReorgedOut => RevokeCause::ReorgedOut,
                MessageState::RejectedByContract if is_revoked(&device_id) => RevokeCause::DeviceRevoked,
                MessageState::RejectedByContract => RevokeCause::Rejected,
                MessageState::Expired => RevokeCause::NotFinal,
                _ if late => RevokeCause::NotFinal,
                _ => continue,
            };
            if !due.iter().any(|other| other.sid == *sid) {
                due.push(DueRevocation { device_id, sid: *sid, cause });
            }
        }
        due.sort_unstable_by_key(|due| due.sid);
        due
    }

    fn pending_grant(&self, sid: &Sid) -> Option<(DeviceId, MessageState, u64)> {
        let ticket = self.tickets.get(sid)?;
        let (place, n, _) = ticket.answer.as_ref()?.statement?;
        let entry = self.chains.get(&place)?.statements.get(&n)?;
        Some((ticket.challenge.device_id, entry.state, ticket.challenge.issued))
    }

    /// How a grant was revoked, if it was.
    pub fn revocation(&self, sid: &Sid) -> Option<Revocation> {
        self.tickets.get(sid)?.revoked
    }

    /// State of a grant's statement, and the earliest recorded head that covers it.
    pub fn standing(&self, sid: &Sid) -> Option<(MessageState, Option<RecordedHead>)> {
        let (place, n, _) = self.tickets.get(sid)?.answer.as_ref()?.statement?;
        let chain = self.chains.get(&place)?;
        let covering = chain.seen.iter().filter(|seen| seen.n >= n).min_by_key(|seen| seen.block);
        Some((chain.statements.get(&n)?.state, covering.copied()))
    }

    pub(super) fn revoke(&mut self, sid: &Sid, cause: u8, grace_wh: u32) {
        let Some(ticket) = self.tickets.get_mut(sid) else { return };
        ticket.revoked = Some(Revocation { cause, grace_wh });
        self.pending_grants.remove(sid);
        let device_id = ticket.challenge.device_id;
        let Some(cause) = RevokeCause::from_u8(cause) else { return };
        match cause {
            RevokeCause::NotFinal => self.counts.revoked_not_final += 1,
            RevokeCause::Rejected => self.counts.revoked_rejected += 1,
            RevokeCause::ReorgedOut => self.counts.revoked_reorged_out += 1,
            RevokeCause::DeviceRevoked => self.counts.revoked_device += 1,
        }
        if answers_for(cause) {
            let strikes = self.strikes.entry(device_id).or_default();
            *strikes = strikes.saturating_add(1).min(STRIKES_MAX);
        }
    }

    /// The credit that a device may have where the tariff allows `wh` and `minutes`, and how many open charges where the
    /// configuration allows `open_max`. Each strike halves the credit, and any leaves one open charge.
    pub fn tightened(
        &self,
        device_id: &DeviceId,
        wh: u32,
        minutes: u16,
        open_max: usize,
    ) -> (u32, u16, usize) {
        match self.strikes.get(device_id).copied().unwrap_or(0) {
            0 => (wh, minutes, open_max),
            strikes => ((wh >> strikes).max(1), (minutes >> strikes).max(1), 1),
        }
    }

    pub(super) fn reduce_credit(&mut self, sid: &Sid, seq: u32, wh: u32, minutes: u16) {
        if let Some(ticket) = self.tickets.get_mut(sid) {
            ticket.credit_seq = ticket.credit_seq.max(seq);
            if let Some(answer) = &mut ticket.answer {
                answer.credit = Some((wh, minutes));
            }
        }
    }

    /// Notes that a pile is to hear that a grant is final.
    pub(super) fn owe_final(&mut self, device_id: DeviceId, sid: Sid) {
        let due = self.finals_due.entry(device_id).or_default();
        if due.len() >= FINALS_DUE_MAX {
            due.pop_front();
        }
        due.push_back(sid);
    }
}

/// Whether a pile answers for a cause. That the chain was slow, or took blocks back, is nobody's fault who is granted.
pub fn answers_for(cause: RevokeCause) -> bool {
    matches!(cause, RevokeCause::Rejected | RevokeCause::DeviceRevoked)
}

#[cfg(test)]
#[path = "grants_tests.rs"]
mod tests;
