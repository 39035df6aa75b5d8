//! Piles of both pairings charge at one gateway, and what they stated reaches the chain.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use system_tests::node::run;
use system_tests::pile::hash;
use system_tests::relayer::Relayer;
use system_tests::shangmi::ShangMiFleet;
use system_tests::snapshot::program;
use system_tests::world::World;

#[tokio::test]
async fn piles_of_both_pairings_charge_and_their_statements_reach_the_chain() {
    let world = World::new();
    let fleet = ShangMiFleet::new(&world, &[0]);
    let launch = world.launch().with_fleet(fleet.dir());

    // Pile 0 alone, by the SDK, on the TLS stream.
    let relayer = launch.clone().with_tls("shangmi").start();
    charge(&world, &fleet, &relayer, "raw", 1).await;
    relayer.wait_for_metric(SHANGMI_ACCEPTED, |accepted| accepted >= 1.0).await;
    assert_eq!(relayer.status()["counts"]["granted"], 1);
    assert!(relayer.stop());

    // Pile 0 again and standard pile 1 beside it, over HTTP/2.
    let relayer = launch.with_tls("both").start();
    charge(&world, &fleet, &relayer, "h2", 2).await;
    for accepted in [SHANGMI_ACCEPTED, STANDARD_ACCEPTED] {
        relayer.wait_for_metric(accepted, |accepted| accepted >= 1.0).await;
    }

    // A scripted pile, which is not the SDK.
    let mut pile = fleet.pile(&world, 0);
    pile.connect(relayer.ready.listen).await;
    pile.open().await;
    pile.authorize().await;
    world.wait_for_recorded(&pile).await;
}

/// The first piles of the fleet, by the device SDK, charge once each, and see it recorded.
async fn charge(world: &World, fleet: &ShangMiFleet, relayer: &Relayer, binding: &str, piles: usize) {
    let logs = world.path().join(format!("logs-{binding}"));
    let mut command = Command::new(program("cip22-fleet"));
    command.arg("run").arg("--fleet").arg(fleet.dir().join("fleet.json"));
    command.arg("--deployment").arg(world.snapshot.deployment());
    command.args(["--gateway", &relayer.ready.listen.to_string(), "--binding", binding]);
    command.arg("--logs").arg(&logs).args(["--piles", &piles.to_string(), "--charges-per-pile", "1"]);
    command.args(["--charge-ms", "1500", "--await-finals"]);
    tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap();
    for pile in &world.piles[..piles] {
        let signed = statements(&logs.join(format!("{}.jsonl", pile.name)));
        let heads = world.chain.recorded().await;
        let recorded = heads.iter().any(|head| signed.contains(&head.head));
        assert!(recorded, "{}: none of its heads is on the chain", pile.name);
    }
}

/// The heads that a pile signed, from its log.
fn statements(log: &Path) -> Vec<[u8; 32]> {
    let text = std::fs::read_to_string(log).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let signed = lines.filter(|line| line["event"] == "statement");
    signed.map(|line| hash(line["head"].as_str().unwrap())).collect()
}

const SHANGMI_ACCEPTED: &str = "handshakes_total{result=\"accepted\",pairing=\"shangmi\"} ";
const STANDARD_ACCEPTED: &str = "handshakes_total{result=\"accepted\",pairing=\"standard\"} ";
