//! `cip22-fleet run`: the piles of a fleet, until they have done what was asked.

use std::{
    fs,
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use tokio::{sync::watch, task::JoinSet};

use crate::{
    deployment::Deployment,
    error::FleetError,
    journal::PileLog,
    link::{Binding, Connector, Gateway},
    manifest::{Manifest, Pile, Role},
    misbehave,
    pile::{Order, PileTask, Routine},
    stats::{PileStats, Totals},
};

/// What to run.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The fleet.
    #[arg(long)]
    pub fleet: PathBuf,
    /// The contracts.
    #[arg(long)]
    pub deployment: PathBuf,
    /// HOST:PORT of the gateway.
    #[arg(long)]
    pub gateway: String,
    /// DNS name in the gateway's certificate.
    #[arg(long, default_value = "localhost")]
    pub dns: String,
    /// Folder of the pile logs.
    #[arg(long)]
    pub logs: PathBuf,
    /// Folder of the piles' durable records; without it, state/ beside the fleet.
    #[arg(long)]
    pub state: Option<PathBuf>,
    /// How frames travel.
    #[arg(long, value_enum, default_value_t)]
    pub binding: Binding,
    /// Ends after so long.
    #[arg(long)]
    pub duration_s: Option<u64>,
    /// Ends when every pile has had so many charges.
    #[arg(long)]
    pub charges_per_pile: Option<u32>,
    /// Ends when this file appears.
    #[arg(long)]
    pub until_file: Option<PathBuf>,
    /// Does not end before every pile's POLICY_ACK of this version is acknowledged.
    #[arg(long, default_value_t = 0)]
    pub until_policy: u32,
    /// Length of a charge, ms.
    #[arg(long, default_value_t = 6_000)]
    pub charge_ms: u64,
    /// Between two charges, ms.
    #[arg(long, default_value_t = 1_000)]
    pub pause_ms: u64,
    /// Between two battery records, ms.
    #[arg(long, default_value_t = 500)]
    pub telemetry_interval_ms: u64,
    /// Durable records between two checkpoints.
    #[arg(long, default_value_t = 30)]
    pub checkpoint_every: u32,
    /// CHARGE_STATUS after so many records.
    #[arg(long, default_value_t = 4)]
    pub status_every: u32,
    /// The piles connect one after another, so far apart, ms.
    #[arg(long, default_value_t = 10)]
    pub ramp_ms: u64,
    /// At the end, the longest wait for the last checkpoints and answers, s.
    #[arg(long, default_value_t = 60)]
    pub finish_timeout_s: u64,
    /// At the end, also wait for the AUTH_FINAL of every grant.
    #[arg(long)]
    pub await_finals: bool,
    /// Only so many honest piles.
    #[arg(long)]
    pub piles: Option<usize>,
    /// Plays the scripted misbehaviour beside the fleet; writes misbehaviour.json beside the logs.
    #[arg(long)]
    pub misbehave: bool,
    /// Longest wait of a misbehaviour for what the chain brings (a new policy, the end of a ticket), s.
    #[arg(long, default_value_t = 90)]
    pub patience_s: u64,
}

/// Runs the fleet.
///
/// # Errors
/// A file, a pile that cannot start, frames left unanswered at the end, or a misbehaviour that was not refused as it should be.
pub async fn run(arguments: Arguments) -> Result<Totals, FleetError> {
    let fleet = Manifest::load(&arguments.fleet)?;
    let deployment = Arc::new(Deployment::load(&arguments.deployment)?);
    let folder = arguments.fleet.parent().unwrap_or(Path::new("."));
    let gateway = Gateway::new(arguments.gateway.clone(), arguments.dns.clone(), &folder.join("pki"))?;
    fs::create_dir_all(&arguments.logs).map_err(FleetError::file(&arguments.logs))?;
    let state = arguments.state.clone().unwrap_or_else(|| folder.join("state"));
    let (honest, others) = cast(fleet.piles, arguments.misbehave);

    let (orders, order) = watch::channel(Order::Work);
    let mut tasks = JoinSet::new();
    let mut stats = Vec::new();
    for (number, pile) in honest.into_iter().take(arguments.piles.unwrap_or(usize::MAX)).enumerate() {
        let counters = Arc::new(PileStats::default());
        stats.push(counters.clone());
        let log = arguments.logs.join(format!("{}.jsonl", pile.name));
        let name = pile.name.clone();
        let task = PileTask {
            connector: Connector::new(&gateway, &pile, arguments.binding)?,
            routine: routine(&arguments),
            state: state.join(&pile.name),
            log: PileLog::open(Some(&log), pile.device_id())?,
            deployment: deployment.clone(),
            stats: counters,
            orders: order.clone(),
            start_after: Duration::from_millis(arguments.ramp_ms) * u32::try_from(number).unwrap_or(u32::MAX),
            pile,
        };
        tasks.spawn(async move { task.run().await.map_err(|error| format!("{name}: {error}")) });
    }
    let misbehaviour = arguments.misbehave.then(|| {
        let stage = misbehave::Stage {
            gateway: gateway.clone(),
            deployment: deployment.clone(),
            piles: others,
            binding: arguments.binding,
            logs: arguments.logs.join("misbehaviour"),
            state: state.join("misbehaviour"),
            patience: Duration::from_secs(arguments.patience_s),
        };
        tokio::spawn(misbehave::play(stage))
    });

    let failed = supervise(&arguments, &stats, &orders, &mut tasks, misbehaviour.as_ref()).await;
    let outcome = match misbehaviour {
        Some(played) => misbehave::conclude(&arguments.logs, played).await,
        None => Ok(()),
    };
    let totals = Totals::of(stats.iter().map(Arc::as_ref));
    if let Some(failed) = failed {
        return Err(FleetError::Unmet(failed));
    }
    outcome?;
    if totals.clean < totals.piles {
        return Err(FleetError::Unmet(format!(
            "{} of {} piles stopped with frames unanswered",
            totals.piles - totals.clean,
            totals.piles
        )));
    }
    Ok(totals)
}

