//! The relayer's session with a pile that says anything: what it answers is in its journal first, and it goes on.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use cip22_device_sdk::sign::SigningKey;
use cip22_relayer::clock::Clock;
use cip22_relayer::config::Config;
use cip22_relayer::deployment::Deployment;
use cip22_relayer::directory::{Device, Directory, Place};
use cip22_relayer::edge::link::{Binding, Link};
use cip22_relayer::error::JournalError;
use cip22_relayer::gateway::{Gateway, Parts};
use cip22_relayer::gateway_key::{GatewayKey, SiteSecret};
use cip22_relayer::journal::appender::Appender;
use cip22_relayer::journal::record::StatementKind;
use cip22_relayer::journal::{Journal, Lease, Lsn, Record};
use cip22_relayer::session;
use cip22_relayer::state::State;
use cip22_relayer::supervisor;
use cip22_relayer::view::{ChainView, Epoch, Policy};
use cip22_wire::digest::{Domain, Head, challenge_req_hash, charge_end_hash, head_hash, policy_hash};
use cip22_wire::message::{
    AuthAck, AuthResp, BattTelem, Body, Challenge, ChallengeReq, ChargeEnd, ChargeStatus, Heartbeat, Hello,
    PolicyAck, TelemCheckpoint, TelemHead,
};
use cip22_wire::tariff::{self, Period, Terms};
use cip22_wire::{FrameType, Level, Message, crc8_itu, frame, keccak256, statement, telemetry};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::board::{DEVICE_ID, device_key};
use super::input::{Input, framed};
use super::relayer;

const GROUP: u32 = 1;
const INDEX: u8 = 3;
const BATTERY: [u8; 32] = [0xBA; 32];
const STEPS_MAX: usize = 100;

/// A script of steps, drawn from the input.
pub(crate) fn serve(data: &[u8]) {
    let _ = play(data);
}

fn play(data: &[u8]) -> World {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let world = runtime.block_on(async {
        let mut input = Input::new(data);
        let mut world = World::new();
        world.advance().await;
        let mut connection = world.connect();
        for _ in 0..STEPS_MAX {
            if input.is_empty() {
                break;
            }
            world.step(&mut connection, &mut input).await;
        }
        connection.end(&mut world).await;
        // What was committed is in the journal, unless that failed.
        let _ = world.gateway.barrier().await;
        world
    });
    world.check();
    world
}

/// The gateway, its journal, and what the pile remembers.
struct World {
    gateway: Arc<Gateway>,
    journal: Arc<Memory>,
    clock: Arc<HandClock>,
    deployment: Deployment,
    directory: Arc<ArcSwap<Directory>>,
    view: watch::Sender<ChainView>,
    epoch: Epoch,
    key: SigningKey,
    challenge: Option<Challenge>,
    heads: HashMap<(u32, u8), [u8; 32]>,
    last_sent: Vec<u8>,
    last_record: (u32, [u8; 32]),
    answers: HashMap<[u8; 16], Vec<u8>>,
}

impl World {
    fn new() -> Self {
        let deployment = relayer::deployment();
        let text = include_str!("../../../deploy/relayer.toml");
        let config =
            Config::parse(Path::new("fuzz"), text, []).expect("the annotated file is a configuration");
        let key = device_key();
        let place =
            Place { group: GROUP, index: INDEX, key: key.address(), active_from: 0, active_until: u32::MAX };
        let device = Device { places: vec![place], ..Device::default() };
        let directory = Directory { devices: HashMap::from([(DEVICE_ID, device)]) };
        let directory = Arc::new(ArcSwap::from_pointee(directory));
        let (view, view_reader) = watch::channel(ChainView::default());
        let journal = Arc::new(Memory::default());
        let clock = Arc::new(HandClock::default());
        let (appender, _) = Appender::start(journal.clone(), 1, clock.clone()).expect("a thread");
        let gateway = Arc::new(Gateway::new(Parts {
            settings: supervisor::settings(&config, &deployment),
            clock: clock.clone(),
            key: GatewayKey::from_bytes(&[0x22; 32]).expect("a scalar of the curve"),
            site_secret: SiteSecret::new(Zeroizing::new([0x55; 32])),
            domain: domain(&deployment),
            directory: directory.clone(),
            view: view_reader,
            appender,
            state: State::default(),
            stop: CancellationToken::new(),
        }));
        let epoch = Epoch { epoch: 0, challenge: [0; 32], policy_hash: policy().policy_hash };
        Self {
            gateway,
            journal,
            clock,
            deployment,
            directory,
            view,
            epoch,
            key,
            challenge: None,
            heads: HashMap::new(),
            last_sent: Vec::new(),
            last_record: (0, [0; 32]),
            answers: HashMap::new(),
        }
    }

