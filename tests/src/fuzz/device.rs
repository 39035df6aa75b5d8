//! The pile's session among arbitrary bytes, arbitrary signed frames of its gateway, failures of its board, and commands in any order.

use std::collections::{HashMap, HashSet};

use cip22_device_sdk::bls::BlsKey;
use cip22_device_sdk::wire::message::{
    Ack, AuthAck, AuthResp, AuthRevoke, BatchRoot, BatchSig, BattTelem, Challenge, ChallengeReq, ChargeEnd,
    Hello, LeafReq, PolicyAck, TelemCheckpoint, TelemHead,
};
use cip22_device_sdk::wire::{
    EndCause, FrameType, Hash, Level, NackCode, batch_tree, digest, keccak256, statement,
};
use cip22_device_sdk::{Event, FRAME_BYTES_MAX, Provisioning, Sample, Session, Settings, Slot, Workspace};

use super::board::{Counter, DEVICE_ID, Failing, Flash, HandClock, Sent, device_key};
use super::gateway::{GROUP, Gateway, INDEX, ack, bytes, challenge_of, nack, tariff, telem_ack};
use super::input::{Input, framed};

type Pile<'w> = Session<'w, Flash, HandClock, Counter>;

/// Every step draws at least a byte; the longest inputs are cut to this many.
const STEPS_MAX: usize = 400;
/// Frames that a pile with nothing new to say may still send.
const OUTPUTS_MAX: usize = 200;
/// Steps that came after the corpus was begun, so they stand in the place of some power cuts.
const OFFER: u8 = 47;
const REQUEST: u8 = 71;

/// Records as flash that decayed might give them: an error or a session, never a panic.
pub(crate) fn records(data: &[u8]) {
    let mut input = Input::new(data);
    let flash = Flash::default();
    for slot in Slot::ALL {
        let len = usize::from(input.u16() % 600);
        flash.put(slot, input.take(len));
    }
    let gateway = Gateway::new();
    let mut workspace = Workspace::new();
    let settings = Settings::default();
    let (clock, entropy) = (HandClock::default(), Counter::default());
    let Ok(mut pile) =
        Session::new(provisioning(&gateway), settings, device_key(), flash, clock, entropy, &mut workspace)
    else {
        return;
    };
    pile.connected(gateway.key.address());
    let _ = pile.handle_input(&gateway.hello_ack());
    let _ = pile.tariff(pile.epoch(), &mut [0; 493]);
    while pile.poll_output(&mut [0; FRAME_BYTES_MAX]).is_some() {}
    while pile.poll_event().is_some() {}
}

/// A script of steps, drawn from the input.
pub(crate) fn session(data: &[u8]) {
    let _ = play(data);
}

fn play(data: &[u8]) -> World {
    let mut input = Input::new(data);
    let mut world = World::new();
    let mut steps = 0;
    while !input.is_empty() && steps < STEPS_MAX {
        let mut workspace = Workspace::new();
        let mut pile = world.power_on(&mut workspace);
        while !input.is_empty() && steps < STEPS_MAX {
            steps += 1;
            if !world.step(&mut pile, &mut input) {
                break;
            }
        }
    }
    world
}

/// What is around the pile, and everything it ever said.
struct World {
    gateways: [Gateway; 2],
    /// Which of them the pile talks to.
    now: usize,
    flash: Flash,
    clock: HandClock,
    entropy: Counter,
    request: Option<ChallengeReq>,
    /// Frames on their way to the gateway.
    sent: Vec<Sent>,
    /// (epoch, n) to head.
    heads: HashMap<(u32, u8), [u8; 32]>,
    /// Ticket to commitment.
    answers: HashMap<[u8; 16], [u8; 32]>,
    /// (battery, segment, seq) to fingerprint under a checkpoint.
    checkpoints: HashMap<([u8; 32], [u8; 16], u32), [u8; 32]>,
    /// Charge to its CHARGE_END.
    ends: HashMap<[u8; 16], Vec<u8>>,
    /// Grants that a gateway made: charge, Wh, minutes.
    grants: HashSet<([u8; 16], u32, u16)>,
    /// BATCH_ROOT frames by their root, with epoch and n.
    offers: HashMap<Hash, (u32, u8, Vec<u8>)>,
    /// Epoch to the root that the pile signed.
    roots: HashMap<u32, Hash>,
}

