//! Records as JSON, a line each, for people and other programs. What stays off the chain and is no part of an audit is left out: the
//! preimage that a pile showed, the nonces of tickets with the keys made for them, answers to piles and meter records.

use cip22_wire::message::{Body, Challenge};
use cip22_wire::{DeviceId, Sid};
use serde_json::{Map, Value, json};

use super::Lsn;
use super::record::{Record, StatementKind};

/// Which records are wanted; what is not set does not matter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this device.
    pub device_id: Option<DeviceId>,
    /// Of this ticket.
    pub sid: Option<Sid>,
    /// Of this epoch.
    pub epoch: Option<u32>,
}

impl Filter {
    /// Whether a record is wanted.
    pub fn takes(&self, record: &Record) -> bool {
        self.sid.is_none_or(|sid| sids_of(record).contains(&sid))
            && self.epoch.is_none_or(|epoch| epoch_of(record) == Some(epoch))
            && self.device_id.is_none_or(|device_id| devices_of(record).contains(&device_id))
    }
}

/// A record as one JSON object: `lsn`, `kind`, and its fields; bytes as hex.
pub fn to_json(lsn: Lsn, record: &Record) -> Value {
    let mut fields = Map::new();
    fields.insert("lsn".to_owned(), json!(lsn));
    fields.insert("kind".to_owned(), json!(kind_of(record)));
    // A record is numbers, bytes and lists of them; those are always JSON.
    if let Ok(Value::Object(variant)) = serde_json::to_value(record) {
        for (_, body) in variant {
            if let Value::Object(body) = body {
                fields.extend(body);
            }
        }
    }
    if let Some(challenge) = challenge_of(record) {
        fields.remove("challenge_payload");
        fields.insert(
            "challenge".to_owned(),
            json!({
                "sid": challenge.sid, "device_id": challenge.device_id, "group": challenge.group, "index": challenge.index,
                "epoch": challenge.epoch, "policy_hash": challenge.policy_hash, "issued": challenge.issued,
                "answer_by": challenge.answer_by, "deadline": challenge.deadline,
            }),
        );
    }
    let mut value = Value::Object(fields);
    redact(&mut value);
    to_hex(&mut value);
    value
}

/// Name of a record's variant.
pub fn kind_of(record: &Record) -> &'static str {
    match record {
        Record::EpochOpened { .. } => "EpochOpened",
        Record::TicketIssued { .. } => "TicketIssued",
        Record::Statement(statement) => match statement.kind {
            StatementKind::Auth { .. } => "Statement/Auth",
            StatementKind::Checkpoint { .. } => "Statement/Checkpoint",
            StatementKind::PolicyAck { .. } => "Statement/PolicyAck",
        },
        Record::Denied { .. } => "Denied",
        Record::AuthAcked { .. } => "AuthAcked",
        Record::ChargeEnded { .. } => "ChargeEnded",
        Record::Telemetry { .. } => "Telemetry",
        Record::BatchCut(_) => "BatchCut",
        Record::Submitted(_) => "Submitted",
        Record::Mined { .. } => "Mined",
        Record::Safe { .. } => "Safe",
        Record::Unmined { .. } => "Unmined",
        Record::HeadSafe { .. } => "HeadSafe",
        Record::LedgerSafe { .. } => "LedgerSafe",
        Record::BatchDropped { .. } => "BatchDropped",
        Record::Settled { .. } => "Settled",
        Record::Expired { .. } => "Expired",
        Record::BatteryHeld(_) => "BatteryHeld",
        Record::PolicyAcksHeld { .. } => "PolicyAcksHeld",
        Record::ChargeHeld(_) => "ChargeHeld",
        Record::Pruned(_) => "Pruned",
        Record::TxEdited { .. } => "TxEdited",
        Record::CancelSubmitted(_) => "CancelSubmitted",
        Record::Scanned { .. } => "Scanned",
        Record::Reorganised { .. } => "Reorganised",
        Record::Finalized { .. } => "Finalized",
        Record::Revoked { .. } => "Revoked",
        Record::CreditReduced { .. } => "CreditReduced",
        Record::RootCut(_) => "RootCut",
        Record::RootClosed { .. } => "RootClosed",
        Record::RootSafe { .. } => "RootSafe",
    }
}

/// The epoch that a record belongs to, if it says so itself.
pub fn epoch_of(record: &Record) -> Option<u32> {
    match record {
        Record::EpochOpened { epoch, .. }
        | Record::HeadSafe { epoch, .. }
        | Record::RootClosed { epoch, .. }
        | Record::RootSafe { epoch, .. } => Some(*epoch),
        Record::RootCut(root) => Some(root.epoch),
        Record::TicketIssued { .. } | Record::ChargeHeld(_) => {
            challenge_of(record).map(|challenge| challenge.epoch)
        }
        Record::Statement(statement) => Some(statement.epoch),
        Record::BatchCut(batch) => Some(batch.epoch),
        _ => None,
    }
}

fn sids_of(record: &Record) -> Vec<Sid> {
    match record {
        Record::TicketIssued { .. } | Record::ChargeHeld(_) => {
            challenge_of(record).map(|challenge| challenge.sid).into_iter().collect()
        }
        Record::Statement(statement) => match &statement.kind {
            StatementKind::Auth { sid, .. } => vec![*sid],
            StatementKind::Checkpoint { segment, .. } => vec![*segment],
            StatementKind::PolicyAck { .. } => Vec::new(),
        },
        Record::Denied { sid, .. }
        | Record::AuthAcked { sid, .. }
        | Record::ChargeEnded { sid, .. }
        | Record::Revoked { sid, .. }
        | Record::CreditReduced { sid, .. } => vec![*sid],
        Record::Pruned(pruned) => pruned.charges.clone(),
        _ => Vec::new(),
    }
}

