//! The submitter on a scripted chain.

use std::collections::HashMap;
use std::sync::Mutex;

use cip22_wire::Hash;
use tokio::sync::Notify;
use zeroize::Zeroizing;

use super::super::tests::{GDRIP, pending, receipt, settings};
use super::*;
use crate::chain::signer::TransactionSigner;
use crate::chain::{Chain, DeviceEvent, HeadEvent, LedgerEvent, Receipt, RootEvent};
use crate::clock::Clock;
use crate::view::Policy;

/// A chain that does as it is told, and the log of what happened around it.
#[derive(Debug, Default)]
struct World {
    log: Mutex<Vec<String>>,
    heads: Mutex<Heads>,
    balance: Mutex<u128>,
    nonce: Mutex<u64>,
    sent: Mutex<Vec<Vec<u8>>>,
    receipts: Mutex<HashMap<Hash, Receipt>>,
    records: Mutex<Vec<Record>>,
    refuse_appends: Mutex<bool>,
    refuse_sends: Mutex<bool>,
    reverts: Mutex<bool>,
    turn: Notify,
}

impl World {
    fn note(&self, what: &str) {
        self.log.lock().unwrap().push(what.to_owned());
    }

    fn submitted(&self) -> Vec<AttemptRecord> {
        let records = self.records.lock().unwrap();
        let attempts = records.iter().filter_map(|record| match record {
            Record::Submitted(attempt) => Some(attempt.clone()),
            _ => None,
        });
        attempts.collect()
    }
}

#[async_trait]
impl RecordSink for World {
    async fn append(&self, records: Vec<Record>) -> Result<(), JournalError> {
        if *self.refuse_appends.lock().unwrap() {
            return Err(JournalError::Closed);
        }
        for record in records {
            let what = match &record {
                Record::Submitted(_) => "stored",
                Record::CancelSubmitted(_) => "cancel stored",
                Record::TxEdited { .. } => "edited",
                Record::Mined { .. } => "mined",
                Record::Safe { .. } => "safe",
                _ => "other",
            };
            self.note(what);
            self.records.lock().unwrap().push(record);
        }
        Ok(())
    }
}

/// Each sleep ends when the test says so.
#[async_trait]
impl Clock for World {
    fn unix_ms(&self) -> u64 {
        0
    }

    fn monotonic_ms(&self) -> u64 {
        0
    }

    async fn sleep(&self, _: Duration) {
        self.turn.notified().await;
    }
}

#[async_trait]
impl Chain for World {
    async fn chain_id(&self) -> Result<u64, ChainError> {
        Ok(1235)
    }

    async fn heads(&self) -> Result<Heads, ChainError> {
        Ok(*self.heads.lock().unwrap())
    }

    async fn block_hash(&self, _: u64) -> Result<Option<Hash>, ChainError> {
        Ok(None)
    }

    async fn policies(&self, _: u64, _: u64) -> Result<Vec<Policy>, ChainError> {
        Ok(Vec::new())
    }

    async fn device_events(&self, _: u64, _: u64) -> Result<Vec<DeviceEvent>, ChainError> {
        Ok(Vec::new())
    }

    async fn head_events(&self, _: u64, _: u64) -> Result<Vec<HeadEvent>, ChainError> {
        Ok(Vec::new())
    }

    async fn root_events(&self, _: u64, _: u64) -> Result<Vec<RootEvent>, ChainError> {
        Ok(Vec::new())
    }

    async fn ledger_events(&self, _: u64, _: u64) -> Result<Vec<LedgerEvent>, ChainError> {
        Ok(Vec::new())
    }

    async fn nonce(&self, _: Address) -> Result<u64, ChainError> {
        Ok(*self.nonce.lock().unwrap())
    }

    async fn balance(&self, _: Address) -> Result<u128, ChainError> {
        Ok(*self.balance.lock().unwrap())
    }

    async fn base_fee(&self) -> Result<u128, ChainError> {
        Ok(20 * GDRIP)
    }

    async fn estimate_gas(&self, _: Address, _: Address, _: &[u8]) -> Result<u64, ChainError> {
        if *self.reverts.lock().unwrap() {
            return Err(ChainError::Reverted { method: "eth_estimateGas", data: vec![1] });
        }
        Ok(60_000)
    }

