//! SEALED and AUTH_RESP at a gateway that has answered some tickets, without a network.

use std::sync::Arc;

use arc_swap::ArcSwap;
use cip22_wire::body::SUITE_PLAIN;
use cip22_wire::digest::Domain;
use cip22_wire::message::{AuthDeny, AuthGrant, AuthResp, Body, Challenge, Nack, OtaReq};
use cip22_wire::{Hash, frame, keccak256};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::clock::{SharedClock, SystemClock};
use crate::config::{Config, SealedBodies};
use crate::deployment::Deployment;
use crate::directory::{Device, Directory, Place};
use crate::gateway::Parts;
use crate::gateway_key::{GatewayKey, SiteSecret, TicketKey};
use crate::journal::appender::Appender;
use crate::journal::redb_log::RedbLog;
use crate::journal::{Journal, Record};
use crate::pipeline::frame_bytes;
use crate::seal::TicketKeys;
use crate::supervisor::settings;
use crate::view::ChainView;

const DEVICE: DeviceId = [7; 32];
const OTHER_DEVICE: DeviceId = [8; 32];
const SEALED_SID: Sid = [1; 16];
const PLAIN_SID: Sid = [2; 16];
const UNANSWERED_SID: Sid = [3; 16];
const REQUEST: Hash = [4; 32];

const DEPLOYMENT: &str = r#"{ "chain_id": 1235, "start_block": 1, "epoch_len_blocks": 20, "ring_epochs": 4,
  "access_manager": "0x0000000000000000000000000000000000000001", "device_registry": "0x0000000000000000000000000000000000000002",
  "gateway_registry": "0x0000000000000000000000000000000000000003", "policy_registry": "0x0000000000000000000000000000000000000004",
  "battery_ledger": "0x0000000000000000000000000000000000000005", "policy_signer": "0x0000000000000000000000000000000000000006",
  "verifiers": [ { "address": "0x0000000000000000000000000000000000000007", "label": "v1" } ] }"#;

struct Site {
    gateway: Gateway,
    _dir: TempDir,
}

/// The pile's identity key and ephemeral key.
fn key(number: u8) -> TicketKey {
    SiteSecret::new(Zeroizing::new([number; 32])).ticket_key(&[number; 16]).unwrap()
}

fn site_secret() -> SiteSecret {
    SiteSecret::new(Zeroizing::new([6; 32]))
}

fn challenge(sid: Sid) -> Challenge {
    Challenge {
        circuit_version: 0,
        sid,
        device_id: DEVICE,
        group: 1,
        index: 2,
        nonce: [3; 32],
        epoch: 4,
        epoch_challenge: [5; 32],
        policy_hash: [6; 32],
        issued: 100,
        answer_by: 200,
        deadline: 300,
        gw_eph: *site_secret().ticket_key(&sid).unwrap().public_key(),
        dev_eph: *key(1).public_key(),
        h: [0; 32],
        signature: [9; 64],
    }
}

fn keys(sid: Sid) -> TicketKeys {
    TicketKeys::new(&site_secret(), &challenge(sid), key(2).public_key()).unwrap()
}

impl Site {
    /// A ticket denied under suite 1, one under suite 0, one without an answer.
    fn new(sealed_bodies: SealedBodies) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = RedbLog::open(&dir.path().join("journal.redb")).unwrap();
        let token = log.acquire("test").unwrap();
        let (journal, clock): (Arc<dyn Journal>, SharedClock) = (Arc::new(log), Arc::new(SystemClock::new()));
        let (appender, _) = Appender::start(journal, token, Arc::clone(&clock)).unwrap();
        let deployment = Deployment::parse("test", DEPLOYMENT).unwrap();
        let mut config = Config::default();
        config.gateway.sealed_bodies = sealed_bodies;
        let place = Place { group: 1, index: 2, key: [0; 20], active_from: 0, active_until: u32::MAX };
        let device = Device { places: vec![place], ..Device::default() };
        let directory = Directory { devices: [(DEVICE, device)].into() };
        let gateway = Gateway::new(Parts {
            settings: settings(&config, &deployment),
            clock,
            key: GatewayKey::from_bytes(&[1; 32]).unwrap(),
            site_secret: site_secret(),
            domain: Domain { chain_id: 1235, verifying_contract: [7; 20] },
            directory: Arc::new(ArcSwap::from_pointee(directory)),
            view: watch::channel(ChainView::default()).1,
            appender,
            state: State::default(),
            stop: CancellationToken::new(),
        });
        let site = Self { gateway, _dir: dir };
        for (sid, suite) in
            [(SEALED_SID, Some(SUITE_SM4_GCM)), (PLAIN_SID, Some(SUITE_PLAIN)), (UNANSWERED_SID, None)]
        {
            site.ticket(sid, suite);
        }
        site
    }

    fn ticket(&self, sid: Sid, suite: Option<u8>) {
        let whole = frame_bytes(&challenge(sid));
        let challenge_payload = whole[frame::HEADER_BYTES..whole.len() - 1].to_vec();
        let device_key = key(2).public_key().to_vec();
        let mut records = vec![Record::TicketIssued { challenge_payload, device_key }];
        if let Some(suite) = suite {
            let (body, tag) = keys(sid).body(suite, FrameType::AuthDeny, 0, &[1, 0, 1, 3]).unwrap();
            let answer = frame_bytes(&AuthDeny { sid, suite, body: &body, tag });
            records.push(Record::Denied { sid, request_hash: REQUEST, answer });
        }
        drop(self.gateway.commit(&mut self.gateway.state(), records));
    }

    /// The frame that came out, or the NACK: type, code, field. `None` for no answer.
    fn open(&self, device_id: &DeviceId, sealed: &Sealed<'_>) -> Result<(u8, Vec<u8>), Option<Refusal>> {
        match open(&self.gateway, device_id, sealed) {
            Ok((inside, payload)) => Ok((inside, payload.to_vec())),
            Err(handled) => Err(refusal(&handled)),
        }
    }
}

