//! What the journal holds of one ticket, in the order in which it became durable.

use std::collections::BTreeMap;

use cip22_wire::body::{Deny, SUITE_PLAIN};
use cip22_wire::message::{AuthDeny, Body, Challenge};
use cip22_wire::{
    Address, DenyReason, DeviceId, EndCause, FrameType, Hash, PublicKey, RevokeCause, Sid, frame,
};
use serde::Serialize;

use super::hex0x;
use crate::gateway_key::SiteSecret;
use crate::journal::record::{
    BatchKind, ChargeRecord, LeafRecord, RootRecord, StatementKind, StatementRecord, TxEdit,
};
use crate::journal::{Lsn, Record};
use crate::pipeline::batch::kind_label;
use crate::seal::TicketKeys;
use crate::signers::Signers;

/// One line of a message's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Position in the journal.
    pub lsn: Lsn,
    /// What happened, one word.
    pub event: &'static str,
    /// In words.
    pub detail: String,
    /// Block, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block: Option<u64>,
    /// Batch, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<u64>,
    /// Transaction, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction: Option<String>,
}

/// A batch that carries the statement, or carried it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carrier {
    /// Kind.
    pub kind: BatchKind,
    /// Its newest attempt.
    pub attempt: Option<Attempt>,
    /// Hashes of all attempts.
    pub transactions: Vec<Hash>,
    /// Receipt: block and success.
    pub mined: Option<(u64, bool)>,
    /// An operator cancelled it.
    pub cancelled: bool,
    /// How it ended.
    pub end: Option<End>,
}

/// The newest attempt of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// Number.
    pub attempt: u32,
    /// Account.
    pub signer: Address,
    /// Nonce.
    pub nonce: u64,
    /// Offered, drip per gas.
    pub max_fee_per_gas: u128,
    /// Transaction.
    pub transaction: Hash,
}

/// How a batch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Under `safe` in this block, with this success.
    Safe(u64, bool),
    /// Without a transaction; its members wait for this block.
    Dropped(u64),
}

/// A ticket's history and what it adds up to.
#[derive(Debug, Clone, Default)]
pub struct Story {
    sid: Sid,
    /// The ticket.
    pub challenge: Option<Challenge>,
    /// Reason of a denial.
    pub denied: Option<&'static str>,
    /// The denial's frame and its line, while it is sealed.
    sealed_denial: Option<(Vec<u8>, usize)>,
    device_key: Option<PublicKey>,
    /// The granted statement.
    pub statement: Option<StatementRecord>,
    /// Credit, Wh and minutes.
    pub credit: Option<(u32, u16)>,
    /// The pile verified the answer.
    pub acked: bool,
    /// The charge ended.
    pub ended: bool,
    /// Batches that carry it, by number.
    pub carriers: BTreeMap<u64, Carrier>,
    /// The root that has its pile's leaf: the group's root, index and n.
    leaf: Option<(Hash, u8, u8)>,
    /// Piles are being asked to co-sign that root.
    pub in_round: bool,
    /// The head under `safe` that first covered it: transaction and block.
    pub covered: Option<(Hash, u64)>,
    /// Line by line.
    pub lines: Vec<Line>,
}

impl Story {
    /// An empty one.
    pub fn of(sid: Sid) -> Self {
        Self { sid, ..Self::default() }
    }

    /// The newest batch that has no end.
    pub fn open_carrier(&self) -> Option<(u64, &Carrier)> {
        let open = self.carriers.iter().rev().find(|(_, carrier)| carrier.end.is_none());
        open.map(|(number, carrier)| (*number, carrier))
    }

    /// The newest batch that ended.
    pub fn ended_carrier(&self) -> Option<(u64, &Carrier)> {
        let ended = self.carriers.iter().rev().find(|(_, carrier)| carrier.end.is_some());
        ended.map(|(number, carrier)| (*number, carrier))
    }

