//! The part of `relayer check` that asks the endpoints: what they can, whether the deployment file is true, and who pays.

use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{Bytes, U64};
use alloy::sol_types::SolCall;
use cip22_wire::{Address, Hash};
use serde_json::{Value, json};

use self::abi::{
    deviceRegistryCall, epochLenBlocksCall, gatewayCall, groupSizeCall, groupsOfCall, newestVersionCall,
    pausedCall, policyAtCall, policyRegistryCall, policySignerCall, ringEpochsCall, ringOpenedCall,
    verifiersCall,
};
use super::funds::{self, Load, Market};
use super::{Finding, installation};
use crate::chain::endpoints::Node as _;
use crate::chain::espace::EspaceChain;
use crate::chain::fees::FeePolicy;
use crate::chain::{Chain, ChainError, precompiles};
use crate::clock::SharedClock;
use crate::config::{Config, Endpoint};
use crate::deployment::Deployment;
use crate::disk::Disk;
use crate::error::with_causes;

#[allow(missing_docs, missing_debug_implementations, clippy::all, reason = "generated from the declarations")]
mod abi {
    alloy::sol! {
        function epochLenBlocks() external view returns (uint256);
        function ringEpochs() external view returns (uint256);
        function deviceRegistry() external view returns (address);
        function policyRegistry() external view returns (address);
        function policySigner() external view returns (address);
        function verifiers() external view returns (address[] memory);
        function paused() external view returns (bool);
        function policyAt(uint32 epoch) external view returns (bytes32);
        function newestVersion() external view returns (uint32);
        function ringOpened(uint32 group) external view returns (uint32);
        function groupSize(uint32 group) external view returns (uint256);
        function gateway(address gatewayKey) external view returns (address owner, uint256 bond, uint64 availableAt);
        function groupsOf(address gatewayKey) external view returns (uint32[] memory);
    }
}

/// Time for one call, ms.
const CALL_TIMEOUT_MS: u64 = 10_000;
/// A head older than this is not fresh, s.
const HEAD_AGE_MAX_S: u64 = 60;
/// Blocks of one `eth_getLogs` that the relayer would ask for.
const LOG_RANGE_BLOCKS: u64 = 1_000;

/// Every endpoint, then the deployment and the funds by the first one that serves the right chain.
pub(super) async fn all(disk: &dyn Disk, config: &Config, clock: SharedClock) -> Vec<Finding> {
    let Ok(deployment) = Deployment::load(&config.chain.deployment_file).map(Arc::new) else {
        return vec![Finding::fail("chain", "not looked at: there is no deployment file", "mend that first")];
    };
    let mut findings = Vec::new();
    let mut usable = None;
    let mut genesis = Vec::new();
    for endpoint in endpoints(config) {
        let name = format!("endpoint {}", endpoint.redacted());
        let timeout = Duration::from_millis(CALL_TIMEOUT_MS);
        let chain = EspaceChain::new(endpoint.expose(), timeout, deployment.clone(), clock.clone());
        match chain {
            Err(error) => findings.push(Finding::fail(&name, with_causes(&error), MEND_ENDPOINT)),
            Ok(chain) => {
                let node = Node { chain, deployment: deployment.clone() };
                if node.look(&name, clock.unix_ms(), &mut findings).await {
                    genesis.extend(node.chain.block_hash(0).await.ok().flatten());
                    usable = usable.or(Some(node));
                }
            }
        }
    }
    findings.extend(same_chain(&genesis));
    match usable {
        Some(node) => {
            node.deployment(&mut findings).await;
            node.gateway_and_funds(disk, config, &mut findings).await;
        }
        None => findings.push(Finding::fail(
            "deployment on chain",
            "not looked at: no endpoint of that chain answers",
            MEND_ENDPOINT,
        )),
    }
    findings
}

