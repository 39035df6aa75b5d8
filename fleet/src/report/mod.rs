//! `cip22-fleet report`: what happened, counted from the piles' own logs and from chain events, without the relayer.

mod chain;
mod count;
mod logs;

use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde::Serialize;

pub use chain::{ChainFacts, Gas, RecordedHead, RecordedRoot, Stands};
pub use logs::PileFacts;

use crate::{deployment::Deployment, error::FleetError, manifest::Manifest};

/// What to count.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Folder of the pile logs.
    #[arg(long)]
    pub logs: PathBuf,
    /// The fleet.
    #[arg(long)]
    pub fleet: PathBuf,
    /// The contracts.
    #[arg(long)]
    pub deployment: PathBuf,
    /// JSON-RPC endpoint of the chain.
    #[arg(long)]
    pub rpc: String,
    /// Where to write the report, JSON.
    #[arg(long)]
    pub out: PathBuf,
    /// Waits so long for everything to be on chain, s.
    #[arg(long, default_value_t = 0)]
    pub wait_s: u64,
    /// Succeeds although something is not on chain, a pile has not acknowledged the policy, or a frame is lost.
    #[arg(long)]
    pub allow_incomplete: bool,
}

/// The figures. Latencies are of different stages: granted by the gateway, mined in a block, safe from reorganisation.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Piles with a log.
    pub piles: usize,
    /// Charges granted.
    pub authorizations_granted: usize,
    /// Of those, under a head, or a root that the pile co-signed, in a block that `safe` covers.
    pub authorizations_on_chain: usize,
    /// Heads that the contracts counted twice.
    pub counted_twice: usize,
    /// AUTH_RESP and what came before it, refused: by NACK code or denial. Includes the scripted misbehaviour.
    pub authorizations_rejected: BTreeMap<String, usize>,
    /// AUTH_RESP sent to AUTH_GRANT received, ms: the gateway's answer, not the chain's.
    pub grant_latency_ms: Spread,
    /// AUTH_GRANT received to the block that records it, by the block's timestamp (whole seconds), s.
    pub mined_latency_s: Spread,
    /// AUTH_GRANT received to AUTH_FINAL (SAFE) received, s.
    pub confirm_latency_s: Spread,
    /// Battery records that the gateway acknowledged as durable.
    pub telemetry_accepted: usize,
    /// Of those, up to a head that BatteryLedger emitted with the same fingerprint, in a safe block.
    pub telemetry_on_chain: usize,
    /// Newest policy scheduled on chain, in a safe block.
    pub policy_version: u32,
    /// Piles whose POLICY_ACK of that version is acknowledged.
    pub policy_acked_piles: usize,
    /// Gas charged (`gasFee` / price) for the transactions that recorded heads or roots, per authorization on chain.
    pub gas_charged_per_authorization: Option<f64>,
    /// What transactions of ECDSA records alone brought.
    pub lane1: Lane,
    /// What transactions with a co-signed root brought.
    pub lane2: Lane,
    /// Frames sent, and neither answered nor refused.
    pub frames_lost: usize,
    /// Those, by type.
    pub frames_lost_by_type: BTreeMap<String, usize>,
    /// Newest block counted.
    pub safe_block: u64,
    /// Transactions that recorded heads or roots.
    pub record_transactions: usize,
}

/// One way to the chain. An authorization counts where it was on chain first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Lane {
    /// Authorizations on chain.
    pub authorizations: usize,
    /// Of those, by the pile's co-signature; the others by an ECDSA record.
    pub co_signed: usize,
    /// Transactions.
    pub transactions: usize,
    /// Sum of `gasUsed`.
    pub gas_used: f64,
    /// Sum of `gasFee` / price.
    pub gas_charged: f64,
    /// Gas used per authorization.
    pub gas_used_per_authorization: Option<f64>,
    /// Gas charged per authorization.
    pub gas_charged_per_authorization: Option<f64>,
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { authorizations, co_signed, transactions, .. } = self;
        write!(
            f,
            "{authorizations} authorizations, {co_signed} of them co-signed, in {transactions} transactions"
        )?;
        match (self.gas_used_per_authorization, self.gas_charged_per_authorization) {
            (Some(used), Some(charged)) => write!(f, "; gas each: used {used:.0}, charged {charged:.0}"),
            _ => Ok(()),
        }
    }
}

/// Mean and quantiles; `null` without a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// Samples.
    pub count: usize,
    /// Mean.
    pub mean: Option<f64>,
    /// Median.
    pub p50: Option<f64>,
    /// 99 of 100 are not above.
    pub p99: Option<f64>,
    /// Largest.
    pub max: Option<f64>,
}

impl Spread {
    /// Of any samples.
    #[must_use]
    pub fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let count = samples.len();
        let rank = |percent: usize| samples.get((count * percent).div_ceil(100).saturating_sub(1)).copied();
        let round = |value: f64| (value * 1_000.0).round() / 1_000.0;
        // A count of samples is exact in f64.
        let mean = (count > 0).then(|| samples.iter().sum::<f64>() / count as f64);
        Self {
            count,
            mean: mean.map(round),
            p50: rank(50).map(round),
            p99: rank(99).map(round),
            max: samples.last().copied().map(round),
        }
    }
}

