//! Errors of the relayer. Each answers whose fault it is and whether to try again.

use std::time::Duration;

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The pile sent something wrong.
    Device,
    /// The chain or its endpoint.
    Chain,
    /// Our disk.
    Store,
    /// Configuration, certificates, funds.
    Operator,
    /// A defect of this program.
    Us,
}

impl Fault {
    /// Its name in the answers to operators.
    pub fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Chain => "chain",
            Self::Store => "store",
            Self::Operator => "operator",
            Self::Us => "us",
        }
    }
}

/// An error's text with those of its causes, for people.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        // Transparent errors repeat their source's text.
        if !text.ends_with(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}

/// Whether to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same would fail again.
    Never,
    /// After this time.
    After(Duration),
}

/// Failures of the chain or its endpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The endpoint could not be reached or did not answer in time.
    #[error("endpoint {endpoint} did not answer {method}")]
    Unreachable {
        /// Endpoint, without credentials.
        endpoint: String,
        /// JSON-RPC method.
        method: &'static str,
        /// Cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The endpoint answered with a JSON-RPC error.
    #[error("{method} was refused: {message} (code {code})")]
    Refused {
        /// JSON-RPC method.
        method: &'static str,
        /// Code.
        code: i64,
        /// Message, for people only: no decision rests on it.
        message: String,
    },
    /// The call would revert.
    #[error("{method} would revert: 0x{}", hex::encode(data))]
    Reverted {
        /// JSON-RPC method.
        method: &'static str,
        /// Revert data.
        data: Vec<u8>,
    },
    /// The configured endpoint cannot be used at all.
    #[error("endpoint {endpoint} cannot be used: {problem}")]
    Endpoint {
        /// Endpoint, without credentials.
        endpoint: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Endpoints contradict each other, and too few agree. Nothing is concluded from what any of them said.
    #[error("endpoints disagree on {fact}: {}", endpoints.join(", "))]
    Disagreement {
        /// The fact.
        fact: String,
        /// Endpoints that stated it, without credentials.
        endpoints: Vec<String>,
    },
    /// Too few endpoints could be asked, or answered.
    #[error("{fact}: {needed} endpoints have to agree, {answered} answered ({states})")]
    NoQuorum {
        /// The fact.
        fact: String,
        /// Endpoints that have to agree.
        needed: usize,
        /// Endpoints that answered.
        answered: usize,
        /// Every endpoint, without credentials, with its state.
        states: String,
    },
    /// The answer could not be understood.
    #[error("{method} answered with something else: {what}")]
    Malformed {
        /// JSON-RPC method.
        method: &'static str,
        /// What was wrong.
        what: String,
    },
}

impl ChainError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Endpoint { .. } => Fault::Operator,
            _ => Fault::Chain,
        }
    }

    /// Whether it is an answer: the node understood the call and said no. Says nothing against the endpoint.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Reverted { .. })
    }

    /// Whether to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Unreachable { .. }
            | Self::Malformed { .. }
            | Self::Disagreement { .. }
            | Self::NoQuorum { .. } => Retry::After(Duration::from_secs(1)),
            Self::Refused { .. } => Retry::After(Duration::from_secs(2)),
            Self::Reverted { .. } | Self::Endpoint { .. } => Retry::Never,
        }
    }
}

/// Failures of the journal. After [`JournalError::Write`] nothing more is written: pages may be gone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The file could not be opened.
    #[error("journal {path} cannot be opened")]
    Open {
        /// Path.
        path: String,
        /// Cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A read failed.
    #[error("journal read failed")]
    Read(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A write or its fsync failed.
    #[error("journal {path} cannot be written")]
    Write {
        /// Path.
        path: String,
        /// Cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A record does not decode.
    #[error("journal record {lsn} does not decode")]
    Corrupt {
        /// Position.
        lsn: u64,
        /// Cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A record is missing.
    #[error("journal record {expected} is missing, record {found} follows")]
    Gap {
        /// Its position.
        expected: u64,
        /// The next one there is.
        found: u64,
    },
    /// A restore would lose records.
    #[error(
        "journal {path} goes to record {found}, the copy only to {newest}; move it away if it is to be given up"
    )]
    Newer {
        /// Path of the journal in place.
        path: String,
        /// Its newest record.
        found: u64,
        /// The copy's newest record.
        newest: u64,
    },
    /// The writer's thread could not be started.
    #[error("journal writer cannot be started")]
    Start(#[source] std::io::Error),
    /// An earlier write failed; its cause was told then.
    #[error("journal has failed: {cause}")]
    Failed {
        /// The failed write, for people.
        cause: String,
    },
    /// A record could not be signed.
    #[error("a record could not be made: {cause}")]
    Record {
        /// Cause, for people.
        cause: String,
    },
    /// Another owner took over.
    #[error("journal is owned by another process (token {current}, ours {ours})")]
    Fenced {
        /// Present token.
        current: u64,
        /// Our token.
        ours: u64,
    },
    /// The appender has stopped.
    #[error("journal is closed")]
    Closed,
}

impl JournalError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Fenced { .. } | Self::Newer { .. } => Fault::Operator,
            Self::Start(_) | Self::Record { .. } => Fault::Us,
            _ => Fault::Store,
        }
    }

    /// Never: after a failed fsync, pages may be gone; the process stops and recovery decides.
    pub fn retry(&self) -> Retry {
        Retry::Never
    }
}

