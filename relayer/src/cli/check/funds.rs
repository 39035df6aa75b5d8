//! What a day costs, and whether the paying accounts hold it.

use crate::chain::fees::FeePolicy;

/// Gas charged for a transaction with one record, measured on a node (contracts/README.md), rounded up.
const FIRST_RECORD_GAS: u128 = 48_000;
/// Gas charged for each further record of a batch, by the same source, rounded up.
const RECORD_GAS: u128 = 7_600;
const DAY_S: u128 = 24 * 3_600;

/// What the chain is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Market {
    /// Base fee, drip per gas.
    pub base_fee: u128,
    /// Time of a thousand blocks, s.
    pub thousand_blocks_s: u128,
    /// Blocks in an epoch.
    pub epoch_len_blocks: u128,
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Load {
    /// Devices that record in every epoch.
    pub devices: u128,
    /// Records in a transaction.
    pub records_max: u128,
}

/// Drip for one transaction with one record, and for a day in which every device is recorded in every epoch, at twice the base fee.
pub(super) fn needed(market: &Market, load: &Load, fees: &FeePolicy) -> (u128, u128) {
    let price = fees.initial(market.base_fee, 0).max_fee_per_gas;
    let transactions = load.devices.div_ceil(load.records_max.max(1));
    let further = load.devices.saturating_sub(transactions);
    let epoch_gas =
        transactions.saturating_mul(FIRST_RECORD_GAS).saturating_add(further.saturating_mul(RECORD_GAS));
    let epoch_ms = market.thousand_blocks_s.saturating_mul(market.epoch_len_blocks).max(1);
    let epochs = (DAY_S * 1_000).div_ceil(epoch_ms);
    (FIRST_RECORD_GAS.saturating_mul(price), epoch_gas.saturating_mul(epochs).saturating_mul(price))
}

/// Drip as CFX with three decimals.
pub(super) fn cfx(drip: u128) -> String {
    let thousandths = drip / 1_000_000_000_000_000;
    format!("{}.{:03} CFX", thousandths / 1_000, thousandths % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_of_mainnet_epochs_costs_what_the_measured_gas_says() {
        // One block a second, 60 of them an epoch: 1,440 epochs a day.
        let market = Market { base_fee: 20_000_000_000, thousand_blocks_s: 1_000, epoch_len_blocks: 60 };
        let fees = FeePolicy { max_fee_per_gas_cap: 200_000_000_000, tip_per_gas: 1_000_000_000 };
        let load = Load { devices: 100, records_max: 256 };
        let (one, day) = needed(&market, &load, &fees);
        assert_eq!(one, 48_000 * 41_000_000_000);
        assert_eq!(day, (48_000 + 99 * 7_600) * 1_440 * 41_000_000_000);
        assert_eq!(cfx(day), "47.255 CFX");
    }

    #[test]
    fn more_devices_than_a_transaction_holds_need_several() {
        let market = Market { base_fee: 0, thousand_blocks_s: 86_400_000, epoch_len_blocks: 1 };
        let fees = FeePolicy { max_fee_per_gas_cap: 20_000_000_000, tip_per_gas: 0 };
        let (_, day) = needed(&market, &Load { devices: 5, records_max: 2 }, &fees);
        assert_eq!(day, (3 * 48_000 + 2 * 7_600) * 20_000_000_000);
    }
}
