//! Co-signing the root of a batch (protocol §5.5).
//!
//! A pile signs at most one root of an epoch, and only over its own last position in it. So what the epoch ended with is durable
//! before the epoch is closed, and the root is durable before its signature exists.

use cip22_wire::{
    FrameType, NackCode, batch_tree,
    digest::root_hash,
    limits::PATH_BYTES_MAX,
    message::{BatchRoot, BatchSig, Body, LeafReq},
};

use crate::{
    bls::BlsKey,
    closed::{ClosedEpoch, ClosedRecord},
    dispatch::Refusal,
    error::Error,
    event::Event,
    hal::{Clock, Entropy, Slot, Storage},
    retransmit::Label,
    session::Session,
};

/// What co-signing needs, and the path of the newest leaf.
pub(crate) struct CoSigner<'a> {
    pub(crate) key: Option<BlsKey>,
    pub(crate) closed: ClosedRecord,
    path: &'a mut [u8],
    path_len: usize,
    showing: Showing,
}

/// Whether `path` belongs to an event that the application may still look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Showing {
    Nothing,
    Queued,
    Polled,
}

impl<'a> CoSigner<'a> {
    pub(crate) fn new(path: &'a mut [u8]) -> Self {
        Self { key: None, closed: ClosedRecord::EMPTY, path, path_len: 0, showing: Showing::Nothing }
    }

    /// Whether another BATCH_ROOT may be read.
    pub(crate) fn is_free(&self) -> bool {
        self.showing == Showing::Nothing
    }

    /// The application polls: what it was shown before may be overwritten. Returns whether that makes a difference.
    pub(crate) fn looked_at(&mut self) -> bool {
        let before = self.showing == Showing::Polled;
        if before {
            self.showing = Showing::Nothing;
        }
        before
    }

    /// `event` goes to the application.
    pub(crate) fn polled(&mut self, event: Option<&Event>) {
        if matches!(event, Some(Event::RootSigned { .. })) {
            self.showing = Showing::Polled;
        }
    }

    fn show(&mut self, path: &[u8]) {
        let len = path.len().min(self.path.len());
        for (to, from) in self.path.iter_mut().zip(path) {
            *to = *from;
        }
        (self.path_len, self.showing) = (len, Showing::Queued);
    }
}

