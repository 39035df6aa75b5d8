//! What the gateway holds of each battery, and what it refuses.

use std::collections::{HashMap, VecDeque};

use cip22_wire::message::{BattTelem, TelemCheckpoint};
use cip22_wire::{BatteryId, Hash, Sid};

use crate::journal::record::{
    BatchRecord, BatteryRecord, MoveRecord, PendingRecord, StatementKind, StatementRecord,
};
use crate::limits::{RECORDS_SINCE_CHECKPOINT_MAX, SUBMISSION_TRIES_MAX};

/// All batteries by id.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Batteries {
    batteries: HashMap<BatteryId, Battery>,
}

/// One battery.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Battery {
    /// The newest record.
    pub last: Position,
    /// Its time, Unix ms.
    pub last_time_ms: u64,
    /// Its segment.
    pub last_segment: Sid,
    /// The newest checkpoint taken in.
    pub checkpoint: Position,
    /// The ledger's head under `safe`.
    pub ledger: Position,
    /// Checkpoints that the ledger does not show yet, oldest first.
    pub pending: VecDeque<PendingCheckpoint>,
    since_checkpoint: VecDeque<Held>,
    /// Moves of the ledger that a reorganisation may undo, oldest first.
    moves: VecDeque<LedgerMove>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct LedgerMove {
    block: u64,
    /// The ledger's head before.
    from: Position,
    /// The checkpoints that it made moot.
    done: VecDeque<PendingCheckpoint>,
}

/// A place in a battery's history: sequence number and fingerprint; zeros before the first record.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Sequence number.
    pub seq: u32,
    /// Fingerprint.
    pub fp: Hash,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    position: Position,
    time_ms: u64,
    segment: Sid,
}

/// A checkpoint on its way to the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingCheckpoint {
    /// The statement, as signed.
    pub statement: StatementRecord,
    /// From where.
    pub prev: Position,
    /// To where.
    pub next: Position,
    /// The batch that carries it.
    pub in_batch: Option<u64>,
    /// Not before this block is it carried again.
    pub retry_block: u64,
    tries: u8,
}

/// What to do with a telemetry record or a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the next one.
    Next,
    /// It is held already, with the same fingerprint.
    Held,
    /// The next sequence number is another.
    Gap {
        /// That number.
        expected: u32,
    },
    /// The fingerprint does not follow from the previous one.
    Fingerprint,
    /// Its time is before the previous record's.
    Time,
    /// Too many records without a checkpoint.
    CheckpointDue,
    /// The checkpoint does not name a held record or the right predecessor.
    Mismatch,
}

impl PendingCheckpoint {
    fn held(&self) -> PendingRecord {
        // `prev` and `next` are what the statement says.
        let Self { statement, prev: _, next: _, in_batch, retry_block, tries } = self;
        PendingRecord {
            statement: statement.clone(),
            in_batch: *in_batch,
            retry_block: *retry_block,
            tries: *tries,
        }
    }

    fn from_held(held: &PendingRecord) -> Option<Self> {
        let StatementKind::Checkpoint { seq, fp, prev_seq, prev_fp, .. } = held.statement.kind else {
            return None;
        };
        Some(Self {
            statement: held.statement.clone(),
            prev: Position { seq: prev_seq, fp: prev_fp },
            next: Position { seq, fp },
            in_batch: held.in_batch,
            retry_block: held.retry_block,
            tries: held.tries,
        })
    }
}

impl Battery {
    /// What the next checkpoint has to name as its predecessor: the newest one taken in, or the ledger's head when
    /// nothing is on its way there.
    pub fn anchor(&self) -> Position {
        if self.pending.is_empty() { self.ledger } else { self.checkpoint }
    }
}

impl Batteries {
    /// A battery, if anything is known of it.
    pub fn get(&self, battery: &BatteryId) -> Option<&Battery> {
        self.batteries.get(battery)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&BatteryId, &Battery)> {
        self.batteries.iter()
    }

