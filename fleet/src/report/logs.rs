//! Reads pile logs (docs/architecture.md, "Pile log").

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use cip22_wire::{BatteryId, DenyReason, FrameType, Hash, Level, NackCode, Sid, batch_tree};
use serde::Deserialize;

use crate::{
    error::FleetError,
    exchange::{Exchange, Facts, Sent},
    manifest::hex_bytes,
};

/// A statement that the pile signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Of the group and index.
    pub place: (u32, u8),
    /// head_{n-1}.
    pub prev_head: Hash,
    /// head_n.
    pub head: Hash,
}

/// A grant that the pile received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its AUTH statement: epoch and n.
    pub position: (u32, u8),
    /// Unix time, ms.
    pub t_ms: u64,
    /// AUTH_RESP sent to AUTH_GRANT received.
    pub latency_us: u64,
    /// Unix time of AUTH_FINAL (SAFE), ms.
    pub safe_ms: Option<u64>,
}

/// A leaf that the pile was told in BATCH_ROOT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Of the group and index.
    pub place: (u32, u8),
    /// n of the newest statement under it.
    pub n: u8,
    /// head_n.
    pub head: Hash,
    /// Where its path leads among the places of the group.
    pub group_root: Hash,
}

/// What the log of one pile says.
#[derive(Clone, Debug, Default)]
pub struct PileFacts {
    /// By (epoch, n).
    pub statements: BTreeMap<(u32, u8), Statement>,
    /// By epoch, in the order they came.
    pub leaves: HashMap<u32, Vec<Leaf>>,
    /// By sid.
    pub grants: HashMap<Sid, Grant>,
    /// Battery records sent: their fingerprints.
    pub records: HashMap<(BatteryId, u32), Hash>,
    /// Battery records acknowledged as durable.
    pub accepted: BTreeSet<(BatteryId, u32)>,
    /// Policies acknowledged, and the acknowledgement acknowledged.
    pub policies: BTreeSet<u32>,
    /// Refusals of CHALLENGE_REQ and AUTH_RESP, and denials.
    pub rejected: BTreeMap<String, usize>,
    /// Frames without an answer.
    pub exchange: Exchange,
    policy_acks: HashMap<(u32, u8), u32>,
}

/// Reads `<folder>/<name>.jsonl` of every pile of the fleet that has one.
///
/// # Errors
/// A log cannot be read.
pub(super) fn read_piles(folder: &Path, names: &[&str]) -> Result<Vec<PileFacts>, FleetError> {
    let mut piles = Vec::new();
    for name in names {
        let path = folder.join(format!("{name}.jsonl"));
        if path.exists() {
            piles.push(read(&path)?);
        }
    }
    Ok(piles)
}

/// Refusals of the scripted misbehaviour, `<folder>/misbehaviour/*.jsonl`.
///
/// # Errors
/// A log cannot be read.
pub(super) fn read_rejections(folder: &Path) -> Result<BTreeMap<String, usize>, FleetError> {
    let mut rejected = BTreeMap::new();
    let Ok(entries) = folder.join("misbehaviour").read_dir() else { return Ok(rejected) };
    for entry in entries.flatten() {
        for (cause, count) in read(&entry.path())?.rejected {
            *rejected.entry(cause).or_default() += count;
        }
    }
    Ok(rejected)
}

fn read(path: &Path) -> Result<PileFacts, FleetError> {
    let file = File::open(path).map_err(FleetError::file(path))?;
    let mut facts = PileFacts::default();
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(FleetError::file(path))?;
        facts
            .take(&line)
            .map_err(|problem| FleetError::content(path, format!("line {}: {problem}", number + 1)))?;
    }
    Ok(facts)
}

#[derive(Deserialize)]
struct Line {
    t_ms: u64,
    dir: Option<String>,
    #[serde(rename = "type")]
    frame: Option<String>,
    #[serde(default)]
    fields: Fields,
    event: Option<String>,
    epoch: Option<u32>,
    n: Option<u8>,
    group: Option<u32>,
    index: Option<u8>,
    prev_head: Option<String>,
    head: Option<String>,
    sid: Option<String>,
    latency_us: Option<u64>,
    reason: Option<serde_json::Value>,
}