/// Who is honest, and who plays the misbehaviour: those meant for it, else the last of the fleet.
fn cast(piles: Vec<Pile>, misbehave: bool) -> (Vec<Pile>, Vec<Pile>) {
    let (mut honest, mut others): (Vec<_>, Vec<_>) = piles.into_iter().partition(|pile| pile.role.charges());
    if misbehave && !others.iter().any(|pile| pile.role == Role::Misbehaving) {
        let keep = honest.len() - (honest.len() / 2).min(MISBEHAVING_MAX);
        others.extend(honest.split_off(keep));
    }
    (honest, others)
}

fn routine(arguments: &Arguments) -> Routine {
    Routine {
        charge: Duration::from_millis(arguments.charge_ms),
        pause: Duration::from_millis(arguments.pause_ms),
        telemetry_interval: Duration::from_millis(arguments.telemetry_interval_ms.max(1)),
        checkpoint_every_records: arguments.checkpoint_every,
        charges_max: arguments.charges_per_pile,
        status_every_records: arguments.status_every,
    }
}

/// Shows progress and gives the order to finish; returns the first failure of a pile.
async fn supervise(
    arguments: &Arguments,
    stats: &[Arc<PileStats>],
    orders: &watch::Sender<Order>,
    tasks: &mut JoinSet<Result<(), String>>,
    misbehaviour: Option<&tokio::task::JoinHandle<misbehave::Played>>,
) -> Option<String> {
    let started = Instant::now();
    let mut progress = Progress::new();
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    let mut interrupted = false;
    let mut finishing = false;
    let mut failed = None;
    loop {
        tokio::select! {
            ended = tasks.join_next() => match ended {
                None => break,
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(error))) => {
                    failed.get_or_insert(error);
                }
                Some(Err(error)) => {
                    failed.get_or_insert(format!("a pile's task ended: {error}"));
                }
            },
            _ = &mut interrupt, if !interrupted => interrupted = true,
            _ = ticks.tick() => progress.show(stats, started, false),
        }
        let played = misbehaviour.is_none_or(tokio::task::JoinHandle::is_finished);
        let done = is_done(arguments, &Totals::of(stats.iter().map(Arc::as_ref)), started) && played;
        if !finishing && (interrupted || failed.is_some() || done) {
            finishing = true;
            let until = Instant::now() + Duration::from_secs(arguments.finish_timeout_s);
            orders.send_replace(Order::Finish { until, await_finals: arguments.await_finals });
        }
    }
    progress.show(stats, started, true);
    failed
}

fn is_done(arguments: &Arguments, totals: &Totals, started: Instant) -> bool {
    let elapsed = arguments.duration_s.is_some_and(|s| started.elapsed() >= Duration::from_secs(s));
    let charged = arguments.charges_per_pile.is_some_and(|charges| totals.charges_min >= charges);
    let asked = arguments.until_file.as_ref().is_some_and(|path| path.exists());
    (elapsed || charged || asked) && totals.policy_min >= arguments.until_policy
}

/// The progress line: every second over the last one on a terminal, every 5 s below it otherwise.
struct Progress {
    terminal: bool,
    shown_at: Option<Instant>,
}

impl Progress {
    fn new() -> Self {
        Self { terminal: std::io::stdout().is_terminal(), shown_at: None }
    }

    fn show(&mut self, stats: &[Arc<PileStats>], started: Instant, last: bool) {
        let every = Duration::from_secs(if self.terminal { 1 } else { 5 });
        if !last && self.shown_at.is_some_and(|at| at.elapsed() < every) {
            return;
        }
        self.shown_at = Some(Instant::now());
        let totals = Totals::of(stats.iter().map(Arc::as_ref));
        let stopped = stats.iter().filter(|pile| pile.stopped.load(Relaxed)).count();
        let (begin, end) = if self.terminal { ("\r\x1b[K", "") } else { ("", "\n") };
        let mut out = std::io::stdout().lock();
        // A closed pipe is no reason to stop charging.
        let _ = write!(out, "{begin}{:>4} s  {totals}  stopped {stopped}{end}", started.elapsed().as_secs());
        if last && self.terminal {
            let _ = writeln!(out);
        }
        let _ = out.flush();
    }
}

/// Honest piles taken for the misbehaviour if none is meant for it.
const MISBEHAVING_MAX: usize = 4;
