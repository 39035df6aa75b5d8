//! Protocol §5.4 and §6 as a pile sees them.

use cip22_device_sdk::{
    Error, Event,
    wire::{
        FrameType, NackCode,
        message::{AuthGrant, AuthResp, Challenge, ChallengeReq},
    },
};

use crate::{
    board::{Pile, Sent, refusal},
    gateway::{CREDIT_MINUTES, CREDIT_WH, Gateway, bytes, nack},
};

const FIELD_VALUE: u16 = NackCode::FieldValue.code();

/// A pile that sent CHALLENGE_REQ.
fn asking() -> (Gateway, Pile, Sent) {
    let mut gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    pile.ready(&mut gateway, 10);
    pile.session.authorize().unwrap();
    let request = pile.output();
    (gateway, pile, request)
}

/// A ticket, signed after `change`, is refused for `field` and asked anew.
fn refused_for(field: u8, change: impl FnOnce(&mut Challenge)) {
    let (mut gateway, mut pile, request) = asking();
    let request: ChallengeReq = request.read();
    let challenge = gateway.challenge_with(&request, change);
    pile.give(&challenge);
    let outputs = pile.outputs();
    let types: Vec<_> = outputs.iter().map(Sent::frame_type).collect();
    assert_eq!(types, [FrameType::Nack, FrameType::ChallengeReq]);
    let nack: cip22_device_sdk::wire::message::Nack = outputs[0].read();
    assert_eq!((nack.frame_type, nack.code, nack.field), (0x11, FIELD_VALUE, Some(field)));
    assert!(pile.events().contains(&Event::TicketRefused { field }));

    let again: ChallengeReq = outputs[1].read();
    assert_ne!(again.dev_eph, request.dev_eph, "every ticket has its own ephemeral key");
    let challenge = gateway.challenge(&again);
    pile.give(&challenge);
    assert_eq!(pile.output().frame_type(), FrameType::AuthResp);
}

#[test]
fn a_ticket_of_another_circuit_version_is_refused() {
    refused_for(1, |ticket| ticket.circuit_version = 1);
}

#[test]
fn a_ticket_for_another_device_is_refused() {
    refused_for(3, |ticket| ticket.device_id = [0; 32]);
}

#[test]
fn a_ticket_for_another_group_is_refused() {
    refused_for(4, |ticket| ticket.group += 1);
}

#[test]
fn a_ticket_for_another_index_is_refused() {
    refused_for(5, |ticket| ticket.index += 1);
}

#[test]
fn a_ticket_of_another_epoch_is_refused() {
    refused_for(7, |ticket| ticket.epoch += 1);
}

#[test]
fn a_ticket_with_another_epoch_challenge_is_refused() {
    refused_for(8, |ticket| ticket.epoch_challenge = [0; 32]);
}

#[test]
fn a_ticket_under_another_policy_is_refused() {
    refused_for(9, |ticket| ticket.policy_hash = [0; 32]);
}

#[test]
fn a_ticket_to_be_answered_before_its_issue_is_refused() {
    refused_for(11, |ticket| ticket.answer_by = ticket.issued - 1);
}

#[test]
fn a_ticket_with_less_than_60_blocks_of_grace_is_refused() {
    refused_for(12, |ticket| ticket.deadline = ticket.answer_by + 59);
}

#[test]
fn a_ticket_whose_grace_overflows_is_refused() {
    refused_for(12, |ticket| (ticket.answer_by, ticket.deadline) = (u64::MAX, u64::MAX));
}

#[test]
fn a_ticket_that_lives_longer_than_7200_blocks_is_refused() {
    refused_for(12, |ticket| ticket.deadline = ticket.issued + 7_201);
}

#[test]
fn a_ticket_whose_gateway_key_is_no_point_is_refused() {
    refused_for(13, |ticket| ticket.gw_eph = [5; 33]);
}

#[test]
fn a_ticket_for_another_ephemeral_key_is_refused() {
    refused_for(14, |ticket| ticket.dev_eph[5] ^= 1);
}

#[test]
fn a_ticket_of_version_0_with_a_commitment_is_refused() {
    refused_for(15, |ticket| ticket.h = [1; 32]);
}

#[test]
fn a_ticket_not_signed_by_the_certified_gateway_is_refused() {
    let (_, mut pile, request) = asking();
    let mut stranger = Gateway::with_key(0x44);
    stranger.epoch = 10;
    let challenge = stranger.challenge(&request.read());
    assert_eq!(refusal(&mut pile, &challenge), (FIELD_VALUE, Some(16)));
}

