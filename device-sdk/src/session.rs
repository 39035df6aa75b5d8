//! The session: its state, its connection, and the bytes in and out. What each message means stands in the other modules.

use core::fmt;

use cip22_wire::{
    Address, FrameType, Sid, frame,
    limits::{METER_BYTES_MAX as WIRE_METER_BYTES_MAX, PILE_PAYLOAD_BYTES_MIN, TARIFF_BYTES_MAX},
    message::{Body, Heartbeat, Hello, Nack},
};

use crate::{
    authorize::Authorization,
    charge::ActiveCharge,
    error::Error,
    event::{Event, EventQueue},
    hal::{Clock, Entropy, Slot, Storage},
    keep_alive::KeepAlive,
    policy::{Assembly, HeldPolicy, POLICIES_MAX},
    provision::{Provisioning, Settings},
    reconnect::Reconnect,
    record::{ChainRecord, ChargeRecord, CheckpointsRecord, RECORD_BYTES_MAX},
    retransmit::Retransmit,
    sign::SigningKey,
    telemetry::Battery,
};
#[cfg(feature = "bls")]
use crate::{
    batch::{CoSigner, LEAF_PATH_BYTES},
    closed::ClosedRecord,
};

/// The pile's side of the protocol over the caller's buffers, without any input or output of its own.
///
/// The caller moves bytes ([`Self::handle_input`], [`Self::poll_output`]), polls [`Self::poll_event`] until it is empty after
/// every call, and calls [`Self::handle_timeout`] at [`Self::next_deadline`]. Times are those of its [`Clock`], ms.
pub struct Session<'a, S, C, E> {
    pub(crate) provisioning: Provisioning,
    pub(crate) settings: Settings,
    pub(crate) key: SigningKey,
    pub(crate) storage: S,
    pub(crate) clock: C,
    pub(crate) entropy: E,

    rx: &'a mut [u8],
    rx_len: usize,
    pub(crate) policy_bytes: &'a mut [u8],
    pub(crate) retransmit: Retransmit<'a>,
    nacks: [Option<Nack>; NACKS_MAX],
    pub(crate) events: EventQueue,

    pub(crate) link: Link,
    pub(crate) gateway: Address,
    pub(crate) group: u32,
    pub(crate) index: u8,
    pub(crate) keep_alive: KeepAlive,
    pub(crate) reconnect: Reconnect,
    pub(crate) drain_at: Option<u64>,
    pub(crate) resume_token: Option<[u8; 16]>,
    /// Unix time the gateway named, and when.
    pub(crate) gateway_time: Option<(u64, u64)>,
    /// After a failure of storage or entropy, when pending work is tried again.
    work_at: u64,

    pub(crate) chain: ChainRecord,
    pub(crate) epoch_confirmed: bool,
    pub(crate) epoch_opened_at: Option<u64>,
    pub(crate) policies: [Option<HeldPolicy>; POLICIES_MAX],
    pub(crate) assembly: Option<Assembly>,
    pub(crate) authorization: Authorization,
    pub(crate) answer_wanted: bool,
    pub(crate) tickets_refused: u8,
    pub(crate) charge: Option<ActiveCharge>,
    pub(crate) battery: Option<Battery>,
    pub(crate) checkpoints: CheckpointsRecord,
    #[cfg(feature = "bls")]
    pub(crate) co_signer: CoSigner<'a>,
}

/// The connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// Until the application asks.
    Offline,
    /// Until it is time to reconnect.
    Waiting {
        until: u64,
    },
    /// The application was told to connect.
    Connecting,
    /// HELLO awaits HELLO_ACK.
    Hello {
        sent: bool,
        until: u64,
    },
    Up,
    /// Only NACKs leave any more.
    Closing,
}