impl Report {
    /// Why it is not complete; empty if it is.
    #[must_use]
    pub fn shortfalls(&self) -> Vec<String> {
        let mut out = Vec::new();
        let mut want = |holds: bool, text: String| {
            if !holds {
                out.push(text);
            }
        };
        let Self { authorizations_granted, authorizations_on_chain, telemetry_accepted, .. } = self;
        want(*authorizations_granted > 0, "nothing was granted".to_owned());
        want(
            authorizations_on_chain == authorizations_granted,
            format!("{authorizations_on_chain} of {authorizations_granted} authorizations are on chain"),
        );
        want(
            self.telemetry_on_chain == *telemetry_accepted,
            format!("{} of {telemetry_accepted} battery records are on chain", self.telemetry_on_chain),
        );
        want(
            self.policy_acked_piles == self.piles,
            format!("{} of {} piles acknowledged the policy", self.policy_acked_piles, self.piles),
        );
        want(self.counted_twice == 0, format!("{} heads were counted twice", self.counted_twice));
        want(self.frames_lost == 0, format!("{} frames are lost", self.frames_lost));
        out
    }

    /// The table for people.
    #[must_use]
    pub fn table(&self) -> String {
        let spread = |spread: &Spread| match (spread.mean, spread.p50, spread.p99) {
            (Some(mean), Some(p50), Some(p99)) => format!("mean {mean}  p50 {p50}  p99 {p99}"),
            _ => "no sample".to_owned(),
        };
        let by = |map: &BTreeMap<String, usize>| {
            let parts: Vec<_> = map.iter().map(|(name, count)| format!("{name} {count}")).collect();
            if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
        };
        let rows = [
            ("piles", self.piles.to_string()),
            ("authorizations granted", self.authorizations_granted.to_string()),
            ("authorizations on chain (safe)", self.authorizations_on_chain.to_string()),
            ("authorizations rejected", by(&self.authorizations_rejected)),
            ("granted by the gateway after, ms", spread(&self.grant_latency_ms)),
            ("mined after, s", spread(&self.mined_latency_s)),
            ("safe after, s", spread(&self.confirm_latency_s)),
            ("battery records accepted", self.telemetry_accepted.to_string()),
            ("battery records on chain (safe)", self.telemetry_on_chain.to_string()),
            ("policy version", self.policy_version.to_string()),
            ("piles that acknowledged it", self.policy_acked_piles.to_string()),
            (
                "gas charged per authorization",
                self.gas_charged_per_authorization.map_or_else(|| "-".to_owned(), |gas| format!("{gas:.0}")),
            ),
            ("lane 1 (ECDSA alone)", self.lane1.to_string()),
            ("lane 2 (roots)", self.lane2.to_string()),
            ("heads counted twice", self.counted_twice.to_string()),
            ("frames lost", self.frames_lost.to_string()),
        ];
        let mut out = String::new();
        for (name, value) in rows {
            out.push_str(&format!("  {name:<34} {value}\n"));
        }
        out
    }
}

/// Counts, writes the report and prints the table.
///
/// # Errors
/// A file, the chain's endpoint, or what is missing unless that is allowed.
pub async fn run(arguments: Arguments) -> Result<(), FleetError> {
    let deployment = Deployment::load(&arguments.deployment)?;
    let fleet = Manifest::load(&arguments.fleet)?;
    let names: Vec<&str> =
        fleet.piles.iter().filter(|pile| pile.role.charges()).map(|pile| pile.name.as_str()).collect();
    let piles = logs::read_piles(&arguments.logs, &names)?;
    let rejected = logs::read_rejections(&arguments.logs)?;
    let deadline = Instant::now() + Duration::from_secs(arguments.wait_s);
    let mut reader = chain::Reader::new(&arguments.rpc, deployment)?;
    let report = loop {
        let facts = reader.read().await?;
        let report = count::count(&piles, &rejected, &facts);
        let complete = report.authorizations_on_chain == report.authorizations_granted
            && report.telemetry_on_chain == report.telemetry_accepted;
        if complete || Instant::now() >= deadline {
            break report;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    };
    let mut text =
        serde_json::to_string_pretty(&report).map_err(|error| FleetError::content(&arguments.out, error))?;
    text.push('\n');
    if let Some(folder) = arguments.out.parent() {
        std::fs::create_dir_all(folder).map_err(FleetError::file(folder))?;
    }
    std::fs::write(&arguments.out, text).map_err(FleetError::file(&arguments.out))?;
    print!("{}", report.table());
    let shortfalls = report.shortfalls();
    if !arguments.allow_incomplete && !shortfalls.is_empty() {
        return Err(FleetError::Unmet(shortfalls.join("; ")));
    }
    Ok(())
}

const POLL_INTERVAL: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples_and_nothing_has_none() {
        let spread = Spread::of((1..=200).rev().map(f64::from).collect());
        assert_eq!((spread.p50, spread.p99, spread.max), (Some(100.0), Some(198.0), Some(200.0)));
        assert_eq!(spread.mean, Some(100.5));
        assert_eq!(Spread::of(vec![7.0]).p99, Some(7.0));
        assert_eq!(Spread::of(Vec::new()), Spread::default());
    }
}
