//! A real Conflux node, run by `scripts/devnet` in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

/// A running node. It ends with this value, or with this process.
#[derive(Debug)]
pub struct Node {
    dir: PathBuf,
    /// What `devnet.json` says.
    pub info: Info,
}

/// The parts of `devnet.json` that scenarios need.
#[derive(Debug, Clone, Deserialize)]
pub struct Info {
    /// eSpace JSON-RPC.
    pub rpc_url: String,
    /// Funded test accounts.
    pub accounts: Vec<Account>,
}

/// A funded account of the devnet.
#[derive(Debug, Clone, Deserialize)]
pub struct Account {
    /// What it is for.
    pub role: String,
    /// Address, 0x hex.
    pub address: String,
    /// Secret key, 0x hex.
    pub key: String,
}

impl Info {
    /// The account of a role.
    pub fn account(&self, role: &str) -> &Account {
        self.accounts.iter().find(|account| account.role == role).expect("a known role")
    }
}

/// Root of the checkout.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate has a parent folder").to_owned()
}

impl Node {
    /// Starts a node in `dir` on free ports, going on with a chain that stands there, or with a copy of `from`.
    pub fn start(dir: &Path, from: Option<&Path>, block_interval_ms: u32) -> Self {
        let mut command = devnet("up", dir);
        command.args(["--port", "0", "--block-interval-ms", &block_interval_ms.to_string()]);
        command.args(["--owner-pid", &std::process::id().to_string()]);
        if let Some(from) = from {
            command.arg("--from").arg(from);
        }
        run(&mut command);
        let json = std::fs::read(dir.join("devnet.json")).expect("devnet.json is written");
        let info = serde_json::from_slice(&json).expect("devnet.json parses");
        Self { dir: dir.to_owned(), info }
    }

    /// Ends it at once, so that its pool is gone, and starts it again on the chain in its folder.
    pub fn restart(&mut self, block_interval_ms: u32) {
        // A scenario may have ended it already.
        let _ = devnet("kill", &self.dir).output();
        let started = Self::start(&self.dir, None, block_interval_ms);
        self.info = started.info.clone();
        // There is one node, which ends with this value.
        std::mem::forget(started);
    }

    /// Stops it in good order; the chain stays in the folder.
    pub fn stop(self) {
        run(&mut devnet("down", &self.dir));
    }

    /// Ends it at once.
    pub fn kill(&self) {
        run(&mut devnet("kill", &self.dir));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have been stopped already; nothing to report then.
        let _ = devnet("kill", &self.dir).output();
    }
}

fn devnet(verb: &str, dir: &Path) -> Command {
    let mut command = Command::new(repository().join("scripts/devnet"));
    command.arg(verb).arg("--dir").arg(dir);
    command
}

/// Runs a command to its end and panics with its output if it fails; returns its standard output.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    assert!(
        output.status.success(),
        "{command:?} failed\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
