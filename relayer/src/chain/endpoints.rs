//! Several endpoints of one network as one [`Chain`].
//!
//! | what | who is asked | what counts |
//! |---|---|---|
//! | heads | everyone whose pause is over | the q-th highest of those that are healthy ([`head_quorum`](super::head_quorum)) |
//! | block hashes, events, receipts, nonces, balances, base fees, code, calls | the healthy ones that are as far as the block | q equal answers |
//! | estimates | the healthy ones | q that are close |
//! | sends | everyone but those of another chain | one that takes the bytes, or knows them |
//!
//! Nonces, balances and base fees are those at the newest agreed block, so that endpoints a block apart do not contradict each other.
//! Nobody waits for an endpoint that is not needed: its answer is taken in when it comes, for its health. Where no quorum can be asked,
//! a call fails at once.

mod board;

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cip22_wire::{Address, Hash};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use self::board::{Board, Identity, Member, SEND, Shared};
use super::espace::EspaceChain;
use super::head_quorum::HeadQuorum;
use super::health::{EndpointState, Health, HealthLimits};
use super::quorum::{Tally, Verdict};
use super::{Chain, ChainError, DeviceEvent, HeadEvent, Heads, LedgerEvent, Receipt, RootEvent};
use crate::clock::SharedClock;
use crate::config::ChainConfig;
use crate::deployment::Deployment;
use crate::view::Policy;

/// Time for one JSON-RPC call, ms.
const RPC_TIMEOUT_MS: u64 = 10_000;

/// One endpoint's own calls, beside those of [`Chain`].
#[async_trait]
pub trait Node: Chain {
    /// What it is called in metrics, status and errors; without credentials.
    fn name(&self) -> &str;
    /// Whether the node says that it is catching up: it takes no transactions then, and its state is old.
    async fn is_syncing(&self) -> Result<bool, ChainError>;
    /// Whether its blocks are those of eSpace.
    async fn is_espace(&self) -> Result<bool, ChainError>;
    /// Nonce of an account after block `block`.
    async fn nonce_at(&self, account: Address, block: u64) -> Result<u64, ChainError>;
    /// Balance of an account after block `block`, drip.
    async fn balance_at(&self, account: Address, block: u64) -> Result<u128, ChainError>;
    /// Base fee of block `block`, drip per gas.
    async fn base_fee_at(&self, block: u64) -> Result<u128, ChainError>;
}

/// How endpoints are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointSettings {
    /// Endpoints that have to agree on a fact.
    pub quorum: usize,
    /// When a head is too old.
    pub limits: HealthLimits,
}

/// The endpoints of one network.
#[derive(Clone)]
pub struct Endpoints(Arc<Shared>);

impl Endpoints {
    /// Nothing is asked yet. `nodes` have different names.
    pub fn new(
        nodes: Vec<Arc<dyn Node>>,
        settings: EndpointSettings,
        deployment: Arc<Deployment>,
        clock: SharedClock,
    ) -> Self {
        let count = nodes.len();
        let board = Board {
            health: (0..count).map(|_| Health::new(settings.limits)).collect(),
            shown: vec![EndpointState::Connecting; count],
            heads: HeadQuorum::new(settings.quorum, count),
            chain_ids: vec![None; count],
            genesis: vec![None; count],
            disputed: BTreeSet::new(),
        };
        let members = nodes.into_iter().map(|node| Member { node, calls: AtomicUsize::new(0) }).collect();
        Self(Arc::new(Shared { members, settings, deployment, clock, board: Mutex::new(board) }))
    }

    /// The configured endpoints. Nothing is asked yet.
    pub fn from_config(
        config: &ChainConfig,
        deployment: &Arc<Deployment>,
        clock: &SharedClock,
    ) -> Result<Self, ChainError> {
        let timeout = Duration::from_millis(RPC_TIMEOUT_MS);
        let mut nodes: Vec<Arc<dyn Node>> = Vec::with_capacity(config.endpoints.len());
        for url in &config.endpoints {
            let node = EspaceChain::new(url.expose(), timeout, deployment.clone(), clock.clone())?;
            let name = unique(node.endpoint(), &nodes);
            nodes.push(Arc::new(node.named(name)));
        }
        let limits = HealthLimits {
            lag_blocks_max: config.endpoint_lag_blocks_max,
            stale_ms: config.endpoint_stale_ms,
        };
        let settings = EndpointSettings { quorum: config.quorum.of(nodes.len()), limits };
        Ok(Self::new(nodes, settings, deployment.clone(), clock.clone()))
    }

