//! An operator follows an authorization from ticket to `safe` with the commands alone, through an endpoint that fails and one that
//! forgets transactions.

use cip22_wire::FrameType;
use serde_json::{Value, json};
use system_tests::proxy::{Behaviour, Proxy};
use system_tests::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn every_stage_of_an_authorization_is_told_with_its_fault_and_its_next_step() {
    let world = World::new();
    let proxy = Proxy::start(&world.node.info.rpc_url).await;
    let launch = world.launch().with_endpoints(std::slice::from_ref(&proxy.url));
    let launch =
        launch.with("RELAYER__CHAIN__REBROADCAST_BLOCKS", 5).with("RELAYER__CHAIN__REPLACE_BLOCKS", 15);
    let relayer = launch.start();
    let why = |sid: &str| relayer.ask(&["why", sid]).0;

    let (unknown, success) = relayer.ask(&["why", &"ee".repeat(16)]);
    assert_eq!((unknown["stage"].as_str(), success), (Some("unknown"), false), "{unknown:#}");

    let mut pile = world.connected_pile(0, &relayer).await;
    acknowledge_policy(&mut pile).await;
    let ticket = pile.ticket().await;
    let sid = hex::encode(ticket.challenge.sid);
    let told = why(&sid);
    assert_eq!(
        (told["stage"].as_str(), told["fault"].as_str()),
        (Some("ticketed"), Some("device")),
        "{told:#}"
    );

    // The endpoint fails: the grant goes on, and waits. The view stands still, so the ticket's epoch stays open.
    proxy.set(Behaviour::Status(503));
    let sid = hex::encode(pile.authorize().await);
    let told = relayer.ask_until(&["why", &sid], |told| told["fault"] == "chain");
    assert_eq!(told["stage"], "granted", "{told:#}");
    assert!(text(&told["next"]).starts_with("The endpoint is asked again in "), "{told:#}");
    let acknowledged = relayer.ask_until(&["why", &sid], |told| told["acknowledged"] == true);
    assert_eq!(events(&acknowledged), ["ticketed", "granted", "acknowledged"]);
    seen_by_the_other_commands(&relayer, &pile);

    // It answers again, but forgets transactions that it accepted.
    proxy.on("eth_sendRawTransaction", Behaviour::Answer(json!(format!("0x{}", "00".repeat(32)))));
    proxy.set(Behaviour::Forward);
    let told = relayer.ask_until(&["why", &sid], |told| told["stage"] == "submitted");
    let submitted = line(&told, "submitted");
    assert!(text(&submitted["transaction"]).starts_with("0x") && submitted["batch"].is_u64(), "{told:#}");
    let stuck = relayer.ask_until(&["why", &sid], |told| told["fault"] == "chain");
    assert!(text(&stuck["summary"]).contains("attempt "), "{stuck:#}");

    // It tells the truth again: the bytes go out once more and are recorded.
    proxy.clear();
    let told = relayer.ask_until(&["why", &sid], |told| told["stage"] == "safe");
    assert_eq!(told["fault"], "nobody", "{told:#}");
    let (place, epoch) = (pile.place.unwrap(), told["epoch"].as_u64().unwrap() as u32);
    assert_eq!(world.chain.heads_of(place.group, place.index, epoch).await.len(), 1, "recorded once");
    let recorded = line(&told, "recorded");
    assert!(
        told["history"]
            .as_array()
            .unwrap()
            .iter()
            .any(|line| { line["event"] == "submitted" && line["transaction"] == recorded["transaction"] })
    );
    let printed = relayer.ask_for_people(&["why", &sid]);
    assert!(
        printed.contains("stage     safe") && printed.contains(text(&recorded["transaction"])),
        "{printed}"
    );
}

fn seen_by_the_other_commands(relayer: &system_tests::relayer::Relayer, pile: &system_tests::pile::Pile) {
    let id = format!("0x{}", hex::encode(pile.device_id));
    let (page, _) = relayer.ask(&["devices", "list", "--limit", "500"]);
    let listed = page["devices"].as_array().unwrap().iter().find(|device| device["device_id"] == id.as_str());
    let listed = listed.unwrap_or_else(|| panic!("{id} is not in {page:#}"));
    assert_eq!((&listed["connected"], &listed["standing"]), (&json!(true), &json!("active")), "{listed:#}");
    assert_eq!(page["total"], page["devices"].as_array().unwrap().len());
    let (short, _) = relayer.ask(&["devices", "list", "--limit", "1", "--offset", "2"]);
    assert_eq!(short["devices"], json!([page["devices"][2]]), "a page is a part of the whole");

    let (shown, _) = relayer.ask(&["devices", "show", &id[..14]]);
    assert_eq!((&shown["device_id"], &shown["open_charges"]), (&json!(id), &json!(1)), "{shown:#}");
    assert_eq!(shown["policy_acknowledged"], 1, "{shown:#}");

    let (policy, _) = relayer.ask(&["policy"]);
    let version = &policy["versions"][0];
    assert_eq!(
        (&version["standing"], &version["acknowledged"]),
        (&json!("in_force"), &json!(1)),
        "{policy:#}"
    );
    let lagging = policy["devices"].as_u64().unwrap() - 1;
    assert_eq!(version["lagging"], lagging, "{policy:#}");
    assert!(!version["lagging_devices"].as_array().unwrap().contains(&json!(id)), "{policy:#}");
    assert!(relayer.ask_for_people(&["policy"]).contains("in_force"));
}

async fn acknowledge_policy(pile: &mut system_tests::pile::Pile) {
    loop {
        if let Some((version, first_epoch, policy_hash)) = pile.policies.last().copied() {
            let ack = pile.policy_ack(version, first_epoch, policy_hash);
            pile.send(&ack).await;
            pile.expect(&[FrameType::Ack]).await;
            return;
        }
        pile.expect(&[FrameType::SetPolicy]).await;
    }
}

fn events(told: &Value) -> Vec<&str> {
    told["history"].as_array().unwrap().iter().map(|line| text(&line["event"])).collect()
}

/// The last line of the history about this.
fn line<'a>(told: &'a Value, event: &str) -> &'a Value {
    let lines = told["history"].as_array().unwrap();
    lines.iter().rfind(|line| line["event"] == event).unwrap_or_else(|| panic!("no {event} in {told:#}"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
