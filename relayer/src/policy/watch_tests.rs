//! The watcher on a scripted chain.

use std::sync::Mutex;

use async_trait::async_trait;
use cip22_wire::Address;

use super::*;
use crate::chain::{Chain, Receipt};
use crate::clock::SystemClock;

const GROUP: u32 = 1;
const EPOCH_LEN: u64 = 20;
const RING: u32 = 32;

/// Events by block; everything else by rule: the hash of block b is b repeated.
#[derive(Debug, Default)]
struct Script {
    heads: Heads,
    policies: Vec<(u64, Policy)>,
    devices: Vec<(u64, DeviceEvent)>,
    recorded: Vec<HeadEvent>,
    roots: Vec<RootEvent>,
    moved: Vec<LedgerEvent>,
    failing: bool,
    failing_logs: bool,
    /// From this block on, the chain has other blocks.
    forked_at: Option<u64>,
    /// Blocks above this one are not known to the endpoint.
    known_to: Option<u64>,
}

#[derive(Debug, Default)]
struct ScriptedChain(Mutex<Script>);

impl ScriptedChain {
    fn read<T>(&self, read: impl FnOnce(&Script) -> T) -> Result<T, ChainError> {
        let script = self.0.lock().unwrap();
        if script.failing {
            return Err(ChainError::Malformed { method: "test", what: "down".to_owned() });
        }
        Ok(read(&script))
    }
}

fn within<T: Clone>(events: &[(u64, T)], from: u64, to: u64) -> Vec<T> {
    events.iter().filter(|(block, _)| (from..=to).contains(block)).map(|(_, event)| event.clone()).collect()
}

#[async_trait]
impl Chain for ScriptedChain {
    async fn chain_id(&self) -> Result<u64, ChainError> {
        Ok(1235)
    }

    async fn heads(&self) -> Result<Heads, ChainError> {
        self.read(|script| script.heads)
    }

    async fn block_hash(&self, number: u64) -> Result<Option<Hash>, ChainError> {
        self.read(|script| {
            let forked = script.forked_at.is_some_and(|at| number >= at);
            let hash = if forked { other_hash_of(number) } else { hash_of(number) };
            script.known_to.is_none_or(|known| number <= known).then_some(hash)
        })
    }

    async fn policies(&self, from: u64, to: u64) -> Result<Vec<Policy>, ChainError> {
        self.read(|script| within(&script.policies, from, to))
    }

    async fn device_events(&self, from: u64, to: u64) -> Result<Vec<DeviceEvent>, ChainError> {
        self.read(|script| within(&script.devices, from, to))
    }

    async fn head_events(&self, from: u64, to: u64) -> Result<Vec<HeadEvent>, ChainError> {
        if self.0.lock().unwrap().failing_logs {
            return Err(ChainError::Malformed { method: "test", what: "down".to_owned() });
        }
        self.read(|script| {
            script.recorded.iter().filter(|event| (from..=to).contains(&event.block)).copied().collect()
        })
    }

    async fn root_events(&self, from: u64, to: u64) -> Result<Vec<RootEvent>, ChainError> {
        self.read(|script| {
            script.roots.iter().filter(|event| (from..=to).contains(&event.block)).copied().collect()
        })
    }

    async fn ledger_events(&self, from: u64, to: u64) -> Result<Vec<LedgerEvent>, ChainError> {
        self.read(|script| {
            script.moved.iter().filter(|event| (from..=to).contains(&event.block)).copied().collect()
        })
    }

    async fn nonce(&self, _: Address) -> Result<u64, ChainError> {
        Ok(0)
    }

    async fn balance(&self, _: Address) -> Result<u128, ChainError> {
        Ok(0)
    }

    async fn base_fee(&self) -> Result<u128, ChainError> {
        Ok(0)
    }

    async fn estimate_gas(&self, _: Address, _: Address, _: &[u8]) -> Result<u64, ChainError> {
        Ok(0)
    }

