//! How much one signer may have in flight.
//!
//! eSpace packs at most 50 transactions and 3,000,000 gas of limit of one sender into a block; a bigger transaction goes alone. A block's
//! execution is seen one eSpace block later, so two blocks' worth may be in flight: more would only wait in pools that forget.

use crate::chain::fees;
use crate::journal::record::AttemptRecord;

/// Transactions of one sender in an eSpace block.
pub const TRANSACTIONS_PER_BLOCK_MAX: usize = 50;
/// Gas limit of one sender's transactions in an eSpace block.
pub const GAS_PER_BLOCK_MAX: u64 = 3_000_000;
/// eSpace blocks' worth in flight: one to be packed, one to be executed.
const BLOCKS_IN_FLIGHT: u8 = 2;

const TRANSACTIONS_MAX: usize = TRANSACTIONS_PER_BLOCK_MAX * BLOCKS_IN_FLIGHT as usize;
const GAS_MAX: u64 = GAS_PER_BLOCK_MAX * BLOCKS_IN_FLIGHT as u64;

/// Transactions that are not mined, or the room for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InFlight {
    /// Number.
    pub transactions: usize,
    /// Sum of gas limits.
    pub gas: u64,
    /// What they may cost together, drip.
    pub cost_drip: u128,
    /// Highest maxFeePerGas among them, drip.
    pub max_fee_per_gas: u128,
}

impl InFlight {
    /// Whether another transaction fits. One that is bigger than a block's share goes alone.
    pub fn takes(&self, gas_limit: u64) -> bool {
        let fits = gas_limit <= GAS_PER_BLOCK_MAX && self.gas.saturating_add(gas_limit) <= GAS_MAX;
        self.transactions == 0 || (fits && self.transactions < TRANSACTIONS_MAX)
    }

    /// With one more call that has no gas limit yet.
    #[must_use]
    pub fn with_call(mut self, calldata: &[u8]) -> Self {
        self.transactions = self.transactions.saturating_add(1);
        self.gas = self.gas.saturating_add(fees::least_gas(calldata.len()));
        self
    }

    /// What is left.
    #[must_use]
    pub fn room(&self) -> Self {
        Self {
            transactions: TRANSACTIONS_MAX.saturating_sub(self.transactions),
            gas: GAS_MAX.saturating_sub(self.gas),
            ..Self::default()
        }
    }
}

impl<'a> FromIterator<&'a AttemptRecord> for InFlight {
    fn from_iter<I: IntoIterator<Item = &'a AttemptRecord>>(attempts: I) -> Self {
        attempts.into_iter().fold(Self::default(), |sum, attempt| Self {
            transactions: sum.transactions.saturating_add(1),
            gas: sum.gas.saturating_add(attempt.gas_limit),
            cost_drip: sum.cost_drip.saturating_add(cost_drip(attempt)),
            max_fee_per_gas: sum.max_fee_per_gas.max(attempt.max_fee_per_gas),
        })
    }
}

/// What an attempt may cost at the most: the balance that a node wants to see for it.
pub fn cost_drip(attempt: &AttemptRecord) -> u128 {
    u128::from(attempt.gas_limit).saturating_mul(attempt.max_fee_per_gas)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_flight(transactions: usize, gas: u64) -> InFlight {
        InFlight { transactions, gas, ..InFlight::default() }
    }

    #[test]
    fn two_blocks_of_fifty_transactions_and_three_million_gas_are_in_flight() {
        assert!(in_flight(99, 0).takes(21_000) && !in_flight(100, 0).takes(21_000));
        assert!(in_flight(1, 3_000_000).takes(3_000_000) && !in_flight(1, 3_000_001).takes(3_000_000));
    }

    #[test]
    fn a_transaction_bigger_than_a_blocks_share_goes_alone() {
        assert!(InFlight::default().takes(12_000_000));
        assert!(!in_flight(1, 21_000).takes(3_000_001));
        assert!(!in_flight(1, 12_000_000).takes(21_000), "and nothing beside it");
    }
}
