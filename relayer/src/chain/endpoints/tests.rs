//! Several scripted endpoints.

use std::sync::atomic::AtomicU64;

use tokio::sync::Notify;

use super::*;

const CHAIN_ID: u64 = 1235;
const LIMITS: HealthLimits = HealthLimits { lag_blocks_max: 20, stale_ms: 60_000 };
const RECEIPT: Receipt =
    Receipt { succeeded: true, block: 90, block_hash: [9; 32], gas_used: 50_000, fee_drip: 1 };

#[derive(Debug, Default)]
struct ManualClock(AtomicU64);

#[async_trait]
impl crate::clock::Clock for ManualClock {
    fn unix_ms(&self) -> u64 {
        self.monotonic_ms()
    }

    fn monotonic_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    async fn sleep(&self, _: Duration) {
        std::future::pending::<()>().await;
    }
}

/// How a scripted endpoint treats its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Answers,
    Garbage,
    Hangs,
    Refuses(i64),
}

#[derive(Debug)]
struct Script {
    mood: Mood,
    chain_id: u64,
    genesis: Hash,
    syncing: bool,
    heads: Heads,
    nonce: u64,
    hash: Hash,
    revoked: Vec<DeviceEvent>,
    receipt: Option<Receipt>,
    estimate: u64,
    send: Mood,
    asked: Vec<&'static str>,
}

#[derive(Debug)]
struct Scripted {
    name: String,
    script: Mutex<Script>,
    released: Notify,
}

impl Scripted {
    fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    fn asked(&self, what: &str) -> usize {
        self.script.lock().unwrap().asked.iter().filter(|asked| **asked == what).count()
    }

    async fn answer<T>(&self, what: &'static str, read: impl FnOnce(&Script) -> T) -> Result<T, ChainError> {
        let mood = {
            let mut script = self.script.lock().unwrap();
            script.asked.push(what);
            if what == "send" && script.mood == Mood::Answers { script.send } else { script.mood }
        };
        match mood {
            Mood::Answers => {}
            Mood::Garbage => {
                return Err(ChainError::Malformed { method: "test", what: "garbage".to_owned() });
            }
            Mood::Hangs => self.released.notified().await,
            Mood::Refuses(code) => {
                let message = "already known".to_owned();
                return Err(ChainError::Refused { method: "test", code, message });
            }
        }
        Ok(read(&self.script.lock().unwrap()))
    }
}

#[async_trait]
impl Chain for Scripted {
    async fn chain_id(&self) -> Result<u64, ChainError> {
        self.answer("chain_id", |script| script.chain_id).await
    }

    async fn heads(&self) -> Result<Heads, ChainError> {
        self.answer("heads", |script| script.heads).await
    }

    async fn block_hash(&self, number: u64) -> Result<Option<Hash>, ChainError> {
        let what = if number == 0 { "genesis" } else { "block_hash" };
        self.answer(what, |script| Some(if number == 0 { script.genesis } else { script.hash })).await
    }

    async fn policies(&self, _: u64, _: u64) -> Result<Vec<Policy>, ChainError> {
        self.answer("policies", |_| Vec::new()).await
    }

    async fn device_events(&self, _: u64, _: u64) -> Result<Vec<DeviceEvent>, ChainError> {
        self.answer("device_events", |script| script.revoked.clone()).await
    }

    async fn head_events(&self, _: u64, _: u64) -> Result<Vec<HeadEvent>, ChainError> {
        self.answer("head_events", |_| Vec::new()).await
    }

    async fn root_events(&self, _: u64, _: u64) -> Result<Vec<RootEvent>, ChainError> {
        self.answer("root_events", |_| Vec::new()).await
    }

    async fn ledger_events(&self, _: u64, _: u64) -> Result<Vec<LedgerEvent>, ChainError> {
        self.answer("ledger_events", |_| Vec::new()).await
    }

    async fn nonce(&self, _: Address) -> Result<u64, ChainError> {
        self.answer("latest nonce", |_| u64::MAX).await
    }

