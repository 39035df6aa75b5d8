//! Battery records: numbered, chained by fingerprint, sent within a window (protocol §9).

use cip22_wire::{
    BatteryId, FrameType, Hash, Level, NackCode, Sid, frame,
    message::{BattTelem, Body, Nack, TelemAck, TelemHead},
    telemetry::{FIRST_FINGERPRINT, fingerprint},
};

use crate::{
    dispatch::Refusal,
    error::Error,
    event::Event,
    hal::{Clock, Entropy, Storage},
    retransmit::{Entry, Label},
    session::Session,
};

/// One measurement of the battery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Unix time, ms; never decreases.
    pub time_ms: u64,
    /// Pack voltage, mV.
    pub voltage_mv: u32,
    /// Pack current, mA; positive into the battery.
    pub current_ma: i32,
    /// State of charge, hundredths of a percent.
    pub soc_centi_percent: u16,
    /// Temperature, hundredths of a degree Celsius.
    pub temperature_centi_c: i16,
    /// Energy counter, Wh.
    pub energy_wh: u32,
}

/// The battery at the pile.
#[derive(Debug)]
pub(crate) struct Battery {
    pub(crate) id: BatteryId,
    segment: Sid,
    /// The gateway is to be asked for the head: for where records continue, or only for the newest checkpoint.
    pub(crate) asking: Option<Question>,
    /// Newest record made.
    pub(crate) seq: u32,
    fp: Hash,
    time_ms: u64,
    /// Newest record of this pile that the gateway holds durably.
    pub(crate) durable: Option<Position>,
    /// Newest checkpoint the gateway holds.
    pub(crate) checkpointed: (u32, Hash),
    /// A checkpoint in flight: its record.
    pub(crate) signing: Option<(u32, Hash)>,
    /// A checkpoint is to be signed once this record is durable.
    pub(crate) checkpoint_due: Option<u32>,
    pub(crate) mismatches: u8,
    gaps: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Head,
    Checkpoint,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Position {
    pub(crate) segment: Sid,
    pub(crate) seq: u32,
    pub(crate) time_ms: u64,
    pub(crate) fp: Hash,
}

impl<S: Storage, C: Clock, E: Entropy> Session<'_, S, C, E> {
    /// A battery is at the pile: asks the gateway for its head, then [`Event::TelemHead`]. `segment` is the sid of the charge, or
    /// zeros; a grant and the end of a charge change it by themselves. Unanswered records of another battery are dropped.
    pub fn adopt_battery(&mut self, battery: BatteryId, segment: Sid) {
        self.retransmit.remove_all(|entry| {
            [FrameType::BattTelem, FrameType::TelemCheckpoint, FrameType::TelemHead]
                .iter()
                .any(|frame_type| entry.is(*frame_type))
        });
        self.battery = Some(Battery {
            id: battery,
            segment,
            asking: Some(Question::Head),
            seq: 0,
            fp: FIRST_FINGERPRINT,
            time_ms: 0,
            durable: None,
            checkpointed: (0, FIRST_FINGERPRINT),
            signing: None,
            checkpoint_due: None,
            mismatches: 0,
            gaps: 0,
        });
        self.work();
    }

