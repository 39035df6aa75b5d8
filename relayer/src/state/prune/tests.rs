//! Random histories, pruned now and then, their logs cut wherever a crash could leave them.

use cip22_wire::message::BattTelem;
use proptest::prelude::*;

use super::*;
use crate::config::LaneRule;
use crate::deployment::Deployment;
use crate::gateway::Announced;
use crate::journal::record::{AttemptRecord, StatementKind, StatementRecord};
use crate::pipeline::batch::{BatchSettings, Moment, plan};
use crate::telemetry::battery::Verdict;
use crate::view::Epoch;

const GROUP: u32 = 1;
const EPOCH_LEN: u64 = 20;
const WINDOW_EPOCHS: u32 = 4;
const RETENTION_EPOCHS: u32 = 2;

const DEPLOYMENT: &str = r#"{ "chain_id": 1235, "start_block": 1, "epoch_len_blocks": 20, "ring_epochs": 4,
  "access_manager": "0x0000000000000000000000000000000000000001", "device_registry": "0x0000000000000000000000000000000000000002",
  "gateway_registry": "0x0000000000000000000000000000000000000003", "policy_registry": "0x0000000000000000000000000000000000000004",
  "battery_ledger": "0x0000000000000000000000000000000000000005", "policy_signer": "0x0000000000000000000000000000000000000006",
  "verifiers": [ { "address": "0x0000000000000000000000000000000000000007", "label": "v1" } ] }"#;

/// A live state, the log of everything that it took in, and where the log may be cut.
struct History {
    live: State,
    log: Vec<Record>,
    epoch: u32,
    block: u64,
    sids: u64,
    /// Records at the front that pruning allows to go.
    spent: usize,
    settings: BatchSettings,
}

impl History {
    fn new() -> Self {
        let deployment = Deployment::parse("test", DEPLOYMENT).unwrap();
        let settings = BatchSettings {
            close_grace_ms: 0,
            records_max: 2,
            advance_max: 2,
            lane: LaneRule::Auto,
            root_deadline_ms: 1_000,
            deployment,
        };
        let mut history =
            Self { live: State::default(), log: Vec::new(), epoch: 0, block: 0, sids: 0, spent: 0, settings };
        history.open_epoch();
        history
    }

    fn commit(&mut self, record: Record) {
        self.live.apply(&record);
        self.log.push(record);
    }

    fn open_epoch(&mut self) {
        self.epoch += 1;
        self.block = u64::from(self.epoch) * EPOCH_LEN;
        let epoch = self.epoch;
        self.commit(Record::EpochOpened { epoch, challenge: [epoch as u8; 32], policy_hash: [1; 32] });
    }

    fn oldest_epoch(&self) -> u32 {
        self.epoch.saturating_sub(WINDOW_EPOCHS)
    }

    fn ticket(&mut self, device: u8) {
        self.sids += 1;
        let mut sid = [0; 16];
        sid[..8].copy_from_slice(&self.sids.to_be_bytes());
        let mut dev_eph = [2; 33];
        dev_eph[1..9].copy_from_slice(&(self.sids / 2).to_be_bytes());
        let challenge = Challenge {
            circuit_version: 0,
            sid,
            device_id: [device; 32],
            group: GROUP,
            index: device,
            nonce: [0; 32],
            epoch: self.epoch,
            epoch_challenge: [0; 32],
            policy_hash: [0; 32],
            issued: self.block,
            answer_by: self.block + 10,
            deadline: self.block + 20,
            gw_eph: [2; 33],
            dev_eph,
            h: [0; 32],
            signature: [0; 64],
        };
        let whole = frame_bytes(&challenge);
        let challenge_payload = whole[frame::HEADER_BYTES..whole.len() - 1].to_vec();
        self.commit(Record::TicketIssued { challenge_payload, device_key: vec![2; 33] });
    }