/// Two networks may have one chain id, and never one genesis block.
fn same_chain(genesis: &[Hash]) -> Option<Finding> {
    let (first, others) = genesis.split_first()?;
    (others.iter().any(|other| other != first)).then(|| {
        let detail = "block 0 is not the same on all of them, though the chain id is";
        Finding::fail("endpoints", detail, "name endpoints of one network")
    })
}

fn endpoints(config: &Config) -> impl Iterator<Item = &Endpoint> {
    config.chain.endpoints.iter()
}

/// One endpoint.
struct Node {
    chain: EspaceChain,
    deployment: Arc<Deployment>,
}

impl Node {
    /// What the endpoint is and can; returns whether it serves the right chain.
    async fn look(&self, name: &str, now_ms: u64, findings: &mut Vec<Finding>) -> bool {
        let expected = self.deployment.chain_id;
        match self.chain.chain_id().await {
            Ok(found) if found == expected => findings.push(Finding::ok(name, format!("chain {found}"))),
            Ok(found) => {
                let detail = format!("serves chain {found}, the deployment file is for {expected}");
                findings.push(Finding::fail(
                    name,
                    detail,
                    "name an endpoint of that chain, or its deployment file",
                ));
                return false;
            }
            Err(error) => {
                findings.push(Finding::fail(name, with_causes(&error), MEND_ENDPOINT));
                return false;
            }
        }
        findings.push(outcome(format!("{name} space"), self.space().await));
        findings.push(outcome(format!("{name} sync"), self.sync().await));
        findings.extend(self.heads(name, now_ms).await);
        findings.push(outcome(format!("{name} logs"), self.logs(name).await));
        findings.push(outcome(format!("{name} curves"), self.curves(name).await));
        true
    }

    /// Conflux has two spaces; the contracts stand in eSpace.
    async fn space(&self) -> Result<Finding, ChainError> {
        let name = format!("endpoint {} space", self.chain.endpoint());
        Ok(if self.chain.is_espace().await? {
            Finding::ok(name, "blocks of Conflux eSpace")
        } else {
            Finding::warn(
                name,
                "its blocks are not those of Conflux eSpace",
                "name an eSpace endpoint; fees and limits of another chain are not known here",
            )
        })
    }

    async fn sync(&self) -> Result<Finding, ChainError> {
        let name = format!("endpoint {} sync", self.chain.endpoint());
        Ok(if self.chain.is_syncing().await? {
            Finding::warn(
                name,
                "the node is catching up: what it says is old",
                "wait, or name another endpoint",
            )
        } else {
            Finding::ok(name, "not catching up")
        })
    }

    /// The three tags, and the clock against the newest block.
    async fn heads(&self, name: &str, now_ms: u64) -> Vec<Finding> {
        let heads = match self.chain.heads().await {
            Ok(heads) => heads,
            Err(error) => {
                return vec![Finding::fail(format!("{name} heads"), with_causes(&error), MEND_ENDPOINT)];
            }
        };
        let tags = format!("latest {}, safe {}, finalized {}", heads.latest, heads.safe, heads.finalized);
        let tags = if heads.safe == 0 {
            let mend = "wait: without `safe` no epoch is announced. A young chain has none for about a hundred blocks";
            Finding::warn(format!("{name} heads"), tags, mend)
        } else if heads.finalized == 0 {
            Finding::warn(
                format!("{name} heads"),
                tags,
                "AUTH_FINAL with level FINAL will not be told; a devnet has no `finalized`",
            )
        } else {
            Finding::ok(format!("{name} heads"), tags)
        };
        let clock = match self.timestamp(heads.latest).await {
            Ok(block_s) => clock_finding(block_s, now_ms / 1_000),
            Err(error) => Finding::fail("clock", with_causes(&error), MEND_ENDPOINT),
        };
        vec![tags, clock]
    }

    async fn timestamp(&self, block: u64) -> Result<u64, ChainError> {
        let method = "eth_getBlockByNumber";
        let found: Value = self.chain.call(method, (U64::from(block), false)).await?;
        let digits = found["timestamp"].as_str().and_then(|text| text.strip_prefix("0x"));
        digits
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .ok_or_else(|| ChainError::Malformed { method, what: "no timestamp".to_owned() })
    }