    async fn send_raw(&self, raw: &[u8]) -> Result<(), ChainError> {
        self.note("sent");
        self.sent.lock().unwrap().push(raw.to_vec());
        if *self.refuse_sends.lock().unwrap() {
            let message = "nonce too low".to_owned();
            return Err(ChainError::Refused { method: "eth_sendRawTransaction", code: -32003, message });
        }
        Ok(())
    }

    async fn receipt(&self, transaction: Hash) -> Result<Option<Receipt>, ChainError> {
        Ok(self.receipts.lock().unwrap().get(&transaction).copied())
    }

    async fn has_code(&self, _: Address) -> Result<bool, ChainError> {
        Ok(true)
    }

    async fn eth_call(&self, _: Address, _: &[u8]) -> Result<Vec<u8>, ChainError> {
        Ok(Vec::new())
    }
}

struct Running {
    orders: mpsc::Sender<Order>,
    notices: mpsc::Receiver<(usize, Notice)>,
    outcomes: mpsc::Receiver<BatchOutcome>,
    _waiting: watch::Sender<bool>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    async fn carry(&self, number: u64) {
        self.orders.send(Order::Carry(Box::new(pending(number)))).await.unwrap();
    }
}

fn start(world: &Arc<World>, pending: Vec<PendingBatch>) -> Running {
    let key = Zeroizing::new("11".repeat(32));
    let account = Account::Signing(TransactionSigner::from_hex(&key, 1235).unwrap());
    let submitter = Submitter::new(world.clone(), account, world.clone(), world.clone(), settings());
    let (orders, orders_in) = mpsc::channel(4);
    let (notices_out, notices) = mpsc::channel(4_096);
    let (outcomes_out, outcomes) = mpsc::channel(4);
    let waiting = watch::Sender::new(false);
    let desk = Desk { number: 0, orders: orders_in, notices: notices_out, waiting: waiting.subscribe() };
    let stop = CancellationToken::new();
    let task = tokio::spawn(submitter.run(desk, pending, outcomes_out, stop.clone()));
    Running { orders, notices, outcomes, _waiting: waiting, stop, task }
}

/// Lets the submitter look at the chain until `done` holds.
async fn until(world: &World, done: impl Fn(&World) -> bool) {
    for _ in 0..1_000 {
        if done(world) {
            return;
        }
        world.turn.notify_one();
        tokio::task::yield_now().await;
    }
    panic!("not reached: {:?}", world.log.lock().unwrap());
}

fn world(latest: u64, safe: u64, nonce: u64) -> Arc<World> {
    let world = World { balance: Mutex::new(u128::MAX), ..World::default() };
    *world.heads.lock().unwrap() = Heads { latest, safe, finalized: 0 };
    *world.nonce.lock().unwrap() = nonce;
    Arc::new(world)
}

#[tokio::test]
async fn a_batch_is_stored_sent_mined_and_safe_in_this_order() {
    let world = world(100, 40, 4);
    let mut running = start(&world, Vec::new());
    running.carry(1).await;
    until(&world, |world| !world.sent.lock().unwrap().is_empty()).await;
    let attempt = world.submitted()[0].clone();
    assert_eq!(world.sent.lock().unwrap()[0], attempt.raw, "what is sent is what was stored");
    world.receipts.lock().unwrap().insert(attempt.transaction, receipt(101, 1));
    *world.nonce.lock().unwrap() = 5;
    *world.heads.lock().unwrap() = Heads { latest: 102, safe: 101, finalized: 0 };
    until(&world, |world| world.log.lock().unwrap().contains(&"safe".to_owned())).await;
    let outcome = running.outcomes.recv().await.unwrap();
    assert_eq!((outcome.batch, outcome.succeeded, outcome.block), (1, true, 101));
    assert_eq!(*world.log.lock().unwrap(), ["stored", "sent", "mined", "safe"]);
    running.stop.cancel();
    running.task.await.unwrap();
}

#[tokio::test]
async fn when_the_disk_fails_nothing_is_sent_and_the_submitter_ends() {
    let world = world(100, 40, 4);
    *world.refuse_appends.lock().unwrap() = true;
    let running = start(&world, Vec::new());
    running.carry(1).await;
    running.task.await.unwrap();
    assert!(world.sent.lock().unwrap().is_empty());
}

