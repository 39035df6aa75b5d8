use cip22_device_sdk::{
    Error, Event,
    wire::{
        EndCause, FrameType, NackCode,
        message::{AuthFinal, AuthRevoke, ChargeEnd, ChargeStatus},
    },
};

use crate::{
    board::{Pile, refusal},
    gateway::{CREDIT_MINUTES, CREDIT_WH, Gateway, ack, bytes},
};

fn charging() -> (Gateway, Pile, [u8; 16]) {
    let mut gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    let sid = pile.charging(&mut gateway);
    (gateway, pile, sid)
}

#[test]
fn energy_beyond_the_credit_exhausts_it_once() {
    let (_, mut pile, sid) = charging();
    pile.session.charge_status(CREDIT_WH - 1, 1).unwrap();
    assert!(pile.events().is_empty());
    pile.session.charge_status(CREDIT_WH, 2).unwrap();
    assert_eq!(pile.events(), [Event::CreditExhausted { sid }]);
    pile.session.charge_status(CREDIT_WH + 1, 3).unwrap();
    assert!(pile.events().is_empty());
}

#[test]
fn time_beyond_the_credit_exhausts_it() {
    let (_, mut pile, sid) = charging();
    pile.session.charge_status(1, CREDIT_MINUTES).unwrap();
    assert_eq!(pile.events(), [Event::CreditExhausted { sid }]);
}

#[test]
fn a_credit_update_renews_a_credit_that_was_used_up() {
    let (gateway, mut pile, sid) = charging();
    pile.session.charge_status(CREDIT_WH, 1).unwrap();
    pile.events();
    pile.give(&gateway.credit(sid, 1, CREDIT_WH + 100, CREDIT_MINUTES));
    assert_eq!(pile.events(), [Event::CreditUpdated { sid, wh: CREDIT_WH + 100, minutes: CREDIT_MINUTES }]);
    pile.session.charge_status(CREDIT_WH + 100, 1).unwrap();
    assert_eq!(pile.events(), [Event::CreditExhausted { sid }]);
}

#[test]
fn a_credit_update_below_what_was_used_exhausts_the_credit() {
    let (gateway, mut pile, sid) = charging();
    pile.session.charge_status(500, 1).unwrap();
    pile.give(&gateway.credit(sid, 1, 400, CREDIT_MINUTES));
    assert!(pile.events().contains(&Event::CreditExhausted { sid }));
}

#[test]
fn a_credit_update_with_a_number_used_before_is_refused() {
    let (gateway, mut pile, sid) = charging();
    let update = gateway.credit(sid, 5, 2_000, 90);
    pile.give(&update);
    pile.events();
    pile.give(&update);
    assert!(pile.events().is_empty(), "the same again changes nothing");
    for (seq, wh) in [(5, 9_000), (4, 9_000)] {
        let refused = refusal(&mut pile, &gateway.credit(sid, seq, wh, 90));
        assert_eq!(refused, (NackCode::FieldValue.code(), Some(3)));
    }
    assert_eq!(pile.session.charge().unwrap().credit_wh, 2_000);
}

#[test]
fn a_credit_update_with_a_wrong_tag_is_refused() {
    let (gateway, mut pile, sid) = charging();
    let mut update = gateway.credit(sid, 1, 2_000, 90);
    let last = update.len() - 1;
    update[last - 1] ^= 1;
    update[last] = cip22_device_sdk::wire::crc8_itu(&update[..last]);
    assert_eq!(refusal(&mut pile, &update), (NackCode::BadSignature.code(), Some(4)));
}

#[test]
fn one_status_is_in_flight_and_the_newest_follows() {
    let (_, mut pile, sid) = charging();
    for wh in [10, 20, 30] {
        pile.session.charge_status(wh, 1).unwrap();
    }
    assert_eq!(pile.output().read::<ChargeStatus>().wh, 10);
    pile.give(&ack(FrameType::ChargeStatus, cip22_device_sdk::wire::Level::Received, Some(sid), None));
    assert_eq!(pile.output().read::<ChargeStatus>().wh, 30);
}

#[test]
fn a_meter_that_runs_backwards_is_refused() {
    let (_, mut pile, _) = charging();
    pile.session.charge_status(10, 2).unwrap();
    assert_eq!(pile.session.charge_status(9, 2), Err(Error::MeterDecreased));
    assert_eq!(pile.session.charge_status(10, 1), Err(Error::MeterDecreased));
    assert_eq!(pile.session.end_charge(9, 2, EndCause::Local, None), Err(Error::MeterDecreased));
}

#[test]
fn a_revocation_leaves_the_grace_and_no_more() {
    let (_, mut pile, sid) = charging();
    pile.session.charge_status(100, 1).unwrap();
    pile.give(&bytes(&AuthRevoke { sid, cause: 2, grace_wh: 50 }));
    assert!(pile.events().contains(&Event::Revoked { sid, cause: 2, grace_wh: 50 }));
    assert_eq!(pile.session.charge().unwrap().credit_wh, 150);
    pile.session.charge_status(150, 1).unwrap();
    assert!(pile.events().contains(&Event::CreditExhausted { sid }));
}

