//! Configuration: built-in defaults, below the TOML file, below the environment (`RELAYER__SECTION__KEY`).
//!
//! `deploy/relayer.toml` holds every key with its default and what it means.

use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};

use cip22_wire::limits::{GATEWAY_PAYLOAD_BYTES_MIN, TICKET_GRACE_BLOCKS_MIN, TICKET_LIFE_BLOCKS_MAX};
use figment::Figment;
use figment::providers::{Format, Toml};
use figment::value::Value;
use serde::{Deserialize, Serialize, Serializer};
use zeroize::{Zeroize, Zeroizing};

use crate::disk::Disk;
use crate::error::Fault;
use crate::limits::{ENDPOINTS_MAX, RECORDS_PER_BATCH_MAX};

mod defaults;
mod tls;

pub use tls::{ShangMiConfig, TlsConfig, TlsFile, TlsFiles, TlsMode};

/// The whole configuration. Paths are absolute or relative to the working folder once [`Config::load`] returned it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What piles meet.
    pub gateway: GatewayConfig,
    /// Which pairings of TLS 1.3.
    pub tls: TlsConfig,
    /// How much of everything.
    pub limits: LimitsConfig,
    /// The journal.
    pub journal: JournalConfig,
    /// The chain and its endpoints.
    pub chain: ChainConfig,
    /// How statements are gathered into transactions.
    pub batch: BatchConfig,
    /// When grants are revoked, and how gently.
    pub revoke: RevokeConfig,
    /// The operator's doors.
    pub admin: AdminConfig,
    /// The log.
    pub log: LogConfig,
    /// `--dev`: key files may be readable by others. Never in a file.
    #[serde(skip)]
    pub dev: bool,
}

/// `[gateway]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayConfig {
    /// `host:port` that piles connect to.
    pub listen: String,
    /// PEM file of the gateway's certificate chain in the standard pairing, leaf first.
    pub certificate: PathBuf,
    /// PEM file of the certificate's P-256 key.
    pub certificate_key: PathBuf,
    /// PEM file of the root that device certificates of the standard pairing chain to.
    pub root: PathBuf,
    /// Hex file of the secp256k1 key that signs tickets.
    pub gateway_key_file: PathBuf,
    /// Hex file of the 32 bytes that ticket keys derive from.
    pub site_secret_file: PathBuf,
    /// Interval of HEARTBEAT told to piles, ms.
    pub heartbeat_interval_ms: u32,
    /// Largest payload taken from a pile, bytes.
    pub max_payload: u16,
    /// Blocks in which a ticket may be answered.
    pub answer_window_blocks: u64,
    /// Blocks between the last answer and the ticket's deadline.
    pub deadline_margin_blocks: u64,
    /// Granted and unfinished charges of one device.
    pub open_charges_per_device_max: u32,
    /// Whether bodies are sealed end to end.
    pub sealed_bodies: SealedBodies,
}

/// Whether bodies are sealed end to end (protocol §4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SealedBodies {
    /// For piles that ask for it.
    Offered,
    /// Always: AUTH_RESP of other piles is refused.
    Required,
    /// Never, but for tickets that were answered so before.
    Off,
}

/// `[limits]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Open connections, handshakes included.
    pub connections_max: usize,
    /// Of these, from one address (an IPv6 network of 64 bits counts as one).
    pub connections_per_address_max: usize,
    /// Of these, with the certificate of one device; a newer one ends the oldest.
    pub connections_per_device_max: usize,
    /// TLS handshakes under way.
    pub handshakes_max: usize,
    /// Of these, from one address.
    pub handshakes_per_address_max: usize,
    /// Handshakes begun a second.
    pub accepts_per_second_max: u32,
    /// Time for a TLS handshake, for HELLO after it, and for one request of the challenge path, ms.
    pub handshake_timeout_ms: u64,
    /// Time without a byte after which a connection is closed, ms.
    pub idle_timeout_ms: u64,
    /// Time for the rest of a frame once it began, ms.
    pub frame_timeout_ms: u64,
    /// Interval of PING on an HTTP/2 connection, ms.
    pub ping_interval_ms: u64,
    /// Time for the answer to a PING, ms.
    pub ping_timeout_ms: u64,
    /// Bytes a second that are read from a connection on average; the rest waits at the sender.
    pub bytes_per_second_max: u32,
    /// Frames a second that a device may send on average.
    pub frames_per_second_max: u32,
    /// Frames that it may send at once.
    pub frame_burst_max: u32,
    /// Pushed frames waiting for one session.
    pub send_queue_frames_max: usize,
    /// Bytes waiting to be sent to one pile, from which on it is not read.
    pub send_queue_bytes_max: usize,
}

