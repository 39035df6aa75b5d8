//! Forgetting what nothing can depend on any more, in memory and in the journal alike.
//!
//! Everything but batteries, policy acknowledgements and totals belongs to an epoch. [`State::horizon`] is the first epoch that has to be
//! kept. What of the older ones lives on is written anew as whole, absolute records (`BatteryHeld`, `PolicyAcksHeld`, `ChargeHeld`); then
//! `Pruned` forgets the rest. From there on every record before the first `EpochOpened` of a kept epoch may go from the front of the log,
//! in steps of any size: replaying any such remainder gives the same state.

use std::collections::{BTreeMap, BTreeSet};

use cip22_wire::message::{Body, Challenge};
use cip22_wire::{BatteryId, DeviceId, PublicKey, Sid, frame};

use super::{Answer, Place, Revocation, State, Ticket};
use crate::journal::Record;
use crate::journal::record::{ChargeRecord, PrunedRecord};
use crate::pipeline::frame_bytes;

/// What belongs to which epoch, and what lives on without one.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Retained {
    /// First epoch that is kept.
    pub horizon_epoch: u32,
    /// Open charges of earlier epochs.
    charges: BTreeSet<Sid>,
    tickets: BTreeMap<u32, Vec<Sid>>,
    chains: BTreeMap<u32, Vec<(u32, u8)>>,
}

impl Retained {
    pub(super) fn ticket(&mut self, epoch: u32, sid: Sid) {
        self.tickets.entry(epoch).or_default().push(sid);
    }

    pub(super) fn chain(&mut self, (group, index, epoch): Place) {
        self.chains.entry(epoch).or_default().push((group, index));
    }
}

impl State {
    /// The first epoch to keep, if nothing but epochs from `wanted` on were wanted: none with a batch under way or with a statement that
    /// waits is passed, and a newest epoch always stays.
    pub fn horizon(&self, wanted: u32) -> u32 {
        let unfinished = self.batches.values().map(|batch| batch.record.epoch).min();
        let waiting = self.uncovered.first().map(|(epoch, ..)| *epoch);
        let newest = self.epochs.last_key_value().map(|(epoch, _)| *epoch).unwrap_or_default();
        let bound = [unfinished, waiting].into_iter().flatten().fold(newest, u32::min);
        wanted.min(bound).max(self.retained.horizon_epoch)
    }

    /// Every battery that is known.
    pub fn battery_ids(&self) -> Vec<BatteryId> {
        self.batteries.iter().map(|(id, _)| *id).collect()
    }

    /// `BatteryHeld` for each of these batteries.
    pub fn batteries_held(&self, ids: &[BatteryId]) -> Vec<Record> {
        ids.iter().filter_map(|id| self.batteries.held(id)).map(Record::BatteryHeld).collect()
    }

    /// Policy acknowledgements, `records_max` devices to a record.
    pub fn policy_acks_held(&self, devices_max: usize) -> Vec<Record> {
        let acks: Vec<(DeviceId, u32)> =
            self.policy_acks.iter().map(|(device, version)| (*device, *version)).collect();
        acks.chunks(devices_max.max(1)).map(|acks| Record::PolicyAcksHeld { acks: acks.to_vec() }).collect()
    }

    /// The records of one step to `horizon_epoch`: the older charges that are still open, then `Pruned`.
    pub fn pruned(&self, horizon_epoch: u32) -> Vec<Record> {
        // Each field by name: what becomes of one that is added has to be decided here and in `prune`.
        let Self {
            // Of an epoch: forgotten with it.
            epochs: _,
            tickets: _,
            tickets_by_request: _,
            tickets_in_epoch: _,
            open_charges: _,
            chains: _,
            uncovered: _,
            roots: _,
            batches: _,
            retained: _,
            replaced_epochs: _,
            pending_grants: _,
            finals_due: _,
            settled: _,
            awaiting_final: _,
            // Carried over by records of their own, before this one.
            batteries: _,
            policy_acks: _,
            // Carried over by this one.
            counts,
            last_batch,
            strikes,
            anchors,
            finalized,
            // Where events are read from is the newest anchor.
            scanned_to: _,
        } = self;
        let older = self.retained.tickets.range(..horizon_epoch).flat_map(|(_, sids)| sids);
        let charges: BTreeSet<Sid> = older
            .chain(&self.retained.charges)
            .filter(|sid| self.tickets.get(*sid).is_some_and(Ticket::is_open))
            .copied()
            .collect();
        let mut records: Vec<Record> = charges.iter().filter_map(|sid| self.charge_held(sid)).collect();
        records.push(Record::Pruned(PrunedRecord {
            horizon_epoch,
            counts: *counts,
            last_batch: *last_batch,
            charges: charges.into_iter().collect(),
            strikes: strikes.iter().map(|(device, strikes)| (*device, *strikes)).collect(),
            anchors: anchors.iter().map(|(block, hash)| (*block, *hash)).collect(),
            finalized: *finalized,
        }));
        records
    }

    fn charge_held(&self, sid: &Sid) -> Option<Record> {
        // Each field by name: one that is added has to be carried too.
        let Ticket { challenge, ticket_hash: _, device_key, answer, acked, ended: _, revoked, credit_seq } =
            self.tickets.get(sid)?;
        let Answer { request_hash, frame, credit, statement } = answer.as_ref()?;
        let ((group, index, epoch), n, l) = (*statement)?;
        let whole = frame_bytes(challenge);
        let payload = whole.get(frame::HEADER_BYTES..whole.len().saturating_sub(1)).unwrap_or_default();
        Some(Record::ChargeHeld(ChargeRecord {
            challenge_payload: payload.to_vec(),
            device_key: device_key.to_vec(),
            request_hash: *request_hash,
            answer: frame.clone(),
            credit: (*credit)?,
            statement: (group, index, epoch, n),
            l,
            acked: *acked,
            revoked: revoked.map(|revocation| (revocation.cause, revocation.grace_wh)),
            credit_seq: *credit_seq,
        }))
    }