type Refusal = (u8, NackCode, Option<u8>);

fn refusal(handled: &Handled) -> Option<Refusal> {
    let bytes = handled.replies.first()?;
    let parsed = frame::parse(bytes, u16::MAX).unwrap().unwrap();
    assert_eq!(parsed.frame_type, FrameType::Nack.code());
    let nack = Nack::decode(parsed.payload).unwrap();
    Some((nack.frame_type, NackCode::from_u16(nack.code).unwrap(), nack.field))
}

/// What the pile seals: a type and a payload.
fn sealed_by_pile(sid: Sid, number: u32, inside: FrameType, payload: &[u8]) -> Vec<u8> {
    keys(sid).seal_as_pile(number, &[&[inside.code()], payload].concat())
}

fn request() -> Vec<u8> {
    let mut payload = [0; 64];
    let length = OtaReq { version: 1, offset: 0, length: 448 }.encode_payload(&mut payload).unwrap();
    payload[..length].to_vec()
}

#[tokio::test]
async fn what_a_pile_sealed_comes_out_once() {
    let site = Site::new(SealedBodies::Offered);
    let body = sealed_by_pile(SEALED_SID, 5, FrameType::OtaReq, &request());
    let frame = Sealed { sid: SEALED_SID, suite: SUITE_SM4_GCM, body: &body };
    assert_eq!(site.open(&DEVICE, &frame), Ok((FrameType::OtaReq.code(), request())));
    assert_eq!(site.open(&DEVICE, &frame), Err(None), "a repeated one is not answered");
    let earlier = sealed_by_pile(SEALED_SID, 4, FrameType::OtaStatus, &[]);
    let frame = Sealed { sid: SEALED_SID, suite: SUITE_SM4_GCM, body: &earlier };
    assert_eq!(site.open(&DEVICE, &frame), Ok((FrameType::OtaStatus.code(), Vec::new())), "in any order");
}

#[tokio::test]
async fn a_sid_without_keys_is_an_unknown_ticket() {
    let site = Site::new(SealedBodies::Offered);
    let unknown = Err(Some((TYPE, NackCode::UnknownTicket, Some(FIELD_SID))));
    for sid in [[9; 16], PLAIN_SID, UNANSWERED_SID] {
        let body = sealed_by_pile(sid, 0, FrameType::OtaReq, &request());
        let frame = Sealed { sid, suite: SUITE_SM4_GCM, body: &body };
        assert_eq!(site.open(&DEVICE, &frame), unknown, "{}", sid[0]);
    }
    let body = sealed_by_pile(SEALED_SID, 0, FrameType::OtaReq, &request());
    let frame = Sealed { sid: SEALED_SID, suite: SUITE_SM4_GCM, body: &body };
    assert_eq!(site.open(&OTHER_DEVICE, &frame), unknown, "of another device");
}

#[tokio::test]
async fn nothing_that_is_refused_moves_the_window() {
    let site = Site::new(SealedBodies::Offered);
    let body = sealed_by_pile(SEALED_SID, 0, FrameType::OtaReq, &request());
    let frame = Sealed { sid: SEALED_SID, suite: SUITE_SM4_GCM, body: &body };
    for suite in [SUITE_PLAIN, 2] {
        let other = Sealed { suite, ..frame };
        assert_eq!(site.open(&DEVICE, &other), Err(Some((TYPE, NackCode::FieldValue, Some(FIELD_SUITE)))));
    }
    for at in [0, 4, body.len() - 1] {
        let mut altered = body.clone();
        altered[at] ^= 1;
        let forged = Sealed { body: &altered, ..frame };
        assert_eq!(site.open(&DEVICE, &forged), Err(Some((TYPE, NackCode::BadSignature, None))), "{at}");
    }
    let short = Sealed { body: &body[..19], ..frame };
    assert_eq!(site.open(&DEVICE, &short), Err(Some((TYPE, NackCode::BadSignature, None))));
    assert!(site.open(&DEVICE, &frame).is_ok());
}

