//! A bare pile: frames and signatures by hand, without a session that would keep it from doing wrong.
//!
//! For the scripted misbehaviour and for the load generator; honest piles run on `device-sdk`.

use std::{
    collections::{HashMap, VecDeque},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use cip22_device_sdk::sign::{SigningKey, sign_digest};
use cip22_wire::{
    BatteryId, DeviceId, FrameType, Hash, Message, NackCode, Sid,
    body::Deny,
    digest::{Domain, Head, challenge_req_hash, charge_end_hash, head_hash, policy_hash, ticket_hash},
    frame, keccak256,
    message::{
        AuthAck, AuthDeny, AuthResp, BattTelem, Body, Challenge, ChallengeReq, ChargeEnd, Epoch, Heartbeat,
        Hello, Nack, SetPolicy, TelemHead,
    },
    statement,
    telemetry::fingerprint,
};

use crate::{
    clock::{SystemEntropy, unix_ms},
    deployment::Deployment,
    error::FleetError,
    files::write_state,
    frames::FrameBuffer,
    journal::PileLog,
    link::{Connector, Link},
    manifest::{Pile, hex_bytes, hex_text},
};

/// A frame that came: type and payload, and the bytes it stood in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Type byte.
    pub frame_type: u8,
    /// Payload.
    pub payload: Vec<u8>,
    /// The whole frame.
    pub bytes: Vec<u8>,
}

impl Received {
    /// The NACK it is, if it is one.
    #[must_use]
    pub fn nack(&self) -> Option<Nack> {
        (self.frame_type == FrameType::Nack.code()).then(|| Nack::decode(&self.payload).ok()).flatten()
    }

    /// What it is, for a record of misbehaviour: `AUTH_GRANT`, `AUTH_DENY EXPIRED`, `NACK BAD_CRC`.
    #[must_use]
    pub fn name(&self) -> String {
        if let Some(nack) = self.nack() {
            let code = NackCode::from_u16(nack.code).map_or("of no known code", NackCode::name);
            return format!("NACK {code}");
        }
        let name = FrameType::from_u8(self.frame_type).map_or("a frame of no known type", FrameType::name);
        if self.frame_type == FrameType::AuthDeny.code() {
            let reason = AuthDeny::decode(&self.payload).ok().and_then(|deny| Deny::decode(deny.body).ok());
            let reason = reason.and_then(|deny| cip22_wire::DenyReason::from_u8(deny.reason));
            return format!("{name} {}", reason.map_or("of no known reason", cip22_wire::DenyReason::name));
        }
        name.to_owned()
    }
}

/// A policy the gateway sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownPolicy {
    /// Its version.
    pub version: u32,
    /// Its hash.
    pub hash: Hash,
}

/// A ticket, and the key it was asked with.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    /// The ticket.
    pub challenge: Challenge,
    /// ticketHash.
    pub hash: Hash,
}

/// An answer to a ticket: the frame, and the secret behind its `l`.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Charge.
    pub sid: Sid,
    /// AUTH_RESP, the whole frame.
    pub frame: Vec<u8>,
    /// Preimage of `l`.
    pub a: [u8; 32],
    /// Epoch, n and head that it makes.
    pub position: (u32, u8, Hash),
}

/// One bare pile with at most one connection.
#[derive(Debug)]
pub struct Client {
    /// Who it is.
    pub device_id: DeviceId,
    /// Its battery.
    pub battery: BatteryId,
    /// Its key.
    pub key: SigningKey,
    /// Largest payload the gateway takes.
    pub max_payload: u16,
    /// Group and index.
    pub place: (u32, u8),
    /// Newest EPOCH.
    pub epoch: Option<Epoch>,
    /// Policies the gateway sent, in order.
    pub policies: Vec<KnownPolicy>,
    /// Of each epoch, the newest statement: n and head.
    pub chains: HashMap<u32, (u8, Hash)>,
    connector: Connector,
    domain: Domain,
    policy_bytes: Vec<u8>,
    link: Option<Link>,
    frames: FrameBuffer,
    queue: VecDeque<Received>,
    log: PileLog,
    state: Option<PathBuf>,
    heartbeat_interval: Duration,
    beat_at: Option<tokio::time::Instant>,
    counter: u32,
}

