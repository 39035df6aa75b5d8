//! What the journal's records add up to. [`State::apply`] is the only way it changes, at run time and at replay alike.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use cip22_wire::message::{BattTelem, Body, Challenge};
use cip22_wire::{DeviceId, Hash, PublicKey, Sid, Signature};

use crate::journal::Record;
use crate::journal::record::{AttemptRecord, BatchKind, BatchRecord, StatementKind, StatementRecord, TxEdit};
use crate::limits::{RETRY_AFTER_BLOCKS, SUBMISSION_TRIES_MAX};
use crate::telemetry::battery::Batteries;
use crate::view::Epoch;

pub use self::grants::{DueRevocation, News, Revocation, answers_for};
pub use self::message_state::MessageState;
pub use self::prune::Retained;
pub use self::reorganisation::RecordedHead;
pub use self::roots::Root;
pub use crate::journal::record::Counts;

#[cfg(test)]
pub mod fixtures;
mod grants;
mod message_state;
pub mod prune;
mod reorganisation;
pub mod roots;

/// Group, index, epoch: what one head on chain stands for.
pub type Place = (u32, u8, u32);

/// Everything the relayer knows.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct State {
    /// Epochs that were announced.
    pub epochs: BTreeMap<u32, Epoch>,
    /// What epochs were before a reorganisation gave them another challenge or policy.
    pub replaced_epochs: BTreeMap<u32, Vec<Epoch>>,
    /// Tickets by sid.
    pub tickets: HashMap<Sid, Ticket>,
    /// The newest ticket by what asked for it: within an epoch the same CHALLENGE_REQ gets the same CHALLENGE.
    pub tickets_by_request: HashMap<(DeviceId, PublicKey), Sid>,
    /// Tickets that each device got in its newest epoch: epoch and number.
    pub tickets_in_epoch: HashMap<DeviceId, (u32, u32)>,
    /// Granted and not ended, by device.
    pub open_charges: HashMap<DeviceId, HashSet<Sid>>,
    /// Grants that no safe head covers and that are not revoked.
    pub pending_grants: HashSet<Sid>,
    /// Revocations for which a device answers, less what it got on chain since.
    pub strikes: HashMap<DeviceId, u8>,
    /// Grants that became final, newest last, and whose AUTH_FINAL met no live session since the start.
    pub finals_due: HashMap<DeviceId, VecDeque<Sid>>,
    /// Statement chains.
    pub chains: HashMap<Place, PileChain>,
    /// Chains with statements that no safe head covers, oldest epoch first.
    pub uncovered: BTreeSet<(u32, u32, u8)>,
    /// Batteries.
    pub batteries: Batteries,
    /// Highest policy version that each device acknowledged.
    pub policy_acks: HashMap<DeviceId, u32>,
    /// Batches that are not settled, by number.
    pub batches: BTreeMap<u64, Batch>,
    /// Batches that are done, as long as a reorganisation may undo them.
    pub settled: BTreeMap<u64, Batch>,
    /// Roots that piles were or are asked to co-sign, by epoch.
    pub roots: BTreeMap<u32, Vec<Root>>,
    /// Number of the newest batch.
    pub last_batch: u64,
    /// Blocks whose events have been taken in.
    pub scanned_to: u64,
    /// Hashes that scanned blocks had, by number.
    pub anchors: BTreeMap<u64, Hash>,
    /// Chains with a recorded head that is not final, by its block.
    pub awaiting_final: BTreeMap<u64, BTreeSet<Place>>,
    /// Newest block that `finalized` was seen to cover, as far as anything depended on it.
    pub finalized: u64,
    /// What happened so far.
    pub counts: Counts,
    /// What pruning goes by.
    pub retained: Retained,
}

/// A ticket and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The ticket.
    pub challenge: Challenge,
    /// Its EIP-712 struct hash.
    pub ticket_hash: Hash,
    /// The device's public key.
    pub device_key: PublicKey,
    /// The answer, if one was given.
    pub answer: Option<Answer>,
    /// The pile verified the answer.
    pub acked: bool,
    /// The charge ended.
    pub ended: bool,
    /// The grant was revoked.
    pub revoked: Option<Revocation>,
    /// Number of the newest CREDIT_UPDATE, 0 for none.
    pub credit_seq: u32,
}