    async fn balance(&self, _: Address) -> Result<u128, ChainError> {
        self.answer("latest balance", |_| 0).await
    }

    async fn base_fee(&self) -> Result<u128, ChainError> {
        self.answer("latest base fee", |_| 0).await
    }

    async fn estimate_gas(&self, _: Address, _: Address, _: &[u8]) -> Result<u64, ChainError> {
        self.answer("estimate", |script| script.estimate).await
    }

    async fn send_raw(&self, _: &[u8]) -> Result<(), ChainError> {
        self.answer("send", |_| ()).await
    }

    async fn receipt(&self, _: Hash) -> Result<Option<Receipt>, ChainError> {
        self.answer("receipt", |script| script.receipt).await
    }

    async fn has_code(&self, _: Address) -> Result<bool, ChainError> {
        self.answer("code", |_| true).await
    }

    async fn eth_call(&self, _: Address, _: &[u8]) -> Result<Vec<u8>, ChainError> {
        self.answer("call", |_| Vec::new()).await
    }
}

#[async_trait]
impl Node for Scripted {
    fn name(&self) -> &str {
        &self.name
    }

    async fn is_syncing(&self) -> Result<bool, ChainError> {
        self.answer("syncing", |script| script.syncing).await
    }

    async fn is_espace(&self) -> Result<bool, ChainError> {
        self.answer("espace", |_| true).await
    }

    async fn nonce_at(&self, _: Address, _: u64) -> Result<u64, ChainError> {
        self.answer("nonce", |script| script.nonce).await
    }

    async fn balance_at(&self, _: Address, _: u64) -> Result<u128, ChainError> {
        self.answer("balance", |_| 1).await
    }

    async fn base_fee_at(&self, _: u64) -> Result<u128, ChainError> {
        self.answer("base_fee", |_| 20).await
    }
}

struct Site {
    nodes: Vec<Arc<Scripted>>,
    clock: Arc<ManualClock>,
    endpoints: Endpoints,
}

impl Site {
    fn new(count: usize, quorum: usize) -> Self {
        let scripted = |at: usize| {
            Arc::new(Scripted {
                name: format!("http://node-{at}"),
                script: Mutex::new(Script {
                    mood: Mood::Answers,
                    chain_id: CHAIN_ID,
                    genesis: [1; 32],
                    syncing: false,
                    heads: Heads { latest: 100, safe: 80, finalized: 40 },
                    nonce: 7,
                    hash: [2; 32],
                    revoked: Vec::new(),
                    receipt: None,
                    estimate: 60_000,
                    send: Mood::Answers,
                    asked: Vec::new(),
                }),
                released: Notify::new(),
            })
        };
        let nodes: Vec<Arc<Scripted>> = (0..count).map(scripted).collect();
        let clock = Arc::new(ManualClock::default());
        let shared: Vec<Arc<dyn Node>> = nodes.iter().map(|node| node.clone() as Arc<dyn Node>).collect();
        let settings = EndpointSettings { quorum, limits: LIMITS };
        let endpoints = Endpoints::new(shared, settings, deployment(), clock.clone());
        Self { nodes, clock, endpoints }
    }

    /// With the heads of every endpoint known.
    async fn looked(count: usize, quorum: usize) -> Self {
        let site = Self::new(count, quorum);
        site.look().await.unwrap();
        site
    }

    /// One look, and the answers of those that nobody waited for.
    async fn look(&self) -> Result<Heads, ChainError> {
        let heads = self.endpoints.heads().await;
        self.settle().await;
        heads
    }

    async fn settle(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    fn wait_ms(&self, time_ms: u64) {
        self.clock.0.fetch_add(time_ms, Ordering::Relaxed);
    }

    fn change(&self, at: usize, change: impl FnOnce(&mut Script)) {
        self.nodes[at].change(change);
    }

    fn states(&self) -> Vec<String> {
        let report = self.endpoints.report();
        report.as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap().to_owned()).collect()
    }

    fn asked(&self, what: &str) -> Vec<usize> {
        self.nodes.iter().map(|node| node.asked(what)).collect()
    }
}

