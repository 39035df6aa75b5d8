//! What operators see of transactions, and what they may do to them: `relayer tx list | bump | cancel`.

use serde::{Deserialize, Serialize};

use super::capacity::cost_drip;
use super::{AttemptKind, AttemptPlan, BatchOutcome, Effect, Submissions, Tracked};
use crate::chain::fees::Fees;
use crate::journal::Record;
use crate::journal::record::TxEdit;

/// Gas of a transfer of nothing to oneself.
const CANCEL_GAS_LIMIT: u64 = 21_000;

/// One batch without an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxLine {
    /// Batch.
    pub batch: u64,
    /// `record`, `extend` or `advance`.
    pub kind: String,
    /// Epoch of its records.
    pub epoch: u32,
    /// Last block in which it can be recorded.
    pub expires_block: u64,
    /// Paying account, 0x hex; `None` while no signer has it.
    pub signer: Option<String>,
    /// Nonce of the newest attempt.
    pub nonce: Option<u64>,
    /// Attempts made.
    pub attempts: u32,
    /// Gas limit of the newest attempt.
    pub gas_limit: Option<u64>,
    /// maxFeePerGas of the newest attempt, drip.
    pub max_fee_drip: Option<u128>,
    /// maxPriorityFeePerGas of the newest attempt, drip.
    pub tip_drip: Option<u128>,
    /// The newest attempt's hash, 0x hex.
    pub transaction: Option<String>,
    /// Blocks since its epoch ended.
    pub age_blocks: u64,
    /// `waiting`, `in_flight`, `nonce_consumed`, `mined`, `cancelling`.
    pub state: String,
    /// What happens next, for people.
    pub next: String,
}

/// What an edit did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxDone {
    /// Batch.
    pub batch: u64,
    /// Nonce of the new attempt; `None` if the batch ended without one.
    pub nonce: Option<u64>,
    /// Number of the new attempt.
    pub attempt: Option<u32>,
    /// Its maxFeePerGas, drip.
    pub max_fee_drip: Option<u128>,
}

pub use crate::error::TxRefusal;

impl Submissions {
    /// Does what an operator wants of a batch, or says why not. Nothing changed if it is refused.
    pub fn edit(&mut self, batch: u64, edit: TxEdit, unix_ms: u64) -> Result<Vec<Effect>, TxRefusal> {
        let tracked = self.batches.get(&batch).ok_or(TxRefusal::UnknownBatch { batch })?;
        let now = self.seen.as_ref().ok_or(TxRefusal::ChainNotSeen)?;
        if let Some(mined) = tracked.mined {
            return Err(TxRefusal::Mined { batch, block: mined.block });
        }
        let noted = Effect::Append(Record::TxEdited { batch, edit, unix_ms });
        if tracked.needs_nonce() {
            return match edit {
                TxEdit::Bump => Err(TxRefusal::NothingSent { batch }),
                TxEdit::Cancel => {
                    let outcome = BatchOutcome::unsent(&tracked.batch, true);
                    self.batches.remove(&batch);
                    Ok(vec![noted, Effect::Report(outcome)])
                }
            };
        }
        let nonce = tracked.nonce().unwrap_or_default();
        if nonce < now.nonce {
            return Err(TxRefusal::NonceConsumed { batch, nonce });
        }
        if !self.can_sign {
            return Err(TxRefusal::NoKey { signer: hex::encode(self.signer) });
        }
        let kind = match edit {
            TxEdit::Bump if nonce > now.nonce => {
                let lower = self.batches.values().filter(|other| other.in_flight());
                let lowest = lower.min_by_key(|other| other.nonce()).map_or(batch, |other| other.batch.batch);
                return Err(TxRefusal::NotLowest { batch, nonce, lowest });
            }
            TxEdit::Bump => tracked.newest_kind(),
            TxEdit::Cancel if tracked.cancelled => return Err(TxRefusal::CancelledAlready { batch }),
            TxEdit::Cancel => AttemptKind::Cancel,
        };
        let plan = self.better_paid(tracked, kind)?;
        if let Some(tracked) = self.batches.get_mut(&batch) {
            tracked.cancelled |= edit == TxEdit::Cancel;
        }
        Ok(vec![noted, self.sign(plan)])
    }

