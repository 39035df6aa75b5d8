//! Holds the logs against the chain.

use std::collections::BTreeMap;

use cip22_wire::Hash;

use super::{ChainFacts, Lane, PileFacts, Report, Spread, chain::Stands, logs::Grant};

/// The figures of `piles`; `rejected` are refusals of the scripted misbehaviour.
pub(super) fn count(piles: &[PileFacts], rejected: &BTreeMap<String, usize>, chain: &ChainFacts) -> Report {
    let mut report = Report {
        piles: piles.len(),
        authorizations_rejected: rejected.clone(),
        policy_version: chain.policy_version,
        safe_block: chain.safe_block,
        counted_twice: chain.doubles,
        record_transactions: chain.gas.len(),
        ..Report::default()
    };
    let (mut granted, mut mined, mut confirmed) = (Vec::new(), Vec::new(), Vec::new());
    for pile in piles {
        for grant in pile.grants.values() {
            report.authorizations_granted += 1;
            granted.push(seconds(grant.latency_us) * 1_000.0);
            if let Some(recorded) = recorded(pile, grant, chain) {
                report.authorizations_on_chain += 1;
                let block_us = recorded.stands.block_time_s * 1_000_000;
                mined.push((seconds(block_us) - seconds(grant.t_ms * 1_000)).max(0.0));
                let batched = chain.root_transactions.contains(&recorded.stands.transaction);
                let lane = if batched { &mut report.lane2 } else { &mut report.lane1 };
                lane.authorizations += 1;
                lane.co_signed += usize::from(recorded.co_signed);
            }
            if let Some(safe_ms) = grant.safe_ms {
                confirmed.push(seconds(safe_ms.saturating_sub(grant.t_ms) * 1_000));
            }
        }
        report.telemetry_accepted += pile.accepted.len();
        report.telemetry_on_chain += telemetry_on_chain(pile, chain);
        report.policy_acked_piles += usize::from(pile.policies.contains(&chain.policy_version));
        report.frames_lost += pile.exchange.unanswered();
        for frame_type in pile.exchange.unanswered_types() {
            *report.frames_lost_by_type.entry(frame_type.name().to_owned()).or_default() += 1;
        }
        for (cause, count) in &pile.rejected {
            *report.authorizations_rejected.entry(cause.clone()).or_default() += count;
        }
    }
    report.grant_latency_ms = Spread::of(granted);
    report.mined_latency_s = Spread::of(mined);
    report.confirm_latency_s = Spread::of(confirmed);
    for (transaction, gas) in &chain.gas {
        let batched = chain.root_transactions.contains(transaction);
        let lane = if batched { &mut report.lane2 } else { &mut report.lane1 };
        lane.transactions += 1;
        lane.gas_used += gas.used;
        lane.gas_charged += gas.charged;
    }
    let gas: f64 = chain.gas.values().map(|gas| gas.charged).sum();
    report.gas_charged_per_authorization = per(gas, report.authorizations_on_chain);
    for lane in [&mut report.lane1, &mut report.lane2] {
        let Lane { authorizations, gas_used, gas_charged, .. } = *lane;
        lane.gas_used_per_authorization = per(gas_used, authorizations);
        lane.gas_charged_per_authorization = per(gas_charged, authorizations);
    }
    report
}

fn per(gas: f64, authorizations: usize) -> Option<f64> {
    (authorizations > 0).then(|| (gas / authorizations as f64).round())
}

/// What put a statement on chain.
struct Recorded {
    stands: Stands,
    /// By a root that the pile co-signed, not by its own record.
    co_signed: bool,
}

/// What covers the grant's statement first: a recorded head, by the pile's own chain of statements, or a root that the pile signed
/// and to which the path of such a head leads.
fn recorded(pile: &PileFacts, grant: &Grant, chain: &ChainFacts) -> Option<Recorded> {
    let (epoch, n) = grant.position;
    let (group, index) = pile.statements.get(&grant.position)?.place;
    let heads = chain.heads.get(&(group, index, epoch)).into_iter().flatten();
    let by_head = heads
        .filter(|head| covers(pile, epoch, n, head.n, &head.head))
        .map(|head| Recorded { stands: head.stands, co_signed: false });
    let leaves = || {
        let all = pile.leaves.get(&epoch).into_iter().flatten();
        all.filter(|leaf| leaf.place == (group, index) && covers(pile, epoch, n, leaf.n, &leaf.head))
    };
    let roots = chain.roots.get(&(group, epoch)).into_iter().flatten();
    let by_root = roots
        .filter(|root| root.signers.bit(usize::from(index)))
        .filter(|root| leaves().any(|leaf| leaf.group_root == root.group_root))
        .map(|root| Recorded { stands: root.stands, co_signed: true });
    by_head.chain(by_root).min_by_key(|recorded| recorded.stands)
}