    /// An endpoint of another chain, with its chain id, if so many are that the others make no quorum.
    pub fn wrong_chain(&self) -> Option<(String, u64)> {
        let board = self.0.board();
        let expected = self.0.deployment.chain_id;
        let known = board.chain_ids.iter().enumerate().filter_map(|(at, chain_id)| Some((at, (*chain_id)?)));
        let wrong: Vec<(usize, u64)> = known.filter(|(_, chain_id)| *chain_id != expected).collect();
        let &(at, found) = wrong.first()?;
        let reachable = self.0.members.len() - wrong.len() >= self.0.settings.quorum;
        (!reachable).then(|| (self.0.name(at).to_owned(), found))
    }

    /// Each endpoint with its state, for people and programs.
    pub fn report(&self) -> Value {
        let now_ms = self.0.clock.monotonic_ms();
        let board = self.0.board();
        let reference = board.reference();
        let one = |(at, health): (usize, &Health)| {
            let heads = board.heads.claimed(at);
            json!({
                "endpoint": self.0.name(at),
                "state": health.state(reference, now_ms).name(),
                "latest": heads.map(|heads| heads.latest),
                "safe": heads.map(|heads| heads.safe),
                "finalized": heads.map(|heads| heads.finalized),
                "lag_blocks": heads.map(|heads| reference.saturating_sub(heads.latest)),
                "latency_ms": health.latency_ms(),
                "failures": health.failures(now_ms),
                "retry_in_ms": health.retry_in_ms(now_ms),
                "last_error": health.last_error(),
            })
        };
        Value::Array(board.health.iter().enumerate().map(one).collect())
    }

    /// Asks these endpoints side by side. Answers of those that nobody waits for any more are still taken in.
    fn ask<T, F>(
        &self,
        fact: &'static str,
        endpoints: &[usize],
        call: impl Fn(usize, Arc<dyn Node>) -> F,
    ) -> mpsc::Receiver<(usize, Result<T, ChainError>)>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ChainError>> + Send + 'static,
    {
        let (answers, answers_in) = mpsc::channel(endpoints.len().max(1));
        for &at in endpoints {
            let Some(member) = self.0.members.get(at) else { continue };
            let (shared, answers) = (self.0.clone(), answers.clone());
            let asked = call(at, member.node.clone());
            member.calls.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let started_ms = shared.clock.monotonic_ms();
                let answer = asked.await;
                shared.note(at, fact, answer.as_ref().err(), started_ms);
                // The one who asked may have had enough.
                let _ = answers.send((at, answer)).await;
            });
        }
        answers_in
    }

    /// Asks those that are healthy and as far as `block`, until `judge` has a verdict.
    async fn settled<T, F>(
        &self,
        fact: &'static str,
        block: u64,
        call: impl Fn(Arc<dyn Node>) -> F,
        judge: impl Fn(&Tally<T>) -> Verdict<T>,
    ) -> Result<T, ChainError>
    where
        T: PartialEq + Send + 'static,
        F: Future<Output = Result<T, ChainError>> + Send + 'static,
    {
        let quorum = self.0.settings.quorum;
        let asked = self.0.believed(block);
        let mut tally = Tally::new(quorum, asked.len());
        if asked.len() < quorum {
            return Err(self.0.no_quorum(fact, block, 0));
        }
        let mut answers = self.ask(fact, &asked, |_, node| call(node));
        loop {
            match judge(&tally) {
                Verdict::Open => {}
                Verdict::Agreed(value) => {
                    self.0.agreed(fact, &tally, &value);
                    return Ok(value);
                }
                Verdict::Refused(at) => {
                    return Err(tally.into_error(at).unwrap_or_else(|| self.0.no_quorum(fact, block, 0)));
                }
                Verdict::Disputed => return Err(self.0.disputed(fact, block, &tally)),
                Verdict::TooFew => {
                    let answered = tally.values().count();
                    let alone = self.0.members.len() == 1;
                    let failure = tally.into_failure().filter(|_| alone);
                    return Err(failure.unwrap_or_else(|| self.0.no_quorum(fact, block, answered)));
                }
            }
            match answers.recv().await {
                Some((at, answer)) => tally.add(at, answer),
                None => return Err(self.0.no_quorum(fact, block, tally.values().count())),
            }
        }
    }

    async fn equal<T, F>(
        &self,
        fact: &'static str,
        block: u64,
        call: impl Fn(Arc<dyn Node>) -> F,
    ) -> Result<T, ChainError>
    where
        T: Clone + PartialEq + Send + 'static,
        F: Future<Output = Result<T, ChainError>> + Send + 'static,
    {
        self.settled(fact, block, call, |tally| tally.equal(T::eq)).await
    }

    /// The newest agreed block.
    async fn newest(&self) -> Result<u64, ChainError> {
        let latest = self.0.board().heads.held().latest;
        if latest > 0 { Ok(latest) } else { Ok(self.heads().await?.latest) }
    }
}