    /// A newer epoch, as the watcher and the announcer would have it.
    async fn advance(&mut self) {
        let number = self.epoch.epoch + 1;
        let (epoch, challenge, policy_hash) = (number, [number as u8; 32], self.epoch.policy_hash);
        let opened = vec![Record::EpochOpened { epoch, challenge, policy_hash }];
        let durable = self.gateway.commit(&mut self.gateway.state(), opened);
        if durable.await.is_err() {
            return;
        }
        self.epoch = Epoch { epoch, challenge, policy_hash };
        let block = u64::from(number) * self.deployment.epoch_len_blocks;
        self.view.send_modify(|view| {
            (view.latest_block, view.safe_block) = (block, block);
            view.epoch = Some(self.epoch);
            view.recent_epochs.push(self.epoch);
            view.policies = vec![Arc::new(policy())];
        });
        self.gateway.announce(self.epoch);
    }

    fn connect(&self) -> Connection {
        let (ours, theirs) = duplex(1 << 20);
        let (reader, writer) = split(theirs);
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let (reader, writer) = (Box::new(reader), Box::new(writer));
        let link = Link { device_id: DEVICE_ID, binding: Binding::Raw, peer, reader, writer };
        let task = tokio::spawn(session::serve(self.gateway.clone(), link));
        let (reader, writer) = split(ours);
        Connection { reader, writer: Some(writer), task, inbox: Vec::new(), beats: 0 }
    }

    async fn step(&mut self, connection: &mut Connection, input: &mut Input<'_>) {
        match input.below(18) {
            // What may leave a frame unfinished ends the connection.
            0 => {
                let len = usize::from(input.u8());
                connection.write(input.take(len)).await;
                self.reconnect(connection).await;
            }
            1 => {
                let frame_type = input.u8();
                let len = usize::from(input.u16() % 600);
                self.send(connection, framed(frame_type, input.take(len))).await;
            }
            2 => self.hello(connection, input).await,
            3 | 4 => self.request(connection, input).await,
            5..=7 => self.answer(connection, input).await,
            8 => self.send(connection, self.last_sent.clone()).await,
            9 => self.charge(connection, input).await,
            10 | 11 => self.measure(connection, input).await,
            12 => self.checkpoint(connection, input).await,
            13 => self.acknowledge_policy(connection, input).await,
            14 => self.reconnect(connection).await,
            15 => self.clock.pass(u64::from(input.u16())),
            16 => self.advance().await,
            _ => self.trouble(input),
        }
        if input.flag() {
            self.listen(connection).await;
        }
    }

    fn trouble(&self, input: &mut Input<'_>) {
        match input.below(8) {
            0 => self.journal.failing.store(true, Ordering::SeqCst),
            1 => {
                let mut directory = (**self.directory.load()).clone();
                directory.devices.values_mut().for_each(|device| device.revoked = true);
                self.directory.store(Arc::new(directory));
            }
            2 => self.view.send_modify(|view| view.latest_block += u64::from(input.u8()) * 20),
            _ => {}
        }
    }

    async fn reconnect(&mut self, connection: &mut Connection) {
        let mut before = std::mem::replace(connection, self.connect());
        before.end(self).await;
    }

    async fn send(&mut self, connection: &mut Connection, bytes: Vec<u8>) {
        connection.write(&bytes).await;
        self.last_sent = bytes;
    }

