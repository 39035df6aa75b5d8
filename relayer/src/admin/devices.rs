//! `relayer devices`: who is registered, who is connected, what they hold, owe and last sent.

use cip22_wire::DeviceId;
use serde_json::{Value, json};

use super::request::DEVICES_PER_PAGE_MAX;
use super::why::hex0x;
use crate::directory::{Device, Directory};
use crate::error::AdminError;
use crate::gateway::Gateway;
use crate::state::State;

/// Most epochs and charges listed of one device, newest first.
const LISTED_MAX: usize = 32;

/// A page of devices, in the order of their ids.
pub fn page(gateway: &Gateway, offset: usize, limit: usize) -> Result<Value, AdminError> {
    if limit == 0 || limit > DEVICES_PER_PAGE_MAX {
        let problem = format!("has to be 1 to {DEVICES_PER_PAGE_MAX}");
        return Err(AdminError::Argument { argument: "limit", problem });
    }
    let directory = gateway.directory.load();
    let mut ids: Vec<&DeviceId> = directory.devices.keys().collect();
    ids.sort_unstable();
    let total = ids.len();
    let moment = Moment::of(gateway);
    let state = gateway.state();
    let devices: Vec<Value> = ids
        .into_iter()
        .skip(offset)
        .take(limit)
        .filter_map(|id| Some(line(gateway, &state, id, directory.devices.get(id)?, &moment)))
        .collect();
    Ok(json!({ "total": total, "offset": offset, "epoch": moment.epoch, "devices": devices }))
}

/// One device, by its id or the beginning of it.
pub fn one(gateway: &Gateway, name: &str) -> Result<Value, AdminError> {
    let directory = gateway.directory.load();
    let device_id = find(&directory, name)?;
    let device = directory.devices.get(&device_id).ok_or_else(|| not_found(name))?;
    let moment = Moment::of(gateway);
    let state = gateway.state();
    let mut answer = line(gateway, &state, &device_id, device, &moment);
    answer["places"] = device
        .places
        .iter()
        .map(|place| {
            json!({
                "group": place.group,
                "index": place.index,
                "key": hex0x(&place.key),
                "active_from": place.active_from,
                "active_until": (place.active_until != u32::MAX).then_some(place.active_until),
            })
        })
        .collect();
    answer["sessions"] = json!(gateway.sessions.activity(&device_id));
    answer["charges"] = charges(&state, &device_id).into();
    answer["epochs"] = epochs(&state, device, moment.epoch.unwrap_or(0)).into();
    answer["batteries"] = batteries(&state, &device_id).into();
    Ok(answer)
}

/// What devices are measured against.
struct Moment {
    epoch: Option<u32>,
    in_force: Option<u32>,
    newest: Option<u32>,
}

impl Moment {
    fn of(gateway: &Gateway) -> Self {
        let epoch = gateway.announced().borrow().map(|announced| announced.epoch.epoch);
        let view = gateway.view.borrow();
        Self {
            epoch,
            in_force: epoch.and_then(|epoch| view.policy_at(epoch)).map(|policy| policy.version),
            newest: view.policies.last().map(|policy| policy.version),
        }
    }
}

fn line(gateway: &Gateway, state: &State, id: &DeviceId, device: &Device, moment: &Moment) -> Value {
    let place = device.places.last();
    let active = moment.epoch.is_some_and(|epoch| device.place_at(epoch).is_some());
    let standing = match (device.revoked, active) {
        (true, _) => "revoked",
        (false, true) => "active",
        (false, false) => "not_yet_active",
    };
    let (connected, activity) = (gateway.is_connected(id), gateway.sessions.activity(id));
    let open = state.open_charges.get(id).map_or(0, |open| open.len());
    json!({
        "device_id": hex0x(id),
        "standing": standing,
        "group": place.map(|place| place.group),
        "index": place.map(|place| place.index),
        "active_from": place.map(|place| place.active_from),
        "connected": connected,
        "binding": activity.as_ref().filter(|_| connected).and_then(|activity| activity.binding),
        "since_ms": activity.as_ref().filter(|_| connected).and_then(|activity| activity.since_ms),
        "last_telemetry_ms": activity.as_ref().and_then(|activity| activity.last_telemetry_ms),
        "nacks_sent": activity.as_ref().map_or(0, |activity| activity.nacks_sent.values().sum()),
        "policy_told": activity.as_ref().and_then(|activity| activity.policy_told),
        "policy_acknowledged": state.policy_acks.get(id),
        "policy_in_force": moment.in_force,
        "policy_newest": moment.newest,
        "enrolled": moment.epoch.is_some_and(|epoch| device.enrolment_at(epoch).is_some()),
        "quarantined_until": gateway.cosign.quarantined_until(id),
        "open_charges": open,
        "open_charges_max": gateway.settings.open_charges_per_device_max,
        "statements_waiting": device.places.iter().map(|place| waiting(state, place.group, place.index)).sum::<usize>(),
    })
}