/// The one answer to a ticketed AUTH_RESP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// keccak256 of the request's payload.
    pub request_hash: Hash,
    /// The whole frame.
    pub frame: Vec<u8>,
    /// Credit, Wh and minutes; `None` for a denial.
    pub credit: Option<(u32, u16)>,
    /// Place and n of the statement, and the commitment `l`, for a grant.
    pub statement: Option<(Place, u8, Hash)>,
}

/// The statements of one pile in one epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PileChain {
    /// Device.
    pub device_id: DeviceId,
    /// By n.
    pub statements: BTreeMap<u8, Entry>,
    /// Statements 1..=this are covered by a safe head.
    pub covered_n: u8,
    /// Heads that the chain shows under `safe`, as they came.
    pub seen: Vec<RecordedHead>,
    /// A safe head was seen, ours or a stranger's: only `extend` helps now.
    pub recorded: bool,
    /// Batches that carried it in vain.
    pub tries: u8,
    /// Not before this block is it carried again.
    pub retry_block: u64,
    /// The batch that carries it now.
    pub in_batch: Option<u64>,
    /// Given up.
    pub given_up: bool,
}

/// One statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// head_{n-1}.
    pub prev_head: Hash,
    /// head_n.
    pub head: Hash,
    /// Over Head.
    pub signature: Signature,
    /// The ticket, for AUTH.
    pub sid: Option<Sid>,
    /// Where it stands.
    pub state: MessageState,
}

/// A batch on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// What it carries.
    pub record: BatchRecord,
    /// The chains that it carries, with the n of each head; empty for an advance.
    pub places: Vec<(Place, u8)>,
    /// Attempts, oldest first.
    pub attempts: Vec<AttemptRecord>,
    /// Transactions among them that only use up the nonce.
    pub cancels: Vec<Hash>,
    /// An operator wants it cancelled.
    pub cancelled: bool,
    /// Receipt: transaction, block, block hash, success.
    pub mined: Option<(Hash, u64, Hash, bool)>,
    /// Under `safe` in this block, with this success.
    pub safe: Option<(u64, bool)>,
}

/// Why a statement does not fit what is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainConflict {
    /// Another statement has this n.
    SameNumber,
    /// prev_head is not the head before it, or a later one does not follow from it.
    Broken,
}

