//! A real Conflux node, run by `scripts/devnet` in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

/// A running node. It ends with this value, or with this process.
#[derive(Debug)]
pub struct Node {
    dir: PathBuf,
    /// A folder that goes with it.
    kept: Option<tempfile::TempDir>,
    /// What `devnet.json` says.
    pub info: Info,
}

/// The parts of `devnet.json` that scenarios need.
#[derive(Debug, Clone, Deserialize)]
pub struct Info {
    /// eSpace JSON-RPC.
    pub rpc_url: String,
    /// Its version, as `devnet up --node` takes it.
    pub node: String,
    /// How other nodes name it, if they may join it.
    pub peer_url: Option<String>,
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
    /// Whether it knows nothing of BLS12-381.
    pub fn is_older(&self) -> bool {
        self.node == "v2.4"
    }

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
        command.args(["--block-interval-ms", &block_interval_ms.to_string()]);
        if let Some(from) = from {
            command.arg("--from").arg(from);
        }
        Self { dir: dir.to_owned(), kept: None, info: up(command, dir) }
    }

    /// As [`Node::start`], with conflux-rust v2.4, which knows nothing of BLS12-381.
    pub fn start_older(dir: &Path, from: Option<&Path>, block_interval_ms: u32) -> Self {
        let mut command = devnet("up", dir);
        command.args(["--node", "v2.4", "--block-interval-ms", &block_interval_ms.to_string()]);
        if let Some(from) = from {
            command.arg("--from").arg(from);
        }
        Self { dir: dir.to_owned(), kept: None, info: up(command, dir) }
    }

    /// As [`Node::start`]; other nodes may join it.
    pub fn start_for_peers(dir: &Path, from: &Path, block_interval_ms: u32) -> Self {
        let mut command = devnet("up", dir);
        command.args(["--block-interval-ms", &block_interval_ms.to_string(), "--peers", "--from"]).arg(from);
        Self { dir: dir.to_owned(), kept: None, info: up(command, dir) }
    }

    /// Kills it and starts it again, on the same ports, as one that mines nothing and joins the chain of `peer`: what it mined
    /// itself since the chains parted is reorganised away as soon as the other chain is the heavier one.
    pub fn follow(&mut self, peer: &Self) {
        self.kill();
        let mut command = devnet("up", &self.dir);
        let peer_url = peer.info.peer_url.as_ref().expect("a node that others may join");
        command.args(["--follower", "--bootnode", peer_url]);
        let rpc_url = std::mem::replace(&mut self.info, up(command, &self.dir)).rpc_url;
        assert_eq!(self.info.rpc_url, rpc_url, "its clients find it where it was");
    }

    /// The folder is removed after the node.
    pub fn keeping(mut self, dir: tempfile::TempDir) -> Self {
        self.kept = Some(dir);
        self
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

/// Runs `devnet up` to its end.
fn up(mut command: Command, dir: &Path) -> Info {
    command.args(["--port", "0", "--owner-pid", &std::process::id().to_string()]);
    run(&mut command);
    let json = std::fs::read(dir.join("devnet.json")).expect("devnet.json is written");
    serde_json::from_slice(&json).expect("devnet.json parses")
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
