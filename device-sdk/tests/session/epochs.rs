//! Protocol §4.1, 3 and §5.1.

use cip22_device_sdk::{
    Event, Settings,
    wire::{FrameType, NackCode, message::AuthResp},
};

use crate::{
    board::{Pile, refusal},
    gateway::{Gateway, bytes, nack},
};

fn ready() -> (Gateway, Pile) {
    let mut gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    pile.ready(&mut gateway, 10);
    (gateway, pile)
}

#[test]
fn an_epoch_not_signed_by_the_certified_gateway_is_refused() {
    let (_, mut pile) = ready();
    let stranger = Gateway::with_key(0x44);
    let epoch = bytes(&stranger.epoch_message(11));
    assert_eq!(refusal(&mut pile, &epoch), (NackCode::BadSignature.code(), Some(5)));
    assert_eq!(pile.session.epoch(), 10);
}

#[test]
fn an_epoch_of_another_group_is_refused() {
    let (gateway, mut pile) = ready();
    let epoch = gateway.epoch_with(11, |epoch| epoch.group += 1);
    assert_eq!(refusal(&mut pile, &epoch), (NackCode::FieldValue.code(), Some(1)));
}

#[test]
fn an_epoch_never_goes_back() {
    let (mut gateway, mut pile) = ready();
    pile.give(&gateway.epoch(12));
    let earlier = gateway.epoch(11);
    assert_eq!(refusal(&mut pile, &earlier), (NackCode::StaleEpoch.code(), None));
    assert_eq!(pile.session.epoch(), 12);
}

#[test]
fn the_open_epoch_announced_again_changes_nothing() {
    let (mut gateway, mut pile) = ready();
    pile.give(&gateway.epoch(10));
    assert!(pile.events().is_empty() && pile.outputs().is_empty());
}

#[test]
fn the_open_epoch_with_another_challenge_or_policy_is_refused() {
    let (gateway, mut pile) = ready();
    let challenge = gateway.epoch_with(10, |epoch| epoch.challenge = [0; 32]);
    assert_eq!(refusal(&mut pile, &challenge), (NackCode::FieldValue.code(), Some(3)));
    let policy = gateway.epoch_with(10, |epoch| epoch.policy_hash = [0; 32]);
    assert_eq!(refusal(&mut pile, &policy), (NackCode::FieldValue.code(), Some(4)));
}

#[test]
fn an_epoch_whose_policy_is_not_held_is_refused_until_it_is() {
    let mut gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    pile.connect(&mut gateway);
    let epoch = gateway.epoch(10);
    assert_eq!(refusal(&mut pile, &epoch), (NackCode::StalePolicy.code(), None));
    for chunk in gateway.policy_frames(1, 0) {
        pile.give(&chunk);
    }
    pile.give(&epoch);
    assert_eq!(pile.session.epoch(), 10);
}

#[test]
fn an_epoch_under_a_policy_that_a_later_one_replaced_is_refused() {
    let (mut gateway, mut pile) = ready();
    for chunk in gateway.policy_frames(2, 20) {
        pile.give(&chunk);
    }
    pile.give(&gateway.epoch(19));
    let stale = gateway.epoch(20);
    assert_eq!(refusal(&mut pile, &stale), (NackCode::FieldValue.code(), Some(4)));
    gateway.policy = (2, 20);
    pile.give(&gateway.epoch(20));
    assert_eq!(pile.session.epoch(), 20);
}

#[test]
fn nothing_is_signed_before_the_gateway_announced_the_epoch_on_this_connection() {
    let (mut gateway, mut pile) = ready();
    pile.session.disconnected();
    pile.connect(&mut gateway);
    pile.session.authorize().unwrap();
    assert!(pile.outputs().is_empty());
    pile.give(&gateway.epoch(11));
    assert_eq!(pile.output().frame_type(), FrameType::ChallengeReq);
}

#[test]
fn numbers_begin_at_1_in_every_epoch() {
    let (mut gateway, mut pile) = ready();
    pile.give(&gateway.epoch(11));
    pile.session.authorize().unwrap();
    let request = pile.output();
    let challenge = gateway.challenge(&request.read());
    pile.give(&challenge);
    let answer = pile.output();
    let answer: AuthResp = answer.read();
    assert_eq!((answer.n, answer.prev_head), (1, [0; 32]));
}