/// Statements of a place that no safe head covers.
fn waiting(state: &State, group: u32, index: u8) -> usize {
    let uncovered = state.uncovered.iter().filter(|(_, g, i)| (*g, *i) == (group, index));
    uncovered
        .filter_map(|(epoch, ..)| state.chains.get(&(group, index, *epoch)))
        .map(|chain| chain.statements.range(chain.covered_n.saturating_add(1)..).count())
        .sum()
}

fn charges(state: &State, id: &DeviceId) -> Vec<Value> {
    let Some(open) = state.open_charges.get(id) else { return Vec::new() };
    let tickets = open.iter().filter_map(|sid| Some((sid, state.tickets.get(sid)?)));
    tickets
        .take(LISTED_MAX)
        .map(|(sid, ticket)| {
            let credit = ticket.answer.as_ref().and_then(|answer| answer.credit);
            json!({
                "sid": hex0x(sid),
                "epoch": ticket.challenge.epoch,
                "credit_wh": credit.map(|(wh, _)| wh),
                "credit_minutes": credit.map(|(_, minutes)| minutes),
                "acknowledged": ticket.acked,
            })
        })
        .collect()
}

/// The device's statement chains, newest epoch first.
fn epochs(state: &State, device: &Device, announced: u32) -> Vec<Value> {
    let oldest = announced.saturating_sub(EPOCHS_LOOKED_AT);
    let mut found = Vec::new();
    for epoch in (oldest..=announced).rev() {
        for place in &device.places {
            let Some(chain) = state.chains.get(&(place.group, place.index, epoch)) else { continue };
            found.push(json!({
                "epoch": epoch,
                "group": place.group,
                "index": place.index,
                "statements": chain.statements.len(),
                "safe_up_to": chain.covered_n,
                "states": chain.statements.values().map(|entry| json!(entry.state)).collect::<Vec<_>>(),
                "in_batch": chain.in_batch,
                "tries": chain.tries,
                "retry_block": (chain.retry_block > 0).then_some(chain.retry_block),
                "given_up": chain.given_up,
            }));
            if found.len() >= LISTED_MAX {
                return found;
            }
        }
    }
    found
}

/// Batteries with checkpoints of this device on their way to the ledger.
fn batteries(state: &State, id: &DeviceId) -> Vec<Value> {
    let of_device = state
        .batteries
        .iter()
        .filter(|(_, battery)| battery.pending.iter().any(|pending| pending.statement.device_id == *id));
    of_device
        .take(LISTED_MAX)
        .map(|(name, battery)| {
            json!({
                "battery": hex0x(name),
                "last_seq": battery.last.seq,
                "last_time_ms": battery.last_time_ms,
                "checkpoint_seq": battery.checkpoint.seq,
                "ledger_seq": battery.ledger.seq,
                "checkpoints_waiting": battery.pending.len(),
            })
        })
        .collect()
}

fn find(directory: &Directory, name: &str) -> Result<DeviceId, AdminError> {
    let digits = name.strip_prefix("0x").unwrap_or(name).to_ascii_lowercase();
    if digits.is_empty() || digits.len() > 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let problem = "has to be a device id or the beginning of one, in hex digits".to_owned();
        return Err(AdminError::Argument { argument: "device", problem });
    }
    let mut matching = directory.devices.keys().filter(|id| hex::encode(id).starts_with(&digits));
    match (matching.next(), matching.next()) {
        (Some(id), None) => Ok(*id),
        (None, _) => Err(not_found(name)),
        (Some(_), Some(_)) => {
            let problem = format!("{name} is the beginning of several device ids; give more digits");
            Err(AdminError::Argument { argument: "device", problem })
        }
    }
}

fn not_found(name: &str) -> AdminError {
    AdminError::NotFound {
        what: format!("no device with an id that begins with {name} is registered under `safe`"),
    }
}

/// Epochs back from the announced one in which a device's chains are looked for.
const EPOCHS_LOOKED_AT: u32 = 2_048;

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(first_bytes: &[u8]) -> Directory {
        let device = Device::default();
        Directory { devices: first_bytes.iter().map(|byte| ([*byte; 32], device.clone())).collect() }
    }

    #[test]
    fn a_device_is_found_by_any_beginning_that_only_it_has() {
        let directory = directory(&[0xab, 0xa0, 0x10]);
        assert_eq!(find(&directory, "0x1").unwrap(), [0x10; 32]);
        assert_eq!(find(&directory, "AB").unwrap(), [0xab; 32]);
        assert_eq!(find(&directory, &"a0".repeat(32)).unwrap(), [0xa0; 32]);
    }

    #[test]
    fn a_beginning_of_none_or_of_several_is_refused_by_code() {
        let directory = directory(&[0xab, 0xa0]);
        for (name, code) in [("a", "argument"), ("ff", "not_found"), ("", "argument"), ("pile-1", "argument")]
        {
            assert_eq!(find(&directory, name).unwrap_err().code(), code, "{name:?}");
        }
    }
}
