//! One simulated pile: a session of `device-sdk`, a connection, a battery, and a day of charges.

use std::{
    collections::HashSet,
    fmt::Write as _,
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use cip22_device_sdk::{Error, Event, FRAME_BYTES_MAX, Session, Settings, Workspace, bls::BlsKey};
use cip22_wire::{EndCause, FrameType, Level, NackCode, Sid};
use tokio::{sync::watch, time::Instant as TokioInstant};

use crate::{
    battery::SimulatedBattery,
    clock::{Monotonic, SystemEntropy, unix_ms},
    deployment::Deployment,
    error::FleetError,
    frame_json::write_hex,
    frames::FrameBuffer,
    journal::{Note, PileLog},
    link::{Connector, Link},
    manifest::{Pile, Role},
    stats::PileStats,
    storage::FileStorage,
};

/// How a pile spends its time.
#[derive(Clone, Copy, Debug)]
pub struct Routine {
    /// Length of a charge.
    pub charge: Duration,
    /// Between two charges.
    pub pause: Duration,
    /// Between two battery records.
    pub telemetry_interval: Duration,
    /// Durable records between two checkpoints.
    pub checkpoint_every_records: u32,
    /// Charges after which it asks for no more.
    pub charges_max: Option<u32>,
    /// Reports CHARGE_STATUS after so many records.
    pub status_every_records: u32,
}

/// What the fleet wants of its piles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Charge.
    Work,
    /// End the charge, take a last checkpoint, wait for every answer until `until`, then stop.
    Finish {
        /// Then stop anyway.
        until: Instant,
        /// Also wait for the AUTH_FINAL of every grant.
        await_finals: bool,
    },
}

/// Everything a pile needs to run.
#[derive(Debug)]
pub struct PileTask {
    /// Who it is.
    pub pile: Pile,
    /// The contracts.
    pub deployment: Arc<Deployment>,
    /// To its gateway.
    pub connector: Connector,
    /// How it spends its time.
    pub routine: Routine,
    /// Folder of its durable records.
    pub state: PathBuf,
    /// Its log.
    pub log: PileLog,
    /// Its counters.
    pub stats: Arc<PileStats>,
    /// What the fleet wants.
    pub orders: watch::Receiver<Order>,
    /// When it first connects.
    pub start_after: Duration,
}

impl PileTask {
    /// Runs until ordered to finish.
    ///
    /// # Errors
    /// The key, the stored records or the settings; a gateway that misbehaves or fails only shows in the log.
    pub async fn run(self) -> Result<(), FleetError> {
        tokio::time::sleep(self.start_after).await;
        let mut workspace = Box::new(Workspace::new());
        let settings = Settings {
            checkpoint_every_records: self.routine.checkpoint_every_records,
            ..Settings::default()
        };
        let session = Session::new(
            self.deployment.provisioning(self.pile.device_id()),
            settings,
            self.pile.signing_key()?,
            FileStorage::new(self.state.clone()),
            Monotonic,
            SystemEntropy,
            &mut workspace,
        )?;
        let session = match co_signing_key(&self.pile)? {
            Some(key) => session.with_bls_key(key),
            None => session,
        };
        let battery = SimulatedBattery::new(self.pile.battery()[31]);
        let orders = self.orders.clone();
        let mut running = Running {
            task: self,
            session,
            battery,
            link: None,
            phase: Phase::Idle { from: Instant::now() },
            orders,
            retry_at: None,
            away_until: None,
            energy_at_grant: 0,
            records: 0,
            awaited: HashSet::new(),
            last_record_made: false,
            stopping: None,
            inbox: Vec::new(),
            frames: FrameBuffer::default(),
        };
        running.run().await
    }
}

type PileSession<'a> = Session<'a, FileStorage, Monotonic, SystemEntropy>;

/// Where the day's routine stands.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Asks for power at `from`.
    Idle { from: Instant },
    /// Waits for the answer.
    Asking,
    /// Power flows.
    Charging { since: Instant },
    /// CHARGE_END is to be made, or awaits its answer.
    Ending { cause: EndCause },
}

