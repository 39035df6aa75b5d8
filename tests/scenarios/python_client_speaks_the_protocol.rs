//! An independent client, written in Python from the protocol's text alone, does the whole of a charge against the relayer.

use std::process::Command;

use system_tests::node::{repository, run};
use system_tests::world::World;

#[tokio::test]
async fn a_client_written_from_the_text_alone_charges_and_reaches_the_chain() {
    let world = World::new();
    let relayer = world.launch().start();
    // The relayer serves piles once an epoch is announced; a scripted pile's session shows that it does.
    world.connected_pile(1, &relayer).await;
    let mut client = Command::new(repository().join("scripts/interop"));
    client.arg("--live").args(["--gateway", &relayer.ready.listen.to_string()]);
    client.arg("--fleet").arg(world.fleet().join("fleet.json"));
    client.arg("--deployment").arg(world.snapshot.deployment());
    client.args(["--pile", &world.piles[0].name, "--until-safe"]);
    client.arg("--state").arg(world.path().join("python-state.json"));
    let told = tokio::task::spawn_blocking(move || run(&mut client)).await.unwrap();
    assert!(told.contains(" passed, 0 failed"), "{told}");
    let counts = &relayer.status()["counts"];
    assert_eq!(counts["granted"], 1);
    assert!(counts["telemetry"].as_u64().unwrap() > 0);
}