    /// The next statement of a device in an epoch.
    fn statement(&mut self, device: u8, epoch: u32, kind: StatementKind) {
        let chain = self.live.chains.get(&(GROUP, device, epoch));
        let (n, prev_head) = chain
            .and_then(|chain| chain.statements.last_key_value())
            .map_or((0, [0; 32]), |(n, entry)| (*n, entry.head));
        if n >= 250 {
            return;
        }
        let mut head = [device; 32];
        (head[0], head[1]) = (n + 1, epoch as u8);
        self.commit(Record::Statement(StatementRecord {
            device_id: [device; 32],
            group: GROUP,
            index: device,
            epoch,
            n: n + 1,
            prev_head,
            head,
            signature: vec![7; 64],
            kind,
        }));
    }

    /// One of the tickets that may still be answered, or of the open charges; the same one in every run.
    fn pick(&self, choice: u8, fits: impl Fn(&Ticket) -> bool) -> Option<Sid> {
        let mut sids: Vec<Sid> =
            self.live.tickets.iter().filter(|(_, ticket)| fits(ticket)).map(|(sid, _)| *sid).collect();
        sids.sort_unstable();
        (!sids.is_empty()).then(|| sids[usize::from(choice) % sids.len()])
    }

    fn answer(&mut self, choice: u8, grant: bool) {
        let oldest = self.oldest_epoch();
        let fits = |ticket: &Ticket| ticket.answer.is_none() && ticket.challenge.epoch >= oldest;
        let Some(sid) = self.pick(choice, fits) else { return };
        if !grant {
            return self.commit(Record::Denied { sid, request_hash: [3; 32], answer: vec![9; 40] });
        }
        let challenge = self.live.tickets[&sid].challenge;
        let kind = StatementKind::Auth {
            sid,
            ticket_hash: [0; 32],
            l: [5; 32],
            request_hash: [3; 32],
            wh: 10,
            minutes: 4,
            answer: vec![8; 60],
        };
        self.statement(challenge.device_id[0], challenge.epoch, kind);
    }

    fn telemetry(&mut self, device: u8) {
        let (last, time_ms) = self
            .live
            .batteries
            .get(&[device; 32])
            .map(|battery| (battery.last, battery.last_time_ms))
            .unwrap_or_default();
        let mut record = BattTelem {
            battery: [device; 32],
            segment: [2; 16],
            seq: last.seq + 1,
            time_ms: time_ms + 7,
            voltage_mv: 52_000,
            current_ma: -3,
            soc_centi_percent: 5_000,
            temperature_centi_c: -150,
            energy_wh: 7,
            fp: [0; 32],
        };
        record.fp = cip22_wire::telemetry::fingerprint(&last.fp, &record);
        assert_eq!(self.live.batteries.judge_record(&record), Verdict::Next);
        let whole = frame_bytes(&record);
        let payload = whole[frame::HEADER_BYTES..whole.len() - 1].to_vec();
        self.commit(Record::Telemetry { device_id: [device; 32], payload });
    }

    /// A checkpoint at the newest record, from the newest checkpoint or anew from the ledger.
    fn checkpoint(&mut self, device: u8, anew: bool) {
        let Some(battery) = self.live.batteries.get(&[device; 32]) else { return };
        let prev = if anew { battery.ledger } else { battery.anchor() };
        let kind = StatementKind::Checkpoint {
            battery: [device; 32],
            segment: battery.last_segment,
            seq: battery.last.seq,
            time_ms: battery.last_time_ms,
            fp: battery.last.fp,
            prev_seq: prev.seq,
            prev_fp: prev.fp,
        };
        if battery.last.seq > prev.seq {
            self.statement(device, self.epoch, kind);
        }
    }

    fn cut(&mut self) {
        let announced = Announced {
            epoch: Epoch { epoch: self.epoch, challenge: [0; 32], policy_hash: [0; 32] },
            at_ms: 0,
            withdrawn: false,
        };
        let (latest_block, oldest_epoch) = (self.block, self.oldest_epoch());
        let moment = Moment { announced, now_ms: 10_000, latest_block, oldest_epoch };
        for batch in plan(&self.live, &moment, &self.settings, &|_| true) {
            self.commit(Record::BatchCut(batch));
        }
    }

