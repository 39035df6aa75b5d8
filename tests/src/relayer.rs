//! The relayer as a process, started as an operator would.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;

use crate::chain::{POLLS_MAX, pause};
use crate::node::{Account, Node};
use crate::snapshot::{Snapshot, program};

/// A running relayer. It ends with this value.
#[derive(Debug)]
pub struct Relayer {
    child: Child,
    config: PathBuf,
    /// Where it listens.
    pub ready: Ready,
}

/// The line that it prints once it serves.
#[derive(Debug, Clone, Deserialize)]
pub struct Ready {
    /// For piles.
    pub listen: SocketAddr,
    /// For metrics and health.
    pub http_listen: SocketAddr,
}

/// How to start it.
#[derive(Debug, Clone)]
pub struct Launch {
    dir: PathBuf,
    fleet: PathBuf,
    deployment: PathBuf,
    endpoints: Vec<String>,
    accounts: Vec<Account>,
    signer_keys: Vec<String>,
    /// Failpoint at which it kills itself: `name`, or `name=K` for its K-th pass.
    pub failpoint: Option<String>,
    /// Settings by environment, over the file.
    pub env: Vec<(&'static str, String)>,
}

impl Launch {
    /// A relayer whose files stand in `dir`, for the snapshot's fleet and this node.
    pub fn new(dir: &Path, snapshot: &Snapshot, node: &Node) -> Self {
        Self {
            dir: dir.to_owned(),
            fleet: snapshot.fleet(),
            deployment: snapshot.deployment(),
            endpoints: vec![node.info.rpc_url.clone()],
            accounts: node.info.accounts.clone(),
            signer_keys: vec![node.info.account("relayer-1").key.clone()],
            failpoint: None,
            env: Vec::new(),
        }
    }

    /// With this failpoint armed.
    pub fn failing_at(mut self, failpoint: &str) -> Self {
        self.failpoint = Some(failpoint.to_owned());
        self
    }

    /// With the accounts of these roles as its signers.
    pub fn with_signers(self, roles: &[&str]) -> Self {
        let account = |role: &&str| self.accounts.iter().find(|account| account.role == *role);
        let signer_keys = roles.iter().map(|role| account(role).expect("a known role").key.clone()).collect();
        Self { signer_keys, ..self }
    }

    /// With one more signer, by its secret key.
    pub fn and_signer(mut self, key: &str) -> Self {
        self.signer_keys.push(key.to_owned());
        self
    }

    /// At these endpoints in place of the node.
    pub fn with_endpoints(mut self, endpoints: &[String]) -> Self {
        self.endpoints = endpoints.to_vec();
        self
    }

    /// With the gateway's certificates and keys of another folder, written as the fleet's is.
    pub fn with_fleet(self, fleet: &Path) -> Self {
        Self { fleet: fleet.to_owned(), ..self }
    }

    /// Serving the pairings of this `tls.mode`.
    pub fn with_tls(self, mode: &str) -> Self {
        self.with("RELAYER__TLS__MODE", mode)
    }

    /// With a setting.
    pub fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        self.env.push((key, value.to_string()));
        self
    }

    /// With sessions that may be silent for as long as a scenario takes: scripted piles send no HEARTBEAT.
    pub fn patient(self) -> Self {
        self.with("RELAYER__LIMITS__IDLE_TIMEOUT_MS", 3_600_000)
    }

    /// Runs `relayer` with these arguments and the same files; returns what it printed, or everything it said when it failed.
    pub fn command(&self, arguments: &[&str]) -> Result<String, String> {
        run_command(&self.write_files(), arguments)
    }

    /// Starts it, expecting it to end without having served; returns its exit code and the last line of its log.
    pub fn fail_to_start(&self) -> (Option<i32>, String) {
        let Err((_, status)) = self.try_start() else { panic!("it serves") };
        (status.code(), last_line(&self.dir.join("relayer.log")))
    }

    /// Starts it and waits until it serves.
    pub fn start(&self) -> Relayer {
        self.try_start().unwrap_or_else(|(line, status)| {
            let log = std::fs::read_to_string(self.dir.join("relayer.log")).unwrap_or_default();
            panic!("the relayer did not get ready ({status}): {line:?}\n{log}");
        })
    }

