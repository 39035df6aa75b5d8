//! `contracts/deployments/<chainId>.json`: where the contracts stand, as the deployment script wrote it.

use std::path::Path;

use cip22_wire::Address;
use serde_json::Value;

pub use crate::error::DeploymentError;

/// The contracts of one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// First block that may hold an event of these contracts.
    pub start_block: u64,
    /// Blocks in an epoch.
    pub epoch_len_blocks: u64,
    /// Words in a group's ring: epochs that may still be recorded.
    pub ring_epochs: u32,
    /// AccessManager.
    pub access_manager: Address,
    /// DeviceRegistry.
    pub device_registry: Address,
    /// GatewayRegistry.
    pub gateway_registry: Address,
    /// PolicyRegistry.
    pub policy_registry: Address,
    /// BatteryLedger.
    pub battery_ledger: Address,
    /// Address of the governance key that signs policies.
    pub policy_signer: Address,
    /// Every verifier, oldest first; at least one.
    pub verifiers: Vec<Verifier>,
}

/// One ChargingAuthVerifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    /// Address.
    pub address: Address,
    /// Its name for people.
    pub label: String,
}

impl Deployment {
    /// Reads and checks the file. Errors name the file and the field.
    pub fn load(path: &Path) -> Result<Self, DeploymentError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| DeploymentError::Read { path: shown.clone(), source })?;
        Self::parse(&shown, &text)
    }

    /// Parses the document `text`; `path` only serves the error. Unknown fields are left to their writers.
    pub fn parse(path: &str, text: &str) -> Result<Self, DeploymentError> {
        let document: Value = serde_json::from_str(text)
            .map_err(|source| DeploymentError::Json { path: path.to_owned(), source })?;
        let fields = Fields { path, document: &document };
        let deployment = Self {
            chain_id: fields.number("chain_id", 1, u64::MAX)?,
            start_block: fields.number("start_block", 0, u64::MAX)?,
            epoch_len_blocks: fields.number("epoch_len_blocks", 1, u64::from(u32::MAX))?,
            ring_epochs: u32::try_from(fields.number("ring_epochs", 1, u64::from(u32::MAX))?)
                .unwrap_or(u32::MAX),
            access_manager: fields.address("access_manager")?,
            device_registry: fields.address("device_registry")?,
            gateway_registry: fields.address("gateway_registry")?,
            policy_registry: fields.address("policy_registry")?,
            battery_ledger: fields.address("battery_ledger")?,
            policy_signer: fields.address("policy_signer")?,
            verifiers: fields.verifiers()?,
        };
        Ok(deployment)
    }

    /// The verifier that new sessions use: the last of the list.
    pub fn verifier(&self) -> Address {
        self.verifiers.last().map_or([0; 20], |verifier| verifier.address)
    }

    /// The epoch of a block.
    pub fn epoch_of(&self, block: u64) -> u32 {
        u32::try_from(block / self.epoch_len_blocks).unwrap_or(u32::MAX)
    }

    /// The block whose hash is the epoch's challenge; its first.
    pub fn challenge_block(&self, epoch: u32) -> u64 {
        u64::from(epoch) * self.epoch_len_blocks
    }

    /// The oldest epoch that a call executed in block `latest + 1` may still record.
    pub fn oldest_epoch(&self, latest: u64) -> u32 {
        self.epoch_of(latest.saturating_add(1)).saturating_sub(self.ring_epochs - 1)
    }

    /// The last block in which `epoch` may still be recorded.
    pub fn expires_block(&self, epoch: u32) -> u64 {
        let first_after = u64::from(epoch) + u64::from(self.ring_epochs);
        first_after.saturating_mul(self.epoch_len_blocks) - 1
    }
}

struct Fields<'a> {
    path: &'a str,
    document: &'a Value,
}