/// `[journal]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JournalConfig {
    /// The journal's file.
    pub path: PathBuf,
    /// Blocks that an epoch is kept for after the ring and its tickets' life are behind it.
    pub retention_blocks: u64,
}

/// `[chain]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChainConfig {
    /// JSON-RPC endpoints of eSpace. They may hold credentials, so each is shown as scheme and host only.
    #[serde(deserialize_with = "one_or_several")]
    pub endpoints: Vec<Endpoint>,
    /// Endpoints that have to agree on a fact.
    pub quorum: Quorum,
    /// An endpoint this many blocks behind the others is not believed.
    pub endpoint_lag_blocks_max: u64,
    /// An endpoint whose head does not move for this long is not believed, ms.
    pub endpoint_stale_ms: u64,
    /// The deployment script's output.
    pub deployment_file: PathBuf,
    /// Hex files of the secp256k1 keys that pay for transactions, one account each.
    pub signer_key_files: Vec<PathBuf>,
    /// Interval of asking for new blocks, ms.
    pub poll_interval_ms: u64,
    /// Most that a unit of gas may cost, gwei.
    pub max_fee_gwei: u64,
    /// Part of it offered to the miner, gwei.
    pub priority_fee_gwei: u64,
    /// Blocks after which an unmined transaction is sent again.
    pub rebroadcast_blocks: u64,
    /// Blocks after which an unmined transaction is replaced at a higher fee.
    pub replace_blocks: u64,
}

/// How many endpoints have to agree on a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Quorum {
    /// So many.
    Count(usize),
    /// By a rule.
    Rule(QuorumRule),
}

/// A quorum that follows the number of endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QuorumRule {
    /// More than half of them.
    Majority,
}

impl Quorum {
    /// Endpoints that have to agree, of `endpoints`.
    pub fn of(self, endpoints: usize) -> usize {
        match self {
            Self::Count(count) => count,
            Self::Rule(QuorumRule::Majority) => endpoints / 2 + 1,
        }
    }
}

/// `[batch]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchConfig {
    /// Time after an epoch's end in which late statements of it still join its batch, ms.
    pub close_grace_ms: u64,
    /// Heads in one transaction.
    pub records_max: usize,
    /// Battery checkpoints in one transaction.
    pub advance_max: usize,
    /// Which lane batches take.
    pub lane: LaneRule,
    /// Time in which piles co-sign a root, ms.
    pub root_deadline_ms: u64,
}

/// Which lane batches take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LaneRule {
    /// The cheaper one.
    Auto,
    /// Lane 1: each pile's own ECDSA signature.
    Ecdsa,
    /// Lane 2 whenever a pile co-signed.
    Bls,
}

/// `[revoke]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RevokeConfig {
    /// Blocks from a ticket's issue after which a grant that no safe head covers is revoked.
    pub deadline_blocks: u64,
    /// Energy that may still flow after a revocation, Wh.
    pub grace_wh: u32,
}

/// `[admin]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminConfig {
    /// Unix socket of `relayer status`.
    pub socket: PathBuf,
    /// `host:port` of /metrics, /health and /ready.
    pub http_listen: String,
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Directives of tracing's `EnvFilter`.
    pub filter: String,
    /// `text` or `json`.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why a configuration cannot be used. Always the operator's to mend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file named by the configuration, or the configuration itself, could not be read.
    #[error("{what} {} cannot be read", path.display())]
    Read {
        /// Key of the configuration, or `configuration`.
        what: &'static str,
        /// Path.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The file or the environment does not parse; names the key.
    #[error("configuration {} is not valid", path.display())]
    Parse {
        /// Path of the file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: Box<figment::Error>,
    },
    /// A value is outside its limits.
    #[error("{key} is {value}, but {limit}")]
    Value {
        /// `section.key`.
        key: &'static str,
        /// The value.
        value: String,
        /// What it has to be.
        limit: String,
    },
    /// A key file may be read by others than its owner.
    #[error("{key} {} may be read by group or others; `chmod 600` it, or pass --dev", path.display())]
    NotPrivate {
        /// `section.key`.
        key: &'static str,
        /// Path.
        path: PathBuf,
    },
    /// A key file does not hold 32 bytes as hex.
    #[error("{key} {} does not hold 64 hex digits", path.display())]
    NotHex {
        /// `section.key`.
        key: &'static str,
        /// Path.
        path: PathBuf,
    },
}

