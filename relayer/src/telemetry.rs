//! Battery provenance: records chained by fingerprint, checkpoints that the pile signs, and their way to the ledger.

pub mod battery;

use cip22_wire::message::{BattTelem, Nack, TelemAck, TelemCheckpoint, TelemHead};
use cip22_wire::{DeviceId, FrameType, Level, NackCode, statement};
use metrics::counter;

use crate::gateway::Gateway;
use crate::journal::Record;
use crate::journal::record::StatementKind;
use crate::limits::NOT_READY_RETRY_MS;
use crate::pipeline::authenticate::{self, Position};
use crate::pipeline::journal::{self as journal_stage, Journaled};
use crate::pipeline::{Handled, frame_bytes, refuse_with};
use battery::Verdict;

/// Takes in one record: DURABLE once it is on disk.
pub fn record(gateway: &Gateway, device_id: &DeviceId, telemetry: &BattTelem, payload: &[u8]) -> Handled {
    let frame_type = FrameType::BattTelem.code();
    let mut state = gateway.state();
    let reply = || telem_ack(telemetry.battery, telemetry.seq, false);
    match state.batteries.judge_record(telemetry) {
        Verdict::Next => {
            counter!("telemetry_records_total").increment(1);
            let record = Record::Telemetry { device_id: *device_id, payload: payload.to_vec() };
            Handled::after(gateway.commit(&mut state, vec![record]), reply())
        }
        Verdict::Held => Handled::after(gateway.barrier(), reply()),
        Verdict::Gap { expected } => Handled::now(refuse_with(Nack {
            frame_type,
            code: NackCode::TelemGap.code(),
            field: Some(3),
            limit: Some(expected),
            retry_ms: None,
        })),
        Verdict::Fingerprint => Handled::refused_field(frame_type, NackCode::TelemFingerprint, 10, None),
        Verdict::Time => Handled::refused_field(frame_type, NackCode::TelemTime, 4, None),
        Verdict::CheckpointDue | Verdict::Mismatch => {
            Handled::refused_until(frame_type, NackCode::Overloaded, NOT_READY_RETRY_MS)
        }
    }
}

/// Takes in a signed checkpoint: DURABLE once it is on disk, SAFE once the ledger shows it.
#[tracing::instrument(name = "checkpoint", skip_all, fields(device = %hex::encode(device_id), seq = checkpoint.seq))]
pub fn checkpoint(gateway: &Gateway, device_id: &DeviceId, checkpoint: &TelemCheckpoint) -> Handled {
    take_checkpoint(gateway, device_id, checkpoint)
        .unwrap_or_else(|code| Handled::refused(FrameType::TelemCheckpoint.code(), code))
}

fn take_checkpoint(
    gateway: &Gateway,
    device_id: &DeviceId,
    checkpoint: &TelemCheckpoint,
) -> Result<Handled, NackCode> {
    let stmt = statement::checkpoint(device_id, checkpoint);
    let position = Position {
        epoch: checkpoint.epoch,
        n: checkpoint.n,
        prev_head: checkpoint.prev_head,
        head: statement::next_head(&checkpoint.prev_head, &stmt),
        signature: checkpoint.signature,
    };
    if checkpoint.n == 0 {
        return Err(NackCode::FieldValue);
    }
    let authenticated = authenticate::statement(gateway, device_id, &position)?;
    let reply = telem_ack(checkpoint.battery, checkpoint.seq, true);
    let mut state = gateway.state();
    let place = (authenticated.place.group, authenticated.place.index, checkpoint.epoch);
    if state.check_chain(place, position.n, &position.prev_head, &position.head) == Ok(true) {
        return Ok(Handled::after(gateway.barrier(), reply));
    }
    match state.batteries.judge_checkpoint(checkpoint) {
        Verdict::Next => {}
        Verdict::Held => return Ok(Handled::after(gateway.barrier(), reply)),
        _ => {
            let mut handled =
                Handled::refused(FrameType::TelemCheckpoint.code(), NackCode::CheckpointMismatch);
            handled.replies.push(head_frame(&state.batteries, &checkpoint.battery));
            return Ok(handled);
        }
    }
    let kind = StatementKind::Checkpoint {
        battery: checkpoint.battery,
        segment: checkpoint.segment,
        seq: checkpoint.seq,
        time_ms: checkpoint.time_ms,
        fp: checkpoint.fp,
        prev_seq: checkpoint.prev_seq,
        prev_fp: checkpoint.prev_fp,
    };
    let (Journaled::New(durable) | Journaled::Held(durable)) =
        journal_stage::statement(gateway, &mut state, device_id, &position, &authenticated, kind)?;
    counter!("statements_total", "kind" => "checkpoint").increment(1);
    Ok(Handled::after(durable, reply))
}

/// Answers a pile that asks where a battery's history stands.
pub fn head(gateway: &Gateway, question: &TelemHead) -> Handled {
    let frame = head_frame(&gateway.state().batteries, &question.battery);
    Handled::after(gateway.barrier(), frame)
}

/// The TELEM_HEAD frame of a battery: newest durable record, newest checkpoint.
pub fn head_frame(batteries: &battery::Batteries, id: &cip22_wire::BatteryId) -> Vec<u8> {
    let (last, checkpoint) =
        batteries.get(id).map(|battery| (battery.last, battery.anchor())).unwrap_or_default();
    frame_bytes(&TelemHead {
        battery: *id,
        seq: Some(last.seq),
        fp: Some(last.fp),
        ledger_seq: Some(checkpoint.seq),
        ledger_fp: Some(checkpoint.fp),
    })
}

fn telem_ack(battery: cip22_wire::BatteryId, seq: u32, checkpoint: bool) -> Vec<u8> {
    frame_bytes(&TelemAck { battery, seq, level: Level::Durable.code(), checkpoint: u8::from(checkpoint) })
}