    /// The widest range of blocks that `eth_getLogs` takes.
    async fn logs(&self, name: &str) -> Result<Finding, ChainError> {
        let name = format!("{name} logs");
        let latest = self.chain.heads().await?.latest;
        let mut range = LOG_RANGE_BLOCKS;
        loop {
            let from = latest.saturating_sub(range - 1);
            match self.whole_range(from, latest).await {
                Ok(()) if range == LOG_RANGE_BLOCKS => {
                    return Ok(Finding::ok(name, format!("eth_getLogs takes {range} blocks")));
                }
                Ok(()) => {
                    let detail = format!("eth_getLogs takes no more than about {range} blocks");
                    return Ok(Finding::warn(
                        name,
                        detail,
                        "the start takes longer; prefer an endpoint that takes 1000",
                    ));
                }
                Err(ChainError::Refused { .. }) if range > 1 => range /= 10,
                Err(error) => return Err(error),
            }
        }
    }

    async fn whole_range(&self, from: u64, to: u64) -> Result<(), ChainError> {
        let filter = json!({
            "fromBlock": U64::from(from), "toBlock": U64::from(to), "address": hex0x(&self.deployment.device_registry),
        });
        let _: Value = self.chain.call("eth_getLogs", (filter,)).await?;
        Ok(())
    }

    async fn curves(&self, name: &str) -> Result<Finding, ChainError> {
        let name = format!("{name} curves");
        Ok(if precompiles::has_bls(&self.chain).await? {
            Finding::ok(name, "EIP-2537 is there: batches may go by lane 2")
        } else {
            Finding::warn(
                name,
                "no BLS12-381 precompiles (EIP-2537) on this network: batches go by lane 1",
                "nothing to do: every pile is recorded by its ECDSA signature, which costs more",
            )
        })
    }

    async fn eth_call(&self, to: Address, data: Vec<u8>) -> Result<Bytes, ChainError> {
        let call = json!({ "to": hex0x(&to), "data": hex0x(&data) });
        self.chain.call("eth_call", (call, "latest")).await
    }

    async fn view<C: SolCall>(&self, to: Address, call: C) -> Result<C::Return, ChainError> {
        let bytes = self.eth_call(to, call.abi_encode()).await?;
        C::abi_decode_returns(&bytes)
            .map_err(|error| ChainError::Malformed { method: "eth_call", what: error.to_string() })
    }

    /// The deployment file against the chain.
    async fn deployment(&self, findings: &mut Vec<Finding>) {
        let before = findings.len();
        let file = &*self.deployment;
        let mut contracts = vec![
            ("access_manager", file.access_manager),
            ("device_registry", file.device_registry),
            ("gateway_registry", file.gateway_registry),
            ("policy_registry", file.policy_registry),
            ("battery_ledger", file.battery_ledger),
        ];
        contracts.extend(file.verifiers.iter().map(|verifier| ("verifiers", verifier.address)));
        for (field, address) in contracts {
            match self.chain.has_code(address).await {
                Ok(true) => {}
                Ok(false) => findings.push(Finding::fail(
                    format!("deployment.{field}"),
                    format!("no code stands at {}", hex0x(&address)),
                    MEND_DEPLOYMENT,
                )),
                Err(error) => {
                    findings.push(Finding::fail(
                        format!("deployment.{field}"),
                        with_causes(&error),
                        MEND_ENDPOINT,
                    ));
                }
            }
        }
        if findings.len() > before {
            // Calls to what is not there would only say the same again.
            return;
        }
        match self.wiring().await {
            Ok(wrong) if wrong.is_empty() => findings.push(Finding::ok(
                "deployment on chain",
                format!("{} verifiers, wired as the file says", file.verifiers.len()),
            )),
            Ok(wrong) => {
                findings.extend(wrong.into_iter().map(|(field, detail)| {
                    Finding::fail(format!("deployment.{field}"), detail, MEND_DEPLOYMENT)
                }));
            }
            Err(error) => {
                findings.push(Finding::fail("deployment on chain", with_causes(&error), MEND_DEPLOYMENT));
            }
        }
        findings.push(outcome("recording".to_owned(), self.recording().await));
    }