impl ConfigError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        Fault::Operator
    }
}

impl LimitsConfig {
    fn validate(&self, gateway: &GatewayConfig) -> Result<(), ConfigError> {
        let connections = self.connections_max as u64;
        within("limits.connections_max", connections, 1, 1_000_000)?;
        within("limits.connections_per_address_max", self.connections_per_address_max as u64, 1, 1_000_000)?;
        within("limits.connections_per_device_max", self.connections_per_device_max as u64, 2, 1_000)?;
        within("limits.handshakes_max", self.handshakes_max as u64, 1, 100_000)?;
        let handshakes = self.handshakes_per_address_max as u64;
        within("limits.handshakes_per_address_max", handshakes, 1, self.handshakes_max as u64)?;
        within("limits.accepts_per_second_max", u64::from(self.accepts_per_second_max), 1, 100_000)?;
        within("limits.handshake_timeout_ms", self.handshake_timeout_ms, 100, 120_000)?;
        let beats_ms = 2 * u64::from(gateway.heartbeat_interval_ms);
        within("limits.idle_timeout_ms", self.idle_timeout_ms, beats_ms, 3_600_000)?;
        within("limits.frame_timeout_ms", self.frame_timeout_ms, 100, 3_600_000)?;
        within("limits.ping_interval_ms", self.ping_interval_ms, 100, 3_600_000)?;
        within("limits.ping_timeout_ms", self.ping_timeout_ms, 100, 3_600_000)?;
        within("limits.bytes_per_second_max", u64::from(self.bytes_per_second_max), 16_384, 1 << 30)?;
        let per_second = u64::from(self.frames_per_second_max);
        within("limits.frames_per_second_max", per_second, 1, 100_000)?;
        within("limits.frame_burst_max", u64::from(self.frame_burst_max), per_second, 1_000_000)?;
        within("limits.send_queue_frames_max", self.send_queue_frames_max as u64, 16, 65_536)?;
        within("limits.send_queue_bytes_max", self.send_queue_bytes_max as u64, 4_096, 1 << 26)
    }
}

