//! What an authorization costs on a real node, in gas as eSpace charges it: `bench_gas OUT.json`.
//!
//! 256 piles in two groups. One record alone, a batch of 16 and one of all 256, each in an epoch of its own, sent as the relayer
//! sends them: its client, its fee policy, its gas limit. Charged gas is the sender's loss divided by the price paid. The first two
//! are traced to see which slots they wrote; the node's trace of 256 would exceed its own limit on answers.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{B256, U64, U256, keccak256};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolCall;
use cip22_relayer::chain::contracts::{RecordBytes, abi, record_calldata, record_many_calldata};
use cip22_relayer::chain::espace::EspaceChain;
use cip22_relayer::chain::fees::{FeePolicy, gas_limit};
use cip22_relayer::chain::signer::{Call, TransactionSigner};
use cip22_relayer::chain::{Chain, ChainError};
use cip22_relayer::clock::{SharedClock, SystemClock};
use cip22_relayer::deployment::Deployment;
use cip22_wire::digest::{Domain, Head, head_hash};
use cip22_wire::{Address, Hash};
use serde_json::{Value, json};
use system_tests::node::Node;
use system_tests::snapshot::forge_script;
use zeroize::Zeroizing;

const GROUPS: [u32; 2] = [1, 2];
const PILES_PER_GROUP: u8 = 128;
const TRACED_PER_GROUP: u8 = 8;
const GDRIP: u128 = 1_000_000_000;
const BLOCK_INTERVAL_MS: u32 = 100;
const POLL: Duration = Duration::from_millis(100);
const POLLS_MAX: u32 = 1_200;

/// (metric, limit, target), gas per authorization.
const SINGLE: (&str, f64, f64) = ("lane1/single/charged", 45_000.0, 43_500.0);
const BATCH: (&str, f64, f64) = ("lane1/batch256/charged", 7_800.0, 7_600.0);

struct Pile {
    group: u32,
    index: u8,
    key: PrivateKeySigner,
}

struct Bench {
    chain: EspaceChain,
    clock: SharedClock,
    deployment: Arc<Deployment>,
    signer: TransactionSigner,
    piles: Vec<Pile>,
}

/// What one transaction came to.
struct Charge {
    gas_charged: f64,
    gas_used: f64,
    gas_limit: f64,
    recorded: usize,
    transaction: Hash,
    block: u64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = PathBuf::from(std::env::args().nth(1).ok_or("usage: bench_gas OUT.json")?);
    let dir = tempfile::tempdir()?;
    let node = Node::start(&dir.path().join("chain"), None, BLOCK_INTERVAL_MS);
    let piles = piles();
    let deployment_file = dir.path().join("deployment.json");
    let fleet_file = dir.path().join("fleet.json");
    write(&fleet_file, &fleet(&piles))?;
    forge_script("Deploy", &node, &deployment_file, "deployer", &[]);
    let fleet_env = [("FLEET_FILE", fleet_file.display().to_string())];
    forge_script("RegisterFleet", &node, &deployment_file, "deployer", &fleet_env);

    let deployment = Arc::new(Deployment::load(&deployment_file)?);
    let clock: SharedClock = Arc::new(SystemClock::new());
    let key = Zeroizing::new(node.info.account("relayer-1").key.clone());
    let bench = Bench {
        chain: EspaceChain::new(
            &node.info.rpc_url,
            Duration::from_secs(60),
            deployment.clone(),
            clock.clone(),
        )?,
        signer: TransactionSigner::from_hex(&key, deployment.chain_id)?,
        clock,
        deployment,
        piles,
    };
    let metrics = bench.measure().await?;
    println!("{metrics:#}");
    write(&out, &metrics)?;
    Ok(())
}

