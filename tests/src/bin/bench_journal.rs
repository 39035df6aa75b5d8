//! How the journal grows with messages, what pruning gives back, and how long a start takes: real records through the real log and state.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cip22_relayer::clock::{Clock, SystemClock};
use cip22_relayer::journal::examine::inspect;
use cip22_relayer::journal::record::{AttemptRecord, BatchKind, BatchRecord, StatementKind, StatementRecord};
use cip22_relayer::journal::redb_log::RedbLog;
use cip22_relayer::journal::{Journal, Record};
use cip22_relayer::pipeline::frame_bytes;
use cip22_relayer::state::State;
use cip22_wire::frame::HEADER_BYTES;
use cip22_wire::message::{BattTelem, Challenge};
use serde_json::json;

/// Piles that charge once an epoch.
const PILES: u32 = 100;
/// Telemetry records of a pile in an epoch.
const TELEMETRY: u32 = 20;
/// Frames of a pile in an epoch that leave a record: CHALLENGE_REQ, AUTH_RESP, AUTH_ACK, CHARGE_END, BATT_TELEM, TELEM_CHECKPOINT.
const MESSAGES: u32 = 5 + TELEMETRY;
/// Epochs before anything is pruned.
const KEPT_EPOCHS: u32 = 40;
/// Epochs in all: what is kept is replaced twice over.
const EPOCHS: u32 = 3 * KEPT_EPOCHS;
/// Records in a transaction.
const GROUP: usize = 64;
/// Epochs between prunings.
const STEP_EPOCHS: u32 = 4;

fn main() {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(folder), Some(out)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: bench_journal FOLDER OUT.json");
        std::process::exit(2);
    };
    let metrics = Bench::new(&folder).run();
    let text = serde_json::to_vec_pretty(&metrics).expect("metrics are JSON");
    std::fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&out)
        .and_then(|mut file| std::io::Write::write_all(&mut file, &text))
        .expect("the results are written");
}

struct Bench {
    path: PathBuf,
    log: Option<RedbLog>,
    token: u64,
    state: State,
    queue: Vec<Record>,
    last: BTreeMap<u32, (u32, [u8; 32])>,
    checkpoints: BTreeMap<u32, (u32, [u8; 32])>,
    batch: u64,
    sid: u64,
    clock: Arc<dyn Clock>,
}

impl Bench {
    fn new(folder: &Path) -> Self {
        let path = folder.join("journal.redb");
        let log = RedbLog::open(&path).expect("a fresh journal");
        let token = log.acquire("bench").expect("its owner");
        Self {
            path,
            log: Some(log),
            token,
            state: State::default(),
            queue: Vec::new(),
            last: BTreeMap::new(),
            checkpoints: BTreeMap::new(),
            batch: 0,
            sid: 0,
            clock: Arc::new(SystemClock::new()),
        }
    }

    fn run(mut self) -> Vec<serde_json::Value> {
        for epoch in 1..=KEPT_EPOCHS {
            self.epoch(epoch);
        }
        let full = inspect(self.log()).expect("it can be read");
        let messages = f64::from(PILES * MESSAGES * KEPT_EPOCHS);
        let million = |bytes: u64| (bytes as f64 * 1e6 / messages / 1e6).round();
        let mut metrics = vec![
            metric("messages", messages, "count", None),
            metric("file_growth_per_million_messages", million(full.header.file_bytes), "MB", Some(1_500.0)),
            metric("records_per_million_messages", million(full.header.record_bytes), "MB", None),
        ];
        for (name, kind) in &full.kinds {
            let average = (kind.bytes as f64 / kind.records as f64).round();
            metrics.push(metric(&format!("bytes_of_a_record.{name}"), average, "bytes", None));
        }
        let tickets = self.state.tickets.len();
        let mut largest = 0;
        for epoch in KEPT_EPOCHS + 1..=EPOCHS {
            self.epoch(epoch);
            if epoch.is_multiple_of(STEP_EPOCHS) {
                self.prune(epoch - KEPT_EPOCHS);
            }
            largest = largest.max(self.log().bytes().expect("its size"));
        }
        let flat = inspect(self.log()).expect("it can be read");
        let ratio = |part: f64, whole: f64| (part / whole * 100.0).round() / 100.0;
        let before = full.header.file_bytes as f64;
        metrics.push(metric("file_when_first_full", before / 1e6, "MB", None));
        metrics.push(metric("largest_file_of_three_times_the_messages", largest as f64 / 1e6, "MB", None));
        metrics.push(metric("largest_file_to_first_full", ratio(largest as f64, before), "ratio", Some(1.6)));
        let held = self.state.tickets.len() as f64;
        metrics.push(metric(
            "tickets_in_memory_to_first_full",
            ratio(held, tickets as f64),
            "ratio",
            Some(1.2),
        ));
        metrics.extend(self.starts(flat.last - flat.first + 1));
        metrics
    }

