//! The power goes at every store, before or after the record is written. The gateway of these tests panics at two statements with
//! one (epoch, n), at two answers to one ticket, and at a fingerprint that does not follow.

use cip22_device_sdk::{
    Event,
    wire::{EndCause, FrameType, NackCode, message::AuthResp},
};

use crate::{
    board::{Fault, Pile},
    flow::{BATTERY, sample},
    gateway::{CREDIT_MINUTES, CREDIT_WH, Gateway},
};

/// From wherever the pile stands to the end of one more charge. `false`: a store failed on the way.
fn run(pile: &mut Pile, gateway: &mut Gateway, time: &mut u32) -> bool {
    let failed =
        |pile: &mut Pile| pile.events().iter().any(|event| matches!(event, Event::StorageFailed { .. }));
    pile.connect(gateway);
    if pile.session.policy_version() == 0 {
        for chunk in gateway.policy_frames(1, 0) {
            pile.give(&chunk);
        }
    }
    pile.give(&gateway.epoch(10));
    pile.answer(gateway);
    pile.session.adopt_battery(BATTERY, [0; 16]);
    pile.answer(gateway);
    if pile.session.charge().is_some() {
        if pile.session.end_charge(50, 2, EndCause::PowerLoss, None).is_err() {
            return false;
        }
        pile.answer(gateway);
    }
    if failed(pile) || pile.session.authorize().is_err() {
        return false;
    }
    pile.answer(gateway);
    if pile.session.charge().is_none() {
        return false;
    }
    for _ in 0..5 {
        *time += 1;
        pile.session.telemetry(&sample(*time)).unwrap();
        pile.answer(gateway);
    }
    if failed(pile) || pile.session.end_charge(50, 2, EndCause::PowerLoss, None).is_err() {
        return false;
    }
    pile.answer(gateway);
    !failed(pile) && pile.session.charge().is_none() && pile.session.unanswered() == 0
}

#[test]
fn no_cut_makes_a_pile_sign_two_things_with_one_number() {
    let mut gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    let mut time = 0;
    assert!(run(&mut pile, &mut gateway, &mut time));
    let stores = pile.flash.stores();
    assert!(stores > 8, "policy, epoch, statements, checkpoints, charge: {stores}");

    for at in 0..stores {
        for written in [false, true] {
            let mut gateway = Gateway::new();
            let mut pile = Pile::new(&gateway);
            let mut time = 0;
            pile.flash.fail(Some(Fault { at, written }));
            assert!(!run(&mut pile, &mut gateway, &mut time), "store {at} was not met");
            let mut pile = pile.restart();
            assert!(
                run(&mut pile, &mut gateway, &mut time),
                "no recovery from store {at}, written {written}"
            );
        }
    }
}

#[test]
fn two_cuts_in_a_row_are_survived_too() {
    for (first, second) in (0..10).flat_map(|first| (0..8).map(move |second| (first, second))) {
        let mut gateway = Gateway::new();
        let mut pile = Pile::new(&gateway);
        let mut time = 0;
        pile.flash.fail(Some(Fault { at: first, written: second % 2 == 0 }));
        run(&mut pile, &mut gateway, &mut time);
        let mut pile = pile.restart();
        let at = pile.flash.stores() + second;
        pile.flash.fail(Some(Fault { at, written: first % 2 == 0 }));
        run(&mut pile, &mut gateway, &mut time);
        let mut pile = pile.restart();
        assert!(run(&mut pile, &mut gateway, &mut time), "{first}, then {second}");
    }
}

#[test]
fn nothing_is_signed_while_the_chain_cannot_be_stored() {
    let mut gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    pile.ready(&mut gateway, 10);
    pile.session.authorize().unwrap();
    let request = pile.output();
    let challenge = gateway.challenge(&request.read());
    pile.flash.fail(Some(Fault { at: pile.flash.stores(), written: false }));
    pile.give(&challenge);
    assert!(pile.outputs().is_empty());
    assert!(pile.events().iter().any(|event| matches!(event, Event::StorageFailed { .. })));
    assert_eq!(pile.session.next_deadline(), Some(1_000));

    pile.flash.fail(None);
    pile.clock.set(1_000);
    pile.session.handle_timeout();
    gateway.accept_auth(&pile.output().read::<AuthResp>());
}

#[test]
fn a_grant_gives_no_power_before_it_is_durable() {
    let mut gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    pile.ready(&mut gateway, 10);
    pile.session.authorize().unwrap();
    let request = pile.output();
    let challenge = gateway.challenge(&request.read());
    pile.give(&challenge);
    let sid = pile.output().read::<AuthResp>().sid;
    pile.flash.fail(Some(Fault { at: pile.flash.stores(), written: false }));
    pile.give(&gateway.grant(sid, CREDIT_WH, CREDIT_MINUTES));
    assert!(pile.outputs().is_empty(), "the preimage stays");
    assert!(!pile.events().iter().any(|event| matches!(event, Event::Granted { .. })));
    assert_eq!(pile.session.charge(), None);

    pile.flash.fail(None);
    pile.clock.set(1_000);
    pile.session.handle_timeout();
    assert!(pile.events().contains(&Event::Granted { sid, wh: CREDIT_WH, minutes: CREDIT_MINUTES }));
    assert_eq!(pile.output().frame_type(), FrameType::AuthAck);
}

#[test]
fn an_epoch_that_cannot_be_stored_is_not_open() {
    let mut gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    pile.ready(&mut gateway, 10);
    pile.flash.fail(Some(Fault { at: pile.flash.stores(), written: false }));
    let epoch = gateway.epoch(11);
    assert_eq!(crate::board::refusal(&mut pile, &epoch), (NackCode::Storage.code(), None));
    assert_eq!(pile.session.epoch(), 10);
    pile.flash.fail(None);
    pile.give(&epoch);
    assert_eq!(pile.session.epoch(), 11);
}

#[test]
fn an_accepted_epoch_and_its_numbers_survive_a_restart() {
    let mut gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    pile.charging(&mut gateway);
    let mut pile = pile.restart();
    assert_eq!(pile.session.epoch(), 10);
    pile.connect(&mut gateway);
    pile.give(&gateway.epoch(10));
    pile.session.end_charge(0, 0, EndCause::Reboot, None).unwrap();
    pile.answer(&mut gateway);
    pile.session.authorize().unwrap();
    let request = pile.outputs().remove(0);
    let challenge = gateway.challenge(&request.read());
    pile.give(&challenge);
    let answer: AuthResp = pile.output().read();
    assert_eq!(answer.n, 3);
    gateway.accept_auth(&answer);
}

#[test]
fn a_charge_whose_end_was_acknowledged_is_gone_after_a_restart() {
    let mut gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    pile.charging(&mut gateway);
    pile.session.end_charge(70, 3, EndCause::Local, None).unwrap();
    pile.answer(&mut gateway);
    assert_eq!(pile.restart().session.charge(), None);
}

#[test]
fn a_charge_ended_before_a_restart_ends_with_the_same_bytes_after_it() {
    let mut gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    pile.charging(&mut gateway);
    pile.session.end_charge(70, 3, EndCause::Local, Some(b"OCMF")).unwrap();
    let end = pile.output();
    let mut pile = pile.restart();
    let charge = pile.session.charge().unwrap();
    assert!(charge.ended);
    pile.connect(&mut gateway);
    pile.session.end_charge(70, 3, EndCause::Local, Some(b"OCMF")).unwrap();
    assert_eq!(pile.output(), end);
}