impl Client {
    /// A pile of the fleet; with `state`, it remembers there what it signed.
    ///
    /// # Errors
    /// Its key.
    pub fn new(
        pile: &Pile,
        deployment: &Arc<Deployment>,
        connector: Connector,
        log: PileLog,
        state: Option<PathBuf>,
    ) -> Result<Self, FleetError> {
        let mut client = Self {
            device_id: pile.device_id(),
            battery: pile.battery(),
            key: pile.signing_key()?,
            max_payload: 0,
            place: (0, 0),
            epoch: None,
            policies: Vec::new(),
            chains: HashMap::new(),
            connector,
            domain: deployment.provisioning(pile.device_id()).verifier_domain(),
            policy_bytes: Vec::new(),
            link: None,
            frames: FrameBuffer::default(),
            queue: VecDeque::new(),
            log,
            state,
            heartbeat_interval: Duration::ZERO,
            beat_at: None,
            counter: 0,
        };
        client.load_chain();
        Ok(client)
    }

    /// Connects, without a word.
    ///
    /// # Errors
    /// No connection.
    pub async fn connect(&mut self) -> Result<(), FleetError> {
        self.frames.clear();
        self.queue.clear();
        self.beat_at = None;
        self.link = None;
        self.link = Some(self.connector.connect().await?);
        Ok(())
    }

    /// Connects, says HELLO, and waits for HELLO_ACK and EPOCH.
    ///
    /// # Errors
    /// No connection, or another answer.
    pub async fn open(&mut self) -> Result<(), FleetError> {
        self.connect().await?;
        self.epoch = None;
        self.send(&self.hello()).await?;
        self.expect(|received| received.frame_type == FrameType::HelloAck.code(), ANSWER_TIMEOUT).await?;
        while self.epoch.is_none() {
            self.receive(EPOCH_TIMEOUT).await?;
        }
        Ok(())
    }

    /// HELLO as an honest pile would say it.
    #[must_use]
    pub fn hello(&self) -> Hello<'static> {
        Hello {
            versions: &[frame::VERSION],
            device_id: self.device_id,
            features: 0,
            max_payload: 1_024,
            policy_version: 0,
            epoch: 0,
            resume_token: None,
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn send<'a>(&mut self, message: &impl Body<'a>) -> Result<(), FleetError> {
        let frame = encode(message)?;
        self.send_bytes(&frame).await
    }