    /// Judges a telemetry record.
    pub fn judge_record(&self, telemetry: &BattTelem) -> Verdict {
        let unknown = Battery::default();
        let battery = self.get(&telemetry.battery).unwrap_or(&unknown);
        let expected = battery.last.seq.saturating_add(1);
        if telemetry.seq != expected {
            let held = telemetry.seq == battery.last.seq && telemetry.fp == battery.last.fp
                || battery
                    .since_checkpoint
                    .iter()
                    .any(|held| held.position.seq == telemetry.seq && held.position.fp == telemetry.fp);
            return if held && telemetry.seq > 0 { Verdict::Held } else { Verdict::Gap { expected } };
        }
        if cip22_wire::telemetry::fingerprint(&battery.last.fp, telemetry) != telemetry.fp {
            return Verdict::Fingerprint;
        }
        if telemetry.time_ms < battery.last_time_ms {
            return Verdict::Time;
        }
        if battery.since_checkpoint.len() >= RECORDS_SINCE_CHECKPOINT_MAX {
            return Verdict::CheckpointDue;
        }
        Verdict::Next
    }

    /// Judges a checkpoint. Its signature and its place in the statement chain are judged elsewhere.
    pub fn judge_checkpoint(&self, checkpoint: &TelemCheckpoint) -> Verdict {
        let Some(battery) = self.get(&checkpoint.battery) else { return Verdict::Mismatch };
        let prev = Position { seq: checkpoint.prev_seq, fp: checkpoint.prev_fp };
        let named = Position { seq: checkpoint.seq, fp: checkpoint.fp };
        if named == battery.checkpoint && named.seq > 0 && prev != battery.ledger {
            return Verdict::Held;
        }
        let follows = prev == battery.checkpoint || prev == battery.ledger;
        let held = battery.since_checkpoint.iter().any(|held| {
            held.position == named && held.time_ms == checkpoint.time_ms && held.segment == checkpoint.segment
        });
        // After a divergence the newest record may already be behind a checkpoint that the ledger never took.
        let again = named == battery.last
            && prev == battery.ledger
            && checkpoint.time_ms == battery.last_time_ms
            && checkpoint.segment == battery.last_segment;
        if follows && (held || again) && named.seq > prev.seq { Verdict::Next } else { Verdict::Mismatch }
    }

    /// Takes in a record that was judged `Next`.
    pub fn accept(&mut self, telemetry: &BattTelem) {
        let battery = self.batteries.entry(telemetry.battery).or_default();
        let position = Position { seq: telemetry.seq, fp: telemetry.fp };
        battery.last = position;
        battery.last_time_ms = telemetry.time_ms;
        battery.last_segment = telemetry.segment;
        let held = Held { position, time_ms: telemetry.time_ms, segment: telemetry.segment };
        battery.since_checkpoint.push_back(held);
    }

    /// Takes in a checkpoint statement.
    pub fn checkpoint(&mut self, id: &BatteryId, statement: &StatementRecord) {
        let StatementKind::Checkpoint { seq, fp, prev_seq, prev_fp, .. } = &statement.kind else { return };
        let battery = self.batteries.entry(*id).or_default();
        let next = Position { seq: *seq, fp: *fp };
        let prev = Position { seq: *prev_seq, fp: *prev_fp };
        battery.since_checkpoint.retain(|held| held.position.seq > next.seq);
        if prev == battery.ledger {
            // The pile starts again from the ledger: what was pending led nowhere.
            battery.pending.retain(|pending| pending.in_batch.is_some());
        }
        battery.checkpoint = next;
        let statement = statement.clone();
        let pending = PendingCheckpoint { statement, prev, next, in_batch: None, retry_block: 0, tries: 0 };
        battery.pending.push_back(pending);
    }

    /// Marks the members of an advance batch.
    pub fn batched(&mut self, record: &BatchRecord) {
        for battery in self.batteries.values_mut() {
            for pending in &mut battery.pending {
                let statement = &pending.statement;
                if statement.epoch == record.epoch
                    && record.members.contains(&(statement.device_id, statement.n))
                {
                    pending.in_batch = Some(record.batch);
                }
            }
        }
    }

    /// The ledger shows a new head under `safe`, in this block, whoever moved it.
    pub fn ledger_moved(&mut self, id: &BatteryId, seq: u32, fp: Hash, block: u64) {
        let battery = self.batteries.entry(*id).or_default();
        if seq <= battery.ledger.seq {
            return;
        }
        let (done, pending): (VecDeque<_>, VecDeque<_>) =
            battery.pending.drain(..).partition(|pending| pending.next.seq <= seq);
        battery.pending = pending;
        battery.moves.push_back(LedgerMove { block, from: battery.ledger, done });
        battery.ledger = Position { seq, fp };
        if battery.last.seq < seq {
            battery.last = battery.ledger;
            battery.checkpoint = battery.ledger;
            battery.since_checkpoint.clear();
        }
    }