    /// The next thing that happens to a batch.
    fn carry(&mut self, choice: u8, how: u8) {
        let open: Vec<u64> =
            self.live.batches.iter().filter(|(_, batch)| batch.safe.is_none()).map(|(n, _)| *n).collect();
        if open.is_empty() {
            return;
        }
        let batch = open[usize::from(choice) % open.len()];
        let (transaction, block, succeeded) = ([how; 32], self.block, !how.is_multiple_of(5));
        let held = &self.live.batches[&batch];
        let record = match (held.attempts.is_empty(), held.mined.is_some()) {
            (true, _) if how.is_multiple_of(4) => {
                Record::BatchDropped { batch, retry_block: self.block + 25 }
            }
            (true, _) => Record::Submitted(AttemptRecord {
                batch,
                signer: [1; 20],
                nonce: batch,
                attempt: 1,
                gas_limit: 1,
                max_fee_per_gas: 1,
                max_priority_fee_per_gas: 1,
                raw: vec![1; 30],
                transaction,
            }),
            (false, false) => Record::Mined { batch, transaction, block, block_hash: [how; 32], succeeded },
            (false, true) if how.is_multiple_of(7) => Record::Unmined { batch },
            (false, true) => Record::Safe { batch, transaction, block, succeeded },
        };
        self.commit(record);
    }

    fn head_safe(&mut self, choice: u8, short: bool) {
        let mut places: Vec<Place> = self.live.chains.keys().copied().collect();
        places.sort_unstable();
        if places.is_empty() {
            return;
        }
        let (group, index, epoch) = places[usize::from(choice) % places.len()];
        let statements = &self.live.chains[&(group, index, epoch)].statements;
        let chosen = if short { statements.first_key_value() } else { statements.last_key_value() };
        let (n, head) = chosen.map(|(n, entry)| (*n, entry.head)).unwrap();
        let block = self.block;
        self.commit(Record::HeadSafe { group, index, epoch, n, head, transaction: [4; 32], block });
    }

    /// The ledger moves to a pending checkpoint, or to a record that was made elsewhere.
    fn ledger_safe(&mut self, device: u8, elsewhere: bool) {
        let battery = self.live.batteries.get(&[device; 32]).cloned().unwrap_or_default();
        let (seq, fp) = match battery.pending.front() {
            Some(pending) if !elsewhere => (pending.next.seq, pending.next.fp),
            _ => (battery.last.seq + 2, [device ^ 0x5a; 32]),
        };
        self.commit(Record::LedgerSafe { battery: [device; 32], seq, fp, block: self.block });
    }

    fn settle(&mut self) {
        if self.live.settles(self.block) {
            self.commit(Record::Settled { scanned_to: self.block });
        }
    }

    fn expire(&mut self) {
        let oldest_epoch = self.oldest_epoch();
        if self.live.expires(oldest_epoch) {
            self.commit(Record::Expired { oldest_epoch });
        }
    }

    /// Also again, and for another cause: the state has to bear what the code never writes.
    fn revoke(&mut self, choice: u8, how: u8) {
        let granted = |ticket: &Ticket| ticket.answer.as_ref().is_some_and(|answer| answer.credit.is_some());
        if let Some(sid) = self.pick(choice, granted) {
            self.commit(Record::Revoked { sid, cause: how % 4 + 1, grace_wh: u32::from(how) });
        }
    }

    /// Likewise.
    fn reduce(&mut self, choice: u8, how: u8) {
        if let Some(sid) = self.pick(choice, Ticket::is_open) {
            let seq = self.live.tickets[&sid].credit_seq + 1 - u32::from(how.is_multiple_of(5));
            self.commit(Record::CreditReduced { sid, seq, wh: u32::from(how), minutes: u16::from(how) });
        }
    }

