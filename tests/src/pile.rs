//! A pile that does as a scenario tells it, right or wrong. It knows the wire and signs by hand; it is not the SDK.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cip22_device_sdk::sign::{SigningKey, ecdh_x};
use cip22_relayer::deployment::Deployment;
use cip22_relayer::edge::tls::Credentials;
use cip22_wire::digest::{self, Domain, Head};
use cip22_wire::message::{
    AuthAck, AuthFinal, AuthGrant, AuthResp, BattTelem, Body, Challenge, ChallengeReq, ChargeEnd, Epoch,
    Hello, HelloAck, PolicyAck, SetPolicy, TelemCheckpoint,
};
use cip22_wire::sealed::FEATURE_SEALED_BODIES;
use cip22_wire::session_keys::SessionKeys;
use cip22_wire::{FrameType, Hash, Level, Message, NackCode, Sid, frame, keccak256, statement, telemetry};
use rustls::pki_types::ServerName;
use rustls_shangmi::Pairing;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::co_sign::Closed;
use crate::world::PileEntry;

/// A scripted pile.
pub struct Pile {
    /// Its entry in the manifest.
    pub entry: PileEntry,
    /// Its device id.
    pub device_id: Hash,
    /// Its battery.
    pub battery: Hash,
    /// Its identity key.
    pub key: SigningKey,
    /// Certificate and key files, and the root.
    pub certificate: PathBuf,
    certificate_key: PathBuf,
    root: PathBuf,
    pairing: Pairing,
    domain: Domain,
    /// What HELLO_ACK said.
    pub place: Option<HelloAck>,
    /// The open epoch.
    pub epoch: Option<Epoch>,
    /// Newest policy that was pushed: version, first epoch, hash.
    pub policies: Vec<(u32, u32, Hash)>,
    policy_bytes: Vec<u8>,
    /// n and head of the last statement in the open epoch.
    pub chain: (u8, Hash),
    /// The epochs that newer ones closed, with the last statement in each.
    pub closed: Vec<Closed>,
    /// Epoch, n and head of the last AUTH_RESP. An EPOCH that comes meanwhile does not change it.
    pub answered: (u32, u8, Hash),
    /// Newest telemetry record: seq and fingerprint.
    pub record: (u32, Hash),
    /// Newest checkpoint.
    pub checkpoint: (u32, Hash),
    /// Bits of HELLO.
    pub features: u32,
    /// Every frame that came, whatever connection, if they are kept.
    pub received: Option<Vec<(u8, Vec<u8>)>>,
    link: Option<TlsStream<TcpStream>>,
    inbox: Vec<u8>,
    waiting: VecDeque<(u8, Vec<u8>)>,
}

impl std::fmt::Debug for Pile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pile").field("name", &self.entry.name).finish_non_exhaustive()
    }
}

/// A ticket with what is needed to answer it.
#[derive(Debug)]
pub struct Ticket {
    /// The ticket.
    pub challenge: Challenge,
    eph: SigningKey,
}

/// An AUTH_RESP and the secret behind its commitment.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// The message.
    pub response: AuthResp,
    /// Preimage of `l`.
    pub a: Hash,
}