    /// What the contracts say otherwise than the file: field and detail.
    async fn wiring(&self) -> Result<Vec<(&'static str, String)>, ChainError> {
        let file = &*self.deployment;
        let mut wrong = Vec::new();
        let mut compare = |field, what: &str, found: String, expected: String| {
            if found != expected {
                wrong.push((field, format!("{what} is {found}, the file says {expected}")));
            }
        };
        for verifier in &file.verifiers {
            let at = hex0x(&verifier.address);
            let epoch_len = self.view(verifier.address, epochLenBlocksCall {}).await?;
            compare(
                "epoch_len_blocks",
                &format!("epochLenBlocks of verifier {at}"),
                epoch_len.to_string(),
                file.epoch_len_blocks.to_string(),
            );
            let ring = self.view(verifier.address, ringEpochsCall {}).await?;
            let expected = file.ring_epochs.to_string();
            compare("ring_epochs", &format!("ringEpochs of verifier {at}"), ring.to_string(), expected);
            let devices = self.view(verifier.address, deviceRegistryCall {}).await?;
            let expected = hex0x(&file.device_registry);
            compare(
                "device_registry",
                &format!("deviceRegistry of verifier {at}"),
                hex0x(&devices[..]),
                expected,
            );
            let policies = self.view(verifier.address, policyRegistryCall {}).await?;
            let expected = hex0x(&file.policy_registry);
            compare(
                "policy_registry",
                &format!("policyRegistry of verifier {at}"),
                hex0x(&policies[..]),
                expected,
            );
        }
        let ledger = self.view(file.battery_ledger, deviceRegistryCall {}).await?;
        compare("battery_ledger", "its deviceRegistry", hex0x(&ledger[..]), hex0x(&file.device_registry));
        let signer = self.view(file.policy_registry, policySignerCall {}).await?;
        compare(
            "policy_signer",
            "policySigner of the policy registry",
            hex0x(&signer[..]),
            hex0x(&file.policy_signer),
        );
        for (field, registry) in
            [("device_registry", file.device_registry), ("policy_registry", file.policy_registry)]
        {
            let attached = self.view(registry, verifiersCall {}).await?;
            let ours = file.verifier();
            if !attached.iter().any(|verifier| verifier[..] == ours) {
                wrong.push((field, format!("verifier {} is not attached to it", hex0x(&ours))));
            }
        }
        Ok(wrong)
    }

    /// Whether the verifier takes records now.
    async fn recording(&self) -> Result<Finding, ChainError> {
        let name = "recording";
        let file = &*self.deployment;
        if self.view(file.verifier(), pausedCall {}).await? {
            return Ok(Finding::warn(
                name,
                "the verifier is paused: nothing is recorded",
                "ask the guardian",
            ));
        }
        let epoch = file.epoch_of(self.chain.heads().await?.latest);
        let newest = self.view(file.policy_registry, newestVersionCall {}).await?;
        let in_force = self.view(file.verifier(), policyAtCall { epoch }).await?;
        if in_force.is_zero() {
            let detail = format!("no policy is in force in epoch {epoch}; the newest is version {newest}");
            return Ok(Finding::warn(name, detail, "schedule one: until then no epoch is announced"));
        }
        Ok(Finding::ok(
            name,
            format!("not paused; a policy is in force in epoch {epoch}, the newest is version {newest}"),
        ))
    }