#[test]
fn a_revocation_that_comes_again_leaves_no_new_grace() {
    let (_, mut pile, sid) = charging();
    let revoke = bytes(&AuthRevoke { sid, cause: 3, grace_wh: 50 });
    pile.session.charge_status(100, 1).unwrap();
    pile.give(&revoke);
    pile.events();
    pile.session.charge_status(140, 1).unwrap();
    pile.give(&revoke);
    assert!(pile.events().is_empty());
    let charge = pile.session.charge().unwrap();
    assert_eq!((charge.credit_wh, charge.revoked), (150, true));
}

#[test]
fn without_a_grace_a_revocation_exhausts_the_credit_at_once() {
    let (_, mut pile, sid) = charging();
    pile.session.charge_status(100, 1).unwrap();
    pile.give(&bytes(&AuthRevoke { sid, cause: 4, grace_wh: 0 }));
    assert_eq!(
        pile.events(),
        [Event::Revoked { sid, cause: 4, grace_wh: 0 }, Event::CreditExhausted { sid }]
    );
    pile.session.end_charge(100, 1, EndCause::DeAuthorized, None).unwrap();
    let ended = pile.outputs().iter().any(|sent| {
        sent.frame_type() == FrameType::ChargeEnd
            && sent.read::<ChargeEnd<'_>>().cause == EndCause::DeAuthorized.code()
    });
    assert!(ended);
}

#[test]
fn a_credit_update_after_a_revocation_never_raises_the_credit() {
    let (gateway, mut pile, sid) = charging();
    pile.session.charge_status(100, 1).unwrap();
    pile.give(&bytes(&AuthRevoke { sid, cause: 2, grace_wh: 50 }));
    pile.give(&gateway.credit(sid, 1, 5_000, CREDIT_MINUTES));
    assert_eq!(pile.session.charge().unwrap().credit_wh, 150);
    pile.give(&gateway.credit(sid, 2, 120, CREDIT_MINUTES));
    assert_eq!(pile.session.charge().unwrap().credit_wh, 120);
}

#[test]
fn a_revocation_of_another_grant_is_reported_and_leaves_the_charge_alone() {
    let (_, mut pile, sid) = charging();
    let other = [0xEE; 16];
    pile.give(&bytes(&AuthRevoke { sid: other, cause: 3, grace_wh: 0 }));
    assert_eq!(pile.events(), [Event::Revoked { sid: other, cause: 3, grace_wh: 0 }]);
    let charge = pile.session.charge().unwrap();
    assert_eq!((charge.sid, charge.credit_wh, charge.revoked), (sid, CREDIT_WH, false));
}

#[test]
fn a_record_on_chain_is_reported() {
    let (_, mut pile, sid) = charging();
    pile.give(&bytes(&AuthFinal { sid, level: 3, transaction: [7; 32], block: 99 }));
    assert_eq!(pile.events(), [Event::Final { sid, level: 3, transaction: [7; 32], block: 99 }]);
}

#[test]
fn a_charge_ends_once() {
    let (mut gateway, mut pile, _) = charging();
    pile.session.end_charge(10, 1, EndCause::Local, None).unwrap();
    pile.session.end_charge(10, 1, EndCause::Local, None).unwrap();
    assert_eq!(pile.session.end_charge(11, 1, EndCause::Local, None), Err(Error::ChargeEnded));
    assert_eq!(pile.session.end_charge(10, 1, EndCause::Local, Some(b"x")), Err(Error::ChargeEnded));
    assert_eq!(pile.session.charge_status(11, 1), Err(Error::NoCharge));
    pile.answer(&mut gateway);
    assert_eq!(gateway.ends.len(), 1);
    assert_eq!(pile.session.end_charge(10, 1, EndCause::Local, None), Err(Error::NoCharge));
}

#[test]
fn the_meter_record_travels_untouched_up_to_its_limit() {
    let (_, mut pile, _) = charging();
    let meter = [0x5A; 4_096];
    let limit = Error::MeterTooLong { limit: 4_096 };
    assert_eq!(pile.session.end_charge(1, 1, EndCause::Other, Some(&[0; 4_097])), Err(limit));
    pile.session.end_charge(1, 1, EndCause::Other, Some(&meter)).unwrap();
    assert_eq!(pile.output().read::<ChargeEnd<'_>>().meter, Some(&meter[..]));
}

#[test]
fn without_a_charge_there_is_no_status_and_no_end() {
    let gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    assert_eq!(pile.session.charge_status(1, 1), Err(Error::NoCharge));
    assert_eq!(pile.session.end_charge(1, 1, EndCause::Local, None), Err(Error::NoCharge));
}