fn deployment() -> Arc<Deployment> {
    let address = |byte: u8| format!("0x{}", hex::encode([byte; 20]));
    let text = json!({
        "chain_id": CHAIN_ID, "start_block": 0, "epoch_len_blocks": 20, "ring_epochs": 32,
        "access_manager": address(1), "device_registry": address(2), "gateway_registry": address(3),
        "policy_registry": address(4), "battery_ledger": address(5), "policy_signer": address(6),
        "verifiers": [{"address": address(7), "label": "v1"}],
    });
    Arc::new(Deployment::parse("test", &text.to_string()).unwrap())
}

fn revoked(byte: u8) -> Vec<DeviceEvent> {
    vec![DeviceEvent::Revoked { device_id: [byte; 32] }]
}

#[tokio::test]
async fn a_nonce_too_low_never_counts_against_an_endpoint() {
    let site = Site::looked(2, 1).await;
    for at in 0..2 {
        site.change(at, |script| script.send = Mood::Refuses(-32_003));
    }
    for _ in 0..20 {
        let error = site.endpoints.send_raw(&[1]).await.unwrap_err();
        assert!(matches!(error, ChainError::Refused { code: -32_003, .. }), "{error}");
    }
    assert_eq!(site.states(), ["healthy", "healthy"]);
    assert_eq!(site.endpoints.nonce([1; 20]).await.unwrap(), 7, "and nothing is blocked");
}

#[tokio::test]
async fn a_syncing_or_stale_node_is_never_asked_for_a_nonce() {
    let site = Site::new(3, 2);
    site.change(0, |script| (script.syncing, script.nonce) = (true, 3));
    site.look().await.unwrap();
    assert_eq!(site.states(), ["catching_up", "healthy", "healthy"]);
    assert_eq!(site.endpoints.nonce([1; 20]).await.unwrap(), 7);
    assert_eq!(site.asked("nonce"), [0, 1, 1]);

    site.change(1, |script| script.heads.latest = 60);
    for at in [0, 2] {
        site.change(at, |script| (script.syncing, script.heads.latest) = (false, 120));
    }
    site.wait_ms(5_000);
    site.look().await.unwrap();
    assert_eq!(site.states(), ["healthy", "stale", "healthy"]);
    let error = site.endpoints.nonce([1; 20]).await.unwrap_err();
    assert!(matches!(error, ChainError::Disagreement { .. }), "3 and 7 make no two: {error}");
    assert_eq!(site.asked("nonce"), [1, 1, 2]);
}

#[tokio::test]
async fn a_nonce_is_asked_anew_each_time_and_never_cached() {
    let site = Site::looked(2, 2).await;
    assert_eq!(site.endpoints.nonce([1; 20]).await.unwrap(), 7);
    for at in 0..2 {
        site.change(at, |script| script.nonce = 5);
    }
    assert_eq!(site.endpoints.nonce([1; 20]).await.unwrap(), 5, "after a reorganisation it may be lower");
}

#[tokio::test]
async fn a_refusal_never_hides_that_another_endpoint_took_the_bytes() {
    let site = Site::looked(3, 2).await;
    site.change(0, |script| script.send = Mood::Refuses(-32_603));
    site.change(1, |script| script.send = Mood::Garbage);
    site.endpoints.send_raw(&[1]).await.unwrap();
    assert_eq!(site.asked("send"), [1, 1, 1], "raced to all");
    site.settle().await;
    site.change(2, |script| script.send = Mood::Garbage);
    let error = site.endpoints.send_raw(&[1]).await.unwrap_err();
    assert!(matches!(error, ChainError::Refused { .. }), "what a node said about the bytes: {error}");
}

