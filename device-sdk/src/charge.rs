//! A charge between its grant and the ACK of its CHARGE_END: the credit, what was delivered, the end.

use cip22_wire::{
    EndCause, FrameType, Hash, NackCode, Sid,
    body::{Credit, SUITE_PLAIN},
    digest::charge_end_hash,
    keccak256,
    message::{AuthFinal, AuthRevoke, Body, ChargeEnd, ChargeStatus, CreditUpdate},
    session_keys::SessionKeys,
};

use crate::{
    dispatch::Refusal,
    error::Error,
    event::Event,
    hal::{Clock, Entropy, Slot, Storage},
    record::{ChargeRecord, EndRecord},
    retransmit::Label,
    session::{Charge, METER_BYTES_MAX, Session},
};

#[derive(Debug)]
pub(crate) struct ActiveCharge {
    pub(crate) record: ChargeRecord,
    /// Gone after a restart: credit updates are refused then.
    binding: Option<(Hash, SessionKeys)>,
    credit_seq: u32,
    wh: u32,
    minutes: u16,
    exhausted: bool,
    status_due: bool,
    /// AUTH_REVOKE came: the credit only shrinks from then on.
    revoked: bool,
    /// Its CHARGE_END was answered; the record is to be removed.
    settled: bool,
}

impl ActiveCharge {
    pub(crate) const fn granted(record: ChargeRecord, ticket_hash: Hash, keys: SessionKeys) -> Self {
        let binding = Some((ticket_hash, keys));
        Self {
            record,
            binding,
            credit_seq: 0,
            wh: 0,
            minutes: 0,
            exhausted: false,
            status_due: false,
            revoked: false,
            settled: false,
        }
    }

    /// A grant that was revoked before it was durable.
    pub(crate) fn granted_revoked(self, revoked: bool) -> Self {
        Self { revoked, ..self }
    }

    pub(crate) fn restored(record: ChargeRecord) -> Self {
        let (wh, minutes) = record.end.map_or((0, 0), |end| (end.wh, end.minutes));
        Self {
            record,
            binding: None,
            credit_seq: 0,
            wh,
            minutes,
            exhausted: false,
            status_due: false,
            revoked: false,
            settled: false,
        }
    }

    const fn used_up(&self) -> bool {
        self.wh >= self.record.credit_wh || self.minutes >= self.record.credit_minutes
    }
}

