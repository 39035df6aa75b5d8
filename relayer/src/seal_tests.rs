use cip22_wire::body::Grant;
use cip22_wire::message::{AuthRevoke, Body};
use proptest::prelude::*;

use super::*;
use crate::gateway_key::TicketKey;

const SID: Sid = [5; 16];
const DEVICE: DeviceId = [7; 32];

/// A key pair.
fn key(number: u8) -> TicketKey {
    SiteSecret::new(Zeroizing::new([number; 32])).ticket_key(&[number; 16]).unwrap()
}

fn challenge(site: &SiteSecret) -> Challenge {
    Challenge {
        circuit_version: 0,
        sid: SID,
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
        gw_eph: *site.ticket_key(&SID).unwrap().public_key(),
        dev_eph: *key(1).public_key(),
        h: [0; 32],
        signature: [9; 64],
    }
}

fn site() -> SiteSecret {
    SiteSecret::new(Zeroizing::new([8; 32]))
}

fn keys() -> TicketKeys {
    let site = site();
    TicketKeys::new(&site, &challenge(&site), key(2).public_key()).unwrap()
}

/// The session keys as the pile derives them, from its own two secrets.
fn keys_of_the_pile() -> SessionKeys {
    let gw_eph = challenge(&site()).gw_eph;
    let mut z = [0; 64];
    z[..32].copy_from_slice(key(1).ecdh_x(&gw_eph).unwrap().as_slice());
    z[32..].copy_from_slice(key(2).ecdh_x(&gw_eph).unwrap().as_slice());
    SessionKeys::derive(&z, &SID)
}

fn seal_as_pile(number: u32, plain: &[u8]) -> Vec<u8> {
    keys().seal_as_pile(number, plain)
}

fn open(window: &mut ReplayWindow, body: &[u8]) -> Result<Vec<u8>, Unopened> {
    keys().open(window, FrameType::Sealed, body).map(|plain| plain.to_vec())
}

#[test]
fn what_the_gateway_seals_the_pile_opens_and_its_tag_verifies() {
    let mut plain = [0; 64];
    let length = Grant { wh: 9_000, minutes: 80 }.encode(&mut plain).unwrap();
    let (body, tag) = keys().body(SUITE_SM4_GCM, FrameType::AuthGrant, 3, &plain[..length]).unwrap();
    assert_eq!((body.len(), &body[..4]), (length + SEAL_OVERHEAD_BYTES, &[0, 0, 0, 3][..]));

    let ticket_hash = digest::ticket_hash(&challenge(&site()));
    let pile = keys_of_the_pile();
    assert!(pile.verify_tag(&ticket_hash, FrameType::AuthGrant, SUITE_SM4_GCM, &body, &tag));
    let shared = [*pile.enc_gateway(), *pile.enc_pile()].concat();
    let (_, mut opener) =
        SessionSecret::derive(&DEVICE, &shared, &SID).unwrap().split(Suite::Sm4Gcm, Role::Responder);
    let associated_data = [&ticket_hash[..], &[FrameType::AuthGrant.code(), 1]].concat();
    let mut opened = body[4..body.len() - 16].to_vec();
    let seal: [u8; 16] = body[body.len() - 16..].try_into().unwrap();
    opener.open(3, &associated_data, &mut opened, &seal).unwrap();
    assert_eq!(Grant::decode(&opened).unwrap(), Grant { wh: 9_000, minutes: 80 });
    assert_eq!(keys().open_own(FrameType::AuthGrant, &body).unwrap().as_slice(), opened);
    assert!(keys().open_own(FrameType::AuthDeny, &body).is_none(), "another type");
}