    /// Takes in the next record of the journal.
    pub fn take(&mut self, lsn: Lsn, record: &Record) {
        match record {
            Record::TicketIssued { challenge_payload, device_key } => {
                self.ticket(lsn, challenge_payload, device_key);
            }
            Record::Statement(statement) => self.statement(lsn, statement),
            Record::Denied { sid, answer, .. } if *sid == self.sid => {
                let reason = deny_reason(answer, |denial| denial.body.to_vec());
                if is_sealed(answer) {
                    self.sealed_denial = Some((answer.clone(), self.lines.len()));
                }
                self.denied = Some(reason);
                self.line(lsn, "denied", format!("AUTH_DENY {reason}"));
            }
            Record::AuthAcked { sid, .. } if *sid == self.sid => {
                self.acked = true;
                self.line(lsn, "acknowledged", "the pile verified the answer".to_owned());
            }
            Record::ChargeEnded { sid, wh, minutes, cause, .. } if *sid == self.sid => {
                self.ended = true;
                let cause = EndCause::from_u8(*cause).map_or("unknown", EndCause::name);
                self.line(lsn, "charge_ended", format!("{wh} Wh in {minutes} min, cause {cause}"));
            }
            Record::ChargeHeld(charge) => self.held(lsn, charge),
            Record::BatchCut(batch) => {
                let Some(statement) = &self.statement else { return };
                let carries = |(device, n): &(DeviceId, u8)| {
                    *device == statement.device_id && *n >= statement.n && batch.epoch == statement.epoch
                };
                if batch.kind == BatchKind::Advance || !batch.members.iter().any(carries) {
                    return;
                }
                let carrier = Carrier {
                    kind: batch.kind,
                    attempt: None,
                    transactions: Vec::new(),
                    mined: None,
                    cancelled: false,
                    end: None,
                };
                self.carriers.insert(batch.batch, carrier);
                let (kind, members) = (kind_label(batch.kind), batch.members.len());
                let line = self.line(lsn, "batched", format!("cut with {members} piles, call {kind}"));
                line.batch = Some(batch.batch);
            }
            Record::Submitted(attempt) | Record::CancelSubmitted(attempt) => {
                let Some(carrier) = self.carriers.get_mut(&attempt.batch) else { return };
                let cancels = matches!(record, Record::CancelSubmitted(_));
                carrier.cancelled = carrier.cancelled || cancels;
                carrier.transactions.push(attempt.transaction);
                carrier.attempt = Some(Attempt {
                    attempt: attempt.attempt,
                    signer: attempt.signer,
                    nonce: attempt.nonce,
                    max_fee_per_gas: attempt.max_fee_per_gas,
                    transaction: attempt.transaction,
                });
                let fee_gwei = attempt.max_fee_per_gas / 1_000_000_000;
                let what = if cancels { "a transfer of nothing, to cancel: " } else { "" };
                let detail = format!(
                    "{what}attempt {}: nonce {} of {}, gas limit {}, at most {fee_gwei} gwei",
                    attempt.attempt,
                    attempt.nonce,
                    hex0x(&attempt.signer),
                    attempt.gas_limit
                );
                let line = self.line(lsn, "submitted", detail);
                (line.batch, line.transaction) = (Some(attempt.batch), Some(hex0x(&attempt.transaction)));
            }
            Record::TxEdited { batch, edit, .. } if self.carriers.contains_key(batch) => {
                let detail = match edit {
                    TxEdit::Bump => "an operator wants it paid better",
                    TxEdit::Cancel => "an operator wants it cancelled",
                };
                self.line(lsn, "edited", detail.to_owned()).batch = Some(*batch);
            }
            Record::Mined { batch, .. }
            | Record::Unmined { batch }
            | Record::Safe { batch, .. }
            | Record::BatchDropped { batch, .. } => self.batch_moved(lsn, *batch, record),
            Record::HeadSafe { group, index, epoch, n, transaction, block, .. } => {
                let covers = self.statement.as_ref().is_some_and(|statement| {
                    (statement.group, statement.index, statement.epoch) == (*group, *index, *epoch)
                        && statement.n <= *n
                });
                if covers {
                    self.recorded(lsn, *n, *transaction, *block);
                }
            }
            Record::RootCut(root) => self.root(lsn, root),
            Record::RootClosed { epoch, signers, .. } => self.root_closed(lsn, *epoch, signers),
            Record::RootSafe { group, epoch, group_root, signers, transaction, block } => {
                let Some((ours, index, n)) = self.leaf.filter(|(ours, ..)| ours == group_root) else {
                    return;
                };
                let place = self.statement.as_ref().map(|statement| (statement.group, statement.epoch));
                if place == Some((*group, *epoch)) && signers.contains(index) {
                    let root = hex0x(&ours);
                    self.recorded_by(lsn, &format!("root {root} with head {n}"), *transaction, *block);
                }
            }
            Record::Reorganised { from_block } => self.reorganised(lsn, *from_block),
            Record::Revoked { sid, cause, grace_wh } if *sid == self.sid => {
                let cause = RevokeCause::from_u8(*cause).map_or("unknown", RevokeCause::name);
                self.line(lsn, "revoked", format!("AUTH_REVOKE: {cause}, grace of {grace_wh} Wh"));
            }
            Record::CreditReduced { sid, wh, minutes, .. } if *sid == self.sid => {
                self.credit = Some((*wh, *minutes));
                self.line(lsn, "credit_reduced", format!("to {wh} Wh and {minutes} min"));
            }
            _ => {}
        }
    }