    fn prune(&mut self) {
        let horizon = self.live.horizon(self.oldest_epoch().saturating_sub(RETENTION_EPOCHS));
        if horizon <= self.live.retained.horizon_epoch {
            return;
        }
        let front =
            |record: &Record| matches!(record, Record::EpochOpened { epoch, .. } if *epoch >= horizon);
        self.spent = self.log.iter().position(front).unwrap();
        for record in self.live.batteries_held(&self.live.battery_ids()) {
            self.commit(record);
        }
        for record in self.live.policy_acks_held(2) {
            self.commit(record);
        }
        for record in self.live.pruned(horizon) {
            self.commit(record);
        }
    }

    fn act(&mut self, (what, a, b): (u8, u8, u8)) {
        let device = a % 3;
        match what % 19 {
            0 | 1 => self.open_epoch(),
            2 => self.ticket(device),
            3 => self.answer(a, !b.is_multiple_of(4)),
            4 => {
                if let Some(sid) = self.pick(a, Ticket::is_open) {
                    self.commit(Record::AuthAcked { sid, a: [6; 32] });
                }
            }
            5 => {
                if let Some(sid) = self.pick(a, Ticket::is_open) {
                    let (meter, signature) = (Vec::new(), vec![0; 64]);
                    self.commit(Record::ChargeEnded { sid, wh: 1, minutes: 1, cause: 1, meter, signature });
                }
            }
            6 => {
                let (version, policy_hash) = (u32::from(b), [0; 32]);
                self.statement(
                    device,
                    self.epoch,
                    StatementKind::PolicyAck { version, policy_hash, first_epoch: 0 },
                );
            }
            7 | 8 => self.telemetry(device),
            9 => self.checkpoint(device, b.is_multiple_of(3)),
            10 => self.cut(),
            11 => self.carry(a, b),
            12 => self.head_safe(a, b.is_multiple_of(3)),
            13 => self.ledger_safe(device, b.is_multiple_of(3)),
            14 => self.settle(),
            15 => self.expire(),
            16 => self.revoke(a, b),
            17 => self.reduce(a, b),
            _ => self.prune(),
        }
    }

    /// What a restart makes of the log without its first `cut` records.
    fn replayed(&self, cut: usize) -> State {
        let mut state = State::default();
        for record in &self.log[cut..] {
            state.apply(record);
        }
        state
    }

    /// What nobody ever pruned: the same facts without the records of pruning.
    fn unpruned(&self) -> State {
        let mut state = State::default();
        let held = |record: &&Record| {
            matches!(
                record,
                Record::Pruned(_)
                    | Record::BatteryHeld(_)
                    | Record::ChargeHeld(_)
                    | Record::PolicyAcksHeld { .. }
            )
        };
        for record in self.log.iter().filter(|record| !held(record)) {
            state.apply(record);
        }
        state
    }
}