    async fn send_raw(&self, _: &[u8]) -> Result<(), ChainError> {
        Ok(())
    }

    async fn receipt(&self, _: Hash) -> Result<Option<Receipt>, ChainError> {
        Ok(None)
    }

    async fn has_code(&self, _: Address) -> Result<bool, ChainError> {
        Ok(true)
    }

    async fn eth_call(&self, _: Address, _: &[u8]) -> Result<Vec<u8>, ChainError> {
        Ok(Vec::new())
    }
}

fn hash_of(block: u64) -> Hash {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&block.to_be_bytes());
    hash
}

/// The hash on the other fork.
fn other_hash_of(block: u64) -> Hash {
    let mut hash = hash_of(block);
    hash[31] = 1;
    hash
}

fn policy(version: u32, first_epoch: u32) -> Policy {
    let tariff = vec![version as u8; 3];
    let policy_hash = digest::policy_hash(version, first_epoch, &tariff);
    Policy { version, first_epoch, policy_hash, tariff, signature: [0; 64] }
}

fn placed(device: u8, index: u8, active_from: u32) -> DeviceEvent {
    DeviceEvent::Placed { device_id: [device; 32], group: GROUP, index, key: [index; 20], active_from }
}

fn recorded(block: u64) -> HeadEvent {
    HeadEvent { group: GROUP, index: 2, epoch: 3, n: 1, head: [4; 32], transaction: [5; 32], block }
}

struct Bench {
    chain: Arc<ScriptedChain>,
    follower: Follower,
    view: watch::Receiver<ChainView>,
    directory: Arc<ArcSwap<Directory>>,
    facts: mpsc::Receiver<ChainFact>,
}

/// One policy from epoch 0 at block 5, heads as given, facts from block 0.
fn bench(latest: u64, safe: u64) -> Bench {
    let chain = Arc::new(ScriptedChain::default());
    {
        let mut script = chain.0.lock().unwrap();
        script.heads = Heads { latest, safe, finalized: 0 };
        script.policies.push((5, policy(1, 0)));
    }
    let address = |byte: &str| format!("0x{}", byte.repeat(20));
    let text = serde_json::json!({
        "chain_id": 1235, "start_block": 0, "epoch_len_blocks": EPOCH_LEN, "ring_epochs": RING,
        "access_manager": address("01"), "device_registry": address("02"), "gateway_registry": address("03"),
        "policy_registry": address("04"), "battery_ledger": address("05"), "policy_signer": address("06"),
        "verifiers": [{"address": address("07"), "label": "v1"}],
    });
    let deployment = Arc::new(Deployment::parse("test", &text.to_string()).unwrap());
    let watcher = ChainWatcher::new(chain.clone(), deployment, Arc::new(SystemClock::new()), 1_000);
    let (view_out, view) = watch::channel(ChainView::default());
    let directory = Arc::new(ArcSwap::from_pointee(Directory::default()));
    let (facts_out, facts) = mpsc::channel(1_000);
    let follower = Follower::new(watcher, view_out, directory.clone(), facts_out, 0, Anchors::default());
    Bench { chain, follower, view, directory, facts }
}

impl Bench {
    fn heads(&self, latest: u64, safe: u64) {
        self.chain.0.lock().unwrap().heads = Heads { latest, safe, finalized: 0 };
    }

    fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.chain.0.lock().unwrap());
    }

    /// Two looks: a fork is believed when the second agrees with the first.
    async fn look_twice(&mut self) {
        self.follower.look().await.unwrap();
        self.follower.look().await.unwrap();
    }

    fn given(&mut self) -> Vec<ChainFact> {
        std::iter::from_fn(|| self.facts.try_recv().ok()).collect()
    }
}

