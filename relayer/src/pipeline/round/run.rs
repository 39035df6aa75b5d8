//! Carries rounds out: offers what is durable, hands answers to [`Round::step`], checks signatures off the runtime's threads, and cuts
//! the batch at the end.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use cip22_wire::{BlsSignature, DeviceId, Hash, digest};
use metrics::counter;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::close::{Ending, close};
use super::{Effect, Event, Round, Seat};
use crate::bls::{self, Claim, Key};
use crate::chain::BlsKeyBytes;
use crate::directory::Directory;
use crate::failpoint::failpoint;
use crate::gateway::Gateway;
use crate::journal::Record;
use crate::journal::record::{BatchRecord, RootRecord};
use crate::limits::QUARANTINE_EPOCHS;
use crate::pipeline::batch::{BatchSettings, kind_label};
use crate::pipeline::cosign::{Answer, Offer};
use crate::pipeline::lease::Leases;

/// How often deadlines are looked at while a round lasts, ms.
const TICK_MS: u64 = 50;

/// How often open roots are looked for without being told, ms.
const IDLE_MS: u64 = 1_000;

/// Verdicts of one root's part.
type Checked = (Hash, Vec<(Seat, bool)>);

/// Runs every round until told to stop.
pub async fn run(
    gateway: Arc<Gateway>,
    settings: BatchSettings,
    submitter: mpsc::Sender<BatchRecord>,
    stop: CancellationToken,
) {
    let (checked_out, mut checked) = mpsc::unbounded_channel();
    let (running, leases) = (BTreeMap::new(), Leases::default());
    let mut rounds = Rounds { gateway, settings, submitter, checked: checked_out, running, leases };
    loop {
        let wait_ms = if rounds.running.is_empty() { IDLE_MS } else { TICK_MS };
        let mut verdicts: Option<Checked> = None;
        tokio::select! {
            () = stop.cancelled() => return,
            () = rounds.gateway.failed.cancelled() => return,
            Some(part) = checked.recv() => verdicts = Some(part),
            () = rounds.gateway.cosign.told() => {}
            () = rounds.gateway.clock.sleep(Duration::from_millis(wait_ms)) => {}
        }
        rounds.look().await;
        if let Some((root, part)) = verdicts {
            rounds.step(root, Event::Checked(part)).await;
        }
        for ((root, seat), answer) in rounds.gateway.cosign.take_answers() {
            let event = match answer {
                Answer::Signed(signature) => Event::Signed(seat, signature),
                Answer::Refused => Event::Refused(seat),
            };
            rounds.step(root, event).await;
        }
        let now_ms = rounds.gateway.clock.monotonic_ms();
        for root in rounds.running.keys().copied().collect::<Vec<Hash>>() {
            rounds.step(root, Event::Time(now_ms)).await;
        }
    }
}

struct Rounds {
    gateway: Arc<Gateway>,
    settings: BatchSettings,
    submitter: mpsc::Sender<BatchRecord>,
    checked: mpsc::UnboundedSender<Checked>,
    running: BTreeMap<Hash, Running>,
    leases: Leases,
}

struct Running {
    round: Round,
    offer: Arc<Offer>,
    keys: Arc<HashMap<Seat, Arc<BlsKeyBytes>>>,
}

impl Rounds {
    /// Begins the rounds of roots that are open and drops those that are not any more; what is on offer follows.
    async fn look(&mut self) {
        if self.gateway.view.borrow().latest_block == 0 {
            // After a start, keys and piles are not known before the registry was read.
            return;
        }
        let open: Vec<Arc<RootRecord>> = self.gateway.state().open_roots().cloned().collect();
        let before = self.running.len();
        self.running.retain(|root, _| open.iter().any(|record| record.root == *root));
        let mut changed = self.running.len() != before;
        let new: Vec<Arc<RootRecord>> =
            open.into_iter().filter(|record| !self.running.contains_key(&record.root)).collect();
        if !new.is_empty() && self.gateway.barrier().await.is_err() {
            // What is not durable is not offered.
            return;
        }
        for record in new {
            self.begin(record);
            changed = true;
        }
        if changed {
            self.publish();
        }
    }

    /// Offers what runs, and nothing else.
    fn publish(&self) {
        let offers = self.running.values().map(|running| Arc::clone(&running.offer)).collect();
        self.gateway.cosign.offer(offers);
    }

    fn begin(&mut self, record: Arc<RootRecord>) {
        let directory = self.gateway.directory.load();
        let leaves = record.groups.iter().flat_map(|one| one.leaves.iter().map(|leaf| (one.group, leaf)));
        let keys: HashMap<Seat, Arc<BlsKeyBytes>> = leaves
            .filter_map(|(group, leaf)| {
                let device = directory.devices.get(&leaf.device_id)?;
                Some(((group, leaf.index), Arc::clone(&device.enrolment_at(record.epoch)?.key)))
            })
            .collect();
        let deadline_ms = self.gateway.clock.monotonic_ms().saturating_add(self.settings.root_deadline_ms);
        let round = Round::new(keys.keys().copied(), deadline_ms);
        tracing::info!(
            epoch = record.epoch,
            root = %hex::encode(record.root),
            groups = record.groups.len(),
            piles = keys.len(),
            "root offered"
        );
        let (root, offer) = (record.root, Arc::new(Offer::of(record)));
        self.running.insert(root, Running { round, offer, keys: Arc::new(keys) });
    }