    async fn hello(&mut self, connection: &mut Connection, input: &mut Input<'_>) {
        let versions: &[u8] = if input.below(8) == 7 { &[0x10] } else { &[frame::VERSION] };
        let hello = Hello {
            versions,
            device_id: if input.below(8) == 7 { [1; 32] } else { DEVICE_ID },
            features: 0,
            max_payload: if input.flag() { 512 } else { input.u16() },
            policy_version: u32::from(input.below(3)),
            epoch: 0,
            resume_token: input.flag().then(|| input.array()),
        };
        self.send(connection, bytes(&hello)).await;
    }

    async fn request(&mut self, connection: &mut Connection, input: &mut Input<'_>) {
        let ephemeral = SigningKey::from_bytes(&[input.below(3) + 1; 32]).expect("a scalar of the curve");
        let dev_eph = ephemeral.public_key();
        let digest = domain(&self.deployment).digest(&challenge_req_hash(&DEVICE_ID, &dev_eph));
        let request = ChallengeReq { device_id: DEVICE_ID, dev_eph, signature: self.key.sign(&digest) };
        self.send(connection, bytes(&request)).await;
        self.listen(connection).await;
    }

    async fn answer(&mut self, connection: &mut Connection, input: &mut Input<'_>) {
        let Some(challenge) = self.challenge else { return };
        let (n, prev_head) = self.place(challenge.epoch, input);
        let l = keccak256(&[&[input.below(3); 32]]);
        let ticket_hash = cip22_wire::digest::ticket_hash(&challenge);
        let stmt = statement::auth(&DEVICE_ID, challenge.epoch, n, &ticket_hash, &l);
        let signature = self.sign(challenge.epoch, n, &prev_head, &stmt, input);
        let response = AuthResp { sid: challenge.sid, n, prev_head, l, signature };
        self.send(connection, bytes(&response)).await;
    }

    /// Mostly the next place of the chain.
    fn place(&self, epoch: u32, input: &mut Input<'_>) -> (u8, [u8; 32]) {
        let newest = self.heads.keys().filter(|(of, _)| *of == epoch).map(|(_, n)| *n).max().unwrap_or(0);
        let n = if input.below(4) == 3 { input.u8() } else { newest.saturating_add(1) };
        let before = n.checked_sub(1).and_then(|n| self.heads.get(&(epoch, n)).copied());
        (n, if input.below(8) == 7 { input.array() } else { before.unwrap_or([0; 32]) })
    }

    fn sign(
        &mut self,
        epoch: u32,
        n: u8,
        prev: &[u8; 32],
        stmt: &[u8; 32],
        input: &mut Input<'_>,
    ) -> [u8; 64] {
        let head = statement::next_head(prev, stmt);
        let Epoch { policy_hash, .. } = self.epoch;
        let challenge = [epoch as u8; 32];
        let signed = Head { group: GROUP, index: INDEX, epoch, challenge, policy_hash, n, head };
        let mut signature = self.key.sign(&domain(&self.deployment).digest(&head_hash(&signed)));
        if input.below(16) == 15 {
            signature[usize::from(input.below(64))] ^= 1;
        } else {
            self.heads.insert((epoch, n), head);
        }
        signature
    }

    async fn charge(&mut self, connection: &mut Connection, input: &mut Input<'_>) {
        let sid = self.challenge.map_or([7; 16], |challenge| challenge.sid);
        let frame = match input.below(3) {
            0 => bytes(&AuthAck { sid, a: [input.below(3); 32] }),
            1 => bytes(&ChargeStatus { sid, wh: input.u32(), minutes: input.u16() }),
            _ => {
                let meter = input.flag().then_some(&b"OCMF"[..]);
                let (wh, minutes, cause) = (input.u32(), input.u16(), input.u8());
                let mut end = ChargeEnd { sid, wh, minutes, cause, meter, signature: [0; 64] };
                let hash = charge_end_hash(&DEVICE_ID, &end);
                end.signature = self.key.sign(&domain(&self.deployment).digest(&hash));
                bytes(&end)
            }
        };
        self.send(connection, frame).await;
    }