#[tokio::test]
async fn an_epoch_is_announced_once_its_challenge_block_is_safe() {
    let mut bench = bench(250, 199);
    bench.follower.look().await.unwrap();
    assert_eq!(bench.view.borrow().epoch.unwrap().epoch, 9);
    bench.heads(251, 200);
    bench.follower.look().await.unwrap();
    let view = bench.view.borrow().clone();
    let newest = view.epoch.unwrap();
    assert_eq!((newest.epoch, newest.challenge), (10, hash_of(200)));
    assert_eq!(newest.policy_hash, policy(1, 0).policy_hash);
    assert_eq!((view.latest_block, view.safe_block), (251, 200));
}

#[tokio::test]
async fn the_whole_window_is_filled_and_what_leaves_it_is_dropped() {
    let mut bench = bench(2_000, 1_950);
    for _ in 0..10 {
        bench.follower.look().await.unwrap();
    }
    let epochs = |view: &ChainView| view.recent_epochs.iter().map(|epoch| epoch.epoch).collect::<Vec<_>>();
    assert_eq!(epochs(&bench.view.borrow()), (69..=97).collect::<Vec<u32>>());
    bench.heads(2_100, 2_050);
    bench.follower.look().await.unwrap();
    assert_eq!(*epochs(&bench.view.borrow()).first().unwrap(), 74);
    assert_eq!(bench.view.borrow().epoch(80).unwrap().challenge, hash_of(1_600));
}

#[tokio::test]
async fn a_young_chain_announces_nothing() {
    let mut bench = bench(30, 0);
    bench.follower.look().await.unwrap();
    assert_eq!(bench.view.borrow().epoch, None);
    assert_eq!(bench.view.borrow().latest_block, 30);
}

#[tokio::test]
async fn before_the_first_policy_no_epoch_is_announced() {
    let mut bench = bench(250, 199);
    bench.chain.0.lock().unwrap().policies = vec![(5, policy(1, 9))];
    bench.follower.look().await.unwrap();
    let view = bench.view.borrow().clone();
    assert_eq!(view.recent_epochs.len(), 1);
    assert_eq!(view.epoch.unwrap().epoch, 9);
}

#[tokio::test]
async fn a_policy_counts_from_its_first_epoch_on() {
    let mut bench = bench(250, 199);
    bench.chain.0.lock().unwrap().policies.push((150, policy(2, 9)));
    bench.follower.look().await.unwrap();
    let view = bench.view.borrow().clone();
    assert_eq!(view.epoch(8).unwrap().policy_hash, policy(1, 0).policy_hash);
    assert_eq!(view.epoch(9).unwrap().policy_hash, policy(2, 9).policy_hash);
}

#[tokio::test]
async fn a_policy_that_is_not_what_its_hash_says_is_refused() {
    let mut bench = bench(250, 199);
    let forged = Policy { tariff: vec![0xff], ..policy(2, 9) };
    bench.chain.0.lock().unwrap().policies.push((150, forged));
    assert!(bench.follower.look().await.unwrap_err().to_string().contains("policy 2"));
    assert_eq!(bench.view.borrow().epoch, None);
}

#[tokio::test]
async fn placements_wait_for_safe_and_revocations_do_not() {
    let mut bench = bench(250, 199);
    bench.chain.0.lock().unwrap().devices = vec![
        (100, placed(1, 0, 6)),
        (210, placed(2, 1, 11)),
        (220, DeviceEvent::Revoked { device_id: [1; 32] }),
        (221, DeviceEvent::Revoked { device_id: [2; 32] }),
    ];
    bench.follower.look().await.unwrap();
    let directory = bench.directory.load_full();
    assert!(!directory.devices.contains_key(&[2; 32]), "not placed under safe yet");
    // Revocations of the same block range are obeyed at once.
    bench.follower.look().await.unwrap();
    assert!(bench.directory.load().devices[&[1; 32]].revoked);
    bench.heads(270, 215);
    bench.follower.look().await.unwrap();
    assert!(bench.directory.load().devices[&[2; 32]].revoked, "revoked before it was ever seen placed");
}