    /// Starts it and waits until it serves, or has ended: then with what it printed instead, and how it ended.
    pub fn try_start(&self) -> Result<Relayer, (String, ExitStatus)> {
        let config = self.write_files();
        let mut command = Command::new(program("relayer"));
        command.arg("--config").arg(&config).arg("serve");
        command
            .env("RELAYER__GATEWAY__LISTEN", "127.0.0.1:0")
            .env("RELAYER__ADMIN__HTTP_LISTEN", "127.0.0.1:0");
        for (key, value) in &self.env {
            command.env(key, value);
        }
        if let Some(failpoint) = &self.failpoint {
            command.env("CIP22_FAILPOINT", failpoint);
        }
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.dir.join("relayer.log"));
        command.stdout(Stdio::piped()).stderr(log.expect("log file"));
        let mut child = command.spawn().expect("the relayer starts");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("its standard output"));
        stdout.read_line(&mut line).expect("its first line");
        let Ok(ready) = serde_json::from_str(&line) else {
            let _ = child.kill();
            return Err((line, child.wait().expect("it ends")));
        };
        Ok(Relayer { child, config, ready })
    }

    /// What `relayer check --json` says of this installation, and whether it passes.
    pub fn check(&self) -> (Value, bool) {
        operate(&self.write_files(), &["check", "--json"], &self.env)
    }

    #[allow(clippy::disallowed_methods, reason = "scenarios work on real files")]
    fn write_files(&self) -> PathBuf {
        let config = self.dir.join("relayer.toml");
        let mut signers = Vec::new();
        for (number, key) in self.signer_keys.iter().enumerate() {
            let name = format!("signer-{number}.key");
            let key_file = self.dir.join(&name);
            std::fs::write(&key_file, key.trim_start_matches("0x")).expect("key file");
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&key_file, private).expect("permissions");
            signers.push(name);
        }
        let fleet = self.fleet.display();
        let text = format!(
            "[gateway]\ncertificate = \"{fleet}/pki/gateway.pem\"\ncertificate_key = \"{fleet}/pki/gateway.key\"\n\
             root = \"{fleet}/pki/root.pem\"\ngateway_key_file = \"{fleet}/gateway.key\"\nsite_secret_file = \"{fleet}/site.secret\"\n\
             open_charges_per_device_max = 8\n\
             [tls.shangmi]\ncertificate = \"{fleet}/pki/sm2-gateway.pem\"\ncertificate_key = \"{fleet}/pki/sm2-gateway.key\"\n\
             root = \"{fleet}/pki/sm2-root.pem\"\n\
             [journal]\npath = \"journal.redb\"\n\
             [chain]\nendpoints = {endpoints:?}\ndeployment_file = \"{deployment}\"\nsigner_key_files = {signers:?}\npoll_interval_ms = 100\n\
             [admin]\nsocket = \"admin.sock\"\n[log]\nfilter = \"info\"\n",
            endpoints = self.endpoints,
            deployment = self.deployment.display(),
        );
        std::fs::write(&config, text).expect("configuration");
        config
    }
}

impl Relayer {
    /// What `relayer status --json` says.
    pub fn status(&self) -> Value {
        let mut command = Command::new(program("relayer"));
        command.arg("--config").arg(&self.config).args(["status", "--json"]);
        serde_json::from_str(&crate::node::run(&mut command)).expect("status is JSON")
    }

    /// Runs `relayer` with these arguments beside it; returns what it printed, or everything it said when it failed.
    pub fn command(&self, arguments: &[&str]) -> Result<String, String> {
        run_command(&self.config, arguments)
    }

    /// The batches under way, as `relayer tx list --json` prints them.
    pub fn transactions(&self) -> Vec<Value> {
        let printed = self.command(&["tx", "list", "--json"]).expect("the relayer answers");
        serde_json::from_str(&printed).expect("a list in JSON")
    }

    /// Waits until a batch under way is as wanted; returns it.
    pub async fn wait_for_transaction(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..POLLS_MAX {
            if let Some(found) = self.transactions().into_iter().find(&wanted) {
                return found;
            }
            pause().await;
        }
        panic!("never seen; at last: {:#?}", self.transactions());
    }

