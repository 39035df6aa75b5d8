//! What may be asked on the admin socket: one line of JSON in, one line out.
//!
//! `{"v":1,"command":"status"}` → `{"v":1,"ok":{…}}` or `{"v":1,"error":{"code":"unknown_command","message":"…"}}`. Arguments stand in
//! `arguments`, an object.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::AdminError;

/// Version of the requests. Another one is refused by name.
pub const VERSION: u64 = 1;

/// A request. Fields are bounded by the line that they come in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", content = "arguments", rename_all = "snake_case")]
pub enum Request {
    /// Everything at a glance.
    Status,
    /// A page of the registered devices, in the order of their ids.
    Devices {
        /// Devices left out before the first.
        offset: usize,
        /// Most devices in the answer, at most [`DEVICES_PER_PAGE_MAX`].
        limit: usize,
    },
    /// One device.
    Device {
        /// Its id, or the beginning of it: hex digits.
        device: String,
    },
    /// Every policy, and who holds it.
    Policy,
    /// Where a message is and why.
    Why {
        /// Ticket: 32 hex digits.
        sid: String,
    },
    /// Every batch without an end, with its transaction.
    TxList,
    /// A better paid attempt for a batch, at once.
    TxBump {
        /// Batch.
        batch: u64,
    },
    /// A batch's nonce for a transfer of nothing; its members are planned again.
    TxCancel {
        /// Batch.
        batch: u64,
    },
    /// A consistent copy of the journal.
    JournalBackup {
        /// Absolute path of the new file.
        destination: String,
    },
}

/// Every command of [`Request`], as it is written on the socket.
const COMMANDS: &[&str] =
    &["status", "devices", "device", "policy", "why", "tx_list", "tx_bump", "tx_cancel", "journal_backup"];

/// Most devices in one answer.
pub const DEVICES_PER_PAGE_MAX: usize = 500;

impl Request {
    /// Time that the relayer gives itself to answer; a client waits a little longer.
    pub fn time_limit(&self) -> Duration {
        match self {
            Self::Status | Self::Devices { .. } | Self::Device { .. } | Self::Policy => {
                Duration::from_secs(5)
            }
            // The journal is read from its beginning.
            Self::Why { .. } => Duration::from_secs(120),
            // A submitter finishes the calls under way first, each of which has a timeout.
            Self::TxList | Self::TxBump { .. } | Self::TxCancel { .. } => Duration::from_secs(30),
            Self::JournalBackup { .. } => Duration::from_secs(600),
        }
    }

    /// The request as a line, without its end.
    pub fn to_line(&self) -> String {
        // Strings and numbers in an object are always JSON.
        let mut document = serde_json::to_value(self).unwrap_or_default();
        if let Some(fields) = document.as_object_mut() {
            fields.insert("v".to_owned(), json!(VERSION));
        }
        document.to_string()
    }

    /// Reads a line.
    pub fn parse(line: &[u8]) -> Result<Self, AdminError> {
        let malformed = |what: String| AdminError::Malformed { what };
        let document: Value =
            serde_json::from_slice(line).map_err(|error| malformed(format!("not JSON: {error}")))?;
        let Value::Object(mut fields) = document else { return Err(malformed("not an object".to_owned())) };
        match fields.remove("v") {
            Some(found) if found == json!(VERSION) => {}
            found => {
                let found = found.map_or("none".to_owned(), |found| found.to_string());
                return Err(AdminError::Version { found, known: VERSION });
            }
        }
        match fields.get("command").and_then(Value::as_str) {
            Some(command) if COMMANDS.contains(&command) => {}
            Some(command) => {
                let command = command.chars().take(SHOWN_CHARACTERS_MAX).collect();
                return Err(AdminError::UnknownCommand { command, known: COMMANDS.join(", ") });
            }
            None => return Err(malformed("the field \"command\" is missing".to_owned())),
        }
        serde_json::from_value(Value::Object(fields)).map_err(|error| malformed(error.to_string()))
    }
}

/// The line that answers a request, without its end.
pub fn answer_line(answer: &Result<Value, AdminError>) -> String {
    let document = match answer {
        Ok(value) => json!({ "v": VERSION, "ok": value }),
        Err(error) => {
            json!({ "v": VERSION, "error": { "code": error.code(), "message": error.to_string() } })
        }
    };
    document.to_string()
}

/// Of an unknown command, so much is shown.
const SHOWN_CHARACTERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each.
    fn all() -> Vec<Request> {
        vec![
            Request::Status,
            Request::Devices { offset: 20, limit: 10 },
            Request::Device { device: "0xab".to_owned() },
            Request::Policy,
            Request::Why { sid: "00".repeat(16) },
            Request::TxList,
            Request::TxBump { batch: 7 },
            Request::TxCancel { batch: 7 },
            Request::JournalBackup { destination: "/backup/journal.redb".to_owned() },
        ]
    }

    #[test]
    fn every_request_comes_back_from_its_line_and_is_in_the_list() {
        for request in all() {
            let line = request.to_line();
            assert_eq!(Request::parse(line.as_bytes()).unwrap(), request, "{line}");
        }
        let named: Vec<String> = all()
            .iter()
            .map(|request| serde_json::to_value(request).unwrap()["command"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(named, COMMANDS);
    }

    #[test]
    fn what_is_wrong_with_a_line_is_told_by_a_code() {
        for (line, code) in [
            ("status", "malformed"),
            ("[]", "malformed"),
            (r#"{"v":1}"#, "malformed"),
            (r#"{"command":"status"}"#, "version"),
            (r#"{"v":2,"command":"status"}"#, "version"),
            (r#"{"v":1,"command":"reboot"}"#, "unknown_command"),
            (r#"{"v":1,"command":"why"}"#, "malformed"),
            (r#"{"v":1,"command":"devices","arguments":{"offset":-1,"limit":5}}"#, "malformed"),
        ] {
            assert_eq!(Request::parse(line.as_bytes()).unwrap_err().code(), code, "{line}");
        }
    }

    #[test]
    fn a_version_that_is_not_ours_is_named_in_the_answer() {
        let refused = Request::parse(br#"{"v":7,"command":"status"}"#);
        let line = answer_line(&refused.map(|_| Value::Null));
        assert!(line.contains("version 7") && line.contains("version 1"), "{line}");
    }
}