/// Whether the pile's statements n..=newest make `head`.
fn covers(pile: &PileFacts, epoch: u32, n: u8, newest: u8, head: &Hash) -> bool {
    if newest < n {
        return false;
    }
    let Some(mut reached) = pile.statements.get(&(epoch, n)).map(|statement| statement.head) else {
        return false;
    };
    for n in (n..newest).map(|n| n + 1) {
        match pile.statements.get(&(epoch, n)) {
            Some(next) if next.prev_head == reached => reached = next.head,
            _ => return false,
        }
    }
    reached == *head
}

/// Accepted records up to a ledger head whose fingerprint is the pile's own.
fn telemetry_on_chain(pile: &PileFacts, chain: &ChainFacts) -> usize {
    let covered = |(battery, seq): &&([u8; 32], u32)| {
        chain.batteries.get(battery).is_some_and(|heads| {
            heads.range(seq..).any(|(head, fp)| pile.records.get(&(*battery, *head)) == Some(fp))
        })
    };
    pile.accepted.iter().filter(covered).count()
}

fn seconds(us: u64) -> f64 {
    // Until the year 2255 a Unix time in µs is exact.
    us as f64 / 1_000_000.0
}

#[cfg(test)]
mod tests {
    use alloy::primitives::U256;
    use cip22_wire::batch_tree;

    use super::*;
    use crate::report::{Gas, RecordedHead, RecordedRoot};

    fn hex(byte: u8, len: usize) -> String {
        format!("0x{}", format!("{byte:02x}").repeat(len))
    }