impl World {
    fn new() -> Self {
        Self {
            gateways: [Gateway::new(), Gateway::with_key(0x44)],
            now: 0,
            flash: Flash::default(),
            clock: HandClock::default(),
            entropy: Counter::default(),
            request: None,
            sent: Vec::new(),
            heads: HashMap::new(),
            answers: HashMap::new(),
            checkpoints: HashMap::new(),
            ends: HashMap::new(),
            grants: HashSet::new(),
            offers: HashMap::new(),
            roots: HashMap::new(),
        }
    }

    fn power_on<'w>(&mut self, workspace: &'w mut Workspace) -> Pile<'w> {
        self.clock.set(0);
        let settings = Settings { checkpoint_every_records: 4, ..Settings::default() };
        let (flash, clock, entropy) = (self.flash.clone(), self.clock.clone(), self.entropy.clone());
        let provisioning = provisioning(&self.gateways[0]);
        Session::new(provisioning, settings, device_key(), flash, clock, entropy, workspace)
            .expect("what the pile stored it can read")
            .with_bls_key(bls_key())
    }

    fn gateway(&mut self) -> &mut Gateway {
        &mut self.gateways[self.now]
    }

    /// One step; `false`: the power goes.
    fn step(&mut self, pile: &mut Pile<'_>, input: &mut Input<'_>) -> bool {
        let code = input.u8();
        match code % 24 {
            _ if code % 96 == OFFER => self.offer(pile, input),
            _ if code % 96 == REQUEST => _ = pile.request_leaf(u32::from(input.below(60))),
            0 => {
                let len = usize::from(input.u8());
                self.give(pile, input.take(len));
            }
            1 => {
                let frame_type = input.u8();
                let len = usize::from(input.u16() % 600);
                self.give(pile, &framed(frame_type, input.take(len)));
            }
            2 => self.connect(pile, input),
            3..=5 => self.tell(pile, code % 24, input),
            6..=8 => self.answer(pile, input),
            9 => _ = pile.authorize(),
            10 => _ = pile.request_ticket(),
            11 => pile.adopt_battery([input.below(3); 32], [0; 16]),
            12 => self.measure(pile, input),
            13 => _ = pile.checkpoint(),
            14 => _ = pile.charge_status(input.u32() % 2_000, input.u16() % 100),
            15 => self.end(pile, input),
            16 => self.clock.pass(u64::from(input.u16()) * 10),
            17 => {
                let at = pile.next_deadline();
                self.clock.set(at.unwrap_or(0).max(self.now_ms()));
                pile.handle_timeout();
            }
            18 => pile.disconnected(),
            19 => pile.reconnect(),
            20 => self.flash.fail(Some(Failing { stores: input.below(4), written: input.flag() })),
            21 => self.entropy.fail(input.flag()),
            22 => {
                self.flash.fail(None);
                self.entropy.fail(false);
            }
            // Without polling anything, so that the power goes with frames and events pending.
            _ => return false,
        }
        if code < 192 {
            self.listen(pile);
        }
        true
    }

    fn now_ms(&self) -> u64 {
        cip22_device_sdk::Clock::now_ms(&self.clock)
    }

    fn connect(&mut self, pile: &mut Pile<'_>, input: &mut Input<'_>) {
        self.now = usize::from(input.below(8) == 7);
        self.sent.clear();
        pile.connected(self.gateway().key.address());
        if input.flag() {
            self.listen(pile);
            let hello_ack = self.gateway().hello_ack();
            self.give(pile, &hello_ack);
        }
    }

    /// Something the gateway says unasked: a policy, an epoch, or another push, well signed.
    fn tell(&mut self, pile: &mut Pile<'_>, what: u8, input: &mut Input<'_>) {
        match what {
            3 => {
                let version = u32::from(input.below(6));
                let skipped = input.u8();
                let chunks = self.gateway().policy_frames(version, first_epoch(version));
                for (i, chunk) in (0_u8..).zip(chunks) {
                    if i != skipped {
                        self.give(pile, &chunk);
                    }
                }
            }
            4 => {
                let epoch = u32::from(input.below(60));
                let version = policy_version(epoch);
                self.gateway().policy = (version, first_epoch(version));
                let frame = self.gateway().epoch(epoch);
                self.give(pile, &frame);
            }
            _ => {
                let frame = self.push(input);
                self.give(pile, &frame);
            }
        }
    }

    /// A root over what the pile said last in an epoch, or over something else.
    fn offer(&mut self, pile: &mut Pile<'_>, input: &mut Input<'_>) {
        let (epoch, path) = (u32::from(input.below(60)), [input.below(3); 288]);
        let stated = self.heads.iter().filter(|((at, _), _)| *at == epoch);
        let newest = stated.map(|((_, n), head)| (*n, *head)).max();
        let (mut n, head) = newest.unwrap_or((1, [0; 32]));
        let mut leaf = 1 << 8 | u16::from(INDEX);
        match input.below(8) {
            0 => n = n.saturating_sub(input.below(3)),
            1 => leaf = input.u16(),
            _ => {}
        }
        let Some(roots) = batch_tree::follow(GROUP, leaf, n, &head, &path) else { return };
        let message = BatchRoot { group: GROUP, epoch, root: roots.root, leaf, path: &path, n, head };
        let frame = bytes(&message);
        self.offers.insert(roots.root, (epoch, n, frame.clone()));
        self.give(pile, &frame);
    }

    /// A push about a charge that may be under way or not.
    fn push(&mut self, input: &mut Input<'_>) -> Vec<u8> {
        let which = usize::from(input.u8());
        let known: Vec<_> = self.gateway().tickets.keys().copied().collect();
        let sid = known.iter().min().filter(|_| which % 4 != 3).copied().unwrap_or([7; 16]);
        if !known.contains(&sid) {
            return bytes(&AuthRevoke { sid, cause: input.u8(), grace_wh: input.u32() });
        }
        match which % 3 {
            0 => self.gateway().credit(sid, u32::from(input.u8()), input.u32() % 3_000, input.u16() % 100),
            1 => bytes(&AuthRevoke { sid, cause: input.u8(), grace_wh: input.u32() % 3_000 }),
            _ => self.gateway().deny(sid, input.u8()),
        }
    }

    /// The gateway takes up the oldest frames: it answers well, refuses, is silent, or the line damages its answer.
    fn answer(&mut self, pile: &mut Pile<'_>, input: &mut Input<'_>) {
        self.listen(pile);
        let how = input.u8();
        let count = usize::from(how >> 4) + 1;
        for sent in self.sent.drain(..count.min(self.sent.len())).collect::<Vec<_>>() {
            let mut reply = match how % 8 {
                0..=4 => self.reply(&sent),
                5 => Some(self.refuse(&sent, input)),
                6 => None,
                _ => self.reply(&sent).map(|frame| damaged(frame, input)),
            };
            if let Some(frame) = reply.take() {
                self.give(pile, &frame);
            }
        }
    }

    fn reply(&mut self, sent: &Sent) -> Option<Vec<u8>> {
        Some(match sent.frame_type() {
            FrameType::ChallengeReq => {
                let request = self.request.expect("it was listened to");
                self.gateway().challenge(&request)
            }
            FrameType::AuthResp => {
                let AuthResp { sid, .. } = sent.read();
                if !self.gateway().tickets.contains_key(&sid) {
                    return Some(nack(FrameType::AuthResp, NackCode::UnknownTicket, None, None));
                }
                self.grants.insert((sid, 1_000, 60));
                self.gateway().grant(sid, 1_000, 60)
            }
            FrameType::AuthAck => {
                ack(FrameType::AuthAck, Level::Durable, Some(sent.read::<AuthAck>().sid), None)
            }
            FrameType::ChargeStatus => ack(FrameType::ChargeStatus, Level::Received, None, None),
            FrameType::ChargeEnd => {
                ack(FrameType::ChargeEnd, Level::Durable, Some(sent.read::<ChargeEnd<'_>>().sid), None)
            }
            FrameType::PolicyAck => {
                let PolicyAck { epoch, n, .. } = sent.read();
                ack(FrameType::PolicyAck, Level::Durable, None, Some((epoch, n)))
            }
            FrameType::BattTelem => {
                let record: BattTelem = sent.read();
                if record.seq as usize == self.gateway().records.len() + 1 {
                    self.gateway().records.push(record);
                }
                telem_ack(record.battery, record.seq, Level::Durable, false)
            }
            FrameType::TelemCheckpoint => {
                let message: TelemCheckpoint = sent.read();
                self.gateway().checkpoint = (message.seq, message.fp);
                telem_ack(message.battery, message.seq, Level::Durable, true)
            }
            FrameType::TelemHead => {
                let battery = sent.read::<TelemHead>().battery;
                self.gateway().telem_head(battery)
            }
            FrameType::BatchSig => {
                let (frame_type, epoch) = (FrameType::BatchSig.code(), Some(sent.read::<BatchSig>().epoch));
                bytes(&Ack { frame_type, level: Level::Received.code(), sid: None, epoch, n: None })
            }
            FrameType::LeafReq => {
                let root = self.roots[&sent.read::<LeafReq>().epoch];
                self.offers[&root].2.clone()
            }
            FrameType::Heartbeat => sent.0.clone(),
            _ => return None,
        })
    }

    fn refuse(&mut self, sent: &Sent, input: &mut Input<'_>) -> Vec<u8> {
        let code = NackCode::from_u16(u16::from(input.below(31))).unwrap_or(NackCode::RateLimited);
        let limit = input.flag().then(|| u32::from(input.u8()));
        let retry_ms = input.flag().then(|| u32::from(input.u8()));
        nack(sent.frame_type(), code, limit, retry_ms)
    }

    fn measure(&mut self, pile: &mut Pile<'_>, input: &mut Input<'_>) {
        for i in 0..=u32::from(input.below(8)) {
            let sample = Sample {
                time_ms: 1_700_000_000_000 + u64::from(input.u8()) + u64::from(i),
                voltage_mv: 400_000,
                current_ma: -1,
                soc_centi_percent: 5_000,
                temperature_centi_c: -250,
                energy_wh: i,
            };
            let _ = pile.telemetry(&sample);
        }
    }

    fn end(&mut self, pile: &mut Pile<'_>, input: &mut Input<'_>) {
        let cause = EndCause::from_u8(input.below(14)).unwrap_or(EndCause::Other);
        let (wh, minutes) = (input.u32() % 2_000, input.u16() % 100);
        let meter = input.flag().then(|| vec![b'O'; usize::from(input.u16() % 4_200)]);
        let _ = pile.end_charge(wh, minutes, cause, meter.as_deref());
    }

    /// Gives bytes as a caller does: what is not taken is given again once outputs and events were polled.
    fn give(&mut self, pile: &mut Pile<'_>, mut rest: &[u8]) {
        loop {
            rest = &rest[pile.handle_input(rest)..];
            if rest.is_empty() {
                return;
            }
            let polled = self.listen(pile);
            assert!(polled, "nothing to poll and no room for input");
        }
    }

    /// Polls everything, and checks each frame and event against what the flash holds at that moment.
    fn listen(&mut self, pile: &mut Pile<'_>) -> bool {
        let mut out = [0; FRAME_BYTES_MAX + 4_200];
        let mut polled = 0;
        loop {
            let before = polled;
            while let Some(len) = pile.poll_output(&mut out) {
                polled += 1;
                let sent = Sent(out[..len].to_vec());
                self.heard(&sent);
                self.sent.push(sent);
                assert!(polled < OUTPUTS_MAX, "the pile does not stop sending");
            }
            while let Some(event) = pile.poll_event() {
                polled += 1;
                self.told(pile, &event);
                assert!(polled < OUTPUTS_MAX, "the pile does not stop telling");
            }
            if polled == before {
                break;
            }
        }
        if let Some(charge) = pile.charge() {
            assert!(self.flash.held_charge(&charge.sid), "power without a durable grant");
        }
        assert!(pile.epoch() <= self.flash.chain().0, "an epoch that is not durable");
        polled > 0
    }

    /// A frame leaves the pile.
    fn heard(&mut self, sent: &Sent) {
        match sent.frame_type() {
            FrameType::Hello => {
                let hello: Hello<'_> = sent.read();
                assert!(hello.epoch <= self.flash.chain().0);
            }
            FrameType::ChallengeReq => self.request = Some(sent.read()),
            FrameType::AuthResp => {
                let message: AuthResp = sent.read();
                let ticket = self.gateways.iter().find_map(|gateway| gateway.tickets.get(&message.sid));
                let ticket = ticket.expect("an answer to a ticket that a gateway signed");
                let Challenge { epoch, .. } = ticket.challenge;
                let stmt = statement::auth(&DEVICE_ID, epoch, message.n, &ticket.hash, &message.l);
                self.stated(epoch, message.n, &message.prev_head, &stmt);
                let before = self.answers.insert(message.sid, message.l);
                assert!(before.is_none_or(|l| l == message.l), "one ticket was answered twice");
            }
            FrameType::AuthAck => {
                let message: AuthAck = sent.read();
                assert_eq!(Some(&keccak256(&[&message.a])), self.answers.get(&message.sid));
                assert!(self.flash.held_charge(&message.sid), "AUTH_ACK without a durable grant");
            }
            FrameType::TelemCheckpoint => {
                let message: TelemCheckpoint = sent.read();
                let stmt = statement::checkpoint(&DEVICE_ID, &message);
                self.stated(message.epoch, message.n, &message.prev_head, &stmt);
                let place = (message.battery, message.segment, message.seq);
                let before = self.checkpoints.insert(place, message.fp);
                assert!(before.is_none_or(|fp| fp == message.fp), "two fingerprints signed for one record");
            }
            FrameType::PolicyAck => {
                let message: PolicyAck = sent.read();
                let stmt = statement::policy_ack(&DEVICE_ID, &message);
                self.stated(message.epoch, message.n, &message.prev_head, &stmt);
            }
            FrameType::BatchSig => self.co_signed(&sent.read()),
            FrameType::LeafReq => {
                let message: LeafReq = sent.read();
                assert!(self.roots.contains_key(&message.epoch), "a leaf of a root that was not signed");
            }
            FrameType::ChargeEnd => {
                let message: ChargeEnd<'_> = sent.read();
                assert!(self.flash.held_charge(&message.sid));
                let before = self.ends.insert(message.sid, sent.0.clone());
                assert!(before.is_none_or(|end| end == sent.0), "a charge ended in two ways");
            }
            _ => {}
        }
    }

    /// A root's signature left the pile: it is the only one of its epoch, and covers all that the pile said in it.
    fn co_signed(&mut self, message: &BatchSig) {
        let (epoch, n, _) = &self.offers[&message.root];
        assert_eq!(message.epoch, *epoch);
        assert!(*epoch < self.flash.chain().0, "a root of an epoch that is open");
        assert!(self.heads.keys().all(|(at, said)| at != epoch || said <= n), "a statement is missed");
        let version = policy_version(*epoch);
        let policy = digest::policy_hash(version, first_epoch(version), &tariff(version));
        let hash = digest::root_hash(*epoch, &challenge_of(*epoch), &policy, &message.root);
        assert_eq!(message.signature, bls_key().sign_root(&self.gateways[0].domain.digest(&hash)));
        let before = self.roots.insert(*epoch, message.root);
        assert!(before.is_none_or(|root| root == message.root), "two roots of one epoch");
        let durable = self.flash.record(Slot::Closed);
        assert!(durable.windows(32).any(|part| part == message.root), "a root that is not durable");
    }

    /// A statement left the pile: its number is used for nothing else, before or after, and the flash knows.
    fn stated(&mut self, epoch: u32, n: u8, prev_head: &[u8; 32], stmt: &[u8; 32]) {
        let head = statement::next_head(prev_head, stmt);
        if let Some(before) = self.heads.insert((epoch, n), head) {
            assert_eq!(before, head, "({epoch}, {n}) was signed with another content");
        }
        if let Some(before) = n.checked_sub(1).and_then(|n| self.heads.get(&(epoch, n))) {
            assert_eq!(before, prev_head, "({epoch}, {n}) does not follow");
        }
        if let Some((_, covered, _)) = self.roots.get(&epoch).and_then(|root| self.offers.get(root)) {
            assert!(n <= *covered, "a statement in an epoch whose root was signed before it");
        }
        let (stored_epoch, stored_n, stored_head) = self.flash.chain();
        assert!((stored_epoch, stored_n) >= (epoch, n), "({epoch}, {n}) left before it was durable");
        if (stored_epoch, stored_n) == (epoch, n) {
            assert_eq!(stored_head, head, "another head is durable than the one that left");
        }
    }

    /// The pile tells its application something.
    fn told(&mut self, pile: &Pile<'_>, event: &Event) {
        match *event {
            Event::Granted { sid, wh, minutes } => {
                assert!(self.flash.held_charge(&sid), "a grant that is not durable");
                assert!(self.grants.contains(&(sid, wh, minutes)), "a grant that no gateway gave");
            }
            Event::EpochOpened { epoch } => assert!(epoch <= self.flash.chain().0),
            Event::PolicyStored { version, .. } => {
                assert!(pile.policy_version() >= version);
                let slots = [Slot::Policy0, Slot::Policy1, Slot::Policy2, Slot::Policy3];
                let stored = |slot| self.flash.record(slot).get(1..5) == Some(&version.to_be_bytes()[..]);
                assert!(slots.into_iter().any(stored), "a policy that is not durable");
            }
            _ => {}
        }
    }
}

/// Version v is in force from epoch 10·(v − 1) on.
fn first_epoch(version: u32) -> u32 {
    version.saturating_sub(1) * 10
}

/// Of the policy in force.
fn policy_version(epoch: u32) -> u32 {
    (0..6).rev().find(|version| first_epoch(*version) <= epoch).unwrap_or(0)
}

fn bls_key() -> BlsKey {
    BlsKey::from_bytes(&[0x5A; 32]).expect("a scalar below the order")
}

/// One byte changed on the way, the CRC right again: only keys tell it from what was sent.
fn damaged(mut frame: Vec<u8>, input: &mut Input<'_>) -> Vec<u8> {
    let last = frame.len() - 1;
    let at = usize::from(input.u16()) % last;
    frame[at] ^= input.u8();
    frame[last] = cip22_device_sdk::wire::crc8_itu(&frame[..last]);
    frame
}

fn provisioning(gateway: &Gateway) -> Provisioning {
    Provisioning {
        device_id: DEVICE_ID,
        chain_id: gateway.domain.chain_id,
        verifier: gateway.domain.verifying_contract,
        policy_registry: gateway.policy_domain.verifying_contract,
        policy_signer: gateway.governance.address(),
        circuit_version_min: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kept_scripts_reach_statements_of_every_kind_and_the_end_of_a_charge() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/device_session");
        let played = |name: &str| play(&std::fs::read(format!("{folder}/seed-{name}")).unwrap());
        assert_eq!(played("ready").heads.len(), 1, "POLICY_ACK");
        let granted = played("granted");
        assert_eq!((granted.heads.len(), granted.answers.len(), granted.grants.len()), (2, 1, 1));
        assert!(!played("measured").checkpoints.is_empty());
        assert_eq!(played("ended").ends.len(), 1);
        let rooted = played("rooted");
        assert_eq!((rooted.roots.len(), rooted.offers.len()), (1, 2), "one root of two was signed");
        let later = played("later");
        assert!(later.heads.keys().any(|(epoch, _)| *epoch == 12), "{:?}", later.heads.keys());
        assert!(
            played("cut").heads.len() > played("measured").heads.len(),
            "it signs on after the power came back"
        );
    }
}