impl Bench {
    async fn measure(&self) -> Result<Value, Box<dyn std::error::Error>> {
        // Keys count from the epoch after their registration.
        let first = self.deployment.epoch_of(self.chain.heads().await?.latest) + 1;
        let alone = self.piles.first().ok_or("no pile")?;
        self.wait_for_epoch(first).await?;
        let records = [self.record(alone, first).await?];
        let single = self.send(first, record_calldata(alone.group, first, &records)).await?;

        let traced = self.send_batch(first + 1, usize::from(TRACED_PER_GROUP)).await?;
        let batch = self.send_batch(first + 2, usize::from(PILES_PER_GROUP)).await?;
        if (single.recorded, batch.recorded) != (1, self.piles.len()) {
            return Err(format!("{} and {} heads recorded", single.recorded, batch.recorded).into());
        }
        let mut metrics = figures(SINGLE, &single);
        metrics.extend(figures(BATCH, &batch));
        for (name, charge, groups) in [("single", &single, 1), ("batch16", &traced, GROUPS.len())] {
            let (written, created) = self.slots(charge).await?;
            metrics.push(count(&format!("lane1/{name}/slots_written"), written, groups));
            metrics.push(count(&format!("lane1/{name}/slots_created"), created, 0));
        }
        Ok(Value::Array(metrics))
    }

    async fn send_batch(&self, epoch: u32, per_group: usize) -> Result<Charge, Box<dyn std::error::Error>> {
        self.wait_for_epoch(epoch).await?;
        let mut groups = Vec::new();
        for group in GROUPS {
            let mut records = Vec::new();
            for pile in self.piles.iter().filter(|pile| pile.group == group).take(per_group) {
                records.push(self.record(pile, epoch).await?);
            }
            groups.push((group, records));
        }
        self.send(epoch, record_many_calldata(epoch, &groups)).await
    }

    /// A signed head of a pile, with n = 1.
    async fn record(&self, pile: &Pile, epoch: u32) -> Result<RecordBytes, Box<dyn std::error::Error>> {
        let verifier = self.deployment.verifier();
        let policy_hash: B256 = self.view(verifier, abi::policyAtCall { epoch }.abi_encode()).await?;
        let challenge = self
            .chain
            .block_hash(self.deployment.challenge_block(epoch))
            .await?
            .ok_or("the challenge block is not there")?;
        let head: Hash =
            keccak256([&epoch.to_be_bytes()[..], &[pile.index], &pile.group.to_be_bytes()].concat()).0;
        let signed = Head {
            group: pile.group,
            index: pile.index,
            epoch,
            challenge,
            policy_hash: policy_hash.0,
            n: 1,
            head,
        };
        let domain = Domain { chain_id: self.deployment.chain_id, verifying_contract: verifier };
        let signature = pile.key.sign_hash_sync(&domain.digest(&head_hash(&signed)).into())?;
        Ok(RecordBytes { index: pile.index, n: 1, head, signature: signature.as_erc2098() })
    }

    async fn send(&self, epoch: u32, calldata: Vec<u8>) -> Result<Charge, Box<dyn std::error::Error>> {
        let (from, to) = (self.signer.address(), self.deployment.verifier());
        let estimate = self.chain.estimate_gas(from, to, &calldata).await?;
        let gas_limit = gas_limit(estimate, calldata.len()).ok_or("the call does not fit a transaction")?;
        let policy = FeePolicy { max_fee_per_gas_cap: 100 * GDRIP, tip_per_gas: GDRIP };
        let call = Call {
            nonce: self.chain.nonce(from).await?,
            gas_limit,
            fees: policy.initial(self.chain.base_fee().await?, 0),
            to,
            calldata: &calldata,
        };
        let (raw, transaction) = self.signer.sign(&call)?;
        let before = self.chain.balance(from).await?;
        self.chain.send_raw(&raw).await?;
        let receipt = self.receipt(transaction).await?;
        let after = self.chain.balance(from).await?;
        let price: U256 = serde_json::from_value(receipt["effectiveGasPrice"].clone())?;
        let gas_used: U64 = serde_json::from_value(receipt["gasUsed"].clone())?;
        let block: U64 = serde_json::from_value(receipt["blockNumber"].clone())?;
        if receipt["status"] != "0x1" {
            return Err(format!("transaction failed: {receipt}").into());
        }
        let heads = self.chain.head_events(block.to(), block.to()).await?;
        Ok(Charge {
            gas_charged: before.saturating_sub(after) as f64 / f64::from(price),
            gas_used: gas_used.to::<u64>() as f64,
            gas_limit: gas_limit as f64,
            recorded: heads
                .iter()
                .filter(|head| head.epoch == epoch && head.transaction == transaction)
                .count(),
            transaction,
            block: block.to(),
        })
    }

