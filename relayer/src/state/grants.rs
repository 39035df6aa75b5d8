//! What became of grants: revocations, what they cost the device in credit, and who is still to be told.

use cip22_wire::body::SUITE_PLAIN;
use cip22_wire::message::{AuthDeny, AuthGrant, Body};
use cip22_wire::{DeviceId, FrameType, RevokeCause, Sid, frame};

use super::{Answer, MessageState, RecordedHead, State, Ticket};
use crate::limits::{FINALS_DUE_MAX, STRIKES_MAX};

/// How a grant was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// A `RevokeCause`.
    pub cause: u8,
    /// Energy that may still flow, Wh.
    pub grace_wh: u32,
}

/// What became of a grant, as far as its pile has to act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// AUTH_REVOKE.
    Revoked(Revocation),
    /// CREDIT_UPDATE.
    Reduced {
        /// Number of the update, 1 for the first.
        seq: u32,
        /// New total, Wh.
        wh: u32,
        /// New total, minutes.
        minutes: u16,
    },
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
        // The first one stands: what has left for the pile under its number is never another.
        let Some(ticket) = self.tickets.get_mut(sid).filter(|ticket| ticket.revoked.is_none()) else {
            return;
        };
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
        // Likewise; and a revocation has the number after the last update, so none comes after it.
        let open = |ticket: &&mut Ticket| ticket.revoked.is_none() && seq > ticket.credit_seq;
        if let Some(ticket) = self.tickets.get_mut(sid).filter(open) {
            ticket.credit_seq = seq;
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

impl Ticket {
    /// The newest that its pile has to hear of the grant, and the number under which that is sealed.
    ///
    /// The answer has number 0, an update its own `seq`, and the revocation, after which there is no update, the next. All of it is
    /// in the journal before anything leaves, and pruning carries it on: no number ever stands for two contents.
    pub fn news(&self) -> Option<(u32, News)> {
        if let Some(revocation) = self.revoked {
            return Some((self.credit_seq.saturating_add(1), News::Revoked(revocation)));
        }
        let (wh, minutes) = self.answer.as_ref()?.credit?;
        let seq = self.credit_seq;
        (seq > 0).then_some((seq, News::Reduced { seq, wh, minutes }))
    }
}

impl Answer {
    /// The suite of the ticket: that of the bytes that are durable.
    pub fn suite(&self) -> u8 {
        let parsed = frame::parse(&self.frame, u16::MAX).ok().flatten();
        let suite = parsed.and_then(|parsed| match FrameType::from_u8(parsed.frame_type)? {
            FrameType::AuthGrant => AuthGrant::decode(parsed.payload).ok().map(|grant| grant.suite),
            FrameType::AuthDeny => AuthDeny::decode(parsed.payload).ok().map(|denial| denial.suite),
            _ => None,
        });
        suite.unwrap_or(SUITE_PLAIN)
    }
}

/// Whether a pile answers for a cause. That the chain was slow, or took blocks back, is nobody's fault who is granted.
pub fn answers_for(cause: RevokeCause) -> bool {
    matches!(cause, RevokeCause::Rejected | RevokeCause::DeviceRevoked)
}

#[cfg(test)]
#[path = "grants_tests.rs"]
mod tests;