struct Running<'a> {
    task: PileTask,
    session: PileSession<'a>,
    battery: SimulatedBattery,
    link: Option<Link>,
    phase: Phase,
    orders: watch::Receiver<Order>,
    /// When an offline pile is asked to connect again.
    retry_at: Option<Instant>,
    /// How long a pile that vanished does not connect.
    away_until: Option<Instant>,
    energy_at_grant: u32,
    /// Of the charge under way.
    records: u32,
    /// Grants whose AUTH_FINAL has not come.
    awaited: HashSet<Sid>,
    last_record_made: bool,
    stopping: Option<(Instant, bool)>,
    /// Received and not taken by the session yet.
    inbox: Vec<u8>,
    /// The same bytes, for the log.
    frames: FrameBuffer,
}

impl Running<'_> {
    async fn run(&mut self) -> Result<(), FleetError> {
        let restored = self.session.charge();
        self.session.adopt_battery(
            self.task.pile.battery(),
            restored.filter(|charge| !charge.ended).map_or([0; 16], |charge| charge.sid),
        );
        if restored.is_some() {
            self.phase = Phase::Ending { cause: EndCause::Reboot };
        }
        self.session.reconnect();
        let mut ticks = tokio::time::interval(self.task.routine.telemetry_interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut buf = vec![0; 8 * 1024];
        loop {
            self.pump().await;
            if self.finished() {
                break;
            }
            let wake = self.wake_at();
            tokio::select! {
                read = read(&mut self.link, &mut buf) => self.on_read(read, &buf),
                () = tokio::time::sleep_until(wake) => self.on_wake(),
                _ = ticks.tick() => self.on_tick(),
                changed = self.orders.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    self.take_order();
                }
            }
        }
        self.stop().await;
        Ok(())
    }

    fn take_order(&mut self) {
        if let Order::Finish { until, await_finals } = *self.orders.borrow_and_update() {
            self.stopping = Some((until, await_finals));
            if let Phase::Charging { .. } = self.phase {
                self.phase = Phase::Ending { cause: EndCause::Local };
            }
        }
    }

    /// Moves events and outputs until there are none.
    async fn pump(&mut self) {
        loop {
            let mut moved = self.feed();
            while let Some(event) = self.session.poll_event() {
                moved = true;
                self.on_event(event).await;
            }
            self.step();
            moved |= self.send().await;
            if !moved {
                break;
            }
        }
        let unanswered = self.session.unanswered().max(self.task.log.exchange.unanswered());
        self.task.stats.unanswered.store(u32::try_from(unanswered).unwrap_or(u32::MAX), Relaxed);
    }

    async fn send(&mut self) -> bool {
        let mut out = [0; OUT_BYTES];
        let mut bytes = Vec::new();
        while let Some(frame) = self.session.poll_output(&mut out).and_then(|len| out.get(..len)) {
            // Without a link there is no output: the session is told of every loss.
            self.task.log.sent(frame, Instant::now());
            bytes.extend_from_slice(frame);
        }
        if bytes.is_empty() {
            return false;
        }
        let written = match &mut self.link {
            Some(link) => link.write(&bytes).await.is_ok(),
            None => false,
        };
        if !written {
            self.lose("write");
        }
        true
    }

    fn on_read(&mut self, read: std::io::Result<usize>, buf: &[u8]) {
        let at = Instant::now();
        let bytes = match read {
            Ok(len) if len > 0 => buf.get(..len).unwrap_or_default(),
            Ok(_) => return self.lose("closed by the gateway"),
            Err(_) => return self.lose("broken"),
        };
        self.inbox.extend_from_slice(bytes);
        self.frames.extend(bytes);
        let mut root_came = false;
        while let Ok(Some((frame_type, payload, _))) = self.frames.next_frame() {
            root_came |= frame_type == FrameType::BatchRoot.code();
            match self.task.log.received(frame_type, payload, at) {
                Some(Note::Granted(_)) => count(&self.task.stats.granted, 1),
                None => {}
            }
        }
        if root_came && self.task.pile.role == Role::VanishOnRoot {
            self.away_until = Some(at + VANISH);
            // An AUTH_FINAL that is told meanwhile does not come again.
            self.awaited.clear();
            self.lose("vanishes");
        }
    }

    /// Gives the session what it takes of the bytes received.
    fn feed(&mut self) -> bool {
        if self.inbox.is_empty() {
            return false;
        }
        let taken = self.session.handle_input(&self.inbox);
        self.inbox.drain(..taken);
        taken > 0
    }

    /// The connection is gone, or has to go.
    fn lose(&mut self, reason: &str) {
        if self.link.take().is_some() {
            self.task.stats.connected.store(false, Relaxed);
            self.task.log.event("disconnected", |line| {
                let _ = write!(line, ",\"reason\":\"{reason}\"");
            });
        }
        self.inbox.clear();
        self.frames.clear();
        self.session.disconnected();
    }

    async fn connect(&mut self) {
        if self.away_until.is_some_and(|until| Instant::now() < until) {
            return self.session.disconnected();
        }
        if self.link.take().is_some() {
            self.task.log.event("disconnected", |line| line.push_str(",\"reason\":\"for another\""));
        }
        self.inbox.clear();
        self.frames.clear();
        match self.task.connector.connect().await {
            Ok(link) => {
                self.session.connected(link.gateway);
                self.link = Some(link);
            }
            Err(error) => {
                let reason = serde_json::Value::from(error.to_string());
                self.task.log.event("connect_failed", |line| {
                    let _ = write!(line, ",\"reason\":{reason}");
                });
                self.session.disconnected();
            }
        }
    }

    async fn on_event(&mut self, event: Event) {
        let Self { task: PileTask { log, stats, routine, .. }, .. } = self;
        match event {
            Event::Reconnect => self.connect().await,
            Event::Connected { gateway, group, index, resumed } => {
                stats.connected.store(true, Relaxed);
                log.event("connected", |line| {
                    line.push_str(",\"gateway\":");
                    write_hex(line, &gateway);
                    let _ = write!(line, ",\"group\":{group},\"index\":{index},\"resumed\":{resumed}");
                });
            }
            Event::LinkLost => self.lose("silent"),
            Event::Close => {
                self.send().await;
                self.lose("unreadable");
            }
            Event::Offline => self.retry_at = Some(Instant::now() + OFFLINE_PAUSE),
            Event::PolicyAcked { version } => {
                stats.policy_acked.fetch_max(version, Relaxed);
            }
            Event::RootSigned { .. } => count(&stats.co_signed, 1),
            Event::Granted { sid, .. } => {
                self.awaited.insert(sid);
                self.energy_at_grant = self.battery.energy_wh();
                self.records = 0;
                self.phase = match self.stopping {
                    None => Phase::Charging { since: Instant::now() },
                    Some(_) => Phase::Ending { cause: EndCause::Local },
                };
            }
            Event::Denied { .. } => {
                count(&stats.denied, 1);
                self.phase = Phase::Idle { from: Instant::now() + routine.pause };
            }
            Event::AuthorizeFailed { code } => {
                count(&stats.denied, 1);
                log.event("authorize_failed", |line| write_code(line, code));
                self.phase = Phase::Idle { from: Instant::now() + routine.pause };
            }
            Event::CreditExhausted { .. } => {
                let revoked = self.session.charge().is_some_and(|charge| charge.revoked);
                self.end_with(if revoked { EndCause::DeAuthorized } else { EndCause::EnergyLimitReached });
            }
            Event::Revoked { sid, cause, .. } => {
                self.awaited.remove(&sid);
                log.event("revoked", |line| {
                    line.push_str(",\"sid\":");
                    write_hex(line, &sid);
                    let _ = write!(line, ",\"cause\":{cause}");
                });
            }
            Event::Final { sid, level, .. } if level >= Level::Safe.code() && self.awaited.remove(&sid) => {
                count(&stats.finals, 1);
            }
            Event::TelemAcked { checkpoint: false, level, .. } if level >= Level::Durable.code() => {
                count(&stats.telemetry_acked, 1);
            }
            Event::Nacked { frame_type, code, .. } => log.event("nacked", |line| {
                let name = FrameType::from_u8(frame_type).map_or("none", FrameType::name);
                let _ = write!(line, ",\"type\":\"{name}\"");
                write_code(line, code);
            }),
            Event::Refused { frame_type, code, .. } => log.event("refused", |line| {
                let name = FrameType::from_u8(frame_type).map_or("none", FrameType::name);
                let _ = write!(line, ",\"type\":\"{name}\"");
                write_code(line, code);
            }),
            Event::TelemetryReset { dropped, .. } => log.event("telemetry_reset", |line| {
                let _ = write!(line, ",\"dropped\":{dropped}");
            }),
            Event::CheckpointRefused { seq, .. } => log.event("checkpoint_refused", |line| {
                let _ = write!(line, ",\"seq\":{seq}");
            }),
            Event::StorageFailed { .. } => log.event("storage_failed", |_| {}),
            _ => {}
        }
    }

    fn end_with(&mut self, cause: EndCause) {
        if let Phase::Charging { .. } = self.phase {
            self.phase = Phase::Ending { cause };
        }
    }

    /// Does what the routine wants now.
    fn step(&mut self) {
        match self.phase {
            Phase::Idle { from } => {
                let enough = self
                    .task
                    .routine
                    .charges_max
                    .is_some_and(|max| self.task.stats.charges.load(Relaxed) >= max);
                let ready = self.session.is_connected() && self.session.is_epoch_open();
                if self.stopping.is_none() && !enough && ready && Instant::now() >= from {
                    match self.session.authorize() {
                        Ok(()) => self.phase = Phase::Asking,
                        // Of a session before: a charge that waits for its end.
                        Err(_) => self.phase = Phase::Ending { cause: EndCause::Reboot },
                    }
                }
            }
            Phase::Asking => {}
            Phase::Charging { since } => {
                if since.elapsed() >= self.task.routine.charge {
                    self.phase = Phase::Ending { cause: EndCause::Local };
                    self.step();
                }
            }
            Phase::Ending { cause } => self.end_charge(cause),
        }
        if self.stopping.is_some() {
            self.take_last_checkpoint();
        }
    }

    fn end_charge(&mut self, cause: EndCause) {
        let Some(charge) = self.session.charge() else {
            count(&self.task.stats.charges, 1);
            self.phase = Phase::Idle { from: Instant::now() + self.task.routine.pause };
            return;
        };
        let (wh, minutes) = if charge.ended { (charge.wh, charge.minutes) } else { self.delivered() };
        // Restored after a restart, what was signed is repeated; its cause is one of these.
        let causes =
            [cause, EndCause::Local, EndCause::EnergyLimitReached, EndCause::DeAuthorized, EndCause::Reboot];
        for cause in causes {
            match self.session.end_charge(wh, minutes, cause, None) {
                Err(Error::ChargeEnded) => {}
                _ => break,
            }
        }
    }

    /// Wh and minutes since the grant.
    fn delivered(&self) -> (u32, u16) {
        let Some(charge) = self.session.charge() else { return (0, 0) };
        let wh = self.battery.energy_wh().saturating_sub(self.energy_at_grant);
        let minutes = u16::try_from(self.records).unwrap_or(u16::MAX);
        (wh.min(charge.credit_wh).max(charge.wh), minutes.min(charge.credit_minutes).max(charge.minutes))
    }

    /// A telemetry interval passed: one simulated minute.
    fn on_tick(&mut self) {
        let charging = matches!(self.phase, Phase::Charging { .. });
        self.battery.advance(1.0 / 60.0, charging);
        if !charging {
            return;
        }
        self.records += 1;
        // While the window is full, the battery is not asked.
        let _ = self.session.telemetry(&self.battery.sample(unix_ms()));
        if self.records.is_multiple_of(self.task.routine.status_every_records.max(1)) {
            let (wh, minutes) = self.delivered();
            let _ = self.session.charge_status(wh, minutes);
        }
    }

    fn on_wake(&mut self) {
        self.session.handle_timeout();
        if self.retry_at.is_some_and(|at| Instant::now() >= at) {
            self.retry_at = None;
            self.session.reconnect();
        }
    }

    /// One more record after the last charge, so that its checkpoint covers all that a session before left open.
    fn take_last_checkpoint(&mut self) {
        if self.last_record_made || self.session.charge().is_some() || matches!(self.phase, Phase::Asking) {
            return;
        }
        let Some((seq, unanswered)) = self.session.battery_head() else { return };
        if unanswered == 0
            && (seq == 0 || self.session.checkpointed_seq() == Some(seq))
            && self.session.checkpointed_seq().is_some()
        {
            self.last_record_made = true;
            return;
        }
        if self.session.telemetry(&self.battery.sample(unix_ms())).is_ok()
            && self.session.checkpoint().is_ok()
        {
            self.last_record_made = true;
        }
    }

    fn finished(&mut self) -> bool {
        let Some((until, await_finals)) = self.stopping else { return false };
        if Instant::now() >= until {
            // A HEARTBEAT that has just left is not lost.
            return self.all_answered() || Instant::now() >= until + ANSWER_TIMEOUT;
        }
        let covered = match (self.session.battery_head(), self.session.checkpointed_seq()) {
            (Some((seq, _)), Some(checkpointed)) => checkpointed >= seq,
            (None, _) => true,
            (Some(_), None) => false,
        };
        let finals = !await_finals || self.awaited.is_empty();
        let settled = self.session.charge().is_none() && matches!(self.phase, Phase::Idle { .. });
        settled && self.last_record_made && covered && finals && self.all_answered()
    }

    fn all_answered(&self) -> bool {
        self.session.unanswered() == 0 && self.task.log.exchange.unanswered() == 0
    }

    async fn stop(&mut self) {
        let clean = self.all_answered();
        let (unanswered, finals) = (self.task.log.exchange.unanswered(), self.awaited.len());
        let types: Vec<&str> = self.task.log.exchange.unanswered_types().map(FrameType::name).collect();
        let seq = self.session.battery_head().map_or(0, |(seq, _)| seq);
        let checkpointed = self.session.checkpointed_seq().unwrap_or(0);
        self.task.log.event("stopped", |line| {
            let _ = write!(
                line,
                ",\"unanswered\":{unanswered},\"types\":{types:?},\"awaited_finals\":{finals},\"seq\":{seq},\"checkpointed\":{checkpointed}"
            );
        });
        if let Some(mut link) = self.link.take() {
            // The peer may have closed already.
            let _ = link.close().await;
        }
        if let Err(error) = self.task.log.flush() {
            eprintln!("{}: its log cannot be written: {error}", self.task.pile.name);
        }
        self.task.stats.connected.store(false, Relaxed);
        self.task.stats.clean.store(clean, Relaxed);
        self.task.stats.stopped.store(true, Relaxed);
    }

    fn wake_at(&self) -> TokioInstant {
        let of_phase = match self.phase {
            Phase::Idle { from } => Some(from),
            Phase::Charging { since } => Some(since + self.task.routine.charge),
            Phase::Asking | Phase::Ending { .. } => None,
        };
        let of_session = self.session.next_deadline().map(|at| Monotonic.instant(at));
        let now = Instant::now();
        [of_phase.filter(|at| *at > now), of_session, self.retry_at, self.stopping.map(|(until, _)| until)]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(now + IDLE_WAKE)
            .into()
    }
}

