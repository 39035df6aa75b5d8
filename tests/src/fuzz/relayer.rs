//! What the relayer reads from its own disk and from certificates, and the state that its journal adds up to.

use std::path::Path;

use cip22_relayer::admin::request::{Request, answer_line};
use cip22_relayer::config::Config;
use cip22_relayer::config::LaneRule;
use cip22_relayer::deployment::Deployment;
use cip22_relayer::edge::identity;
use cip22_relayer::gateway::Announced;
use cip22_relayer::journal::Record;
use cip22_relayer::journal::record::{AttemptRecord, StatementKind, StatementRecord};
use cip22_relayer::pipeline::batch::{BatchSettings, Moment, plan};
use cip22_relayer::state::State;
use cip22_relayer::view::Epoch;
use cip22_wire::message::{BattTelem, Body, Challenge};
use cip22_wire::{frame, statement, telemetry};
use rustls_pki_types::CertificateDer;
use rustls_shangmi::Pairing;
use serde_json::json;

use super::input::Input;

/// Any DER.
pub(crate) fn certificates(data: &[u8]) {
    let certificate = CertificateDer::from(data);
    for pairing in Pairing::ALL {
        let _ = (identity::device(&certificate, pairing), identity::gateway(&certificate, pairing));
    }
}

/// A line on the admin socket. What is read is written as a line that reads the same; a refusal is a line too.
pub(crate) fn admin_requests(data: &[u8]) {
    match Request::parse(data) {
        Ok(request) => {
            let line = request.to_line();
            assert_eq!(Request::parse(line.as_bytes()).expect("its own line is read"), request);
        }
        Err(error) => {
            let line = answer_line(&Err(error));
            assert!(!line.contains('\n'), "one line");
        }
    }
}

/// The configuration, and a deployment file.
pub(crate) fn configuration(data: &[u8]) {
    let mut input = Input::new(data);
    let is_deployment = input.flag();
    let Ok(text) = std::str::from_utf8(input.rest()) else { return };
    if is_deployment {
        if let Ok(deployment) = Deployment::parse("fuzz", text) {
            for number in [0, 1, u32::MAX] {
                let _ = (deployment.challenge_block(number), deployment.expires_block(number));
                let _ = (deployment.epoch_of(number.into()), deployment.oldest_epoch(number.into()));
            }
            let _ = (deployment.epoch_of(u64::MAX), deployment.oldest_epoch(u64::MAX), deployment.verifier());
        }
    } else if let Ok(config) = Config::parse(Path::new("fuzz"), text, [])
        && config.validate().is_ok()
    {
        let shown = config.to_toml();
        Config::parse(Path::new("fuzz"), &shown, []).expect("what is shown can be read");
    }
}

/// Records of a journal, as bytes that may be damaged or as facts of a small world, taken into the state in any order.
pub(crate) fn journal_records(data: &[u8]) {
    let mut input = Input::new(data);
    let mut state = State::default();
    let settings = settings();
    let mut heads = [[0; 32]; 8];
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            return;
        }
        match input.below(16) {
            0 => {
                let len = usize::from(input.u16() % 2_048);
                if let Ok(record) = postcard::from_bytes::<Record>(input.take(len)) {
                    let bytes = postcard::to_allocvec(&record).expect("a record can be written");
                    assert_eq!(postcard::from_bytes::<Record>(&bytes).as_ref(), Ok(&record));
                    state.apply(&record);
                }
            }
            1 => cut(&mut state, &settings, &mut input),
            2 => state.apply(&Record::Settled { scanned_to: input.u8().into() }),
            3 => state.apply(&Record::Expired { oldest_epoch: input.below(8).into() }),
            _ => state.apply(&fact(&mut input, &state, &mut heads)),
        }
        check(&state);
    }
}

/// A chain waits for the chain of blocks exactly if it has a statement that no safe head covers and was not given up.
fn check(state: &State) {
    for (place, chain) in &state.chains {
        let (group, index, epoch) = *place;
        let open = chain.statements.keys().next_back().is_some_and(|n| *n > chain.covered_n);
        let waits = state.uncovered.contains(&(epoch, group, index));
        assert_eq!(waits, open && !chain.given_up, "{place:?}");
    }
    for (epoch, group, index) in &state.uncovered {
        assert!(state.chains.contains_key(&(*group, *index, *epoch)));
    }
}

/// Plans as the batcher does; the same state plans the same.
fn cut(state: &mut State, settings: &BatchSettings, input: &mut Input<'_>) {
    let epoch = Epoch { epoch: u32::from(input.below(8)), challenge: [0; 32], policy_hash: [0; 32] };
    let moment = Moment {
        announced: Announced { epoch, at_ms: 0, withdrawn: false },
        now_ms: u64::from(input.u8()) * 100,
        latest_block: u64::from(input.u8()),
        oldest_epoch: u32::from(input.below(8)),
    };
    let batches = plan(state, &moment, settings, &|_| true);
    assert_eq!(plan(state, &moment, settings, &|_| true), batches);
    for batch in batches {
        assert!(!batch.members.is_empty() && !batch.calldata.is_empty());
        state.apply(&Record::BatchCut(batch));
    }
    assert_eq!(plan(state, &moment, settings, &|_| true), [], "what was cut is not cut again");
}