impl<S: Storage, C: Clock, E: Entropy> Session<'_, S, C, E> {
    /// The charge under way, also one that a power cut interrupted: then report it with [`Self::end_charge`].
    #[must_use]
    pub fn charge(&self) -> Option<Charge> {
        self.charge.as_ref().map(|charge| Charge {
            sid: charge.record.sid,
            credit_wh: charge.record.credit_wh,
            credit_minutes: charge.record.credit_minutes,
            wh: charge.wh,
            minutes: charge.minutes,
            revoked: charge.revoked,
            ended: charge.record.end.is_some(),
        })
    }

    /// Reports energy (Wh) and time (minutes) since the grant. At the credit's end it gives [`Event::CreditExhausted`]; a charge that
    /// was revoked (see [`Charge::revoked`]) is then ended with [`EndCause::DeAuthorized`].
    ///
    /// # Errors
    /// [`Error::NoCharge`], [`Error::MeterDecreased`], [`Error::WouldBlock`] (events are to be polled).
    pub fn charge_status(&mut self, wh: u32, minutes: u16) -> Result<(), Error> {
        if !self.events.has_room() {
            return Err(Error::WouldBlock);
        }
        let charge =
            self.charge.as_mut().filter(|charge| charge.record.end.is_none()).ok_or(Error::NoCharge)?;
        if wh < charge.wh || minutes < charge.minutes {
            return Err(Error::MeterDecreased);
        }
        (charge.wh, charge.minutes, charge.status_due) = (wh, minutes, true);
        self.meter_credit();
        self.work();
        Ok(())
    }

    /// Ends the charge: signs and queues CHARGE_END with the meter's OCMF bytes, if any, and the battery's last checkpoint. After
    /// a restart the same values queue the same frame again.
    ///
    /// # Errors
    /// [`Error::NoCharge`]; [`Error::ChargeEnded`] with values other than those that were signed; [`Error::MeterDecreased`];
    /// [`Error::MeterTooLong`]; [`Error::WouldBlock`]; [`Error::Storage`].
    pub fn end_charge(
        &mut self,
        wh: u32,
        minutes: u16,
        cause: EndCause,
        meter: Option<&[u8]>,
    ) -> Result<(), Error> {
        let meter_len = meter.map_or(0, <[u8]>::len);
        if meter_len > METER_BYTES_MAX {
            return Err(Error::MeterTooLong { limit: u16::try_from(METER_BYTES_MAX).unwrap_or(u16::MAX) });
        }
        let charge = self.charge.as_ref().filter(|charge| !charge.settled).ok_or(Error::NoCharge)?;
        if wh < charge.wh || minutes < charge.minutes {
            return Err(Error::MeterDecreased);
        }
        let meter_hash = keccak256(&[meter.unwrap_or_default()]);
        let end = EndRecord { wh, minutes, cause: cause.code(), meter_hash };
        if charge.record.end.is_some_and(|before| before != end) {
            return Err(Error::ChargeEnded);
        }
        let sid = charge.record.sid;
        let label = Label::of_charge(FrameType::ChargeEnd, sid);
        if self.retransmit.contains(|entry| entry.label == label) {
            return Ok(());
        }
        if !self.retransmit.fits(CHARGE_END_BYTES.saturating_add(meter_len)) {
            return Err(Error::WouldBlock);
        }
        let record = ChargeRecord { end: Some(end), ..charge.record };
        self.storage.store(Slot::Charge, &record.encode())?;
        self.sign_charge_end(label, &record, meter)
    }

    fn sign_charge_end(
        &mut self,
        label: Label,
        record: &ChargeRecord,
        meter: Option<&[u8]>,
    ) -> Result<(), Error> {
        let (Some(end), Some(charge)) = (record.end, self.charge.as_mut()) else {
            return Ok(());
        };
        charge.record = *record;
        (charge.wh, charge.minutes, charge.status_due) = (end.wh, end.minutes, false);
        let mut message = ChargeEnd {
            sid: record.sid,
            wh: end.wh,
            minutes: end.minutes,
            cause: end.cause,
            meter,
            signature: [0; 64],
        };
        let hash = charge_end_hash(&self.provisioning.device_id, &message);
        message.signature = self.key.sign(&self.provisioning.verifier_domain().digest(&hash));
        self.retransmit.put(label, |out| message.encode(out))?;
        self.leave_segment(record.sid);
        self.work();
        Ok(())
    }

    pub(crate) fn on_credit_update(&mut self, message: &CreditUpdate<'_>) -> Result<(), Refusal> {
        let charge = self
            .charge
            .as_mut()
            .filter(|charge| charge.record.sid == message.sid && charge.record.end.is_none())
            .ok_or(Refusal::field(NackCode::UnknownTicket, 1))?;
        let (ticket_hash, keys) =
            charge.binding.as_ref().ok_or(Refusal::field(NackCode::UnknownTicket, 1))?;
        if message.suite != SUITE_PLAIN {
            return Err(Refusal::field(NackCode::FieldValue, 2));
        }
        if !keys.verify_tag(ticket_hash, FrameType::CreditUpdate, message.suite, message.body, &message.tag) {
            return Err(Refusal::field(NackCode::BadSignature, 4));
        }
        let credit = Credit::decode(message.body).map_err(|_| Refusal::field(NackCode::FieldValue, 3))?;
        let held = (charge.credit_seq, charge.record.credit_wh, charge.record.credit_minutes);
        if (credit.seq, credit.wh, credit.minutes) == held {
            // The newest one again, as comes after a reconnect.
            return Ok(());
        }
        if credit.seq <= charge.credit_seq {
            return Err(Refusal::field(NackCode::FieldValue, 3));
        }
        charge.credit_seq = credit.seq;
        let (wh, minutes) = if charge.revoked {
            (credit.wh.min(charge.record.credit_wh), credit.minutes.min(charge.record.credit_minutes))
        } else {
            charge.exhausted = false;
            (credit.wh, credit.minutes)
        };
        (charge.record.credit_wh, charge.record.credit_minutes) = (wh, minutes);
        self.events.push(Event::CreditUpdated { sid: message.sid, wh, minutes });
        self.meter_credit();
        Ok(())
    }

    pub(crate) fn on_auth_final(&mut self, message: &AuthFinal) {
        self.events.push(Event::Final {
            sid: message.sid,
            level: message.level,
            transaction: message.transaction,
            block: message.block,
        });
    }

    pub(crate) fn on_auth_revoke(&mut self, message: &AuthRevoke) {
        let AuthRevoke { sid, cause, grace_wh } = *message;
        let charge = self.charge.as_mut().filter(|charge| charge.record.sid == sid);
        if charge.as_ref().is_some_and(|charge| charge.revoked) {
            // Again, as comes after a reconnect: the grace counts from the first.
            return;
        }
        self.events.push(Event::Revoked { sid, cause, grace_wh });
        if let Some(charge) = charge {
            let limit = charge.wh.saturating_add(grace_wh);
            charge.record.credit_wh = charge.record.credit_wh.min(limit);
            charge.revoked = true;
        }
        self.revoke_granting(&sid, grace_wh);
        self.meter_credit();
    }

    fn meter_credit(&mut self) {
        if let Some(charge) = self.charge.as_mut()
            && charge.record.end.is_none()
            && charge.used_up()
            && !charge.exhausted
        {
            charge.exhausted = true;
            self.events.push(Event::CreditExhausted { sid: charge.record.sid });
        }
    }

    /// Queues the newest status, one frame at a time; removes a settled charge.
    pub(crate) fn advance_charge(&mut self) -> Result<(), Error> {
        let Some(charge) = self.charge.as_mut() else {
            return Ok(());
        };
        let waiting = self.retransmit.contains(|entry| entry.is(FrameType::ChargeStatus));
        if charge.status_due && !waiting && self.retransmit.fits(CHARGE_STATUS_BYTES) {
            let message = ChargeStatus { sid: charge.record.sid, wh: charge.wh, minutes: charge.minutes };
            charge.status_due = false;
            let label = Label::of_charge(FrameType::ChargeStatus, message.sid);
            self.retransmit.put(label, |out| message.encode(out))?;
        }
        if self.charge.as_ref().is_some_and(|charge| charge.settled) {
            if self.storage.store(Slot::Charge, &[]).is_err() {
                self.storage_failed(Slot::Charge);
                return Ok(());
            }
            self.charge = None;
        }
        Ok(())
    }

    /// CHARGE_END was answered, by ACK or for good by NACK.
    pub(crate) fn charge_settled(&mut self, sid: &Sid) {
        if let Some(charge) = self.charge.as_mut().filter(|charge| charge.record.sid == *sid) {
            charge.settled = true;
        }
    }
}

/// Whole frames, without the meter record.
const CHARGE_END_BYTES: usize = 8 + 6 * 3 + 16 + 4 + 2 + 1 + 64;
const CHARGE_STATUS_BYTES: usize = 8 + 3 * 3 + 16 + 4 + 2;
