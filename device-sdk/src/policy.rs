//! Policies: assembled from chunks, verified, held, acknowledged (protocol §10).

use cip22_wire::{
    EncodeError, FrameType, Hash, NackCode, Signature,
    digest::policy_hash,
    limits::TARIFF_BYTES_MAX,
    message::{Body, PolicyAck, SetPolicy},
    statement,
    tariff::Tariff,
};

use crate::{
    dispatch::Refusal,
    epoch::AUTH_RESERVE,
    error::Error,
    event::Event,
    hal::{Clock, Entropy, Slot, Storage},
    record::{PolicyRecord, RECORD_BYTES_MAX},
    retransmit::{Label, statement_number},
    session::Session,
    sign::recover_address,
};

/// What stays in memory of a policy; the tariff's bytes stay in storage.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeldPolicy {
    pub(crate) version: u32,
    pub(crate) first_epoch: u32,
    pub(crate) hash: Hash,
    pub(crate) credit_wh: u32,
    pub(crate) credit_minutes: u16,
    ack: AckState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AckState {
    Due,
    /// The statement's number.
    Sent(u64),
    /// The gateway holds the acknowledgement, or refused it for good.
    Settled,
}

/// A policy whose chunks are arriving.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Assembly {
    version: u32,
    first_epoch: u32,
    total: usize,
    signature: Signature,
    received: usize,
}

