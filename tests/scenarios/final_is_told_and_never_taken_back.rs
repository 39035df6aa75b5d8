//! `finalized` never moves on a development chain, so an endpoint in between moves it: forwards, then back. FINAL is durable, told to
//! a pile that was away, and stays.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use alloy::rpc::types::BlockNumberOrTag;
use cip22_wire::message::{AuthFinal, Body};
use cip22_wire::{FrameType, Level};
use serde_json::json;
use system_tests::pile::Pile;
use system_tests::proxy::{Behaviour, Proxy};
use system_tests::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn finality_survives_a_restart_and_an_endpoint_that_takes_it_back() {
    let world = World::new();
    let proxy = Proxy::start(&world.node.info.rpc_url).await;
    let finalized = Arc::new(AtomicU64::new(0));
    proxy.on("eth_getBlockByNumber", moved_by(&finalized));
    let launch = world.launch().patient().with_endpoints(std::slice::from_ref(&proxy.url));
    let relayer = launch.start();
    let mut here = world.connected_pile(0, &relayer).await;
    let mut away = world.connected_pile(1, &relayer).await;
    let (sid, away_sid) = (here.authorize().await, away.authorize().await);
    let safe = told(&mut here).await;
    assert_eq!((safe.sid, safe.level), (sid, Level::Safe.code()));
    let away_safe = told(&mut away).await;
    assert_eq!((away_safe.sid, away_safe.level), (away_sid, Level::Safe.code()));
    away.end_charge(away_sid).await;
    away.drop_link();

    finalized.store(safe.block.max(away_safe.block), Ordering::SeqCst);
    let last = told(&mut here).await;
    assert_eq!(last, AuthFinal { level: Level::Final.code(), ..safe });

    // Back again: the state of both stays, and so does the restarted relayer's.
    finalized.store(1, Ordering::SeqCst);
    let seen = proxy.calls("eth_getBlockByNumber").len();
    proxy.wait_for_calls("eth_getBlockByNumber", seen + 20).await;
    assert_eq!(relayer.status()["counts"]["auth_final"], 2);
    relayer.kill();
    let relayer = launch.start();
    assert_eq!(relayer.status()["counts"]["auth_final"], 2);
    away.connect(relayer.ready.listen).await;
    away.hello().await;
    let last = told(&mut away).await;
    assert_eq!(
        last,
        AuthFinal { level: Level::Final.code(), ..away_safe },
        "it was away, and its charge has ended"
    );
    assert!(world.chain.block(BlockNumberOrTag::Finalized).await == 0, "the node itself knows nothing final");
}

/// The block under `finalized` has this number; everything else is the node's.
fn moved_by(finalized: &Arc<AtomicU64>) -> Behaviour {
    let finalized = finalized.clone();
    Behaviour::rewrite(move |params, mut answer| {
        if params[0] == "finalized" {
            answer["result"]["number"] = json!(format!("{:#x}", finalized.load(Ordering::SeqCst)));
        }
        answer
    })
}

async fn told(pile: &mut Pile) -> AuthFinal {
    let (_, payload) = pile.expect(&[FrameType::AuthFinal]).await;
    AuthFinal::decode(&payload).expect("AUTH_FINAL")
}