    /// What a start takes: after SIGKILL, after a stop in good order, and the part of it that is the replay.
    fn starts(&mut self, records: u64) -> Vec<serde_json::Value> {
        let killed = self.path.with_file_name("killed.redb");
        // The file of a journal that is open is what a SIGKILL leaves.
        std::fs::copy(&self.path, &killed).expect("a copy");
        let (opened_killed, _) = self.timed(|| drop(RedbLog::open(&killed).expect("it is recovered")));
        drop(self.log.take());
        let (opened, log) = self.timed(|| RedbLog::open(&self.path).expect("it opens"));
        let mut state = State::default();
        let (replayed, ()) = self.timed(|| {
            log.replay(0, &mut |_, record| state.apply(&record)).expect("it is replayed");
        });
        state.scanned_to = self.state.scanned_to;
        assert!(state == self.state, "the pruned journal replays to the live state");
        drop(log);
        let mut log = RedbLog::open(&self.path).expect("it opens");
        log.compact().expect("it is compacted");
        let compacted = log.bytes().expect("its size");
        let per_million = |ms: u64| (ms as f64 * 1e3 / records as f64 * 1e2).round() / 1e2;
        vec![
            metric("records_replayed", records as f64, "count", None),
            metric("open_after_kill_per_million_records", per_million(opened_killed), "s", None),
            metric("open_after_stop_per_million_records", per_million(opened), "s", None),
            metric("replay_per_million_records", per_million(replayed), "s", None),
            metric("file_compacted", compacted as f64 / 1e6, "MB", None),
        ]
    }

    fn timed<T>(&self, work: impl FnOnce() -> T) -> (u64, T) {
        let started_ms = self.clock.monotonic_ms();
        let value = work();
        (self.clock.monotonic_ms().saturating_sub(started_ms), value)
    }

    fn log(&self) -> &RedbLog {
        self.log.as_ref().expect("it is open")
    }