#[test]
fn a_ticket_at_its_limits_is_answered() {
    let (mut gateway, mut pile, request) = asking();
    let challenge = gateway.challenge_with(&request.read(), |ticket| {
        (ticket.issued, ticket.answer_by, ticket.deadline) = (1_000, 8_140, 8_200);
    });
    pile.give(&challenge);
    assert_eq!(pile.output().frame_type(), FrameType::AuthResp);
}

#[test]
fn an_authorization_fails_after_four_refused_tickets() {
    let (mut gateway, mut pile, mut request) = asking();
    for _ in 0..4 {
        let challenge = gateway.challenge_with(&request.read(), |ticket| ticket.index += 1);
        pile.give(&challenge);
        if let Some(again) =
            pile.outputs().into_iter().find(|sent| sent.frame_type() == FrameType::ChallengeReq)
        {
            request = again;
        }
    }
    assert!(pile.events().contains(&Event::AuthorizeFailed { code: 0 }));
    assert!(pile.outputs().is_empty());
    pile.session.authorize().unwrap();
    assert_eq!(pile.output().frame_type(), FrameType::ChallengeReq);
}

#[test]
fn a_challenge_nobody_asked_for_is_unexpected() {
    let (mut gateway, mut pile, request) = asking();
    let challenge = gateway.challenge(&request.read());
    pile.give(&challenge);
    pile.output();
    assert_eq!(refusal(&mut pile, &challenge), (NackCode::Unexpected.code(), None));
}

#[test]
fn a_held_ticket_is_answered_when_the_application_says_so() {
    let mut gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    pile.ready(&mut gateway, 10);
    pile.session.request_ticket().unwrap();
    pile.answer(&mut gateway);
    assert!(matches!(pile.events()[..], [Event::TicketHeld { .. }]));
    assert!(pile.outputs().is_empty());
    pile.session.authorize().unwrap();
    assert_eq!(pile.output().frame_type(), FrameType::AuthResp);
}

#[test]
fn a_held_ticket_is_asked_anew_when_the_epoch_advances() {
    let mut gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    pile.ready(&mut gateway, 10);
    pile.session.request_ticket().unwrap();
    pile.answer(&mut gateway);
    let Event::TicketHeld { sid } = pile.events()[0] else { panic!("no ticket") };

    pile.give(&gateway.epoch(11));
    assert!(pile.events().contains(&Event::TicketExpired { sid }));
    pile.session.authorize().unwrap();
    pile.answer(&mut gateway);
    let answered = pile.session.charge().unwrap().sid;
    assert_ne!(answered, sid);
    assert_eq!(gateway.tickets[&answered].challenge.epoch, 11);
    assert_eq!(gateway.tickets[&sid].l, None);
}

#[test]
fn a_held_ticket_is_asked_anew_at_another_gateway() {
    let mut gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    pile.ready(&mut gateway, 10);
    pile.session.request_ticket().unwrap();
    pile.answer(&mut gateway);
    let mut other = Gateway::with_key(0x44);
    pile.session.disconnected();
    pile.connect(&mut other);
    pile.give(&other.epoch(10));
    assert_eq!(pile.output().frame_type(), FrameType::ChallengeReq);
}

#[test]
fn a_held_ticket_is_asked_anew_when_the_pile_got_another_index() {
    let mut gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    pile.ready(&mut gateway, 10);
    pile.session.request_ticket().unwrap();
    pile.answer(&mut gateway);
    pile.session.disconnected();
    pile.session.connected(gateway.key.address());
    pile.output();
    let mut moved = gateway.hello_ack_message();
    moved.index += 1;
    pile.give(&bytes(&moved));
    pile.give(&gateway.epoch(10));
    assert_eq!(pile.output().frame_type(), FrameType::ChallengeReq);
}

#[test]
fn an_answer_given_before_the_epoch_advanced_is_still_granted() {
    let (mut gateway, mut pile, request) = asking();
    let challenge = gateway.challenge(&request.read());
    pile.give(&challenge);
    let answer = pile.output();
    pile.give(&gateway.epoch(11));
    for reply in gateway.reply(&answer) {
        pile.give(&reply);
    }
    assert!(pile.session.charge().is_some());
}

#[test]
fn a_grant_with_a_wrong_tag_gives_no_power_and_no_preimage() {
    let (mut gateway, mut pile, request) = asking();
    let challenge = gateway.challenge(&request.read());
    pile.give(&challenge);
    let answer = pile.output();
    let sid = answer.read::<AuthResp>().sid;
    let good = gateway.grant(sid, CREDIT_WH, CREDIT_MINUTES);
    let mut forged: AuthGrant<'_> = cip22_device_sdk::wire::Body::decode(&good[7..good.len() - 1]).unwrap();
    forged.tag[31] ^= 1;
    let forged = bytes(&forged);
    assert_eq!(refusal(&mut pile, &forged), (NackCode::BadSignature.code(), Some(4)));
    assert_eq!(pile.session.charge(), None);
    assert!(pile.outputs().is_empty());

    pile.give(&good);
    assert_eq!(pile.output().frame_type(), FrameType::AuthAck);
}

