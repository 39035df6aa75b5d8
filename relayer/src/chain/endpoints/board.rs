//! What is known of every endpoint, and what their answers come to: shared by the calls under way.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cip22_wire::Hash;
use metrics::{counter, gauge};

use super::{EndpointSettings, Node};
use crate::chain::head_quorum::HeadQuorum;
use crate::chain::health::{EndpointState, Health};
use crate::chain::quorum::Tally;
use crate::chain::{ChainError, Heads};
use crate::clock::SharedClock;
use crate::deployment::Deployment;

pub(super) struct Shared {
    pub(super) members: Vec<Member>,
    pub(super) settings: EndpointSettings,
    pub(super) deployment: Arc<Deployment>,
    pub(super) clock: SharedClock,
    pub(super) board: Mutex<Board>,
}

pub(super) struct Member {
    pub(super) node: Arc<dyn Node>,
    pub(super) calls: AtomicUsize,
}

/// What is known of all endpoints.
pub(super) struct Board {
    pub(super) health: Vec<Health>,
    /// The state that log and metrics were told.
    pub(super) shown: Vec<EndpointState>,
    pub(super) heads: HeadQuorum,
    pub(super) chain_ids: Vec<Option<u64>>,
    pub(super) genesis: Vec<Option<Hash>>,
    /// Facts on which endpoints contradict each other now.
    pub(super) disputed: BTreeSet<&'static str>,
}

/// Who an endpoint is, told at one moment.
pub(super) struct Identity {
    pub(super) chain_id: u64,
    pub(super) genesis: Option<Hash>,
    pub(super) is_syncing: bool,
}

impl Shared {
    pub(super) fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn name(&self, at: usize) -> &str {
        self.members.get(at).map_or("?", |member| member.node.name())
    }

    pub(super) fn has_room(&self, at: usize) -> bool {
        self.members
            .get(at)
            .is_some_and(|member| member.calls.load(Ordering::Relaxed) < CALLS_PER_ENDPOINT_MAX)
    }

    /// Endpoints that match, of those with room for another call.
    pub(super) fn endpoints(&self, matches: impl Fn(&Board, usize, &Health) -> bool) -> Vec<usize> {
        let board = self.board();
        let all = board.health.iter().enumerate();
        all.filter(|(at, health)| self.has_room(*at) && matches(&board, *at, health))
            .map(|(at, _)| at)
            .collect()
    }

    /// Endpoints whose word counts on a fact of block `block`.
    pub(super) fn believed(&self, block: u64) -> Vec<usize> {
        let now_ms = self.clock.monotonic_ms();
        self.endpoints(|board, at, health| {
            health.is_believed(board.reference(), now_ms)
                && board.heads.claimed(at).is_some_and(|heads| heads.latest >= block)
        })
    }

    /// A call came to an end.
    pub(super) fn note(&self, at: usize, fact: &'static str, error: Option<&ChainError>, started_ms: u64) {
        if let Some(member) = self.members.get(at) {
            member.calls.fetch_sub(1, Ordering::Relaxed);
        }
        let now_ms = self.clock.monotonic_ms();
        let mut board = self.board();
        let Some(health) = board.health.get_mut(at) else { return };
        match error {
            Some(error) if !error.is_refusal() => health.failed(fact, described(error), now_ms),
            refusal => {
                health.answered(fact, now_ms.saturating_sub(started_ms));
                if fact == SEND && refusal.is_some() {
                    health.refused_a_send();
                }
            }
        }
        self.show(&mut board, now_ms);
    }

    /// An endpoint told its heads, and who it is if that was asked.
    pub(super) fn take_in(&self, at: usize, heads: Heads, identity: Option<Identity>) {
        let now_ms = self.clock.monotonic_ms();
        let mut board = self.board();
        if let Some(Identity { chain_id, genesis, is_syncing }) = identity {
            let right = board.is_right_chain(at, chain_id == self.deployment.chain_id, genesis);
            if let Some(told) = board.chain_ids.get_mut(at) {
                *told = Some(chain_id);
            }
            if let Some(health) = board.health.get_mut(at) {
                health.identified(right, is_syncing, now_ms);
            }
        }
        if board.health.get(at).is_none_or(Health::is_wrong_chain) {
            return;
        }
        for tag in board.heads.claim(at, heads) {
            let (endpoint, tag) = (self.name(at).to_owned(), tag.name());
            tracing::warn!(endpoint, tag, ?heads, "endpoint takes back a head");
            counter!("endpoint_heads_taken_back_total", "endpoint" => endpoint, "tag" => tag).increment(1);
        }
        if let Some(health) = board.health.get_mut(at) {
            health.told_heads(&heads, now_ms);
        }
    }

