use cip22_device_sdk::{
    Event, Sample,
    wire::{EndCause, FrameType, Level, message::Hello},
};

use crate::{
    board::{DEVICE_ID, Pile, Sent},
    gateway::{CREDIT_MINUTES, CREDIT_WH, Gateway},
};

pub(crate) const BATTERY: [u8; 32] = [0xBA; 32];

pub(crate) fn sample(i: u32) -> Sample {
    Sample {
        time_ms: 1_700_000_000_000 + u64::from(i) * 1_000,
        voltage_mv: 400_000 + i,
        current_ma: -5 + i as i32,
        soc_centi_percent: 5_000,
        temperature_centi_c: -250,
        energy_wh: i,
    }
}

#[test]
fn a_pile_goes_from_hello_to_the_end_of_a_charge() {
    let mut gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);

    pile.session.connected(gateway.key.address());
    let hello = pile.output();
    let hello: Hello<'_> = hello.read();
    assert_eq!(
        (hello.versions, hello.device_id, hello.max_payload, hello.policy_version, hello.epoch),
        (&[0x20][..], DEVICE_ID, 512, 0, 0)
    );
    pile.give(&gateway.hello_ack());
    for chunk in gateway.policy_frames(1, 0) {
        pile.give(&chunk);
    }
    assert!(pile.outputs().is_empty(), "no statement before an epoch is open");
    pile.give(&gateway.epoch(10));
    pile.answer(&mut gateway);
    let events = pile.events();
    assert!(matches!(events[0], Event::Connected { group: 7, index: 42, resumed: false, .. }));
    assert!(events.contains(&Event::PolicyStored { version: 1, first_epoch: 0 }));
    assert!(events.contains(&Event::EpochOpened { epoch: 10 }));
    assert!(events.contains(&Event::PolicyAcked { version: 1 }));

    pile.session.adopt_battery(BATTERY, [0; 16]);
    pile.answer(&mut gateway);
    assert_eq!(pile.events(), [Event::TelemHead { battery: BATTERY, seq: 0, ledger_seq: 0 }]);

    pile.session.authorize().unwrap();
    pile.answer(&mut gateway);
    let charge = pile.session.charge().unwrap();
    let granted = Event::Granted { sid: charge.sid, wh: CREDIT_WH, minutes: CREDIT_MINUTES };
    assert!(pile.events().contains(&granted));
    assert!(gateway.tickets[&charge.sid].a.is_some(), "AUTH_ACK told the preimage");

    for i in 1..=6 {
        assert_eq!(pile.session.telemetry(&sample(i)), Ok(i));
        pile.session.charge_status(i * 10, 1).unwrap();
        pile.answer(&mut gateway);
        assert!(pile.events().contains(&Event::TelemAcked {
            battery: BATTERY,
            seq: i,
            level: 2,
            checkpoint: false
        }));
    }
    assert_eq!(gateway.checkpoint.0, 4, "a checkpoint after every 4 records");
    assert_eq!(gateway.records[0].segment, charge.sid);

    pile.session.end_charge(70, 2, EndCause::Local, Some(b"OCMF|{}")).unwrap();
    pile.answer(&mut gateway);
    assert_eq!(gateway.ends, [(70, 2, EndCause::Local.code())]);
    assert_eq!(gateway.checkpoint.0, 6, "the end of a charge checkpoints its last record");
    assert_eq!(pile.session.charge(), None);
    assert_eq!(pile.session.unanswered(), 0);

    // POLICY_ACK, AUTH, and two CHECKPOINTs stand in one chain.
    assert_eq!(gateway.heads.len(), 4);
    pile.session.authorize().unwrap();
    pile.answer(&mut gateway);
    assert_eq!(gateway.heads.len(), 5);
}

#[test]
fn input_may_be_cut_anywhere_and_joined_anyhow() {
    let mut gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    pile.session.connected(gateway.key.address());
    pile.output();
    let mut stream = gateway.hello_ack();
    for chunk in gateway.policy_frames(1, 0) {
        stream.extend(chunk);
    }
    stream.extend(gateway.epoch(10));
    for byte in stream {
        pile.give(&[byte]);
    }
    assert!(pile.events().contains(&Event::EpochOpened { epoch: 10 }));
}

#[test]
fn a_burst_of_frames_waits_until_events_are_polled_and_none_is_lost() {
    let mut gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    let sid = pile.charging(&mut gateway);
    let stream: Vec<u8> = (0..100).flat_map(|i| gateway.credit(sid, i + 1, 2_000 + i, 90)).collect();
    let (mut rest, mut updates) = (&stream[..], Vec::new());
    while !rest.is_empty() {
        rest = &rest[pile.session.handle_input(rest)..];
        updates.extend(pile.events());
    }
    assert_eq!(updates.len(), 100);
    assert_eq!(updates[99], Event::CreditUpdated { sid, wh: 2_099, minutes: 90 });
}

#[test]
fn unanswered_frames_are_sent_again_byte_for_byte_after_a_reconnect() {
    let mut gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    pile.ready(&mut gateway, 10);
    pile.session.adopt_battery(BATTERY, [0; 16]);
    pile.answer(&mut gateway);
    pile.session.authorize().unwrap();
    let request = pile.output();
    let challenge = gateway.challenge(&request.read());
    pile.give(&challenge);
    for i in 1..=3 {
        pile.session.telemetry(&sample(i)).unwrap();
    }
    let before = pile.outputs();
    let types: Vec<_> = before.iter().map(Sent::frame_type).collect();
    assert_eq!(
        types,
        [FrameType::AuthResp, FrameType::BattTelem, FrameType::BattTelem, FrameType::BattTelem]
    );
    assert!(pile.outputs().is_empty(), "a frame is sent once on a connection");

    pile.session.disconnected();
    pile.connect(&mut gateway);
    assert_eq!(pile.outputs(), before);
    pile.session.disconnected();
    pile.connect(&mut gateway);
    pile.answer(&mut gateway);
    assert_eq!(pile.session.unanswered(), 0);
    assert_eq!(gateway.records.len(), 3);
}

#[test]
fn a_frame_acknowledged_as_received_only_is_kept_for_the_next_connection() {
    let mut gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    let sid = pile.charging(&mut gateway);
    pile.session.end_charge(1, 1, EndCause::Local, None).unwrap();
    let end = pile.output();
    pile.give(&crate::gateway::ack(FrameType::ChargeEnd, Level::Received, Some(sid), None));
    pile.session.disconnected();
    pile.connect(&mut gateway);
    assert_eq!(pile.output(), end);
}

#[test]
fn a_session_takes_the_memory_the_readme_states() {
    use crate::board::{Counter, Flash, HandClock};
    use cip22_device_sdk::{Session, WORKSPACE_BYTES};
    assert_eq!(WORKSPACE_BYTES, if cfg!(feature = "bls") { 9_589 } else { 9_205 });
    let session = size_of::<Session<'_, Flash, HandClock, Counter>>();
    assert!(session <= 7_168, "{session}");
}
