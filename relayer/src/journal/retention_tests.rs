//! Pruning on a real file, beside a gateway that goes on appending.

use arc_swap::ArcSwap;
use cip22_wire::digest::Domain;
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::*;
use crate::clock::{SharedClock, SystemClock};
use crate::config::Config;
use crate::deployment::Deployment;
use crate::directory::Directory;
use crate::gateway::Parts;
use crate::gateway_key::{GatewayKey, SiteSecret};
use crate::journal::appender::Appender;
use crate::journal::record::{StatementKind, StatementRecord};
use crate::journal::redb_log::RedbLog;
use crate::state::State;
use crate::view::ChainView;

const SETTINGS: RetentionSettings =
    RetentionSettings { window_blocks: 640, retention_blocks: 1_000, epoch_len_blocks: 20 };

fn opened(epoch: u32) -> Record {
    Record::EpochOpened { epoch, challenge: [0; 32], policy_hash: [0; 32] }
}

#[test]
fn an_epoch_goes_once_ring_and_retention_are_behind_its_last_block() {
    assert_eq!(SETTINGS.wanted_epoch(0), 0);
    assert_eq!(SETTINGS.wanted_epoch(1_659), 0, "block 19 belongs to epoch 0");
    assert_eq!(SETTINGS.wanted_epoch(1_660), 1);
    assert_eq!(SETTINGS.step_epochs(), 5);
    assert_eq!(RetentionSettings { window_blocks: 40, retention_blocks: 0, ..SETTINGS }.step_epochs(), 1);
}

#[test]
fn the_front_ends_at_the_first_epoch_that_is_kept() {
    let acked = Record::AuthAcked { sid: [0; 16], a: [0; 32] };
    let front = [(7, opened(3)), (8, acked.clone()), (9, opened(5)), (10, acked)];
    assert_eq!(spent(&front, 5), (9, true));
    assert_eq!(spent(&front, 4), (9, true));
    assert_eq!(spent(&front, 3), (0, true), "nothing is spent");
    assert_eq!(spent(&front, 6), (11, false), "there may be more");
    assert_eq!(spent(&[], 6), (0, true));
}

const DEPLOYMENT: &str = r#"{ "chain_id": 1235, "start_block": 1, "epoch_len_blocks": 20, "ring_epochs": 4,
  "access_manager": "0x0000000000000000000000000000000000000001", "device_registry": "0x0000000000000000000000000000000000000002",
  "gateway_registry": "0x0000000000000000000000000000000000000003", "policy_registry": "0x0000000000000000000000000000000000000004",
  "battery_ledger": "0x0000000000000000000000000000000000000005", "policy_signer": "0x0000000000000000000000000000000000000006",
  "verifiers": [ { "address": "0x0000000000000000000000000000000000000007", "label": "v1" } ] }"#;

/// What is kept: 8 epochs.
const QUICK: RetentionSettings =
    RetentionSettings { window_blocks: 80, retention_blocks: 80, epoch_len_blocks: 20 };

/// A run of the relayer, as far as the journal is concerned.
struct Run {
    retention: Retention,
    view: watch::Sender<ChainView>,
}

fn replayed(log: &RedbLog) -> State {
    let mut state = State::default();
    log.replay(0, &mut |_, record| state.apply(&record)).unwrap();
    state
}

