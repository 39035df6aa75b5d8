//! Checkpoints: signed statements about records that the gateway holds durably (protocol §9).
//!
//! Two fingerprints signed for one (battery, segment, seq) would prove the pile guilty of tampering. So what was signed is
//! remembered across power cuts, whatever head a gateway names later.

use cip22_wire::{
    FrameType, Hash, NackCode,
    message::{Body, Nack, TelemCheckpoint},
    statement,
};

use crate::{
    epoch::AUTH_RESERVE,
    error::Error,
    event::Event,
    hal::{Clock, Entropy, Slot, Storage},
    record::SignedCheckpoint,
    retransmit::{Label, statement_number},
    session::Session,
    telemetry::Question,
};

impl<S: Storage, C: Clock, E: Entropy> Session<'_, S, C, E> {
    /// Asks for a checkpoint of the newest record made; it is signed once the gateway holds that record durably.
    ///
    /// # Errors
    /// [`Error::NoBattery`].
    pub fn checkpoint(&mut self) -> Result<(), Error> {
        let battery = self.battery.as_mut().ok_or(Error::NoBattery)?;
        battery.checkpoint_due = Some(battery.seq);
        self.work();
        Ok(())
    }

    /// Newest record under a checkpoint that the gateway holds; `None` without a battery or while its head is asked for.
    #[must_use]
    pub fn checkpointed_seq(&self) -> Option<u32> {
        self.battery
            .as_ref()
            .filter(|battery| battery.asking != Some(Question::Head))
            .map(|battery| battery.checkpointed.0)
    }

    /// Signs the checkpoint that is due, one in flight at a time.
    pub(crate) fn sign_checkpoint(&mut self) -> Result<(), Error> {
        if !self.epoch_open() || !self.retransmit.fits(TELEM_CHECKPOINT_BYTES) {
            return Ok(());
        }
        let Some(battery) = self.battery.as_mut() else {
            return Ok(());
        };
        let (Some(due), Some(durable), None, None) =
            (battery.checkpoint_due, battery.durable, battery.signing, battery.asking)
        else {
            return Ok(());
        };
        if durable.seq < due {
            return Ok(());
        }
        if durable.seq <= battery.checkpointed.0 {
            battery.checkpoint_due = None;
            return Ok(());
        }
        let (id, (prev_seq, prev_fp)) = (battery.id, battery.checkpointed);
        let signed =
            SignedCheckpoint { battery: id, segment: durable.segment, seq: durable.seq, fp: durable.fp };
        let contradicts = self.checkpoints.of(&id).is_some_and(|before| {
            before.segment == signed.segment && before.seq >= signed.seq && *before != signed
        });
        if contradicts {
            battery.checkpoint_due = None;
            self.events.push(Event::CheckpointRefused { battery: id, seq: durable.seq });
            return Ok(());
        }
        let Ok(at) = self.next_statement(AUTH_RESERVE) else {
            return Ok(());
        };
        let mut message = TelemCheckpoint {
            epoch: at.epoch,
            n: at.n,
            prev_head: at.prev_head,
            battery: id,
            segment: durable.segment,
            seq: durable.seq,
            time_ms: durable.time_ms,
            fp: durable.fp,
            prev_seq,
            prev_fp,
            signature: [0; 64],
        };
        let checkpoints = self.checkpoints.with(signed);
        if self.storage.store(Slot::Checkpoints, &checkpoints.encode()).is_err() {
            self.storage_failed(Slot::Checkpoints);
            return Ok(());
        }
        self.checkpoints = checkpoints;
        let stmt = statement::checkpoint(&self.provisioning.device_id, &message);
        message.signature = self.sign_statement(at, &stmt)?;
        if let Some(battery) = &mut self.battery {
            battery.checkpoint_due = None;
            battery.signing = Some((durable.seq, durable.fp));
        }
        let label = Label::numbered(FrameType::TelemCheckpoint, statement_number(at.epoch, at.n));
        self.retransmit.put(label, |out| message.encode(out))
    }

    pub(crate) fn checkpoint_acknowledged(&mut self, seq: u32) {
        let Some(battery) = &mut self.battery else {
            return;
        };
        if let Some(signed) = battery.signing.filter(|signed| signed.0 == seq) {
            battery.signing = None;
            battery.checkpointed = signed;
            battery.mismatches = 0;
            self.retransmit.remove(|entry| entry.is(FrameType::TelemCheckpoint));
        }
    }

    /// The gateway names its newest checkpoint: a new one is due from there if the pile has durable records beyond it.
    pub(crate) fn continue_from(&mut self, ledger: (u32, Hash)) {
        let every = self.settings.checkpoint_every_records;
        let Some(battery) = &mut self.battery else {
            return;
        };
        let differs = battery.checkpointed != ledger;
        battery.checkpointed = ledger;
        let Some(durable) = battery.durable else {
            return;
        };
        let beyond = durable.seq.saturating_sub(ledger.0);
        if (differs && beyond > 0 && battery.signing.is_none_or(|signed| signed.0 != ledger.0))
            || beyond >= every
        {
            battery.checkpoint_due.get_or_insert(durable.seq);
        }
    }

    /// TELEM_CHECKPOINT was refused for good: its statement stands in the chain, another one may be made.
    pub(crate) fn checkpoint_refused(&mut self, message: &Nack) {
        let Some(battery) = &mut self.battery else {
            return;
        };
        let Some((seq, _)) = battery.signing.take() else {
            return;
        };
        battery.mismatches = battery.mismatches.saturating_add(1);
        if battery.mismatches > MISMATCHES_MAX {
            battery.mismatches = 0;
        } else if message.code == NackCode::StaleEpoch.code() {
            battery.checkpoint_due = Some(seq);
        } else if message.code == NackCode::CheckpointMismatch.code() {
            battery.checkpoint_due = Some(seq);
            battery.asking.get_or_insert(Question::Checkpoint);
        }
    }
}

/// Refusals without progress before a checkpoint waits to be asked for again.
const MISMATCHES_MAX: u8 = 3;
/// A whole frame.
const TELEM_CHECKPOINT_BYTES: usize = 8 + 11 * 3 + 4 + 1 + 32 + 32 + 16 + 4 + 8 + 32 + 4 + 32 + 64;
