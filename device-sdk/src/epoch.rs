//! Epochs, and the one chain of statements in each (protocol §4.1, 3 and §5.1).

use cip22_wire::{
    Hash, NackCode, Signature,
    digest::{Head, epoch_hash, head_hash},
    limits::STATEMENTS_PER_EPOCH_MAX,
    message::Epoch,
    statement,
};

use crate::{
    dispatch::Refusal,
    error::Error,
    event::Event,
    hal::{Clock, Entropy, Slot, Storage},
    provision::EPOCH_SLACK,
    record::ChainRecord,
    session::Session,
    sign::recover_address,
};

/// Where the next statement stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NextStatement {
    pub(crate) epoch: u32,
    pub(crate) n: u8,
    pub(crate) prev_head: Hash,
}

impl<S: Storage, C: Clock, E: Entropy> Session<'_, S, C, E> {
    pub(crate) fn on_epoch(&mut self, message: &Epoch) -> Result<(), Refusal> {
        let hash = epoch_hash(message.group, message.epoch, &message.challenge, &message.policy_hash);
        let digest = self.provisioning.verifier_domain().digest(&hash);
        if recover_address(&digest, &message.signature) != Ok(self.gateway) {
            return Err(Refusal::field(NackCode::BadSignature, 5));
        }
        if message.group != self.group {
            return Err(Refusal::field(NackCode::FieldValue, 1));
        }
        if message.epoch == self.chain.epoch && message.epoch != 0 {
            return self.on_epoch_again(message);
        }
        if message.epoch < self.chain.epoch || message.epoch == 0 {
            return Err(Refusal::new(NackCode::StaleEpoch));
        }
        self.check_advance(message.epoch)?;
        let held = self.policy_by_hash(&message.policy_hash).ok_or(Refusal::new(NackCode::StalePolicy))?;
        if self.policy_in_force(message.epoch).map(|policy| policy.hash) != Some(held.hash) {
            return Err(Refusal::field(NackCode::FieldValue, 4));
        }
        self.open_epoch(message)
    }

    /// The open epoch is announced at every connection.
    fn on_epoch_again(&mut self, message: &Epoch) -> Result<(), Refusal> {
        if message.challenge != self.chain.challenge {
            return Err(Refusal::field(NackCode::FieldValue, 3));
        }
        if message.policy_hash != self.chain.policy_hash {
            return Err(Refusal::field(NackCode::FieldValue, 4));
        }
        self.epoch_confirmed = true;
        Ok(())
    }

    /// A gateway that announced an epoch far ahead would lock the pile out of all epochs before it.
    fn check_advance(&self, epoch: u32) -> Result<(), Refusal> {
        let allowed = match self.epoch_opened_at {
            _ if self.chain.epoch == 0 => u64::from(self.settings.epoch_first_max),
            Some(opened_at) if self.settings.epoch_ms_min > 0 => self
                .clock
                .now_ms()
                .saturating_sub(opened_at)
                .checked_div(u64::from(self.settings.epoch_ms_min))
                .unwrap_or(0)
                .saturating_add(u64::from(EPOCH_SLACK)),
            Some(_) | None => u64::from(self.settings.epoch_advance_max),
        };
        let advance = u64::from(epoch.saturating_sub(self.chain.epoch));
        // No epoch could follow the last number.
        if advance > allowed || epoch == u32::MAX {
            return Err(Refusal::field(NackCode::FieldValue, 2));
        }
        Ok(())
    }

    fn open_epoch(&mut self, message: &Epoch) -> Result<(), Refusal> {
        let chain = ChainRecord {
            epoch: message.epoch,
            n: 0,
            head: statement::FIRST_HEAD,
            group: self.group,
            index: self.index,
            challenge: message.challenge,
            policy_hash: message.policy_hash,
            acked_version: self.chain.acked_version,
        };
        #[cfg(feature = "bls")]
        self.close_epoch()?;
        if self.storage.store(Slot::Chain, &chain.encode()).is_err() {
            self.storage_failed(Slot::Chain);
            return Err(Refusal::retry(NackCode::Storage));
        }
        self.chain = chain;
        self.epoch_confirmed = true;
        self.epoch_opened_at = Some(self.clock.now_ms());
        self.events.push(Event::EpochOpened { epoch: chain.epoch });
        self.expire_ticket();
        Ok(())
    }

    /// Whether statements may be signed: the open epoch is the one this gateway announced on this connection.
    pub(crate) const fn epoch_open(&self) -> bool {
        self.epoch_confirmed && self.chain.epoch != 0
    }

    /// Where the next statement stands. `reserve` numbers are left for others.
    pub(crate) fn next_statement(&self, reserve: u8) -> Result<NextStatement, Error> {
        let limit = STATEMENTS_PER_EPOCH_MAX.saturating_sub(reserve);
        let n = self.chain.n.checked_add(1).filter(|n| *n <= limit).ok_or(Error::Exhausted)?;
        Ok(NextStatement { epoch: self.chain.epoch, n, prev_head: self.chain.head })
    }

    /// Appends the statement to the chain, durably, then signs the new head. If storing fails nothing is signed, so the same
    /// number may be given to another statement.
    pub(crate) fn sign_statement(&mut self, at: NextStatement, stmt: &Hash) -> Result<Signature, Error> {
        let chain = ChainRecord {
            n: at.n,
            head: statement::next_head(&at.prev_head, stmt),
            group: self.group,
            index: self.index,
            ..self.chain
        };
        self.storage.store(Slot::Chain, &chain.encode())?;
        self.chain = chain;
        let head = Head {
            group: chain.group,
            index: chain.index,
            epoch: chain.epoch,
            challenge: chain.challenge,
            policy_hash: chain.policy_hash,
            n: chain.n,
            head: chain.head,
        };
        Ok(self.key.sign(&self.provisioning.verifier_domain().digest(&head_hash(&head))))
    }
}

/// Numbers of an epoch that only AUTH may use.
pub(crate) const AUTH_RESERVE: u8 = 16;