    /// Makes and queues the next record of the battery; returns its seq. Every
    /// [`Settings::checkpoint_every_records`](crate::Settings::checkpoint_every_records) durable records a checkpoint follows.
    ///
    /// # Errors
    /// [`Error::NoBattery`]; [`Error::WouldBlock`]: the head is not known yet, or [`TELEMETRY_WINDOW`] records are unanswered;
    /// [`Error::TimeDecreased`]; [`Error::Exhausted`].
    pub fn telemetry(&mut self, sample: &Sample) -> Result<u32, Error> {
        let unanswered = self.retransmit.count(is_record);
        let room = unanswered < TELEMETRY_WINDOW && self.retransmit.fits(BATT_TELEM_BYTES);
        let battery = self.battery.as_mut().ok_or(Error::NoBattery)?;
        if battery.asking == Some(Question::Head) || !room {
            return Err(Error::WouldBlock);
        }
        if sample.time_ms < battery.time_ms {
            return Err(Error::TimeDecreased);
        }
        let mut record = BattTelem {
            battery: battery.id,
            segment: battery.segment,
            seq: battery.seq.checked_add(1).ok_or(Error::Exhausted)?,
            time_ms: sample.time_ms,
            voltage_mv: sample.voltage_mv,
            current_ma: sample.current_ma,
            soc_centi_percent: sample.soc_centi_percent,
            temperature_centi_c: sample.temperature_centi_c,
            energy_wh: sample.energy_wh,
            fp: [0; 32],
        };
        record.fp = fingerprint(&battery.fp, &record);
        let label = Label::numbered(FrameType::BattTelem, u64::from(record.seq));
        self.retransmit.put(label, |out| record.encode(out))?;
        (battery.seq, battery.fp, battery.time_ms) = (record.seq, record.fp, record.time_ms);
        Ok(record.seq)
    }

    /// Newest record made of the battery at the pile, and how many of its records are unanswered.
    #[must_use]
    pub fn battery_head(&self) -> Option<(u32, usize)> {
        self.battery.as_ref().map(|battery| (battery.seq, self.retransmit.count(is_record)))
    }

    /// Queues the question that is due.
    pub(crate) fn ask_head(&mut self) -> Result<(), Error> {
        let Some(battery) = self.battery.as_ref().filter(|battery| battery.asking.is_some()) else {
            return Ok(());
        };
        let waiting = self.retransmit.contains(|entry| entry.is(FrameType::TelemHead));
        if waiting || !self.retransmit.fits(TELEM_HEAD_BYTES) {
            return Ok(());
        }
        let message =
            TelemHead { battery: battery.id, seq: None, fp: None, ledger_seq: None, ledger_fp: None };
        self.retransmit.put(Label::numbered(FrameType::TelemHead, 0), |out| message.encode(out))
    }

    pub(crate) fn on_telem_head(&mut self, message: &TelemHead) -> Result<(), Refusal> {
        let Some(battery) = self.battery.as_mut().filter(|battery| battery.id == message.battery) else {
            // Of a battery that has left.
            return Ok(());
        };
        let (seq, fp) = (message.seq.unwrap_or(0), message.fp.unwrap_or(FIRST_FINGERPRINT));
        let ledger = (message.ledger_seq.unwrap_or(0), message.ledger_fp.unwrap_or(FIRST_FINGERPRINT));
        if seq == 0 && fp != FIRST_FINGERPRINT {
            return Err(Refusal::field(NackCode::FieldValue, 3));
        }
        if ledger.0 == 0 && ledger.1 != FIRST_FINGERPRINT {
            return Err(Refusal::field(NackCode::FieldValue, 5));
        }
        // What the ledger holds was durable at some gateway, even if not at this one.
        let (seq, fp) = if ledger.0 > seq { ledger } else { (seq, fp) };
        self.retransmit.remove(|entry| entry.is(FrameType::TelemHead) && entry.sent());
        let asked = battery.asking.take();
        if asked == Some(Question::Head) {
            (battery.seq, battery.fp) = (seq, fp);
            battery.durable = battery.durable.filter(|durable| (durable.seq, durable.fp) == (seq, fp));
            battery.checkpoint_due = battery.checkpoint_due.map(|due| due.min(seq));
            let battery = battery.id;
            self.events.push(Event::TelemHead { battery, seq, ledger_seq: ledger.0 });
        }
        self.continue_from(ledger);
        Ok(())
    }

    pub(crate) fn on_telem_ack(&mut self, message: &TelemAck) -> Result<(), Refusal> {
        let TelemAck { battery, seq, level, checkpoint } = *message;
        if checkpoint > 1 {
            return Err(Refusal::field(NackCode::FieldValue, 4));
        }
        let checkpoint = checkpoint == 1;
        self.events.push(Event::TelemAcked { battery, seq, level, checkpoint });
        if level < Level::Durable.code() || self.battery.as_ref().is_none_or(|held| held.id != battery) {
            return Ok(());
        }
        if checkpoint {
            self.checkpoint_acknowledged(seq);
        } else {
            self.record_acknowledged(seq);
        }
        Ok(())
    }

