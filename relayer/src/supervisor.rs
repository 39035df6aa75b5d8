//! Puts the daemon together, and takes it apart in order.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use cip22_wire::digest::Domain;
use metrics::gauge;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::admin::operator::Operator;
use crate::admin::tx::Transactions;
use crate::admin::{http, socket};
use crate::chain::endpoints::Endpoints;
use crate::chain::fees::FeePolicy;
use crate::chain::signer::{Account, TransactionSigner};
use crate::chain::{Chain, SharedChain, precompiles};
use crate::clock::{Clock, SharedClock, SystemClock};
use crate::config::Config;
use crate::deployment::Deployment;
use crate::directory::Directory;
use crate::disk::{Disk, SystemDisk};
use crate::edge::tls;
use crate::error::{JournalError, ServeError, SignerError};
use crate::gateway::{Gateway, Parts, Settings};
use crate::gateway_key::{GatewayKey, SiteSecret};
use crate::journal::Journal;
use crate::journal::appender::Appender;
use crate::journal::redb_log::RedbLog;
use crate::journal::retention::{self, RetentionSettings};
use crate::limits::LANE2_PROBE_INTERVAL_MS;
use crate::net::{Net, Tcp};
use crate::pipeline::accept::{self, AcceptLimits};
use crate::pipeline::acknowledge;
use crate::pipeline::batch::{self, BatchSettings};
use crate::pipeline::cosign::Lane2;
use crate::pipeline::dispatch::{Dispatcher, TxRequest, Work};
use crate::pipeline::revoke::{self, RevokeSettings};
use crate::pipeline::round;
use crate::pipeline::submit::{PendingBatch, Submitter, SubmitterSettings};
use crate::policy::anchors::Anchors;
use crate::policy::announce;
use crate::policy::watch::ChainWatcher;
use crate::state::State;
use crate::status::Status;
use crate::view::ChainView;

/// Time for sessions to end in a stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Operators' requests about transactions that may wait.
const TX_REQUESTS_MAX: usize = 16;
/// Number of SIGXFSZ on Linux for x86, ARM, POWER and RISC-V.
const SIGXFSZ: i32 = 25;
/// An endpoint that gave no answer about lane 2 is asked again after this time, ms.
const LANE2_RETRY_MS: u64 = 1_000;
/// Facts and outcomes that may wait.
const QUEUE_ITEMS_MAX: usize = 1_024;

/// Runs the daemon until SIGTERM or SIGINT, or until the journal fails.
///
/// Once it serves, it prints one line of JSON to standard output: the addresses it listens on.
pub async fn serve(config: Config) -> Result<(), ServeError> {
    let metrics = PrometheusBuilder::new().install_recorder().map_err(ServeError::Metrics)?;
    let tls = tls::server(&SystemDisk, &config)?;
    let ciphers = shangmi::suite::detect();
    tracing::info!(
        sm4_gcm = ?ciphers.sm4_gcm,
        aes_instructions = ciphers.aes_instructions,
        sealed_bodies = ?config.gateway.sealed_bodies,
        tls_mode = ?config.tls.mode,
        "ciphers as this processor computes them"
    );
    let mut end = End::new().map_err(ServeError::Signals)?;
    let mut daemon = Daemon::start(config).await?;
    let (status, http_listen) = daemon.serve_operators(metrics).await?;
    let early = tokio::select! {
        why = end.wait(&daemon.gateway) => Some(why),
        () = directory_known(&daemon.gateway) => None,
    };
    let why = match early {
        Some(why) => why,
        None => daemon.serve_piles(tls, &status, http_listen, &mut end).await?,
    };
    tracing::info!(why, "relayer stops");
    drop(status);
    daemon.finish().await
}

/// The running parts.
struct Daemon {
    config: Config,
    clock: SharedClock,
    deployment: Arc<Deployment>,
    endpoints: Endpoints,
    gateway: Arc<Gateway>,
    journal: Arc<dyn Journal>,
    /// Ends sessions and accepting.
    stop: CancellationToken,
    /// Ends everything else, afterwards.
    chain_stop: CancellationToken,
    tasks: JoinSet<()>,
    writer: JoinHandle<Result<(), JournalError>>,
    /// What operators ask of transactions.
    tx_requests: mpsc::Sender<TxRequest>,
    /// Held until the end: no other process on this machine signs with these keys.
    signer_locks: Vec<File>,
}

