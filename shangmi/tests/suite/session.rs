//! Sessions: keys apart, nonces never twice, replay refused.

use std::collections::HashSet;

use proptest::prelude::*;
use shangmi::{
    Error,
    session::{MAX_MESSAGE_LENGTH, MAX_MESSAGES, Opener, ReplayWindow, Role, Sealer, SessionSecret},
    suite::Suite,
};

fn ends(suite: Suite, session: &[u8]) -> ((Sealer, Opener), (Sealer, Opener)) {
    let secret = SessionSecret::derive(b"device", b"shared secret", session).unwrap();
    (secret.split(suite, Role::Initiator), secret.split(suite, Role::Responder))
}

#[test]
fn both_ends_read_each_other_in_every_suite() {
    for suite in Suite::ALL {
        let ((mut gateway, mut gateway_opens), (mut pile, mut pile_opens)) = ends(suite, b"1");
        for (sealer, opener) in [(&mut gateway, &mut pile_opens), (&mut pile, &mut gateway_opens)] {
            for number in 0..3 {
                let mut body = *b"power 120 kW";
                let sealed = sealer.seal(b"header", &mut body).unwrap();
                assert_eq!(sealed.sequence, number);
                assert_ne!(&body, b"power 120 kW");
                opener.open(number, b"header", &mut body, &sealed.tag).unwrap();
                assert_eq!(&body, b"power 120 kW");
            }
        }
    }
}

