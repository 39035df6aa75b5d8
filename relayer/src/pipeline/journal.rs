//! The stage between a decision and its answer: the statement becomes durable.

use cip22_wire::{DeviceId, NackCode};

use super::authenticate::{Authenticated, Position, conflict_code};
use crate::gateway::{Durable, Gateway};
use crate::journal::Record;
use crate::journal::record::{StatementKind, StatementRecord};
use crate::state::State;

/// What became of a verified statement.
pub enum Journaled {
    /// It is new and on its way to the disk.
    New(Durable),
    /// It was held already; wait for the barrier and answer again.
    Held(Durable),
}

impl std::fmt::Debug for Journaled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::New(_) => "New",
            Self::Held(_) => "Held",
        })
    }
}

/// Checks the statement's place in the chain and commits it, under one lock, so that no other can come between.
pub fn statement(
    gateway: &Gateway,
    state: &mut State,
    device_id: &DeviceId,
    position: &Position,
    authenticated: &Authenticated,
    kind: StatementKind,
) -> Result<Journaled, NackCode> {
    let place = &authenticated.place;
    let chain = (place.group, place.index, position.epoch);
    let held =
        state.check_chain(chain, position.n, &position.prev_head, &position.head).map_err(conflict_code)?;
    if held {
        return Ok(Journaled::Held(gateway.barrier()));
    }
    let record = StatementRecord {
        device_id: *device_id,
        group: place.group,
        index: place.index,
        epoch: position.epoch,
        n: position.n,
        prev_head: position.prev_head,
        head: position.head,
        signature: position.signature.to_vec(),
        kind,
    };
    Ok(Journaled::New(gateway.commit(state, vec![Record::Statement(record)])))
}