/// One fact among few devices, epochs, tickets, batteries and batches, so that facts meet.
fn fact(input: &mut Input<'_>, state: &State, heads: &mut [[u8; 32]; 8]) -> Record {
    let device = input.below(3);
    let batch = state.last_batch.saturating_sub(u64::from(input.below(3)));
    let sid = [input.below(4); 16];
    let epoch = u32::from(input.below(6));
    let block = u64::from(input.u8());
    match input.below(15) {
        0 => Record::EpochOpened { epoch, challenge: [1; 32], policy_hash: [2; 32] },
        1 => ticket(device, sid, epoch),
        2..=5 => Record::Statement(signed(input, device, epoch, sid, heads)),
        6 => Record::Denied { sid, request_hash: [3; 32], answer: vec![1] },
        7 => Record::AuthAcked { sid, a: [4; 32] },
        8 => {
            let (meter, signature) = (Vec::new(), vec![0; 64]);
            Record::ChargeEnded { sid, wh: input.u32(), minutes: input.u16(), cause: 1, meter, signature }
        }
        9 => measured(input, device, state),
        10 => Record::Submitted(AttemptRecord {
            batch,
            signer: [5; 20],
            nonce: block,
            attempt: u32::from(input.u8()),
            gas_limit: input.u32().into(),
            max_fee_per_gas: 1,
            max_priority_fee_per_gas: 1,
            raw: vec![1],
            transaction: [6; 32],
        }),
        11 => {
            let succeeded = input.flag();
            Record::Mined { batch, transaction: [6; 32], block, block_hash: [7; 32], succeeded }
        }
        12 => Record::Safe { batch, transaction: [6; 32], block, succeeded: input.flag() },
        13 => match input.below(3) {
            0 => Record::Unmined { batch },
            1 => Record::BatchDropped { batch, retry_block: block },
            _ => Record::LedgerSafe { battery: [device; 32], seq: input.u8().into(), fp: [8; 32], block },
        },
        _ => Record::HeadSafe {
            group: 1,
            index: device,
            epoch,
            n: input.below(8),
            head: heads[usize::from(input.below(8))],
            transaction: [6; 32],
            block,
        },
    }
}

fn ticket(device: u8, sid: [u8; 16], epoch: u32) -> Record {
    let challenge = Challenge {
        circuit_version: 0,
        sid,
        device_id: [device; 32],
        group: 1,
        index: device,
        nonce: [0; 32],
        epoch,
        epoch_challenge: [1; 32],
        policy_hash: [2; 32],
        issued: 0,
        answer_by: 1,
        deadline: 2,
        gw_eph: [2; 33],
        dev_eph: [sid[0]; 33],
        h: [0; 32],
        signature: [0; 64],
    };
    Record::TicketIssued { challenge_payload: payload(&challenge), device_key: vec![2; 33] }
}

/// A statement; heads of a small set, so that some follow one another.
fn signed(
    input: &mut Input<'_>,
    device: u8,
    epoch: u32,
    sid: [u8; 16],
    heads: &mut [[u8; 32]; 8],
) -> StatementRecord {
    let prev_head = heads[usize::from(input.below(8))];
    let head = statement::next_head(&prev_head, &[input.u8(); 32]);
    heads[usize::from(input.below(7)) + 1] = head;
    let kind = match input.below(3) {
        0 => StatementKind::Auth {
            sid,
            ticket_hash: [9; 32],
            l: [10; 32],
            request_hash: [3; 32],
            wh: 1_000,
            minutes: 60,
            answer: vec![1],
        },
        1 => StatementKind::Checkpoint {
            battery: [input.below(2); 32],
            segment: sid,
            seq: input.u8().into(),
            time_ms: 1,
            fp: heads[usize::from(input.below(8))],
            prev_seq: input.u8().into(),
            prev_fp: heads[usize::from(input.below(8))],
        },
        _ => StatementKind::PolicyAck { version: input.u8().into(), policy_hash: [2; 32], first_epoch: 0 },
    };
    StatementRecord {
        device_id: [device; 32],
        group: 1,
        index: device,
        epoch,
        n: input.below(8) + 1,
        prev_head,
        head,
        signature: vec![0; if input.u8() == 255 { 63 } else { 64 }],
        kind,
    }
}

/// The next record of a battery, or any.
fn measured(input: &mut Input<'_>, device: u8, state: &State) -> Record {
    let battery = [input.below(2); 32];
    let last = state.batteries.get(&battery).map(|battery| battery.last).unwrap_or_default();
    let mut record = BattTelem {
        battery,
        segment: [0; 16],
        seq: if input.flag() { last.seq.saturating_add(1) } else { input.u32() },
        time_ms: 1,
        voltage_mv: 1,
        current_ma: -1,
        soc_centi_percent: 1,
        temperature_centi_c: -1,
        energy_wh: 1,
        fp: [0; 32],
    };
    record.fp = telemetry::fingerprint(&last.fp, &record);
    Record::Telemetry { device_id: [device; 32], payload: payload(&record) }
}

fn payload<'a>(message: &impl Body<'a>) -> Vec<u8> {
    let mut out = vec![0; 1_024];
    let len = message.encode(&mut out).expect("a message has room");
    out[frame::HEADER_BYTES..len - 1].to_vec()
}

/// A deployment of no network.
pub(crate) fn deployment() -> Deployment {
    let address = |byte: u8| format!("0x{}", hex::encode([byte; 20]));
    let text = json!({
        "chain_id": 1235, "start_block": 0, "epoch_len_blocks": 20, "ring_epochs": 32,
        "access_manager": address(1), "device_registry": address(2), "gateway_registry": address(3),
        "policy_registry": address(4), "battery_ledger": address(5), "policy_signer": address(6),
        "verifiers": [{ "address": address(7), "label": "v1" }],
    });
    Deployment::parse("fuzz", &text.to_string()).expect("a deployment file")
}

fn settings() -> BatchSettings {
    BatchSettings {
        close_grace_ms: 1_000,
        records_max: 4,
        advance_max: 2,
        lane: LaneRule::Auto,
        root_deadline_ms: 1_000,
        deployment: deployment(),
    }
}

const STEPS_MAX: usize = 300;