    /// Undoes the moves of `from_block` and later: their checkpoints are to be carried again.
    pub fn take_back(&mut self, from_block: u64) {
        for battery in self.batteries.values_mut() {
            while battery.moves.back().is_some_and(|moved| moved.block >= from_block)
                && let Some(undone) = battery.moves.pop_back()
            {
                battery.ledger = undone.from;
                for mut pending in undone.done.into_iter().rev() {
                    (pending.in_batch, pending.retry_block, pending.tries) = (None, 0, 0);
                    battery.pending.push_front(pending);
                }
            }
        }
    }

    /// Nothing signed in `epoch` verifies any more: its checkpoints, and those that follow from them, lead nowhere. The pile
    /// signs a new one from the ledger's head.
    pub fn epoch_replaced(&mut self, epoch: u32) {
        for battery in self.batteries.values_mut() {
            for moved in &mut battery.moves {
                moved.done.retain(|pending| pending.statement.epoch != epoch);
            }
            if let Some(first) = battery.pending.iter().position(|pending| pending.statement.epoch == epoch) {
                battery.pending.truncate(first);
                battery.checkpoint = battery.pending.back().map_or(battery.ledger, |pending| pending.next);
            }
        }
    }

    /// Forgets how to undo moves before a block.
    pub fn forget_moves_before(&mut self, block: u64) {
        for battery in self.batteries.values_mut() {
            while battery.moves.front().is_some_and(|moved| moved.block < block) {
                battery.moves.pop_front();
            }
        }
    }

    /// Frees the members of an advance batch that ended; returns how many were given up. Only a batch that was carried out counts as a try.
    pub fn release(&mut self, batch: u64, carried: bool, retry_block: u64) -> u64 {
        let mut given_up = 0;
        for battery in self.batteries.values_mut() {
            for pending in &mut battery.pending {
                if pending.in_batch == Some(batch) {
                    pending.in_batch = None;
                    if carried {
                        pending.tries = pending.tries.saturating_add(1);
                    } else {
                        pending.retry_block = retry_block;
                    }
                }
            }
            let before = battery.pending.len();
            battery.pending.retain(|pending| pending.tries < SUBMISSION_TRIES_MAX);
            given_up += (before - battery.pending.len()) as u64;
        }
        given_up
    }

    /// A battery whole, as a record.
    pub fn held(&self, id: &BatteryId) -> Option<BatteryRecord> {
        let Battery {
            last,
            last_time_ms,
            last_segment,
            checkpoint,
            ledger,
            pending,
            since_checkpoint,
            moves,
        } = self.get(id)?;
        let moves = moves.iter().map(|moved| {
            let LedgerMove { block, from, done } = moved;
            let done = done.iter().map(PendingCheckpoint::held).collect();
            MoveRecord { block: *block, from: (from.seq, from.fp), done }
        });
        let since_checkpoint = since_checkpoint.iter().map(|held| {
            let Held { position, time_ms, segment } = held;
            (position.seq, position.fp, *time_ms, *segment)
        });
        Some(BatteryRecord {
            battery: *id,
            last: (last.seq, last.fp),
            last_time_ms: *last_time_ms,
            last_segment: *last_segment,
            checkpoint: (checkpoint.seq, checkpoint.fp),
            ledger: (ledger.seq, ledger.fp),
            pending: pending.iter().map(PendingCheckpoint::held).collect(),
            since_checkpoint: since_checkpoint.collect(),
            moves: moves.collect(),
        })
    }

    /// Takes a battery back from its record; whatever else was known of it is replaced.
    pub fn hold(&mut self, held: &BatteryRecord) {
        let position = |(seq, fp): (u32, Hash)| Position { seq, fp };
        let moves = held.moves.iter().map(|moved| LedgerMove {
            block: moved.block,
            from: position(moved.from),
            done: moved.done.iter().filter_map(PendingCheckpoint::from_held).collect(),
        });
        let since_checkpoint = held.since_checkpoint.iter().map(|(seq, fp, time_ms, segment)| Held {
            position: position((*seq, *fp)),
            time_ms: *time_ms,
            segment: *segment,
        });
        let battery = Battery {
            last: position(held.last),
            last_time_ms: held.last_time_ms,
            last_segment: held.last_segment,
            checkpoint: position(held.checkpoint),
            ledger: position(held.ledger),
            pending: held.pending.iter().filter_map(PendingCheckpoint::from_held).collect(),
            since_checkpoint: since_checkpoint.collect(),
            moves: moves.collect(),
        };
        self.batteries.insert(held.battery, battery);
    }