fn actions() -> impl Strategy<Value = Vec<(u8, u8, u8)>> {
    proptest::collection::vec((any::<u8>(), any::<u8>(), any::<u8>()), 1..250)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 256 } else { 512 }))]

    #[test]
    fn a_log_cut_anywhere_in_its_spent_part_replays_to_the_live_state(actions in actions()) {
        let mut history = History::new();
        for action in actions {
            history.act(action);
        }
        for cut in [0, history.spent / 3, history.spent / 2, history.spent.saturating_sub(1), history.spent] {
            let mut replayed = history.replayed(cut);
            // The cursor has it, not the log.
            replayed.scanned_to = history.live.scanned_to;
            prop_assert!(replayed == history.live, "cut at {cut} of {}: {replayed:#?}\n{:#?}", history.log.len(), history.live);
        }
    }

    #[test]
    fn pruning_takes_nothing_that_is_young_open_or_counted(actions in actions()) {
        let mut history = History::new();
        for action in actions {
            history.act(action);
        }
        let (live, whole) = (&history.live, history.unpruned());
        let horizon = live.retained.horizon_epoch;
        prop_assert_eq!(live.counts, whole.counts);
        prop_assert_eq!(live.last_batch, whole.last_batch);
        prop_assert_eq!(&live.policy_acks, &whole.policy_acks);
        prop_assert_eq!(&live.open_charges, &whole.open_charges);
        prop_assert_eq!(&live.batches, &whole.batches);
        for (sid, ticket) in &whole.tickets {
            let kept = live.tickets.get(sid);
            if ticket.challenge.epoch >= horizon || ticket.is_open() {
                prop_assert_eq!(kept, Some(ticket));
            }
        }
        for (place, chain) in &whole.chains {
            prop_assert_eq!(live.chains.get(place), Some(chain).filter(|_| place.2 >= horizon));
        }
        for (id, battery) in whole.batteries.iter() {
            let kept = live.batteries.get(id).unwrap();
            prop_assert_eq!((kept.last, kept.checkpoint, kept.ledger), (battery.last, battery.checkpoint, battery.ledger));
        }
        let epochs: Vec<u32> = live.epochs.keys().copied().collect();
        prop_assert!(epochs.iter().all(|epoch| *epoch >= horizon) && epochs.contains(&history.epoch));
    }
}

/// What is sealed under each number of each ticket: an answer, or what became of the grant.
type Sealed = std::collections::BTreeMap<(Sid, u32), (Vec<u8>, Option<crate::state::News>)>;

/// Takes in what a gateway in this state would seal; fails if another content had the number.
fn seal_all(sealed: &mut Sealed, state: &State) -> Result<(), TestCaseError> {
    for (sid, ticket) in &state.tickets {
        let answer = ticket.answer.iter().map(|answer| (0, (answer.frame.clone(), None)));
        let news = ticket.news().map(|(number, news)| (number, (Vec::new(), Some(news))));
        for (number, content) in answer.chain(news) {
            let before = sealed.entry((*sid, number)).or_insert_with(|| content.clone());
            prop_assert_eq!(&*before, &content, "number {} of {:?}", number, sid);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 128 } else { 512 }))]

    #[test]
    fn no_number_of_a_ticket_stands_for_two_contents_in_any_life(actions in actions()) {
        let mut history = History::new();
        let mut sealed = Sealed::new();
        // Every life begins with a kill after any record: what follows is what the next one makes of the log, cut as far as it may be.
        for action in actions {
            let (before, spent) = (history.log.len(), history.spent);
            history.act(action);
            seal_all(&mut sealed, &history.live)?;
            if history.spent != spent || history.log.len() > before + 1 {
                let mut replayed = State::default();
                for record in &history.log[history.spent..] {
                    replayed.apply(record);
                }
                seal_all(&mut sealed, &replayed)?;
            }
        }
        for cut in [0, history.spent / 2, history.spent] {
            seal_all(&mut sealed, &history.replayed(cut))?;
        }
    }
}

#[test]
fn the_numbers_of_an_open_charge_go_on_after_its_epoch_is_pruned_and_the_relayer_restarted() {
    let mut history = History::new();
    history.ticket(0);
    history.answer(0, true);
    let sid = history.pick(0, Ticket::is_open).unwrap();
    history.commit(Record::CreditReduced { sid, seq: 1, wh: 5, minutes: 3 });
    history.commit(Record::CreditReduced { sid, seq: 2, wh: 4, minutes: 2 });
    for _ in 0..20 {
        history.open_epoch();
    }
    history.expire();
    history.prune();
    assert!(history.live.retained.horizon_epoch > 1 && history.spent > 0, "its epoch is gone");
    history.log.drain(..std::mem::take(&mut history.spent));
    history.live = history.replayed(0);
    let news = |history: &History| history.live.tickets[&sid].news();
    assert_eq!(news(&history), Some((2, crate::state::News::Reduced { seq: 2, wh: 4, minutes: 2 })));
    history.commit(Record::Revoked { sid, cause: 1, grace_wh: 9 });
    let revocation = Revocation { cause: 1, grace_wh: 9 };
    assert_eq!(news(&history), Some((3, crate::state::News::Revoked(revocation))));
    // What the code never writes changes nothing that has left.
    history.commit(Record::Revoked { sid, cause: 2, grace_wh: 1 });
    history.commit(Record::CreditReduced { sid, seq: 3, wh: 1, minutes: 1 });
    assert_eq!(news(&history), Some((3, crate::state::News::Revoked(revocation))));
    assert_eq!(history.replayed(0).tickets[&sid].news(), news(&history));
}