#[tokio::test]
async fn a_revocation_that_is_reorganised_away_stays_obeyed() {
    let mut bench = bench(250, 199);
    bench.chain.0.lock().unwrap().devices =
        vec![(100, placed(1, 0, 6)), (220, DeviceEvent::Revoked { device_id: [1; 32] })];
    bench.follower.look().await.unwrap();
    bench.chain.0.lock().unwrap().devices.pop();
    bench.heads(300, 240);
    bench.follower.look().await.unwrap();
    assert!(bench.directory.load().devices[&[1; 32]].revoked);
}

#[tokio::test]
async fn a_bls_key_counts_from_its_epoch_until_the_rotation_and_is_forgotten_with_its_block() {
    let mut bench = bench(250, 199);
    let enrolled = DeviceEvent::Enrolled {
        device_id: [1; 32],
        group: GROUP,
        index: 0,
        key: Box::new([7; 192]),
        active_from: 8,
    };
    bench.script(|script| script.devices = vec![(100, placed(1, 0, 6)), (150, enrolled)]);
    bench.follower.look().await.unwrap();
    let enrolment = |bench: &Bench, epoch| {
        bench.directory.load().devices[&[1; 32]].enrolment_at(epoch).map(|found| *found.key)
    };
    assert_eq!((enrolment(&bench, 7), enrolment(&bench, 8)), (None, Some([7; 192])));
    bench.script(|script| script.devices.push((210, placed(1, 7, 11))));
    bench.heads(270, 219);
    bench.follower.look().await.unwrap();
    assert_eq!((enrolment(&bench, 10), enrolment(&bench, 11)), (Some([7; 192]), None), "rotated");
    bench.script(|script| {
        script.forked_at = Some(120);
        script.devices.retain(|(block, _)| *block < 120);
    });
    bench.heads(280, 229);
    bench.look_twice().await;
    bench.follower.look().await.unwrap();
    assert_eq!(enrolment(&bench, 10), None, "its block left the chain");
}

#[tokio::test]
async fn a_rotation_ends_the_place_before_it() {
    let mut bench = bench(250, 199);
    bench.chain.0.lock().unwrap().devices = vec![(100, placed(1, 0, 6)), (150, placed(1, 7, 9))];
    bench.follower.look().await.unwrap();
    let device = bench.directory.load().devices[&[1; 32]].clone();
    assert_eq!(device.place_at(8).unwrap().index, 0);
    assert_eq!(device.place_at(9).unwrap().index, 7);
    assert_eq!(device.place_at(5), None);
}

#[tokio::test]
async fn facts_come_in_block_order_each_once_and_only_under_safe() {
    let mut bench = bench(2_600, 2_500);
    let moved = LedgerEvent {
        battery: [1; 32],
        device_id: [2; 32],
        segment: [3; 16],
        seq: 4,
        fp: [5; 32],
        transaction: [6; 32],
        block: 40,
    };
    {
        let mut script = bench.chain.0.lock().unwrap();
        script.recorded = vec![recorded(30), recorded(50), recorded(2_550)];
        script.moved = vec![moved];
    }
    bench.follower.look().await.unwrap();
    assert_eq!(
        bench.given(),
        [
            ChainFact::Head(recorded(30)),
            ChainFact::Ledger(moved),
            ChainFact::Head(recorded(50)),
            ChainFact::ScannedTo(999, hash_of(999)),
            ChainFact::ScannedTo(1_999, hash_of(1_999)),
            ChainFact::ScannedTo(2_500, hash_of(2_500)),
        ]
    );
    bench.heads(2_650, 2_550);
    bench.follower.look().await.unwrap();
    assert_eq!(
        bench.given(),
        [ChainFact::Head(recorded(2_550)), ChainFact::ScannedTo(2_550, hash_of(2_550))]
    );
}