    fn commit(&mut self, record: Record) {
        self.state.apply(&record);
        self.queue.push(record);
        if self.queue.len() >= GROUP {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let records = std::mem::take(&mut self.queue);
        self.log().append(self.token, &records).expect("it is written");
    }

    fn epoch(&mut self, epoch: u32) {
        self.commit(Record::EpochOpened { epoch, challenge: noise(epoch, 1), policy_hash: noise(0, 2) });
        for pile in 0..PILES {
            self.charge(epoch, pile);
        }
        self.carry(epoch);
        self.flush();
    }

    fn charge(&mut self, epoch: u32, pile: u32) {
        self.sid += 1;
        let mut sid = [0; 16];
        sid.copy_from_slice(&noise(self.sid as u32, 3)[..16]);
        let device_id = noise(pile, 4);
        let challenge = challenge(epoch, pile, device_id, sid);
        let challenge_payload = payload(&frame_bytes(&challenge));
        self.commit(Record::TicketIssued { challenge_payload, device_key: vec![2; 33] });
        let kind = StatementKind::Auth {
            sid,
            ticket_hash: noise(pile, 5),
            l: noise(pile, 6),
            request_hash: noise(pile, 7),
            wh: 50_000,
            minutes: 240,
            answer: vec![7; 82],
        };
        self.statement(epoch, pile, 1, kind);
        self.commit(Record::AuthAcked { sid, a: noise(pile, 8) });
        for _ in 0..TELEMETRY {
            self.telemetry(pile, sid, device_id);
        }
        let (seq, fp) = self.last[&pile];
        let (prev_seq, prev_fp) = self.checkpoints.insert(pile, (seq, fp)).unwrap_or_default();
        let time_ms = time_of(seq);
        let battery = noise(pile, 9);
        let kind = StatementKind::Checkpoint { battery, segment: sid, seq, time_ms, fp, prev_seq, prev_fp };
        self.statement(epoch, pile, 2, kind);
        let (meter, signature) = (vec![9; 48], vec![8; 64]);
        self.commit(Record::ChargeEnded { sid, wh: 31_000, minutes: 55, cause: 1, meter, signature });
    }

    fn statement(&mut self, epoch: u32, pile: u32, n: u8, kind: StatementKind) {
        let prev_head = if n == 1 { [0; 32] } else { noise(epoch ^ pile << 16, n - 1) };
        self.commit(Record::Statement(StatementRecord {
            device_id: noise(pile, 4),
            group: 1 + pile / 200,
            index: (pile % 200) as u8,
            epoch,
            n,
            prev_head,
            head: noise(epoch ^ pile << 16, n),
            signature: [noise(pile, 10), noise(epoch, 11)].concat(),
            kind,
        }));
    }

    fn telemetry(&mut self, pile: u32, segment: [u8; 16], device_id: [u8; 32]) {
        let (seq, fp) = self.last.get(&pile).copied().unwrap_or_default();
        let mut record = BattTelem {
            battery: noise(pile, 9),
            segment,
            seq: seq + 1,
            time_ms: time_of(seq + 1),
            voltage_mv: 52_000,
            current_ma: 40_000,
            soc_centi_percent: 5_000,
            temperature_centi_c: 2_150,
            energy_wh: 7_000,
            fp: [0; 32],
        };
        record.fp = cip22_wire::telemetry::fingerprint(&fp, &record);
        self.last.insert(pile, (record.seq, record.fp));
        self.commit(Record::Telemetry { device_id, payload: payload(&frame_bytes(&record)) });
    }

    /// One `record` and the advances of 24, each with one attempt, mined and safe.
    fn carry(&mut self, epoch: u32) {
        let members: Vec<_> = (0..PILES).map(|pile| (noise(pile, 4), 2)).collect();
        self.transaction(epoch, BatchKind::Record, &members, 100 + 98 * members.len());
        for part in members.chunks(24) {
            self.transaction(epoch, BatchKind::Advance, part, 100 + 640 * part.len());
        }
        let block = u64::from(epoch) * 60;
        for pile in 0..PILES {
            let (group, index, transaction) = (1 + pile / 200, (pile % 200) as u8, noise(epoch, 12));
            let head = noise(epoch ^ pile << 16, 2);
            self.commit(Record::HeadSafe { group, index, epoch, n: 2, head, transaction, block });
            let (seq, fp) = self.checkpoints[&pile];
            self.commit(Record::LedgerSafe { battery: noise(pile, 9), seq, fp, block });
        }
        self.commit(Record::Settled { scanned_to: block });
    }

    fn transaction(&mut self, epoch: u32, kind: BatchKind, members: &[([u8; 32], u8)], bytes: usize) {
        self.batch += 1;
        let (batch, transaction, block) = (self.batch, noise(epoch, 12), u64::from(epoch) * 60);
        self.commit(Record::BatchCut(BatchRecord {
            batch,
            kind,
            epoch,
            to: [1; 20],
            calldata: vec![5; bytes],
            members: members.to_vec(),
            expires_block: block + 65_000,
        }));
        self.commit(Record::Submitted(AttemptRecord {
            batch,
            signer: [2; 20],
            nonce: batch,
            attempt: 1,
            gas_limit: 2_000_000,
            max_fee_per_gas: 40_000_000_000,
            max_priority_fee_per_gas: 1_000_000_000,
            raw: vec![6; bytes + 120],
            transaction,
        }));
        let (block_hash, succeeded) = (noise(epoch, 13), true);
        self.commit(Record::Mined { batch, transaction, block, block_hash, succeeded });
        self.commit(Record::Safe { batch, transaction, block, succeeded });
    }

    /// What the relayer does beside everything else, at once.
    fn prune(&mut self, wanted: u32) {
        let horizon = self.state.horizon(wanted);
        let ids = self.state.battery_ids();
        let held = self.state.batteries_held(&ids);
        for record in held.into_iter().chain(self.state.policy_acks_held(1_024)) {
            self.commit(record);
        }
        for record in self.state.pruned(horizon) {
            self.commit(record);
        }
        self.flush();
        loop {
            let log = self.log();
            let front = log.read(log.first().expect("its front"), 512).expect("its front");
            let kept =
                |record: &Record| matches!(record, Record::EpochOpened { epoch, .. } if *epoch >= horizon);
            let end = front.iter().find(|(_, record)| kept(record)).map(|(lsn, _)| *lsn);
            let before = end.unwrap_or_else(|| front.last().map_or(0, |(lsn, _)| lsn + 1));
            log.truncate(self.token, before, 512).expect("its front goes");
            if end.is_some() {
                return;
            }
        }
    }
}

fn challenge(epoch: u32, pile: u32, device_id: [u8; 32], sid: [u8; 16]) -> Challenge {
    Challenge {
        circuit_version: 0,
        sid,
        device_id,
        group: 1 + pile / 200,
        index: (pile % 200) as u8,
        nonce: noise(pile, 14),
        epoch,
        epoch_challenge: noise(epoch, 1),
        policy_hash: noise(0, 2),
        issued: u64::from(epoch) * 60,
        answer_by: u64::from(epoch) * 60 + 300,
        deadline: u64::from(epoch) * 60 + 540,
        gw_eph: [2; 33],
        dev_eph: [3; 33],
        h: [0; 32],
        signature: [4; 64],
    }
}

fn time_of(seq: u32) -> u64 {
    1_700_000_000_000 + u64::from(seq) * 10_000
}

/// Bytes that no other number and salt give.
fn noise(number: u32, salt: u8) -> [u8; 32] {
    cip22_wire::keccak256(&[&number.to_be_bytes(), &[salt]])
}

fn payload(frame: &[u8]) -> Vec<u8> {
    frame[HEADER_BYTES..frame.len() - 1].to_vec()
}

fn metric(name: &str, value: f64, unit: &str, limit: Option<f64>) -> serde_json::Value {
    let value = (value * 100.0).round() / 100.0;
    json!({ "metric": name, "value": value, "unit": unit, "limit": limit, "ok": limit.is_none_or(|limit| value <= limit) })
}