#[test]
fn an_advance_faster_than_time_allows_is_refused() {
    let mut gateway = Gateway::new();
    let settings = Settings { epoch_ms_min: 1_000, ..Settings::default() };
    let mut pile = Pile::with_settings(&gateway, settings);
    pile.ready(&mut gateway, 10);
    pile.clock.pass(2_000);
    let ahead = gateway.epoch(17);
    assert_eq!(refusal(&mut pile, &ahead), (NackCode::FieldValue.code(), Some(2)));
    pile.give(&gateway.epoch(16));
    assert_eq!(pile.session.epoch(), 16);
}

#[test]
fn after_a_boot_an_advance_beyond_the_longest_time_without_power_is_refused() {
    let mut gateway = Gateway::new();
    let settings = Settings { epoch_ms_min: 1_000, epoch_advance_max: 100, ..Settings::default() };
    let mut pile = Pile::with_settings(&gateway, settings);
    pile.ready(&mut gateway, 10);
    let mut pile = pile.restart();
    pile.connect(&mut gateway);
    for ahead in [111, 5_000, u32::MAX] {
        let ahead = gateway.epoch(ahead);
        assert_eq!(refusal(&mut pile, &ahead), (NackCode::FieldValue.code(), Some(2)));
    }
    pile.give(&gateway.epoch(110));
    assert_eq!(pile.session.epoch(), 110);
    let ahead = gateway.epoch(115);
    assert_eq!(refusal(&mut pile, &ahead), (NackCode::FieldValue.code(), Some(2)), "time is known again");
}

#[test]
fn without_a_shortest_epoch_the_bound_of_a_boot_holds_at_any_time() {
    let mut gateway = Gateway::new();
    let settings = Settings { epoch_advance_max: 100, ..Settings::default() };
    let mut pile = Pile::with_settings(&gateway, settings);
    pile.ready(&mut gateway, 10);
    let ahead = gateway.epoch(111);
    assert_eq!(refusal(&mut pile, &ahead), (NackCode::FieldValue.code(), Some(2)));
    pile.give(&gateway.epoch(110));
    assert_eq!(pile.session.epoch(), 110);
}

#[test]
fn a_new_pile_bounds_its_first_epoch_and_no_pile_ever_takes_the_last_number() {
    let mut gateway = Gateway::new();
    let settings = Settings { epoch_first_max: 1_000, epoch_advance_max: u32::MAX, ..Settings::default() };
    let mut pile = Pile::with_settings(&gateway, settings);
    pile.connect(&mut gateway);
    for chunk in gateway.policy_frames(1, 0) {
        pile.give(&chunk);
    }
    let ahead = gateway.epoch(1_001);
    assert_eq!(refusal(&mut pile, &ahead), (NackCode::FieldValue.code(), Some(2)));
    pile.give(&gateway.epoch(1_000));
    assert_eq!(pile.session.epoch(), 1_000);

    let poisoned = gateway.epoch(u32::MAX);
    assert_eq!(refusal(&mut pile, &poisoned), (NackCode::FieldValue.code(), Some(2)));
    let mut pile = pile.restart();
    pile.connect(&mut gateway);
    assert_eq!(refusal(&mut pile, &poisoned), (NackCode::FieldValue.code(), Some(2)));
    let settings = Settings { epoch_first_max: u32::MAX, ..settings };
    let mut pile = Pile::with_settings(&gateway, settings);
    pile.connect(&mut gateway);
    for chunk in gateway.policy_frames(1, 0) {
        pile.give(&chunk);
    }
    assert_eq!(refusal(&mut pile, &poisoned), (NackCode::FieldValue.code(), Some(2)));
}

#[test]
fn an_epoch_gives_255_numbers_and_the_next_one_goes_on() {
    let (mut gateway, mut pile) = ready();
    let mut answers = 0;
    // One number went to POLICY_ACK; each denial ends an authorization.
    for _ in 0..256 {
        pile.session.authorize().unwrap();
        let Some(request) =
            pile.outputs().into_iter().find(|sent| sent.frame_type() == FrameType::ChallengeReq)
        else {
            break;
        };
        let challenge = gateway.challenge(&request.read());
        pile.give(&challenge);
        let Some(answer) = pile.outputs().pop() else { break };
        let answer: AuthResp = answer.read();
        gateway.accept_auth(&answer);
        answers += 1;
        assert_eq!(u32::from(answer.n), answers + 1);
        pile.give(&nack(FrameType::AuthResp, NackCode::Overloaded, None, None));
        pile.events();
    }
    assert_eq!(answers, 254);
    pile.give(&gateway.epoch(11));
    let events = pile.events();
    assert!(events.iter().any(|event| matches!(event, Event::TicketExpired { .. })));
    pile.answer(&mut gateway);
    assert!(pile.session.charge().is_some());
}