impl Config {
    /// Reads the file at `path`, lays the environment over it, checks every value, and resolves paths against the file's folder.
    pub fn load(disk: &dyn Disk, path: &Path, dev: bool) -> Result<Self, ConfigError> {
        let read_error = |source| ConfigError::Read { what: "configuration", path: path.to_owned(), source };
        let bytes = disk.read(path).map_err(read_error)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| read_error(std::io::Error::new(std::io::ErrorKind::InvalidData, "not UTF-8")))?;
        let mut config = Self::parse(path, &text, environment())?;
        config.validate()?;
        config.resolve(path.parent().unwrap_or(Path::new("")));
        config.dev = dev;
        Ok(config)
    }

    /// Parses `text` over the defaults and the variables of `environment` named `RELAYER__…` over both, without checking values.
    pub fn parse(
        path: &Path,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut figment = Figment::from(Toml::string(text));
        for (name, value) in environment {
            if let Some(key) = name.strip_prefix(ENVIRONMENT_PREFIX) {
                let key = key.to_ascii_lowercase().replace("__", ".");
                let value: Value = value.parse().unwrap_or_else(|never: Infallible| match never {});
                figment = figment.merge((key, value));
            }
        }
        figment
            .extract()
            .map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })
    }

    /// The effective configuration as TOML, endpoints redacted.
    pub fn to_toml(&self) -> String {
        // Every value is a string, a number or a table of these.
        toml::to_string_pretty(self).expect("a configuration is valid TOML")
    }

    /// Checks every value against its limits.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let Self { gateway, limits, journal, chain, batch, revoke, admin, log, .. } = self;
        address("gateway.listen", &gateway.listen)?;
        within("gateway.heartbeat_interval_ms", u64::from(gateway.heartbeat_interval_ms), 100, 600_000)?;
        within(
            "gateway.max_payload",
            u64::from(gateway.max_payload),
            u64::from(GATEWAY_PAYLOAD_BYTES_MIN),
            u64::from(u16::MAX),
        )?;
        within(
            "gateway.answer_window_blocks",
            gateway.answer_window_blocks,
            1,
            TICKET_LIFE_BLOCKS_MAX - TICKET_GRACE_BLOCKS_MIN,
        )?;
        within(
            "gateway.deadline_margin_blocks",
            gateway.deadline_margin_blocks,
            TICKET_GRACE_BLOCKS_MIN,
            TICKET_LIFE_BLOCKS_MAX - gateway.answer_window_blocks,
        )?;
        within("gateway.open_charges_per_device_max", u64::from(gateway.open_charges_per_device_max), 1, 16)?;
        limits.validate(gateway)?;
        within("journal.retention_blocks", journal.retention_blocks, 0, 100_000_000)?;
        chain.validate_endpoints()?;
        within("chain.signer_key_files", chain.signer_key_files.len() as u64, 1, SIGNERS_MAX as u64)?;
        within("chain.poll_interval_ms", chain.poll_interval_ms, 10, 60_000)?;
        within("chain.max_fee_gwei", chain.max_fee_gwei, 1, 1_000_000)?;
        within("chain.priority_fee_gwei", chain.priority_fee_gwei, 0, chain.max_fee_gwei)?;
        within("chain.rebroadcast_blocks", chain.rebroadcast_blocks, 1, 10_000)?;
        within("chain.replace_blocks", chain.replace_blocks, chain.rebroadcast_blocks, 100_000)?;
        within("batch.close_grace_ms", batch.close_grace_ms, 0, 60_000)?;
        within("batch.records_max", batch.records_max as u64, 1, RECORDS_PER_BATCH_MAX as u64)?;
        within("batch.advance_max", batch.advance_max as u64, 1, 64)?;
        within("batch.root_deadline_ms", batch.root_deadline_ms, 100, 60_000)?;
        within("revoke.deadline_blocks", revoke.deadline_blocks, 1, 65_535)?;
        within("revoke.grace_wh", u64::from(revoke.grace_wh), 0, 100_000)?;
        address("admin.http_listen", &admin.http_listen)?;
        log.filter.parse::<tracing_subscriber::EnvFilter>().map_err(|error| ConfigError::Value {
            key: "log.filter",
            value: format!("{:?}", log.filter),
            limit: format!("it has to be a list of filter directives: {error}"),
        })?;
        Ok(())
    }

    /// The gateway's signing key.
    pub fn gateway_key(&self, disk: &dyn Disk) -> Result<Secret, ConfigError> {
        Secret::read(disk, "gateway.gateway_key_file", &self.gateway.gateway_key_file, self.dev)
    }

    /// The secret that ticket keys derive from.
    pub fn site_secret(&self, disk: &dyn Disk) -> Result<Secret, ConfigError> {
        Secret::read(disk, "gateway.site_secret_file", &self.gateway.site_secret_file, self.dev)
    }

    /// The keys that pay for transactions, in the order of the configuration.
    pub fn signer_keys(&self, disk: &dyn Disk) -> Result<Vec<Secret>, ConfigError> {
        let files = self.chain.signer_key_files.iter();
        files.map(|path| Secret::read(disk, "chain.signer_key_files", path, self.dev)).collect()
    }

    /// Makes relative paths relative to `folder` instead of the configuration file.
    fn resolve(&mut self, folder: &Path) {
        for path in [
            &mut self.gateway.certificate,
            &mut self.gateway.certificate_key,
            &mut self.gateway.root,
            &mut self.tls.shangmi.certificate,
            &mut self.tls.shangmi.certificate_key,
            &mut self.tls.shangmi.root,
            &mut self.gateway.gateway_key_file,
            &mut self.gateway.site_secret_file,
            &mut self.journal.path,
            &mut self.chain.deployment_file,
            &mut self.admin.socket,
        ]
        .into_iter()
        .chain(&mut self.chain.signer_key_files)
        {
            *path = folder.join(&*path);
        }
    }
}