/// What the chain side takes over from the start.
struct ChainSide {
    chain: SharedChain,
    signers: Vec<TransactionSigner>,
    pending: Vec<PendingBatch>,
    tx_requests: mpsc::Receiver<TxRequest>,
    view: watch::Sender<ChainView>,
    directory: Arc<ArcSwap<Directory>>,
    from_block: u64,
    anchors: Anchors,
}

impl Daemon {
    /// Reads keys and deployment, replays the journal, and starts following the chain and submitting to it.
    async fn start(config: Config) -> Result<Self, ServeError> {
        let disk = SystemDisk;
        let clock: SharedClock = Arc::new(SystemClock::new());
        let deployment = Arc::new(Deployment::load(&config.chain.deployment_file)?);
        let key = GatewayKey::from_bytes(config.gateway_key(&disk)?.expose())?;
        let site_secret = SiteSecret::new(config.site_secret(&disk)?.into_inner());
        let (signers, signer_locks) = signers(&disk, &config, deployment.chain_id)?;
        let endpoints = connect(&config, &deployment, &clock).await?;
        let chain: SharedChain = Arc::new(endpoints.clone());

        let journal: Arc<dyn Journal> = Arc::new(RedbLog::open(&config.journal.path)?);
        let state = restore(&*journal, &*clock)?;
        let token = journal.acquire(&format!("gateway 0x{}", hex::encode(key.address())))?;
        let (appender, writer) = Appender::start(Arc::clone(&journal), token, Arc::clone(&clock))?;
        let pending = pending_batches(&state);
        // Behind the newest anchor a reorganisation would not be noticed: what follows it is read again.
        let anchored = state.anchors.last_key_value().map_or(0, |(block, _)| *block);
        let from_block = anchored.saturating_add(1).max(deployment.start_block);
        let anchors = Anchors::new(state.anchors.clone());

        let stop = CancellationToken::new();
        let directory = Arc::new(ArcSwap::from_pointee(Directory::default()));
        let (view, view_reader) = watch::channel(ChainView::default());
        let gateway = Arc::new(Gateway::new(Parts {
            settings: settings(&config, &deployment),
            clock: Arc::clone(&clock),
            key,
            site_secret,
            domain: Domain { chain_id: deployment.chain_id, verifying_contract: deployment.verifier() },
            directory: Arc::clone(&directory),
            view: view_reader,
            appender,
            state,
            stop: stop.clone(),
        }));
        let (tx_requests, requests_in) = mpsc::channel(TX_REQUESTS_MAX);
        let (chain_stop, tasks) = (CancellationToken::new(), JoinSet::new());
        let mut daemon = Self {
            config,
            clock,
            deployment,
            endpoints,
            gateway,
            journal,
            stop,
            chain_stop,
            tasks,
            writer,
            tx_requests,
            signer_locks,
        };
        daemon.start_chain_side(ChainSide {
            chain,
            signers,
            pending,
            tx_requests: requests_in,
            view,
            directory,
            from_block,
            anchors,
        });
        Ok(daemon)
    }

