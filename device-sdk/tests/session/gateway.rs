//! A gateway for tests: it verifies what the pile signs as protocol §6 and §9 demand, and answers.

use std::collections::HashMap;

use cip22_device_sdk::{
    sign::{SigningKey, address_of, ecdh_x, recover_address},
    wire::{
        Body, FrameType, Level, NackCode,
        body::{Credit, Deny, Grant, SUITE_PLAIN},
        digest::{
            Domain, Head, challenge_req_hash, charge_end_hash, epoch_hash, head_hash, policy_hash,
            ticket_hash,
        },
        keccak256,
        message::{
            Ack, AuthAck, AuthDeny, AuthGrant, AuthResp, BattTelem, Challenge, ChallengeReq, ChargeEnd,
            ChargeStatus, CreditUpdate, Epoch, Heartbeat, HelloAck, Nack, PolicyAck, SetPolicy, TelemAck,
            TelemCheckpoint, TelemHead,
        },
        session_keys::SessionKeys,
        statement,
        tariff::{Period, Terms, encode},
        telemetry::fingerprint,
    },
};

use super::board::{DEVICE_ID, Sent, device_key};

pub(crate) const GROUP: u32 = 7;
pub(crate) const INDEX: u8 = 42;
pub(crate) const CREDIT_WH: u32 = 1_000;
pub(crate) const CREDIT_MINUTES: u16 = 60;

pub(crate) struct Gateway {
    pub(crate) key: SigningKey,
    pub(crate) governance: SigningKey,
    pub(crate) domain: Domain,
    pub(crate) policy_domain: Domain,
    pub(crate) epoch: u32,
    pub(crate) policy: (u32, u32),
    pub(crate) tickets: HashMap<[u8; 16], Issued>,
    /// Every statement: (epoch, n) to its head.
    pub(crate) heads: HashMap<(u32, u8), [u8; 32]>,
    pub(crate) records: Vec<BattTelem>,
    pub(crate) checkpoint: (u32, [u8; 32]),
    pub(crate) ends: Vec<(u32, u16, u8)>,
    tickets_issued: u32,
}

#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) challenge: Challenge,
    pub(crate) hash: [u8; 32],
    pub(crate) keys: SessionKeys,
    pub(crate) l: Option<[u8; 32]>,
    pub(crate) a: Option<[u8; 32]>,
}

impl Gateway {
    pub(crate) fn new() -> Self {
        Self::with_key(0x22)
    }

    pub(crate) fn with_key(byte: u8) -> Self {
        Self {
            key: SigningKey::from_bytes(&[byte; 32]).unwrap(),
            governance: SigningKey::from_bytes(&[0x33; 32]).unwrap(),
            domain: Domain { chain_id: 1_235, verifying_contract: [0xA1; 20] },
            policy_domain: Domain { chain_id: 1_235, verifying_contract: [0xA2; 20] },
            epoch: 0,
            policy: (1, 0),
            tickets: HashMap::new(),
            heads: HashMap::new(),
            records: Vec::new(),
            checkpoint: (0, [0; 32]),
            ends: Vec::new(),
            tickets_issued: 0,
        }
    }

    pub(crate) fn hello_ack(&self) -> Vec<u8> {
        bytes(&self.hello_ack_message())
    }

    pub(crate) fn hello_ack_message(&self) -> HelloAck {
        HelloAck {
            version: 0x20,
            features: 0,
            max_payload: 8_192,
            heartbeat_interval_ms: 30_000,
            group: GROUP,
            index: INDEX,
            time_ms: 1_700_000_000_000,
            resumed: 0,
            resume_token: [9; 16],
        }
    }

    pub(crate) fn policy_hash(&self) -> [u8; 32] {
        policy_hash(self.policy.0, self.policy.1, &tariff(self.policy.0))
    }

    /// SET_POLICY in chunks of 20 bytes.
    pub(crate) fn policy_frames(&self, version: u32, first_epoch: u32) -> Vec<Vec<u8>> {
        self.chunks(version, first_epoch, &tariff(version))
    }