    async fn measure(&mut self, connection: &mut Connection, input: &mut Input<'_>) {
        let (seq, fp) = self.last_record;
        let mut record = BattTelem {
            battery: BATTERY,
            segment: [0; 16],
            seq: if input.below(8) == 7 { input.u32() } else { seq.saturating_add(1) },
            time_ms: 1_700_000_000_000 + u64::from(input.u8()),
            voltage_mv: 1,
            current_ma: -1,
            soc_centi_percent: 1,
            temperature_centi_c: -1,
            energy_wh: 1,
            fp: [0; 32],
        };
        record.fp = telemetry::fingerprint(&fp, &record);
        self.last_record = (record.seq, record.fp);
        self.send(connection, bytes(&record)).await;
    }

    async fn checkpoint(&mut self, connection: &mut Connection, input: &mut Input<'_>) {
        if input.below(4) == 3 {
            let battery = if input.flag() { BATTERY } else { [1; 32] };
            let question = TelemHead { battery, seq: None, fp: None, ledger_seq: None, ledger_fp: None };
            return self.send(connection, bytes(&question)).await;
        }
        let epoch = self.epoch.epoch;
        let (n, prev_head) = self.place(epoch, input);
        let (seq, fp) = self.last_record;
        let mut message = TelemCheckpoint {
            epoch,
            n,
            prev_head,
            battery: BATTERY,
            segment: [0; 16],
            seq,
            time_ms: 1_700_000_000_000 + u64::from(input.u8()),
            fp,
            prev_seq: u32::from(input.below(4)),
            prev_fp: [0; 32],
            signature: [0; 64],
        };
        let stmt = statement::checkpoint(&DEVICE_ID, &message);
        message.signature = self.sign(epoch, n, &prev_head, &stmt, input);
        self.send(connection, bytes(&message)).await;
    }

    async fn acknowledge_policy(&mut self, connection: &mut Connection, input: &mut Input<'_>) {
        let Epoch { epoch, policy_hash, .. } = self.epoch;
        let (n, prev_head) = self.place(epoch, input);
        let version = if input.below(4) == 3 { input.u32() } else { 1 };
        let signature = [0; 64];
        let mut message = PolicyAck { epoch, n, prev_head, version, policy_hash, first_epoch: 0, signature };
        let stmt = statement::policy_ack(&DEVICE_ID, &message);
        message.signature = self.sign(epoch, n, &prev_head, &stmt, input);
        self.send(connection, bytes(&message)).await;
    }

    /// Reads up to the answer to a heartbeat: what came before it on the stream has been handled.
    async fn listen(&mut self, connection: &mut Connection) {
        connection.beats += 1;
        let counter = connection.beats;
        connection.write(&bytes(&Heartbeat { counter, time_ms: 0 })).await;
        while let Some(frame) = connection.next().await {
            let parsed = frame::parse(&frame, u16::MAX).expect("a frame").expect("a whole one");
            let message =
                Message::decode(parsed.frame_type, parsed.payload).expect("the relayer's frames decode");
            self.heard(&frame, &message);
            match message {
                Message::Heartbeat(beat) if beat.counter == counter => return,
                Message::Nack(nack) if nack.frame_type == FrameType::Heartbeat.code() => return,
                _ => {}
            }
        }
    }