fn start(path: &std::path::Path) -> Run {
    let log = RedbLog::open(path).unwrap();
    let state = replayed(&log);
    let token = log.acquire("test").unwrap();
    let (journal, clock): (Arc<dyn Journal>, SharedClock) = (Arc::new(log), Arc::new(SystemClock::new()));
    let (appender, _) = Appender::start(Arc::clone(&journal), token, Arc::clone(&clock)).unwrap();
    let deployment = Deployment::parse("test", DEPLOYMENT).unwrap();
    let (view, reader) = watch::channel(ChainView::default());
    let gateway = Gateway::new(Parts {
        settings: crate::supervisor::settings(&Config::default(), &deployment),
        clock,
        key: GatewayKey::from_bytes(&[1; 32]).unwrap(),
        site_secret: SiteSecret::new(Zeroizing::new([2; 32])),
        domain: Domain { chain_id: 1235, verifying_contract: [7; 20] },
        directory: Arc::new(ArcSwap::from_pointee(Directory::default())),
        view: reader,
        appender,
        state,
        stop: CancellationToken::new(),
    });
    Run { retention: Retention { gateway: Arc::new(gateway), journal, settings: QUICK }, view }
}

impl Run {
    fn commit(&self, record: Record) {
        let mut state = self.retention.gateway.state();
        drop(self.retention.gateway.commit(&mut state, vec![record]));
    }

    /// Twenty piles acknowledge a policy, and the chain shows it.
    fn epoch(&self, epoch: u32) {
        self.commit(opened(epoch));
        for index in 0..20 {
            let (policy_hash, head) = ([0; 32], [index; 32]);
            self.commit(Record::Statement(StatementRecord {
                device_id: [index; 32],
                group: 1,
                index,
                epoch,
                n: 1,
                prev_head: [0; 32],
                head,
                signature: vec![7; 64],
                kind: StatementKind::PolicyAck { version: epoch, policy_hash, first_epoch: 0 },
            }));
            let (transaction, block) = ([4; 32], u64::from(epoch) * 20);
            self.commit(Record::HeadSafe { group: 1, index, epoch, n: 1, head, transaction, block });
        }
        self.view.send_modify(|view| view.safe_block = u64::from(epoch) * 20);
    }

    /// Ends the run; returns the state that it had.
    async fn end(self) -> State {
        self.retention.gateway.barrier().await.unwrap();
        self.retention.gateway.state().clone()
    }
}

/// Once the writer of the run before has let go of the file.
fn reopened(path: &std::path::Path) -> RedbLog {
    loop {
        match RedbLog::open(path) {
            Ok(log) => return log,
            Err(_) => std::thread::yield_now(),
        }
    }
}

#[tokio::test]
async fn a_pruned_file_stays_small_and_gives_the_live_state_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.redb");
    let run = start(&path);
    let mut largest = 0;
    for epoch in 1..=60 {
        run.epoch(epoch);
        run.retention.step(false).await.unwrap();
        let journal = &run.retention.journal;
        largest = largest.max(journal.last().unwrap() + 1 - journal.first().unwrap());
    }
    let state = run.end().await;
    let log = reopened(&path);
    assert_eq!(replayed(&log), state);
    assert_eq!(state.retained.horizon_epoch, 52);
    assert_eq!((state.policy_acks.len(), state.policy_acks[&[3; 32]]), (20, 60));
    assert_eq!(state.counts.statements_safe, 60 * 20, "totals outlive their records");
    assert!(
        log.first().unwrap() > 1_500 && largest < 800,
        "{} to {}, {largest}",
        log.first().unwrap(),
        log.last().unwrap()
    );
}

#[tokio::test]
async fn a_front_that_a_crash_left_uncut_is_cut_by_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.redb");
    let run = start(&path);
    for epoch in 1..=30 {
        run.epoch(epoch);
    }
    run.retention.carry_over().await.unwrap();
    assert_eq!(run.retention.forget(22, 22).await.unwrap(), 22);
    let before = run.end().await;
    drop(reopened(&path));

    let next = start(&path);
    assert_eq!(next.retention.journal.first().unwrap(), 1);
    assert_eq!(*next.retention.gateway.state(), before);
    next.retention.step(true).await.unwrap();
    let after = next.end().await;
    let log = reopened(&path);
    let front = log.read(log.first().unwrap(), 1).unwrap();
    assert_eq!(front[0].1, opened(22));
    assert_eq!((replayed(&log), after), (before.clone(), before));
}