impl<S: Storage, C: Clock, E: Entropy> Session<'_, S, C, E> {
    /// Makes the pile co-sign roots. Without a key BATCH_ROOT is answered with NACK `UNSUPPORTED`. Epochs that closed before the
    /// session ever had a key are not co-signed.
    #[must_use]
    pub fn with_bls_key(mut self, key: BlsKey) -> Self {
        self.co_signer.key = Some(key);
        self
    }

    /// Siblings from the leaf up, whole 32-byte nodes, that belong to the [`Event::RootSigned`] polled last: with the event's
    /// fields they open the pile's statements on chain. Empty once another event was polled.
    #[must_use]
    pub fn leaf_path(&self) -> &[u8] {
        match self.co_signer.showing {
            Showing::Polled => self.co_signer.path.get(..self.co_signer.path_len).unwrap_or_default(),
            Showing::Nothing | Showing::Queued => &[],
        }
    }

    /// Asks the gateway again for the leaf and the path in the root that the pile signed of `epoch`: [`Event::RootSigned`]
    /// follows. A restart forgets the question.
    ///
    /// # Errors
    /// [`Error::NoRoot`]: the pile signed none of that epoch, or keeps it no more. [`Error::WouldBlock`].
    pub fn request_leaf(&mut self, epoch: u32) -> Result<(), Error> {
        let closed = self.co_signer.closed.of(epoch).filter(|closed| closed.root.is_some());
        let group = closed.ok_or(Error::NoRoot)?.group;
        let label = Label::numbered(FrameType::LeafReq, u64::from(epoch));
        if self.retransmit.contains(|entry| entry.label == label) {
            return Ok(());
        }
        if !self.retransmit.fits(LEAF_REQ_BYTES) {
            return Err(Error::WouldBlock);
        }
        let message = LeafReq { group, epoch };
        self.retransmit.put(label, |out| message.encode(out))
    }

    pub(crate) fn on_batch_root(&mut self, message: &BatchRoot<'_>) -> Result<(), Refusal> {
        let asked = Label::numbered(FrameType::LeafReq, u64::from(message.epoch));
        self.retransmit.remove(|entry| entry.label == asked && entry.sent());
        if self.co_signer.key.is_none() {
            return Err(Refusal::new(NackCode::Unsupported));
        }
        let closed = *self.closed_epoch(message.epoch)?;
        check_leaf(&closed, message)?;
        match closed.root {
            Some(signed) if signed != message.root => {
                return Err(Refusal::field(NackCode::ChainConflict, 3));
            }
            Some(_) => {}
            None => self.keep_root(message)?,
        }
        self.co_sign(&closed, message)
    }

    fn closed_epoch(&self, epoch: u32) -> Result<&ClosedEpoch, Refusal> {
        if epoch >= self.chain.epoch {
            // The announcement of the next epoch may be on its way.
            return Err(Refusal::retry(NackCode::NotReady));
        }
        self.co_signer.closed.of(epoch).ok_or(Refusal::new(NackCode::StaleEpoch))
    }

    fn keep_root(&mut self, message: &BatchRoot<'_>) -> Result<(), Refusal> {
        let closed = self.co_signer.closed.with_root(message.epoch, message.root);
        if self.storage.store(Slot::Closed, &closed.encode()).is_err() {
            self.storage_failed(Slot::Closed);
            return Err(Refusal::retry(NackCode::Storage));
        }
        self.co_signer.closed = closed;
        Ok(())
    }

    fn co_sign(&mut self, closed: &ClosedEpoch, message: &BatchRoot<'_>) -> Result<(), Refusal> {
        let ClosedEpoch { epoch, group, index, n, head, challenge, policy_hash, .. } = *closed;
        let root = message.root;
        let label = Label::numbered(FrameType::BatchSig, u64::from(epoch));
        if self.retransmit.contains(|entry| entry.label == label) {
            self.retransmit.again(0, |entry| entry.label == label);
        } else {
            let hash = root_hash(epoch, &challenge, &policy_hash, &root);
            let digest = self.provisioning.verifier_domain().digest(&hash);
            let signature =
                self.co_signer.key.as_ref().ok_or(Refusal::new(NackCode::Unsupported))?.sign_root(&digest);
            let answer = BatchSig { group, epoch, root, signature };
            // The root is kept, so the same signature is made once there is room.
            self.retransmit
                .put(label, |out| answer.encode(out))
                .map_err(|_| Refusal::retry(NackCode::NotReady))?;
        }
        self.co_signer.show(message.path);
        self.events.push(Event::RootSigned { epoch, group, index, leaf: message.leaf, n, head, root });
        Ok(())
    }

    /// Keeps the epoch that a newer one closes, before the newer one's record takes the place of its chain.
    pub(crate) fn close_epoch(&mut self) -> Result<(), Refusal> {
        let Some(newest) = ClosedEpoch::of(&self.chain).filter(|_| self.co_signer.key.is_some()) else {
            return Ok(());
        };
        let closed = self.co_signer.closed.with(newest);
        if self.storage.store(Slot::Closed, &closed.encode()).is_err() {
            self.storage_failed(Slot::Closed);
            return Err(Refusal::retry(NackCode::Storage));
        }
        self.co_signer.closed = closed;
        Ok(())
    }
}

/// The pile's own leaf, and that it stands in the tree; an error names the tag at fault.
fn check_leaf(closed: &ClosedEpoch, message: &BatchRoot<'_>) -> Result<(), Refusal> {
    let [_, index] = message.leaf.to_be_bytes();
    let wrong = [
        (message.group != closed.group, NackCode::FieldValue, 1),
        (index != closed.index, NackCode::FieldValue, 4),
        (message.n != closed.n, NackCode::ChainConflict, 6),
        (message.head != closed.head, NackCode::ChainConflict, 7),
    ];
    if let Some((_, code, field)) = wrong.into_iter().find(|(wrong, ..)| *wrong) {
        return Err(Refusal::field(code, field));
    }
    let roots = batch_tree::follow(closed.group, message.leaf, closed.n, &closed.head, message.path);
    if roots.map(|roots| roots.root) == Some(message.root) {
        Ok(())
    } else {
        Err(Refusal::field(NackCode::FieldValue, 5))
    }
}

pub(crate) const LEAF_PATH_BYTES: usize = PATH_BYTES_MAX;
/// Whole frames.
const LEAF_REQ_BYTES: usize = 8 + 2 * 3 + 4 + 4;
