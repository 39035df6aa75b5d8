//! Follows the chain: heads, epochs, policies, devices and what was recorded, published to the rest of the relayer.
//!
//! Everything counts from `safe`, but for revocations: those are obeyed from `latest` on, and once seen they stay obeyed. A
//! reorganisation below `safe` shows in the hashes of blocks that were read: what came from them is taken back, and the new blocks
//! are read from where the chain forked.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use cip22_wire::{DeviceId, Hash, digest};
use metrics::{counter, gauge};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::chain::{ChainError, DeviceEvent, HeadEvent, Heads, LedgerEvent, RootEvent, SharedChain};
use crate::clock::SharedClock;
use crate::deployment::Deployment;
use crate::directory::{Device, Directory, Enrolment, Place};
use crate::error::with_causes;
use crate::policy::anchors::{Anchors, Standing};
use crate::view::{ChainTrouble, ChainView, Epoch, Policy};

/// What the chain shows under `safe`, in the order of its blocks; each event once per run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainFact {
    /// A head was recorded or extended.
    Head(HeadEvent),
    /// A root was recorded.
    Root(RootEvent),
    /// A battery's ledger head moved.
    Ledger(LedgerEvent),
    /// Every event up to this block, inclusive, has been given; it has this hash.
    ScannedTo(u64, Hash),
    /// The chain has other blocks from this one on: what was given from there is void, and comes again as it is now.
    Reorganised(u64),
}

/// Blocks of events taken in before their end is reported.
const FACT_RANGE_BLOCKS: u64 = 1_000;

/// Epochs whose challenge is known before the first view is published.
const EPOCHS_AT_START: usize = 4;

/// Further epochs of the window whose challenge is fetched at each look.
const EPOCHS_PER_LOOK: usize = 8;

/// Longest pause between looks at an endpoint that fails.
const BACKOFF_MAX_MS: u64 = 30_000;

/// The watcher of one network.
#[derive(Debug)]
pub struct ChainWatcher {
    chain: SharedChain,
    deployment: Arc<Deployment>,
    clock: SharedClock,
    poll_interval_ms: u64,
}

impl ChainWatcher {
    /// A watcher that looks every `poll_interval_ms`.
    pub fn new(
        chain: SharedChain,
        deployment: Arc<Deployment>,
        clock: SharedClock,
        poll_interval_ms: u64,
    ) -> Self {
        Self { chain, deployment, clock, poll_interval_ms }
    }

    /// Follows the chain until told to stop, or until nobody takes the facts any more. Facts begin with block `from_block`; `anchors`
    /// tell the blocks that were read before.
    ///
    /// While the endpoint fails, the published view keeps its last values; `advanced_at_ms` tells how old they are.
    pub async fn run(
        self,
        view: watch::Sender<ChainView>,
        directory: Arc<ArcSwap<Directory>>,
        facts: mpsc::Sender<ChainFact>,
        from_block: u64,
        anchors: Anchors,
        shutdown: CancellationToken,
    ) {
        let clock = self.clock.clone();
        let poll_interval_ms = self.poll_interval_ms;
        let mut follower = Follower::new(self, view, directory, facts, from_block, anchors);
        let mut failures: u32 = 0;
        loop {
            let looked = tokio::select! {
                () = shutdown.cancelled() => return,
                looked = follower.look() => looked,
            };
            match looked {
                Ok(Flow::Continue) => {
                    if failures > 0 {
                        tracing::info!(failures, "chain endpoint answers again");
                    }
                    failures = 0;
                    follower.answered();
                }
                Ok(Flow::Stop) => return,
                Err(error) => {
                    if failures == 0 {
                        tracing::warn!(error = &error as &dyn std::error::Error, "chain endpoint fails");
                    }
                    failures = failures.saturating_add(1);
                    counter!("chain_watch_failures_total").increment(1);
                    follower.failed(&error, pause_ms(failures, poll_interval_ms));
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = clock.sleep(Duration::from_millis(pause_ms(failures, poll_interval_ms))) => {}
            }
        }
    }
}

fn pause_ms(failures: u32, poll_interval_ms: u64) -> u64 {
    poll_interval_ms.saturating_mul(1 << failures.min(10)).min(BACKOFF_MAX_MS).max(poll_interval_ms)
}

/// Whether anybody still listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Continue,
    Stop,
}