#[test]
fn the_same_content_under_its_number_has_the_same_bytes_and_another_number_others() {
    let revoke = frame_bytes(&AuthRevoke { sid: SID, cause: 1, grace_wh: 200 });
    let frame = keys().sealed_frame(2, &revoke).unwrap();
    assert_eq!(keys().sealed_frame(2, &revoke).unwrap(), frame);
    let other = keys().sealed_frame(3, &revoke).unwrap();
    assert_eq!(other.len(), frame.len());
    let body = |frame: &[u8]| {
        let parsed = frame::parse(frame, u16::MAX).unwrap().unwrap();
        let sealed = Sealed::decode(parsed.payload).unwrap();
        (sealed.sid, sealed.suite, sealed.body.to_vec())
    };
    let (sid, suite, sealed) = body(&frame);
    assert_eq!((sid, suite), (SID, SUITE_SM4_GCM));
    assert_ne!(sealed[4..], body(&other).2[4..], "another nonce");
    let plain = keys().open_own(FrameType::Sealed, &sealed).unwrap();
    assert_eq!((plain[0], AuthRevoke::decode(&plain[1..]).unwrap().grace_wh), (0x17, 200));
}

#[test]
fn a_body_of_suite_0_stays_as_it_is() {
    let (body, tag) = keys().body(SUITE_PLAIN, FrameType::AuthGrant, 0, b"in plain").unwrap();
    assert_eq!(body, b"in plain");
    let ticket_hash = digest::ticket_hash(&challenge(&site()));
    assert!(keys_of_the_pile().verify_tag(&ticket_hash, FrameType::AuthGrant, SUITE_PLAIN, &body, &tag));
}

#[test]
fn what_a_pile_sealed_opens_once_and_in_any_order_within_the_window() {
    let mut window = ReplayWindow::new();
    let late = seal_as_pile(200, b"late");
    for (number, plain) in [(2, b"two"), (0, b"nil"), (1, b"one")] {
        let body = seal_as_pile(number, plain);
        assert_eq!(open(&mut window, &body).unwrap(), plain);
        assert_eq!(open(&mut window, &body), Err(Unopened::Repeated), "{number}");
    }
    assert_eq!(open(&mut window, &late).unwrap(), b"late");
    assert_eq!(open(&mut window, &seal_as_pile(3, b"before the window")), Err(Unopened::Repeated));
    assert!(open(&mut window, &seal_as_pile(199, b"within")).is_ok());
}

#[test]
fn nothing_altered_opens_and_nothing_that_does_not_open_moves_the_window() {
    let body = seal_as_pile(6, b"status");
    let mut window = ReplayWindow::new();
    for at in 0..body.len() {
        let mut altered = body.clone();
        altered[at] ^= 0x40;
        assert_eq!(open(&mut window, &altered), Err(Unopened::Forged), "byte {at}");
    }
    for length in 0..body.len() {
        assert_eq!(open(&mut window, &body[..length]), Err(Unopened::Forged), "{length} bytes");
    }
    let own = keys().seal(Role::Initiator, FrameType::Sealed, 6, b"status").unwrap();
    assert_eq!(open(&mut window, &own), Err(Unopened::Forged), "what the gateway sealed itself");
    let other_type = keys().seal(Role::Responder, FrameType::AuthGrant, 6, b"status").unwrap();
    assert_eq!(open(&mut window, &other_type), Err(Unopened::Forged), "for another frame");
    assert_eq!(window, ReplayWindow::new());
    assert_eq!(open(&mut window, &body).unwrap(), b"status");
}

#[test]
fn a_number_beyond_those_of_a_key_is_never_sealed() {
    let last = u32::try_from(shangmi::session::MAX_MESSAGES - 1).unwrap();
    assert!(keys().body(SUITE_SM4_GCM, FrameType::CreditUpdate, last, b"").is_some());
    assert!(keys().body(SUITE_SM4_GCM, FrameType::CreditUpdate, last + 1, b"").is_none());
}

#[test]
fn debug_shows_no_key() {
    let shown = format!("{:?}", keys());
    assert_eq!(shown, format!("TicketKeys {{ sid: \"{}\", .. }}", hex::encode(SID)));
}

proptest! {
    #[test]
    fn any_bytes_are_survived_and_none_open(body in proptest::collection::vec(any::<u8>(), 0..520)) {
        let mut window = ReplayWindow::new();
        prop_assert_eq!(open(&mut window, &body), Err(Unopened::Forged));
        prop_assert_eq!(window, ReplayWindow::new());
    }
}