    /// Opens what the gateway sealed, with the keys of the ticket.
    pub fn unseal(&mut self, site_secret: &SiteSecret) {
        let (Some(challenge), Some(device_key)) = (&self.challenge, &self.device_key) else { return };
        let Some((answer, at)) = self.sealed_denial.take() else { return };
        let keys = TicketKeys::new(site_secret, challenge, device_key);
        let reason = deny_reason(&answer, |denial| {
            let plain = keys.and_then(|keys| keys.open_own(FrameType::AuthDeny, denial.body));
            plain.map(|plain| plain.to_vec()).unwrap_or_default()
        });
        self.denied = Some(reason);
        if let Some(line) = self.lines.get_mut(at) {
            line.detail = format!("AUTH_DENY {reason}");
        }
    }

    fn ticket(&mut self, lsn: Lsn, payload: &[u8], device_key: &[u8]) {
        let Ok(challenge) = Challenge::decode(payload) else { return };
        if challenge.sid != self.sid {
            return;
        }
        let detail = format!(
            "ticket for {} in epoch {}, to be answered by block {}",
            hex0x(&challenge.device_id),
            challenge.epoch,
            challenge.answer_by
        );
        self.line(lsn, "ticketed", detail).block = Some(challenge.issued);
        self.challenge = Some(challenge);
        self.device_key = PublicKey::try_from(device_key).ok();
    }

    fn statement(&mut self, lsn: Lsn, statement: &StatementRecord) {
        let StatementKind::Auth { sid, wh, minutes, .. } = &statement.kind else { return };
        if *sid != self.sid {
            return;
        }
        let detail = format!(
            "credit of {wh} Wh and {minutes} min; statement {} of group {}, index {}, in epoch {}",
            statement.n, statement.group, statement.index, statement.epoch
        );
        self.credit = Some((*wh, *minutes));
        self.statement = Some(statement.clone());
        self.line(lsn, "granted", detail);
    }

    /// What pruning carried over of a charge that is still open.
    fn held(&mut self, lsn: Lsn, charge: &ChargeRecord) {
        let Ok(challenge) = Challenge::decode(&charge.challenge_payload) else { return };
        if challenge.sid != self.sid {
            return;
        }
        self.challenge = Some(challenge);
        self.credit = Some(charge.credit);
        self.acked = self.acked || charge.acked;
        let (group, index, epoch, n) = charge.statement;
        let detail = format!(
            "statement {n} of group {group}, index {index}, in epoch {epoch}; what was before is pruned"
        );
        self.line(lsn, "carried_over", detail);
    }

    fn batch_moved(&mut self, lsn: Lsn, number: u64, record: &Record) {
        let Some(carrier) = self.carriers.get_mut(&number) else { return };
        let says = |succeeded: bool| if succeeded { "executed" } else { "reverted" };
        let (event, detail, block, transaction) = match record {
            Record::Mined { transaction, block, succeeded, .. } => {
                carrier.mined = Some((*block, *succeeded));
                ("mined", format!("receipt seen: {}", says(*succeeded)), Some(*block), Some(*transaction))
            }
            Record::Unmined { .. } => {
                carrier.mined = None;
                ("unmined", "the receipt is gone again: a reorganisation".to_owned(), None, None)
            }
            Record::Safe { transaction, block, succeeded, .. } => {
                carrier.end = Some(End::Safe(*block, *succeeded));
                let detail = format!("`safe` covers the receipt: {}", says(*succeeded));
                ("batch_safe", detail, Some(*block), Some(*transaction))
            }
            Record::BatchDropped { retry_block, .. } => {
                carrier.end = Some(End::Dropped(*retry_block));
                let detail = format!("ended without a transaction, tried again from block {retry_block} on");
                ("batch_dropped", detail, None, None)
            }
            _ => return,
        };
        let line = self.line(lsn, event, detail);
        (line.batch, line.block, line.transaction) =
            (Some(number), block, transaction.as_ref().map(|hash| hex0x(hash)));
    }