/// A charge, as [`Session::charge`] gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Its sid.
    pub sid: Sid,
    /// Credit, Wh since the grant.
    pub credit_wh: u32,
    /// Credit, minutes since the grant.
    pub credit_minutes: u16,
    /// Last reported, Wh since the grant; 0 after a restart.
    pub wh: u32,
    /// Last reported, minutes since the grant; 0 after a restart.
    pub minutes: u16,
    /// AUTH_REVOKE came: the credit is what the grace leaves. End with the cause `DeAuthorized`.
    pub revoked: bool,
    /// CHARGE_END was signed and awaits its ACK.
    pub ended: bool,
}

/// Every buffer of one session, [`WORKSPACE_BYTES`] long; may be a `static`.
pub struct Workspace {
    rx: [u8; FRAME_BYTES_MAX],
    policy: [u8; TARIFF_BYTES_MAX],
    retransmit: [u8; RETRANSMIT_BYTES],
    #[cfg(feature = "bls")]
    leaf_path: [u8; LEAF_PATH_BYTES],
}

impl Workspace {
    /// Empty buffers.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            rx: [0; FRAME_BYTES_MAX],
            policy: [0; TARIFF_BYTES_MAX],
            retransmit: [0; RETRANSMIT_BYTES],
            #[cfg(feature = "bls")]
            leaf_path: [0; LEAF_PATH_BYTES],
        }
    }
}

impl Default for Workspace {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workspace").finish_non_exhaustive()
    }
}