    async fn step(&mut self, root: Hash, event: Event) {
        let Some(running) = self.running.get_mut(&root) else { return };
        for effect in running.round.step(event) {
            match effect {
                Effect::Check(part) => self.check(root, part),
                Effect::Quarantine(seat) => self.quarantine(root, seat),
                Effect::Close => self.close(root).await,
            }
        }
    }

    /// Checks a part on a thread of its own.
    fn check(&self, root: Hash, part: Vec<(Seat, BlsSignature)>) {
        let Some(running) = self.running.get(&root) else { return };
        let RootRecord { epoch, challenge, policy_hash, .. } = *running.offer.record;
        let digest = self.gateway.digest(&digest::root_hash(epoch, &challenge, &policy_hash, &root));
        let (keys, checked) = (Arc::clone(&running.keys), self.checked.clone());
        tokio::task::spawn_blocking(move || {
            let verdicts = judge(&digest, &keys, part);
            let good = verdicts.iter().filter(|(_, is_good)| *is_good).count();
            counter!("root_signatures_total", "outcome" => "good").increment(good as u64);
            counter!("root_signatures_total", "outcome" => "bad").increment((verdicts.len() - good) as u64);
            // The round may have ended with the process.
            let _ = checked.send((root, verdicts));
        });
    }

    fn quarantine(&self, root: Hash, (group, index): Seat) {
        let Some(running) = self.running.get(&root) else { return };
        let record = &running.offer.record;
        let leaves = record.group(group).map(|one| &one.leaves);
        let Some(leaf) = leaves.and_then(|leaves| leaves.iter().find(|leaf| leaf.index == index)) else {
            return;
        };
        let until = record.epoch.saturating_add(1).saturating_add(QUARANTINE_EPOCHS);
        self.gateway.cosign.quarantine(leaf.device_id, until);
        tracing::warn!(
            device = %hex::encode(leaf.device_id),
            epoch = record.epoch,
            until,
            "this pile signed the root wrongly: it goes by lane 1 for a while"
        );
    }

    #[tracing::instrument(name = "root", skip_all)]
    async fn close(&mut self, root: Hash) {
        let Some(Running { round, offer, .. }) = self.running.remove(&root) else { return };
        let record = &offer.record;
        let latest_block = self.gateway.view.borrow().latest_block;
        let groups: BTreeSet<u32> = record.groups.iter().map(|one| one.group).collect();
        self.leases.take(&self.gateway, groups.clone(), latest_block).await;
        let is_leased = groups.iter().all(|group| self.leases.holds(*group, latest_block));
        failpoint("root::before_close");
        let (batch, durable) = {
            let mut state = self.gateway.state();
            if !state.open_roots().any(|open| open.root == root) {
                drop(state);
                return self.publish();
            }
            let directory = self.gateway.directory.load();
            let ending = Ending {
                root: record,
                round: &round,
                revoked: &revoked(&directory),
                keys: &keys_of(&directory, record),
                latest_block,
                may_cut: is_leased && record.epoch >= self.gateway.oldest_epoch(),
            };
            let (records, lane) = close(&state, &self.settings, &ending);
            counter!("rounds_closed_total", "lane" => lane.label()).increment(1);
            tracing::info!(
                epoch = record.epoch,
                signers = round.signed().count(),
                unanswered = round.awaited(),
                lane = lane.label(),
                "round closed"
            );
            let batch = records.iter().find_map(|record| match record {
                Record::BatchCut(batch) => Some(batch.clone()),
                _ => None,
            });
            (batch, self.gateway.commit(&mut state, records))
        };
        if durable.await.is_err() {
            return;
        }
        failpoint("root::after_close");
        self.publish();
        let Some(batch) = batch else { return };
        counter!("batches_cut_total", "kind" => kind_label(batch.kind)).increment(1);
        tracing::info!(
            batch = batch.batch,
            epoch = batch.epoch,
            members = batch.members.len(),
            bytes = batch.calldata.len(),
            "batch with a root cut"
        );
        if self.submitter.send(batch).await.is_err() {
            tracing::debug!("nobody takes batches any more");
        }
    }
}

/// Whether each signature of a part is good.
fn judge(
    digest: &Hash,
    keys: &HashMap<Seat, Arc<BlsKeyBytes>>,
    part: Vec<(Seat, BlsSignature)>,
) -> Vec<(Seat, bool)> {
    let mut claims = Vec::new();
    let mut seats = Vec::new();
    let mut verdicts = Vec::new();
    for (seat, signature) in part {
        match keys.get(&seat).and_then(|key| Key::from_bytes(key)) {
            Some(key) => {
                claims.push(Claim { signature, key });
                seats.push(seat);
            }
            None => verdicts.push((seat, false)),
        }
    }
    verdicts.extend(seats.into_iter().zip(bls::check(digest, &claims)));
    verdicts
}

fn revoked(directory: &Directory) -> HashSet<DeviceId> {
    directory.devices.iter().filter(|(_, device)| device.revoked).map(|(id, _)| *id).collect()
}

/// Indices of the root's groups with a BLS key in its epoch.
pub fn keys_of(directory: &Directory, record: &RootRecord) -> BTreeMap<u32, usize> {
    let mut keys: BTreeMap<u32, usize> = record.groups.iter().map(|one| (one.group, 0)).collect();
    for device in directory.devices.values() {
        if let Some(enrolment) = device.enrolment_at(record.epoch)
            && let Some(count) = keys.get_mut(&enrolment.group)
        {
            *count += 1;
        }
    }
    keys
}