#[test]
fn sessions_devices_directions_and_suites_have_keys_apart() {
    let mut seen = HashSet::new();
    for suite in Suite::ALL {
        for device in [b"device 1", b"device 2"] {
            for session in [b"1", b"2"] {
                let secret = SessionSecret::derive(device, b"shared", session).unwrap();
                for role in [Role::Initiator, Role::Responder] {
                    let (mut sealer, _) = secret.split(suite, role);
                    for _ in 0..3 {
                        let mut zeros = [0; 16];
                        sealer.seal(b"", &mut zeros).unwrap();
                        assert!(seen.insert(zeros), "two streams of zeros are alike");
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_refused_leaves_ciphertext_and_window_as_they_were() {
    let ((mut gateway, _), (_, mut pile)) = ends(Suite::Sm4Gcm, b"1");
    let mut body = *b"open the lock";
    let sealed = gateway.seal(b"header", &mut body).unwrap();
    let ciphertext = body;
    for (sequence, header, flip) in [(0, &b"Header"[..], 0), (1, b"header", 0), (0, b"header", 1)] {
        let mut tag = sealed.tag;
        tag[3] ^= flip;
        assert_eq!(pile.open(sequence, header, &mut body, &tag), Err(Error::Authentication));
        assert_eq!(body, ciphertext);
    }
    pile.open(0, b"header", &mut body, &sealed.tag).unwrap();
    let mut again = ciphertext;
    assert_eq!(pile.open(0, b"header", &mut again, &sealed.tag), Err(Error::Replayed { sequence: 0 }));
    assert_eq!(again, ciphertext);
}

#[test]
fn a_message_of_one_session_means_nothing_in_another() {
    let ((mut gateway, _), _) = ends(Suite::Sm4Gcm, b"1");
    let (_, (_, mut other_pile)) = ends(Suite::Sm4Gcm, b"2");
    let mut body = *b"open the lock";
    let sealed = gateway.seal(b"", &mut body).unwrap();
    assert_eq!(other_pile.open(0, b"", &mut body, &sealed.tag), Err(Error::Authentication));
}

#[test]
fn the_last_nonce_is_used_and_the_next_refused_for_good() {
    let ((gateway, _), (_, pile)) = ends(Suite::Sm4Gcm, b"1");
    let mut gateway = gateway.starting_at(MAX_MESSAGES - 1);
    let mut pile = pile.starting_at(MAX_MESSAGES - 1);
    let mut body = *b"last";
    let sealed = gateway.seal(b"", &mut body).unwrap();
    assert_eq!(sealed.sequence, MAX_MESSAGES - 1);
    pile.open(sealed.sequence, b"", &mut body, &sealed.tag).unwrap();
    for _ in 0..3 {
        assert_eq!(gateway.seal(b"", &mut body), Err(Error::NoncesExhausted));
        assert_eq!(&body, b"last");
    }
    assert_eq!(pile.open(MAX_MESSAGES, b"", &mut body, &sealed.tag), Err(Error::NoncesExhausted));
    assert_eq!(pile.open(u64::MAX, b"", &mut body, &sealed.tag), Err(Error::NoncesExhausted));
}

#[test]
fn a_message_too_long_uses_up_no_number() {
    let ((mut gateway, _), _) = ends(Suite::Sm4Gcm, b"1");
    let mut long = vec![0; MAX_MESSAGE_LENGTH + 1];
    assert_eq!(gateway.seal(b"", &mut long), Err(Error::TooLong));
    assert_eq!(gateway.next_sequence(), 0);
    assert!(gateway.seal(b"", &mut long[1..]).is_ok());
}

#[test]
fn a_sealer_started_again_goes_on_and_never_back() {
    let ((gateway, _), _) = ends(Suite::Sm4Gcm, b"1");
    let mut gateway = gateway.starting_at(1000).starting_at(5);
    assert_eq!(gateway.seal(b"", &mut []).unwrap().sequence, 1000);
    assert_eq!(gateway.next_sequence(), 1001);
}

#[test]
fn an_opener_started_again_refuses_what_came_before() {
    let ((mut gateway, _), (_, pile)) = ends(Suite::Sm4Gcm, b"1");
    let mut pile = pile.starting_at(2);
    for number in 0..3 {
        let mut body = *b"x";
        let sealed = gateway.seal(b"", &mut body).unwrap();
        let opened = pile.open(number, b"", &mut body, &sealed.tag);
        assert_eq!(opened, if number < 2 { Err(Error::Replayed { sequence: number }) } else { Ok(()) });
    }
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let secret = SessionSecret::derive(b"device", b"shared secret", b"1").unwrap();
    let (sealer, opener) = secret.split(Suite::Aes128Gcm, Role::Initiator);
    assert_eq!(format!("{secret:?}"), "SessionSecret(redacted)");
    assert_eq!(format!("{sealer:?}"), "Sealer { next: 0, .. }");
    assert!(format!("{opener:?}").starts_with("Opener { window: ReplayWindow { end: 0"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Against a model that remembers everything.
    #[test]
    fn the_window_accepts_each_number_once_and_none_behind_it(
        numbers in prop::collection::vec(prop_oneof![0u64..400, 0u64..100_000, Just(u64::MAX - 1)], 1..300),
    ) {
        let mut window = ReplayWindow::new();
        let mut accepted = HashSet::new();
        let mut end = 0u64;
        for sequence in numbers {
            let expected = if sequence < end && end - 1 - sequence >= ReplayWindow::LENGTH {
                Err(Error::BehindWindow { sequence, first: end - ReplayWindow::LENGTH })
            } else if accepted.contains(&sequence) {
                Err(Error::Replayed { sequence })
            } else {
                Ok(())
            };
            prop_assert_eq!(window.check(sequence), expected);
            prop_assert_eq!(window.accept(sequence), expected);
            if expected.is_ok() {
                accepted.insert(sequence);
                end = end.max(sequence + 1);
            }
        }
    }

    /// Whatever is sealed, refused or skipped: numbers rise, none is used twice, and 2²⁴ is never reached.
    #[test]
    fn a_sealer_uses_each_number_at_most_once_and_none_beyond_the_last(
        steps in prop::collection::vec(
            prop_oneof![
                3 => Just(None),
                1 => (0..=MAX_MESSAGES + 3).prop_map(Some),
                1 => (MAX_MESSAGES - 3..=MAX_MESSAGES).prop_map(Some),
                1 => Just(Some(u64::MAX)),
            ],
            1..60,
        ),
        too_long in 0usize..60,
    ) {
        let ((mut gateway, _), (_, mut pile)) = ends(Suite::Sm4Gcm, b"1");
        let mut least = 0;
        for (number, step) in steps.into_iter().enumerate() {
            if number == too_long {
                let mut body = vec![0; MAX_MESSAGE_LENGTH + 1];
                prop_assert!(gateway.seal(b"", &mut body).is_err());
                prop_assert!(body.iter().all(|byte| *byte == 0));
                prop_assert_eq!(gateway.next_sequence(), least);
            }
            if let Some(start) = step {
                gateway = gateway.starting_at(start);
                least = least.max(start);
            }
            let mut body = *b"power";
            match gateway.seal(b"", &mut body) {
                Ok(sealed) => {
                    prop_assert!(sealed.sequence == least && least < MAX_MESSAGES);
                    least += 1;
                    prop_assert_eq!(pile.open(sealed.sequence, b"", &mut body, &sealed.tag), Ok(()));
                }
                Err(refused) => {
                    prop_assert_eq!(refused, Error::NoncesExhausted);
                    prop_assert!(least >= MAX_MESSAGES);
                }
            }
            prop_assert_eq!(&body, b"power");
            prop_assert_eq!(gateway.next_sequence(), least);
        }
    }

    #[test]
    fn messages_out_of_order_are_opened_once_each(order in Just((0u64..100).collect::<Vec<_>>()).prop_shuffle()) {
        let ((mut gateway, _), (_, mut pile)) = ends(Suite::Sm4Gcm, b"1");
        let sealed: Vec<_> = (0..100u64)
            .map(|number| {
                let mut body = number.to_be_bytes();
                let tag = gateway.seal(b"", &mut body).unwrap().tag;
                (body, tag)
            })
            .collect();
        for number in order {
            let (mut body, tag) = sealed[number as usize];
            prop_assert_eq!(pile.open(number, b"", &mut body, &tag), Ok(()));
            prop_assert_eq!(body, number.to_be_bytes());
            let (mut body, tag) = sealed[number as usize];
            prop_assert_eq!(pile.open(number, b"", &mut body, &tag), Err(Error::Replayed { sequence: number }));
        }
    }
}
