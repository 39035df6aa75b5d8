//! One scenario's node, chain client, fleet and folder.

use std::path::Path;

use cip22_relayer::deployment::Deployment;
use serde::Deserialize;
use tempfile::TempDir;

use crate::chain::{Chain, Recorded};
use crate::node::Node;
use crate::pile::Pile;
use crate::relayer::{Launch, Relayer};
use crate::snapshot::Snapshot;

/// Everything of one scenario.
#[derive(Debug)]
pub struct World {
    /// What it started from.
    pub snapshot: Snapshot,
    /// Its node.
    pub node: Node,
    /// The contracts.
    pub deployment: Deployment,
    /// The chain.
    pub chain: Chain,
    /// The piles of the fleet.
    pub piles: Vec<PileEntry>,
    /// Its folder; the last field, because a node that still runs would write into it while it is removed.
    pub dir: TempDir,
}

/// A pile of `fleet.json`.
#[derive(Debug, Clone, Deserialize)]
pub struct PileEntry {
    /// Name.
    pub name: String,
    /// Device id, 0x hex.
    pub device_id: String,
    /// Secret identity key, 0x hex.
    pub key: String,
    /// Group.
    pub group: u32,
    /// Battery, 0x hex.
    pub battery: String,
    /// Secret BLS key, 0x hex, if it co-signs.
    pub bls_secret: Option<String>,
    /// Pairing of its TLS: `shangmi`, or absent for standard.
    pub pairing: Option<String>,
    /// Certificate, relative to `fleet.json`.
    pub certificate: String,
    /// Its key.
    pub certificate_key: String,
}

#[derive(Deserialize)]
struct Manifest {
    piles: Vec<PileEntry>,
}

impl World {
    /// A node of its own on a copy of the snapshot, with five blocks a second.
    pub fn new() -> Self {
        Self::on(Snapshot::get(), 200)
    }

    /// A node of its own on a copy of the snapshot, with a block every so many ms.
    pub fn with_block_interval(block_interval_ms: u32) -> Self {
        Self::on(Snapshot::get(), block_interval_ms)
    }

    /// A node on a chain with so many piles, with a block every `block_interval_ms`.
    pub fn with_piles(piles: usize, block_interval_ms: u32) -> Self {
        Self::on(Snapshot::with_piles(piles), block_interval_ms)
    }

    /// As [`World::new`], on a node that knows nothing of BLS12-381.
    pub fn older() -> Self {
        Self::on(Snapshot::older(), 200)
    }

    fn on(snapshot: Snapshot, block_interval_ms: u32) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let node = snapshot.start(&dir.path().join("chain"), Some(&snapshot.chain()), block_interval_ms);
        let deployment = Deployment::load(&snapshot.deployment()).expect("the deployment file");
        let chain = Chain::new(&node.info.rpc_url, deployment.verifier());
        let manifest = std::fs::read(snapshot.fleet().join("fleet.json")).expect("fleet.json");
        let manifest: Manifest = serde_json::from_slice(&manifest).expect("fleet.json parses");
        Self { snapshot, node, deployment, chain, piles: manifest.piles, dir }
    }

    /// As [`World::new`], with a second node that mines a chain of its own from the same snapshot on.
    pub fn forked() -> (Self, Node) {
        let snapshot = Snapshot::get();
        let dir = tempfile::tempdir().expect("a folder");
        let peer = std::thread::spawn(move || {
            // Its folder is freed with the node.
            let node = Node::start_for_peers(&dir.path().join("peer"), &snapshot.chain(), 200);
            (node, dir)
        });
        let world = Self::new();
        let (node, dir) = peer.join().expect("the second node starts");
        (world, node.keeping(dir))
    }

    /// How to start a relayer here.
    pub fn launch(&self) -> Launch {
        Launch::new(self.dir.path(), &self.snapshot, &self.node)
    }

    /// Reaches the node again after a restart.
    pub fn reconnect(&mut self) {
        self.chain = Chain::new(&self.node.info.rpc_url, self.deployment.verifier());
    }

    /// A scripted pile, not connected.
    pub fn pile(&self, number: usize) -> Pile {
        let entry = self.piles.get(number).expect("the snapshot has this pile");
        Pile::new(entry, &self.snapshot.fleet(), &self.deployment)
    }

    /// A pile that is connected, greeted and in an open epoch.
    pub async fn connected_pile(&self, number: usize, relayer: &Relayer) -> Pile {
        let mut pile = self.pile(number);
        pile.connect(relayer.ready.listen).await;
        pile.open().await;
        pile
    }

    /// Waits until the chain shows the head of a pile's last AUTH_RESP, or a longer one; checks that it stands there once.
    pub async fn wait_for_recorded(&self, pile: &Pile) -> Recorded {
        let (epoch, n, head) = pile.answered;
        let place = pile.place.expect("greeted");
        let recorded = self.chain.wait_for_head(place.group, place.index, epoch, n).await;
        if recorded.n == n {
            assert_eq!(recorded.head, head, "the chain shows the head that the pile signed");
        }
        let heads = self.chain.heads_of(place.group, place.index, epoch).await;
        assert_eq!(heads.iter().filter(|again| again.n == recorded.n).count(), 1, "recorded once");
        recorded
    }

    /// The fleet's folder.
    pub fn fleet(&self) -> std::path::PathBuf {
        self.snapshot.fleet()
    }

    /// The folder of this scenario.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}