/// A deployment file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeploymentError {
    /// The file could not be read.
    #[error("deployment file {path} cannot be read")]
    Read {
        /// Path.
        path: String,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The file is not JSON.
    #[error("deployment file {path} is not JSON")]
    Json {
        /// Path.
        path: String,
        /// Cause.
        #[source]
        source: serde_json::Error,
    },
    /// A field is missing or has an impossible value.
    #[error("deployment file {path}: field `{field}` {problem}")]
    Field {
        /// Path.
        path: String,
        /// Field, as a path inside the document.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// A transaction key that cannot be used, or that could not sign. Never holds any part of the key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignerError {
    /// The file's content is not a key.
    #[error("a signer's key is not {expected}")]
    Key {
        /// What was expected.
        expected: &'static str,
    },
    /// Two key files hold the same key: one account would have two owners.
    #[error("chain.signer_key_files names 0x{signer} twice")]
    Twice {
        /// Account, hex.
        signer: String,
    },
    /// Another process on this machine signs with this key file.
    #[error("the signer's key file {path} is in use by another relayer")]
    InUse {
        /// Key file.
        path: String,
    },
    /// Signing failed.
    #[error("signing failed: {what}")]
    Sign {
        /// Cause.
        what: String,
    },
}

/// Why a request on the admin socket is not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The line is no request.
    #[error("not a request: {what}")]
    Malformed {
        /// What is wrong with it.
        what: String,
    },
    /// A request of another version.
    #[error("the request is of version {found}, this relayer knows version {known}")]
    Version {
        /// Its version.
        found: String,
        /// Ours.
        known: u64,
    },
    /// No such command.
    #[error("unknown command {command:?}; known: {known}")]
    UnknownCommand {
        /// As asked.
        command: String,
        /// Those that there are.
        known: String,
    },
    /// Nothing goes by that name.
    #[error("{what}")]
    NotFound {
        /// What was looked for, in a sentence.
        what: String,
    },
    /// An argument cannot be used.
    #[error("{argument} {problem}")]
    Argument {
        /// Its name.
        argument: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// It took too long.
    #[error("not done within {seconds} s")]
    TimedOut {
        /// Limit.
        seconds: u64,
    },
    /// The answer does not fit a line.
    #[error("the answer has {bytes} bytes, which is too long; ask for less")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A defect of this program.
    #[error("this should not happen: {what}")]
    Failed {
        /// What happened.
        what: String,
    },
    /// A transaction is left as it is.
    #[error(transparent)]
    Transaction(#[from] TxRefusal),
}

impl AdminError {
    /// What programs go by.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "malformed",
            Self::Version { .. } => "version",
            Self::UnknownCommand { .. } => "unknown_command",
            Self::NotFound { .. } => "not_found",
            Self::Argument { .. } => "argument",
            Self::TimedOut { .. } => "timed_out",
            Self::TooLong { .. } => "too_long",
            Self::Journal(_) => "journal",
            Self::Failed { .. } => "failed",
            Self::Transaction(refusal) => refusal.code(),
        }
    }
}

/// Why a running relayer gave no answer that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// Nobody answers.
    #[error("no answer on {}; is the relayer running?", path.display())]
    Unreachable {
        /// The admin socket.
        path: std::path::PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// It answers that it will not.
    #[error("{message}")]
    Refused {
        /// See [`AdminError::code`].
        code: String,
        /// In words.
        message: String,
    },
}

