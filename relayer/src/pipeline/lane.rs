//! Which lane carries an epoch's heads: the cheaper one, by gas charged on eSpace (`contracts/snapshots/espace.json`).

use crate::config::LaneRule;

/// Gas of a call with ECDSA records, before the first of them.
const LANE1_CALL_GAS: u64 = 37_500;
/// Gas that each further group adds to such a call.
const LANE1_GROUP_GAS: u64 = 10_000;
/// Gas of an ECDSA record, in either lane.
const RECORD_GAS: u64 = 7_400;
/// Gas of a call with a root: transaction, hash to curve, the pairing.
const LANE2_CALL_GAS: u64 = 149_000;
/// Gas that each group adds: its total, its words of both rings, its calldata, its event.
const LANE2_GROUP_GAS: u64 = 24_000;
/// Gas of loading a group's keys, where any is added to or taken from a sum.
const GROUP_KEYS_GAS: u64 = 12_500;
/// Gas of each such key.
const KEY_GAS: u64 = 1_400;

/// A group's part in an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupLoad {
    /// Indices with a BLS key in the epoch, with or without statements.
    pub keys: usize,
    /// Of these, those that sign the root, or are expected to.
    pub signers: usize,
    /// Heads that go by their ECDSA record in the same call.
    pub stragglers: usize,
}

/// A lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// ECDSA records.
    Ecdsa,
    /// A co-signed root.
    Root,
}

impl Lane {
    /// Label for metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ecdsa => "ecdsa",
            Self::Root => "root",
        }
    }
}

/// The lane for these groups of one epoch. Without a signer there is no root, whatever is wanted.
pub fn choose(rule: LaneRule, groups: &[GroupLoad], records_max: usize) -> Lane {
    let signed = groups.iter().any(|group| group.signers > 0);
    let root = match rule {
        LaneRule::Ecdsa => false,
        LaneRule::Bls => signed,
        LaneRule::Auto => signed && root_gas(groups, records_max) < ecdsa_gas(groups, records_max),
    };
    if root { Lane::Root } else { Lane::Ecdsa }
}

/// Gas by lane 1: everybody by a record of its own, as many calls as that takes.
pub fn ecdsa_gas(groups: &[GroupLoad], records_max: usize) -> u64 {
    let records = groups.iter().map(|group| group.signers + group.stragglers).sum();
    records_gas(records, groups.len(), records_max)
}

/// Gas by lane 2: one call for all groups; stragglers that do not fit follow by lane 1.
pub fn root_gas(groups: &[GroupLoad], records_max: usize) -> u64 {
    let stragglers: usize = groups.iter().map(|group| group.stragglers).sum();
    let within = stragglers.min(records_max);
    let summed = |group: &GroupLoad| group.signers.min(group.keys.saturating_sub(group.signers));
    let keys: usize = groups.iter().map(summed).sum();
    let loaded = groups.iter().filter(|group| summed(group) > 0).count();
    let call = LANE2_CALL_GAS
        + times(LANE2_GROUP_GAS, groups.len())
        + times(GROUP_KEYS_GAS, loaded)
        + times(KEY_GAS, keys)
        + times(RECORD_GAS, within);
    call.saturating_add(records_gas(stragglers - within, groups.len(), records_max))
}

fn records_gas(records: usize, groups: usize, records_max: usize) -> u64 {
    if records == 0 {
        return 0;
    }
    let calls = records.div_ceil(records_max.max(1));
    times(LANE1_CALL_GAS, calls)
        + times(LANE1_GROUP_GAS, groups.saturating_sub(1))
        + times(RECORD_GAS, records)
}