    async fn receipt(&self, transaction: Hash) -> Result<Value, Box<dyn std::error::Error>> {
        for _ in 0..POLLS_MAX {
            let receipt: Option<Value> =
                self.chain.call("eth_getTransactionReceipt", (B256::from(transaction),)).await?;
            if let Some(receipt) = receipt {
                return Ok(receipt);
            }
            self.clock.sleep(POLL).await;
        }
        Err("the transaction was never mined".into())
    }

    /// Slots that a transaction wrote, and those of them that were zero before: the two that eSpace prices apart.
    async fn slots(&self, charge: &Charge) -> Result<(usize, usize), Box<dyn std::error::Error>> {
        let options = json!({ "enableMemory": false, "disableStorage": true });
        let transaction = B256::from(charge.transaction);
        let trace: Value = self.chain.call("debug_traceTransaction", (transaction, options)).await?;
        let steps = trace["structLogs"].as_array().ok_or("no trace")?;
        let mut written = BTreeSet::new();
        for step in steps.iter().filter(|step| step["op"] == "SSTORE") {
            let slot =
                step["stack"].as_array().and_then(|stack| stack.last()).ok_or("no stack in the trace")?;
            written.insert(serde_json::from_value::<U256>(slot.clone())?);
        }
        let verifier = alloy::primitives::Address::from(self.deployment.verifier());
        let mut created = 0;
        for slot in &written {
            let at = (verifier, *slot, U64::from(charge.block - 1));
            let before: B256 = self.chain.call("eth_getStorageAt", at).await?;
            created += usize::from(before.is_zero());
        }
        Ok((written.len(), created))
    }

    async fn view(&self, to: Address, calldata: Vec<u8>) -> Result<B256, ChainError> {
        let call =
            json!({ "to": format!("0x{}", hex::encode(to)), "data": format!("0x{}", hex::encode(calldata)) });
        self.chain.call("eth_call", (call, "latest")).await
    }

    async fn wait_for_epoch(&self, epoch: u32) -> Result<(), Box<dyn std::error::Error>> {
        // BLOCKHASH answers for a block only in the ones after it.
        let block = self.deployment.challenge_block(epoch) + 1;
        for _ in 0..POLLS_MAX {
            if self.chain.heads().await?.latest >= block {
                return Ok(());
            }
            self.clock.sleep(POLL).await;
        }
        Err(format!("block {block} never came").into())
    }
}

fn piles() -> Vec<Pile> {
    let of_group = |group: u32| {
        (0..PILES_PER_GROUP).map(move |index| {
            let secret = keccak256(format!("bench gas, group {group}, pile {index}"));
            let key = PrivateKeySigner::from_bytes(&secret).expect("a hash is a scalar but once in 2^128");
            Pile { group, index, key }
        })
    };
    GROUPS.into_iter().flat_map(of_group).collect()
}

/// The parts of a fleet manifest that registration reads.
fn fleet(piles: &[Pile]) -> Value {
    let piles: Vec<Value> = piles
        .iter()
        .map(|pile| {
            let address = pile.key.address();
            json!({ "address": address, "device_id": keccak256(address), "group": pile.group })
        })
        .collect();
    json!({ "piles": piles })
}

fn figures((metric, limit, target): (&str, f64, f64), charge: &Charge) -> Vec<Value> {
    let each = |gas: f64| (gas / charge.recorded as f64).round();
    let charged = each(charge.gas_charged);
    let name = metric.trim_end_matches("/charged");
    vec![
        json!({ "metric": metric, "value": charged, "unit": "gas", "limit": limit, "target": target, "ok": charged <= limit }),
        json!({ "metric": format!("{name}/used"), "value": each(charge.gas_used), "unit": "gas", "limit": null, "ok": true }),
        json!({ "metric": format!("{name}/limit"), "value": each(charge.gas_limit), "unit": "gas", "limit": null, "ok": true }),
    ]
}

fn count(metric: &str, value: usize, limit: usize) -> Value {
    json!({ "metric": metric, "value": value, "unit": "slots", "limit": limit, "ok": value <= limit })
}

#[allow(clippy::disallowed_methods, reason = "a benchmark's own files")]
fn write(path: &std::path::Path, document: &Value) -> std::io::Result<()> {
    std::fs::write(path, format!("{document:#}\n"))
}