#[tokio::test]
async fn while_the_endpoint_fails_the_view_keeps_its_values_and_no_fact_is_lost() {
    let mut bench = bench(250, 199);
    bench.chain.0.lock().unwrap().recorded = vec![recorded(30)];
    bench.chain.0.lock().unwrap().failing_logs = true;
    assert!(bench.follower.look().await.is_err());
    assert!(bench.given().is_empty());
    let before = bench.view.borrow().clone();
    assert_eq!(before.latest_block, 250, "the heads are known, though the logs are not");
    bench.chain.0.lock().unwrap().failing = true;
    bench.heads(300, 240);
    assert!(bench.follower.look().await.is_err());
    assert_eq!(*bench.view.borrow(), before);
    bench.chain.0.lock().unwrap().failing = false;
    bench.chain.0.lock().unwrap().failing_logs = false;
    bench.follower.look().await.unwrap();
    assert_eq!(bench.given(), [ChainFact::Head(recorded(30)), ChainFact::ScannedTo(240, hash_of(240))]);
}

#[tokio::test]
async fn an_endpoint_that_fell_behind_takes_nothing_back() {
    let mut bench = bench(250, 200);
    bench.follower.look().await.unwrap();
    bench.heads(240, 0);
    bench.follower.look().await.unwrap();
    assert_eq!(bench.view.borrow().safe_block, 200);
    assert_eq!(bench.view.borrow().epoch.unwrap().epoch, 10);
}

#[tokio::test]
async fn a_reorganisation_below_safe_takes_facts_back_and_gives_those_of_the_new_chain() {
    let mut bench = bench(250, 200);
    bench.script(|script| script.recorded = vec![recorded(150), recorded(190)]);
    bench.follower.look().await.unwrap();
    for safe in 201..=230 {
        bench.heads(safe + 50, safe);
        bench.follower.look().await.unwrap();
    }
    bench.given();
    bench.script(|script| {
        script.forked_at = Some(215);
        script.recorded.push(recorded(222));
    });
    bench.heads(281, 231);
    bench.follower.look().await.unwrap();
    assert!(bench.given().is_empty(), "one look is not believed");
    bench.follower.look().await.unwrap();
    assert_eq!(
        bench.given(),
        [
            ChainFact::Reorganised(215),
            ChainFact::Head(recorded(222)),
            ChainFact::ScannedTo(231, other_hash_of(231)),
        ]
    );
}

#[tokio::test]
async fn a_head_that_goes_back_without_another_hash_is_no_reorganisation() {
    let mut bench = bench(250, 200);
    bench.follower.look().await.unwrap();
    bench.given();
    // An endpoint behind: it lacks the block, and contradicts none.
    bench.script(|script| script.known_to = Some(150));
    bench.heads(150, 60);
    bench.look_twice().await;
    bench.look_twice().await;
    assert!(bench.given().is_empty());
    assert_eq!((bench.view.borrow().safe_block, bench.view.borrow().latest_block), (200, 250));
    bench.script(|script| script.known_to = None);
    bench.heads(260, 210);
    bench.follower.look().await.unwrap();
    assert_eq!(bench.given(), [ChainFact::ScannedTo(210, hash_of(210))]);
}

#[tokio::test]
async fn a_hash_that_was_wrong_once_is_no_reorganisation() {
    let mut bench = bench(250, 200);
    bench.follower.look().await.unwrap();
    bench.given();
    for _ in 0..3 {
        bench.script(|script| script.forked_at = Some(1));
        bench.follower.look().await.unwrap();
        bench.script(|script| script.forked_at = None);
        bench.follower.look().await.unwrap();
    }
    assert!(bench.given().is_empty());
}

#[tokio::test]
async fn a_reorganisation_while_the_relayer_was_down_is_found_at_its_start() {
    let mut bench = bench(250, 200);
    bench.follower.anchors =
        Anchors::new([(140, hash_of(140)), (160, hash_of(160)), (180, hash_of(180))].into());
    bench.follower.next_fact_block = 181;
    bench.script(|script| script.forked_at = Some(170));
    bench.look_twice().await;
    let given = bench.given();
    assert_eq!(given.first(), Some(&ChainFact::Reorganised(161)));
    assert_eq!(given.last(), Some(&ChainFact::ScannedTo(200, other_hash_of(200))));
}