    pub(crate) fn chunks(&self, version: u32, first_epoch: u32, tariff: &[u8]) -> Vec<Vec<u8>> {
        let digest = self.policy_domain.digest(&policy_hash(version, first_epoch, tariff));
        let signature = self.governance.sign(&digest);
        let chunk = |(i, chunk): (usize, &[u8])| {
            bytes(&SetPolicy {
                version,
                first_epoch,
                total_len: tariff.len() as u16,
                offset: (i * 20) as u16,
                chunk,
                signature,
            })
        };
        tariff.chunks(20).enumerate().map(chunk).collect()
    }

    pub(crate) fn epoch_message(&self, epoch: u32) -> Epoch {
        let (challenge, policy_hash) = (challenge_of(epoch), self.policy_hash());
        let hash = epoch_hash(GROUP, epoch, &challenge, &policy_hash);
        let signature = self.key.sign(&self.domain.digest(&hash));
        Epoch { group: GROUP, epoch, challenge, policy_hash, signature }
    }

    /// EPOCH, properly signed after `change`.
    pub(crate) fn epoch_with(&self, epoch: u32, change: impl FnOnce(&mut Epoch)) -> Vec<u8> {
        let mut message = self.epoch_message(epoch);
        change(&mut message);
        let hash = epoch_hash(message.group, message.epoch, &message.challenge, &message.policy_hash);
        message.signature = self.key.sign(&self.domain.digest(&hash));
        bytes(&message)
    }

    pub(crate) fn epoch(&mut self, epoch: u32) -> Vec<u8> {
        self.epoch = epoch;
        bytes(&self.epoch_message(epoch))
    }

    pub(crate) fn challenge(&mut self, request: &ChallengeReq) -> Vec<u8> {
        self.challenge_with(request, |_| ())
    }

    /// A ticket, properly signed after `change`.
    pub(crate) fn challenge_with(
        &mut self,
        request: &ChallengeReq,
        change: impl FnOnce(&mut Challenge),
    ) -> Vec<u8> {
        let digest = self.domain.digest(&challenge_req_hash(&request.device_id, &request.dev_eph));
        assert_eq!(recover_address(&digest, &request.signature), Ok(device_key().address()));
        self.tickets_issued += 1;
        let secret = keccak256(&[&self.key.address(), &self.tickets_issued.to_be_bytes()]);
        let gw_eph = SigningKey::from_bytes(&secret).unwrap();
        let mut challenge = Challenge {
            circuit_version: 0,
            sid: *secret.first_chunk().unwrap(),
            device_id: DEVICE_ID,
            group: GROUP,
            index: INDEX,
            nonce: [5; 32],
            epoch: self.epoch,
            epoch_challenge: challenge_of(self.epoch),
            policy_hash: self.policy_hash(),
            issued: 1_000,
            answer_by: 1_100,
            deadline: 1_160,
            gw_eph: gw_eph.public_key(),
            dev_eph: request.dev_eph,
            h: [0; 32],
            signature: [0; 64],
        };
        change(&mut challenge);
        let hash = ticket_hash(&challenge);
        challenge.signature = self.key.sign(&self.domain.digest(&hash));

        let mut z = [0; 64];
        z[..32].copy_from_slice(&*ecdh_x(&gw_eph, &request.dev_eph).unwrap());
        z[32..].copy_from_slice(&*ecdh_x(&gw_eph, &device_key().public_key()).unwrap());
        let keys = SessionKeys::derive(&z, &challenge.sid);
        assert_eq!(address_of(&device_key().public_key()), Ok(device_key().address()));
        let frame = bytes(&challenge);
        self.tickets.insert(challenge.sid, Issued { challenge, hash, keys, l: None, a: None });
        frame
    }

    /// Checks the statement's signature and its place, and keeps its head.
    fn accept_statement(
        &mut self,
        epoch: u32,
        n: u8,
        prev: &[u8; 32],
        stmt: &[u8; 32],
        signature: &[u8; 64],
    ) {
        let head = statement::next_head(prev, stmt);
        let signed = Head {
            group: GROUP,
            index: INDEX,
            epoch,
            challenge: challenge_of(epoch),
            policy_hash: self.policy_hash(),
            n,
            head,
        };
        let digest = self.domain.digest(&head_hash(&signed));
        assert_eq!(recover_address(&digest, signature), Ok(device_key().address()), "({epoch}, {n})");
        if let Some(before) = self.heads.insert((epoch, n), head) {
            assert_eq!(before, head, "({epoch}, {n}) was signed with another content");
        }
        if let Some(before) = n.checked_sub(1).and_then(|n| self.heads.get(&(epoch, n))) {
            assert_eq!(before, prev);
        }
    }

