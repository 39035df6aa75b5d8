//! Where sessions and the round of a root meet: BATCH_ROOT to the piles, BATCH_SIG from them, LEAF_REQ at any time later.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cip22_wire::message::{Ack, BatchRoot, BatchSig, LeafReq};
use cip22_wire::{BlsSignature, DeviceId, FrameType, Hash, Level, NackCode};
use metrics::{counter, gauge};
use tokio::sync::{Notify, watch};

use super::batch_tree::Tree;
use super::round::Seat;
use super::{Handled, frame_bytes};
use crate::failpoint::failpoint;
use crate::gateway::Gateway;
use crate::journal::record::{LeafRecord, RootRecord};

/// A root on offer to the piles that have a leaf under it.
#[derive(Debug)]
pub struct Offer {
    /// What it stands for.
    pub record: Arc<RootRecord>,
    tree: Tree,
    members: HashMap<DeviceId, (u32, LeafRecord)>,
}

impl Offer {
    /// Builds the tree again from what is durable: the root is the one that was offered before.
    pub fn of(record: Arc<RootRecord>) -> Self {
        let leaves = record.groups.iter().flat_map(|one| one.leaves.iter().map(|leaf| (one.group, *leaf)));
        let members = leaves.map(|(group, leaf)| (leaf.device_id, (group, leaf))).collect();
        Self { tree: Tree::of(&record), members, record }
    }

    /// Group and index of a device's leaf.
    pub fn seat(&self, device_id: &DeviceId) -> Option<Seat> {
        self.members.get(device_id).map(|(group, leaf)| (*group, leaf.index))
    }

    /// BATCH_ROOT for a device; `None` if it has no leaf.
    pub fn frame(&self, device_id: &DeviceId) -> Option<Vec<u8>> {
        let (group, leaf) = self.members.get(device_id)?;
        root_frame(&self.record, &self.tree, *group, leaf)
    }
}

/// What a pile answered to a BATCH_ROOT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// BATCH_SIG.
    Signed(BlsSignature),
    /// NACK.
    Refused,
}

/// Whether the network verifies roots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane2 {
    /// Not known yet.
    Unknown,
    /// It has no precompiles of EIP-2537.
    Missing,
    /// It has them.
    Available,
}

impl Lane2 {
    /// Name for people and programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Missing => "missing",
            Self::Available => "available",
        }
    }
}

/// What sessions, the planner and the round share.
#[derive(Debug)]
pub struct Desk {
    offers: watch::Sender<Vec<Arc<Offer>>>,
    /// First answers of piles to roots on offer; bounded by their members.
    answers: Mutex<BTreeMap<(Hash, Seat), Answer>>,
    /// Something is to be looked at: a root was cut, an answer came.
    news: Notify,
    lane2: AtomicU8,
    /// Devices that signed wrongly, and the first epoch in which they are asked again.
    quarantined: Mutex<HashMap<DeviceId, u32>>,
}

impl Default for Desk {
    fn default() -> Self {
        Self {
            offers: watch::Sender::new(Vec::new()),
            answers: Mutex::default(),
            news: Notify::new(),
            lane2: AtomicU8::new(Lane2::Unknown as u8),
            quarantined: Mutex::default(),
        }
    }
}

impl Desk {
    /// The roots on offer, as they change.
    pub fn offers(&self) -> watch::Receiver<Vec<Arc<Offer>>> {
        self.offers.subscribe()
    }

    /// Offers these roots and no others.
    pub fn offer(&self, offers: Vec<Arc<Offer>>) {
        lock(&self.answers).retain(|(root, _), _| offers.iter().any(|offer| offer.record.root == *root));
        self.offers.send_replace(offers);
    }

    /// Takes what came since.
    pub fn take_answers(&self) -> BTreeMap<(Hash, Seat), Answer> {
        std::mem::take(&mut lock(&self.answers))
    }