    /// A frame left the relayer: what it promises is durable.
    fn heard(&mut self, frame: &[u8], message: &Message<'_>) {
        let holds = |what: &dyn Fn(&Record) -> bool| {
            let held = self.journal.records.lock().expect("no panic holds it").iter().any(what);
            assert!(held, "{message:?} left before it was durable");
        };
        match message {
            Message::Epoch(sent) => {
                holds(&|record| matches!(record, Record::EpochOpened { epoch, .. } if *epoch == sent.epoch));
            }
            Message::Challenge(challenge) => {
                let payload = &frame[frame::HEADER_BYTES..frame.len() - 1];
                holds(
                    &|record| matches!(record, Record::TicketIssued { challenge_payload, .. } if challenge_payload == payload),
                );
                self.challenge = Some(*challenge);
            }
            Message::AuthGrant(grant) => {
                holds(&|record| {
                    let Record::Statement(statement) = record else { return false };
                    matches!(&statement.kind, StatementKind::Auth { answer, .. } if answer == frame)
                });
                self.answered(grant.sid, frame);
            }
            Message::AuthDeny(deny) => {
                holds(&|record| matches!(record, Record::Denied { answer, .. } if answer == frame));
                self.answered(deny.sid, frame);
            }
            Message::Ack(ack) if ack.level >= Level::Durable.code() => {
                holds(&|record| match record {
                    Record::AuthAcked { sid, .. } | Record::ChargeEnded { sid, .. } => ack.sid == Some(*sid),
                    Record::Statement(statement) => {
                        (ack.epoch, ack.n) == (Some(statement.epoch), Some(statement.n))
                    }
                    _ => false,
                });
            }
            Message::TelemAck(ack) => holds(&|record| match record {
                Record::Telemetry { payload, .. } => {
                    ack.checkpoint == 0
                        && BattTelem::decode(payload).is_ok_and(|record| record.seq == ack.seq)
                }
                Record::Statement(statement) => {
                    ack.checkpoint == 1
                        && matches!(statement.kind, StatementKind::Checkpoint { seq, .. } if seq == ack.seq)
                }
                _ => false,
            }),
            _ => {}
        }
    }

    fn answered(&mut self, sid: [u8; 16], frame: &[u8]) {
        let before = self.answers.insert(sid, frame.to_vec());
        assert!(before.is_none_or(|before| before == frame), "one ticket got two answers");
    }

    /// No place of a chain is held twice, and the journal adds up to the state.
    fn check(&self) {
        let records = self.journal.records.lock().expect("no panic holds it").clone();
        let mut places = HashMap::new();
        let mut replayed = State::default();
        for record in &records {
            replayed.apply(record);
            if let Record::Statement(statement) = record {
                let place = (statement.group, statement.index, statement.epoch, statement.n);
                assert!(places.insert(place, statement.head).is_none(), "{place:?} is held twice");
            }
        }
        if !self.journal.failing.load(Ordering::SeqCst) {
            assert!(*self.gateway.state() == replayed, "the journal adds up to another state");
        }
    }
}

/// The pile's end of a connection.
struct Connection {
    reader: ReadHalf<DuplexStream>,
    writer: Option<WriteHalf<DuplexStream>>,
    task: JoinHandle<()>,
    inbox: Vec<u8>,
    beats: u32,
}

impl Connection {
    async fn write(&mut self, bytes: &[u8]) {
        if let Some(writer) = &mut self.writer {
            // The relayer may have closed: then the next read says so.
            let _ = writer.write_all(bytes).await;
        }
    }

    /// The next whole frame; `None` once the relayer closed.
    async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let parsed = frame::parse(&self.inbox, u16::MAX).expect("the relayer's frames are sound");
            if let Some(consumed) = parsed.map(|parsed| parsed.consumed) {
                return Some(self.inbox.drain(..consumed).collect());
            }
            let mut chunk = [0; 4_096];
            match self.reader.read(&mut chunk).await {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.inbox.extend_from_slice(&chunk[..count]),
            }
        }
    }

    /// Closes, reads what is still said, and sees the session end without a panic.
    async fn end(&mut self, world: &mut World) {
        if let Some(mut writer) = self.writer.take() {
            let _ = writer.shutdown().await;
        }
        while let Some(frame) = self.next().await {
            let parsed = frame::parse(&frame, u16::MAX).expect("a frame").expect("a whole one");
            let message =
                Message::decode(parsed.frame_type, parsed.payload).expect("the relayer's frames decode");
            world.heard(&frame, &message);
        }
        (&mut self.task).await.expect("the session ends without a panic");
    }
}

/// A journal in memory, which fails when told.
#[derive(Debug, Default)]
struct Memory {
    records: Mutex<Vec<Record>>,
    failing: AtomicBool,
}

impl Journal for Memory {
    fn acquire(&self, _: &str) -> Result<u64, JournalError> {
        Ok(1)
    }