#[async_trait]
impl Chain for Endpoints {
    async fn chain_id(&self) -> Result<u64, ChainError> {
        self.heads().await?;
        Ok(self.0.deployment.chain_id)
    }

    async fn heads(&self) -> Result<Heads, ChainError> {
        let now_ms = self.0.clock.monotonic_ms();
        let due = self.0.endpoints(|_, _, health| {
            health.is_due(now_ms) && (!health.is_wrong_chain() || health.is_identity_due(now_ms))
        });
        let mut answers = self.ask("heads", &due, |at, node| {
            let shared = self.0.clone();
            let identity_due = shared.board().health.get(at).is_some_and(|one| one.is_identity_due(now_ms));
            async move {
                let identity =
                    async { if identity_due { Some(identify(&*node).await).transpose() } else { Ok(None) } };
                let (heads, identity) = tokio::try_join!(node.heads(), identity)?;
                shared.take_in(at, heads, identity);
                Ok(())
            }
        });
        let mut fresh = BTreeSet::new();
        let mut failure = None;
        while let Some((at, answer)) = answers.recv().await {
            match answer {
                Ok(()) => {
                    fresh.insert(at);
                }
                Err(error) => failure = Some(error),
            }
            let now_ms = self.0.clock.monotonic_ms();
            let agreed = self.0.board().agree(&fresh, self.0.settings.quorum, now_ms);
            if let Some(heads) = agreed {
                return Ok(heads);
            }
        }
        let alone = self.0.members.len() == 1;
        let block = self.0.board().heads.held().latest;
        Err(failure.filter(|_| alone).unwrap_or_else(|| self.0.no_quorum("heads", block, fresh.len())))
    }

    async fn block_hash(&self, number: u64) -> Result<Option<Hash>, ChainError> {
        self.equal("block_hash", number, move |node| async move { node.block_hash(number).await }).await
    }

    async fn policies(&self, from: u64, to: u64) -> Result<Vec<Policy>, ChainError> {
        self.equal("policies", to, move |node| async move { node.policies(from, to).await }).await
    }

    async fn device_events(&self, from: u64, to: u64) -> Result<Vec<DeviceEvent>, ChainError> {
        self.equal("device_events", to, move |node| async move { node.device_events(from, to).await }).await
    }

    async fn head_events(&self, from: u64, to: u64) -> Result<Vec<HeadEvent>, ChainError> {
        self.equal("head_events", to, move |node| async move { node.head_events(from, to).await }).await
    }

    async fn root_events(&self, from: u64, to: u64) -> Result<Vec<RootEvent>, ChainError> {
        self.equal("root_events", to, move |node| async move { node.root_events(from, to).await }).await
    }

    async fn ledger_events(&self, from: u64, to: u64) -> Result<Vec<LedgerEvent>, ChainError> {
        self.equal("ledger_events", to, move |node| async move { node.ledger_events(from, to).await }).await
    }