    pub(super) fn hold_charge(&mut self, held: &ChargeRecord) {
        let (Ok(challenge), Ok(device_key)) =
            (Challenge::decode(&held.challenge_payload), PublicKey::try_from(held.device_key.as_slice()))
        else {
            tracing::error!("a held charge of the journal does not decode");
            return;
        };
        let (group, index, epoch, n) = held.statement;
        let answer = Answer {
            request_hash: held.request_hash,
            frame: held.answer.clone(),
            credit: Some(held.credit),
            statement: Some(((group, index, epoch), n, held.l)),
        };
        let ticket = Ticket {
            challenge,
            ticket_hash: cip22_wire::digest::ticket_hash(&challenge),
            device_key,
            answer: Some(answer),
            acked: held.acked,
            ended: false,
            revoked: held.revoked.map(|(cause, grace_wh)| Revocation { cause, grace_wh }),
            credit_seq: held.credit_seq,
        };
        self.tickets.insert(challenge.sid, ticket);
        self.open_charges.entry(challenge.device_id).or_default().insert(challenge.sid);
        self.retained.charges.insert(challenge.sid);
    }

    pub(super) fn hold_policy_acks(&mut self, acks: &[(DeviceId, u32)]) {
        for (device_id, version) in acks {
            let held = self.policy_acks.entry(*device_id).or_default();
            *held = (*held).max(*version);
        }
    }

    pub(super) fn close_charge(&mut self, device_id: &DeviceId, sid: &Sid) {
        if let Some(open) = self.open_charges.get_mut(device_id) {
            open.remove(sid);
            if open.is_empty() {
                self.open_charges.remove(device_id);
            }
        }
    }

    /// Forgets epochs before the record's horizon. What is left does not depend on what a shortened log had lost of them.
    pub(super) fn prune(&mut self, pruned: &PrunedRecord) {
        let horizon = pruned.horizon_epoch;
        let kept: BTreeSet<Sid> = pruned.charges.iter().copied().collect();
        let older = drain_before(&mut self.retained.tickets, horizon);
        let held = std::mem::take(&mut self.retained.charges);
        for sid in older.into_iter().chain(held) {
            self.forget_ticket(sid, horizon, kept.contains(&sid));
        }
        while let Some(entry) = self.retained.chains.first_entry().filter(|entry| *entry.key() < horizon) {
            let epoch = *entry.key();
            for (group, index) in entry.remove() {
                self.chains.remove(&(group, index, epoch));
            }
        }
        while self.uncovered.first().is_some_and(|(epoch, ..)| *epoch < horizon) {
            self.uncovered.pop_first();
        }
        while let Some(entry) = self.epochs.first_entry().filter(|entry| *entry.key() < horizon) {
            entry.remove();
        }
        self.roots = self.roots.split_off(&horizon);
        self.batches.retain(|_, batch| batch.record.epoch >= horizon);
        self.settled.retain(|_, batch| batch.record.epoch >= horizon);
        self.replaced_epochs.retain(|epoch, _| *epoch >= horizon);
        self.awaiting_final.retain(|_, places| {
            places.retain(|(_, _, epoch)| *epoch >= horizon);
            !places.is_empty()
        });
        let Self { finals_due, tickets, .. } = self;
        finals_due.retain(|_, sids| {
            sids.retain(|sid| tickets.contains_key(sid));
            !sids.is_empty()
        });
        self.strikes = pruned.strikes.iter().copied().collect();
        self.anchors = pruned.anchors.iter().copied().collect();
        self.scanned_to = self.scanned_to.max(pruned.anchors.last().map_or(0, |(block, _)| *block));
        self.finalized = self.finalized.max(pruned.finalized);
        self.batteries.prune(horizon);
        self.last_batch = self.last_batch.max(pruned.last_batch);
        self.counts = pruned.counts;
        self.retained.charges = kept;
        self.retained.horizon_epoch = self.retained.horizon_epoch.max(horizon);
    }

    fn forget_ticket(&mut self, sid: Sid, horizon: u32, kept: bool) {
        let Some(ticket) = self.tickets.get(&sid) else { return };
        let (device_id, dev_eph) = (ticket.challenge.device_id, ticket.challenge.dev_eph);
        if self.tickets_by_request.get(&(device_id, dev_eph)) == Some(&sid) {
            self.tickets_by_request.remove(&(device_id, dev_eph));
        }
        if self.tickets_in_epoch.get(&device_id).is_some_and(|(epoch, _)| *epoch < horizon) {
            self.tickets_in_epoch.remove(&device_id);
        }
        // Its statement is gone with its epoch: whatever is to be said of it has been said.
        self.pending_grants.remove(&sid);
        if !kept {
            self.tickets.remove(&sid);
            self.close_charge(&device_id, &sid);
        }
    }
}

impl Ticket {
    /// Granted, and not ended.
    pub fn is_open(&self) -> bool {
        !self.ended && self.answer.as_ref().is_some_and(|answer| answer.credit.is_some())
    }
}

fn drain_before<T>(map: &mut BTreeMap<u32, Vec<T>>, horizon: u32) -> Vec<T> {
    let kept = map.split_off(&horizon);
    std::mem::replace(map, kept).into_values().flatten().collect()
}

#[cfg(test)]
mod tests;