    /// The gateway's registration, and what the paying accounts hold.
    async fn gateway_and_funds(&self, disk: &dyn Disk, config: &Config, findings: &mut Vec<Finding>) {
        let mut devices = None;
        if let Ok(key) = installation::gateway_key(disk, config) {
            let name = "gateway registration".to_owned();
            match self.registration(key.address()).await {
                Ok((finding, served)) => {
                    findings.push(finding);
                    devices = served;
                }
                Err(error) => findings.push(Finding::fail(name, with_causes(&error), MEND_ENDPOINT)),
            }
        }
        let signers = installation::signer_addresses(disk, config).unwrap_or_default();
        if !signers.is_empty() {
            findings.extend(
                self.funds(config, &signers, devices)
                    .await
                    .unwrap_or_else(|error| vec![Finding::fail("funds", with_causes(&error), MEND_ENDPOINT)]),
            );
        }
    }

    /// The finding, and how many devices are in the groups served.
    async fn registration(&self, gateway: Address) -> Result<(Finding, Option<u128>), ChainError> {
        let name = "gateway registration";
        let registry = self.deployment.gateway_registry;
        let entry = self.view(registry, gatewayCall { gatewayKey: gateway.into() }).await?;
        if entry.owner.is_zero() {
            let detail = format!("{} is not in the gateway registry", hex0x(&gateway));
            let mend = "register it (contracts/script/RegisterGateway.s.sol); relayer and piles do not depend on it yet";
            return Ok((Finding::warn(name, detail, mend), None));
        }
        let groups = self.view(registry, groupsOfCall { gatewayKey: gateway.into() }).await?;
        let mut devices = 0_u128;
        let mut closed = Vec::new();
        for group in &groups {
            let size = self.view(self.deployment.device_registry, groupSizeCall { group: *group }).await?;
            devices = devices.saturating_add(u128::try_from(size).unwrap_or(u128::MAX));
            let opened = self.view(self.deployment.verifier(), ringOpenedCall { group: *group }).await?;
            if opened < self.deployment.ring_epochs {
                closed.push(format!("{group} ({opened} of {})", self.deployment.ring_epochs));
            }
        }
        let bond = funds::cfx(u128::try_from(entry.bond).unwrap_or(u128::MAX));
        let detail = format!("bond {bond}, groups {groups:?} with {devices} devices");
        let finding = if entry.availableAt > 0 {
            Finding::warn(
                name,
                format!("{detail}, leaving"),
                "its bond is being withdrawn: register again or retire it",
            )
        } else if !closed.is_empty() {
            let detail = format!("{detail}; the ring is not open for group {}", closed.join(", "));
            Finding::warn(name, detail, "call openRing for it: until then a record of a closed epoch reverts")
        } else {
            Finding::ok(name, detail)
        };
        Ok((finding, Some(devices)))
    }

    async fn funds(
        &self,
        config: &Config,
        signers: &[Address],
        devices: Option<u128>,
    ) -> Result<Vec<Finding>, ChainError> {
        const GWEI: u128 = 1_000_000_000;
        let latest = self.chain.heads().await?.latest;
        let back = latest.min(1_000);
        let (now_s, then_s) = (self.timestamp(latest).await?, self.timestamp(latest - back).await?);
        let span_s = u128::from(now_s.saturating_sub(then_s).max(1));
        let market = Market {
            base_fee: self.chain.base_fee().await?,
            thousand_blocks_s: span_s.saturating_mul(1_000) / u128::from(back.max(1)),
            epoch_len_blocks: u128::from(self.deployment.epoch_len_blocks),
        };
        let records_max = config.batch.records_max as u128;
        let load = Load { devices: devices.filter(|count| *count > 0).unwrap_or(records_max), records_max };
        let fees = FeePolicy {
            max_fee_per_gas_cap: u128::from(config.chain.max_fee_gwei) * GWEI,
            tip_per_gas: u128::from(config.chain.priority_fee_gwei) * GWEI,
        };
        let (one, day) = funds::needed(&market, &load, &fees);
        let mut balances = Vec::new();
        for signer in signers {
            balances.push((*signer, self.chain.balance(*signer).await?));
        }
        Ok(funds_findings(&balances, one, day, load.devices))
    }
}