#[tokio::test]
async fn only_what_a_pile_may_seal_comes_out() {
    let site = Site::new(SealedBodies::Offered);
    let unexpected = Err(Some((TYPE, NackCode::Unexpected, None)));
    let inside = [FrameType::AuthRevoke, FrameType::OtaChunk, FrameType::Hello, FrameType::Sealed];
    for (number, inside) in (0..).zip(inside) {
        let body = sealed_by_pile(SEALED_SID, number, inside, &[]);
        let frame = Sealed { sid: SEALED_SID, suite: SUITE_SM4_GCM, body: &body };
        assert_eq!(site.open(&DEVICE, &frame), unexpected, "{inside:?}");
        assert_eq!(site.open(&DEVICE, &frame), Err(None), "it opened, so its number is used");
    }
    let empty = keys(SEALED_SID).seal_as_pile(99, &[]);
    let frame = Sealed { sid: SEALED_SID, suite: SUITE_SM4_GCM, body: &empty };
    assert_eq!(site.open(&DEVICE, &frame), unexpected, "not even a type");
}

#[tokio::test]
async fn windows_of_forgotten_tickets_are_dropped() {
    let site = Site::new(SealedBodies::Offered);
    let open = |sid: Sid| {
        let opened = site
            .gateway
            .windows
            .with(&site.gateway, &sid, |window| window.accept(0).map_err(|_| Unopened::Repeated));
        assert_eq!(opened, Ok(()));
    };
    open(SEALED_SID);
    for number in 0..10_000_u32 {
        let mut sid = [0xee; 16];
        sid[..4].copy_from_slice(&number.to_be_bytes());
        open(sid);
        assert!(site.gateway.windows.inner().by_sid.len() <= TIDY_AT_MIN);
    }
    let kept = site.gateway.windows.inner().by_sid.get(&SEALED_SID).copied();
    assert!(kept.unwrap().check(0).is_err(), "the window of a ticket that is known stays");
}

#[tokio::test]
async fn a_gateway_that_requires_seals_refuses_after_what_is_known_and_before_anything_else() {
    let site = Site::new(SealedBodies::Required);
    let ask = |sid: Sid, n: u8, seals: bool| {
        let response = AuthResp { sid, n, prev_head: [0; 32], l: [0; 32], signature: [0; 64] };
        let handled = grant::handle(&site.gateway, &DEVICE, &response, b"payload", seals);
        refusal(&handled).map(|(_, code, field)| (code, field))
    };
    assert_eq!(ask([9; 16], 0, false), Some((NackCode::UnknownTicket, None)));
    assert_eq!(ask(PLAIN_SID, 0, false), Some((NackCode::TicketUsed, None)), "answered before");
    assert_eq!(ask(UNANSWERED_SID, 0, false), Some((NackCode::Unsupported, None)));
    assert_eq!(ask(UNANSWERED_SID, 0, true), Some((NackCode::FieldValue, Some(2))), "n = 0 comes after it");
    let offered = Site::new(SealedBodies::Offered);
    let response = AuthResp { sid: UNANSWERED_SID, n: 0, prev_head: [0; 32], l: [0; 32], signature: [0; 64] };
    let handled = grant::handle(&offered.gateway, &DEVICE, &response, b"payload", false);
    assert_eq!(refusal(&handled).unwrap().1, NackCode::FieldValue, "nothing is required");
}

#[tokio::test]
async fn a_ticket_keeps_its_answer_and_suite_whatever_the_session_agreed_on() {
    let site = Site::new(SealedBodies::Required);
    let payload = b"the request that was answered";
    let sid = [5; 16];
    site.ticket(sid, None);
    let (body, tag) = keys(sid).body(SUITE_SM4_GCM, FrameType::AuthGrant, 0, &[0; 12]).unwrap();
    let answer = frame_bytes(&AuthGrant { sid, suite: SUITE_SM4_GCM, body: &body, tag });
    let record = Record::Denied { sid, request_hash: keccak256(&[payload]), answer: answer.clone() };
    drop(site.gateway.commit(&mut site.gateway.state(), vec![record]));
    for seals in [true, false] {
        let response = AuthResp { sid, n: 1, prev_head: [0; 32], l: [0; 32], signature: [0; 64] };
        let handled = grant::handle(&site.gateway, &DEVICE, &response, payload, seals);
        assert_eq!(handled.replies, std::slice::from_ref(&answer), "{seals}");
        assert!(handled.durable.is_some(), "not before it is durable");
    }
    let suite_of = |sid: Sid| site.gateway.state().tickets[&sid].answer.as_ref().unwrap().suite();
    assert_eq!([SEALED_SID, PLAIN_SID, sid].map(suite_of), [SUITE_SM4_GCM, SUITE_PLAIN, SUITE_SM4_GCM]);
}