    fn root(&mut self, lsn: Lsn, root: &RootRecord) {
        let Some(statement) = &self.statement else { return };
        let Some(group) = root.group(statement.group).filter(|_| root.epoch == statement.epoch) else {
            return;
        };
        let device_id = statement.device_id;
        let covers = |leaf: &&LeafRecord| leaf.device_id == device_id && leaf.n >= statement.n;
        let Some(leaf) = group.leaves.iter().find(covers) else { return };
        self.leaf = Some((group.group_root, leaf.index, leaf.n));
        self.in_round = true;
        let (piles, groups) =
            (root.groups.iter().map(|group| group.leaves.len()).sum::<usize>(), root.groups.len());
        let detail = format!(
            "leaf {} of a root of {piles} piles in {groups} groups, which they are to co-sign",
            leaf.n
        );
        self.line(lsn, "root_cut", detail);
    }

    fn root_closed(&mut self, lsn: Lsn, epoch: u32, signers: &[(u32, Signers)]) {
        let (Some(statement), Some((_, index, _))) = (&self.statement, self.leaf) else { return };
        let Some((_, group)) = signers.iter().find(|(group, _)| *group == statement.group) else { return };
        if statement.epoch != epoch {
            return;
        }
        self.in_round = false;
        let count: usize = signers.iter().map(|(_, signers)| signers.count()).sum();
        let whether = if group.contains(index) { "this pile among them" } else { "this pile not among them" };
        self.line(lsn, "root_closed", format!("{count} piles signed the root, {whether}"));
    }

    fn recorded(&mut self, lsn: Lsn, n: u8, transaction: Hash, block: u64) {
        self.recorded_by(lsn, &format!("head {n}"), transaction, block);
    }

    fn recorded_by(&mut self, lsn: Lsn, what: &str, transaction: Hash, block: u64) {
        let ours = self.carriers.values().any(|carrier| carrier.transactions.contains(&transaction));
        let whose = if ours { "our transaction" } else { "a transaction of somebody else" };
        self.covered.get_or_insert((transaction, block));
        let detail = format!("{what} stands on chain under `safe`, by {whose}");
        let line = self.line(lsn, "recorded", detail);
        (line.block, line.transaction) = (Some(block), Some(hex0x(&transaction)));
    }

    /// Forgets what stood in blocks that the chain has left; what was final there is in the state all the same.
    fn reorganised(&mut self, lsn: Lsn, from_block: u64) {
        let undone = self.covered.take_if(|(_, block)| *block >= from_block).is_some();
        for carrier in self.carriers.values_mut() {
            if matches!(carrier.end, Some(End::Safe(block, _)) if block >= from_block) {
                (carrier.end, carrier.mined) = (None, None);
            }
        }
        if undone {
            let detail = "the block that held it left the chain: a reorganisation".to_owned();
            self.line(lsn, "taken_back", detail).block = Some(from_block);
        }
    }

    fn line(&mut self, lsn: Lsn, event: &'static str, detail: String) -> &mut Line {
        self.lines.push(Line { lsn, event, detail, block: None, batch: None, transaction: None });
        let last = self.lines.len().saturating_sub(1);
        &mut self.lines[last]
    }
}

/// The reason in a denial, whose body `open` gives in plain.
fn deny_reason(answer: &[u8], open: impl FnOnce(&AuthDeny<'_>) -> Vec<u8>) -> &'static str {
    let body = denial_of(answer).map(|denial| open(&denial));
    let reason = body.and_then(|body| Deny::decode(&body).ok()).map(|body| body.reason);
    reason.and_then(DenyReason::from_u8).map_or(UNKNOWN_REASON, DenyReason::name)
}

fn is_sealed(answer: &[u8]) -> bool {
    denial_of(answer).is_some_and(|denial| denial.suite != SUITE_PLAIN)
}

fn denial_of(answer: &[u8]) -> Option<AuthDeny<'_>> {
    let parsed = frame::parse(answer, u16::MAX).ok().flatten()?;
    AuthDeny::decode(parsed.payload).ok()
}

const UNKNOWN_REASON: &str = "for an unknown reason";
