//! The relayer dies at each step at which it seals: no key and number ever stand for two contents, over all its lives. The credit is
//! reduced because an endpoint hides what the chain recorded of an earlier grant, so that the relayer takes it for rejected.

use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use alloy::sol_types::SolEvent;
use cip22_relayer::failpoint::SEALING_FAILPOINTS;
use cip22_wire::FrameType;
use cip22_wire::body::{Credit, Grant};
use cip22_wire::message::{AuthRevoke, Body};
use serde_json::json;
use system_tests::chain::{HeadExtended, HeadRecorded};
use system_tests::pile::{Answer, Pile, Ticket};
use system_tests::proxy::{Behaviour, Proxy};
use system_tests::relayer::{Launch, Relayer};
use system_tests::sealed::{Left, PileEnd};
use system_tests::world::World;

const GRACE_WH: u32 = 33;
const REJECTED: u8 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_kill_makes_a_key_and_number_seal_two_contents() {
    let world = World::new();
    let hidden = Arc::new(AtomicU64::new(NOTHING_HIDDEN));
    let proxy = Proxy::start(&world.node.info.rpc_url).await;
    proxy.on("eth_getBlockByNumber", safe_close_to_latest());
    proxy.on("eth_getLogs", without_heads_of(&hidden));
    let launch = || {
        world
            .launch()
            .patient()
            .with_endpoints(std::slice::from_ref(&proxy.url))
            .with("RELAYER__BATCH__LANE", "ecdsa")
            .with("RELAYER__REVOKE__GRACE_WH", GRACE_WH)
            .with("RELAYER__GATEWAY__ANSWER_WINDOW_BLOCKS", 6_000)
    };
    let mut left = Left::default();
    let mut pile = world.pile(0).sealing();
    let [sealed, before_commit, after_commit, after_push] = SEALING_FAILPOINTS;

    // Killed with the answer sealed, and with the answer durable: nothing has left.
    let mut dying = launch().failing_at(sealed).start();
    enter(&mut pile, &dying).await;
    let first = pile.ticket().await;
    let index = u64::from(pile.place.expect("greeted").index);
    hidden.store(u64::from(first.challenge.epoch) << 16 | index << 8, Ordering::SeqCst);
    let first_answer = pile.answer(&first);
    pile.send(&first_answer.response).await;
    until_the_end(&mut pile, &mut left).await;
    dying.wait_for_kill();
    let mut dying = launch().failing_at("session::before_reply").start();
    enter(&mut pile, &dying).await;
    pile.send(&first_answer.response).await;
    until_the_end(&mut pile, &mut left).await;
    dying.wait_for_kill();
    assert!(left.numbers(first.challenge.sid).is_empty());

    // The answer, twice in one life; and the second charge, in a later epoch.
    let relayer = launch().start();
    enter(&mut pile, &relayer).await;
    let credit = granted(&mut pile, &first, &first_answer).await;
    assert_eq!(granted(&mut pile, &first, &first_answer).await, credit);
    while pile.epoch.expect("open").epoch == first.challenge.epoch {
        pile.expect(&[FrameType::Epoch]).await;
    }
    let second = pile.ticket().await;
    let second_answer = pile.answer(&second);
    assert_eq!(granted(&mut pile, &second, &second_answer).await, credit, "nothing is held against it yet");
    relayer.kill();
    until_the_end(&mut pile, &mut left).await;
    assert_eq!(left.numbers(first.challenge.sid), [0]);

    // The first grant is revoked, the credit of the second reduced: killed before that is durable, after it, and with it told.
    let mut lives = Vec::new();
    for failpoint in [before_commit, after_commit] {
        lives.push((failpoint, left.numbers(second.challenge.sid)));
        killed_at(launch().failing_at(failpoint), &mut pile, &mut left).await;
    }
    assert!(
        lives.iter().all(|(_, numbers)| numbers == &[0]),
        "nothing of it left before it was durable: {lives:?}"
    );
    let relayer = launch().start();
    enter(&mut pile, &relayer).await;
    let told = news(&mut pile, &first, &second).await;
    assert_eq!(told.0, (1, AuthRevoke { sid: first.challenge.sid, cause: REJECTED, grace_wh: GRACE_WH }));
    let halved = Credit { seq: 1, wh: credit.wh / 2, minutes: credit.minutes / 2 };
    assert_eq!(told.1, (1, halved));
    assert_eq!(pile.expect_safe().await, second.challenge.sid, "its statement is on chain");
    // Again: after each HELLO, and after the repeated answers.
    assert_eq!(granted(&mut pile, &first, &first_answer).await, credit);
    assert_eq!(granted(&mut pile, &second, &second_answer).await, credit);
    assert_eq!(news(&mut pile, &first, &second).await, told);
    relayer.kill();
    until_the_end(&mut pile, &mut left).await;

    // A third grant is revoked for being late, told, and killed in that moment; the next life tells all of it again.
    let third = {
        let late = launch().with("RELAYER__REVOKE__DEADLINE_BLOCKS", 5);
        let mut dying = late.failing_at(after_push).start();
        let mut other = world.pile(1).sealing();
        enter(&mut other, &dying).await;
        let ticket = other.ticket().await;
        let answer = other.answer(&ticket);
        other.send(&answer.response).await;
        until_the_end(&mut other, &mut left).await;
        dying.wait_for_kill();
        (other, ticket, answer)
    };
    let relayer = launch().start();
    let (mut other, ticket, answer) = third;
    enter(&mut other, &relayer).await;
    let (number, inside, _) =
        PileEnd::new(&other, &ticket).open_sealed(&expect(&mut other, FrameType::Sealed).await);
    assert_eq!((number, inside), (1, FrameType::AuthRevoke));
    granted(&mut other, &ticket, &answer).await;
    enter(&mut pile, &relayer).await;
    assert_eq!(news(&mut pile, &first, &second).await, told);
    relayer.kill();
    until_the_end(&mut pile, &mut left).await;
    until_the_end(&mut other, &mut left).await;

    assert_eq!(left.numbers(first.challenge.sid), [0, 1]);
    assert_eq!(left.numbers(second.challenge.sid), [0, 1]);
    assert_eq!(left.numbers(ticket.challenge.sid), [0, 1]);
    assert!(left.repeats >= 6, "frames were told again, byte for byte: {}", left.repeats);
}