    /// Drops checkpoints of epochs before `horizon_epoch`: the contract takes them no more.
    pub fn prune(&mut self, horizon_epoch: u32) {
        for battery in self.batteries.values_mut() {
            for moved in &mut battery.moves {
                moved.done.retain(|pending| pending.statement.epoch >= horizon_epoch);
            }
            battery.pending.retain(|pending| pending.statement.epoch >= horizon_epoch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(last: Position, time_ms: u64) -> BattTelem {
        let mut record = BattTelem {
            battery: [1; 32],
            segment: [2; 16],
            seq: last.seq + 1,
            time_ms,
            voltage_mv: 52_000,
            current_ma: -3,
            soc_centi_percent: 5_000,
            temperature_centi_c: -150,
            energy_wh: 7,
            fp: [0; 32],
        };
        record.fp = cip22_wire::telemetry::fingerprint(&last.fp, &record);
        record
    }

    fn with_records(count: u32) -> (Batteries, Vec<BattTelem>) {
        let mut batteries = Batteries::default();
        let mut records = Vec::new();
        let mut last = Position::default();
        for number in 0..count {
            let next = record(last, 1_000 + u64::from(number));
            assert_eq!(batteries.judge_record(&next), Verdict::Next);
            batteries.accept(&next);
            last = Position { seq: next.seq, fp: next.fp };
            records.push(next);
        }
        (batteries, records)
    }

    fn checkpoint(at: &BattTelem, prev: Position) -> TelemCheckpoint {
        TelemCheckpoint {
            epoch: 3,
            n: 1,
            prev_head: [0; 32],
            battery: at.battery,
            segment: at.segment,
            seq: at.seq,
            time_ms: at.time_ms,
            fp: at.fp,
            prev_seq: prev.seq,
            prev_fp: prev.fp,
            signature: [0; 64],
        }
    }

    #[test]
    fn a_gap_a_rewrite_and_a_step_back_in_time_are_told_apart() {
        let (batteries, records) = with_records(3);
        let last = Position { seq: 3, fp: records[2].fp };
        let mut gap = record(last, 2_000);
        gap.seq = 6;
        assert_eq!(batteries.judge_record(&gap), Verdict::Gap { expected: 4 });
        let mut rewritten = record(last, 2_000);
        rewritten.energy_wh += 1;
        assert_eq!(batteries.judge_record(&rewritten), Verdict::Fingerprint);
        assert_eq!(batteries.judge_record(&record(last, 1)), Verdict::Time);
        assert_eq!(batteries.judge_record(&record(last, 1_002)), Verdict::Next, "equal times are fine");
    }

    #[test]
    fn a_record_sent_again_is_held_and_another_with_its_number_is_not() {
        let (batteries, records) = with_records(3);
        assert_eq!(batteries.judge_record(&records[1]), Verdict::Held);
        let mut other = records[1];
        other.fp = [9; 32];
        assert_eq!(batteries.judge_record(&other), Verdict::Gap { expected: 4 });
    }

    #[test]
    fn a_checkpoint_names_a_held_record_and_the_right_predecessor() {
        let (batteries, records) = with_records(3);
        let first = Position::default();
        assert_eq!(batteries.judge_checkpoint(&checkpoint(&records[2], first)), Verdict::Next);
        let mut elsewhere = checkpoint(&records[2], first);
        elsewhere.time_ms += 1;
        assert_eq!(batteries.judge_checkpoint(&elsewhere), Verdict::Mismatch);
        let wrong = Position { seq: 1, fp: records[0].fp };
        assert_eq!(batteries.judge_checkpoint(&checkpoint(&records[2], wrong)), Verdict::Mismatch);
    }

    #[test]
    fn a_battery_that_was_elsewhere_goes_on_from_the_ledger() {
        let mut batteries = Batteries::default();
        let ledger = Position { seq: 40, fp: [4; 32] };
        batteries.ledger_moved(&[1; 32], 40, [4; 32], 7);
        let next = record(ledger, 5_000);
        assert_eq!(batteries.judge_record(&next), Verdict::Next);
        batteries.accept(&next);
        assert_eq!(batteries.judge_checkpoint(&checkpoint(&next, ledger)), Verdict::Next);
    }
}