#[tokio::test]
async fn a_receipt_is_not_lost_to_an_endpoint_that_has_none_or_refuses() {
    let site = Site::looked(3, 2).await;
    for at in [1, 2] {
        site.change(at, |script| script.receipt = Some(RECEIPT));
    }
    assert_eq!(site.endpoints.receipt([5; 32]).await.unwrap(), Some(RECEIPT));
    site.change(0, |script| script.mood = Mood::Refuses(-32_603));
    assert_eq!(site.endpoints.receipt([5; 32]).await.unwrap(), Some(RECEIPT));
    site.change(2, |script| script.receipt = None);
    site.change(0, |script| script.mood = Mood::Answers);
    assert_eq!(site.endpoints.receipt([5; 32]).await.unwrap(), None, "one receipt is unknown, not mined");
}

#[tokio::test]
async fn sends_go_to_every_endpoint_but_those_of_another_chain() {
    let site = Site::new(5, 1);
    site.change(0, |script| script.chain_id = 1);
    site.change(1, |script| script.syncing = true);
    site.change(2, |script| script.heads.latest = 10);
    site.change(3, |script| script.mood = Mood::Garbage);
    site.look().await.unwrap();
    assert_eq!(site.states(), ["wrong_chain", "catching_up", "stale", "failing", "healthy"]);
    site.endpoints.send_raw(&[1]).await.unwrap();
    site.settle().await;
    assert_eq!(site.asked("send"), [0, 1, 1, 1, 1]);
}

#[tokio::test]
async fn an_endpoint_with_another_genesis_serves_another_chain() {
    let site = Site::new(3, 2);
    site.change(1, |script| script.genesis = [0xee; 32]);
    site.look().await.unwrap();
    site.wait_ms(5_000);
    site.look().await.unwrap();
    assert_eq!(site.states(), ["healthy", "wrong_chain", "healthy"]);
    assert_eq!(site.endpoints.wrong_chain(), None, "its chain id is right, and two are enough");
}

