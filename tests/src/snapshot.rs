//! The chain that every scenario starts from: contracts deployed, piles registered, old enough for `safe` to cover an epoch.
//!
//! It is made once, under a lock, and kept in the target folder under a name that changes with whatever it was made from.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::node::{Node, repository, run};

/// Piles in the snapshot; the last ones are for scenarios that revoke.
pub const PILES: usize = 8;

/// In a larger fleet nobody has a BLS key: an enrolment takes a fifth of a million gas.
const ENROLLED_MAX: usize = 64;

/// A stopped chain with everything that belongs to it.
#[derive(Debug, Clone)]
pub struct Snapshot {
    dir: PathBuf,
    piles: usize,
    older: bool,
}

impl Snapshot {
    /// Finds it, or makes it.
    pub fn get() -> Self {
        Self::with_piles(PILES)
    }

    /// One with so many piles.
    pub fn with_piles(piles: usize) -> Self {
        Self::find(piles, false)
    }

    /// One that the node of before BLS12-381 made, for it alone.
    pub fn older() -> Self {
        Self::find(PILES, true)
    }

    #[allow(clippy::disallowed_methods, reason = "scenarios work on real files")]
    fn find(piles: usize, older: bool) -> Self {
        let root = target().join("scenarios");
        fs::create_dir_all(&root).expect("target folder is writable");
        let lock = File::create(root.join(format!("snapshot-{piles}-{older}.lock"))).expect("lock file");
        lock.lock().expect("lock");
        let dir = root.join(format!("snapshot-{:016x}", fingerprint(piles, older)));
        let snapshot = Self { dir, piles, older };
        if !snapshot.dir.join("done").exists() {
            let _ = fs::remove_dir_all(&snapshot.dir);
            snapshot.make();
            fs::write(snapshot.dir.join("done"), b"").expect("marker");
        }
        snapshot
    }

    /// The stopped devnet.
    pub fn chain(&self) -> PathBuf {
        self.dir.join("chain")
    }

    /// The deployment file.
    pub fn deployment(&self) -> PathBuf {
        self.dir.join("deployment.json")
    }

    /// The folder of the fleet: `fleet.json`, `pki/`, `gateway.key`, `site.secret`.
    pub fn fleet(&self) -> PathBuf {
        self.dir.join("fleet")
    }

    /// A node of the kind that made it.
    pub fn start(&self, dir: &Path, from: Option<&Path>, block_interval_ms: u32) -> Node {
        let start = if self.older { Node::start_older } else { Node::start };
        start(dir, from, block_interval_ms)
    }

    fn make(&self) {
        run(&mut Command::new(repository().join("scripts/steps/forge-scripts.sh")));
        fs::create_dir_all(&self.dir).expect("snapshot folder");
        let mut provision = Command::new(program("cip22-fleet"));
        provision.arg("provision").arg("--out").arg(self.fleet());
        run(provision.args(["--count", &self.piles.to_string()]));
        let node = self.start(&self.chain(), None, 100);
        self.script("Deploy", &node, "deployer", &[]);
        let fleet = self.fleet().join("fleet.json").display().to_string();
        if self.piles <= ENROLLED_MAX {
            let mut possess = Command::new(program("cip22-fleet"));
            possess.args(["possess", "--fleet", &fleet, "--deployment"]).arg(self.deployment());
            run(&mut possess);
        }
        self.script("RegisterFleet", &node, "deployer", &[("FLEET_FILE", fleet)]);
        crate::chain::wait_for_safe(&node.info.rpc_url, 200);
        node.stop();
    }

    fn script(&self, name: &str, node: &Node, sender: &str, env: &[(&str, String)]) {
        forge_script(name, node, &self.deployment(), sender, env);
    }
}

/// Runs `contracts/script/<name>.s.sol` against a node, as an operator would.
pub fn forge_script(name: &str, node: &Node, deployment: &Path, sender: &str, env: &[(&str, String)]) {
    let contracts = repository().join("contracts");
    let mut forge = Command::new(contracts.join("node_modules/.bin/forge"));
    forge.current_dir(&contracts).arg("script").arg(format!("script/{name}.s.sol"));
    forge.args(["--rpc-url", &node.info.rpc_url, "--broadcast"]);
    if node.info.is_older() {
        // It cannot estimate a deployment: forge's own estimate, by Ethereum's prices, made large enough for eSpace's.
        forge.args(["--gas-estimate-multiplier", "300"]);
    } else {
        // forge adds 30 % to what the node estimates, which already has a margin; a full enrolment does not bear that.
        forge.args(["--skip-simulation", "--gas-estimate-multiplier", "100"]);
    }
    forge.args(["--with-gas-price", "50gwei", "--priority-gas-price", "1gwei"]);
    forge.args(["--private-key", &node.info.account(sender).key]);
    forge.env("FOUNDRY_DYNAMIC_TEST_LINKING", "false");
    forge.env("DEPLOYMENT_FILE", deployment);
    forge.env("POLICY_SIGNER_KEY", &node.info.account("policy-signer").key);
    for (key, value) in env {
        forge.env(key, value);
    }
    run(&mut forge);
}

/// A program of this workspace, built beside this test.
pub fn program(name: &str) -> PathBuf {
    let mut dir = std::env::current_exe().expect("path of the test");
    dir.pop();
    if dir.ends_with("deps") {
        dir.pop();
    }
    let path = dir.join(name);
    assert!(path.exists(), "{} is not built: `cargo build --profile ci --bins`", path.display());
    path
}

fn target() -> PathBuf {
    program_dir().parent().map_or_else(program_dir, Path::to_owned)
}

fn program_dir() -> PathBuf {
    let mut dir = std::env::current_exe().expect("path of the test");
    while dir.file_name().is_some_and(|name| name != "ci" && name != "debug" && name != "release") {
        dir.pop();
    }
    dir
}

/// A number that changes with the contracts, the deployment scripts and the node's configuration.
fn fingerprint(piles: usize, older: bool) -> u64 {
    let mut hasher = DefaultHasher::new();
    (piles, older).hash(&mut hasher);
    for folder in ["contracts/src", "contracts/script", "scripts/devnet.d"] {
        hash_folder(&repository().join(folder), &mut hasher);
    }
    hasher.finish()
}

fn hash_folder(folder: &Path, hasher: &mut DefaultHasher) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("readable folder").path())
        .filter(|path| path.file_name().is_some_and(|name| name != "node_modules"))
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            hash_folder(&path, hasher);
        } else {
            path.file_name().hash(hasher);
            fs::read(&path).expect("readable file").hash(hasher);
        }
    }
}
