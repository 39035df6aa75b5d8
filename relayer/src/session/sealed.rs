//! SEALED from a pile (protocol §4.5): opened once, under the keys of a ticket that was answered under suite 1.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cip22_wire::body::SUITE_SM4_GCM;
use cip22_wire::message::Sealed;
use cip22_wire::sealed::{Direction, may_stand_inside, split_inner};
use cip22_wire::{DeviceId, FrameType, NackCode, Sid};
use metrics::counter;
use shangmi::session::ReplayWindow;
use zeroize::Zeroizing;

use crate::gateway::Gateway;
use crate::pipeline::{Handled, grant};
use crate::seal::Unopened;
use crate::state::{State, Ticket};

const TYPE: u8 = FrameType::Sealed.code();
const FIELD_SID: u8 = 1;
const FIELD_SUITE: u8 = 2;

/// Numbers seen, for each ticket under which a pile sealed anything. They are gone with the process: what may stand inside is answered
/// the same each time.
#[derive(Debug, Default)]
pub struct Windows(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    by_sid: HashMap<Sid, ReplayWindow>,
    /// Windows at which those of forgotten tickets are dropped.
    tidy_at: usize,
}

/// The type and payload inside, or what is answered instead.
pub fn open(
    gateway: &Gateway,
    device_id: &DeviceId,
    sealed: &Sealed<'_>,
) -> Result<(u8, Zeroizing<Vec<u8>>), Handled> {
    let opened = try_open(gateway, device_id, sealed);
    let result = match &opened {
        Ok(_) => "opened",
        Err(Refused::Repeated) => "repeated",
        Err(Refused::Nack(code, _)) => code.name(),
    };
    counter!("sealed_received_total", "result" => result).increment(1);
    opened.map_err(|refused| match refused {
        // A repeated one changes nothing, and whoever repeats it learns nothing.
        Refused::Repeated => Handled::nothing(),
        Refused::Nack(code, field) => {
            tracing::info!(sid = %hex::encode(sealed.sid), code = code.name(), "SEALED refused");
            match field {
                Some(field) => Handled::refused_field(TYPE, code, field, None),
                None => Handled::refused(TYPE, code),
            }
        }
    })
}

enum Refused {
    Repeated,
    Nack(NackCode, Option<u8>),
}

fn try_open(
    gateway: &Gateway,
    device_id: &DeviceId,
    sealed: &Sealed<'_>,
) -> Result<(u8, Zeroizing<Vec<u8>>), Refused> {
    let unknown = Refused::Nack(NackCode::UnknownTicket, Some(FIELD_SID));
    let Some(ticket) = sealed_ticket(&gateway.state(), device_id, &sealed.sid) else { return Err(unknown) };
    if sealed.suite != SUITE_SM4_GCM {
        return Err(Refused::Nack(NackCode::FieldValue, Some(FIELD_SUITE)));
    }
    let Some(keys) = grant::keys_of(gateway, &ticket) else { return Err(unknown) };
    let plain = gateway
        .windows
        .with(gateway, &sealed.sid, |window| keys.open(window, FrameType::Sealed, sealed.body))
        .map_err(|unopened| match unopened {
            Unopened::Repeated => Refused::Repeated,
            Unopened::Forged => Refused::Nack(NackCode::BadSignature, None),
        })?;
    let may_stand = |inside: u8| {
        FrameType::from_u8(inside).is_some_and(|inside| may_stand_inside(inside, Direction::ToGateway))
    };
    let Some((inside, payload)) = split_inner(&plain).filter(|(inside, _)| may_stand(*inside)) else {
        return Err(Refused::Nack(NackCode::Unexpected, None));
    };
    Ok((inside, Zeroizing::new(payload.to_vec())))
}

/// A ticket of the device that was answered under suite 1.
fn sealed_ticket(state: &State, device_id: &DeviceId, sid: &Sid) -> Option<Ticket> {
    let ticket = state.tickets.get(sid).filter(|ticket| ticket.challenge.device_id == *device_id)?;
    let answer = ticket.answer.as_ref()?;
    (answer.suite() == SUITE_SM4_GCM).then(|| ticket.clone())
}

impl Windows {
    /// Calls `open` with the window of a ticket; it stays as it was unless that succeeds.
    fn with<T>(
        &self,
        gateway: &Gateway,
        sid: &Sid,
        open: impl FnOnce(&mut ReplayWindow) -> Result<T, Unopened>,
    ) -> Result<T, Unopened> {
        let mut inner = self.inner();
        let mut window = inner.by_sid.get(sid).copied().unwrap_or_default();
        let opened = open(&mut window)?;
        if inner.by_sid.len() >= inner.tidy_at.max(TIDY_AT_MIN) {
            let state = gateway.state();
            inner.by_sid.retain(|sid, _| state.tickets.contains_key(sid));
            inner.tidy_at = inner.by_sid.len().saturating_mul(2);
        }
        inner.by_sid.insert(*sid, window);
        Ok(opened)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere does not make the map wrong; the process is about to end anyway.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const TIDY_AT_MIN: usize = 1_024;

#[cfg(test)]
#[path = "sealed_tests.rs"]
mod tests;