    /// Wakes who waits for news.
    pub fn tell(&self) {
        self.news.notify_one();
    }

    /// Resolves once there is news.
    pub async fn told(&self) {
        self.news.notified().await;
    }

    /// Whether the network verifies roots.
    pub fn lane2(&self) -> Lane2 {
        match self.lane2.load(Ordering::Relaxed) {
            code if code == Lane2::Available as u8 => Lane2::Available,
            code if code == Lane2::Missing as u8 => Lane2::Missing,
            _ => Lane2::Unknown,
        }
    }

    /// Notes whether the network verifies roots.
    pub fn set_lane2(&self, lane2: Lane2) {
        gauge!("lane2_available").set(f64::from(u8::from(lane2 == Lane2::Available)));
        self.lane2.store(lane2 as u8, Ordering::Relaxed);
    }

    /// Leaves a device out of the roots of epochs before `until`.
    pub fn quarantine(&self, device_id: DeviceId, until: u32) {
        let mut quarantined = lock(&self.quarantined);
        quarantined.insert(device_id, until);
        gauge!("piles_quarantined").set(quarantined.len() as f64);
    }

    /// The first epoch in which a device is asked to co-sign again; `None` if it is not left out.
    pub fn quarantined_until(&self, device_id: &DeviceId) -> Option<u32> {
        lock(&self.quarantined).get(device_id).copied()
    }

    /// Ends quarantines that are over once `epoch` is to be cut.
    pub fn release_before(&self, epoch: u32) {
        let mut quarantined = lock(&self.quarantined);
        quarantined.retain(|_, until| *until > epoch);
        gauge!("piles_quarantined").set(quarantined.len() as f64);
    }

    fn answer(&self, root: Hash, seat: Seat, answer: Answer) {
        lock(&self.answers).entry((root, seat)).or_insert(answer);
        self.tell();
    }

    fn offered(&self, device_id: &DeviceId) -> Vec<(Arc<Offer>, Seat)> {
        let offers = self.offers.borrow();
        offers.iter().filter_map(|offer| Some((Arc::clone(offer), offer.seat(device_id)?))).collect()
    }
}

/// BATCH_SIG: handed to the round, or, if that is over, only acknowledged.
pub fn batch_sig(gateway: &Gateway, device_id: &DeviceId, message: &BatchSig) -> Handled {
    let frame_type = FrameType::BatchSig.code();
    let ours = |group: u32, root: &RootRecord| {
        (group, root.epoch, root.root) == (message.group, message.epoch, message.root)
    };
    let open = gateway.cosign.offered(device_id);
    let open = open.into_iter().find(|(offer, seat)| ours(seat.0, &offer.record));
    if let Some((offer, seat)) = open {
        gateway.cosign.answer(offer.record.root, seat, Answer::Signed(message.signature));
        failpoint("root::after_signature");
    } else {
        let state = gateway.state();
        let root = state.root_of(message.group, message.epoch);
        let known = root.is_some_and(|root| {
            ours(message.group, &root.record) && root.leaf(message.group, device_id).is_some()
        });
        if !known {
            return Handled::refused_field(frame_type, NackCode::FieldValue, ROOT_TAG, None);
        }
        counter!("root_signatures_total", "outcome" => "late").increment(1);
    }
    Handled::now(frame_bytes(&Ack {
        frame_type,
        level: Level::Received.code(),
        sid: None,
        epoch: Some(message.epoch),
        n: None,
    }))
}

/// LEAF_REQ: the leaf of a root that the pile signed, or is being asked to sign.
pub fn leaf_req(gateway: &Gateway, device_id: &DeviceId, message: &LeafReq) -> Handled {
    let found = {
        let state = gateway.state();
        state.root_of(message.group, message.epoch).and_then(|root| {
            let leaf = root.leaf(message.group, device_id)?;
            let serves = root.is_open() || root.is_signed_by(message.group, leaf.index);
            serves.then(|| (Arc::clone(&root.record), *leaf))
        })
    };
    let frame =
        found.and_then(|(record, leaf)| root_frame(&record, &Tree::of(&record), message.group, &leaf));
    match frame {
        Some(frame) => Handled::now(frame),
        None => Handled::refused_field(FrameType::LeafReq.code(), NackCode::FieldValue, EPOCH_TAG, None),
    }
}