/// A finding for each account that cannot pay one transaction, and one for all of them against a day.
fn funds_findings(balances: &[(Address, u128)], one: u128, day: u128, devices: u128) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (signer, balance) in balances.iter().filter(|(_, balance)| *balance < one) {
        let detail = format!("holds {}; one transaction may cost {}", funds::cfx(*balance), funds::cfx(one));
        findings.push(Finding::fail(format!("signer {}", hex0x(signer)), detail, "send CFX to it"));
    }
    let total: u128 = balances.iter().fold(0, |sum, (_, balance)| sum.saturating_add(*balance));
    let detail = format!(
        "{} in all; a day with {devices} devices in every epoch may cost {}",
        funds::cfx(total),
        funds::cfx(day)
    );
    findings.push(if total < day {
        Finding::warn("funds", detail, "send CFX to the signers, or watch signer_balance_drip")
    } else {
        Finding::ok("funds", detail)
    });
    findings
}

/// Our clock against the newest block's time.
fn clock_finding(block_s: u64, now_s: u64) -> Finding {
    if block_s > now_s.saturating_add(CLOCK_AHEAD_MAX_S) {
        let detail = format!("the newest block is {} s in our future", block_s - now_s);
        return Finding::warn("clock", detail, "our clock is behind: see to time synchronisation");
    }
    let age_s = now_s.saturating_sub(block_s);
    if age_s > HEAD_AGE_MAX_S {
        let detail = format!("the newest block is {age_s} s old");
        return Finding::warn(
            "clock",
            detail,
            "the chain stands still, the endpoint lags, or our clock is ahead",
        );
    }
    Finding::ok("clock", format!("the newest block is {age_s} s old"))
}

fn outcome(name: String, found: Result<Finding, ChainError>) -> Finding {
    found.unwrap_or_else(|error| Finding::fail(name, with_causes(&error), MEND_ENDPOINT))
}

fn hex0x(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

/// A block may be so far in our future, s: clocks differ.
const CLOCK_AHEAD_MAX_S: u64 = 5;
const MEND_ENDPOINT: &str = "see to the endpoint, or name another one in the configuration";
const MEND_DEPLOYMENT: &str = "take the deployment file of this network, as the deployment script wrote it";

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn an_old_head_and_a_clock_behind_are_each_named() {
        assert_eq!(clock_finding(1_000, 1_003).level, Level::Ok);
        assert_eq!(clock_finding(1_000, 998).level, Level::Ok);
        let old = clock_finding(1_000, 1_100);
        assert!(old.level == Level::Warn && old.detail.contains("100 s old"), "{old:?}");
        let behind = clock_finding(1_100, 1_000);
        assert!(behind.level == Level::Warn && behind.detail.contains("100 s in our future"), "{behind:?}");
    }

    #[test]
    fn an_empty_signer_fails_and_too_little_for_a_day_is_warned_of() {
        let findings = funds_findings(&[([1; 20], 0), ([2; 20], 50)], 10, 100, 3);
        assert_eq!(findings[0].level, Level::Fail);
        assert_eq!(findings[0].name, format!("signer 0x{}", "01".repeat(20)));
        assert_eq!((findings[1].level, findings.len()), (Level::Warn, 2));
        let rich = funds_findings(&[([2; 20], 500)], 10, 100, 3);
        assert_eq!((rich[0].level, rich.len()), (Level::Ok, 1));
    }

    #[test]
    fn endpoints_of_two_networks_with_one_chain_id_fail() {
        assert!(same_chain(&[]).is_none() && same_chain(&[[1; 32], [1; 32]]).is_none());
        assert_eq!(same_chain(&[[1; 32], [1; 32], [2; 32]]).unwrap().level, Level::Fail);
    }
}
