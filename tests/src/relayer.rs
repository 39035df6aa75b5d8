//! The relayer as a process, started as an operator would.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;

use crate::node::Node;
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
    rpc_url: String,
    signer_key: String,
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
            rpc_url: node.info.rpc_url.clone(),
            signer_key: node.info.account("relayer-1").key.clone(),
            failpoint: None,
            env: Vec::new(),
        }
    }

    /// With this failpoint armed.
    pub fn failing_at(mut self, failpoint: &str) -> Self {
        self.failpoint = Some(failpoint.to_owned());
        self
    }

    /// With a setting.
    pub fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        self.env.push((key, value.to_string()));
        self
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

    #[allow(clippy::disallowed_methods, reason = "scenarios work on real files")]
    fn write_files(&self) -> PathBuf {
        let config = self.dir.join("relayer.toml");
        let key_file = self.dir.join("signer.key");
        std::fs::write(&key_file, self.signer_key.trim_start_matches("0x")).expect("key file");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&key_file, private).expect("permissions");
        let fleet = self.fleet.display();
        let text = format!(
            "[gateway]\ncertificate = \"{fleet}/pki/gateway.pem\"\ncertificate_key = \"{fleet}/pki/gateway.key\"\n\
             root = \"{fleet}/pki/root.pem\"\ngateway_key_file = \"{fleet}/gateway.key\"\nsite_secret_file = \"{fleet}/site.secret\"\n\
             open_charges_per_device_max = 8\n\
             [journal]\npath = \"journal.redb\"\n\
             [chain]\nendpoint = \"{rpc}\"\ndeployment_file = \"{deployment}\"\nsigner_key_file = \"signer.key\"\npoll_interval_ms = 100\n\
             [admin]\nsocket = \"admin.sock\"\n[log]\nfilter = \"info\"\n",
            rpc = self.rpc_url,
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