    fn start_chain_side(&mut self, side: ChainSide) {
        let Self { config, clock, deployment, gateway, chain_stop: stop, tasks, journal, .. } = self;
        let (facts, facts_in) = mpsc::channel(QUEUE_ITEMS_MAX);
        let (batches, batches_in) = mpsc::channel(QUEUE_ITEMS_MAX);
        let (outcomes, outcomes_in) = mpsc::channel(QUEUE_ITEMS_MAX);
        let settings = retention_settings(config, deployment);
        tasks.spawn(retention::run(gateway.clone(), journal.clone(), settings, stop.clone()));
        let poll_interval_ms = config.chain.poll_interval_ms;
        let watcher =
            ChainWatcher::new(side.chain.clone(), deployment.clone(), clock.clone(), poll_interval_ms);
        let (undone, undone_in) = mpsc::channel(QUEUE_ITEMS_MAX);
        let from_block = side.from_block;
        tasks.spawn(watcher.run(side.view, side.directory, facts, from_block, side.anchors, stop.clone()));
        tasks.spawn(announce::run(gateway.clone(), stop.clone()));
        tasks.spawn(acknowledge::run(gateway.clone(), facts_in, outcomes_in, undone, stop.clone()));
        let revocations = RevokeSettings {
            deadline_blocks: config.revoke.deadline_blocks,
            grace_wh: config.revoke.grace_wh,
        };
        tasks.spawn(revoke::run(gateway.clone(), revocations, stop.clone()));
        let window_blocks = u64::from(deployment.ring_epochs.saturating_sub(1)) * deployment.epoch_len_blocks;
        let mut dispatcher = Dispatcher::new(gateway.clone(), clock.clone(), window_blocks);
        let mut pending = side.pending;
        for account in accounts(side.signers, &pending) {
            let address = account.address();
            let desk = dispatcher.add(address, account.signer().is_some());
            let own: Vec<PendingBatch>;
            (own, pending) = pending.into_iter().partition(|batch| batch.signer() == Some(address));
            let settings = submitter_settings(config);
            let submitter =
                Submitter::new(side.chain.clone(), account, clock.clone(), gateway.clone(), settings);
            tasks.spawn(submitter.run(desk, own, outcomes.clone(), stop.clone()));
        }
        let work = Work { batches: batches_in, undone: undone_in, requests: side.tx_requests };
        tasks.spawn(dispatcher.run(work, pending, outcomes, stop.clone()));
        let settings = BatchSettings {
            close_grace_ms: config.batch.close_grace_ms,
            records_max: config.batch.records_max,
            advance_max: config.batch.advance_max,
            lane: config.batch.lane,
            root_deadline_ms: config.batch.root_deadline_ms,
            deployment: (**deployment).clone(),
        };
        tasks.spawn(probe_lane2(gateway.clone(), side.chain, stop.clone()));
        tasks.spawn(round::run::run(gateway.clone(), settings.clone(), batches.clone(), stop.clone()));
        tasks.spawn(batch::run(gateway.clone(), settings, batches, stop.clone()));
    }

    /// The admin socket, metrics and probes. Returns the status they read, and the address of the probes.
    async fn serve_operators(
        &mut self,
        metrics: PrometheusHandle,
    ) -> Result<(Arc<Status>, SocketAddr), ServeError> {
        let address = &self.config.admin.http_listen;
        let listener = Tcp.listen(address).await.map_err(ServeError::listen(address))?;
        let http_listen = listener.local_addr().map_err(ServeError::listen(address))?;
        let status =
            Arc::new(Status::new(self.gateway.clone(), self.deployment.clone(), self.endpoints.clone()));
        let admin = socket::AdminSocket::bind(&self.config.admin.socket).map_err(ServeError::Admin)?;
        let operator = Arc::new(Operator {
            gateway: self.gateway.clone(),
            journal: self.journal.clone(),
            status: status.clone(),
            transactions: Transactions::new(self.tx_requests.clone()),
        });
        self.tasks.spawn(admin.serve(operator, self.clock.clone(), self.chain_stop.clone()));
        let probes =
            http::serve(listener, metrics, status.clone(), self.clock.clone(), self.chain_stop.clone());
        self.tasks.spawn(async move {
            if let Err(error) = probes.await {
                tracing::error!(%error, "metrics and probes are not served any more");
            }
        });
        Ok((status, http_listen))
    }