    async fn nonce(&self, account: Address) -> Result<u64, ChainError> {
        let block = self.newest().await?;
        self.equal("nonce", block, move |node| async move { node.nonce_at(account, block).await }).await
    }

    async fn balance(&self, account: Address) -> Result<u128, ChainError> {
        let block = self.newest().await?;
        self.equal("balance", block, move |node| async move { node.balance_at(account, block).await }).await
    }

    async fn base_fee(&self) -> Result<u128, ChainError> {
        let block = self.newest().await?;
        self.equal("base_fee", block, move |node| async move { node.base_fee_at(block).await }).await
    }

    async fn estimate_gas(&self, from: Address, to: Address, calldata: &[u8]) -> Result<u64, ChainError> {
        let (block, calldata) = (self.newest().await?, Arc::<[u8]>::from(calldata));
        let call = move |node: Arc<dyn Node>| {
            let calldata = calldata.clone();
            async move { node.estimate_gas(from, to, &calldata).await }
        };
        self.settled("estimate", block, call, Tally::estimate).await
    }

    async fn send_raw(&self, raw: &[u8]) -> Result<(), ChainError> {
        let everyone = self.0.endpoints(|_, _, health| !health.is_wrong_chain());
        let raw = Arc::<[u8]>::from(raw);
        let mut answers = self.ask(SEND, &everyone, |_, node| {
            let raw = raw.clone();
            async move { node.send_raw(&raw).await }
        });
        let mut worst: Option<ChainError> = None;
        while let Some((_, answer)) = answers.recv().await {
            match answer {
                Ok(()) => return Ok(()),
                // What a node says about the bytes tells more than that another did not answer.
                Err(error) if worst.is_none() || error.is_refusal() => worst = Some(error),
                Err(_) => {}
            }
        }
        Err(worst.unwrap_or_else(|| self.0.no_quorum(SEND, 0, 0)))
    }

    async fn receipt(&self, transaction: Hash) -> Result<Option<Receipt>, ChainError> {
        let block = self.newest().await?;
        let call = move |node: Arc<dyn Node>| async move { node.receipt(transaction).await };
        self.settled("receipt", block, call, Tally::receipt).await
    }

    async fn has_code(&self, address: Address) -> Result<bool, ChainError> {
        let block = self.newest().await?;
        self.equal("code", block, move |node| async move { node.has_code(address).await }).await
    }

    async fn eth_call(&self, to: Address, calldata: &[u8]) -> Result<Vec<u8>, ChainError> {
        let (block, calldata) = (self.newest().await?, Arc::<[u8]>::from(calldata));
        let call = move |node: Arc<dyn Node>| {
            let calldata = calldata.clone();
            async move { node.eth_call(to, &calldata).await }
        };
        self.equal("call", block, call).await
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.members.iter().map(|member| member.node.name()).collect();
        f.debug_struct("Endpoints").field("members", &names).field("settings", &self.0.settings).finish()
    }
}

async fn identify(node: &dyn Node) -> Result<Identity, ChainError> {
    let genesis = async { unless_refused(node.block_hash(0).await, None) };
    let is_syncing = async { unless_refused(node.is_syncing().await, false) };
    let (chain_id, genesis, is_syncing) = tokio::try_join!(node.chain_id(), genesis, is_syncing)?;
    Ok(Identity { chain_id, genesis, is_syncing })
}

/// An endpoint that does not serve a method is taken at its word for the rest.
fn unless_refused<T>(answer: Result<T, ChainError>, otherwise: T) -> Result<T, ChainError> {
    match answer {
        Err(error) if error.is_refusal() => Ok(otherwise),
        answer => answer,
    }
}

/// Two keys at one provider have one host.
fn unique(host: &str, others: &[Arc<dyn Node>]) -> String {
    let taken = |name: &str| others.iter().any(|other| other.name() == name);
    let numbered = (2..).map(|number| format!("{host} #{number}"));
    std::iter::once(host.to_owned()).chain(numbered).find(|name| !taken(name)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