impl ChainConfig {
    fn validate_endpoints(&self) -> Result<(), ConfigError> {
        let key = "chain.endpoints";
        within(key, self.endpoints.len() as u64, 1, ENDPOINTS_MAX as u64)?;
        for (at, one) in self.endpoints.iter().enumerate() {
            endpoint(key, one)?;
            if self.endpoints.iter().take(at).any(|other| other == one) {
                let limit = "each endpoint has to be named once: it has one vote".into();
                return Err(ConfigError::Value { key, value: one.redacted(), limit });
            }
        }
        let quorum = self.quorum.of(self.endpoints.len());
        within("chain.quorum", quorum as u64, 1, self.endpoints.len() as u64)?;
        within("chain.endpoint_lag_blocks_max", self.endpoint_lag_blocks_max, 1, 10_000)?;
        within("chain.endpoint_stale_ms", self.endpoint_stale_ms, 1_000, 3_600_000)
    }
}

/// 32 secret bytes from a key file. Erased when dropped.
pub struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    /// Reads a file of 64 hex digits, with or without `0x`. A file that others may read is refused unless `dev`.
    pub fn read(disk: &dyn Disk, key: &'static str, path: &Path, dev: bool) -> Result<Self, ConfigError> {
        let read_error = |source| ConfigError::Read { what: key, path: path.to_owned(), source };
        check_private(disk, key, path, dev)?;
        let bytes = Zeroizing::new(disk.read(path).map_err(read_error)?);
        let digits = bytes.trim_ascii();
        let digits = digits.strip_prefix(b"0x").unwrap_or(digits);
        let mut secret = Zeroizing::new([0; 32]);
        hex::decode_to_slice(digits, secret.as_mut_slice())
            .map_err(|_| ConfigError::NotHex { key, path: path.to_owned() })?;
        Ok(Self(secret))
    }

    /// The bytes.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Gives the bytes away.
    pub fn into_inner(self) -> Zeroizing<[u8; 32]> {
        self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// Refuses a key file that group or others may read or write, unless `dev`.
pub fn check_private(disk: &dyn Disk, key: &'static str, path: &Path, dev: bool) -> Result<(), ConfigError> {
    let private = disk.is_private(path).map_err(|source| ConfigError::Read {
        what: key,
        path: path.to_owned(),
        source,
    })?;
    if private || dev { Ok(()) } else { Err(ConfigError::NotPrivate { key, path: path.to_owned() }) }
}

/// The address of an endpoint. Only scheme, host and port are ever shown: providers put keys into path and query.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Endpoint(String);

impl Endpoint {
    /// Takes over a URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The whole URL.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Scheme, host and port; `…` for each part left out.
    pub fn redacted(&self) -> String {
        let Some((scheme, rest)) = self.0.split_once("://") else { return "…".to_owned() };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        let host = authority.rsplit_once('@').map_or(authority.to_owned(), |(_, host)| format!("…@{host}"));
        let tail = if tail.len() > 1 { "/…" } else { tail };
        format!("{scheme}://{host}{tail}")
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.redacted())
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// A list of endpoints, or one alone. What does not parse is not shown: it may hold credentials.
fn one_or_several<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Endpoint>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a list of URLs")]
    enum Endpoints {
        One(Endpoint),
        Several(Vec<Endpoint>),
    }
    Ok(match Endpoints::deserialize(deserializer)? {
        Endpoints::One(endpoint) => vec![endpoint],
        Endpoints::Several(endpoints) => endpoints,
    })
}

/// The process's environment, as far as it is UTF-8; names of ours are.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn within(key: &'static str, value: u64, min: u64, max: u64) -> Result<(), ConfigError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    let limit = if value < min {
        format!("it has to be at least {min}")
    } else {
        format!("it has to be at most {max}")
    };
    Err(ConfigError::Value { key, value: value.to_string(), limit })
}

fn address(key: &'static str, value: &str) -> Result<(), ConfigError> {
    let port = value.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
    if port.is_some_and(|port| port.parse::<u16>().is_ok()) {
        return Ok(());
    }
    Err(ConfigError::Value { key, value: format!("{value:?}"), limit: "it has to be host:port".into() })
}

fn endpoint(key: &'static str, value: &Endpoint) -> Result<(), ConfigError> {
    let host = ["http://", "https://"].iter().find_map(|scheme| value.expose().strip_prefix(scheme));
    if host.is_some_and(|host| !host.is_empty()) {
        return Ok(());
    }
    Err(ConfigError::Value {
        key,
        value: value.redacted(),
        limit: "it has to be an http:// or https:// URL".into(),
    })
}

const ENVIRONMENT_PREFIX: &str = "RELAYER__";
/// Each signer looks at the chain for itself.
const SIGNERS_MAX: usize = 32;

#[cfg(test)]
mod tests;