/// An ordinary epoch: charges that end, one device that never ends its own, telemetry, everything on chain at once.
fn ordinary_epoch(history: &mut History) {
    for device in 0..3 {
        history.ticket(device);
        history.answer(0, true);
        history.telemetry(device);
        history.checkpoint(device, false);
        if let Some(sid) = history.pick(0, |ticket| ticket.is_open() && ticket.challenge.device_id[0] != 0) {
            let (meter, signature) = (Vec::new(), vec![0; 64]);
            history.commit(Record::ChargeEnded { sid, wh: 1, minutes: 1, cause: 1, meter, signature });
        }
        let (epoch, index) = (history.epoch, device);
        let chain = &history.live.chains[&(GROUP, index, epoch)];
        let (n, head) = chain.statements.last_key_value().map(|(n, entry)| (*n, entry.head)).unwrap();
        let block = history.block;
        history.commit(Record::HeadSafe { group: GROUP, index, epoch, n, head, transaction: [4; 32], block });
        history.ledger_safe(device, false);
    }
    history.open_epoch();
}

#[test]
fn memory_and_log_stay_flat_while_a_charge_that_never_ends_stays_answered() {
    let mut history = History::new();
    ordinary_epoch(&mut history);
    let first = history.pick(0, |ticket| ticket.challenge.device_id[0] == 0).unwrap();
    // Only that one stays open: the later ones of its device are ended too.
    let mut sizes = Vec::new();
    for _ in 0..40 {
        ordinary_epoch(&mut history);
        if let Some(sid) = history.pick(1, |ticket| ticket.is_open() && ticket.challenge.sid != first) {
            let (meter, signature) = (Vec::new(), vec![0; 64]);
            history.commit(Record::ChargeEnded { sid, wh: 1, minutes: 1, cause: 1, meter, signature });
        }
        let before = history.live.retained.horizon_epoch;
        history.prune();
        assert!(history.live.retained.horizon_epoch >= before);
        history.log.drain(..std::mem::take(&mut history.spent));
        sizes.push((history.live.tickets.len(), history.live.chains.len(), history.log.len()));
    }
    let (steady, last) = (sizes[15], sizes[39]);
    assert_eq!(steady, last, "sizes in a steady state: {sizes:?}");
    assert!(history.live.tickets.contains_key(&first), "its ticket is held");
    assert!(
        !history.log.iter().any(|record| matches!(record, Record::EpochOpened { epoch, .. } if *epoch < 30))
    );
    let mut replayed = history.replayed(0);
    replayed.scanned_to = history.live.scanned_to;
    assert_eq!(replayed, history.live);
    assert_eq!(replayed.counts.granted, 41 * 3, "totals outlive their records");
}

#[test]
fn the_horizon_waits_for_batches_and_statements_under_way() {
    let mut history = History::new();
    history.ticket(0);
    history.answer(0, true);
    for _ in 0..20 {
        history.open_epoch();
    }
    assert_eq!(history.live.horizon(15), 1, "a statement waits");
    history.expire();
    assert_eq!(history.live.horizon(15), 15);
    assert_eq!(history.live.horizon(99), history.epoch, "a newest epoch always stays");
}