async fn enter(pile: &mut Pile, relayer: &Relayer) {
    pile.connect(relayer.ready.listen).await;
    pile.open().await;
}

/// Reads what is still on its way after the relayer was killed, and takes in all that has come.
async fn until_the_end(pile: &mut Pile, left: &mut Left) {
    while pile.next_frame().await.is_some() {}
    left.take(pile.received.as_mut().expect("kept").drain(..));
}

/// A life that ends at its failpoint, maybe before piles can connect.
async fn killed_at(launch: Launch, pile: &mut Pile, left: &mut Left) {
    match launch.try_start() {
        Ok(mut dying) => {
            if pile.try_connect(dying.ready.listen).await.is_ok() {
                let hello = pile.hello_message();
                // It may be gone already.
                let _ = pile.try_send(&hello).await;
                until_the_end(pile, left).await;
            }
            dying.wait_for_kill();
        }
        Err((line, status)) => assert_eq!(status.signal(), Some(9), "{line:?}"),
    }
}

/// Sends the answer to a ticket; returns the credit.
async fn granted(pile: &mut Pile, ticket: &Ticket, answer: &Answer) -> Grant {
    pile.send(&answer.response).await;
    let payload = pile.expect_grant(ticket).await;
    let (number, body) = PileEnd::new(pile, ticket).open_frame(FrameType::AuthGrant, &payload);
    assert_eq!(number, 0);
    Grant::decode(&body).expect("a credit")
}

/// The revocation of the first charge and the reduced credit of the second, each with its number.
async fn news(pile: &mut Pile, first: &Ticket, second: &Ticket) -> ((u32, AuthRevoke), (u32, Credit)) {
    let sealed = expect(pile, FrameType::Sealed).await;
    let (number, inside, payload) = PileEnd::new(pile, first).open_sealed(&sealed);
    assert_eq!(inside, FrameType::AuthRevoke);
    let revoked = (number, AuthRevoke::decode(&payload).expect("AUTH_REVOKE"));
    let update = expect(pile, FrameType::CreditUpdate).await;
    let (number, body) = PileEnd::new(pile, second).open_frame(FrameType::CreditUpdate, &update);
    (revoked, (number, Credit::decode(&body).expect("CREDIT_UPDATE")))
}

async fn expect(pile: &mut Pile, frame_type: FrameType) -> Vec<u8> {
    pile.expect(&[frame_type]).await.1
}

/// `safe` trails by a hundred blocks on a development chain; here by a few, so that four tries take seconds.
fn safe_close_to_latest() -> Behaviour {
    let latest = AtomicU64::new(0);
    Behaviour::rewrite(move |params, mut answer| {
        let number = answer["result"]["number"].as_str().and_then(|hex| hex.strip_prefix("0x"));
        let Some(number) = number.and_then(|hex| u64::from_str_radix(hex, 16).ok()) else { return answer };
        if params[0] == "latest" {
            latest.fetch_max(number, Ordering::SeqCst);
        } else if params[0] == "safe" {
            let close = latest.load(Ordering::SeqCst).saturating_sub(SAFE_LAG_BLOCKS);
            answer["result"]["number"] = json!(format!("{:#x}", number.max(close)));
        }
        answer
    })
}

/// No head of this place, as `epoch << 16 | index << 8`, is among the events.
fn without_heads_of(place: &Arc<AtomicU64>) -> Behaviour {
    let place = place.clone();
    let heads = [HeadRecorded::SIGNATURE_HASH, HeadExtended::SIGNATURE_HASH].map(|topic| json!(topic));
    Behaviour::rewrite(move |_, mut answer| {
        let hidden = place.load(Ordering::SeqCst);
        if let Some(logs) = answer["result"].as_array_mut() {
            logs.retain(|log| {
                let position = log["topics"][2].as_str().and_then(|hex| hex.get(50..));
                let position = position.and_then(|hex| u64::from_str_radix(hex, 16).ok());
                !(heads.contains(&log["topics"][0]) && position.is_some_and(|at| at & !0xff == hidden))
            });
        }
        answer
    })
}

const NOTHING_HIDDEN: u64 = u64::MAX;
const SAFE_LAG_BLOCKS: u64 = 5;
