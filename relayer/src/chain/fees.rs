//! What a transaction offers to pay. Explicit, because eSpace's `eth_feeHistory` reports base fee plus tip as the tip: any
//! default estimator then bids against itself, one base fee higher each time.

/// eSpace's smallest base fee, and the least that its transaction pool accepts: 20 Gdrip per gas.
pub const MIN_FEE_PER_GAS: u128 = 20_000_000_000;

/// Most gas one transaction may have: half of what an eSpace block carries.
pub const MAX_GAS_LIMIT: u64 = 15_000_000;

/// Gas limit that each byte of calldata demands (CIP-130).
const GAS_LIMIT_PER_CALLDATA_BYTE: u64 = 100;

/// Gas of an empty call.
const BASE_GAS: u64 = 21_000;

/// How much to offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeePolicy {
    /// Most that maxFeePerGas may ever be, drip. Below [`MIN_FEE_PER_GAS`] nothing can be sent.
    pub max_fee_per_gas_cap: u128,
    /// maxPriorityFeePerGas of a first attempt, drip.
    pub tip_per_gas: u128,
}

/// The two fee fields of a transaction, drip per gas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fees {
    /// maxFeePerGas.
    pub max_fee_per_gas: u128,
    /// maxPriorityFeePerGas.
    pub max_priority_fee_per_gas: u128,
}

impl FeePolicy {
    /// Fees of a first attempt: twice the base fee and the tip, so that six full blocks in a row cannot price it out; not below
    /// `floor`, the highest fee of those in flight, because eSpace packs a nonce into the same block only if it pays no less than the
    /// one before. The floor counts up to twice today's offer: otherwise one that was replaced up to the cap would keep all later ones there.
    pub fn initial(&self, base_fee: u128, floor: u128) -> Fees {
        let wanted = base_fee.saturating_mul(2).saturating_add(self.tip_per_gas).max(MIN_FEE_PER_GAS);
        self.capped(wanted.max(floor.min(wanted.saturating_mul(2))), self.tip_per_gas)
    }

    /// Fees of a replacement: a tenth more than before, or today's price if that is higher. `None` when the cap leaves less than the
    /// 2 % of maxFeePerGas that eSpace demands; then the only thing to do is wait.
    pub fn replacement(&self, base_fee: u128, before: Fees) -> Option<Fees> {
        let least = before.max_fee_per_gas + before.max_fee_per_gas.div_ceil(50);
        let bumped = before.max_fee_per_gas + before.max_fee_per_gas.div_ceil(10);
        let tip = before.max_priority_fee_per_gas + before.max_priority_fee_per_gas.div_ceil(10);
        let fees = self.capped(bumped.max(self.initial(base_fee, 0).max_fee_per_gas), tip);
        (fees.max_fee_per_gas >= least).then_some(fees)
    }

    fn capped(&self, max_fee: u128, tip: u128) -> Fees {
        let max_fee_per_gas = max_fee.min(self.max_fee_per_gas_cap);
        Fees { max_fee_per_gas, max_priority_fee_per_gas: tip.min(max_fee_per_gas) }
    }
}

/// The gas limit for a call, or `None` if it does not fit one transaction.
///
/// eSpace charges `max(used, 3/4 × limit)`, so a generous limit costs money: up to 4/3 of what is used is free, beyond that every
/// unit is paid. The node's estimate is 7/6 of the execution's peak plus the intrinsic gas, so `used ≥ 6/7 × estimate`
/// and limits up to 8/7 of the estimate are free; 1/20 is added for what may change between estimate and execution.
/// Where the estimate is only the demand per calldata byte, execution is far below it already and nothing is added.
pub fn gas_limit(estimate: u64, calldata_bytes: usize) -> Option<u64> {
    let bytes = u64::try_from(calldata_bytes).ok()?;
    let demanded = bytes.checked_mul(GAS_LIMIT_PER_CALLDATA_BYTE)?.max(BASE_GAS);
    let limit = if estimate <= demanded { demanded } else { estimate.checked_add(estimate.div_ceil(20))? };
    (estimate <= MAX_GAS_LIMIT && demanded <= MAX_GAS_LIMIT).then(|| limit.min(MAX_GAS_LIMIT))
}

