//! What every session shares.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use cip22_wire::digest::{self, Domain};
use cip22_wire::message::{Drain, Epoch as EpochFrame};
use cip22_wire::{DeviceId, Hash, NackCode, Signature};
use metrics::gauge;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;
use crate::config::SealedBodies;
use crate::directory::{Directory, Place};
use crate::error::JournalError;
use crate::gateway_key::{GatewayKey, SiteSecret};
use crate::journal::appender::Appender;
use crate::journal::{Lsn, Record};
use crate::pipeline::cosign::Desk;
use crate::pipeline::frame_bytes;
use crate::session::registry::{Limits as SessionLimits, Registry};
use crate::session::sealed::Windows;
use crate::state::State;
use crate::view::{ChainView, Epoch};

/// What of the configuration and the deployment sessions need.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Interval told in HELLO_ACK, ms.
    pub heartbeat_interval_ms: u32,
    /// Largest payload taken from a pile.
    pub max_payload: u16,
    /// answer_by − issued, blocks.
    pub answer_window_blocks: u64,
    /// deadline − answer_by, blocks.
    pub deadline_margin_blocks: u64,
    /// Most granted and unfinished charges of a device.
    pub open_charges_per_device_max: usize,
    /// Whether bodies are sealed end to end.
    pub sealed_bodies: SealedBodies,
    /// A session without a byte for this long, or whose pile takes none for this long, is closed, ms.
    pub idle_timeout_ms: u64,
    /// Time for HELLO, ms.
    pub hello_timeout_ms: u64,
    /// Time for the rest of a frame once it began, ms.
    pub frame_timeout_ms: u64,
    /// Connections taken a second, for the window of DRAIN.
    pub accepts_per_second_max: u32,
    /// Sustained frames a second that a session may send.
    pub frames_per_second_max: u32,
    /// Frames that it may send at once.
    pub frame_burst_max: u32,
    /// Pushed frames that may wait for one session.
    pub send_queue_frames_max: usize,
    /// Bytes waiting to be sent to one pile, from which on it is not read.
    pub send_queue_bytes_max: usize,
    /// Blocks in an epoch.
    pub epoch_len_blocks: u64,
    /// Epochs in the ring.
    pub ring_epochs: u32,
}

/// Resolves once the records given are durable.
pub type Durable = Pin<Box<dyn Future<Output = Result<Lsn, JournalError>> + Send>>;

/// The shared state of a running gateway.
#[derive(Debug)]
pub struct Gateway {
    /// Settings.
    pub settings: Settings,
    /// Time.
    pub clock: SharedClock,
    /// The gateway's identity.
    pub key: GatewayKey,
    /// Where ticket ephemeral keys come from.
    pub site_secret: SiteSecret,
    /// Separator of the verifier's EIP-712 domain.
    pub separator: Hash,
    /// Registered devices.
    pub directory: Arc<ArcSwap<Directory>>,
    /// The chain as believed.
    pub view: watch::Receiver<ChainView>,
    /// Who is connected.
    pub sessions: Registry,
    /// Roots that piles co-sign.
    pub cosign: Desk,
    /// Numbers of what piles sealed.
    pub windows: Windows,
    /// Cancelled when the gateway stops in good order.
    pub stop: CancellationToken,
    /// Cancelled when the journal failed: nothing may be answered any more.
    pub failed: CancellationToken,
    announced: watch::Sender<Option<Announced>>,
    appender: Appender,
    state: Mutex<State>,
    epoch_frames: Mutex<HashMap<u32, (u32, Vec<u8>)>>,
}

/// The epoch that piles were told, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    /// The epoch.
    pub epoch: Epoch,
    /// Monotonic ms.
    pub at_ms: u64,
    /// A reorganisation took its challenge or policy away, or may have: no tickets are given in it, and nothing is told of it.
    pub withdrawn: bool,
}

/// The parts a gateway is made of.
#[derive(Debug)]
pub struct Parts {
    /// Settings.
    pub settings: Settings,
    /// Time.
    pub clock: SharedClock,
    /// Identity.
    pub key: GatewayKey,
    /// Site secret.
    pub site_secret: SiteSecret,
    /// The verifier's domain.
    pub domain: Domain,
    /// Devices.
    pub directory: Arc<ArcSwap<Directory>>,
    /// Chain view.
    pub view: watch::Receiver<ChainView>,
    /// Journal.
    pub appender: Appender,
    /// State replayed from the journal.
    pub state: State,
    /// Stop signal.
    pub stop: CancellationToken,
}