struct Follower {
    watcher: ChainWatcher,
    view: watch::Sender<ChainView>,
    directory: Arc<ArcSwap<Directory>>,
    facts: mpsc::Sender<ChainFact>,
    /// Next block whose policies and placements are not taken in.
    next_registry_block: u64,
    /// Next block whose facts are not given.
    next_fact_block: u64,
    /// Blocks whose facts were given.
    anchors: Anchors,
    /// Policies and placements are to be read anew, from the first block on.
    reread: bool,
    /// Reorganisations that took policies back.
    policy_rollbacks: u64,
    policies: BTreeMap<u32, Arc<Policy>>,
    challenges: BTreeMap<u32, Hash>,
    revoked: HashSet<DeviceId>,
    latest: u64,
    safe: u64,
    finalized: u64,
    /// `finalized` as last told.
    finalized_told: u64,
    advanced_at_ms: u64,
    trouble: Option<ChainTrouble>,
}

impl Follower {
    fn new(
        watcher: ChainWatcher,
        view: watch::Sender<ChainView>,
        directory: Arc<ArcSwap<Directory>>,
        facts: mpsc::Sender<ChainFact>,
        from_block: u64,
        anchors: Anchors,
    ) -> Self {
        let start = watcher.deployment.start_block;
        Self {
            watcher,
            view,
            directory,
            facts,
            next_registry_block: start,
            next_fact_block: from_block.max(start),
            anchors,
            reread: false,
            policy_rollbacks: 0,
            policies: BTreeMap::new(),
            challenges: BTreeMap::new(),
            revoked: HashSet::new(),
            latest: 0,
            safe: 0,
            finalized: 0,
            finalized_told: 0,
            advanced_at_ms: 0,
            trouble: None,
        }
    }

    /// Publishes that a look failed; everything else keeps its last values.
    fn failed(&mut self, error: &ChainError, pause_ms: u64) {
        let now_ms = self.watcher.clock.monotonic_ms();
        let trouble = ChainTrouble {
            error: with_causes(error),
            since_ms: self.trouble.as_ref().map_or(now_ms, |trouble| trouble.since_ms),
            next_look_at_ms: now_ms.saturating_add(pause_ms),
        };
        self.tell_trouble(Some(trouble));
    }

    /// Publishes that a look was whole.
    fn answered(&mut self) {
        if self.trouble.is_some() {
            self.tell_trouble(None);
        }
    }

    fn tell_trouble(&mut self, trouble: Option<ChainTrouble>) {
        self.trouble = trouble.clone();
        self.view.send_if_modified(|view| {
            view.trouble = trouble;
            // Only operators ask for it; sessions have nothing to do about it.
            false
        });
    }

    /// One look at the chain. What succeeded before an error is kept and not asked again.
    async fn look(&mut self) -> Result<Flow, ChainError> {
        let chain = Arc::clone(&self.watcher.chain);
        let heads = chain.heads().await?;
        if heads.latest < heads.safe {
            // A node that has just started says so until it has executed a block.
            return Ok(Flow::Continue);
        }
        match self.anchors.look(&*chain).await? {
            Standing::Canonical => {}
            // Until it is known which chain this is, nothing of it is taken in; what is known stays published.
            Standing::Behind | Standing::Suspected => return Ok(Flow::Continue),
            Standing::ForkedAfter(ancestor) => {
                if self.reorganised(ancestor, &heads).await == Flow::Stop {
                    return Ok(Flow::Stop);
                }
            }
        }
        let moved = heads.latest != self.latest;
        // An endpoint that fell behind, or a young chain's zero, takes nothing back.
        self.safe = self.safe.max(heads.safe);
        self.watch_finalized(heads.finalized);
        let pin = self.pin(self.safe).await?;
        self.revocations(heads.latest).await?;
        self.registry().await?;
        self.newest_challenges(heads.latest).await?;
        if self.pin(self.safe).await? != pin {
            // Reorganised in between: what was read may be of two chains.
            self.forget_from(self.anchors.newest().map_or(0, |(block, _)| block + 1));
            return Ok(Flow::Continue);
        }
        self.latest = heads.latest;
        if moved || self.advanced_at_ms == 0 {
            self.advanced_at_ms = self.watcher.clock.monotonic_ms().max(1);
        }
        self.publish();
        let flow = self.give_facts().await?;
        if self.fill_window(EPOCHS_PER_LOOK).await? {
            self.publish();
        }
        Ok(flow)
    }