async fn read(link: &mut Option<Link>, buf: &mut [u8]) -> std::io::Result<usize> {
    match link {
        Some(link) => link.read(buf).await,
        None => std::future::pending().await,
    }
}

/// The key with which it co-signs: the enrolled one, or any other for who signs wrongly for ever.
fn co_signing_key(pile: &Pile) -> Result<Option<BlsKey>, FleetError> {
    match pile.role {
        Role::BadBatchSig => Ok(Some(BlsKey::random(&mut SystemEntropy)?)),
        _ => pile.bls_key(),
    }
}

fn count(counter: &std::sync::atomic::AtomicU32, by: u32) {
    counter.fetch_add(by, Relaxed);
}

fn write_code(line: &mut String, code: u16) {
    let name = NackCode::from_u16(code).map_or("none", NackCode::name);
    let _ = write!(line, ",\"code\":{code},\"cause\":\"{name}\"");
}

/// After the end of its time, a pile still waits this long for answers under way.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// What the operator's second look at an offline pile takes.
const OFFLINE_PAUSE: Duration = Duration::from_secs(1);
/// How long a pile stays away that vanished.
const VANISH: Duration = Duration::from_secs(3);
const IDLE_WAKE: Duration = Duration::from_secs(3_600);
const OUT_BYTES: usize = FRAME_BYTES_MAX;
