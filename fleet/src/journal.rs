//! What a pile writes down: every frame it sent or received, and events (docs/architecture.md, "Pile log").

use std::{
    collections::HashMap,
    fmt::Write as _,
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use cip22_wire::{DeviceId, Hash, Message, Sid, body, digest::ticket_hash, frame, statement};

use crate::{
    clock::unix_ms,
    error::FleetError,
    exchange::{Exchange, Facts},
    frame_json::{write_fields, write_hex},
};

/// The log of one pile, `logs/<name>.jsonl`, written through a buffer.
#[derive(Debug)]
pub struct PileLog {
    file: Option<BufWriter<File>>,
    line: String,
    device_id: DeviceId,
    place: (u32, u8),
    /// Frames still lacking an answer.
    pub exchange: Exchange,
    /// Tickets seen: their hash and epoch.
    tickets: HashMap<Sid, (Hash, u32)>,
    /// First sending of each AUTH_RESP that has no answer yet.
    asked: HashMap<Sid, (Instant, u32, u8)>,
    newest_statement: (u32, u8),
}

/// What a frame meant beyond itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// A grant, first time seen: AUTH_RESP sent to AUTH_GRANT received.
    Granted(Duration),
}

impl PileLog {
    /// Appends to `path`; without one, only keeps the accounts.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: Option<&Path>, device_id: DeviceId) -> Result<Self, FleetError> {
        let file = path
            .map(|path| {
                if let Some(folder) = path.parent() {
                    fs::create_dir_all(folder).map_err(FleetError::file(folder))?;
                }
                let file =
                    File::options().create(true).append(true).open(path).map_err(FleetError::file(path))?;
                Ok::<_, FleetError>(BufWriter::with_capacity(BUFFER_BYTES, file))
            })
            .transpose()?;
        Ok(Self {
            file,
            line: String::new(),
            device_id,
            place: (0, 0),
            exchange: Exchange::default(),
            tickets: HashMap::new(),
            asked: HashMap::new(),
            newest_statement: (0, 0),
        })
    }

    /// A whole frame is being sent, at `at`.
    pub fn sent(&mut self, bytes: &[u8], at: Instant) {
        let Ok(Some(parsed)) = frame::parse(bytes, u16::MAX) else { return };
        let Ok(message) = Message::decode(parsed.frame_type, parsed.payload) else { return };
        self.frame("tx", &message);
        self.exchange.sent(&Facts::from(&message));
        match message {
            Message::AuthResp(m) => {
                let Some((hash, epoch)) = self.tickets.get(&m.sid).copied() else { return };
                self.asked.entry(m.sid).or_insert((at, epoch, m.n));
                let stmt = statement::auth(&self.device_id, epoch, m.n, &hash, &m.l);
                self.statement("AUTH", epoch, m.n, &m.prev_head, &stmt, |line| {
                    line.push_str(",\"sid\":");
                    write_hex(line, &m.sid);
                });
            }
            Message::TelemCheckpoint(m) => {
                let stmt = statement::checkpoint(&self.device_id, &m);
                self.statement("CHECKPOINT", m.epoch, m.n, &m.prev_head, &stmt, |line| {
                    line.push_str(",\"battery\":");
                    write_hex(line, &m.battery);
                    let _ = write!(line, ",\"seq\":{}", m.seq);
                });
            }
            Message::PolicyAck(m) => {
                let stmt = statement::policy_ack(&self.device_id, &m);
                self.statement("POLICY_ACK", m.epoch, m.n, &m.prev_head, &stmt, |line| {
                    let _ = write!(line, ",\"version\":{}", m.version);
                });
            }
            _ => {}
        }
    }

    /// A whole frame came, at `at`.
    pub fn received(&mut self, frame_type: u8, payload: &[u8], at: Instant) -> Option<Note> {
        let Ok(message) = Message::decode(frame_type, payload) else {
            self.event("unreadable", |line| {
                let _ = write!(line, ",\"frame_type\":{frame_type}");
            });
            return None;
        };
        self.frame("rx", &message);
        self.exchange.received(&Facts::from(&message));
        match message {
            Message::HelloAck(m) => self.place = (m.group, m.index),
            Message::Challenge(m) => {
                self.tickets.insert(m.sid, (ticket_hash(&m), m.epoch));
            }
            Message::AuthGrant(m) => {
                let (sent_at, epoch, n) = self.asked.remove(&m.sid)?;
                let latency = at.saturating_duration_since(sent_at);
                let credit = body::Grant::decode(m.body).ok();
                self.event("granted", |line| {
                    line.push_str(",\"sid\":");
                    write_hex(line, &m.sid);
                    let _ =
                        write!(line, ",\"epoch\":{epoch},\"n\":{n},\"latency_us\":{}", latency.as_micros());
                    if let Some(body::Grant { wh, minutes }) = credit {
                        let _ = write!(line, ",\"wh\":{wh},\"minutes\":{minutes}");
                    }
                });
                return Some(Note::Granted(latency));
            }
            Message::AuthDeny(m) => {
                self.asked.remove(&m.sid);
                let reason = body::Deny::decode(m.body).map_or(0, |deny| deny.reason);
                self.event("denied", |line| {
                    line.push_str(",\"sid\":");
                    write_hex(line, &m.sid);
                    let _ = write!(line, ",\"reason\":{reason}");
                });
            }
            _ => {}
        }
        None
    }

    /// An event; `fields` appends `,"name":value` pairs.
    pub fn event(&mut self, name: &str, fields: impl FnOnce(&mut String)) {
        self.line.clear();
        let _ = write!(self.line, "{{\"t_ms\":{},\"event\":\"{name}\"", unix_ms());
        fields(&mut self.line);
        self.line.push_str("}\n");
        self.write_line();
    }

    /// Writes out what the buffer holds.
    ///
    /// # Errors
    /// The disk refused.
    pub fn flush(&mut self) -> std::io::Result<()> {
        self.file.as_mut().map_or(Ok(()), BufWriter::flush)
    }

    fn frame(&mut self, dir: &str, message: &Message<'_>) {
        if self.file.is_none() {
            return;
        }
        self.line.clear();
        let name = message.frame_type().name();
        let _ =
            write!(self.line, "{{\"t_ms\":{},\"dir\":\"{dir}\",\"type\":\"{name}\",\"fields\":", unix_ms());
        write_fields(&mut self.line, message);
        self.line.push_str("}\n");
        self.write_line();
    }

    fn statement(
        &mut self,
        kind: &str,
        epoch: u32,
        n: u8,
        prev_head: &Hash,
        stmt: &Hash,
        subject: impl FnOnce(&mut String),
    ) {
        // Sent again after a reconnect, it is no new statement.
        if (epoch, n) <= self.newest_statement {
            return;
        }
        self.newest_statement = (epoch, n);
        let head = statement::next_head(prev_head, stmt);
        let (group, index) = self.place;
        self.event("statement", |line| {
            let _ = write!(
                line,
                ",\"kind\":\"{kind}\",\"epoch\":{epoch},\"n\":{n},\"group\":{group},\"index\":{index},\"prev_head\":"
            );
            write_hex(line, prev_head);
            line.push_str(",\"head\":");
            write_hex(line, &head);
            subject(line);
        });
    }

    fn write_line(&mut self) {
        if let Some(file) = &mut self.file
            && let Err(error) = file.write_all(self.line.as_bytes())
        {
            eprintln!("a pile log cannot be written: {error}");
            self.file = None;
        }
    }
}

impl Drop for PileLog {
    fn drop(&mut self) {
        if let Err(error) = self.flush() {
            eprintln!("a pile log cannot be written: {error}");
        }
    }
}

const BUFFER_BYTES: usize = 64 * 1024;