impl<S: Storage, C: Clock, E: Entropy> Session<'_, S, C, E> {
    /// Copies the tariff of the policy in force at `epoch` to `out` and returns its version and length, bytes; `None` if none is
    /// held. [`cip22_wire::tariff::Tariff::parse`] reads it.
    ///
    /// # Errors
    /// Storage failed, or `out` is shorter than the tariff (at most 493 bytes).
    pub fn tariff(&mut self, epoch: u32, out: &mut [u8]) -> Result<Option<(u32, usize)>, Error> {
        let Some(version) = self.policy_in_force(epoch).map(|policy| policy.version) else {
            return Ok(None);
        };
        let Some(slot) = self.slot_of(version) else {
            return Ok(None);
        };
        let mut record = [0; RECORD_BYTES_MAX];
        let len = self.storage.load(slot, &mut record)?;
        let policy = record.get(..len).and_then(PolicyRecord::decode).ok_or(Error::CorruptRecord(slot))?;
        let space = out.get_mut(..policy.tariff.len()).ok_or(EncodeError::BufferTooSmall)?;
        space.copy_from_slice(policy.tariff);
        Ok(Some((version, policy.tariff.len())))
    }

    /// Highest policy version held; 0 = none.
    #[must_use]
    pub fn policy_version(&self) -> u32 {
        self.held().map(|policy| policy.version).max().unwrap_or(0)
    }

    pub(crate) fn load_policies(&mut self) -> Result<(), Error> {
        for slot in Slot::POLICIES {
            let mut record = [0; RECORD_BYTES_MAX];
            let len = self.storage.load(slot, &mut record)?;
            let bytes = record.get(..len).ok_or(Error::CorruptRecord(slot))?;
            if bytes.is_empty() {
                continue;
            }
            let policy = PolicyRecord::decode(bytes).ok_or(Error::CorruptRecord(slot))?;
            let mut held = hold(&policy).ok_or(Error::CorruptRecord(slot))?;
            if held.version <= self.chain.acked_version {
                held.ack = AckState::Settled;
            }
            self.place(slot, held);
        }
        Ok(())
    }

    pub(crate) fn on_set_policy(&mut self, message: &SetPolicy<'_>) -> Result<(), Refusal> {
        let Some(assembly) = self.assemble(message)? else {
            return Ok(());
        };
        self.assembly = None;
        let buffer = core::mem::take(&mut self.policy_bytes);
        let tariff = buffer.get(..assembly.total).unwrap_or_default();
        let accepted = self.accept_policy(&PolicyRecord {
            version: assembly.version,
            first_epoch: assembly.first_epoch,
            signature: assembly.signature,
            tariff,
        });
        self.policy_bytes = buffer;
        accepted
    }

    /// Takes a chunk; gives the assembly once it is whole.
    fn assemble(&mut self, message: &SetPolicy<'_>) -> Result<Option<Assembly>, Refusal> {
        let total = usize::from(message.total_len);
        if total == 0 || total > TARIFF_BYTES_MAX {
            return Err(Refusal::field(NackCode::FieldValue, 3));
        }
        if message.offset == 0 {
            self.assembly = Some(Assembly {
                version: message.version,
                first_epoch: message.first_epoch,
                total,
                signature: message.signature,
                received: 0,
            });
        }
        let assembly = self.assembly.as_mut().ok_or(Refusal::field(NackCode::FieldValue, 4))?;
        let differs = [
            (assembly.version != message.version, 1),
            (assembly.first_epoch != message.first_epoch, 2),
            (assembly.total != total, 3),
            (assembly.received != usize::from(message.offset), 4),
            (assembly.signature != message.signature, 6),
        ];
        if let Some((_, field)) = differs.into_iter().find(|(differs, _)| *differs) {
            return Err(Refusal::field(NackCode::FieldValue, field));
        }
        let end = assembly.received.saturating_add(message.chunk.len());
        let space = self.policy_bytes.get_mut(assembly.received..end).filter(|_| end <= total);
        let (Some(space), false) = (space, message.chunk.is_empty()) else {
            return Err(Refusal::field(NackCode::FieldValue, 5));
        };
        space.copy_from_slice(message.chunk);
        assembly.received = end;
        Ok(Some(*assembly).filter(|assembly| assembly.received == total))
    }

    fn accept_policy(&mut self, policy: &PolicyRecord<'_>) -> Result<(), Refusal> {
        let hash = policy_hash(policy.version, policy.first_epoch, policy.tariff);
        let digest = self.provisioning.policy_domain().digest(&hash);
        if recover_address(&digest, &policy.signature) != Ok(self.provisioning.policy_signer) {
            return Err(Refusal::field(NackCode::BadSignature, 6));
        }
        let held = hold(policy).ok_or(Refusal::field(NackCode::FieldValue, 5))?;
        if let Some(same) = self.held_mut().find(|held| held.hash == hash) {
            if same.ack == AckState::Settled {
                same.ack = AckState::Due;
            }
            return Ok(());
        }
        let newest = self.policy_version();
        let unused = |held: &HeldPolicy| held.version == newest && held.first_epoch > self.chain.epoch;
        // The chain took the newest one back before it was in force, and governance signed another under its number.
        let replaces = policy.version == newest && self.held().any(unused);
        if policy.version <= newest && !replaces {
            return Err(Refusal::field(NackCode::FieldValue, 1));
        }
        let same = self.slot_of(policy.version).filter(|_| replaces);
        let slot = same.or_else(|| self.free_policy_slot()).ok_or(Refusal::retry(NackCode::Storage))?;
        let (bytes, len) = policy.encode().ok_or(Refusal::field(NackCode::FieldValue, 3))?;
        if self.storage.store(slot, bytes.get(..len).unwrap_or_default()).is_err() {
            self.storage_failed(slot);
            return Err(Refusal::retry(NackCode::Storage));
        }
        self.place(slot, held);
        self.events.push(Event::PolicyStored { version: held.version, first_epoch: held.first_epoch });
        Ok(())
    }

    /// An empty place, or that of a policy that a later one has replaced.
    fn free_policy_slot(&self) -> Option<Slot> {
        let in_force = self.policy_in_force(self.chain.epoch).map_or(0, |policy| policy.first_epoch);
        let newest = self.policy_version();
        let replaced = |held: &HeldPolicy| held.first_epoch < in_force && held.version != newest;
        let mut slots = Slot::POLICIES.into_iter().zip(&self.policies);
        slots
            .clone()
            .find(|(_, held)| held.is_none())
            .map(|(slot, _)| slot)
            .or_else(|| slots.find(|(_, held)| held.as_ref().is_some_and(replaced)).map(|(slot, _)| slot))
    }

    pub(crate) fn policy_by_hash(&self, hash: &Hash) -> Option<&HeldPolicy> {
        self.held().find(|policy| policy.hash == *hash)
    }

    /// The policy with the highest first_epoch not above `epoch`.
    pub(crate) fn policy_in_force(&self, epoch: u32) -> Option<&HeldPolicy> {
        self.held()
            .filter(|policy| policy.first_epoch <= epoch)
            .max_by_key(|policy| (policy.first_epoch, policy.version))
    }

    /// Signs the acknowledgements that are due. One at a time: each takes a number of the epoch.
    pub(crate) fn acknowledge_policies(&mut self) -> Result<(), Error> {
        if !self.epoch_open() {
            return Ok(());
        }
        loop {
            let due = self.held().find(|policy| policy.ack == AckState::Due).copied();
            let Some(policy) = due else {
                return Ok(());
            };
            if !self.retransmit.fits(POLICY_ACK_BYTES) {
                return Ok(());
            }
            let Ok(at) = self.next_statement(AUTH_RESERVE) else {
                return Ok(());
            };
            let mut message = PolicyAck {
                epoch: at.epoch,
                n: at.n,
                prev_head: at.prev_head,
                version: policy.version,
                policy_hash: policy.hash,
                first_epoch: policy.first_epoch,
                signature: [0; 64],
            };
            let stmt = statement::policy_ack(&self.provisioning.device_id, &message);
            message.signature = self.sign_statement(at, &stmt)?;
            let number = statement_number(at.epoch, at.n);
            self.retransmit.put(Label::numbered(FrameType::PolicyAck, number), |out| message.encode(out))?;
            if let Some(held) = self.held_mut().find(|held| held.version == policy.version) {
                held.ack = AckState::Sent(number);
            }
        }
    }

    /// The gateway holds the statement `number`.
    pub(crate) fn policy_acknowledged(&mut self, number: u64) {
        let Some(held) = self.held_mut().find(|held| held.ack == AckState::Sent(number)) else {
            return;
        };
        held.ack = AckState::Settled;
        let version = held.version;
        // Durable with the next statement; until then a restart only acknowledges once more.
        if self.held().all(|policy| policy.version > version || policy.ack == AckState::Settled) {
            self.chain.acked_version = self.chain.acked_version.max(version);
        }
        self.events.push(Event::PolicyAcked { version });
    }

    /// The gateway refused the statement `number`; with `again` it is signed anew in the newest epoch.
    pub(crate) fn policy_ack_refused(&mut self, number: u64, again: bool) {
        if let Some(held) = self.held_mut().find(|held| held.ack == AckState::Sent(number)) {
            held.ack = if again { AckState::Due } else { AckState::Settled };
        }
    }

    fn held(&self) -> impl Iterator<Item = &HeldPolicy> {
        self.policies.iter().flatten()
    }

    fn held_mut(&mut self) -> impl Iterator<Item = &mut HeldPolicy> {
        self.policies.iter_mut().flatten()
    }

    fn slot_of(&self, version: u32) -> Option<Slot> {
        let holds = |held: &Option<HeldPolicy>| held.as_ref().is_some_and(|policy| policy.version == version);
        Slot::POLICIES.into_iter().zip(&self.policies).find(|(_, held)| holds(held)).map(|(slot, _)| slot)
    }

    fn place(&mut self, slot: Slot, policy: HeldPolicy) {
        for (place, held) in Slot::POLICIES.into_iter().zip(&mut self.policies) {
            if place == slot {
                *held = Some(policy);
            }
        }
    }
}

/// `None` if the tariff is not in its canonical form.
fn hold(policy: &PolicyRecord<'_>) -> Option<HeldPolicy> {
    let tariff = Tariff::parse(policy.tariff).ok()?;
    Some(HeldPolicy {
        version: policy.version,
        first_epoch: policy.first_epoch,
        hash: policy_hash(policy.version, policy.first_epoch, policy.tariff),
        credit_wh: tariff.terms().credit_wh,
        credit_minutes: tariff.terms().credit_minutes,
        ack: AckState::Due,
    })
}

pub(crate) const POLICIES_MAX: usize = Slot::POLICIES.len();
/// A whole POLICY_ACK frame.
const POLICY_ACK_BYTES: usize = 8 + 7 * 3 + 4 + 1 + 32 + 4 + 32 + 4 + 64;