    /// Accepts piles until there is a reason to end, then drains their sessions. Returns the reason.
    async fn serve_piles(
        &self,
        tls: rustls_shangmi::Server,
        status: &Status,
        http_listen: SocketAddr,
        end: &mut End,
    ) -> Result<&'static str, ServeError> {
        let address = &self.config.gateway.listen;
        let listener = Tcp.listen(address).await.map_err(ServeError::listen(address))?;
        let listen = listener.local_addr().map_err(ServeError::listen(address))?;
        let limits = AcceptLimits::from(&self.config);
        let (gateway, clock) = (self.gateway.clone(), self.clock.clone());
        let mut accepting =
            tokio::spawn(accept::run(listener, tls, gateway, clock, limits, self.stop.clone()));
        tracing::info!(%listen, %http_listen, chain_id = self.deployment.chain_id, "relayer serves");
        status.serves_on(listen);
        println!("{}", json!({ "listen": listen, "http_listen": http_listen }));
        let why = end.wait(&self.gateway).await;
        tracing::info!(why, "sessions are drained");
        self.stop.cancel();
        tokio::select! {
            _ = &mut accepting => {}
            () = self.clock.sleep(STOP_TIMEOUT) => {
                tracing::warn!("some connections did not end in time");
                // Its connections hold the gateway, and the gateway the journal's writer.
                accepting.abort();
                let _ = accepting.await;
            }
        }
        Ok(why)
    }

    /// Ends what is left, the journal last.
    async fn finish(mut self) -> Result<(), ServeError> {
        self.stop.cancel();
        self.chain_stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        let failed = self.gateway.failed.is_cancelled();
        drop(self.gateway);
        drop(self.journal);
        // The writer ends when the last handle to it is gone, after it has written what it was given.
        let written = tokio::task::spawn_blocking(move || self.writer.join()).await;
        drop(self.signer_locks);
        match written {
            Ok(Ok(Ok(()))) if !failed => {}
            Ok(Ok(Err(error))) => return Err(ServeError::JournalFailed(error)),
            _ => return Err(ServeError::JournalFailed(JournalError::Closed)),
        }
        Ok(())
    }
}

/// Until the registry has been read once, no pile could be told from a stranger: piles are not listened to before.
async fn directory_known(gateway: &Gateway) {
    let mut view = gateway.view.clone();
    if view.wait_for(|view| view.latest_block > 0).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Asks the network whether it verifies roots: until it is known, and now and then where it does not.
async fn probe_lane2(gateway: Arc<Gateway>, chain: SharedChain, stop: CancellationToken) {
    loop {
        let pause_ms = match precompiles::has_bls(&*chain).await {
            Ok(true) => {
                tracing::info!("the network verifies BLS12-381 signatures: batches may go by lane 2");
                return gateway.cosign.set_lane2(Lane2::Available);
            }
            Ok(false) => {
                tracing::warn!("no BLS12-381 precompiles (EIP-2537) on this network: batches go by lane 1");
                gateway.cosign.set_lane2(Lane2::Missing);
                LANE2_PROBE_INTERVAL_MS
            }
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "whether lane 2 is there is not known"
                );
                LANE2_RETRY_MS
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = gateway.clock.sleep(Duration::from_millis(pause_ms)) => {}
        }
    }
}

/// The chain client. Endpoints of another chain are left out, and refused where the others make no quorum; unreachable ones are waited
/// for later.
async fn connect(
    config: &Config,
    deployment: &Arc<Deployment>,
    clock: &SharedClock,
) -> Result<Endpoints, ServeError> {
    let endpoints = Endpoints::from_config(&config.chain, deployment, clock)?;
    if let Err(error) = endpoints.heads().await {
        if let Some((endpoint, found)) = endpoints.wrong_chain() {
            return Err(ServeError::WrongChain { endpoint, found, expected: deployment.chain_id });
        }
        tracing::warn!(error = &error as &dyn std::error::Error, "no quorum of chain endpoints answers");
    }
    Ok(endpoints)
}

fn restore(journal: &dyn Journal, clock: &dyn Clock) -> Result<State, ServeError> {
    let started_ms = clock.monotonic_ms();
    let mut state = State::default();
    let mut records = 0_u64;
    journal.replay(journal.first()?, &mut |_, record| {
        records += 1;
        state.apply(&record);
    })?;
    let elapsed_ms = clock.monotonic_ms().saturating_sub(started_ms);
    gauge!("journal_replayed_records").set(records as f64);
    gauge!("journal_replay_seconds").set(elapsed_ms as f64 / 1_000.0);
    tracing::info!(
        records,
        elapsed_ms,
        scanned_to = state.scanned_to,
        open_batches = state.batches.len(),
        uncovered = state.uncovered.len(),
        "journal replayed"
    );
    Ok(state)
}

/// The accounts that pay, each with its key file locked.
fn signers(
    disk: &SystemDisk,
    config: &Config,
    chain_id: u64,
) -> Result<(Vec<TransactionSigner>, Vec<File>), ServeError> {
    let mut signers: Vec<TransactionSigner> = Vec::new();
    let mut locks = Vec::new();
    for (secret, path) in config.signer_keys(disk)?.iter().zip(&config.chain.signer_key_files) {
        let key = Zeroizing::new(hex::encode(secret.expose()));
        let signer = TransactionSigner::from_hex(&key, chain_id)?;
        if signers.iter().any(|other| other.address() == signer.address()) {
            return Err(SignerError::Twice { signer: hex::encode(signer.address()) }.into());
        }
        let path = path.display().to_string();
        let lock = disk.lock(Path::new(&path)).map_err(|_| SignerError::InUse { path })?;
        signers.push(signer);
        locks.push(lock);
    }
    Ok((signers, locks))
}