    /// Sends any bytes.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), FleetError> {
        self.log.sent(bytes, Instant::now());
        let link = self.link.as_mut().ok_or_else(|| FleetError::Protocol("not connected".to_owned()))?;
        Ok(link.write(bytes).await?)
    }

    /// Closes the connection.
    pub async fn close(&mut self) {
        if let Some(mut link) = self.link.take() {
            // The gateway may have closed it before.
            let _ = link.close().await;
        }
    }

    /// The next frame; pushes (policies, epochs, heartbeats) are noted and given too.
    ///
    /// # Errors
    /// The connection ended, or nothing came within `timeout`.
    pub async fn receive(&mut self, timeout: Duration) -> Result<Received, FleetError> {
        let deadline = tokio::time::Instant::now() + timeout;
        let mut buf = [0; 4_096];
        loop {
            if let Some(received) = self.queue.pop_front() {
                if received.frame_type == FrameType::BatchRoot.code() {
                    // It holds no BLS key; a gateway that knows does not wait for it.
                    let refusal = Nack {
                        frame_type: received.frame_type,
                        code: NackCode::Unsupported.code(),
                        field: None,
                        limit: None,
                        retry_ms: None,
                    };
                    self.send_bytes(&encode(&refusal)?).await?;
                }
                return Ok(received);
            }
            let link = self.link.as_mut().ok_or_else(|| FleetError::Protocol("not connected".to_owned()))?;
            let until = self.beat_at.map_or(deadline, |at| deadline.min(at));
            let Ok(read) = tokio::time::timeout_at(until, link.read(&mut buf)).await else {
                if tokio::time::Instant::now() >= deadline {
                    return Err(FleetError::Protocol(format!("no frame within {} ms", timeout.as_millis())));
                }
                self.beat().await?;
                continue;
            };
            let len = read?;
            if len == 0 {
                self.link = None;
                return Err(FleetError::Protocol("the gateway closed the connection".to_owned()));
            }
            self.frames.extend(buf.get(..len).unwrap_or_default());
            self.take_frames()?;
        }
    }

    /// The next frame that `wanted` takes; others are noted and dropped.
    ///
    /// # Errors
    /// As [`Self::receive`]; a NACK that is not wanted.
    pub async fn expect(
        &mut self,
        wanted: impl Fn(&Received) -> bool,
        timeout: Duration,
    ) -> Result<Received, FleetError> {
        let deadline = Instant::now() + timeout;
        loop {
            let received = self.receive(deadline.saturating_duration_since(Instant::now())).await?;
            if wanted(&received) {
                return Ok(received);
            }
            if received.nack().is_some() {
                return Err(FleetError::Protocol(format!("refused: {}", received.name())));
            }
        }
    }

    /// Waits until the gateway has closed the connection.
    ///
    /// # Errors
    /// It is still open after `timeout`.
    pub async fn expect_close(&mut self, timeout: Duration) -> Result<(), FleetError> {
        let deadline = Instant::now() + timeout;
        while self.link.is_some() {
            match self.receive(deadline.saturating_duration_since(Instant::now())).await {
                Ok(_) => {}
                Err(FleetError::Connection(_)) => return Ok(()),
                Err(_) if self.link.is_none() => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Asks for a ticket.
    ///
    /// # Errors
    /// A refusal, or no answer.
    pub async fn ticket(&mut self) -> Result<Ticket, FleetError> {
        let request = encode(&self.challenge_req()?)?;
        let deadline = Instant::now() + EPOCH_TIMEOUT;
        let types = [FrameType::Challenge, FrameType::Nack].map(FrameType::code);
        let answer = loop {
            self.send_bytes(&request).await?;
            let answer = self.expect(|received| types.contains(&received.frame_type), ANSWER_TIMEOUT).await?;
            match answer.nack() {
                None => break answer,
                // Not ready, as when a new epoch is not announced yet: the same bytes again.
                Some(Nack { retry_ms: Some(ms), .. }) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(u64::from(ms))).await;
                }
                Some(_) => return Err(FleetError::Protocol(format!("refused: {}", answer.name()))),
            }
        };
        let challenge = Challenge::decode(&answer.payload)
            .map_err(|error| FleetError::Protocol(format!("CHALLENGE: {error}")))?;
        Ok(Ticket { challenge, hash: ticket_hash(&challenge) })
    }

    /// A CHALLENGE_REQ.
    ///
    /// # Errors
    /// No random bytes.
    pub fn challenge_req(&self) -> Result<ChallengeReq, FleetError> {
        let dev_eph = SigningKey::random(&mut SystemEntropy)?.public_key();
        let digest = self.domain.digest(&challenge_req_hash(&self.device_id, &dev_eph));
        Ok(ChallengeReq { device_id: self.device_id, dev_eph, signature: sign_digest(&self.key, &digest) })
    }

    /// Answers `ticket` as an honest pile would, without remembering it: see [`Self::commit`].
    ///
    /// # Errors
    /// No random bytes, or no number left in the epoch.
    pub fn answer(&self, ticket: &Ticket) -> Result<Answer, FleetError> {
        self.answer_as(ticket, &self.key, &ticket.challenge.policy_hash)
    }

    /// Answers `ticket` with any key, under any policy.
    ///
    /// # Errors
    /// As [`Self::answer`].
    pub fn answer_as(
        &self,
        ticket: &Ticket,
        key: &SigningKey,
        policy_hash: &Hash,
    ) -> Result<Answer, FleetError> {
        let Challenge { sid, group, index, epoch, epoch_challenge, .. } = ticket.challenge;
        let (before, prev_head) = self.chains.get(&epoch).copied().unwrap_or((0, statement::FIRST_HEAD));
        let n = before
            .checked_add(1)
            .ok_or_else(|| FleetError::Protocol(format!("epoch {epoch} has no number left")))?;
        let mut a = [0; 32];
        getrandom::fill(&mut a)?;
        let l = keccak256(&[&a]);
        let stmt = statement::auth(&self.device_id, epoch, n, &ticket.hash, &l);
        let head = statement::next_head(&prev_head, &stmt);
        let signed =
            Head { group, index, epoch, challenge: epoch_challenge, policy_hash: *policy_hash, n, head };
        let signature = sign_digest(key, &self.domain.digest(&head_hash(&signed)));
        let frame = encode(&AuthResp { sid, n, prev_head, l, signature })?;
        Ok(Answer { sid, frame, a, position: (epoch, n, head) })
    }

    /// The statement of `answer` stands: what is signed next comes after it.
    pub fn commit(&mut self, answer: &Answer) {
        let (epoch, n, head) = answer.position;
        self.chains.insert(epoch, (n, head));
        self.store_chain();
    }

    /// AUTH_ACK and CHARGE_END of a granted charge, whole frames.
    ///
    /// # Errors
    /// Never in practice: the frames have fixed lengths.
    pub fn end_of(&self, answer: &Answer) -> Result<Vec<u8>, FleetError> {
        let mut frames = encode(&AuthAck { sid: answer.sid, a: answer.a })?;
        let mut end =
            ChargeEnd { sid: answer.sid, wh: 0, minutes: 0, cause: 1, meter: None, signature: [0; 64] };
        end.signature = sign_digest(&self.key, &self.domain.digest(&charge_end_hash(&self.device_id, &end)));
        frames.extend(encode(&end)?);
        Ok(frames)
    }

    /// Ends a granted charge and waits for both acknowledgements.
    ///
    /// # Errors
    /// As [`Self::expect`].
    pub async fn end(&mut self, answer: &Answer) -> Result<(), FleetError> {
        let frames = self.end_of(answer)?;
        // One write a frame keeps the log's view of them.
        let first = frame::parse(&frames, u16::MAX).ok().flatten().map_or(0, |parsed| parsed.consumed);
        let (ack, end) = frames.split_at(first);
        self.send_bytes(ack).await?;
        self.send_bytes(end).await?;
        for frame_type in [FrameType::AuthAck, FrameType::ChargeEnd] {
            let of = move |received: &Received| {
                matches!(
                    Message::decode(received.frame_type, &received.payload),
                    Ok(Message::Ack(ack)) if ack.frame_type == frame_type.code()
                )
            };
            self.expect(of, ANSWER_TIMEOUT).await?;
        }
        Ok(())
    }

    /// Asks for the battery's newest durable record: seq and fp.
    ///
    /// # Errors
    /// As [`Self::expect`].
    pub async fn battery_head(&mut self) -> Result<(u32, Hash), FleetError> {
        let battery = self.battery;
        self.send(&TelemHead { battery, seq: None, fp: None, ledger_seq: None, ledger_fp: None }).await?;
        let answer = self
            .expect(|received| received.frame_type == FrameType::TelemHead.code(), ANSWER_TIMEOUT)
            .await?;
        let head = TelemHead::decode(&answer.payload)
            .map_err(|error| FleetError::Protocol(format!("TELEM_HEAD: {error}")))?;
        Ok((head.seq.unwrap_or_default(), head.fp.unwrap_or_default()))
    }

    /// A battery record `seq` after fingerprint `prev`.
    #[must_use]
    pub fn record(&self, seq: u32, prev: &Hash) -> BattTelem {
        let mut record = BattTelem {
            battery: self.battery,
            segment: [0; 16],
            seq,
            time_ms: unix_ms(),
            voltage_mv: 350_000,
            current_ma: 0,
            soc_centi_percent: 5_000,
            temperature_centi_c: 2_000,
            energy_wh: 0,
            fp: [0; 32],
        };
        record.fp = fingerprint(prev, &record);
        record
    }

    /// Sends a frame and names what answers it: a NACK of its type, AUTH_GRANT or AUTH_DENY.
    ///
    /// # Errors
    /// As [`Self::receive`].
    pub async fn answer_to(&mut self, frame: &[u8]) -> Result<Received, FleetError> {
        self.send_bytes(frame).await?;
        let types = [FrameType::AuthGrant, FrameType::AuthDeny, FrameType::Nack].map(FrameType::code);
        self.expect(|received| types.contains(&received.frame_type), ANSWER_TIMEOUT).await
    }

    /// Gives the connection away.
    pub fn take_link(&mut self) -> Option<Link> {
        self.link.take()
    }

    /// Interval of HELLO_ACK.
    #[must_use]
    pub fn heartbeat_interval(&self) -> Duration {
        self.heartbeat_interval
    }

    /// The next HEARTBEAT, a whole frame.
    ///
    /// # Errors
    /// Never in practice: it has a fixed length.
    pub fn heartbeat(&mut self) -> Result<Vec<u8>, FleetError> {
        self.counter = self.counter.wrapping_add(1);
        encode(&Heartbeat { counter: self.counter, time_ms: unix_ms() })
    }

    /// The log, for events of the caller.
    pub fn log(&mut self) -> &mut PileLog {
        &mut self.log
    }

    /// Keeps the session from being taken for lost.
    async fn beat(&mut self) -> Result<(), FleetError> {
        self.beat_at = Some(tokio::time::Instant::now() + self.heartbeat_interval);
        let frame = self.heartbeat()?;
        self.send_bytes(&frame).await
    }

    fn take_frames(&mut self) -> Result<(), FleetError> {
        let at = Instant::now();
        loop {
            let next = self.frames.next_frame();
            let next = next.map_err(|error| FleetError::Protocol(format!("from the gateway: {error}")))?;
            let Some((frame_type, payload, bytes)) = next else { return Ok(()) };
            let received = Received { frame_type, payload: payload.to_vec(), bytes: bytes.to_vec() };
            self.log.received(frame_type, &received.payload, at);
            self.note(&received);
            self.queue.push_back(received);
        }
    }

    fn note(&mut self, received: &Received) {
        match Message::decode(received.frame_type, &received.payload) {
            Ok(Message::HelloAck(ack)) => {
                self.max_payload = ack.max_payload;
                self.place = (ack.group, ack.index);
                self.heartbeat_interval = Duration::from_millis(u64::from(ack.heartbeat_interval_ms.max(1)));
                self.beat_at = Some(tokio::time::Instant::now() + self.heartbeat_interval);
            }
            Ok(Message::Epoch(epoch)) => self.epoch = Some(epoch),
            Ok(Message::SetPolicy(chunk)) => self.note_policy(&chunk),
            _ => {}
        }
    }

    fn note_policy(&mut self, chunk: &SetPolicy<'_>) {
        if chunk.offset == 0 {
            self.policy_bytes.clear();
        }
        self.policy_bytes.extend_from_slice(chunk.chunk);
        if self.policy_bytes.len() == usize::from(chunk.total_len) {
            let hash = policy_hash(chunk.version, chunk.first_epoch, &self.policy_bytes);
            let policy = KnownPolicy { version: chunk.version, hash };
            if !self.policies.contains(&policy) {
                self.policies.push(policy);
            }
        }
    }

    fn load_chain(&mut self) {
        let Some(text) = self.state.as_ref().and_then(|path| std::fs::read_to_string(path).ok()) else {
            return;
        };
        let entries: HashMap<u32, (u8, String)> = serde_json::from_str(&text).unwrap_or_default();
        self.chains = entries
            .into_iter()
            .filter_map(|(epoch, (n, head))| Some((epoch, (n, hex_bytes(&head).ok()?))))
            .collect();
    }

    fn store_chain(&self) {
        let Some(path) = &self.state else { return };
        let entries: HashMap<u32, (u8, String)> =
            self.chains.iter().map(|(epoch, (n, head))| (*epoch, (*n, hex_text(head)))).collect();
        let written = serde_json::to_vec(&entries)
            .map_err(|error| FleetError::content(path, error))
            .and_then(|bytes| write_state(path, &bytes));
        if let Err(error) = written {
            eprintln!("{error}");
        }
    }
}

/// The whole frame of a message.
///
/// # Errors
/// A byte string is too long.
pub fn encode<'a>(message: &impl Body<'a>) -> Result<Vec<u8>, FleetError> {
    let mut frame = vec![0; 8 * 1_024];
    let len = message.encode(&mut frame).map_err(|error| FleetError::Protocol(error.to_string()))?;
    frame.truncate(len);
    Ok(frame)
}

/// Longest wait for an answer.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
const EPOCH_TIMEOUT: Duration = Duration::from_secs(60);