    pub(crate) fn accept_auth(&mut self, message: &AuthResp) {
        let issued = self.tickets[&message.sid].clone();
        let epoch = issued.challenge.epoch;
        let stmt = statement::auth(&DEVICE_ID, epoch, message.n, &issued.hash, &message.l);
        self.accept_statement(epoch, message.n, &message.prev_head, &stmt, &message.signature);
        let before = self.tickets.get_mut(&message.sid).unwrap().l.replace(message.l);
        assert!(before.is_none_or(|before| before == message.l), "one ticket was answered twice");
    }

    pub(crate) fn grant(&self, sid: [u8; 16], wh: u32, minutes: u16) -> Vec<u8> {
        let mut out = [0; 64];
        let len = Grant { wh, minutes }.encode(&mut out).unwrap();
        let (body, tag) = self.tagged(sid, FrameType::AuthGrant, &out[..len]);
        bytes(&AuthGrant { sid, suite: SUITE_PLAIN, body, tag })
    }

    pub(crate) fn deny(&self, sid: [u8; 16], reason: u8) -> Vec<u8> {
        let mut out = [0; 64];
        let len = Deny { reason }.encode(&mut out).unwrap();
        let (body, tag) = self.tagged(sid, FrameType::AuthDeny, &out[..len]);
        bytes(&AuthDeny { sid, suite: SUITE_PLAIN, body, tag })
    }

    pub(crate) fn credit(&self, sid: [u8; 16], seq: u32, wh: u32, minutes: u16) -> Vec<u8> {
        let mut out = [0; 64];
        let len = Credit { seq, wh, minutes }.encode(&mut out).unwrap();
        let (body, tag) = self.tagged(sid, FrameType::CreditUpdate, &out[..len]);
        bytes(&CreditUpdate { sid, suite: SUITE_PLAIN, body, tag })
    }