/// The least that any call with so much calldata can have as its limit.
pub fn least_gas(calldata_bytes: usize) -> u64 {
    let bytes = u64::try_from(calldata_bytes).unwrap_or(u64::MAX);
    bytes.saturating_mul(GAS_LIMIT_PER_CALLDATA_BYTE).max(BASE_GAS)
}

/// Gas that eSpace charges for a transaction.
pub fn charged_gas(gas_used: u64, gas_limit: u64) -> u64 {
    gas_used.max(gas_limit - gas_limit / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GDRIP: u128 = 1_000_000_000;
    const POLICY: FeePolicy = FeePolicy { max_fee_per_gas_cap: 100 * GDRIP, tip_per_gas: GDRIP };

    #[test]
    fn a_first_attempt_offers_twice_the_base_fee_within_its_bounds() {
        assert_eq!(POLICY.initial(30 * GDRIP, 0).max_fee_per_gas, 61 * GDRIP);
        assert_eq!(POLICY.initial(1, 0).max_fee_per_gas, MIN_FEE_PER_GAS);
        assert_eq!(POLICY.initial(80 * GDRIP, 0).max_fee_per_gas, 100 * GDRIP);
        assert_eq!(
            POLICY.initial(20 * GDRIP, 70 * GDRIP).max_fee_per_gas,
            70 * GDRIP,
            "no less than those before"
        );
        assert_eq!(POLICY.initial(1, 70 * GDRIP).max_fee_per_gas, 2 * MIN_FEE_PER_GAS, "within reason");
    }

    #[test]
    fn the_tip_never_exceeds_the_whole() {
        let policy = FeePolicy { max_fee_per_gas_cap: 20 * GDRIP, tip_per_gas: 50 * GDRIP };
        let fees = policy.initial(GDRIP, 0);
        assert_eq!(fees.max_priority_fee_per_gas, fees.max_fee_per_gas);
    }

    #[test]
    fn a_replacement_raises_the_fee_by_at_least_two_percent_or_waits() {
        let before = Fees { max_fee_per_gas: 41 * GDRIP, max_priority_fee_per_gas: GDRIP };
        let after = POLICY.replacement(20 * GDRIP, before).unwrap();
        assert_eq!(after.max_fee_per_gas, 45_100_000_000);
        assert!(after.max_priority_fee_per_gas > before.max_priority_fee_per_gas);
        let near = Fees { max_fee_per_gas: 98 * GDRIP, max_priority_fee_per_gas: GDRIP };
        assert_eq!(POLICY.replacement(20 * GDRIP, near).unwrap().max_fee_per_gas, 100 * GDRIP);
        let at_cap = Fees { max_fee_per_gas: 99 * GDRIP, max_priority_fee_per_gas: GDRIP };
        assert_eq!(POLICY.replacement(20 * GDRIP, at_cap), None);
    }

    #[test]
    fn a_replacement_follows_a_risen_base_fee() {
        let before = Fees { max_fee_per_gas: 41 * GDRIP, max_priority_fee_per_gas: GDRIP };
        assert_eq!(POLICY.replacement(45 * GDRIP, before).unwrap().max_fee_per_gas, 91 * GDRIP);
    }

    #[test]
    fn the_limit_never_costs_more_than_execution() {
        for used in [21_001_u64, 43_000, 500_000, 12_000_000] {
            let estimate = (used - 21_000) * 7 / 6 + 21_000;
            let limit = gas_limit(estimate, 100).unwrap();
            assert!(limit >= estimate);
            assert_eq!(charged_gas(used, limit), used);
        }
    }

    #[test]
    fn calldata_demands_its_limit_and_no_more() {
        assert_eq!(gas_limit(2_000_000, 25_000), Some(2_500_000));
        assert_eq!(gas_limit(2_500_000, 25_000), Some(2_500_000));
        assert_eq!(gas_limit(21_000, 0), Some(21_000));
    }

    #[test]
    fn what_does_not_fit_a_transaction_is_refused() {
        assert_eq!(gas_limit(15_000_000, 0), Some(15_000_000));
        assert_eq!(gas_limit(15_000_001, 0), None);
        assert_eq!(gas_limit(100_000, 150_001), None);
    }
}
