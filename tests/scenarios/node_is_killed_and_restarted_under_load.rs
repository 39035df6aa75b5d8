//! The node dies under load and comes back on the same data: grants go on meanwhile, and each ends on chain exactly once.

use cip22_wire::{FrameType, Sid};
use system_tests::pile::Pile;
use system_tests::relayer::Relayer;
use system_tests::world::World;

/// Piles that authorize at the same time.
const PILES: usize = 4;
/// Authorizations of each before the kill, while the node is down, and afterwards.
const EACH: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_granted_before_during_and_after_the_nodes_death_is_recorded_once() {
    let mut world = World::new();
    let relayer = world.launch().start();
    let mut piles = Vec::new();
    for number in 0..PILES {
        piles.push(world.connected_pile(number, &relayer).await);
    }
    let mut granted = Vec::new();
    for _ in 0..2 {
        granted.extend(load(&mut piles).await);
        // Other epochs, so that batches are under way when the node dies.
        let open = piles[0].epoch.unwrap().epoch;
        while piles[0].epoch.unwrap().epoch == open {
            piles[0].expect(&[FrameType::Epoch]).await;
        }
    }

    world.node.kill();
    let down = relayer.ask_until(&["status"], |status| !status["chain"]["trouble"].is_null());
    assert!(down["sessions"].as_u64() >= Some(PILES as u64), "sessions stay: {down:#}");
    let during = load(&mut piles).await;
    let told = relayer.ask_until(&["why", &hex::encode(during[0])], |told| told["fault"] == "chain");
    assert!(told["next"].as_str().unwrap().contains("asked again"), "{told:#}");
    granted.extend(during);

    world.node.restart(200);
    relayer.ask_until(&["status"], |status| status["chain"]["trouble"].is_null());
    let open = piles[0].epoch.unwrap().epoch;
    while piles[0].epoch.unwrap().epoch == open {
        piles[0].expect(&[FrameType::Epoch]).await;
    }
    granted.extend(load(&mut piles).await);
    each_is_recorded_once(&world, &relayer, &granted).await;
}

/// Every pile authorizes and ends its charges, all at the same time.
async fn load(piles: &mut [Pile]) -> Vec<Sid> {
    let work = piles.iter_mut().map(async |pile| {
        let mut granted = Vec::new();
        for _ in 0..EACH {
            let sid = pile.authorize().await;
            pile.end_charge(sid).await;
            granted.push(sid);
        }
        granted
    });
    futures_util::future::join_all(work).await.into_iter().flatten().collect()
}

async fn each_is_recorded_once(world: &World, relayer: &Relayer, granted: &[Sid]) {
    for sid in granted {
        let told = relayer.ask_until(&["why", &hex::encode(sid)], |told| told["stage"] == "safe");
        assert_eq!(told["fault"], "nobody", "{told:#}");
        let epoch = serde_json::from_value(told["epoch"].clone()).unwrap();
        let (group, index, n): (u32, u8, u8) = serde_json::from_value(told["place"].clone()).unwrap();
        let heads = world.chain.heads_of(group, index, epoch).await;
        let recorded: Vec<_> = heads.iter().filter(|head| !head.extended).collect();
        assert_eq!(recorded.len(), 1, "epoch {epoch} of index {index} in {heads:?}");
        assert!(heads.iter().any(|head| head.n >= n), "statement {n} in {heads:?}");
        let mut covered: Vec<u8> = heads.iter().map(|head| head.n).collect();
        covered.dedup();
        assert_eq!(covered.len(), heads.len(), "no head twice: {heads:?}");
    }
    let (status, _) = relayer.ask(&["status"]);
    let counts = &status["counts"];
    assert_eq!(counts["granted"], granted.len(), "{status:#}");
    assert_eq!((&counts["expired"], &counts["rejected_by_contract"]), (&0.into(), &0.into()), "{status:#}");
}