/// NACK to BATCH_ROOT: the pile goes by its ECDSA record.
pub fn refused(gateway: &Gateway, device_id: &DeviceId) {
    for (offer, seat) in gateway.cosign.offered(device_id) {
        gateway.cosign.answer(offer.record.root, seat, Answer::Refused);
    }
}

fn root_frame(record: &RootRecord, tree: &Tree, group: u32, leaf: &LeafRecord) -> Option<Vec<u8>> {
    let (place, path) = tree.path(group, leaf.index)?;
    Some(frame_bytes(&BatchRoot {
        group,
        epoch: record.epoch,
        root: record.root,
        leaf: place,
        path: &path,
        n: leaf.n,
        head: leaf.head,
    }))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere does not make the map wrong; the process is about to end anyway.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tag of `root` in BATCH_SIG, and of `epoch` in LEAF_REQ.
const ROOT_TAG: u8 = 3;
const EPOCH_TAG: u8 = 2;

#[cfg(test)]
mod tests {
    use cip22_wire::message::{BatchRoot, Body};
    use cip22_wire::{batch_tree, frame};

    use super::*;
    use crate::pipeline::batch_tree::root_record;
    use crate::view::Epoch;

    fn offer(group: u32) -> Arc<Offer> {
        let leaf = |index: u8| LeafRecord { index, device_id: [index; 32], n: 3, head: [index; 32] };
        let epoch = Epoch { epoch: 5, challenge: [1; 32], policy_hash: [2; 32] };
        Arc::new(Offer::of(Arc::new(root_record(&epoch, vec![(group, vec![leaf(1), leaf(2)])]))))
    }

    #[test]
    fn a_device_is_offered_its_own_leaf_and_a_stranger_none() {
        let offer = offer(7);
        let bytes = offer.frame(&[2; 32]).unwrap();
        let parsed = frame::parse(&bytes, u16::MAX).unwrap().unwrap();
        let root = BatchRoot::decode(parsed.payload).unwrap();
        let roots = batch_tree::follow(7, root.leaf, 3, &[2; 32], root.path).unwrap();
        assert_eq!((roots.root, root.root, root.n), (offer.record.root, offer.record.root, 3));
        assert_eq!((offer.seat(&[2; 32]), offer.seat(&[3; 32])), (Some((7, 2)), None));
        assert!(offer.frame(&[3; 32]).is_none());
    }

    #[test]
    fn answers_are_kept_once_a_pile_and_only_while_the_root_is_on_offer() {
        let desk = Desk::default();
        let (first, second) = (offer(7), offer(8));
        desk.offer(vec![first.clone(), second.clone()]);
        assert_eq!(desk.offered(&[1; 32]).len(), 2);
        desk.answer(first.record.root, (7, 1), Answer::Signed([9; 48]));
        desk.answer(first.record.root, (7, 1), Answer::Refused);
        desk.answer(second.record.root, (8, 1), Answer::Refused);
        desk.offer(vec![first.clone()]);
        let answers: Vec<_> = desk.take_answers().into_iter().collect();
        assert_eq!(answers, [((first.record.root, (7, 1)), Answer::Signed([9; 48]))]);
        assert!(desk.take_answers().is_empty());
    }

    #[test]
    fn a_quarantine_ends_with_its_epoch() {
        let desk = Desk::default();
        desk.quarantine([1; 32], 22);
        desk.release_before(21);
        assert_eq!(desk.quarantined_until(&[1; 32]), Some(22));
        desk.release_before(22);
        assert_eq!(desk.quarantined_until(&[1; 32]), None);
    }
}