/// Why an operator's wish about a transaction was not carried out. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TxRefusal {
    /// No batch without an end has this number.
    #[error("batch {batch} is unknown or done")]
    UnknownBatch {
        /// Batch.
        batch: u64,
    },
    /// The chain has not been looked at since the start.
    #[error("the chain has not been seen yet, try again")]
    ChainNotSeen,
    /// It has a receipt.
    #[error("batch {batch} is mined in block {block}")]
    Mined {
        /// Batch.
        batch: u64,
        /// Block.
        block: u64,
    },
    /// Its nonce is used up; by whom, the next receipts tell.
    #[error("nonce {nonce} of batch {batch} is consumed already, its receipt is awaited")]
    NonceConsumed {
        /// Batch.
        batch: u64,
        /// Nonce.
        nonce: u64,
    },
    /// It has no transaction yet.
    #[error("batch {batch} has no transaction yet")]
    NothingSent {
        /// Batch.
        batch: u64,
    },
    /// A lower nonce is what it waits for.
    #[error("batch {batch} has nonce {nonce} and waits for batch {lowest}: replace that one")]
    NotLowest {
        /// Batch.
        batch: u64,
        /// Its nonce.
        nonce: u64,
        /// The batch with the lowest nonce.
        lowest: u64,
    },
    /// The cap leaves less than the 2 % more that eSpace demands.
    #[error("batch {batch} cannot be paid better: chain.max_fee_gwei is {} gwei", cap_drip / 1_000_000_000)]
    AtCap {
        /// Batch.
        batch: u64,
        /// The cap, drip per gas.
        cap_drip: u128,
    },
    /// The signer cannot pay for it.
    #[error(
        "batch {batch} needs a balance of {needed_drip} drip with what is in flight, its signer has {balance_drip}"
    )]
    CannotPay {
        /// Batch.
        batch: u64,
        /// Balance needed, drip.
        needed_drip: u128,
        /// Balance, drip.
        balance_drip: u128,
    },
    /// It is being cancelled.
    #[error("batch {batch} is being cancelled already; bump it to pay more for that")]
    CancelledAlready {
        /// Batch.
        batch: u64,
    },
    /// Its signer's key is not configured.
    #[error("the key of 0x{signer} is not in chain.signer_key_files")]
    NoKey {
        /// Signer, hex.
        signer: String,
    },
    /// Another request is being carried out.
    #[error("the relayer is busy or stops, try again")]
    Busy,
    /// It could not be made durable.
    #[error("the journal failed")]
    Journal,
}

impl TxRefusal {
    /// What programs go by.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownBatch { .. } => "unknown_batch",
            Self::ChainNotSeen => "chain_not_seen",
            Self::Mined { .. } => "mined",
            Self::NonceConsumed { .. } => "nonce_consumed",
            Self::NothingSent { .. } => "nothing_sent",
            Self::NotLowest { .. } => "not_lowest",
            Self::AtCap { .. } => "at_cap",
            Self::CannotPay { .. } => "cannot_pay",
            Self::CancelledAlready { .. } => "cancelled_already",
            Self::NoKey { .. } => "no_key",
            Self::Busy => "busy",
            Self::Journal => "journal",
        }
    }
}

/// Why the daemon did not start, or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A setting or a key file is wrong.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// The deployment file is wrong.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
    /// A certificate or its key is wrong.
    #[error(transparent)]
    Tls(#[from] crate::edge::tls::TlsError),
    /// The gateway's key is wrong.
    #[error("the gateway key cannot be used")]
    GatewayKey(#[from] crate::gateway_key::KeyError),
    /// The signer's key is wrong.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The endpoint cannot be used.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// So many endpoints serve another chain than the deployment file is for that `chain.quorum` cannot be reached.
    #[error("chain.endpoints: {endpoint} serves chain {found}, the deployment file is for {expected}")]
    WrongChain {
        /// Such an endpoint, without credentials.
        endpoint: String,
        /// Its chain id.
        found: u64,
        /// Chain id of the deployment file.
        expected: u64,
    },
    /// The journal cannot be opened or read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A port cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// Address.
        address: String,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The admin socket cannot be made.
    #[error("the admin socket cannot be made")]
    Admin(#[source] std::io::Error),
    /// Signals cannot be awaited.
    #[error("signals cannot be awaited")]
    Signals(#[source] std::io::Error),
    /// The metrics recorder cannot be installed.
    #[error("metrics cannot be recorded")]
    Metrics(#[source] metrics_exporter_prometheus::BuildError),
    /// The journal failed while serving: nothing was acknowledged since. A restart recovers what is on disk.
    #[error("the journal failed; nothing was acknowledged since, start again once the disk is well")]
    JournalFailed(#[source] JournalError),
}

impl ServeError {
    /// Turns a socket error into one that names the address.
    pub fn listen(address: &str) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let address = address.to_owned();
        move |source| Self::Listen { address, source }
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Chain(error) => error.fault(),
            Self::Journal(error) => error.fault(),
            Self::JournalFailed(error) => error.fault(),
            Self::Metrics(_) | Self::Signals(_) => Fault::Us,
            Self::Config(_)
            | Self::Deployment(_)
            | Self::Tls(_)
            | Self::GatewayKey(_)
            | Self::Signer(_)
            | Self::WrongChain { .. }
            | Self::Listen { .. }
            | Self::Admin(_) => Fault::Operator,
        }
    }
}