impl<'a, S: Storage, C: Clock, E: Entropy> Session<'a, S, C, E> {
    /// A session that continues where the stored records end. It begins offline: connect, then call [`Self::connected`].
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::CorruptRecord`]: going on could sign a number twice. [`Error::InvalidSetting`].
    pub fn new(
        provisioning: Provisioning,
        settings: Settings,
        key: SigningKey,
        storage: S,
        clock: C,
        entropy: E,
        workspace: &'a mut Workspace,
    ) -> Result<Self, Error> {
        settings.check()?;
        let mut session = Self {
            provisioning,
            settings,
            key,
            storage,
            clock,
            entropy,
            rx: &mut workspace.rx,
            rx_len: 0,
            policy_bytes: &mut workspace.policy,
            retransmit: Retransmit::new(&mut workspace.retransmit),
            nacks: [None; NACKS_MAX],
            events: EventQueue::new(),
            link: Link::Offline,
            gateway: [0; 20],
            group: 0,
            index: 0,
            keep_alive: KeepAlive::new(0, 0),
            reconnect: Reconnect::new(settings.reconnect_first_ms, settings.reconnect_tries_max),
            drain_at: None,
            resume_token: None,
            gateway_time: None,
            work_at: 0,
            chain: ChainRecord::EMPTY,
            epoch_confirmed: false,
            epoch_opened_at: None,
            policies: [None; POLICIES_MAX],
            assembly: None,
            authorization: Authorization::Idle,
            answer_wanted: false,
            tickets_refused: 0,
            charge: None,
            battery: None,
            checkpoints: CheckpointsRecord::EMPTY,
            #[cfg(feature = "bls")]
            co_signer: CoSigner::new(&mut workspace.leaf_path),
        };
        session.load()?;
        Ok(session)
    }

    fn load(&mut self) -> Result<(), Error> {
        if let Some(chain) = self.load_record(Slot::Chain, ChainRecord::decode)? {
            (self.group, self.index) = (chain.group, chain.index);
            self.chain = chain;
        }
        if let Some(checkpoints) = self.load_record(Slot::Checkpoints, CheckpointsRecord::decode)? {
            self.checkpoints = checkpoints;
        }
        #[cfg(feature = "bls")]
        if let Some(closed) = self.load_record(Slot::Closed, ClosedRecord::decode)? {
            self.co_signer.closed = closed;
        }
        self.charge = self.load_record(Slot::Charge, ChargeRecord::decode)?.map(ActiveCharge::restored);
        self.load_policies()
    }

    fn load_record<T>(
        &mut self,
        slot: Slot,
        decode: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let mut record = [0; RECORD_BYTES_MAX];
        let len = self.storage.load(slot, &mut record)?;
        match record.get(..len) {
            Some([]) => Ok(None),
            Some(bytes) => decode(bytes).map(Some).ok_or(Error::CorruptRecord(slot)),
            None => Err(Error::CorruptRecord(slot)),
        }
    }

    /// A connection stands; `gateway` is the address in the gateway's certificate. HELLO is the next output, and after HELLO_ACK
    /// every unanswered frame follows again.
    pub fn connected(&mut self, gateway: Address) {
        self.gateway = gateway;
        self.rx_len = 0;
        self.nacks = [None; NACKS_MAX];
        self.assembly = None;
        self.drain_at = None;
        self.epoch_confirmed = false;
        self.retransmit.again(0, |_| true);
        let until = self.clock.now_ms().saturating_add(u64::from(self.settings.hello_timeout_ms));
        self.link = Link::Hello { sent: false, until };
    }

    /// The connection closed, or could not be made. Schedules the next try: [`Event::Reconnect`], or [`Event::Offline`] when the
    /// tries are used up.
    pub fn disconnected(&mut self) {
        if matches!(self.link, Link::Offline | Link::Waiting { .. }) {
            return;
        }
        self.epoch_confirmed = false;
        let now_ms = self.clock.now_ms();
        let until = match self.drain_at.take() {
            Some(at) => Some(at),
            None => self.reconnect.next_delay_ms().map(|delay_ms| now_ms.saturating_add(delay_ms)),
        };
        self.link = match until {
            Some(until) => Link::Waiting { until },
            None => {
                self.events.push(Event::Offline);
                Link::Offline
            }
        };
    }

    /// Asks to connect at once, also after [`Event::Offline`]: gives [`Event::Reconnect`].
    pub fn reconnect(&mut self) {
        if matches!(self.link, Link::Offline | Link::Waiting { .. }) {
            self.reconnect.reset();
            self.link = Link::Connecting;
            self.events.push(Event::Reconnect);
        }
    }

    /// Whether HELLO was answered and the connection stands.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        matches!(self.link, Link::Up)
    }

    /// Newest accepted epoch; 0 = none.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.chain.epoch
    }

    /// Whether this gateway announced the newest accepted epoch on this connection: only then are statements signed.
    #[must_use]
    pub const fn is_epoch_open(&self) -> bool {
        self.epoch_open()
    }

    /// Unix time, ms, as the gateway named it last and the clock went on since; `None` before the first HELLO_ACK.
    #[must_use]
    pub fn unix_ms(&self) -> Option<u64> {
        let (unix_ms, at) = self.gateway_time?;
        Some(unix_ms.saturating_add(self.clock.now_ms().saturating_sub(at)))
    }

    /// Frames that await an answer.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.retransmit.count(|_| true)
    }

    /// The caller's storage.
    pub const fn storage(&self) -> &S {
        &self.storage
    }

    /// Takes received bytes, cut anywhere; returns how many it took. Fewer than all: poll outputs and events, then give the rest.
    pub fn handle_input(&mut self, bytes: &[u8]) -> usize {
        if !matches!(self.link, Link::Hello { .. } | Link::Up) {
            // Nothing that comes after an unreadable byte can be read.
            return bytes.len();
        }
        if !bytes.is_empty() {
            self.keep_alive.heard(self.clock.now_ms());
        }
        let mut rest = bytes;
        loop {
            let space = self.rx.get_mut(self.rx_len..).unwrap_or_default();
            let len = space.len().min(rest.len());
            let (now, later) = rest.split_at_checked(len).unwrap_or((rest, &[]));
            if let Some(space) = space.get_mut(..len) {
                space.copy_from_slice(now);
            }
            self.rx_len = self.rx_len.saturating_add(len);
            rest = later;
            let taken = self.read_frames();
            if matches!(self.link, Link::Closing) {
                return bytes.len();
            }
            if rest.is_empty() || (taken == 0 && len == 0) {
                return bytes.len().saturating_sub(rest.len());
            }
        }
    }

    /// Takes the whole frames in the buffer while their events and NACKs have room; returns how many.
    fn read_frames(&mut self) -> usize {
        let mut taken: usize = 0;
        while self.events.has_room()
            && self.nacks.iter().any(Option::is_none)
            && matches!(self.link, Link::Hello { .. } | Link::Up)
        {
            // Out of the session for the time of the call, since the payload borrows it.
            let rx = core::mem::take(&mut self.rx);
            let parsed = frame::parse(rx.get(..self.rx_len).unwrap_or_default(), PILE_PAYLOAD_BYTES_MIN);
            let consumed = match parsed {
                Ok(Some(parsed)) if !self.path_free() && parsed.frame_type == FrameType::BatchRoot.code() => {
                    0
                }
                Ok(Some(parsed)) => {
                    self.dispatch(parsed.frame_type, parsed.payload);
                    parsed.consumed
                }
                Ok(None) => 0,
                Err(error) => {
                    self.refuse(error.nack(0));
                    self.close();
                    self.rx_len
                }
            };
            rx.copy_within(consumed.min(self.rx_len)..self.rx_len, 0);
            self.rx_len = self.rx_len.saturating_sub(consumed);
            self.rx = rx;
            if consumed == 0 {
                break;
            }
            taken = taken.saturating_add(1);
            self.work();
        }
        taken
    }

    /// Writes the next whole frame to the start of `out` and returns its length, bytes; `None` if there is none to send now.
    /// `out` holds at least [`FRAME_BYTES_MAX`] bytes, plus the meter record if one is sent.
    pub fn poll_output(&mut self, out: &mut [u8]) -> Option<usize> {
        self.read_frames();
        self.work();
        let now_ms = self.clock.now_ms();
        if matches!(self.link, Link::Hello { .. } | Link::Up | Link::Closing)
            && let Some(len) = self.send_nack(out)
        {
            return Some(len);
        }
        match self.link {
            Link::Hello { sent: false, until } => {
                let len = self.hello().encode(out).ok()?;
                // Single-use.
                self.resume_token = None;
                self.link = Link::Hello { sent: true, until };
                Some(len)
            }
            Link::Up if self.keep_alive.beat_due(now_ms) => {
                let time_ms = self.unix_ms().unwrap_or(0);
                let counter = self.keep_alive.beat(now_ms);
                Heartbeat { counter, time_ms }.encode(out).ok()
            }
            Link::Up => self.retransmit.send(now_ms, out),
            Link::Hello { .. } | Link::Offline | Link::Waiting { .. } | Link::Connecting | Link::Closing => {
                None
            }
        }
    }

    fn hello(&self) -> Hello<'static> {
        Hello {
            versions: &[frame::VERSION],
            device_id: self.provisioning.device_id,
            features: 0,
            max_payload: PILE_PAYLOAD_BYTES_MIN,
            policy_version: self.policy_version(),
            epoch: self.chain.epoch,
            resume_token: self.resume_token,
        }
    }

    fn send_nack(&mut self, out: &mut [u8]) -> Option<usize> {
        let len = self.nacks.first()?.as_ref()?.encode(out).ok()?;
        self.nacks.rotate_left(1);
        *self.nacks.last_mut()? = None;
        Some(len)
    }

    /// Whether no path waits to be looked at, so that another BATCH_ROOT may take its place.
    fn path_free(&self) -> bool {
        #[cfg(feature = "bls")]
        return self.co_signer.is_free();
        #[cfg(not(feature = "bls"))]
        true
    }

    /// The oldest event not polled yet.
    pub fn poll_event(&mut self) -> Option<Event> {
        #[cfg(feature = "bls")]
        if self.co_signer.looked_at() {
            self.read_frames();
        }
        let event = self.events.pop();
        #[cfg(feature = "bls")]
        self.co_signer.polled(event.as_ref());
        self.read_frames();
        event
    }

    /// When to call [`Self::handle_timeout`] next, ms; `None` if nothing is waited for. Outputs that are ready are no deadline.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        let now_ms = self.clock.now_ms();
        let of_link = match self.link {
            Link::Waiting { until } | Link::Hello { until, .. } => [Some(until), None, None],
            Link::Up => {
                let of_frames = self.retransmit.next_due_ms().filter(|at| *at > now_ms);
                let of_keep_alive = self.keep_alive.beat_at().min(self.keep_alive.loss_at());
                [Some(of_keep_alive), of_frames, self.drain_at]
            }
            Link::Offline | Link::Connecting | Link::Closing => [None; 3],
        };
        let of_work = Some(self.work_at).filter(|at| *at > now_ms);
        of_link.into_iter().flatten().chain(of_work).min()
    }

    /// A deadline passed. May be called at any time. Poll events and outputs afterwards.
    pub fn handle_timeout(&mut self) {
        if !self.events.has_room() {
            return;
        }
        let now_ms = self.clock.now_ms();
        match self.link {
            Link::Waiting { until } if now_ms >= until => self.ask_connection(),
            Link::Hello { until, .. } if now_ms >= until => self.lose(),
            Link::Up if self.keep_alive.lost(now_ms) => self.lose(),
            Link::Up if self.drain_at.is_some_and(|at| now_ms >= at) => {
                self.drain_at = None;
                self.epoch_confirmed = false;
                self.ask_connection();
            }
            _ => {}
        }
        self.work();
    }

    fn ask_connection(&mut self) {
        self.link = Link::Connecting;
        self.events.push(Event::Reconnect);
    }

    fn lose(&mut self) {
        self.events.push(Event::LinkLost);
        self.disconnected();
    }

    /// Nothing more can be read from this connection.
    pub(crate) fn close(&mut self) {
        self.link = Link::Closing;
        self.epoch_confirmed = false;
        self.events.push(Event::Close);
    }

    /// Queues a NACK.
    pub(crate) fn refuse(&mut self, nack: Nack) {
        self.events.push(Event::Refused { frame_type: nack.frame_type, code: nack.code, field: nack.field });
        if let Some(place) = self.nacks.iter_mut().find(|place| place.is_none()) {
            *place = Some(nack);
        }
    }

    /// Does the pending work that the state and the buffers allow now.
    pub(crate) fn work(&mut self) {
        let now_ms = self.clock.now_ms();
        if now_ms < self.work_at || !self.events.has_room() {
            return;
        }
        let done = self
            .advance_authorization()
            .and_then(|()| self.acknowledge_policies())
            .and_then(|()| self.advance_charge())
            .and_then(|()| self.ask_head())
            .and_then(|()| self.sign_checkpoint());
        match done {
            Err(Error::Storage) => self.storage_failed(Slot::Chain),
            Err(Error::Entropy) => {
                self.events.push(Event::EntropyFailed);
                self.work_at = now_ms.saturating_add(WORK_RETRY_MS);
            }
            // What lacks room is tried again with the next call.
            Ok(()) | Err(_) => {}
        }
    }

    pub(crate) fn storage_failed(&mut self, slot: Slot) {
        self.events.push(Event::StorageFailed { slot });
        self.work_at = self.clock.now_ms().saturating_add(WORK_RETRY_MS);
    }
}

impl<S, C, E> fmt::Debug for Session<'_, S, C, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("link", &self.link)
            .field("epoch", &self.chain.epoch)
            .field("n", &self.chain.n)
            .finish_non_exhaustive()
    }
}

/// Longest frame a pile receives, and sends without a meter record, bytes.
pub const FRAME_BYTES_MAX: usize = PILE_PAYLOAD_BYTES_MIN as usize + frame::OVERHEAD_BYTES;
/// Longest meter record of a charge, bytes.
pub const METER_BYTES_MAX: usize = WIRE_METER_BYTES_MAX;
/// What the buffers of one session take, bytes. The session itself takes `size_of::<Session<..>>()` more.
pub const WORKSPACE_BYTES: usize = size_of::<Workspace>();

/// Room for a window of telemetry, a meter record and everything that awaits an answer beside them.
const RETRANSMIT_BYTES: usize = 8_192;
const NACKS_MAX: usize = 4;
const WORK_RETRY_MS: u64 = 1_000;
