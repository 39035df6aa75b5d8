//! SIGTERM: sessions are told DRAIN, what was granted is still on disk, and the process ends with success.

use cip22_wire::FrameType;
use cip22_wire::message::{Body, Challenge};
use system_tests::pile::Pile;
use system_tests::world::World;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

const PILES: usize = 6;
/// As many charges as the scenarios' configuration leaves open at once.
const CHARGES: usize = 8;

#[tokio::test]
async fn a_stop_drains_sessions_and_keeps_what_was_granted() {
    let world = World::new();
    let relayer = world.launch().start();
    let mut pile = world.connected_pile(0, &relayer).await;
    pile.authorize().await;
    let (epoch, place, n) = (pile.epoch.unwrap().epoch, pile.place.unwrap(), pile.chain.0);
    let stopped = tokio::task::spawn_blocking(move || relayer.stop());
    pile.expect(&[FrameType::Drain]).await;
    assert!(stopped.await.unwrap(), "exit code 0");

    let _relayer = world.launch().start();
    world.chain.wait_for_head(place.group, place.index, epoch, n).await;
}

#[tokio::test]
async fn a_stop_under_load_drains_every_session_and_every_grant_reaches_the_chain() {
    let world = World::new();
    let relayer = world.launch().start();
    let (granted, mut grants) = mpsc::unbounded_channel();
    let mut piles = JoinSet::new();
    for number in 0..PILES {
        let pile = world.connected_pile(number, &relayer).await;
        piles.spawn(authorize_until_drained(pile, granted.clone()));
    }
    // In the middle: no pile can be done yet.
    for _ in 0..CHARGES {
        grants.recv().await.unwrap();
    }
    let stopped = tokio::task::spawn_blocking(move || relayer.stop());
    let covered: Vec<_> = piles.join_all().await.into_iter().flatten().collect();
    assert!(stopped.await.unwrap(), "exit code 0");
    assert!(covered.len() >= CHARGES);

    let relayer = world.launch().start();
    for (group, index, epoch, n) in covered {
        world.chain.wait_for_head(group, index, epoch, n).await;
    }
    assert!(relayer.status()["counts"]["granted"].as_u64().unwrap() >= CHARGES as u64);
}

/// Authorizes as fast as it can until DRAIN comes; returns place, epoch and number of every statement that was granted.
async fn authorize_until_drained(
    mut pile: Pile,
    granted: mpsc::UnboundedSender<()>,
) -> Vec<(u32, u8, u32, u8)> {
    let place = pile.place.unwrap();
    let mut covered = Vec::new();
    while covered.len() < CHARGES {
        let (request, eph) = pile.challenge_request();
        if pile.try_send(&request).await.is_err() {
            break;
        }
        let Some((FrameType::Challenge, payload)) =
            pile.try_expect(&[FrameType::Challenge, FrameType::Drain]).await
        else {
            return drained(pile, covered).await;
        };
        let challenge = Challenge::decode(&payload).unwrap();
        if challenge.epoch != pile.epoch.unwrap().epoch {
            // The epoch advanced while the ticket was on its way.
            continue;
        }
        let ticket = pile.ticket_of(challenge, eph);
        let answer = pile.answer(&ticket);
        if pile.try_send(&answer.response).await.is_err() {
            break;
        }
        let Some((FrameType::AuthGrant, _)) =
            pile.try_expect(&[FrameType::AuthGrant, FrameType::Drain]).await
        else {
            return drained(pile, covered).await;
        };
        covered.push((place.group, place.index, challenge.epoch, answer.response.n));
        let _ = granted.send(());
    }
    assert!(pile.try_expect(&[FrameType::Drain]).await.is_some(), "DRAIN came before the end");
    drained(pile, covered).await
}

/// DRAIN is the last frame.
async fn drained(mut pile: Pile, covered: Vec<(u32, u8, u32, u8)>) -> Vec<(u32, u8, u32, u8)> {
    assert_eq!(pile.next_frame().await, None, "{} frames before", covered.len());
    covered
}