impl Fields<'_> {
    fn error(&self, field: &str, problem: impl Into<String>) -> DeploymentError {
        DeploymentError::Field {
            path: self.path.to_owned(),
            field: field.to_owned(),
            problem: problem.into(),
        }
    }

    fn required(&self, field: &str) -> Result<&Value, DeploymentError> {
        self.document.get(field).ok_or_else(|| self.error(field, "is missing"))
    }

    fn number(&self, field: &str, least: u64, most: u64) -> Result<u64, DeploymentError> {
        let value = self.required(field)?;
        match value.as_u64() {
            Some(number) if (least..=most).contains(&number) => Ok(number),
            _ => {
                Err(self.error(field, format!("must be a whole number from {least} to {most}, not {value}")))
            }
        }
    }

    fn address(&self, field: &str) -> Result<Address, DeploymentError> {
        self.address_of(field, self.required(field)?)
    }

    fn address_of(&self, field: &str, value: &Value) -> Result<Address, DeploymentError> {
        let text = value
            .as_str()
            .ok_or_else(|| self.error(field, format!("must be an address in quotes, not {value}")))?;
        let digits = text
            .strip_prefix("0x")
            .ok_or_else(|| self.error(field, format!("must begin with 0x, not {text:?}")))?;
        let mut address = [0; 20];
        hex::decode_to_slice(digits, &mut address)
            .map_err(|_| self.error(field, format!("must be 0x and 40 hex digits, not {text:?}")))?;
        if address == [0; 20] {
            return Err(self.error(field, "is the zero address"));
        }
        Ok(address)
    }

    fn verifiers(&self) -> Result<Vec<Verifier>, DeploymentError> {
        let list = self
            .required("verifiers")?
            .as_array()
            .ok_or_else(|| self.error("verifiers", "must be a list of {address, label}"))?;
        if list.is_empty() {
            return Err(self.error("verifiers", "is empty: at least one is needed"));
        }
        let mut verifiers: Vec<Verifier> = Vec::with_capacity(list.len());
        for (position, entry) in list.iter().enumerate() {
            let field = format!("verifiers[{position}].address");
            let address = entry.get("address").ok_or_else(|| self.error(&field, "is missing"))?;
            let address = self.address_of(&field, address)?;
            if verifiers.iter().any(|known| known.address == address) {
                return Err(self.error(&field, "is in the list twice"));
            }
            let label = entry.get("label").and_then(Value::as_str).ok_or_else(|| {
                self.error(&format!("verifiers[{position}].label"), "must be a text in quotes")
            })?;
            verifiers.push(Verifier { address, label: label.to_owned() });
        }
        Ok(verifiers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Value {
        let address = |digit: &str| format!("0x{}", digit.repeat(40));
        serde_json::json!({
            "chain_id": 1235, "start_block": 12, "epoch_len_blocks": 20, "ring_epochs": 32,
            "access_manager": address("1"), "device_registry": address("2"), "gateway_registry": address("3"),
            "policy_registry": address("4"), "battery_ledger": address("5"), "policy_signer": address("6"),
            "verifiers": [{"address": address("7"), "label": "v1"}, {"address": address("8"), "label": "v2"}],
        })
    }

    fn problem(document: &Value) -> String {
        Deployment::parse("1235.json", &document.to_string()).unwrap_err().to_string()
    }

    #[test]
    fn the_last_verifier_serves_new_sessions() {
        let deployment = Deployment::parse("1235.json", &document().to_string()).unwrap();
        assert_eq!(deployment.verifier(), [0x88; 20]);
        assert_eq!(deployment.verifiers[0].label, "v1");
    }

    #[test]
    fn every_missing_field_is_named_with_its_file() {
        for field in document().as_object().unwrap().keys() {
            let mut broken = document();
            broken.as_object_mut().unwrap().remove(field);
            assert_eq!(problem(&broken), format!("deployment file 1235.json: field `{field}` is missing"));
        }
    }

    #[test]
    fn impossible_values_are_refused_by_name() {
        let cases = [
            ("epoch_len_blocks", serde_json::json!(0), "must be a whole number from 1"),
            ("chain_id", serde_json::json!("1235"), "must be a whole number"),
            ("battery_ledger", serde_json::json!("0x12"), "40 hex digits"),
            ("battery_ledger", serde_json::json!(format!("0x{}", "0".repeat(40))), "zero address"),
            ("verifiers", serde_json::json!([]), "is empty"),
        ];
        for (field, value, expected) in cases {
            let mut broken = document();
            broken[field] = value;
            let problem = problem(&broken);
            assert!(problem.contains(field) && problem.contains(expected), "{problem}");
        }
    }

    #[test]
    fn a_verifier_listed_twice_is_refused() {
        let mut broken = document();
        broken["verifiers"][1] = broken["verifiers"][0].clone();
        assert!(problem(&broken).contains("`verifiers[1].address` is in the list twice"));
    }

    #[test]
    fn the_window_holds_exactly_the_ring() {
        let deployment = Deployment::parse("1235.json", &document().to_string()).unwrap();
        let epoch = 100;
        let last = deployment.expires_block(epoch);
        assert_eq!(deployment.oldest_epoch(last - 1), epoch, "the next block is the last that takes it");
        assert_eq!(deployment.oldest_epoch(last), epoch + 1);
        assert_eq!(deployment.epoch_of(deployment.challenge_block(epoch)), epoch);
    }

    #[test]
    fn the_largest_window_has_an_end() {
        let mut document = document();
        document["epoch_len_blocks"] = u32::MAX.into();
        document["ring_epochs"] = u32::MAX.into();
        let deployment = Deployment::parse("1235.json", &document.to_string()).unwrap();
        assert_eq!(deployment.expires_block(u32::MAX), u64::MAX - 1);
    }
}
