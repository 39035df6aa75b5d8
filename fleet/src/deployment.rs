//! `contracts/deployments/<chainId>.json`: where the contracts stand (docs/architecture.md).

use std::path::Path;

use alloy::primitives::Address;
use cip22_device_sdk::Provisioning;
use cip22_wire::{DeviceId, digest::Domain};
use serde::Deserialize;

use crate::error::FleetError;

/// The contracts of one network, as far as the fleet looks at them.
#[derive(Clone, Debug, Deserialize)]
pub struct Deployment {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// First block that may hold an event.
    pub start_block: u64,
    /// Blocks in an epoch.
    pub epoch_len_blocks: u64,
    /// DeviceRegistry, where keys are enrolled.
    pub device_registry: Address,
    /// PolicyRegistry.
    pub policy_registry: Address,
    /// BatteryLedger.
    pub battery_ledger: Address,
    /// Address of the governance key.
    pub policy_signer: Address,
    /// Every verifier; new sessions use the last.
    pub verifiers: Vec<Verifier>,
}

/// One ChargingAuthVerifier.
#[derive(Clone, Debug, Deserialize)]
pub struct Verifier {
    /// Address.
    pub address: Address,
}

impl Deployment {
    /// Reads and checks `path`.
    ///
    /// # Errors
    /// The file, or the field at fault.
    pub fn load(path: &Path) -> Result<Self, FleetError> {
        let text = std::fs::read_to_string(path).map_err(FleetError::file(path))?;
        let deployment: Self =
            serde_json::from_str(&text).map_err(|error| FleetError::content(path, error))?;
        if deployment.verifiers.is_empty() {
            return Err(FleetError::content(path, "verifiers is empty"));
        }
        Ok(deployment)
    }

    /// Domain in which a device proves that it holds its BLS key.
    #[must_use]
    pub fn registry_domain(&self) -> Domain {
        Domain { chain_id: self.chain_id, verifying_contract: self.device_registry.into_array() }
    }

    /// What a pile is told at commissioning.
    #[must_use]
    pub fn provisioning(&self, device_id: DeviceId) -> Provisioning {
        Provisioning {
            device_id,
            chain_id: self.chain_id,
            verifier: self.verifiers.last().map(|verifier| verifier.address.into_array()).unwrap_or_default(),
            policy_registry: self.policy_registry.into_array(),
            policy_signer: self.policy_signer.into_array(),
            circuit_version_min: 0,
        }
    }
}