fn devices_of(record: &Record) -> Vec<DeviceId> {
    match record {
        Record::TicketIssued { .. } | Record::ChargeHeld(_) => {
            challenge_of(record).map(|challenge| challenge.device_id).into_iter().collect()
        }
        Record::Statement(statement) => vec![statement.device_id],
        Record::Telemetry { device_id, .. } => vec![*device_id],
        Record::BatchCut(batch) => batch.members.iter().map(|(device_id, _)| *device_id).collect(),
        Record::RootCut(root) => {
            root.groups.iter().flat_map(|group| &group.leaves).map(|leaf| leaf.device_id).collect()
        }
        Record::PolicyAcksHeld { acks } => acks.iter().map(|(device_id, _)| *device_id).collect(),
        _ => Vec::new(),
    }
}

fn challenge_of(record: &Record) -> Option<Challenge> {
    let payload = match record {
        Record::TicketIssued { challenge_payload, .. } => challenge_payload,
        Record::ChargeHeld(charge) => &charge.challenge_payload,
        _ => return None,
    };
    Challenge::decode(payload).ok()
}

fn redact(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields.iter_mut() {
                if SECRET_FIELDS.contains(&name.as_str()) {
                    *value = json!("redacted");
                } else {
                    redact(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        _ => {}
    }
}

/// Lists of bytes become hex. Shorter lists of numbers than any of our byte strings are tuples.
fn to_hex(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(to_hex),
        Value::Array(items) => {
            let bytes: Option<Vec<u8>> =
                items.iter().map(|item| item.as_u64().and_then(|byte| u8::try_from(byte).ok())).collect();
            match bytes {
                Some(bytes) if bytes.len() >= BYTES_MIN => {
                    *value = json!(format!("0x{}", hex::encode(bytes)));
                }
                _ => items.iter_mut().for_each(to_hex),
            }
        }
        _ => {}
    }
}

const SECRET_FIELDS: &[&str] = &["a", "answer", "meter", "challenge_payload"];
const BYTES_MIN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::record::StatementRecord;
    use crate::pipeline::frame_bytes;

    fn ticket(device: u8, sid: u8) -> Record {
        let challenge = Challenge {
            circuit_version: 0,
            sid: [sid; 16],
            device_id: [device; 32],
            group: 1,
            index: 2,
            nonce: [0xee; 32],
            epoch: 5,
            epoch_challenge: [3; 32],
            policy_hash: [4; 32],
            issued: 100,
            answer_by: 110,
            deadline: 120,
            gw_eph: [2; 33],
            dev_eph: [3; 33],
            h: [0; 32],
            signature: [9; 64],
        };
        let whole = frame_bytes(&challenge);
        let challenge_payload = whole[cip22_wire::frame::HEADER_BYTES..whole.len() - 1].to_vec();
        Record::TicketIssued { challenge_payload, device_key: vec![2; 33] }
    }

    fn auth(device: u8, sid: u8) -> Record {
        let kind = StatementKind::Auth {
            sid: [sid; 16],
            ticket_hash: [1; 32],
            l: [2; 32],
            request_hash: [3; 32],
            wh: 10,
            minutes: 20,
            answer: vec![0xdd; 90],
        };
        Record::Statement(StatementRecord {
            device_id: [device; 32],
            group: 1,
            index: 2,
            epoch: 5,
            n: 1,
            prev_head: [0; 32],
            head: [7; 32],
            signature: vec![8; 64],
            kind,
        })
    }

    #[test]
    fn an_exported_record_names_its_place_and_keeps_secrets_to_itself() {
        let acked = Record::AuthAcked { sid: [6; 16], a: [0xaa; 32] };
        let line = to_json(9, &acked);
        assert_eq!(
            line,
            json!({ "lsn": 9, "kind": "AuthAcked", "sid": format!("0x{}", "06".repeat(16)), "a": "redacted" })
        );
        let line = to_json(10, &ticket(1, 6)).to_string();
        assert!(!line.contains("eeee") && line.contains("\"answer_by\":110"), "{line}");
        let line = to_json(11, &auth(1, 6)).to_string();
        assert!(!line.contains("dddd") && line.contains(&"07".repeat(32)), "{line}");
    }

    #[test]
    fn a_filter_takes_what_belongs_to_a_device_a_ticket_or_an_epoch() {
        let records =
            [ticket(1, 6), auth(1, 6), ticket(2, 7), Record::AuthAcked { sid: [6; 16], a: [0; 32] }];
        let taken = |filter: Filter| {
            records
                .iter()
                .enumerate()
                .filter(|(_, record)| filter.takes(record))
                .map(|(at, _)| at)
                .collect::<Vec<_>>()
        };
        assert_eq!(taken(Filter::default()), [0, 1, 2, 3]);
        assert_eq!(taken(Filter { device_id: Some([1; 32]), ..Filter::default() }), [0, 1]);
        assert_eq!(taken(Filter { sid: Some([6; 16]), ..Filter::default() }), [0, 1, 3]);
        assert_eq!(taken(Filter { epoch: Some(5), sid: Some([7; 16]), ..Filter::default() }), [2]);
        assert_eq!(taken(Filter { epoch: Some(4), ..Filter::default() }), [0; 0]);
    }
}
