//! POLICY_ACK: a pile states, in its chain, which policy it holds.

use cip22_wire::message::{Ack, PolicyAck};
use cip22_wire::{DeviceId, FrameType, Level, NackCode, statement};
use metrics::counter;

use crate::gateway::Gateway;
use crate::journal::record::StatementKind;
use crate::pipeline::authenticate::{self, Position};
use crate::pipeline::journal::{self, Journaled};
use crate::pipeline::{Handled, frame_bytes};

const TYPE: u8 = FrameType::PolicyAck.code();

/// Takes in a POLICY_ACK: DURABLE once it is on disk.
#[tracing::instrument(name = "policy_ack", skip_all, fields(device = %hex::encode(device_id), version = ack.version))]
pub fn handle(gateway: &Gateway, device_id: &DeviceId, ack: &PolicyAck) -> Handled {
    take(gateway, device_id, ack).unwrap_or_else(|code| Handled::refused(TYPE, code))
}

fn take(gateway: &Gateway, device_id: &DeviceId, ack: &PolicyAck) -> Result<Handled, NackCode> {
    if ack.n == 0 {
        return Err(NackCode::FieldValue);
    }
    let known = {
        let view = gateway.view.borrow();
        let in_force = view.policy_at(ack.epoch).map_or(0, |policy| policy.version);
        if ack.version < in_force {
            return Err(NackCode::StalePolicy);
        }
        view.policies.iter().any(|policy| {
            policy.version == ack.version
                && policy.policy_hash == ack.policy_hash
                && policy.first_epoch == ack.first_epoch
        })
    };
    if !known {
        return Err(NackCode::FieldValue);
    }
    let stmt = statement::policy_ack(device_id, ack);
    let position = Position {
        epoch: ack.epoch,
        n: ack.n,
        prev_head: ack.prev_head,
        head: statement::next_head(&ack.prev_head, &stmt),
        signature: ack.signature,
    };
    let authenticated = authenticate::statement(gateway, device_id, &position)?;
    let kind = StatementKind::PolicyAck {
        version: ack.version,
        policy_hash: ack.policy_hash,
        first_epoch: ack.first_epoch,
    };
    let mut state = gateway.state();
    let (Journaled::New(durable) | Journaled::Held(durable)) =
        journal::statement(gateway, &mut state, device_id, &position, &authenticated, kind)?;
    counter!("statements_total", "kind" => "policy_ack").increment(1);
    let reply = frame_bytes(&Ack {
        frame_type: TYPE,
        level: Level::Durable.code(),
        sid: None,
        epoch: Some(ack.epoch),
        n: Some(ack.n),
    });
    Ok(Handled::after(durable, reply))
}