    /// Statements 1..=3 of epoch 9 with heads 0x11, 0x22, 0x33; grants at 1 and 3; records 1..=3, of which 2 are acknowledged.
    fn log() -> Vec<String> {
        let statement = |n: u8, prev: u8, head: u8| {
            format!(
                r#"{{"t_ms":1000,"event":"statement","kind":"AUTH","epoch":9,"n":{n},"group":1,"index":4,"prev_head":"{}","head":"{}","sid":"{}"}}"#,
                hex(prev, 32),
                hex(head, 32),
                hex(n, 16)
            )
        };
        let granted = |n: u8, latency_us: u32| {
            format!(
                r#"{{"t_ms":2000,"event":"granted","sid":"{}","epoch":9,"n":{n},"latency_us":{latency_us},"wh":1,"minutes":1}}"#,
                hex(n, 16)
            )
        };
        let frame = |dir: &str, name: &str, fields: String| {
            format!(r#"{{"t_ms":2500,"dir":"{dir}","type":"{name}","fields":{{{fields}}}}}"#)
        };
        let battery = hex(0xbb, 32);
        let record = |seq: u8| {
            frame("tx", "BATT_TELEM", format!(r#""battery":"{battery}","seq":{seq},"fp":"{}""#, hex(seq, 32)))
        };
        let resp = |n: u8| frame("tx", "AUTH_RESP", format!(r#""sid":"{}","n":{n}"#, hex(n, 16)));
        let grant = |n: u8| frame("rx", "AUTH_GRANT", format!(r#""sid":"{}""#, hex(n, 16)));
        vec![
            resp(1),
            statement(1, 0, 0x11),
            grant(1),
            granted(1, 4_000),
            frame("rx", "AUTH_FINAL", format!(r#""sid":"{}","level":3"#, hex(1, 16))),
            statement(2, 0x11, 0x22),
            resp(3),
            statement(3, 0x22, 0x33),
            grant(3),
            granted(3, 8_000),
            record(1),
            record(2),
            record(3),
            frame("rx", "TELEM_ACK", format!(r#""battery":"{battery}","seq":2,"level":2,"checkpoint":0"#)),
            frame("tx", "POLICY_ACK", r#""epoch":9,"n":2,"version":5"#.to_owned()),
            frame("rx", "ACK", r#""frame_type":81,"level":2,"epoch":9,"n":2"#.to_owned()),
            frame("tx", "CHALLENGE_REQ", format!(r#""dev_eph":"{}""#, hex(2, 33))),
            frame("rx", "NACK", r#""frame_type":16,"code":26,"retry_ms":1000"#.to_owned()),
            frame("tx", "CHALLENGE_REQ", format!(r#""dev_eph":"{}""#, hex(2, 33))),
            frame("rx", "NACK", r#""frame_type":16,"code":13"#.to_owned()),
            frame("tx", "HELLO", String::new()),
            frame("rx", "NACK", r#""frame_type":1,"code":12"#.to_owned()),
        ]
    }

    fn pile() -> PileFacts {
        let mut facts = PileFacts::default();
        for line in log() {
            facts.take(&line).unwrap();
        }
        facts
    }

    fn chain(n: u8, head: u8) -> ChainFacts {
        let mut chain = ChainFacts { policy_version: 5, safe_block: 77, ..ChainFacts::default() };
        let stands = Stands { order: 1, block_time_s: 9, transaction: [1; 32].into() };
        chain.heads.insert((1, 4, 9), vec![RecordedHead { n, head: [head; 32], stands }]);
        chain.gas.insert([1; 32].into(), Gas { used: 24_000.0, charged: 30_000.0 });
        chain
    }

    /// BATCH_ROOT for n = 2 and its head, and the root over the group's places.
    fn leaf(head: u8) -> (String, Hash) {
        let (leaf, path) = (4, [0x44; 256]);
        let roots = batch_tree::follow(1, leaf, 2, &[head; 32], &path).unwrap();
        let line = format!(
            r#"{{"t_ms":2500,"dir":"rx","type":"BATCH_ROOT","fields":{{"group":1,"epoch":9,"root":"{}","leaf":{leaf},"path":"0x{}","n":2,"head":"{}"}}}}"#,
            hex(0, 32),
            hex::encode(path),
            hex(head, 32)
        );
        (line, roots.group_root)
    }

    #[test]
    fn a_root_covers_what_its_leaf_covers_if_the_pile_is_among_its_signers() {
        let mut pile = pile();
        let (line, group_root) = leaf(0x22);
        pile.take(&line).unwrap();
        let signed = |pile: &PileFacts, group_root, signers: u64| {
            let mut chain = ChainFacts::default();
            let stands = Stands { order: 1, block_time_s: 9, transaction: [2; 32].into() };
            let root = RecordedRoot { group_root, signers: U256::from(signers), stands };
            chain.roots.insert((1, 9), vec![root]);
            chain.root_transactions.insert([2; 32].into());
            chain.gas.insert([2; 32].into(), Gas { used: 400.0, charged: 500.0 });
            count(std::slice::from_ref(pile), &BTreeMap::new(), &chain)
        };
        let report = signed(&pile, group_root, 1 << 4);
        assert_eq!(report.authorizations_on_chain, 1, "the grant at n = 3 came after the leaf");
        assert_eq!(
            (report.lane2.authorizations, report.lane2.co_signed, report.lane2.transactions),
            (1, 1, 1)
        );
        assert_eq!(report.lane2.gas_used_per_authorization, Some(400.0));
        assert_eq!(report.lane2.gas_charged_per_authorization, Some(500.0));
        assert_eq!(report.lane1, Lane::default());
        assert_eq!(signed(&pile, group_root, !(1 << 4)).authorizations_on_chain, 0, "not a signer");
        assert_eq!(signed(&pile, [0x55; 32], 1 << 4).authorizations_on_chain, 0, "another root");

        let mut other = self::pile();
        let (line, group_root) = leaf(0x23);
        other.take(&line).unwrap();
        assert_eq!(signed(&other, group_root, 1 << 4).authorizations_on_chain, 0, "not the pile's head");
    }

    #[test]
    fn an_authorization_counts_once_and_in_the_lane_that_had_it_first() {
        let mut pile = pile();
        let (line, group_root) = leaf(0x22);
        pile.take(&line).unwrap();
        let mut chain = chain(3, 0x33);
        let root = |order| {
            let stands = Stands { order, block_time_s: 9, transaction: [2; 32].into() };
            RecordedRoot { group_root, signers: U256::from(1 << 4), stands }
        };
        chain.gas.insert([2; 32].into(), Gas::default());
        chain.root_transactions.insert([2; 32].into());
        for (order, lanes) in [(0, (1, 1)), (2, (2, 0))] {
            chain.roots.insert((1, 9), vec![root(order)]);
            let report = count(std::slice::from_ref(&pile), &BTreeMap::new(), &chain);
            assert_eq!(report.authorizations_on_chain, 2);
            assert_eq!((report.lane1.authorizations, report.lane2.authorizations), lanes);
        }
        // A straggler's record in the root's transaction is lane 2's work.
        chain.root_transactions.insert([1; 32].into());
        let report = count(&[pile], &BTreeMap::new(), &chain);
        assert_eq!((report.lane2.authorizations, report.lane2.co_signed), (2, 0));
    }

    #[test]
    fn a_head_covers_the_statements_before_it_and_none_after() {
        let count = |n, head| count(&[pile()], &BTreeMap::new(), &chain(n, head)).authorizations_on_chain;
        assert_eq!(count(1, 0x11), 1);
        assert_eq!(count(2, 0x22), 1);
        assert_eq!(count(3, 0x33), 2);
        assert_eq!(count(3, 0x22), 0, "a head that is not the pile's");
        assert_eq!(count(4, 0x44), 0, "a statement that is not in the log");
    }

    #[test]
    fn a_log_whose_statements_do_not_link_counts_nothing_before_the_break() {
        let mut pile = pile();
        pile.statements.get_mut(&(9, 2)).unwrap().prev_head = [0x77; 32];
        let report = count(&[pile], &BTreeMap::new(), &chain(3, 0x33));
        assert_eq!(report.authorizations_on_chain, 1, "only the one at n = 3 itself");
    }

    #[test]
    fn the_figures_of_a_small_log_are_right() {
        let rejected = BTreeMap::from([("BAD_CRC".to_owned(), 2)]);
        let report = count(&[pile()], &rejected, &chain(3, 0x33));
        assert_eq!((report.piles, report.authorizations_granted), (1, 2));
        assert_eq!((report.grant_latency_ms.mean, report.grant_latency_ms.p99), (Some(6.0), Some(8.0)));
        assert_eq!((report.confirm_latency_s.count, report.confirm_latency_s.mean), (1, Some(0.5)));
        assert_eq!(report.mined_latency_s.mean, Some(7.0));
        assert_eq!((report.policy_version, report.policy_acked_piles), (5, 1));
        assert_eq!(report.gas_charged_per_authorization, Some(15_000.0));
        assert_eq!(report.lane1.gas_used_per_authorization, Some(12_000.0));
        assert_eq!(
            (report.lane1.authorizations, report.lane1.transactions, report.lane1.co_signed),
            (2, 1, 0)
        );
        assert_eq!(report.lane2, Lane::default());
        let causes = [("BAD_CRC".to_owned(), 2), ("REVOKED_DEVICE".to_owned(), 1)];
        assert_eq!(report.authorizations_rejected, BTreeMap::from(causes));
        assert_eq!((report.frames_lost, report.telemetry_accepted), (1, 2), "record 3 has no answer");
        assert_eq!(report.frames_lost_by_type, BTreeMap::from([("BATT_TELEM".to_owned(), 1)]));
        assert_eq!(report.shortfalls().len(), 2, "{:?}", report.shortfalls());
    }

    #[test]
    fn records_count_up_to_a_ledger_head_with_the_piles_own_fingerprint() {
        let on_chain = |seq: u32, fp: u8| {
            let mut chain = chain(3, 0x33);
            chain.batteries.insert([0xbb; 32], BTreeMap::from([(seq, [fp; 32])]));
            count(&[pile()], &BTreeMap::new(), &chain).telemetry_on_chain
        };
        assert_eq!(on_chain(1, 1), 1);
        assert_eq!(on_chain(2, 2), 2);
        assert_eq!(on_chain(3, 3), 2, "a record that was not accepted does not count");
        assert_eq!(on_chain(2, 9), 0, "a fingerprint that is not the pile's");
    }

    #[test]
    fn two_statements_under_one_number_are_an_error() {
        let mut facts = pile();
        let other = log()[1].replace("\"0x11", "\"0x12");
        assert!(facts.take(&other).is_err());
    }
}