    /// The hash of a block that `safe` covers; without a call where it is the newest anchor, which the look began with.
    async fn pin(&self, block: u64) -> Result<Option<Hash>, ChainError> {
        match self.anchors.newest() {
            Some((newest, hash)) if newest == block => Ok(Some(hash)),
            _ => self.watcher.chain.block_hash(block).await,
        }
    }

    /// Takes back what came from blocks that the chain has left.
    async fn reorganised(&mut self, ancestor: Option<u64>, heads: &Heads) -> Flow {
        let from_block = ancestor.map_or(self.watcher.deployment.start_block, |block| block + 1);
        let depth = self.next_fact_block.saturating_sub(from_block);
        tracing::warn!(from_block, depth, "the chain was reorganised below `safe`");
        counter!("reorganisations_total").increment(1);
        gauge!("reorganisation_depth_blocks").set(depth as f64);
        if from_block <= self.finalized {
            counter!("reorganisations_below_finalized_total").increment(1);
            tracing::error!(
                from_block,
                finalized = self.finalized,
                "blocks that were final have left the chain"
            );
        }
        self.forget_from(from_block);
        self.anchors.cut(from_block);
        self.next_fact_block = from_block;
        self.safe = heads.safe.max(from_block.saturating_sub(1));
        match self.facts.send(ChainFact::Reorganised(from_block)).await {
            Ok(()) => Flow::Continue,
            Err(_) => Flow::Stop,
        }
    }

    /// Forgets challenges, policies and placements of blocks from this one on; they are read anew. Revocations stay obeyed.
    fn forget_from(&mut self, from_block: u64) {
        let deployment = &self.watcher.deployment;
        self.challenges.retain(|epoch, _| deployment.challenge_block(*epoch) < from_block);
        if self.next_registry_block > from_block {
            self.reread = true;
            self.next_registry_block = from_block;
        }
    }

    /// `finalized` never takes back what was final.
    fn watch_finalized(&mut self, told: u64) {
        if told < self.finalized_told {
            counter!("finalized_regressions_total").increment(1);
            tracing::error!(told, before = self.finalized_told, "the endpoint takes `finalized` back");
        }
        self.finalized_told = told;
        self.finalized = self.finalized.max(told);
    }

    /// Revocations above `safe`: read anew at each look, since a reorganisation may move them into an earlier block.
    async fn revocations(&mut self, latest: u64) -> Result<(), ChainError> {
        let from = self.next_registry_block.max(self.safe + 1);
        if from > latest {
            return Ok(());
        }
        let events = self.watcher.chain.device_events(from, latest).await?;
        let revoked: Vec<DeviceEvent> =
            events.into_iter().filter(|event| matches!(event, DeviceEvent::Revoked { .. })).collect();
        let reread = std::mem::take(&mut self.reread);
        self.apply_devices(&revoked);
        self.reread = reread;
        Ok(())
    }