    /// Tells log and metrics what changed.
    pub(super) fn show(&self, board: &mut Board, now_ms: u64) {
        let reference = board.reference();
        for (at, health) in board.health.iter().enumerate() {
            let (state, name) = (health.state(reference, now_ms), self.name(at));
            let endpoint = || name.to_owned();
            if let Some(heads) = board.heads.claimed(at) {
                gauge!("endpoint_latest_block", "endpoint" => endpoint()).set(heads.latest as f64);
                let lag = reference.saturating_sub(heads.latest);
                gauge!("endpoint_lag_blocks", "endpoint" => endpoint()).set(lag as f64);
            }
            for other in EndpointState::ALL {
                gauge!("endpoint_state", "endpoint" => endpoint(), "state" => other.name())
                    .set(f64::from(u8::from(other == state)));
            }
            let Some(shown) = board.shown.get_mut(at) else { continue };
            let before = std::mem::replace(shown, state);
            if before == state {
                continue;
            }
            let (before, error) = (before.name(), health.last_error());
            match state {
                EndpointState::Healthy => tracing::info!(endpoint = name, before, "endpoint is healthy"),
                EndpointState::Failing => {
                    tracing::warn!(endpoint = name, before, error, "endpoint fails");
                }
                _ => {
                    tracing::warn!(endpoint = name, before, state = state.name(), "endpoint is not believed");
                }
            }
        }
    }

    pub(super) fn agreed<T: PartialEq>(&self, fact: &'static str, tally: &Tally<T>, value: &T) {
        for (at, _) in tally.values().filter(|(_, told)| *told != value) {
            let endpoint = self.name(at).to_owned();
            counter!("endpoint_outvoted_total", "endpoint" => endpoint, "fact" => fact).increment(1);
        }
        if self.board().disputed.remove(fact) {
            tracing::info!(fact, "endpoints agree again");
        }
    }

    pub(super) fn disputed<T>(&self, fact: &'static str, block: u64, tally: &Tally<T>) -> ChainError {
        counter!("endpoint_disagreements_total", "fact" => fact).increment(1);
        let endpoints: Vec<String> = tally.values().map(|(at, _)| self.name(at).to_owned()).collect();
        if self.board().disputed.insert(fact) {
            tracing::error!(
                fact,
                block,
                ?endpoints,
                "endpoints disagree; nothing is concluded until they agree"
            );
        }
        ChainError::Disagreement { fact: format!("{fact} up to block {block}"), endpoints }
    }

    pub(super) fn no_quorum(&self, fact: &'static str, block: u64, answered: usize) -> ChainError {
        let now_ms = self.clock.monotonic_ms();
        let board = self.board();
        let reference = board.reference();
        let one = |(at, health): (usize, &Health)| {
            let error = health.last_error().filter(|_| health.failures(now_ms) > 0);
            let error = error.map(|error| format!(": {error}")).unwrap_or_default();
            format!("{} is {}{error}", self.name(at), health.state(reference, now_ms).name())
        };
        let states: Vec<String> = board.health.iter().enumerate().map(one).collect();
        ChainError::NoQuorum {
            fact: format!("{fact} up to block {block}"),
            needed: self.settings.quorum,
            answered,
            states: states.join("; "),
        }
    }
}

impl Board {
    pub(super) fn reference(&self) -> u64 {
        self.heads.reference(|at| self.health.get(at).is_some_and(|health| !health.is_wrong_chain()))
    }

    /// Whether an endpoint with the right or wrong chain id and this genesis serves the chain of the others.
    pub(super) fn is_right_chain(&mut self, at: usize, is_right_id: bool, genesis: Option<Hash>) -> bool {
        if let Some(told) = self.genesis.get_mut(at) {
            *told = genesis.filter(|_| is_right_id);
        }
        let agreed = agreed_genesis(&self.genesis, self.heads.quorum());
        is_right_id && (agreed.is_none() || genesis.is_none() || agreed == genesis)
    }

    /// The heads by the endpoints that are believed, once `quorum` of the `fresh` ones are.
    pub(super) fn agree(&mut self, fresh: &BTreeSet<usize>, quorum: usize, now_ms: u64) -> Option<Heads> {
        let reference = self.reference();
        let health = &self.health;
        let believed = |at: usize| health.get(at).is_some_and(|health| health.is_believed(reference, now_ms));
        if fresh.iter().filter(|at| believed(**at)).count() < quorum {
            return None;
        }
        self.heads.agree(believed)
    }
}

/// The genesis that the most endpoints have, if they are a quorum and no other has as many.
fn agreed_genesis(told: &[Option<Hash>], quorum: usize) -> Option<Hash> {
    let votes = |hash: &Hash| told.iter().flatten().filter(|other| *other == hash).count();
    let best = told.iter().flatten().max_by_key(|hash| votes(hash))?;
    let rivalled = told.iter().flatten().any(|other| other != best && votes(other) == votes(best));
    (votes(best) >= quorum && !rivalled).then_some(*best)
}

/// An error with its causes.
fn described(error: &ChainError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

/// What sending is called among the facts.
pub(super) const SEND: &str = "send";

/// Most calls under way at one endpoint: past them it is left out until it answers.
pub(super) const CALLS_PER_ENDPOINT_MAX: usize = 64;
