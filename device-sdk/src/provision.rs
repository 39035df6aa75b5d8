use cip22_wire::{Address, DeviceId, digest::Domain};

use crate::error::Error;

/// Who the pile is and whom it trusts; written at the factory or at commissioning. The gateway's address comes with each
/// connection, from its certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provisioning {
    /// The pile's identity, as in its certificate.
    pub device_id: DeviceId,
    /// EIP-155 id of the chain.
    pub chain_id: u64,
    /// The ChargingAuthVerifier, in whose domain piles and gateways sign.
    pub verifier: Address,
    /// The PolicyRegistry, in whose domain governance signs.
    pub policy_registry: Address,
    /// Address of the governance key.
    pub policy_signer: Address,
    /// Lowest circuit version a ticket may have; this crate answers version 0 only.
    pub circuit_version_min: u8,
}

impl Provisioning {
    /// Domain of what piles and gateways sign.
    #[must_use]
    pub const fn verifier_domain(&self) -> Domain {
        Domain { chain_id: self.chain_id, verifying_contract: self.verifier }
    }

    /// Domain of what governance signs.
    #[must_use]
    pub const fn policy_domain(&self) -> Domain {
        Domain { chain_id: self.chain_id, verifying_contract: self.policy_registry }
    }
}

/// What an operator may change. `default()` suits a charging pile on a wired link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A checkpoint is signed after this many durable records, above 0.
    pub checkpoint_every_records: u32,
    /// Longest wait for HELLO_ACK, ms.
    pub hello_timeout_ms: u32,
    /// First wait before a reconnect, ms; each further one is 1.618 times longer.
    pub reconnect_first_ms: u32,
    /// Reconnect tries before the pile stays offline.
    pub reconnect_tries_max: u8,
    /// Shortest time an epoch can last, ms: advances faster than that, beyond a slack of [`EPOCH_SLACK`] epochs, are refused.
    /// 0 allows what `epoch_advance_max` does at any time.
    pub epoch_ms_min: u32,
    /// Epochs by which an advance may go beyond the newest accepted one while no elapsed time is known, as after a boot: those of
    /// the longest time that the pile may be without power. Above 0.
    pub epoch_advance_max: u32,
    /// Highest epoch that a new pile accepts as its first. Above 0.
    pub epoch_first_max: u32,
}

impl Settings {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let least_one = [
            self.checkpoint_every_records,
            self.hello_timeout_ms,
            self.reconnect_first_ms,
            self.epoch_advance_max,
            self.epoch_first_max,
        ];
        if least_one.contains(&0) { Err(Error::InvalidSetting) } else { Ok(()) }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            checkpoint_every_records: 60,
            hello_timeout_ms: 10_000,
            reconnect_first_ms: 100,
            reconnect_tries_max: 5,
            epoch_ms_min: 0,
            epoch_advance_max: 1 << 20,
            epoch_first_max: 1 << 24,
        }
    }
}

/// Epochs by which an advance may exceed what the elapsed time allows.
pub const EPOCH_SLACK: u32 = 4;