    /// Policies and devices up to `safe`.
    async fn registry(&mut self) -> Result<(), ChainError> {
        let start = if self.reread { self.watcher.deployment.start_block } else { self.next_registry_block };
        if start > self.safe {
            return Ok(());
        }
        let (from, to) = (start, self.safe);
        let policies = self.watcher.chain.policies(from, to).await?;
        let devices = self.watcher.chain.device_events(from, to).await?;
        for policy in &policies {
            let hash = digest::policy_hash(policy.version, policy.first_epoch, &policy.tariff);
            if hash != policy.policy_hash {
                let what = format!("policy {} does not hash to what its event says", policy.version);
                return Err(ChainError::Malformed { method: "eth_getLogs", what });
            }
        }
        let before = if self.reread { std::mem::take(&mut self.policies) } else { BTreeMap::new() };
        for policy in policies {
            if !before.contains_key(&policy.version) {
                tracing::info!(
                    version = policy.version,
                    first_epoch = policy.first_epoch,
                    "policy scheduled"
                );
            }
            self.policies.insert(policy.version, Arc::new(policy));
        }
        if before.iter().any(|(version, policy)| self.policies.get(version) != Some(policy)) {
            self.policy_rollbacks += 1;
            counter!("policy_rollbacks_total").increment(1);
            tracing::warn!("a policy was reorganised away");
        }
        self.apply_devices(&devices);
        self.reread = false;
        self.next_registry_block = to + 1;
        Ok(())
    }

    fn apply_devices(&mut self, events: &[DeviceEvent]) {
        let news = events.iter().any(|event| match event {
            DeviceEvent::Revoked { device_id } => !self.revoked.contains(device_id),
            DeviceEvent::Placed { .. } | DeviceEvent::Enrolled { .. } => true,
        });
        if !news && !self.reread {
            return;
        }
        let mut directory =
            if self.reread { Directory::default() } else { Directory::clone(&self.directory.load()) };
        for event in events {
            match *event {
                DeviceEvent::Enrolled { device_id, group, index, ref key, active_from } => {
                    let Some(device) = directory.devices.get_mut(&device_id) else { continue };
                    device.enrolments.retain(|known| (known.group, known.index) != (group, index));
                    let key = Arc::new(**key);
                    device.enrolments.push(Enrolment { group, index, key, active_from });
                }
                DeviceEvent::Placed { device_id, group, index, key, active_from } => {
                    let revoked = self.revoked.contains(&device_id);
                    let device = directory
                        .devices
                        .entry(device_id)
                        .or_insert_with(|| Device { revoked, ..Device::default() });
                    let place = Place { group, index, key, active_from, active_until: u32::MAX };
                    place_device(device, place);
                }
                DeviceEvent::Revoked { device_id } => {
                    self.revoked.insert(device_id);
                    if let Some(device) = directory.devices.get_mut(&device_id) {
                        device.revoked = true;
                    }
                    tracing::warn!(device = %hex::encode(device_id), "device revoked");
                }
            }
        }
        let enrolled = directory.devices.values().filter(|device| !device.enrolments.is_empty()).count();
        gauge!("directory_devices").set(directory.devices.len() as f64);
        gauge!("directory_devices_enrolled").set(enrolled as f64);
        self.directory.store(Arc::new(directory));
    }

    /// Epochs of the window whose challenge block is `safe`, newest first.
    fn window(&self, latest: u64) -> impl Iterator<Item = u32> + use<> {
        let deployment = &self.watcher.deployment;
        let oldest = deployment.oldest_epoch(latest);
        (oldest..=deployment.epoch_of(self.safe)).rev()
    }

    async fn newest_challenges(&mut self, latest: u64) -> Result<(), ChainError> {
        // Block 0 is under `safe` on a chain that has no safe block yet.
        if self.safe == 0 {
            return Ok(());
        }
        let count = if self.challenges.is_empty() { EPOCHS_AT_START } else { 1 };
        for epoch in self.window(latest).take(count) {
            self.fetch_challenge(epoch).await?;
        }
        let oldest = self.watcher.deployment.oldest_epoch(latest);
        self.challenges.retain(|epoch, _| *epoch >= oldest);
        Ok(())
    }

    /// Fetches up to `count` missing challenges, newest first; whether there was one.
    async fn fill_window(&mut self, count: usize) -> Result<bool, ChainError> {
        if self.safe == 0 {
            return Ok(false);
        }
        let missing: Vec<u32> = self
            .window(self.latest)
            .filter(|epoch| !self.challenges.contains_key(epoch))
            .take(count)
            .collect();
        for epoch in &missing {
            self.fetch_challenge(*epoch).await?;
        }
        Ok(!missing.is_empty())
    }

