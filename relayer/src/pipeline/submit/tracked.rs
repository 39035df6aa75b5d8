//! One batch of a signer, and what its attempts came to so far.

use cip22_wire::{Address, Hash};

use super::{AttemptKind, PendingBatch, SubmitterSettings};
use crate::journal::record::{AttemptRecord, BatchRecord};
use crate::pipeline::confirm::{Inclusion, Sighting};

#[derive(Debug, Clone)]
pub(super) struct Tracked {
    pub batch: BatchRecord,
    pub attempts: Vec<AttemptRecord>,
    /// Transactions among the attempts that only use up the nonce.
    pub cancels: Vec<Hash>,
    /// An operator wants it cancelled.
    pub cancelled: bool,
    pub mined: Option<Inclusion>,
    /// `latest` when the newest attempt was last sent; `None` to send it at the next observation.
    pub broadcast_at: Option<u64>,
    /// `latest` when the newest attempt was made.
    pub attempted_at: u64,
    /// `latest` when the nonce was first seen consumed while none of our transactions had a receipt.
    pub consumed_at: Option<u64>,
    /// The nonce went to somebody else's transaction: a new one is needed.
    pub nonce_lost: bool,
    /// `latest` when the known receipt was last looked at.
    pub checked_at: u64,
    /// `latest` when its gas could not be estimated.
    pub plan_failed_at: Option<u64>,
}

impl Tracked {
    /// Attempts by another account than `signer` were given up by their own: their nonces went to somebody else.
    pub(super) fn new(pending: PendingBatch, signer: Address) -> Self {
        let PendingBatch { batch, attempts, cancels, cancelled, mined } = pending;
        let nonce_lost = attempts.last().is_some_and(|newest| newest.signer != signer);
        Self {
            batch,
            attempts,
            cancels,
            cancelled,
            mined,
            broadcast_at: None,
            attempted_at: 0,
            consumed_at: None,
            nonce_lost,
            checked_at: 0,
            plan_failed_at: None,
        }
    }

    pub(super) fn into_pending(self) -> PendingBatch {
        let Self { batch, attempts, cancels, cancelled, mined, .. } = self;
        PendingBatch { batch, attempts, cancels, cancelled, mined }
    }

    /// The nonce that its newest attempt holds, or had.
    pub(super) fn nonce(&self) -> Option<u64> {
        self.attempts.last().map(|attempt| attempt.nonce)
    }

    pub(super) fn needs_nonce(&self) -> bool {
        self.mined.is_none() && (self.attempts.is_empty() || self.nonce_lost)
    }

    pub(super) fn in_flight(&self) -> bool {
        self.mined.is_none() && !self.attempts.is_empty() && !self.nonce_lost
    }

    pub(super) fn newest_kind(&self) -> AttemptKind {
        let newest = self.attempts.last();
        if newest.is_some_and(|newest| self.cancels.contains(&newest.transaction)) {
            AttemptKind::Cancel
        } else {
            AttemptKind::Carry
        }
    }

    /// It is to be cancelled, and no attempt of its nonce does that yet.
    pub(super) fn cancel_is_due(&self) -> bool {
        self.cancelled && self.newest_kind() == AttemptKind::Carry
    }

    /// The block from which on a better paid attempt is due. Bytes that pay less than the base fee cannot be packed, so waiting longer
    /// than for their way to the miners helps nobody.
    pub(super) fn replace_at(&self, settings: &SubmitterSettings, base_fee: u128) -> u64 {
        let priced_out = self.attempts.last().is_some_and(|newest| newest.max_fee_per_gas < base_fee);
        let patience = if priced_out { settings.rebroadcast_blocks } else { settings.replace_blocks };
        self.attempted_at.saturating_add(patience)
    }

    pub(super) fn gas_limit(&self, transaction: &Hash) -> u64 {
        let attempt = self.attempts.iter().find(|attempt| attempt.transaction == *transaction);
        attempt.map_or(0, |attempt| attempt.gas_limit)
    }

    pub(super) fn include(&mut self, inclusion: Inclusion) {
        self.mined = Some(inclusion);
        self.consumed_at = None;
        self.nonce_lost = false;
    }

    /// A sighting in which a cancel counts as what it is for the batch: its call was not carried out.
    pub(super) fn without_cancels(&self, sighting: &Sighting) -> Sighting {
        let mut sighting = sighting.clone();
        for (transaction, receipt) in &mut sighting.receipts {
            if let Some(receipt) = receipt.as_mut().filter(|_| self.cancels.contains(transaction)) {
                receipt.succeeded = false;
            }
        }
        sighting
    }
}