#[tokio::test]
async fn a_reorganisation_below_every_anchor_reads_everything_again() {
    let mut bench = bench(250, 200);
    bench.follower.look().await.unwrap();
    bench.given();
    bench.script(|script| script.forked_at = Some(0));
    bench.look_twice().await;
    assert_eq!(bench.given(), [ChainFact::Reorganised(0), ChainFact::ScannedTo(200, other_hash_of(200))]);
}

#[tokio::test]
async fn a_challenge_that_is_reorganised_away_is_read_anew_and_one_below_stays() {
    let mut bench = bench(250, 200);
    bench.follower.look().await.unwrap();
    for safe in 201..=205 {
        bench.heads(safe + 50, safe);
        bench.follower.look().await.unwrap();
    }
    bench.script(|script| script.forked_at = Some(200));
    bench.heads(256, 206);
    bench.look_twice().await;
    let view = bench.view.borrow().clone();
    assert_eq!(view.epoch(10).unwrap().challenge, other_hash_of(200));
    assert_eq!(view.epoch(9).unwrap().challenge, hash_of(180));
}

#[tokio::test]
async fn an_epoch_whose_challenge_block_is_not_safe_on_the_new_chain_is_not_in_the_view() {
    let mut bench = bench(250, 200);
    bench.follower.look().await.unwrap();
    assert_eq!(bench.view.borrow().epoch.unwrap().epoch, 10);
    bench.script(|script| script.forked_at = Some(190));
    bench.heads(245, 195);
    bench.look_twice().await;
    let view = bench.view.borrow().clone();
    assert_eq!((view.epoch.unwrap().epoch, view.safe_block), (9, 195));
}

#[tokio::test]
async fn a_policy_that_is_reorganised_away_is_forgotten_and_counted() {
    let mut bench = bench(250, 200);
    bench.follower.look().await.unwrap();
    bench.script(|script| {
        script.policies.push((203, policy(2, 20)));
        script.devices = vec![(204, placed(1, 0, 6)), (150, placed(2, 1, 6))];
    });
    bench.heads(255, 205);
    bench.follower.look().await.unwrap();
    assert_eq!(bench.view.borrow().policies.len(), 2);
    assert!(bench.directory.load().devices.contains_key(&[1; 32]));
    bench.script(|script| {
        script.forked_at = Some(202);
        script.policies.pop();
        script.devices.remove(0);
    });
    bench.heads(256, 206);
    bench.look_twice().await;
    let view = bench.view.borrow().clone();
    assert_eq!((view.policies.len(), view.policy_rollbacks), (1, 1));
    let directory = bench.directory.load();
    assert!(!directory.devices.contains_key(&[1; 32]), "placed on the other fork only");
    assert!(directory.devices.contains_key(&[2; 32]));
    assert!(view.epoch.is_some());
}

#[tokio::test]
async fn finalized_that_goes_back_is_not_believed() {
    let mut bench = bench(250, 200);
    for (told, believed) in [(50, 50), (80, 80), (30, 80), (0, 80), (90, 90), (0, 90)] {
        bench.script(|script| script.heads.finalized = told);
        bench.follower.look().await.unwrap();
        assert_eq!(bench.view.borrow().finalized_block, believed);
    }
}

#[tokio::test]
async fn a_node_that_has_executed_nothing_since_its_start_is_not_listened_to() {
    let mut bench = bench(250, 200);
    bench.follower.look().await.unwrap();
    bench.heads(0, 220);
    bench.follower.look().await.unwrap();
    assert_eq!(bench.view.borrow().latest_block, 250);
}

#[tokio::test]
async fn the_watcher_ends_when_told() {
    let bench = bench(250, 199);
    let Bench { follower, view, directory, facts, .. } = bench;
    let (out, _keep) = watch::channel(ChainView::default());
    let stop = CancellationToken::new();
    stop.cancel();
    let (facts_out, _facts_in) = mpsc::channel(1);
    follower.watcher.run(out, directory, facts_out, 0, Anchors::default(), stop).await;
    drop((view, facts));
}
