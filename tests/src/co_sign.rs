//! What a scripted pile does with BATCH_ROOT: co-sign it as the protocol says, sign something else, or nothing.

use cip22_device_sdk::bls::BlsKey;
use cip22_wire::message::{Ack, BatchRoot, BatchSig, Body, Epoch, LeafReq};
use cip22_wire::{FrameType, Hash, Level, batch_tree, digest};

use crate::pile::Pile;

/// An epoch that a newer one closed.
#[derive(Clone, Copy, Debug)]
pub struct Closed {
    /// Its announcement.
    pub epoch: Epoch,
    /// Number of the pile's last statement in it.
    pub n: u8,
    /// Its head.
    pub head: Hash,
}

/// A BATCH_ROOT that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootOffer {
    /// Group.
    pub group: u32,
    /// Epoch.
    pub epoch: u32,
    /// Root of the whole tree.
    pub root: Hash,
    /// `(place of the group) << 8 | index`.
    pub leaf: u16,
    /// Siblings from the leaf up.
    pub path: Vec<u8>,
    /// The pile's last statement.
    pub n: u8,
    /// Its head.
    pub head: Hash,
}

impl RootOffer {
    /// Root of the group's places, to which the first 8 nodes of the path lead.
    pub fn group_root(&self) -> Hash {
        self.roots().group_root
    }

    /// The path within the group, as an opening on chain has it.
    pub fn opening_path(&self) -> &[u8] {
        &self.path[..32 * batch_tree::GROUP_LEVELS]
    }

    fn roots(&self) -> batch_tree::Roots {
        batch_tree::follow(self.group, self.leaf, self.n, &self.head, &self.path).expect("a path that leads")
    }
}

impl Pile {
    /// The next BATCH_ROOT, checked as a pile has to: it holds the last head of its epoch at the pile's own place.
    pub async fn expect_root(&mut self) -> RootOffer {
        let offer = self.try_expect_root().await;
        offer.unwrap_or_else(|| panic!("{}: the connection ended while a root was awaited", self.entry.name))
    }

    /// As [`expect_root`](Self::expect_root); `None` at the end of the connection.
    pub async fn try_expect_root(&mut self) -> Option<RootOffer> {
        let (_, payload) = self.try_expect(&[FrameType::BatchRoot]).await?;
        let offer = decode(&payload);
        let closed = self.closed_epoch(offer.epoch);
        let place = self.place.expect("greeted");
        assert_eq!((offer.group, offer.leaf.to_be_bytes()[1]), (place.group, place.index), "place");
        assert_eq!((offer.n, offer.head), (closed.n, closed.head), "the pile's last head");
        assert_eq!(offer.roots().root, offer.root, "the path leads to the root");
        Some(offer)
    }

    /// Waits for an epoch that is newer than the open one.
    pub async fn next_epoch(&mut self) {
        let open = self.epoch.as_ref().map_or(0, |epoch| epoch.epoch);
        while self.epoch.as_ref().is_none_or(|epoch| epoch.epoch <= open) {
            self.expect(&[FrameType::Epoch]).await;
        }
    }

    /// Whether a root of `epoch` came and was not looked at.
    pub fn was_offered(&self, epoch: u32) -> bool {
        let roots = self.kept(FrameType::BatchRoot);
        roots.iter().any(|payload| decode(payload).epoch == epoch)
    }

    /// The right answer to a root.
    pub fn sign_root(&self, offer: &RootOffer) -> BatchSig {
        self.signature_over(offer, &offer.root)
    }

    /// A signature of the pile's key, over another root than the one it is said to sign.
    pub fn sign_root_wrongly(&self, offer: &RootOffer) -> BatchSig {
        self.signature_over(offer, &[0xbd; 32])
    }

    /// Awaits a root, co-signs it and waits for its ACK.
    pub async fn co_sign(&mut self) -> RootOffer {
        let offer = self.expect_root().await;
        let answer = self.sign_root(&offer);
        self.send(&answer).await;
        self.expect_batch_ack(offer.epoch).await;
        offer
    }

    /// Waits for the ACK of the BATCH_SIG of `epoch`.
    pub async fn expect_batch_ack(&mut self, epoch: u32) {
        loop {
            let (_, payload) = self.expect(&[FrameType::Ack]).await;
            let ack = Ack::decode(&payload).expect("an ACK");
            if ack.frame_type == FrameType::BatchSig.code() {
                assert_eq!((ack.level, ack.epoch), (Level::Received.code(), Some(epoch)));
                return;
            }
        }
    }

    /// Asks for the leaf of `epoch` again.
    pub async fn request_leaf(&mut self, epoch: u32) {
        let group = self.place.expect("greeted").group;
        self.send(&LeafReq { group, epoch }).await;
    }

    /// An epoch that was closed while this pile was connected, and in which it signed something.
    pub fn closed_epoch(&self, epoch: u32) -> Closed {
        let closed = self.closed.iter().rev().find(|closed| closed.epoch.epoch == epoch);
        *closed.unwrap_or_else(|| panic!("{}: epoch {epoch} is not closed", self.entry.name))
    }

    /// The pile's BLS key.
    pub fn bls_key(&self) -> BlsKey {
        let secret = self.entry.bls_secret.as_deref().expect("the pile has a BLS key");
        BlsKey::from_bytes(&crate::pile::hash(secret)).expect("a valid key")
    }

    fn signature_over(&self, offer: &RootOffer, root: &Hash) -> BatchSig {
        let epoch = self.closed_epoch(offer.epoch).epoch;
        let hash = digest::root_hash(epoch.epoch, &epoch.challenge, &epoch.policy_hash, root);
        let signature = self.bls_key().sign_root(&self.domain().digest(&hash));
        BatchSig { group: offer.group, epoch: offer.epoch, root: offer.root, signature }
    }
}

fn decode(payload: &[u8]) -> RootOffer {
    let BatchRoot { group, epoch, root, leaf, path, n, head } =
        BatchRoot::decode(payload).expect("BATCH_ROOT");
    RootOffer { group, epoch, root, leaf, path: path.to_vec(), n, head }
}
