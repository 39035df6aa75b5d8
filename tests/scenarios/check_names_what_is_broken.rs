//! `relayer check` against a live chain: it passes on a sound installation, and names each thing that is broken.

use std::os::unix::fs::PermissionsExt;

use alloy::rpc::types::BlockNumberOrTag;
use serde_json::{Value, json};
use system_tests::proxy::{Behaviour, Proxy};
use system_tests::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_installation_passes_and_every_break_of_it_is_named() {
    let world = World::new();
    // The newest blocks of the snapshot are as old as it is.
    let latest = world.chain.block(BlockNumberOrTag::Latest).await;
    world.chain.wait_for_block(BlockNumberOrTag::Latest, latest + 20).await;
    let (sound, passes) = world.launch().check();
    assert!(passes && names(&sound, "fail").is_empty(), "{sound:#}");
    for name in ["deployment on chain", "recording", "clock", "journal", "certificates", "funds"] {
        assert!(names(&sound, "ok").contains(&name), "{name} is not ok in {sound:#}");
    }
    // The fleet's gateway is not in the registry, and a devnet finalizes nothing: told, and no failure.
    assert!(names(&sound, "warn").contains(&"gateway registration"), "{sound:#}");

    let relayer = world.launch().start();
    let (beside, passes) = world.launch().check();
    assert!(passes && detail(&beside, "journal").contains("in use"), "{beside:#}");
    drop(relayer);

    let moved = with_deployment(&world, "device_registry", format!("0x{}", "de".repeat(20)));
    assert_eq!(names(&moved, "fail"), ["deployment.device_registry"], "{moved:#}");
    assert!(detail(&moved, "deployment.device_registry").contains("no code stands at 0xdede"));

    let signer = with_deployment(&world, "policy_signer", format!("0x{}", "ab".repeat(20)));
    assert_eq!(names(&signer, "fail"), ["deployment.policy_signer"], "{signer:#}");

    let epochs = with_deployment(&world, "epoch_len_blocks", 21);
    assert_eq!(names(&epochs, "fail"), ["deployment.epoch_len_blocks"], "{epochs:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_of_another_chain_one_that_is_away_and_an_empty_signer_are_named() {
    let world = World::new();
    let proxy = Proxy::start(&world.node.info.rpc_url).await;
    let endpoint = format!("endpoint {}", proxy.url);
    let launch = world.launch().with_endpoints(std::slice::from_ref(&proxy.url));
    assert!(launch.check().1, "{:#}", launch.check().0);

    proxy.on("eth_chainId", Behaviour::Answer(json!("0x1")));
    let (foreign, passes) = launch.check();
    assert!(!passes && names(&foreign, "fail").contains(&endpoint.as_str()), "{foreign:#}");
    assert!(detail(&foreign, &endpoint).contains("serves chain 1"), "{foreign:#}");

    proxy.set(Behaviour::Status(502));
    proxy.on("eth_chainId", Behaviour::Status(502));
    let (away, passes) = launch.check();
    assert!(!passes && names(&away, "fail").contains(&endpoint.as_str()), "{away:#}");

    proxy.clear();
    proxy.on(
        "eth_getLogs",
        Behaviour::rewrite(|params, answer| {
            let block = |field: &str| {
                let digits = params[0][field].as_str().unwrap_or_default().trim_start_matches("0x");
                u64::from_str_radix(digits, 16).unwrap_or(0)
            };
            let wide = block("toBlock").saturating_sub(block("fromBlock")) >= 100;
            if wide {
                json!({ "jsonrpc": "2.0", "id": answer["id"], "error": { "code": -32005, "message": "no" } })
            } else {
                answer
            }
        }),
    );
    proxy.on("eth_syncing", Behaviour::Answer(json!({ "currentBlock": "0x1", "highestBlock": "0x2" })));
    let (narrow, passes) = launch.check();
    assert!(passes, "{narrow:#}");
    let warned = names(&narrow, "warn");
    assert!(warned.contains(&format!("{endpoint} logs").as_str()), "{narrow:#}");
    assert!(warned.contains(&format!("{endpoint} sync").as_str()), "{narrow:#}");

    proxy.clear();
    let key_file = world.path().join("empty.key");
    write_private(&key_file, &"07".repeat(32));
    let (empty, passes) =
        launch.with("RELAYER__CHAIN__SIGNER_KEY_FILES", format!("[{:?}]", key_file)).check();
    let failed = names(&empty, "fail");
    assert!(!passes && failed.len() == 1 && failed[0].starts_with("signer 0x"), "{empty:#}");
}

/// What `check` says when one field of the deployment file is another.
#[allow(clippy::disallowed_methods, reason = "scenarios work on real files")]
fn with_deployment(world: &World, field: &str, value: impl Into<Value>) -> Value {
    let text = std::fs::read_to_string(world.snapshot.deployment()).expect("the deployment file");
    let mut document: Value = serde_json::from_str(&text).expect("it is JSON");
    document[field] = value.into();
    let path = world.path().join("deployment.json");
    std::fs::write(&path, document.to_string()).expect("a file");
    let (answer, passes) = world.launch().with("RELAYER__CHAIN__DEPLOYMENT_FILE", path.display()).check();
    assert!(!passes, "{answer:#}");
    answer
}

#[allow(clippy::disallowed_methods, reason = "scenarios work on real files")]
fn write_private(path: &std::path::Path, text: &str) {
    std::fs::write(path, text).expect("a file");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("permissions");
}

/// Names of the findings of a level.
fn names<'a>(answer: &'a Value, level: &str) -> Vec<&'a str> {
    let findings = answer["findings"].as_array().expect("findings").iter();
    findings
        .filter(|finding| finding["level"] == level)
        .filter_map(|finding| finding["name"].as_str())
        .collect()
}

fn detail<'a>(answer: &'a Value, name: &str) -> &'a str {
    let mut findings = answer["findings"].as_array().expect("findings").iter();
    let found = findings.find(|finding| finding["name"] == name);
    found.and_then(|finding| finding["detail"].as_str()).unwrap_or_else(|| panic!("no {name} in {answer:#}"))
}