    async fn fetch_challenge(&mut self, epoch: u32) -> Result<(), ChainError> {
        if self.challenges.contains_key(&epoch) {
            return Ok(());
        }
        let block = self.watcher.deployment.challenge_block(epoch);
        let Some(challenge) = self.watcher.chain.block_hash(block).await? else {
            let what = format!("no block {block}, though `safe` covers it");
            return Err(ChainError::Malformed { method: "eth_getBlockByNumber", what });
        };
        self.challenges.insert(epoch, challenge);
        Ok(())
    }

    fn publish(&self) {
        let mut view = ChainView {
            latest_block: self.latest,
            safe_block: self.safe,
            finalized_block: self.finalized,
            policy_rollbacks: self.policy_rollbacks,
            advanced_at_ms: self.advanced_at_ms,
            trouble: self.trouble.clone(),
            epoch: None,
            recent_epochs: Vec::with_capacity(self.challenges.len()),
            policies: self.policies.values().cloned().collect(),
        };
        for (&epoch, &challenge) in &self.challenges {
            // Before the first policy nothing can be recorded, so there is nothing to announce.
            if let Some(policy_hash) = view.policy_at(epoch).map(|policy| policy.policy_hash) {
                view.recent_epochs.push(Epoch { epoch, challenge, policy_hash });
            }
        }
        view.epoch = view.recent_epochs.last().copied();
        gauge!("chain_latest_block").set(view.latest_block as f64);
        gauge!("chain_safe_block").set(view.safe_block as f64);
        gauge!("chain_finalized_block").set(view.finalized_block as f64);
        self.view.send_if_modified(|published| {
            let changed = *published != view;
            *published = view;
            changed
        });
    }

    async fn give_facts(&mut self) -> Result<Flow, ChainError> {
        let chain = Arc::clone(&self.watcher.chain);
        while self.next_fact_block <= self.safe {
            let from = self.next_fact_block;
            let to = self.safe.min(from.saturating_add(FACT_RANGE_BLOCKS - 1));
            let Some(hash) = chain.block_hash(to).await? else {
                let what = format!("no block {to}, though `safe` covers it");
                return Err(ChainError::Malformed { method: "eth_getBlockByNumber", what });
            };
            let heads = chain.head_events(from, to).await?;
            let roots = chain.root_events(from, to).await?;
            let ledger = chain.ledger_events(from, to).await?;
            // The events are of one chain, and it goes on from the newest anchor: else the next look finds the fork.
            let follows = match self.anchors.newest() {
                Some((block, before)) => chain.block_hash(block).await? == Some(before),
                None => true,
            };
            if !follows || chain.block_hash(to).await? != Some(hash) {
                return Ok(Flow::Continue);
            }
            // Nothing is given before all of the range is known, so that an error repeats no event.
            self.next_fact_block = to + 1;
            self.anchors.push(to, hash);
            let events = in_block_order(heads, roots, ledger);
            for fact in events.into_iter().chain([ChainFact::ScannedTo(to, hash)]) {
                if self.facts.send(fact).await.is_err() {
                    return Ok(Flow::Stop);
                }
            }
        }
        Ok(Flow::Continue)
    }
}

/// Adds a place; the one before it counts up to the epoch before.
fn place_device(device: &mut Device, place: Place) {
    if device.places.iter().any(|known| (known.group, known.index) == (place.group, place.index)) {
        return;
    }
    if let Some(previous) = device.places.last_mut() {
        previous.active_until = place.active_from.saturating_sub(1);
    }
    device.places.push(place);
}

fn in_block_order(heads: Vec<HeadEvent>, roots: Vec<RootEvent>, ledger: Vec<LedgerEvent>) -> Vec<ChainFact> {
    let mut facts: Vec<(u64, ChainFact)> = heads
        .into_iter()
        .map(|event| (event.block, ChainFact::Head(event)))
        .chain(roots.into_iter().map(|event| (event.block, ChainFact::Root(event))))
        .chain(ledger.into_iter().map(|event| (event.block, ChainFact::Ledger(event))))
        .collect();
    facts.sort_by_key(|(block, _)| *block);
    facts.into_iter().map(|(_, fact)| fact).collect()
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