impl Pile {
    /// A pile of the manifest in `fleet`.
    pub fn new(entry: &PileEntry, fleet: &Path, deployment: &Deployment) -> Self {
        let (pairing, root) = match entry.pairing.as_deref() {
            Some("shangmi") => (Pairing::ShangMi, "pki/sm2-root.pem"),
            _ => (Pairing::Standard, "pki/root.pem"),
        };
        Self {
            device_id: hash(&entry.device_id),
            battery: hash(&entry.battery),
            key: SigningKey::from_bytes(&hash(&entry.key)).expect("a valid key"),
            certificate: fleet.join(&entry.certificate),
            certificate_key: fleet.join(&entry.certificate_key),
            root: fleet.join(root),
            pairing,
            domain: Domain { chain_id: deployment.chain_id, verifying_contract: deployment.verifier() },
            entry: entry.clone(),
            place: None,
            epoch: None,
            policies: Vec::new(),
            policy_bytes: Vec::new(),
            chain: (0, [0; 32]),
            closed: Vec::new(),
            answered: (0, 0, [0; 32]),
            record: (0, [0; 32]),
            checkpoint: (0, [0; 32]),
            features: 0,
            received: None,
            link: None,
            inbox: Vec::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Provisioned for suite 1, and keeping every frame that comes.
    pub fn sealing(self) -> Self {
        Self { features: FEATURE_SEALED_BODIES, received: Some(Vec::new()), ..self }
    }

    /// The verifier's domain.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// TLS client configuration with this pile's certificate, of its pairing.
    pub fn tls(&self, alpn: &[u8]) -> rustls::ClientConfig {
        let read = |path: &Path| std::fs::read(path).expect("a PEM file");
        let (root, chain, key) = (read(&self.root), read(&self.certificate), read(&self.certificate_key));
        let credentials = Credentials::from_pem(self.pairing, &root, &chain, &key).expect("PEM");
        let client = credentials.client(Some(alpn)).expect("a usable certificate");
        rustls::ClientConfig::clone(client.config())
    }

    /// Connects as raw TLS.
    pub async fn connect(&mut self, address: SocketAddr) {
        self.try_connect(address).await.expect("the gateway takes the connection");
    }

    /// Connects, or says why not. With TLS 1.3 a refused certificate shows at the first read.
    pub async fn try_connect(&mut self, address: SocketAddr) -> std::io::Result<()> {
        let stream = tls_stream(address, self.tls(b"cip22/2")).await?;
        self.link = Some(stream);
        self.inbox.clear();
        self.waiting.clear();
        Ok(())
    }

    /// Closes the connection without a word.
    pub fn drop_link(&mut self) {
        self.link = None;
    }

    /// Takes the connection out, to do with it what no pile does.
    pub fn take_link(&mut self) -> TlsStream<TcpStream> {
        self.link.take().expect("connected")
    }

    /// Sends bytes as they are.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        let link = self.link.as_mut().expect("connected");
        link.write_all(bytes).await.expect("the connection stands");
        link.flush().await.expect("the connection stands");
    }

    /// Sends a message.
    pub async fn send<'a>(&mut self, message: &impl Body<'a>) {
        self.send_bytes(&whole_frame(message)).await;
    }