    /// The sum of a metric over all its labels; 0 if it was never touched.
    pub async fn metric(&self, name: &str) -> f64 {
        let url = format!("http://{}/metrics", self.ready.http_listen);
        let text = reqwest::get(url).await.expect("metrics are served").text().await.expect("as text");
        let samples = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let series = series.split_once('{').map_or(series, |(series, _)| series);
            (series == name).then(|| value.parse::<f64>().expect("a number"))
        });
        samples.sum()
    }

    /// From now on none of its files may grow past so many bytes: to it, a disk without room.
    pub fn limit_file_size(&self, bytes: u64) {
        let pid = self.child.id().to_string();
        let mut prlimit = Command::new("prlimit");
        crate::node::run(prlimit.args(["--pid", &pid, &format!("--fsize={bytes}")]));
    }

    /// Waits until it has ended by itself; returns its exit code.
    pub fn wait_for_end(&mut self) -> Option<i32> {
        self.child.wait().expect("it ends").code()
    }

    /// The last line that it logged or printed as its reason to end.
    pub fn last_words(&self) -> String {
        last_line(&self.config.with_file_name("relayer.log"))
    }

    /// Waits until `relayer status` is as it should be; returns it.
    pub async fn wait_for_status(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut status = Value::Null;
        for _ in 0..POLLS_MAX {
            status = self.status();
            if is_so(&status) {
                return status;
            }
            pause().await;
        }
        panic!("never became so: {what}\n{status:#}");
    }

    /// Waits until a metric, named with its labels, is as it should be.
    pub async fn wait_for_metric(&self, name: &str, is_so: impl Fn(f64) -> bool) {
        for _ in 0..POLLS_MAX {
            let answer = reqwest::get(format!("http://{}/metrics", self.ready.http_listen)).await;
            let text = answer.expect("metrics are served").text().await.expect("metrics are text");
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
            if value.is_some_and(&is_so) {
                return;
            }
            pause().await;
        }
        panic!("the metric never became so: {name}");
    }

    /// What a command of the operator's says in JSON, and whether it ended with success.
    pub fn ask(&self, arguments: &[&str]) -> (Value, bool) {
        operate(&self.config, &[arguments, &["--json"]].concat(), &[])
    }

    /// What a command of the operator's prints for people.
    pub fn ask_for_people(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(program("relayer"));
        crate::node::run(command.arg("--config").arg(&self.config).args(arguments))
    }

    /// Asks again until the answer is as awaited.
    pub fn ask_until(&self, arguments: &[&str], awaited: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        for _ in 0..ASKS_MAX {
            last = self.ask(arguments).0;
            if awaited(&last) {
                return last;
            }
            pause_blocking();
        }
        panic!("relayer {arguments:?} never said what was awaited; last: {last:#}");
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        let _ = self.child.wait();
    }

    /// SIGTERM, and waits; returns whether it ended with success.
    pub fn stop(mut self) -> bool {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success();
        sent && self.child.wait().expect("it ends").success()
    }

    /// Whether a failpoint kills it within this time.
    #[allow(clippy::disallowed_methods, reason = "a process is waited for in real time")]
    pub fn is_killed_within(&mut self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        loop {
            match self.child.try_wait().expect("it can be asked") {
                Some(status) => {
                    assert_eq!(status.signal(), Some(9), "killed by SIGKILL, not {status}");
                    return true;
                }
                None if Instant::now() >= deadline => return false,
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Waits until a failpoint has killed it.
    pub fn wait_for_kill(&mut self) {
        let status = self.child.wait().expect("it ends");
        assert_eq!(status.signal(), Some(9), "killed by SIGKILL, not {status}");
    }
}

impl Drop for Relayer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run_command(config: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(program("relayer"));
    let output = command.arg("--config").arg(config).args(arguments).output().expect("the relayer runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stdout);
    if output.status.success() { Ok(said) } else { Err(said + &text(&output.stderr)) }
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().last().unwrap_or_default().to_owned()
}

fn operate(config: &Path, arguments: &[&str], env: &[(&'static str, String)]) -> (Value, bool) {
    let mut command = Command::new(program("relayer"));
    command.arg("--config").arg(config).args(arguments);
    for (key, value) in env {
        command.env(key, value);
    }
    let output = command.output().expect("the relayer starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let Ok(answer) = serde_json::from_str(&text) else {
        panic!("{arguments:?} is no JSON: {text}\n{}", String::from_utf8_lossy(&output.stderr));
    };
    (answer, output.status.success())
}

/// A scenario gives up after so many questions.
const ASKS_MAX: u32 = 1_200;

#[allow(clippy::disallowed_methods, reason = "another process is watched, there is no event to await")]
fn pause_blocking() {
    std::thread::sleep(std::time::Duration::from_millis(100));
}