    /// The record is durable at the gateway, and so is every one before it.
    fn record_acknowledged(&mut self, seq: u32) {
        let number = u64::from(seq);
        let frame = self.retransmit.find(|entry| is_record(entry) && entry.label.number == number);
        let Some(record) = frame.and_then(|(_, bytes)| read_record(bytes)) else {
            return;
        };
        self.retransmit.remove_all(|entry| is_record(entry) && entry.label.number <= number);
        let every = self.settings.checkpoint_every_records;
        if let Some(battery) = &mut self.battery {
            battery.gaps = 0;
            battery.durable =
                Some(Position { segment: record.segment, seq, time_ms: record.time_ms, fp: record.fp });
            if seq.saturating_sub(battery.checkpointed.0) >= every {
                battery.checkpoint_due.get_or_insert(seq);
            }
        }
    }

    /// BATT_TELEM was refused: sent again from where the gateway wants it, or the head is asked for again.
    pub(crate) fn record_refused(&mut self, message: &Nack) {
        if !self.retransmit.contains(is_record) {
            return;
        }
        let now_ms = self.clock.now_ms();
        if let Some(retry_ms) = message.retry_ms {
            // The gateway refuses the records behind it too, for the gap.
            self.retransmit.again(now_ms.saturating_add(u64::from(retry_ms)), is_record);
            return;
        }
        let gap_at = message.limit.filter(|_| message.code == NackCode::TelemGap.code()).map(u64::from);
        let held = gap_at.is_some_and(|number| {
            self.retransmit.contains(|entry| is_record(entry) && entry.label.number == number)
        });
        let Some(battery) = &mut self.battery else {
            return;
        };
        match gap_at {
            Some(number) if held && battery.gaps < GAPS_MAX => {
                let from = |entry: &Entry| is_record(entry) && entry.label.number >= number;
                // The answers to records behind the gap say the same; one round is enough.
                if self
                    .retransmit
                    .contains(|entry| entry.label.number == number && from(entry) && entry.sent())
                {
                    battery.gaps = battery.gaps.saturating_add(1);
                    self.retransmit.again(now_ms, from);
                }
            }
            _ => {
                let dropped = self.retransmit.remove_all(is_record);
                battery.asking = Some(Question::Head);
                battery.gaps = 0;
                self.events.push(Event::TelemetryReset { battery: battery.id, dropped });
            }
        }
    }

    /// TELEM_HEAD was refused for good: without the head there are no records.
    pub(crate) fn head_refused(&mut self) {
        self.battery = None;
    }

    pub(crate) fn enter_segment(&mut self, sid: Sid) {
        if let Some(battery) = &mut self.battery {
            battery.segment = sid;
        }
    }

    /// The charge ended: its last record gets a checkpoint.
    pub(crate) fn leave_segment(&mut self, sid: Sid) {
        if let Some(battery) = self.battery.as_mut().filter(|battery| battery.segment == sid) {
            battery.segment = [0; 16];
            battery.checkpoint_due = Some(battery.seq);
        }
    }
}

fn is_record(entry: &Entry) -> bool {
    entry.is(FrameType::BattTelem)
}

fn read_record(bytes: &[u8]) -> Option<BattTelem> {
    BattTelem::decode(frame::parse(bytes, u16::MAX).ok()??.payload).ok()
}

/// Records of one battery that may be unanswered at a time.
pub const TELEMETRY_WINDOW: usize = 16;
/// Rounds of sending again from a gap without progress, before the head is asked for.
const GAPS_MAX: u8 = 4;
/// Whole frames.
const BATT_TELEM_BYTES: usize = 8 + 10 * 3 + 32 + 16 + 4 + 8 + 4 + 4 + 2 + 2 + 4 + 32;
const TELEM_HEAD_BYTES: usize = 8 + 3 + 32;