impl Gateway {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        let sessions = Registry::new(SessionLimits {
            push_queue_frames_max: parts.settings.send_queue_frames_max,
            frames_per_second_max: parts.settings.frames_per_second_max,
            frame_burst_max: parts.settings.frame_burst_max,
        });
        Self {
            sessions,
            cosign: Desk::default(),
            windows: Windows::default(),
            settings: parts.settings,
            clock: parts.clock,
            key: parts.key,
            site_secret: parts.site_secret,
            separator: parts.domain.separator(),
            directory: parts.directory,
            view: parts.view,
            stop: parts.stop,
            failed: CancellationToken::new(),
            announced: watch::Sender::new(None),
            appender: parts.appender,
            state: Mutex::new(parts.state),
            epoch_frames: Mutex::default(),
        }
    }

    /// The state. Hold it briefly and never across an await.
    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Takes facts into the state and queues them for the journal, in one step, so that the order is the same in both.
    ///
    /// The state runs ahead of the disk; whatever leaves this process waits for the future. If the disk fails, nothing
    /// leaves any more, and recovery starts from what is durable.
    pub fn commit(&self, state: &mut State, records: Vec<Record>) -> Durable {
        self.commit_with(state, records, |_| Vec::new())
    }

    /// As [`Gateway::commit`], with more records that follow from what these come to: all of them become durable together.
    pub fn commit_with(
        &self,
        state: &mut State,
        mut records: Vec<Record>,
        more: impl FnOnce(&State) -> Vec<Record>,
    ) -> Durable {
        for record in &records {
            state.apply(record);
        }
        let more = more(state);
        for record in &more {
            state.apply(record);
        }
        records.extend(more);
        let durable = self.appender.append(records);
        let failed = self.failed.clone();
        Box::pin(async move { durable.await.inspect_err(|_| failed.cancel()) })
    }

    /// Resolves once everything committed so far is durable.
    pub fn barrier(&self) -> Durable {
        let durable = self.appender.append(Vec::new());
        let failed = self.failed.clone();
        Box::pin(async move { durable.await.inspect_err(|_| failed.cancel()) })
    }

    /// The journal's writer.
    pub fn appender(&self) -> &Appender {
        &self.appender
    }

    /// The digest that a signature in the verifier's domain is over.
    pub fn digest(&self, struct_hash: &Hash) -> Hash {
        digest::keccak256(&[&[0x19, 0x01], &self.separator, struct_hash])
    }

    /// The epoch that piles are told, as it changes.
    pub fn announced(&self) -> watch::Receiver<Option<Announced>> {
        self.announced.subscribe()
    }

    /// Tells all sessions of a new epoch; it is durable already.
    pub fn announce(&self, epoch: Epoch) {
        let at_ms = self.clock.monotonic_ms();
        gauge!("epoch_announced").set(f64::from(epoch.epoch));
        self.announced.send_replace(Some(Announced { epoch, at_ms, withdrawn: false }));
    }

    /// Says whether the announced epoch stands: `false` after a reorganisation below its challenge block.
    pub fn set_withdrawn(&self, withdrawn: bool) {
        self.announced.send_if_modified(|announced| match announced {
            Some(announced) if announced.withdrawn != withdrawn => {
                announced.withdrawn = withdrawn;
                true
            }
            _ => false,
        });
    }

    /// Whether `epoch` is the announced one, and it is not known whether its challenge stands.
    pub fn is_withdrawn(&self, epoch: u32) -> bool {
        let announced = *self.announced.borrow();
        let known = lock(&self.state).epochs.get(&epoch).copied();
        announced.is_some_and(|announced| {
            announced.withdrawn && known == Some(announced.epoch) && announced.epoch.epoch == epoch
        })
    }

    /// The EPOCH frame of a group, signed once an epoch.
    pub fn epoch_frame(&self, group: u32, epoch: &Epoch) -> Vec<u8> {
        let mut frames = lock(&self.epoch_frames);
        if let Some((known, bytes)) = frames.get(&group)
            && *known == epoch.epoch
        {
            return bytes.clone();
        }
        let hash = digest::epoch_hash(group, epoch.epoch, &epoch.challenge, &epoch.policy_hash);
        let signature: Signature = self.key.sign(&self.digest(&hash));
        let bytes = frame_bytes(&EpochFrame {
            group,
            epoch: epoch.epoch,
            challenge: epoch.challenge,
            policy_hash: epoch.policy_hash,
            signature,
        });
        frames.insert(group, (epoch.epoch, bytes.clone()));
        bytes
    }

    /// Where a device's key stands in `epoch`, or the reason it counts for nothing.
    pub fn place_at(&self, device_id: &DeviceId, epoch: u32) -> Result<Place, NackCode> {
        let directory = self.directory.load();
        let device = directory.devices.get(device_id).ok_or(NackCode::UnknownDevice)?;
        if device.revoked {
            return Err(NackCode::RevokedDevice);
        }
        device.place_at(epoch).copied().ok_or(NackCode::UnknownDevice)
    }

    /// First epoch whose statements can still be recorded, with one epoch in reserve.
    pub fn oldest_epoch(&self) -> u32 {
        let latest = self.view.borrow().latest_block;
        let now = u32::try_from(latest / self.settings.epoch_len_blocks.max(1)).unwrap_or(u32::MAX);
        now.saturating_sub(self.settings.ring_epochs.saturating_sub(2))
    }

    /// Sends a frame to a device, if it is connected; what it misses is derived again at its next HELLO. Whether a session took it.
    pub fn push(&self, device_id: &DeviceId, bytes: Vec<u8>) -> bool {
        self.sessions.push(device_id, bytes)
    }

    /// Number of connected piles.
    pub fn session_count(&self) -> usize {
        self.sessions.count()
    }

    /// Whether a device has a session.
    pub fn is_connected(&self, device_id: &DeviceId) -> bool {
        self.sessions.is_open(device_id)
    }

    /// The DRAIN frame of a session that is to come back. The more sessions there are, the wider the window, so that their
    /// handshakes fit the rate at which connections are taken.
    pub fn drain_frame(&self) -> Vec<u8> {
        let sessions = u64::try_from(self.session_count()).unwrap_or(u64::MAX);
        let needed_ms =
            sessions.saturating_mul(1_000) / u64::from(self.settings.accepts_per_second_max.max(1));
        let window_ms = u32::try_from(needed_ms.max(DRAIN_WINDOW_MS)).unwrap_or(u32::MAX);
        frame_bytes(&Drain { reconnect_after_ms: DRAIN_RECONNECT_AFTER_MS, window_ms })
    }
}

/// Fills with randomness of the operating system. Without it nothing here is safe, so there is no way on.
pub fn fill_random(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system gives randomness");
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere does not make the map wrong; the process is about to end anyway.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const DRAIN_RECONNECT_AFTER_MS: u32 = 500;
const DRAIN_WINDOW_MS: u64 = 2_000;