impl State {
    /// Takes in one fact.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::EpochOpened { epoch, challenge, policy_hash } => {
                self.open_epoch(Epoch { epoch: *epoch, challenge: *challenge, policy_hash: *policy_hash });
            }
            Record::TicketIssued { challenge_payload, device_key } => {
                self.apply_ticket(challenge_payload, device_key);
            }
            Record::Statement(statement) => self.apply_statement(statement),
            Record::Denied { sid, request_hash, answer } => {
                self.counts.denied += 1;
                if let Some(ticket) = self.tickets.get_mut(sid) {
                    ticket.answer = Some(Answer {
                        request_hash: *request_hash,
                        frame: answer.clone(),
                        credit: None,
                        statement: None,
                    });
                }
            }
            Record::AuthAcked { sid, .. } => {
                if let Some(ticket) = self.tickets.get_mut(sid) {
                    ticket.acked = true;
                }
            }
            Record::ChargeEnded { sid, .. } => {
                if let Some(ticket) = self.tickets.get_mut(sid) {
                    ticket.ended = true;
                    let device_id = ticket.challenge.device_id;
                    self.close_charge(&device_id, sid);
                }
            }
            Record::Telemetry { payload, .. } => {
                if let Ok(telemetry) = BattTelem::decode(payload) {
                    self.counts.telemetry += 1;
                    self.batteries.accept(&telemetry);
                }
            }
            Record::BatchCut(batch) => self.apply_batch(batch),
            Record::Submitted(attempt) => self.apply_attempt(attempt),
            Record::Mined { batch, transaction, block, block_hash, succeeded } => {
                self.set_members(*batch, MessageState::Mined);
                if let Some(batch) = self.batches.get_mut(batch) {
                    batch.mined = Some((*transaction, *block, *block_hash, *succeeded));
                }
            }
            Record::Unmined { batch } => {
                self.set_members(*batch, MessageState::Submitted);
                if let Some(batch) = self.batches.get_mut(batch) {
                    batch.mined = None;
                }
            }
            Record::Safe { batch, block, succeeded, .. } => {
                if let Some(batch) = self.batches.get_mut(batch) {
                    batch.safe = Some((*block, *succeeded));
                }
            }
            Record::BatchDropped { batch, retry_block } => {
                self.release(*batch, false, *retry_block);
            }
            Record::HeadSafe { group, index, epoch, n, head, transaction, block } => {
                let seen = RecordedHead { n: *n, transaction: *transaction, block: *block };
                self.head_recorded((*group, *index, *epoch), head, seen);
            }
            Record::RootCut(root) => self.root_cut(root),
            Record::RootClosed { epoch, root, signers } => self.root_closed(*epoch, root, signers),
            Record::RootSafe { group, epoch, group_root, signers, transaction, block } => {
                self.root_recorded(*group, *epoch, group_root, signers, (*transaction, *block));
            }
            Record::LedgerSafe { battery, seq, fp, block } => {
                self.batteries.ledger_moved(battery, *seq, *fp, *block);
            }
            Record::Scanned { block, hash } => self.scanned(*block, *hash),
            Record::Reorganised { from_block } => self.take_back(*from_block),
            Record::Finalized { block } => self.finalize(*block),
            Record::Revoked { sid, cause, grace_wh } => self.revoke(sid, *cause, *grace_wh),
            Record::CreditReduced { sid, seq, wh, minutes } => {
                self.reduce_credit(sid, *seq, *wh, *minutes);
            }
            Record::TxEdited { batch, edit, .. } => {
                if let Some(batch) = self.batches.get_mut(batch) {
                    batch.cancelled |= *edit == TxEdit::Cancel;
                }
            }
            Record::CancelSubmitted(attempt) => {
                self.apply_attempt(attempt);
                if let Some(batch) = self.batches.get_mut(&attempt.batch) {
                    batch.cancels.push(attempt.transaction);
                }
            }
            Record::Settled { scanned_to } => {
                self.settle(*scanned_to);
            }
            Record::Expired { oldest_epoch } => {
                self.expire_before(*oldest_epoch);
            }
            Record::BatteryHeld(held) => self.batteries.hold(held),
            Record::PolicyAcksHeld { acks } => self.hold_policy_acks(acks),
            Record::ChargeHeld(charge) => self.hold_charge(charge),
            Record::Pruned(pruned) => self.prune(pruned),
        }
    }

    /// Tickets that a device got in `epoch`.
    pub fn tickets_of(&self, device_id: &DeviceId, epoch: u32) -> u32 {
        self.tickets_in_epoch
            .get(device_id)
            .filter(|(newest, _)| *newest == epoch)
            .map_or(0, |(_, count)| *count)
    }

    /// Whether a device has a charge that was granted and has not ended.
    pub fn has_open_charge(&self, device_id: &DeviceId) -> bool {
        self.open_charges.get(device_id).is_some_and(|open| !open.is_empty())
    }

    /// Whether a statement fits the chain as held; `Ok(true)` if it is held already.
    pub fn check_chain(
        &self,
        place: Place,
        n: u8,
        prev_head: &Hash,
        head: &Hash,
    ) -> Result<bool, ChainConflict> {
        let Some(chain) = self.chains.get(&place) else {
            return if n == 1 && *prev_head != [0; 32] { Err(ChainConflict::Broken) } else { Ok(false) };
        };
        if let Some(held) = chain.statements.get(&n) {
            return if held.head == *head { Ok(true) } else { Err(ChainConflict::SameNumber) };
        }
        let before = if n == 1 {
            Some([0; 32])
        } else {
            n.checked_sub(1).and_then(|m| chain.statements.get(&m)).map(|entry| entry.head)
        };
        let after = n.checked_add(1).and_then(|m| chain.statements.get(&m)).map(|entry| entry.prev_head);
        let broken = before.is_some_and(|expected| expected != *prev_head)
            || after.is_some_and(|expected| expected != *head);
        if broken { Err(ChainConflict::Broken) } else { Ok(false) }
    }

    /// Whether [`State::settle`] would end a batch.
    pub fn settles(&self, scanned_to: u64) -> bool {
        let scanned_to = self.scanned_to.max(scanned_to);
        self.batches.values().any(|batch| batch.safe.is_some_and(|(block, _)| block <= scanned_to))
    }

    /// Frees the members of every batch whose block's events have been taken in: what is not covered may be tried again.
    /// Returns (batch, statements given up).
    pub fn settle(&mut self, scanned_to: u64) -> Vec<(u64, u64)> {
        self.scanned_to = self.scanned_to.max(scanned_to);
        let done: Vec<u64> = self
            .batches
            .iter()
            .filter(|(_, batch)| batch.safe.is_some_and(|(block, _)| block <= self.scanned_to))
            .map(|(number, _)| *number)
            .collect();
        let mut settled = Vec::new();
        for number in done {
            let carried = self.batches.get(&number).is_some_and(|batch| batch.safe.is_some_and(|(_, ok)| ok));
            let retry_block = self.scanned_to.saturating_add(RETRY_AFTER_BLOCKS);
            settled.push((number, self.release(number, carried, retry_block)));
        }
        settled
    }

    /// Forgets a batch and frees its uncovered members. Where the call was `carried` out, what it left uncovered was skipped by the
    /// contract: that counts as a try, and only `extend` helps now. Where it was not, because it reverted or never got a
    /// transaction (a pause, an estimate that failed), the same is tried again from `retry_block` on.
    fn release(&mut self, number: u64, carried: bool, retry_block: u64) -> u64 {
        let Some(batch) = self.batches.remove(&number) else { return 0 };
        let (kind, places) = (batch.record.kind, batch.places.clone());
        if batch.safe.is_some() {
            self.settled.insert(number, batch);
        }
        if kind == BatchKind::Advance {
            return self.batteries.release(number, carried, retry_block);
        }
        let mut given_up = 0;
        for (place, _) in places {
            let Some(chain) = self.chains.get_mut(&place) else { continue };
            if chain.in_batch != Some(number) {
                continue;
            }
            chain.in_batch = None;
            if chain.given_up || !chain.is_open() {
                continue;
            }
            if !carried {
                chain.retry_block = retry_block;
                continue;
            }
            // What a record left out takes `extend`, and what neither took, because the chain was reorganised in between, the other.
            chain.recorded = kind != BatchKind::Extend || !chain.seen.is_empty();
            chain.tries = chain.tries.saturating_add(1);
            if chain.tries >= SUBMISSION_TRIES_MAX {
                given_up += chain.give_up(MessageState::RejectedByContract);
                self.uncovered.remove(&(place.2, place.0, place.1));
            }
        }
        self.counts.rejected_by_contract += given_up;
        given_up
    }

    /// Whether [`State::expire_before`] would give up a chain.
    pub fn expires(&self, oldest_epoch: u32) -> bool {
        let mut old = self.uncovered.iter().take_while(|(epoch, ..)| *epoch < oldest_epoch);
        old.any(|(epoch, group, index)| {
            self.chains.get(&(*group, *index, *epoch)).is_some_and(|chain| chain.in_batch.is_none())
        })
    }

    /// Gives up chains whose epoch has left the ring, unless a batch still carries them. Returns the statements given up.
    pub fn expire_before(&mut self, oldest_epoch: u32) -> u64 {
        let old: Vec<_> =
            self.uncovered.iter().take_while(|(epoch, ..)| *epoch < oldest_epoch).copied().collect();
        let mut given_up = 0;
        for (epoch, group, index) in old {
            let Some(chain) = self.chains.get_mut(&(group, index, epoch)) else { continue };
            if chain.in_batch.is_none() {
                given_up += chain.give_up(MessageState::Expired);
                self.uncovered.remove(&(epoch, group, index));
            }
        }
        self.counts.expired += given_up;
        given_up
    }

    fn apply_ticket(&mut self, payload: &[u8], device_key: &[u8]) {
        let (Ok(challenge), Ok(device_key)) = (Challenge::decode(payload), PublicKey::try_from(device_key))
        else {
            tracing::error!("a ticket of the journal does not decode");
            return;
        };
        let ticket_hash = cip22_wire::digest::ticket_hash(&challenge);
        let count = self.tickets_of(&challenge.device_id, challenge.epoch).saturating_add(1);
        self.tickets_in_epoch.insert(challenge.device_id, (challenge.epoch, count));
        self.tickets_by_request.insert((challenge.device_id, challenge.dev_eph), challenge.sid);
        self.retained.ticket(challenge.epoch, challenge.sid);
        let ticket = Ticket {
            challenge,
            ticket_hash,
            device_key,
            answer: None,
            acked: false,
            ended: false,
            revoked: None,
            credit_seq: 0,
        };
        self.tickets.insert(challenge.sid, ticket);
    }

    fn apply_statement(&mut self, statement: &StatementRecord) {
        let place = (statement.group, statement.index, statement.epoch);
        let Ok(signature) = Signature::try_from(statement.signature.as_slice()) else {
            tracing::error!("a signature of the journal has {} bytes", statement.signature.len());
            return;
        };
        let sid = match &statement.kind {
            StatementKind::Auth { sid, l, request_hash, wh, minutes, answer, .. } => {
                self.counts.granted += 1;
                if let Some(ticket) = self.tickets.get_mut(sid) {
                    self.pending_grants.insert(*sid);
                    self.open_charges.entry(statement.device_id).or_default().insert(*sid);
                    ticket.answer = Some(Answer {
                        request_hash: *request_hash,
                        frame: answer.clone(),
                        credit: Some((*wh, *minutes)),
                        statement: Some((place, statement.n, *l)),
                    });
                }
                Some(*sid)
            }
            StatementKind::Checkpoint { battery, .. } => {
                self.batteries.checkpoint(battery, statement);
                None
            }
            StatementKind::PolicyAck { version, .. } => {
                let acked = self.policy_acks.entry(statement.device_id).or_default();
                *acked = (*acked).max(*version);
                None
            }
        };
        let state = if sid.is_some() { MessageState::Granted } else { MessageState::Verified };
        let (prev_head, head) = (statement.prev_head, statement.head);
        let chain = self.chains.entry(place).or_insert_with(|| {
            self.retained.chain(place);
            PileChain::new(statement.device_id)
        });
        chain.statements.insert(statement.n, Entry { prev_head, head, signature, sid, state });
        if statement.n > chain.covered_n {
            chain.given_up = false;
            self.uncovered.insert((statement.epoch, statement.group, statement.index));
        }
    }

    fn apply_batch(&mut self, record: &BatchRecord) {
        self.last_batch = self.last_batch.max(record.batch);
        let mut places = Vec::new();
        if record.kind == BatchKind::Advance {
            self.batteries.batched(record);
        } else {
            let members: HashMap<DeviceId, u8> = record.members.iter().copied().collect();
            let epoch = (record.epoch, 0, 0)..=(record.epoch, u32::MAX, u8::MAX);
            for (epoch, group, index) in self.uncovered.range(epoch) {
                let place = (*group, *index, *epoch);
                if let Some(chain) = self.chains.get_mut(&place)
                    && let Some(n) = members.get(&chain.device_id)
                {
                    chain.in_batch = Some(record.batch);
                    places.push((place, *n));
                }
            }
        }
        let batch = Batch {
            record: record.clone(),
            places,
            attempts: Vec::new(),
            cancels: Vec::new(),
            cancelled: false,
            mined: None,
            safe: None,
        };
        self.batches.insert(record.batch, batch);
        self.set_members(record.batch, MessageState::Batched);
    }

    fn apply_attempt(&mut self, attempt: &AttemptRecord) {
        if let Some(batch) = self.batches.get_mut(&attempt.batch) {
            batch.attempts.push(attempt.clone());
        }
        self.set_members(attempt.batch, MessageState::Submitted);
    }

    fn set_members(&mut self, number: u64, next: MessageState) {
        let Some(batch) = self.batches.get(&number) else { return };
        for (place, n) in &batch.places {
            let Some(chain) = self.chains.get_mut(place) else { continue };
            // What a recorded head covers does not depend on this batch any more.
            let first = chain.covered_n.saturating_add(1);
            for (_, entry) in chain.statements.range_mut(first.min(*n)..=*n) {
                if entry.state.can_become(next) && entry.state != MessageState::Safe {
                    entry.state = next;
                }
            }
        }
    }
}

impl PileChain {
    fn new(device_id: DeviceId) -> Self {
        Self {
            device_id,
            statements: BTreeMap::new(),
            covered_n: 0,
            seen: Vec::new(),
            recorded: false,
            tries: 0,
            retry_block: 0,
            in_batch: None,
            given_up: false,
        }
    }

    /// Whether it has statements that no safe head covers.
    fn is_open(&self) -> bool {
        self.statements.keys().next_back().is_some_and(|n| *n > self.covered_n)
    }

    /// Ends every statement that may end so; returns how many.
    fn give_up(&mut self, why: MessageState) -> u64 {
        self.given_up = true;
        let mut count = 0;
        for entry in self.statements.values_mut() {
            if entry.state.can_become(why) && entry.state != MessageState::Safe {
                entry.state = why;
                count += 1;
            }
        }
        count
    }
}

#[cfg(test)]
mod tests;