#[tokio::test]
async fn endpoints_of_another_chain_that_leave_no_quorum_are_named() {
    let site = Site::new(2, 2);
    site.change(1, |script| script.chain_id = 71);
    let error = site.look().await.unwrap_err();
    assert!(error.to_string().contains("http://node-1 is wrong_chain"), "{error}");
    assert_eq!(site.endpoints.wrong_chain(), Some(("http://node-1".to_owned(), 71)));
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_delays_nothing() {
    let site = Site::looked(3, 2).await;
    site.change(0, |script| script.mood = Mood::Hangs);
    site.look().await.unwrap();
    assert_eq!(site.endpoints.block_hash(50).await.unwrap(), Some([2; 32]));
    assert_eq!(site.endpoints.nonce([1; 20]).await.unwrap(), 7);
    site.endpoints.send_raw(&[1]).await.unwrap();
    assert_eq!(site.asked("send"), [1, 1, 1], "it was asked, and nobody waited");
}

#[tokio::test]
async fn calls_at_an_endpoint_that_does_not_answer_are_bounded() {
    let site = Site::looked(3, 2).await;
    site.change(0, |script| script.mood = Mood::Hangs);
    for _ in 0..2 * board::CALLS_PER_ENDPOINT_MAX {
        site.endpoints.block_hash(50).await.unwrap();
    }
    site.settle().await;
    assert_eq!(site.asked("block_hash")[0], board::CALLS_PER_ENDPOINT_MAX);
    site.change(0, |script| script.mood = Mood::Answers);
    site.nodes[0].released.notify_waiters();
    site.settle().await;
    site.endpoints.block_hash(50).await.unwrap();
    site.settle().await;
    assert_eq!(
        site.asked("block_hash")[0],
        board::CALLS_PER_ENDPOINT_MAX + 1,
        "asked again once it answered"
    );
}

#[tokio::test]
async fn with_every_endpoint_down_a_call_fails_at_once_and_says_why() {
    let site = Site::looked(2, 1).await;
    for at in 0..2 {
        site.change(at, |script| script.mood = Mood::Garbage);
    }
    site.look().await.unwrap_err();
    let asked = site.asked("heads");
    for error in [site.endpoints.heads().await.unwrap_err(), site.endpoints.nonce([1; 20]).await.unwrap_err()]
    {
        assert!(matches!(error, ChainError::NoQuorum { needed: 1, answered: 0, .. }), "{error}");
        assert!(error.to_string().contains("http://node-1 is failing: "), "{error}");
    }
    assert_eq!(site.asked("heads"), asked, "no endpoint is asked inside its pause");

    for at in 0..2 {
        site.change(at, |script| script.mood = Mood::Answers);
    }
    site.wait_ms(250);
    site.look().await.unwrap();
    assert_eq!(site.states(), ["healthy", "healthy"]);
}

#[tokio::test]
async fn the_only_endpoint_fails_with_its_own_error() {
    let site = Site::looked(1, 1).await;
    site.change(0, |script| script.mood = Mood::Garbage);
    assert!(matches!(site.endpoints.nonce([1; 20]).await, Err(ChainError::Malformed { .. })));
}

#[tokio::test]
async fn two_endpoints_that_disagree_conclude_nothing_and_go_on_when_they_agree() {
    let site = Site::looked(2, 2).await;
    site.change(1, |script| (script.hash, script.revoked) = ([3; 32], revoked(9)));
    let hash = site.endpoints.block_hash(50).await.unwrap_err();
    assert_eq!(
        hash.to_string(),
        "endpoints disagree on block_hash up to block 50: http://node-0, http://node-1"
    );
    let events = site.endpoints.device_events(1, 80).await.unwrap_err();
    assert!(matches!(events, ChainError::Disagreement { .. }), "{events}");
    assert_eq!(site.states(), ["healthy", "healthy"], "which of them lies is not known");
    site.change(0, |script| (script.hash, script.revoked) = ([3; 32], revoked(9)));
    assert_eq!(site.endpoints.block_hash(50).await.unwrap(), Some([3; 32]));
    assert_eq!(site.endpoints.device_events(1, 80).await.unwrap(), revoked(9));
}

#[tokio::test]
async fn one_endpoint_of_three_invents_no_event_and_hides_none() {
    let site = Site::looked(3, 2).await;
    site.change(0, |script| (script.hash, script.revoked) = ([3; 32], revoked(9)));
    assert_eq!(site.endpoints.device_events(1, 80).await.unwrap(), []);
    assert_eq!(site.endpoints.block_hash(50).await.unwrap(), Some([2; 32]));
    for at in [1, 2] {
        site.change(at, |script| script.revoked = revoked(8));
    }
    site.change(0, |script| script.revoked = Vec::new());
    assert_eq!(site.endpoints.device_events(1, 80).await.unwrap(), revoked(8));
}

#[tokio::test]
async fn events_are_not_taken_from_an_endpoint_that_has_not_come_so_far() {
    let site = Site::new(2, 1);
    site.change(0, |script| script.heads = Heads { latest: 95, safe: 75, finalized: 40 });
    site.change(1, |script| script.revoked = revoked(9));
    site.look().await.unwrap();
    site.look().await.unwrap();
    assert_eq!(site.states(), ["healthy", "healthy"], "five blocks behind is no fault");
    assert_eq!(site.endpoints.device_events(1, 100).await.unwrap(), revoked(9));
    assert_eq!(site.asked("device_events"), [0, 1], "its empty answer would have lost an event");
}

#[tokio::test]
async fn a_head_that_one_endpoint_takes_back_is_no_reorganisation() {
    let site = Site::looked(3, 2).await;
    let before = site.look().await.unwrap();
    site.change(0, |script| script.heads = Heads { latest: 99, safe: 20, finalized: 0 });
    assert_eq!(site.look().await.unwrap(), before);
    site.change(1, |script| script.heads = Heads { latest: 99, safe: 70, finalized: 0 });
    assert_eq!(
        site.look().await.unwrap(),
        Heads { latest: 99, safe: 70, finalized: 40 },
        "two of three: a reorganisation, but what was final stays"
    );
}

#[tokio::test]
async fn one_endpoint_makes_no_call_dearer() {
    let site = Site::looked(3, 2).await;
    site.change(0, |script| script.estimate = 15_000_000);
    assert_eq!(site.endpoints.estimate_gas([1; 20], [2; 20], &[3]).await.unwrap(), 60_000);
}