fn times(gas: u64, count: usize) -> u64 {
    gas.saturating_mul(u64::try_from(count).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 256;

    fn load(keys: usize, signers: usize, stragglers: usize) -> GroupLoad {
        GroupLoad { keys, signers, stragglers }
    }

    fn auto(groups: &[GroupLoad]) -> Lane {
        choose(LaneRule::Auto, groups, MAX)
    }

    /// Gas charged for each of so many piles, as the contracts' tests measured it.
    fn measured(name: &str) -> u64 {
        let text = include_str!("../../../contracts/snapshots/espace.json");
        let gas: serde_json::Value = serde_json::from_str(text).unwrap();
        gas[name].as_str().unwrap().parse().unwrap()
    }

    #[test]
    fn the_model_is_within_a_tenth_of_what_was_measured() {
        let close = |name: &str, modelled: u64, piles: u64| {
            let measured = measured(name) * piles;
            assert!(modelled.abs_diff(measured) * 10 <= measured, "{name}: {modelled}, measured {measured}");
        };
        for (name, records) in [("single", 1), ("batch32", 32), ("batch256", 256)] {
            let gas = ecdsa_gas(&[load(0, 0, records)], MAX);
            close(&format!("lane1/{name}/charged"), gas, records as u64);
        }
        for absent_percent in [0, 2, 5, 10] {
            let part = |keys: usize, absent: usize| load(keys, keys - absent, absent);
            let absent = 224 * absent_percent / 100;
            let gas = root_gas(&[part(224, absent)], MAX);
            close(&format!("lane2/224/absent{absent_percent}/charged"), gas, 224);
            let absent = 1_024 * absent_percent / 100;
            let each = absent / 5;
            let mut groups = vec![part(205, each); 4];
            groups.push(part(204, absent - 4 * each));
            close(&format!("lane2/1024/absent{absent_percent}/charged"), root_gas(&groups, MAX), 1_024);
        }
    }

    #[test]
    fn a_root_pays_from_so_many_signers_on() {
        // 173,000 for the call and the group; a record costs 7,400 beside 37,500 for its call.
        assert_eq!(auto(&[load(18, 18, 0)]), Lane::Ecdsa);
        assert_eq!(auto(&[load(19, 19, 0)]), Lane::Root);
        assert_eq!(auto(&[load(19, 19, 100)]), Lane::Root, "stragglers cost the same either way");
    }

    #[test]
    fn the_fewer_keys_are_summed() {
        let gas = |signers| root_gas(&[load(200, signers, 0)], MAX);
        assert_eq!(gas(199), gas(1));
        assert_eq!(gas(200) + GROUP_KEYS_GAS + 100 * KEY_GAS, gas(100));
        assert_eq!(auto(&[load(200, 24, 0)]), Lane::Ecdsa, "signers are summed one by one");
        assert_eq!(auto(&[load(200, 25, 0)]), Lane::Root);
    }

    #[test]
    fn groups_with_few_signers_each_go_by_lane_1() {
        let groups = [load(3, 3, 0); 5];
        assert_eq!(auto(&groups), Lane::Ecdsa);
        assert_eq!(auto(&[load(40, 40, 0); 5]), Lane::Root);
    }

    #[test]
    fn nobody_signed_is_lane_1_whatever_is_wanted() {
        for rule in [LaneRule::Auto, LaneRule::Bls, LaneRule::Ecdsa] {
            assert_eq!(choose(rule, &[load(224, 0, 224)], MAX), Lane::Ecdsa);
            assert_eq!(choose(rule, &[], MAX), Lane::Ecdsa);
        }
        assert_eq!(choose(LaneRule::Bls, &[load(1, 1, 0)], MAX), Lane::Root);
        assert_eq!(choose(LaneRule::Ecdsa, &[load(224, 224, 0)], MAX), Lane::Ecdsa);
    }

    #[test]
    fn stragglers_that_do_not_fit_cost_a_call_of_their_own() {
        let fits = root_gas(&[load(224, 224, 10)], 10);
        let one_more = root_gas(&[load(224, 224, 11)], 10);
        assert_eq!(one_more - fits, LANE1_CALL_GAS + RECORD_GAS);
    }
}
