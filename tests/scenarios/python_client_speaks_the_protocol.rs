//! An independent client, written in Python from the protocol's text alone, does the whole of a charge against the relayer: by
//! standard TLS, and by RFC 8998 over OpenSSL 4.

use std::process::Command;

use system_tests::node::{repository, run};
use system_tests::relayer::Relayer;
use system_tests::shangmi::ShangMiFleet;
use system_tests::world::World;

#[tokio::test]
async fn a_client_written_from_the_text_alone_charges_and_reaches_the_chain() {
    let world = World::new();
    let fleet = ShangMiFleet::new(&world, &[2]);
    let relayer = world.launch().with_fleet(fleet.dir()).with_tls("both").start();
    // The relayer serves piles once an epoch is announced; a scripted pile's session shows that it does.
    world.connected_pile(1, &relayer).await;
    charge(&world, &fleet, &relayer, 0).await;
    assert_eq!(relayer.status()["counts"]["granted"], 1);
    charge(&world, &fleet, &relayer, 2).await;
    let counts = &relayer.status()["counts"];
    assert_eq!(counts["granted"], 2);
    assert!(counts["telemetry"].as_u64().unwrap() > 0);
    let shangmi = "handshakes_total{result=\"accepted\",pairing=\"shangmi\"} ";
    // One connection for the session, one for the broken checksum at its end.
    relayer.wait_for_metric(shangmi, |accepted| accepted == 2.0).await;
}

async fn charge(world: &World, fleet: &ShangMiFleet, relayer: &Relayer, pile: usize) {
    let name = &world.piles[pile].name;
    let mut client = Command::new(repository().join("scripts/interop"));
    client.arg("--live").args(["--gateway", &relayer.ready.listen.to_string()]);
    client.arg("--fleet").arg(fleet.dir().join("fleet.json"));
    client.arg("--deployment").arg(world.snapshot.deployment());
    client.args(["--pile", name, "--until-safe"]);
    client.arg("--state").arg(world.path().join(format!("{name}-python.json")));
    let told = tokio::task::spawn_blocking(move || run(&mut client)).await.unwrap();
    assert!(told.contains(" passed, 0 failed"), "{told}");
}