#[test]
fn a_denial_tagged_as_a_grant_is_refused() {
    let (mut gateway, mut pile, request) = asking();
    let challenge = gateway.challenge(&request.read());
    pile.give(&challenge);
    let answer = pile.output();
    let sid = answer.read::<AuthResp>().sid;
    let deny = gateway.deny(sid, 1);
    let mut as_grant = deny[..deny.len() - 1].to_vec();
    as_grant[6] = FrameType::AuthGrant.code();
    as_grant.push(cip22_device_sdk::wire::crc8_itu(&as_grant));
    assert_eq!(refusal(&mut pile, &as_grant), (NackCode::BadSignature.code(), Some(4)));
    pile.give(&deny);
    assert!(pile.events().contains(&Event::Denied { sid, reason: 1 }));
    pile.session.authorize().unwrap();
}

#[test]
fn a_grant_under_a_reserved_suite_is_refused() {
    let (mut gateway, mut pile, request) = asking();
    let challenge = gateway.challenge(&request.read());
    pile.give(&challenge);
    let sid = pile.output().read::<AuthResp>().sid;
    let sealed = bytes(&AuthGrant { sid, suite: 1, body: &[0; 16], tag: [0; 32] });
    assert_eq!(refusal(&mut pile, &sealed), (FIELD_VALUE, Some(2)));
}

#[test]
fn a_grant_for_an_unknown_ticket_is_refused() {
    let (mut gateway, mut pile, request) = asking();
    let challenge = gateway.challenge(&request.read());
    let sid = *gateway.tickets.keys().next().unwrap();
    let grant = gateway.grant(sid, 1, 1);
    assert_eq!(refusal(&mut pile, &grant), (NackCode::UnknownTicket.code(), Some(1)));
    pile.give(&challenge);
    pile.output();
}

#[test]
fn a_grant_above_the_tariff_is_cut_to_it() {
    let (mut gateway, mut pile, request) = asking();
    let challenge = gateway.challenge(&request.read());
    pile.give(&challenge);
    let sid = pile.output().read::<AuthResp>().sid;
    pile.give(&gateway.grant(sid, u32::MAX, u16::MAX));
    let charge = pile.session.charge().unwrap();
    assert_eq!((charge.credit_wh, charge.credit_minutes), (CREDIT_WH * 10, CREDIT_MINUTES * 10));
}

#[test]
fn the_same_grant_again_changes_nothing() {
    let mut gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    let sid = pile.charging(&mut gateway);
    pile.give(&gateway.grant(sid, 5_000, 600));
    assert!(pile.events().is_empty() && pile.outputs().is_empty());
    assert_eq!(pile.session.charge().unwrap().credit_wh, CREDIT_WH);
}

#[test]
fn a_refused_answer_ends_the_authorization_with_its_code() {
    let (mut gateway, mut pile, request) = asking();
    let challenge = gateway.challenge(&request.read());
    pile.give(&challenge);
    pile.output();
    pile.give(&nack(FrameType::AuthResp, NackCode::RevokedDevice, None, None));
    assert!(pile.events().contains(&Event::AuthorizeFailed { code: NackCode::RevokedDevice.code() }));
    assert_eq!(pile.session.unanswered(), 0);
}

#[test]
fn a_refused_request_with_a_time_is_sent_again_then() {
    let (_, mut pile, request) = asking();
    pile.give(&nack(FrameType::ChallengeReq, NackCode::NotReady, None, Some(500)));
    assert!(pile.outputs().is_empty());
    assert_eq!(pile.session.next_deadline(), Some(500));
    pile.clock.pass(500);
    assert_eq!(pile.output(), request);
}

#[test]
fn a_second_authorization_waits_for_the_first() {
    let (mut gateway, mut pile, request) = asking();
    let challenge = gateway.challenge(&request.read());
    pile.give(&challenge);
    assert_eq!(pile.session.authorize(), Err(Error::Busy));
    pile.answer(&mut gateway);
    assert_eq!(pile.session.authorize(), Err(Error::Busy), "a charge is under way");
}

#[test]
fn an_authorization_asked_for_offline_waits_for_the_epoch() {
    let mut gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    pile.session.authorize().unwrap();
    pile.ready(&mut gateway, 10);
    assert!(pile.session.charge().is_some());
}