#[tokio::test]
async fn stored_bytes_that_were_never_sent_are_sent_after_a_restart_and_nothing_else() {
    let first = world(100, 40, 4);
    let running = start(&first, Vec::new());
    running.carry(1).await;
    until(&first, |world| !world.submitted().is_empty()).await;
    running.stop.cancel();
    running.task.await.unwrap();
    let attempts = first.submitted();

    let second = world(100, 40, 4);
    let pending = PendingBatch { attempts: attempts.clone(), ..pending(1) };
    let running = start(&second, vec![pending]);
    until(&second, |world| !world.sent.lock().unwrap().is_empty()).await;
    running.stop.cancel();
    running.task.await.unwrap();
    assert_eq!(*second.sent.lock().unwrap(), [attempts[0].raw.clone()]);
    assert!(second.submitted().is_empty(), "no second attempt");
}

#[tokio::test]
async fn a_batch_that_would_revert_ends_unsent() {
    let world = world(100, 40, 4);
    *world.reverts.lock().unwrap() = true;
    let mut running = start(&world, Vec::new());
    running.carry(1).await;
    let outcome = running.outcomes.recv().await.unwrap();
    assert!(!outcome.succeeded && outcome.transaction.is_none());
    assert!(world.log.lock().unwrap().is_empty(), "no nonce, no bytes, no fee");
    running.stop.cancel();
    running.task.await.unwrap();
}

#[tokio::test]
async fn a_batch_that_the_signer_cannot_pay_goes_back_without_a_nonce() {
    let world = world(100, 40, 4);
    *world.balance.lock().unwrap() = 1_000;
    let mut running = start(&world, Vec::new());
    running.carry(1).await;
    let (returned, needed_drip) = loop {
        let (0, notice) = running.notices.recv().await.unwrap() else { panic!("another desk") };
        if let Notice::Returned { pending, needed_drip } = notice {
            break (pending, needed_drip);
        }
    };
    assert_eq!(returned, pending(1));
    assert_eq!(needed_drip, 63_000 * 41 * GDRIP, "gas limit times the fee that it would offer");
    assert!(world.log.lock().unwrap().is_empty(), "nothing signed, nothing sent");
    running.stop.cancel();
    running.task.await.unwrap();
}

#[tokio::test]
async fn a_cancel_is_noted_and_stored_before_it_is_sent() {
    let world = world(100, 40, 4);
    let running = start(&world, Vec::new());
    running.carry(1).await;
    until(&world, |world| !world.sent.lock().unwrap().is_empty()).await;
    let (reply, answer) = oneshot::channel();
    running.orders.send(Order::Edit { batch: 1, edit: TxEdit::Cancel, reply }).await.unwrap();
    let done = answer.await.unwrap().unwrap();
    assert_eq!((done.nonce, done.attempt), (Some(4), Some(2)));
    assert_eq!(*world.log.lock().unwrap(), ["stored", "sent", "edited", "cancel stored", "sent"]);
    running.stop.cancel();
    running.task.await.unwrap();
}

#[tokio::test]
async fn a_refused_broadcast_concludes_nothing_and_is_repeated_until_a_receipt_tells() {
    let world = world(100, 40, 4);
    *world.refuse_sends.lock().unwrap() = true;
    let mut running = start(&world, Vec::new());
    running.carry(1).await;
    until(&world, |world| !world.sent.lock().unwrap().is_empty()).await;
    *world.heads.lock().unwrap() = Heads { latest: 106, safe: 45, finalized: 0 };
    until(&world, |world| world.sent.lock().unwrap().len() > 1).await;
    let attempts = world.submitted();
    assert_eq!(attempts.len(), 1, "no other nonce, no other bytes");
    world.receipts.lock().unwrap().insert(attempts[0].transaction, receipt(105, 1));
    *world.nonce.lock().unwrap() = 5;
    *world.heads.lock().unwrap() = Heads { latest: 107, safe: 105, finalized: 0 };
    until(&world, |world| world.log.lock().unwrap().contains(&"safe".to_owned())).await;
    assert!(running.outcomes.recv().await.unwrap().succeeded);
    running.stop.cancel();
    running.task.await.unwrap();
}