    fn append(&self, _: u64, records: &[Record]) -> Result<Lsn, JournalError> {
        if self.failing.load(Ordering::SeqCst) {
            return Err(JournalError::Write { path: "fuzz".to_owned(), source: "told to fail".into() });
        }
        let mut held = self.records.lock().expect("no panic holds it");
        held.extend_from_slice(records);
        Ok(held.len() as u64)
    }

    fn replay(&self, _: Lsn, _: &mut dyn FnMut(Lsn, Record)) -> Result<(), JournalError> {
        Ok(())
    }

    fn read(&self, _: Lsn, _: usize) -> Result<Vec<(Lsn, Record)>, JournalError> {
        Ok(Vec::new())
    }

    fn truncate(&self, _: u64, _: Lsn, _: usize) -> Result<u64, JournalError> {
        Ok(0)
    }

    fn first(&self) -> Result<Lsn, JournalError> {
        Ok(1)
    }

    fn bytes(&self) -> Result<u64, JournalError> {
        Ok(0)
    }

    fn backup(&self, _: &Path) -> Result<Lsn, JournalError> {
        self.last()
    }

    fn cursor(&self, _: &str) -> Result<u64, JournalError> {
        Ok(0)
    }

    fn set_cursor(&self, _: u64, _: &str, _: u64) -> Result<(), JournalError> {
        Ok(())
    }

    fn lease(&self, _: u64, _: u32, _: u64, until: u64) -> Result<Lease, JournalError> {
        Ok(Lease::Ours { until })
    }

    fn last(&self) -> Result<Lsn, JournalError> {
        Ok(self.records.lock().expect("no panic holds it").len() as u64)
    }
}

#[derive(Debug, Default)]
struct HandClock(AtomicU64);

impl HandClock {
    fn pass(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for HandClock {
    fn unix_ms(&self) -> u64 {
        1_700_000_000_000 + self.monotonic_ms()
    }

    fn monotonic_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    async fn sleep(&self, _: Duration) {
        std::future::pending::<()>().await;
    }
}

fn domain(deployment: &Deployment) -> Domain {
    Domain { chain_id: deployment.chain_id, verifying_contract: deployment.verifier() }
}

fn policy() -> Policy {
    let terms = Terms { currency: *b"CNY", utc_offset_minutes: 480, credit_wh: 1_000, credit_minutes: 60 };
    let period = Period { start_minute: 0, energy_price: 1, service_price: 1 };
    let mut out = [0; 64];
    let len = tariff::encode(&terms, &[period], &mut out).expect("a tariff");
    let tariff = out[..len].to_vec();
    Policy { version: 1, first_epoch: 0, policy_hash: policy_hash(1, 0, &tariff), tariff, signature: [3; 64] }
}

fn bytes<'a>(message: &impl Body<'a>) -> Vec<u8> {
    let mut out = vec![0; 8_200];
    let len = message.encode(&mut out).expect("a message has room");
    out.truncate(len);
    debug_assert_eq!(crc8_itu(&out[..len - 1]), out[len - 1]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kept_scripts_reach_grants_statements_of_every_kind_and_the_end_of_a_charge() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/relayer_session");
        let records = |name: &str| {
            let world = play(&std::fs::read(format!("{folder}/seed-{name}")).unwrap());
            world.journal.records.lock().unwrap().clone()
        };
        let count = |name: &str, what: fn(&Record) -> bool| records(name).iter().filter(|r| what(r)).count();
        let statement = |record: &Record| matches!(record, Record::Statement(_));
        assert_eq!(count("granted", statement), 1);
        assert_eq!(count("repeated", statement), 1, "sent twice, held once");
        assert_eq!(count("ended", |record| matches!(record, Record::ChargeEnded { .. })), 1);
        assert_eq!(count("measured", |record| matches!(record, Record::Telemetry { .. })), 5);
        assert_eq!(count("measured", statement), 1);
        assert_eq!(count("policy", statement), 1);
        assert_eq!(count("later", statement), 2);
    }
}
