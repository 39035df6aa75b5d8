//! Kills the relayer at random failpoints while piles charge, then counts: `kill_cycles OUT.json [CYCLES] [SEED]`.
//!
//! Nothing that a pile was told may be missing on chain, and nothing may be there twice. The count is `cip22-fleet report`, from the
//! piles' logs and the chain's events alone. The same seed draws the same failpoints; when they are passed is up to the load.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use cip22_relayer::failpoint::FAILPOINTS;
use serde_json::{Value, json};
use system_tests::relayer::Launch;
use system_tests::snapshot::{PILES, program};
use system_tests::world::World;

/// A failpoint that is not passed in this time was not reached, which is no cycle.
const REACHED_WITHIN: Duration = Duration::from_secs(40);
const CYCLES: u64 = 200;
/// Most failpoints wait for the chain, and `safe` trails by a hundred blocks.
const BLOCK_INTERVAL_MS: u32 = 100;
/// Failpoints on the way of every frame or commit are passed often: the kill comes at a random one of so many passes.
const BUSY_PASSES_MAX: u64 = 300;
const OTHER_PASSES_MAX: u64 = 2;
const BUSY: [&str; 3] = ["journal::before_commit", "journal::after_commit", "session::before_reply"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let out = PathBuf::from(arguments.next().ok_or("usage: kill_cycles OUT.json [CYCLES] [SEED]")?);
    let cycles = arguments.next().map_or(Ok(CYCLES), |text| text.parse())?;
    let seed = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let world = World::with_piles(PILES, BLOCK_INTERVAL_MS);
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let gateway = format!("127.0.0.1:{port}");
    let launch = world.launch().with("RELAYER__GATEWAY__LISTEN", &gateway);

    let (logs, done) = (world.path().join("logs"), world.path().join("done"));
    let mut fleet = Command::new(program("cip22-fleet"));
    fleet.arg("run").arg("--fleet").arg(world.fleet().join("fleet.json"));
    fleet.arg("--deployment").arg(world.snapshot.deployment()).args(["--gateway", &gateway]);
    fleet.arg("--logs").arg(&logs).arg("--state").arg(world.path().join("piles"));
    fleet.arg("--until-file").arg(&done).args(["--charge-ms", "1500", "--pause-ms", "200"]);
    fleet.args(["--telemetry-interval-ms", "250", "--checkpoint-every", "10"]);
    let mut fleet = fleet.args(["--finish-timeout-s", "180"]).spawn()?;

    let (killed, missed) = kill(&launch, cycles, seed)?;
    let relayer = launch.start();
    std::fs::File::create_new(&done)?;
    let fleet = fleet.wait()?;
    let report = report(&world, &logs)?;
    let stopped = relayer.stop();

    let metrics = figures(&killed, missed, &report);
    println!("{metrics:#}");
    write(&out, &metrics)?;
    if !fleet.success() {
        return Err("the piles did not end as they should".into());
    }
    if !stopped {
        return Err("the last relayer did not end in good order".into());
    }
    Ok(())
}

/// Kills by failpoint.
type Kills = BTreeMap<&'static str, u64>;

/// Starts and kills the relayer until `cycles` failpoints were reached. Also returns how many were not reached.
fn kill(launch: &Launch, cycles: u64, seed: u64) -> Result<(Kills, u64), Box<dyn std::error::Error>> {
    let mut random = Random(seed);
    let (mut killed, mut missed) = (Kills::new(), 0);
    for cycle in 1.. {
        if killed.values().sum::<u64>() == cycles {
            break;
        }
        let name = *FAILPOINTS.get(random.below(FAILPOINTS.len() as u64) as usize).ok_or("a failpoint")?;
        let passes_max = if BUSY.contains(&name) { BUSY_PASSES_MAX } else { OTHER_PASSES_MAX };
        let pass = random.below(passes_max) + 1;
        let reached = match launch.clone().failing_at(&format!("{name}={pass}")).try_start() {
            Ok(mut relayer) => relayer.is_killed_within(REACHED_WITHIN),
            Err((_, status)) if status.signal() == Some(9) => true,
            Err((line, status)) => {
                return Err(format!("the relayer ended by itself: {status}, {line:?}").into());
            }
        };
        println!("cycle {cycle}: {name}={pass} {}", if reached { "killed" } else { "not reached" });
        if reached {
            *killed.entry(name).or_default() += 1;
        } else {
            missed += 1;
        }
        if missed > cycles {
            return Err("most failpoints are not reached: there is no load".into());
        }
    }
    Ok((killed, missed))
}

fn report(world: &World, logs: &Path) -> Result<Value, Box<dyn std::error::Error>> {
    let out = world.path().join("report.json");
    let mut report = Command::new(program("cip22-fleet"));
    report.arg("report").arg("--logs").arg(logs).arg("--fleet").arg(world.fleet().join("fleet.json"));
    report.arg("--deployment").arg(world.snapshot.deployment()).args(["--rpc", &world.node.info.rpc_url]);
    report.arg("--out").arg(&out).args(["--wait-s", "180", "--allow-incomplete"]);
    if !report.status()?.success() {
        return Err("cip22-fleet report failed".into());
    }
    Ok(serde_json::from_slice(&std::fs::read(&out)?)?)
}

fn figures(killed: &Kills, missed: u64, report: &Value) -> Value {
    let figure = |metric: &str, value: u64, unit: &str, limit: Option<u64>| json!({ "metric": metric, "value": value, "unit": unit, "limit": limit, "ok": limit.is_none_or(|limit| value <= limit) });
    let number = |name: &str| report[name].as_u64().unwrap_or(u64::MAX);
    let (granted, accepted) = (number("authorizations_granted"), number("telemetry_accepted"));
    let lost = granted.saturating_sub(number("authorizations_on_chain"));
    let records_lost = accepted.saturating_sub(number("telemetry_on_chain"));
    let mut metrics = vec![
        figure("kills", killed.values().sum(), "SIGKILL", None),
        figure("failpoints not reached", missed, "starts", None),
        figure("authorizations granted", granted, "charges", None),
        figure("granted and not on chain", lost, "charges", Some(0)),
        figure("battery records acknowledged", accepted, "records", None),
        figure("acknowledged and not on chain", records_lost, "records", Some(0)),
        figure("heads counted twice", number("counted_twice"), "heads", Some(0)),
        figure("frames lost", number("frames_lost"), "frames", Some(0)),
        figure("nothing granted", u64::from(granted == 0), "", Some(0)),
    ];
    metrics
        .extend(killed.iter().map(|(name, count)| figure(&format!("kills/{name}"), *count, "SIGKILL", None)));
    Value::Array(metrics)
}

#[allow(clippy::disallowed_methods, reason = "a program of its own, without seams")]
fn write(out: &Path, metrics: &Value) -> std::io::Result<()> {
    std::fs::write(out, format!("{metrics:#}\n"))
}

/// xorshift64*: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % bound
    }
}