    /// The next attempt at a batch's nonce, within the cap and what the signer can pay.
    pub(super) fn better_paid(&self, tracked: &Tracked, kind: AttemptKind) -> Result<AttemptPlan, TxRefusal> {
        let batch = tracked.batch.batch;
        let now = self.seen.as_ref().ok_or(TxRefusal::ChainNotSeen)?;
        let newest = tracked.attempts.last().ok_or(TxRefusal::NothingSent { batch })?;
        let before = Fees {
            max_fee_per_gas: newest.max_fee_per_gas,
            max_priority_fee_per_gas: newest.max_priority_fee_per_gas,
        };
        let policy = &self.settings.fees;
        let fees = policy
            .replacement(now.base_fee, before)
            .ok_or(TxRefusal::AtCap { batch, cap_drip: policy.max_fee_per_gas_cap })?;
        let gas_limit = match kind {
            AttemptKind::Carry => newest.gas_limit,
            AttemptKind::Cancel => CANCEL_GAS_LIMIT,
        };
        let cost = u128::from(gas_limit).saturating_mul(fees.max_fee_per_gas);
        let others = self.in_flight().cost_drip.saturating_sub(cost_drip(newest));
        let needed_drip = others.saturating_add(cost);
        if needed_drip > now.balance {
            return Err(TxRefusal::CannotPay { batch, needed_drip, balance_drip: now.balance });
        }
        let attempt = newest.attempt.saturating_add(1);
        Ok(AttemptPlan { batch, kind, nonce: newest.nonce, attempt, gas_limit, fees })
    }

    /// Every batch without an end, oldest first.
    pub fn lines(&self) -> Vec<TxLine> {
        self.batches.values().map(|tracked| self.line(tracked)).collect()
    }

    fn line(&self, tracked: &Tracked) -> TxLine {
        let newest = tracked.attempts.last().filter(|_| !tracked.nonce_lost);
        let (state, next) = self.state_of(tracked);
        TxLine {
            signer: Some(format!("0x{}", hex::encode(self.signer))),
            nonce: newest.map(|newest| newest.nonce),
            attempts: tracked.attempts.last().map_or(0, |newest| newest.attempt),
            gas_limit: newest.map(|newest| newest.gas_limit),
            max_fee_drip: newest.map(|newest| newest.max_fee_per_gas),
            tip_drip: newest.map(|newest| newest.max_priority_fee_per_gas),
            transaction: newest.map(|newest| format!("0x{}", hex::encode(newest.transaction))),
            state: state.to_owned(),
            next,
            ..TxLine::waiting(&tracked.batch, String::new())
        }
    }

    fn state_of(&self, tracked: &Tracked) -> (&'static str, String) {
        let Some(now) = &self.seen else { return ("waiting", "the chain has not been seen yet".to_owned()) };
        if let Some(mined) = tracked.mined {
            return ("mined", format!("done when safe (at {}) covers block {}", now.safe, mined.block));
        }
        if tracked.needs_nonce() {
            let next = match tracked.plan_failed_at {
                Some(at) => {
                    format!(
                        "its gas could not be estimated, asked again from block {}",
                        at + super::PLAN_RETRY_BLOCKS
                    )
                }
                None => "a nonce, as soon as there is room and money".to_owned(),
            };
            return ("waiting", next);
        }
        if let Some(since) = tracked.consumed_at {
            let next = format!(
                "its nonce is consumed and no receipt is known: a new nonce when safe (at {}) covers block {since}",
                now.safe
            );
            return ("nonce_consumed", next);
        }
        let state = if tracked.cancelled { "cancelling" } else { "in_flight" };
        let sent_at = tracked.broadcast_at.unwrap_or(now.latest);
        let again = sent_at.saturating_add(self.settings.rebroadcast_blocks);
        let next = if tracked.nonce() != Some(now.nonce) {
            format!("waits for nonce {}, sent again at block {again}", now.nonce)
        } else {
            match self.better_paid(tracked, tracked.newest_kind()) {
                Ok(_) => {
                    let replaced = tracked.replace_at(&self.settings, now.base_fee);
                    format!("sent again at block {again}, replaced at block {replaced}")
                }
                Err(why) => format!("sent again at block {again}, not replaced: {why}"),
            }
        };
        (state, next)
    }
}

impl TxLine {
    /// A batch that no signer has.
    pub fn waiting(batch: &crate::journal::record::BatchRecord, next: String) -> Self {
        Self {
            batch: batch.batch,
            kind: crate::pipeline::batch::kind_label(batch.kind).to_owned(),
            epoch: batch.epoch,
            expires_block: batch.expires_block,
            signer: None,
            nonce: None,
            attempts: 0,
            gas_limit: None,
            max_fee_drip: None,
            tip_drip: None,
            transaction: None,
            age_blocks: 0,
            state: "waiting".to_owned(),
            next,
        }
    }
}