#[derive(Default, Deserialize)]
struct Fields {
    sid: Option<String>,
    battery: Option<String>,
    seq: Option<u32>,
    fp: Option<String>,
    group: Option<u32>,
    epoch: Option<u32>,
    n: Option<u8>,
    leaf: Option<u16>,
    head: Option<String>,
    path: Option<String>,
    version: Option<u32>,
    dev_eph: Option<String>,
    wh: Option<u32>,
    minutes: Option<u16>,
    checkpoint: Option<u8>,
    level: Option<u8>,
    frame_type: Option<u8>,
    code: Option<u16>,
    retry_ms: Option<u32>,
}

impl PileFacts {
    /// Takes one line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn take(&mut self, line: &str) -> Result<(), String> {
        let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
        match (line.event.as_deref(), line.dir.as_deref(), line.frame.as_deref()) {
            (Some("statement"), ..) => self.take_statement(&line),
            (Some("granted"), ..) => self.take_grant(&line),
            (Some("denied"), ..) => {
                let reason = line.reason.and_then(|reason| reason.as_u64()).unwrap_or_default();
                let reason = u8::try_from(reason).ok().and_then(DenyReason::from_u8);
                self.reject(reason.map_or("DENIED", DenyReason::name));
                Ok(())
            }
            (None, Some(dir), Some(frame)) => self.take_frame(&line, dir, frame),
            (Some(_), ..) => Ok(()),
            _ => Err("neither a frame nor an event".to_owned()),
        }
    }

    fn take_statement(&mut self, line: &Line) -> Result<(), String> {
        let position = (present(line.epoch, "epoch")?, present(line.n, "n")?);
        let statement = Statement {
            place: (present(line.group, "group")?, present(line.index, "index")?),
            prev_head: bytes(line.prev_head.as_deref(), "prev_head")?,
            head: bytes(line.head.as_deref(), "head")?,
        };
        match self.statements.insert(position, statement) {
            // Signed before the pile's process restarted, it may be logged again.
            Some(before) if before != statement => {
                Err(format!("two statements at epoch {} n {}", position.0, position.1))
            }
            _ => Ok(()),
        }
    }

    fn take_grant(&mut self, line: &Line) -> Result<(), String> {
        let sid = bytes(line.sid.as_deref(), "sid")?;
        let grant = Grant {
            position: (present(line.epoch, "epoch")?, present(line.n, "n")?),
            t_ms: line.t_ms,
            latency_us: present(line.latency_us, "latency_us")?,
            safe_ms: None,
        };
        self.grants.entry(sid).or_insert(grant);
        Ok(())
    }

    fn take_frame(&mut self, line: &Line, dir: &str, frame: &str) -> Result<(), String> {
        let frame_type = FrameType::ALL
            .iter()
            .copied()
            .find(|frame_type| frame_type.name() == frame)
            .ok_or_else(|| format!("no frame is named {frame}"))?;
        let frame = facts(frame_type, &line.fields)?;
        let fields = &line.fields;
        if dir == "tx" {
            self.exchange.sent(&frame);
            match (frame_type, frame.battery, frame.seq, frame.epoch, frame.n) {
                (FrameType::BattTelem, Some(battery), Some(seq), ..) => {
                    self.records.insert((battery, seq), bytes(fields.fp.as_deref(), "fp")?);
                }
                (FrameType::PolicyAck, _, _, Some(epoch), Some(n)) => {
                    self.policy_acks.insert((epoch, n), present(fields.version, "version")?);
                }
                _ => {}
            }
            return Ok(());
        }
        let refused = self.exchange.received(&frame);
        match frame_type {
            FrameType::Nack if fields.retry_ms.is_none() => self.take_nack(refused, frame.about, fields.code),
            FrameType::TelemAck
                if frame.checkpoint == Some(0) && fields.level >= Some(Level::Durable.code()) =>
            {
                if let (Some(battery), Some(seq)) = (frame.battery, frame.seq) {
                    self.accept_up_to(battery, seq);
                }
            }
            FrameType::Ack if frame.about == Some(FrameType::PolicyAck.code()) => {
                let position = frame.epoch.zip(frame.n);
                let version = position.and_then(|position| self.policy_acks.get(&position));
                self.policies.extend(version);
            }
            FrameType::BatchRoot => self.take_leaf(fields)?,
            FrameType::AuthFinal if fields.level >= Some(Level::Safe.code()) => {
                if let Some(grant) = frame.sid.and_then(|sid| self.grants.get_mut(&sid)) {
                    grant.safe_ms.get_or_insert(line.t_ms);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn take_leaf(&mut self, fields: &Fields) -> Result<(), String> {
        let (group, epoch) = (present(fields.group, "group")?, present(fields.epoch, "epoch")?);
        let (leaf, n) = (present(fields.leaf, "leaf")?, present(fields.n, "n")?);
        let head = bytes(fields.head.as_deref(), "head")?;
        let path = present(fields.path.as_deref(), "path")?;
        let path =
            hex::decode(path.trim_start_matches("0x")).map_err(|problem| format!("path: {problem}"))?;
        // A path that leads nowhere opens nothing.
        if let Some(roots) = batch_tree::follow(group, leaf, n, &head, &path) {
            let [_, index] = leaf.to_be_bytes();
            let leaf = Leaf { place: (group, index), n, head, group_root: roots.group_root };
            self.leaves.entry(epoch).or_default().push(leaf);
        }
        Ok(())
    }

    /// A durable record makes those before it durable.
    fn accept_up_to(&mut self, battery: BatteryId, seq: u32) {
        for seq in (1..=seq).rev() {
            // Records before those of this log were accepted from somebody else, or counted already.
            if !self.records.contains_key(&(battery, seq)) || !self.accepted.insert((battery, seq)) {
                break;
            }
        }
    }

    /// A refusal for good. One with `retry_ms` only defers; a HELLO whose registration is not safe yet is repeated likewise.
    fn take_nack(&mut self, refused: Option<Sent>, about: Option<u8>, code: Option<u16>) {
        let code = code.and_then(NackCode::from_u16);
        let of_hello = refused == Some(Sent::Hello) && code != Some(NackCode::UnknownDevice);
        let of_authorization = about
            .and_then(FrameType::from_u8)
            .is_some_and(|about| [FrameType::ChallengeReq, FrameType::AuthResp].contains(&about));
        if of_authorization || of_hello || refused.is_none() {
            self.reject(code.map_or("NACK", NackCode::name));
        }
    }

    fn reject(&mut self, cause: &str) {
        *self.rejected.entry(cause.to_owned()).or_default() += 1;
    }
}

fn facts(frame_type: FrameType, fields: &Fields) -> Result<Facts, String> {
    Ok(Facts {
        sid: optional(fields.sid.as_deref(), "sid")?,
        battery: optional(fields.battery.as_deref(), "battery")?,
        seq: fields.seq,
        epoch: fields.epoch,
        n: fields.n,
        dev_eph: optional(fields.dev_eph.as_deref(), "dev_eph")?,
        wh: fields.wh,
        minutes: fields.minutes,
        checkpoint: fields.checkpoint,
        about: fields.frame_type,
        ..Facts::new(frame_type)
    })
}

fn present<T>(value: Option<T>, name: &str) -> Result<T, String> {
    value.ok_or_else(|| format!("{name} is missing"))
}

fn bytes<const N: usize>(text: Option<&str>, name: &str) -> Result<[u8; N], String> {
    hex_bytes(present(text, name)?).map_err(|problem| format!("{name}: {problem}"))
}

fn optional<const N: usize>(text: Option<&str>, name: &str) -> Result<Option<[u8; N]>, String> {
    text.map(|text| bytes(Some(text), name)).transpose()
}