    fn tagged<'b>(&self, sid: [u8; 16], frame_type: FrameType, body: &'b [u8]) -> (&'b [u8], [u8; 32]) {
        let issued = &self.tickets[&sid];
        (body, issued.keys.tag(&issued.hash, frame_type, SUITE_PLAIN, body))
    }

    /// What an honest gateway answers.
    pub(crate) fn reply(&mut self, sent: &Sent) -> Vec<Vec<u8>> {
        match sent.frame_type() {
            FrameType::Heartbeat => vec![bytes(&sent.read::<Heartbeat>())],
            FrameType::ChallengeReq => vec![self.challenge(&sent.read())],
            FrameType::AuthResp => {
                let message: AuthResp = sent.read();
                self.accept_auth(&message);
                vec![self.grant(message.sid, CREDIT_WH, CREDIT_MINUTES)]
            }
            FrameType::AuthAck => {
                let message: AuthAck = sent.read();
                let issued = self.tickets.get_mut(&message.sid).unwrap();
                assert_eq!(Some(keccak256(&[&message.a])), issued.l);
                issued.a = Some(message.a);
                vec![ack(FrameType::AuthAck, Level::Durable, Some(message.sid), None)]
            }
            FrameType::ChargeStatus => {
                let message: ChargeStatus = sent.read();
                vec![ack(FrameType::ChargeStatus, Level::Received, Some(message.sid), None)]
            }
            FrameType::ChargeEnd => vec![self.end(sent)],
            FrameType::PolicyAck => vec![self.policy_ack(&sent.read())],
            FrameType::BattTelem => vec![self.record(&sent.read())],
            FrameType::TelemCheckpoint => vec![self.take_checkpoint(&sent.read())],
            FrameType::TelemHead => vec![self.telem_head(sent.read::<TelemHead>().battery)],
            _ => Vec::new(),
        }
    }

    fn end(&mut self, sent: &Sent) -> Vec<u8> {
        let message: ChargeEnd<'_> = sent.read();
        let digest = self.domain.digest(&charge_end_hash(&DEVICE_ID, &message));
        assert_eq!(recover_address(&digest, &message.signature), Ok(device_key().address()));
        self.ends.push((message.wh, message.minutes, message.cause));
        ack(FrameType::ChargeEnd, Level::Durable, Some(message.sid), None)
    }

    fn policy_ack(&mut self, message: &PolicyAck) -> Vec<u8> {
        let stmt = statement::policy_ack(&DEVICE_ID, message);
        self.accept_statement(message.epoch, message.n, &message.prev_head, &stmt, &message.signature);
        ack(FrameType::PolicyAck, Level::Durable, None, Some((message.epoch, message.n)))
    }

    fn record(&mut self, record: &BattTelem) -> Vec<u8> {
        let next = self.records.len() as u32 + 1;
        if record.seq > next {
            return nack(FrameType::BattTelem, NackCode::TelemGap, Some(next), None);
        }
        if record.seq == next {
            let prev = self.records.last().map_or([0; 32], |record| record.fp);
            assert_eq!(record.fp, fingerprint(&prev, record));
            self.records.push(*record);
        }
        telem_ack(record.battery, record.seq, Level::Durable, false)
    }

    fn take_checkpoint(&mut self, message: &TelemCheckpoint) -> Vec<u8> {
        let stmt = statement::checkpoint(&DEVICE_ID, message);
        self.accept_statement(message.epoch, message.n, &message.prev_head, &stmt, &message.signature);
        assert_eq!(self.records[message.seq as usize - 1].fp, message.fp);
        assert_eq!((message.prev_seq, message.prev_fp), self.checkpoint);
        self.checkpoint = (message.seq, message.fp);
        telem_ack(message.battery, message.seq, Level::Durable, true)
    }

    pub(crate) fn telem_head(&self, battery: [u8; 32]) -> Vec<u8> {
        let newest = self.records.last();
        bytes(&TelemHead {
            battery,
            seq: Some(newest.map_or(0, |record| record.seq)),
            fp: Some(newest.map_or([0; 32], |record| record.fp)),
            ledger_seq: Some(self.checkpoint.0),
            ledger_fp: Some(self.checkpoint.1),
        })
    }
}

pub(crate) fn challenge_of(epoch: u32) -> [u8; 32] {
    keccak256(&[b"block", &epoch.to_be_bytes()])
}

pub(crate) fn tariff(version: u32) -> Vec<u8> {
    let terms = Terms {
        currency: *b"CNY",
        utc_offset_minutes: 480,
        credit_wh: CREDIT_WH * 10,
        credit_minutes: CREDIT_MINUTES * 10,
    };
    let period =
        |start_minute| Period { start_minute, energy_price: 500_000 + version, service_price: 100_000 };
    let mut out = [0; 493];
    let len = encode(&terms, &[period(0), period(600), period(1_200)], &mut out).unwrap();
    out[..len].to_vec()
}

pub(crate) fn bytes<'a>(message: &impl Body<'a>) -> Vec<u8> {
    let mut out = [0; 8_200];
    let len = message.encode(&mut out).unwrap();
    out[..len].to_vec()
}

pub(crate) fn ack(
    frame_type: FrameType,
    level: Level,
    sid: Option<[u8; 16]>,
    statement: Option<(u32, u8)>,
) -> Vec<u8> {
    let (epoch, n) = statement.unzip();
    bytes(&Ack { frame_type: frame_type.code(), level: level.code(), sid, epoch, n })
}

pub(crate) fn nack(
    frame_type: FrameType,
    code: NackCode,
    limit: Option<u32>,
    retry_ms: Option<u32>,
) -> Vec<u8> {
    bytes(&Nack { frame_type: frame_type.code(), code: code.code(), field: None, limit, retry_ms })
}

pub(crate) fn telem_ack(battery: [u8; 32], seq: u32, level: Level, checkpoint: bool) -> Vec<u8> {
    bytes(&TelemAck { battery, seq, level: level.code(), checkpoint: u8::from(checkpoint) })
}
