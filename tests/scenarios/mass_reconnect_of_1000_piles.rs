//! A thousand piles lose the relayer at once and all come back at once.

use std::collections::HashSet;
use std::net::SocketAddr;

use cip22_wire::FrameType;
use cip22_wire::message::{AuthAck, AuthGrant, Body};
use system_tests::pile::{Answer, Pile, Ticket};
use system_tests::world::World;
use tokio::task::JoinSet;

const PILES: usize = 1_000;

/// A pile and its granted charge: the ticket, the answer, and AUTH_GRANT as it came.
type Charging = (Pile, Ticket, Answer, Vec<u8>);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_piles_come_back_after_sigkill_at_the_first_try_and_find_every_grant() {
    let world = World::with_piles(PILES, 500);
    // All come from one address, and a slow machine may take long for the handshakes.
    let launch = world
        .launch()
        .with("RELAYER__LIMITS__HANDSHAKE_TIMEOUT_MS", 120_000)
        .with("RELAYER__GATEWAY__HEARTBEAT_INTERVAL_MS", 120_000)
        .with("RELAYER__LIMITS__IDLE_TIMEOUT_MS", 240_000);
    let relayer = launch.start();
    let mut tasks = JoinSet::new();
    for number in 0..PILES {
        tasks.spawn(charge(world.pile(number), relayer.ready.listen));
    }
    let charging = tasks.join_all().await;
    assert_eq!(relayer.status()["sessions"], PILES);
    relayer.kill();

    let relayer = launch.start();
    let mut tasks = JoinSet::new();
    for charging in charging {
        tasks.spawn(come_back(charging, relayer.ready.listen));
    }
    let piles = tasks.join_all().await;
    let status = relayer.status();
    assert_eq!(status["sessions"], PILES);
    assert_eq!(status["counts"]["granted"], PILES, "none twice, none lost");

    let mut wanted: HashSet<_> = piles.iter().map(|(_, head)| *head).collect();
    assert_eq!(wanted.len(), PILES);
    let newest = piles.iter().map(|(_, (_, _, epoch, _))| *epoch).max().expect("there are piles");
    let (_, (group, index, epoch, n)) =
        piles.iter().find(|(_, (_, _, epoch, _))| *epoch == newest).expect("just found");
    // Epochs are recorded in order; the newest is among the last.
    world.chain.wait_for_head(*group, *index, *epoch, *n).await;
    for (_, (group, index, epoch, n)) in &piles {
        if wanted.contains(&(*group, *index, *epoch, *n)) {
            world.chain.wait_for_head(*group, *index, *epoch, *n).await;
            for head in world.chain.recorded().await {
                wanted.remove(&(head.group, head.index, head.epoch, head.n));
            }
        }
    }
    assert!(wanted.is_empty(), "{} grants are not on chain", wanted.len());
}

/// Connects and authorizes; the charge is granted and not acknowledged yet when the relayer is lost.
async fn charge(mut pile: Pile, relayer: SocketAddr) -> Charging {
    pile.connect(relayer).await;
    pile.open().await;
    let ticket = pile.ticket().await;
    let answer = pile.answer(&ticket);
    pile.send(&answer.response).await;
    let grant = pile.expect_grant(&ticket).await;
    (pile, ticket, answer, grant)
}

/// Connects once, sends again what has no final answer, and acknowledges. Returns the place and number of its statement.
async fn come_back(charging: Charging, relayer: SocketAddr) -> (Pile, (u32, u8, u32, u8)) {
    let (mut pile, ticket, answer, grant) = charging;
    pile.connect(relayer).await;
    pile.hello().await;
    pile.send(&answer.response).await;
    assert_eq!(pile.expect_grant(&ticket).await, grant, "the same grant, byte for byte");
    assert_eq!(AuthGrant::decode(&grant).expect("a grant").sid, answer.response.sid);
    pile.send(&AuthAck { sid: answer.response.sid, a: answer.a }).await;
    pile.expect(&[FrameType::Ack]).await;
    let place = pile.place.expect("greeted");
    (pile, (place.group, place.index, ticket.challenge.epoch, answer.response.n))
}