    /// Sends a message, unless the connection has ended.
    pub async fn try_send<'a>(&mut self, message: &impl Body<'a>) -> std::io::Result<()> {
        let link = self.link.as_mut().expect("connected");
        link.write_all(&whole_frame(message)).await?;
        link.flush().await
    }

    /// The next frame, whatever it is; `None` at the end of the connection.
    pub async fn next_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some(parsed) =
                frame::parse(&self.inbox, u16::MAX).expect("the gateway's frames are well formed")
            {
                let found = (parsed.frame_type, parsed.payload.to_vec());
                let consumed = parsed.consumed;
                self.inbox.drain(..consumed);
                if let Some(received) = &mut self.received {
                    received.push(found.clone());
                }
                return Some(found);
            }
            let mut buffer = [0; 4096];
            match self.link.as_mut().expect("connected").read(&mut buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.inbox.extend_from_slice(&buffer[..count]),
            }
        }
    }

    /// The next frame of one of these types; others are kept, policies and epochs are noted.
    pub async fn expect(&mut self, types: &[FrameType]) -> (FrameType, Vec<u8>) {
        let found = self.try_expect(types).await;
        found.unwrap_or_else(|| {
            panic!("{}: the connection ended while {types:?} was awaited", self.entry.name)
        })
    }

    /// As [`expect`](Self::expect); `None` at the end of the connection.
    pub async fn try_expect(&mut self, types: &[FrameType]) -> Option<(FrameType, Vec<u8>)> {
        if let Some(at) = self.waiting.iter().position(|(found, _)| wanted(*found, types)) {
            let (found, payload) = self.waiting.remove(at).expect("just found");
            return Some((FrameType::from_u8(found).expect("a known type"), payload));
        }
        loop {
            let (found, payload) = self.next_frame().await?;
            self.note(found, &payload);
            if wanted(found, types) {
                return Some((FrameType::from_u8(found).expect("a known type"), payload));
            }
            self.waiting.push_back((found, payload));
        }
    }

    /// Frames of a type that came while another was awaited.
    pub fn kept(&self, frame_type: FrameType) -> Vec<&[u8]> {
        let of_type = self.waiting.iter().filter(|(found, _)| *found == frame_type.code());
        of_type.map(|(_, payload)| payload.as_slice()).collect()
    }

    /// Expects a NACK; returns its code.
    pub async fn expect_nack(&mut self) -> NackCode {
        let (_, payload) = self.expect(&[FrameType::Nack]).await;
        let nack = cip22_wire::message::Nack::decode(&payload).expect("a NACK");
        NackCode::from_u16(nack.code).expect("a known code")
    }

    /// HELLO, then everything up to an open epoch.
    pub async fn open(&mut self) {
        self.hello().await;
        while self.epoch.is_none() {
            self.expect(&[FrameType::Epoch]).await;
        }
    }

    /// HELLO and HELLO_ACK.
    pub async fn hello(&mut self) {
        let hello = self.hello_message();
        self.send(&hello).await;
        let (_, payload) = self.expect(&[FrameType::HelloAck]).await;
        self.place = Some(HelloAck::decode(&payload).expect("HELLO_ACK"));
    }

    /// A HELLO that knows nothing yet.
    pub fn hello_message(&self) -> Hello<'static> {
        Hello {
            versions: &[0x20],
            device_id: self.device_id,
            features: self.features,
            max_payload: 512,
            policy_version: 0,
            epoch: 0,
            resume_token: None,
        }
    }

    /// A CHALLENGE_REQ for a fresh ephemeral key.
    pub fn challenge_request(&self) -> (ChallengeReq, SigningKey) {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).expect("randomness");
        secret[0] = 1;
        let eph = SigningKey::from_bytes(&secret).expect("a valid key");
        let dev_eph = eph.public_key();
        let digest = self.domain.digest(&digest::challenge_req_hash(&self.device_id, &dev_eph));
        (ChallengeReq { device_id: self.device_id, dev_eph, signature: self.key.sign(&digest) }, eph)
    }

    /// Asks for a ticket in the open epoch.
    pub async fn ticket(&mut self) -> Ticket {
        let (request, eph) = self.challenge_request();
        self.ticket_for(&request, eph).await
    }

    /// Sends this request until its ticket is of the open epoch: an advance may cross a ticket on its way (protocol §6).
    pub async fn ticket_for(&mut self, request: &ChallengeReq, eph: SigningKey) -> Ticket {
        loop {
            self.send(request).await;
            let (_, payload) = self.expect(&[FrameType::Challenge]).await;
            let challenge = Challenge::decode(&payload).expect("a ticket");
            let open = self.epoch.as_ref().expect("an epoch was announced").epoch;
            assert!(challenge.epoch <= open, "a ticket came before the EPOCH that it names");
            if challenge.epoch == open {
                return Ticket { challenge, eph };
            }
        }
    }

    /// A ticket that came another way, for the key that asked.
    pub fn ticket_of(&self, challenge: Challenge, eph: SigningKey) -> Ticket {
        Ticket { challenge, eph }
    }

    /// The right answer to a ticket, as the next statement of the open epoch.
    pub fn answer(&mut self, ticket: &Ticket) -> Answer {
        let policy_hash = ticket.challenge.policy_hash;
        self.answer_under(ticket, &policy_hash)
    }

    /// An answer that signs under another policy.
    pub fn answer_under(&mut self, ticket: &Ticket, policy_hash: &Hash) -> Answer {
        let mut a = [0; 32];
        getrandom::fill(&mut a).expect("randomness");
        let (n, prev_head) = (self.chain.0 + 1, self.chain.1);
        let l = keccak256(&[&a]);
        let ticket_hash = digest::ticket_hash(&ticket.challenge);
        let stmt = statement::auth(&self.device_id, ticket.challenge.epoch, n, &ticket_hash, &l);
        let head = statement::next_head(&prev_head, &stmt);
        let signature =
            self.sign_head(ticket.challenge.epoch, &ticket.challenge.epoch_challenge, policy_hash, n, head);
        self.chain = (n, head);
        self.answered = (ticket.challenge.epoch, n, head);
        Answer { response: AuthResp { sid: ticket.challenge.sid, n, prev_head, l, signature }, a }
    }

    /// Ticket, answer, grant with its tag verified, AUTH_ACK: the whole authorization. Returns the sid.
    pub async fn authorize(&mut self) -> Sid {
        let ticket = self.ticket().await;
        let answer = self.answer(&ticket);
        self.send(&answer.response).await;
        self.expect_grant(&ticket).await;
        self.send(&AuthAck { sid: answer.response.sid, a: answer.a }).await;
        self.expect(&[FrameType::Ack]).await;
        answer.response.sid
    }

    /// Expects AUTH_FINAL with level SAFE; returns its sid.
    pub async fn expect_safe(&mut self) -> Sid {
        let (_, payload) = self.expect(&[FrameType::AuthFinal]).await;
        let told = AuthFinal::decode(&payload).expect("AUTH_FINAL");
        assert_eq!(told.level, Level::Safe.code());
        told.sid
    }

    /// Expects AUTH_GRANT and verifies its tag; returns the frame's payload.
    pub async fn expect_grant(&mut self, ticket: &Ticket) -> Vec<u8> {
        let (found, payload) =
            self.expect(&[FrameType::AuthGrant, FrameType::AuthDeny, FrameType::Nack]).await;
        assert_eq!(found, FrameType::AuthGrant, "{:?}", Message::decode(found.code(), &payload));
        let grant = AuthGrant::decode(&payload).expect("a grant");
        let keys = self.session_keys(ticket);
        let ticket_hash = digest::ticket_hash(&ticket.challenge);
        assert!(
            keys.verify_tag(&ticket_hash, FrameType::AuthGrant, grant.suite, grant.body, &grant.tag),
            "tag"
        );
        payload
    }

    /// The keys of a ticket, from the pile's two secrets.
    pub fn session_keys(&self, ticket: &Ticket) -> SessionKeys {
        let mut z = [0; 64];
        z[..32].copy_from_slice(&ecdh_x(&ticket.eph, &ticket.challenge.gw_eph).expect("a point")[..]);
        z[32..].copy_from_slice(&ecdh_x(&self.key, &ticket.challenge.gw_eph).expect("a point")[..]);
        SessionKeys::derive(&z, &ticket.challenge.sid)
    }

    /// Ends a charge and waits for its ACK.
    pub async fn end_charge(&mut self, sid: Sid) {
        self.send_charge_end(sid).await;
        self.expect(&[FrameType::Ack]).await;
    }

    /// Sends CHARGE_END.
    pub async fn send_charge_end(&mut self, sid: Sid) {
        let mut end = ChargeEnd { sid, wh: 1_000, minutes: 5, cause: 1, meter: None, signature: [0; 64] };
        end.signature = self.key.sign(&self.domain.digest(&digest::charge_end_hash(&self.device_id, &end)));
        self.send(&end).await;
    }

    /// The next telemetry record of the battery.
    pub fn next_record(&mut self, segment: Sid) -> BattTelem {
        let mut record = BattTelem {
            battery: self.battery,
            segment,
            seq: self.record.0 + 1,
            time_ms: 1_700_000_000_000 + u64::from(self.record.0) * 1_000,
            voltage_mv: 52_000,
            current_ma: 4_000,
            soc_centi_percent: 4_200,
            temperature_centi_c: 2_150,
            energy_wh: 10,
            fp: [0; 32],
        };
        record.fp = telemetry::fingerprint(&self.record.1, &record);
        self.record = (record.seq, record.fp);
        record
    }

    /// A checkpoint at `record`, as the next statement of the open epoch.
    pub fn checkpoint_at(&mut self, record: &BattTelem) -> TelemCheckpoint {
        let epoch = self.epoch.expect("an open epoch");
        let mut checkpoint = TelemCheckpoint {
            epoch: epoch.epoch,
            n: self.chain.0 + 1,
            prev_head: self.chain.1,
            battery: record.battery,
            segment: record.segment,
            seq: record.seq,
            time_ms: record.time_ms,
            fp: record.fp,
            prev_seq: self.checkpoint.0,
            prev_fp: self.checkpoint.1,
            signature: [0; 64],
        };
        let stmt = statement::checkpoint(&self.device_id, &checkpoint);
        let head = statement::next_head(&self.chain.1, &stmt);
        checkpoint.signature =
            self.sign_head(epoch.epoch, &epoch.challenge, &epoch.policy_hash, checkpoint.n, head);
        self.chain = (checkpoint.n, head);
        self.checkpoint = (record.seq, record.fp);
        checkpoint
    }

    /// POLICY_ACK for a policy that was pushed, as the next statement of the open epoch.
    pub fn policy_ack(&mut self, version: u32, first_epoch: u32, policy_hash: Hash) -> PolicyAck {
        let epoch = self.epoch.expect("an open epoch");
        let mut ack = PolicyAck {
            epoch: epoch.epoch,
            n: self.chain.0 + 1,
            prev_head: self.chain.1,
            version,
            policy_hash,
            first_epoch,
            signature: [0; 64],
        };
        let stmt = statement::policy_ack(&self.device_id, &ack);
        let head = statement::next_head(&self.chain.1, &stmt);
        ack.signature = self.sign_head(epoch.epoch, &epoch.challenge, &epoch.policy_hash, ack.n, head);
        self.chain = (ack.n, head);
        ack
    }

    /// The 98 bytes of a record for this pile: index, n, head, signature.
    pub fn record_bytes(&self, epoch: &Epoch, n: u8, head: Hash) -> Vec<u8> {
        let signature = self.sign_head(epoch.epoch, &epoch.challenge, &epoch.policy_hash, n, head);
        let index = self.place.expect("greeted").index;
        [&[index, n][..], &head, &signature].concat()
    }

    /// Signs Head in the verifier's domain.
    pub fn sign_head(&self, epoch: u32, challenge: &Hash, policy_hash: &Hash, n: u8, head: Hash) -> [u8; 64] {
        let place = self.place.expect("greeted");
        let head = Head {
            group: place.group,
            index: place.index,
            epoch,
            challenge: *challenge,
            policy_hash: *policy_hash,
            n,
            head,
        };
        self.key.sign(&self.domain.digest(&digest::head_hash(&head)))
    }

    fn note(&mut self, frame_type: u8, payload: &[u8]) {
        match Message::decode(frame_type, payload).expect("the gateway's messages decode") {
            Message::Epoch(epoch) => self.note_epoch(epoch),
            Message::SetPolicy(set) => self.note_policy(&set),
            _ => {}
        }
    }

    /// The open one again, as after a reconnect, changes nothing.
    fn note_epoch(&mut self, epoch: Epoch) {
        let Some(before) = self.epoch.replace(epoch).filter(|before| before.epoch < epoch.epoch) else {
            return;
        };
        let (n, head) = std::mem::take(&mut self.chain);
        if n > 0 {
            self.closed.push(Closed { epoch: before, n, head });
        }
    }

    fn note_policy(&mut self, set: &SetPolicy<'_>) {
        if set.offset == 0 {
            self.policy_bytes.clear();
        }
        self.policy_bytes.extend_from_slice(set.chunk);
        if self.policy_bytes.len() == usize::from(set.total_len) {
            let policy_hash = digest::policy_hash(set.version, set.first_epoch, &self.policy_bytes);
            self.policies.push((set.version, set.first_epoch, policy_hash));
        }
    }
}

/// A TLS connection to the gateway.
#[allow(clippy::disallowed_methods, reason = "scenarios work on real sockets")]
pub async fn tls_stream(
    address: SocketAddr,
    config: rustls::ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// The bytes of a message's frame.
pub fn whole_frame<'a>(message: &impl Body<'a>) -> Vec<u8> {
    let mut bytes = vec![0; 8 * 1024];
    let length = message.encode(&mut bytes).expect("the message fits");
    bytes.truncate(length);
    bytes
}

/// 32 bytes from 0x hex.
pub fn hash(text: &str) -> Hash {
    let bytes = hex::decode(text.trim_start_matches("0x")).expect("hex");
    bytes.try_into().expect("32 bytes")
}

fn wanted(found: u8, types: &[FrameType]) -> bool {
    types.iter().any(|wanted| wanted.code() == found)
}