/// The configured signers, and those that the journal has transactions of and that are not configured any more.
fn accounts(signers: Vec<TransactionSigner>, pending: &[PendingBatch]) -> Vec<Account> {
    let mut accounts: Vec<Account> = signers.into_iter().map(Account::Signing).collect();
    for address in pending.iter().filter_map(PendingBatch::signer) {
        if accounts.iter().all(|account| account.address() != address) {
            let batches = pending.iter().filter(|batch| batch.signer() == Some(address)).count();
            let signer = format!("0x{}", hex::encode(address));
            tracing::error!(
                signer,
                batches,
                "this signer has transactions under way and is not in chain.signer_key_files: they are watched and sent again, but cannot be replaced"
            );
            accounts.push(Account::Watched(address));
        }
    }
    accounts
}

/// Batches that are on disk and not under `safe`, with every attempt made.
fn pending_batches(state: &State) -> Vec<PendingBatch> {
    let open = state.batches.values().filter(|batch| batch.safe.is_none());
    open.map(acknowledge::pending).collect()
}

/// What sessions need of the configuration and the deployment.
pub fn settings(config: &Config, deployment: &Deployment) -> Settings {
    Settings {
        heartbeat_interval_ms: config.gateway.heartbeat_interval_ms,
        max_payload: config.gateway.max_payload,
        answer_window_blocks: config.gateway.answer_window_blocks,
        deadline_margin_blocks: config.gateway.deadline_margin_blocks,
        open_charges_per_device_max: config.gateway.open_charges_per_device_max as usize,
        sealed_bodies: config.gateway.sealed_bodies,
        idle_timeout_ms: config.limits.idle_timeout_ms,
        hello_timeout_ms: config.limits.handshake_timeout_ms,
        frame_timeout_ms: config.limits.frame_timeout_ms,
        accepts_per_second_max: config.limits.accepts_per_second_max,
        frames_per_second_max: config.limits.frames_per_second_max,
        frame_burst_max: config.limits.frame_burst_max,
        send_queue_frames_max: config.limits.send_queue_frames_max,
        send_queue_bytes_max: config.limits.send_queue_bytes_max,
        epoch_len_blocks: deployment.epoch_len_blocks,
        ring_epochs: deployment.ring_epochs,
    }
}

fn retention_settings(config: &Config, deployment: &Deployment) -> RetentionSettings {
    let ring_blocks = u64::from(deployment.ring_epochs).saturating_mul(deployment.epoch_len_blocks);
    let ticket_blocks = config.gateway.answer_window_blocks + config.gateway.deadline_margin_blocks;
    RetentionSettings {
        window_blocks: ring_blocks.max(ticket_blocks),
        retention_blocks: config.journal.retention_blocks,
        epoch_len_blocks: deployment.epoch_len_blocks,
    }
}

fn submitter_settings(config: &Config) -> SubmitterSettings {
    const GWEI: u128 = 1_000_000_000;
    SubmitterSettings {
        fees: FeePolicy {
            max_fee_per_gas_cap: u128::from(config.chain.max_fee_gwei) * GWEI,
            tip_per_gas: u128::from(config.chain.priority_fee_gwei) * GWEI,
        },
        rebroadcast_blocks: config.chain.rebroadcast_blocks,
        replace_blocks: config.chain.replace_blocks,
        poll_interval_ms: config.chain.poll_interval_ms,
    }
}

/// What ends the daemon.
struct End {
    terminate: Signal,
    interrupt: Signal,
    /// Taken, a write past the limit on file sizes fails like one on a full disk; left alone, it would kill the process.
    _file_size: Signal,
}

impl End {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            _file_size: signal(SignalKind::from_raw(SIGXFSZ))?,
        })
    }

    async fn wait(&mut self, gateway: &Gateway) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            () = gateway.failed.cancelled() => "the journal failed",
        }
    }
}
