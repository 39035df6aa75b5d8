//! What an authorization costs on a real node, in gas as eSpace charges it: `bench_gas OUT.json`.
//!
//! 1,024 piles in five groups, all enrolled. Each transaction is for an epoch of its own and sent as the relayer sends them: its
//! client, its fee policy, its gas limit. Charged gas is the fee that the receipt states, divided by the price paid.
//!
//! Lane 1: one record alone, a batch of 16 and one of 256, then all piles, 256 a transaction; who would co-sign makes no difference
//! to it. Lane 2: all piles in one root, where some of them did not sign it and go by their records in the same transaction. When
//! nobody signed there is no root, and lane 1 carries all. The small ones are traced to see which slots they wrote; the node's trace
//! of the large ones would exceed its own limit on answers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{B256, Bytes, U64, U256, keccak256};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::{SolCall, SolEvent};
use cip22_device_sdk::bls::BlsKey;
use cip22_relayer::chain::contracts::{RecordBytes, abi, record_calldata, record_many_calldata};
use cip22_relayer::chain::espace::EspaceChain;
use cip22_relayer::chain::fees::{FeePolicy, gas_limit};
use cip22_relayer::chain::signer::{Call, TransactionSigner};
use cip22_relayer::chain::{Chain, ChainError};
use cip22_relayer::clock::{SharedClock, SystemClock};
use cip22_relayer::deployment::Deployment;
use cip22_wire::digest::{Domain, Head, head_hash, root_hash};
use cip22_wire::{Address, Hash};
use serde_json::{Value, json};
use system_tests::node::Node;
use system_tests::roots::{Leaf, RootGroup, RootRecorded, Tree, aggregate, record_root_calldata};
use system_tests::snapshot::forge_script;
use zeroize::Zeroizing;

const PILES: usize = 1_024;
const PILES_PER_GROUP: usize = 224;
/// Most records that the relayer puts into one transaction, by default.
const RECORDS_MAX: usize = 256;
const TRACED: usize = 16;
const GDRIP: u128 = 1_000_000_000;
const BLOCK_INTERVAL_MS: u32 = 100;
const POLL: Duration = Duration::from_millis(100);
const POLLS_MAX: u32 = 1_200;

/// Piles of a root, and the shares of them that did not sign it, in percent.
const ROOTS: [(usize, [usize; 4]); 2] = [(PILES_PER_GROUP, [0, 2, 5, 10]), (PILES, [0, 2, 5, 10])];

/// (metric, limit, target), gas per authorization.
const LIMITS: [(&str, f64, f64); 4] = [
    ("lane1/single/charged", 45_000.0, 43_500.0),
    ("lane1/batch256/charged", 7_800.0, 7_600.0),
    ("lane2/224/absent5/charged", 1_400.0, 1_250.0),
    ("lane2/1024/absent2/charged", 500.0, 420.0),
];

type Failure = Box<dyn std::error::Error>;

struct Pile {
    group: u32,
    index: u8,
    key: PrivateKeySigner,
    bls: BlsKey,
}

/// What is signed in one epoch.
struct Epoch {
    number: u32,
    challenge: Hash,
    policy_hash: Hash,
}

struct Bench {
    chain: EspaceChain,
    clock: SharedClock,
    deployment: Arc<Deployment>,
    signer: TransactionSigner,
    piles: Vec<Pile>,
    last_epoch: u32,
}

/// What a transaction came to, or several together.
#[derive(Default)]
struct Charge {
    gas_charged: f64,
    gas_used: f64,
    gas_limit: f64,
    authorized: usize,
    /// The last one.
    transaction: Hash,
    block: u64,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let out = PathBuf::from(std::env::args().nth(1).ok_or("usage: bench_gas OUT.json")?);
    let dir = tempfile::tempdir()?;
    let node = Node::start(&dir.path().join("chain"), None, BLOCK_INTERVAL_MS);
    let piles = piles()?;
    let deployment_file = dir.path().join("deployment.json");
    forge_script("Deploy", &node, &deployment_file, "deployer", &[]);
    let deployment = Arc::new(Deployment::load(&deployment_file)?);
    let fleet_file = dir.path().join("fleet.json");
    write(&fleet_file, &fleet(&piles, &deployment))?;
    let fleet_env = [("FLEET_FILE", fleet_file.display().to_string())];
    forge_script("RegisterFleet", &node, &deployment_file, "deployer", &fleet_env);

    let clock: SharedClock = Arc::new(SystemClock::new());
    let key = Zeroizing::new(node.info.account("relayer-1").key.clone());
    let chain =
        EspaceChain::new(&node.info.rpc_url, Duration::from_secs(60), deployment.clone(), clock.clone())?;
    // Keys count from the epoch after their registration.
    let last_epoch = deployment.epoch_of(chain.heads().await?.latest);
    let signer = TransactionSigner::from_hex(&key, deployment.chain_id)?;
    let mut bench = Bench { chain, signer, clock, deployment, piles, last_epoch };
    let metrics = bench.measure().await?;
    println!("{metrics:#}");
    write(&out, &metrics)?;
    Ok(())
}

impl Bench {
    async fn measure(&mut self) -> Result<Value, Failure> {
        let mut metrics = Vec::new();
        let single = self.lane1(1).await?;
        metrics.extend(figures("lane1/single", &single));
        let traced = self.lane1(TRACED).await?;
        let batch = self.lane1(RECORDS_MAX).await?;
        metrics.extend(figures("lane1/batch256", &batch));
        let traced_root = self.lane2(TRACED, 0).await?;
        for (piles, shares) in ROOTS {
            let records = self.lane1(piles).await?;
            for absent in shares {
                metrics.extend(figures(&format!("lane1/{piles}/absent{absent}"), &records));
                let root = self.lane2(piles, absent).await?;
                metrics.extend(figures(&format!("lane2/{piles}/absent{absent}"), &root));
            }
            metrics.extend(figures(&format!("lane2/{piles}/absent100"), &records));
        }
        // A record writes its group's word of the ring, a root one of the second ring too.
        for (name, charge, written_max) in
            [("lane1/single", &single, 1), ("lane1/batch16", &traced, 1), ("lane2/batch16", &traced_root, 2)]
        {
            let (written, created) = self.slots(charge).await?;
            metrics.push(count(&format!("{name}/slots_written"), written, written_max));
            metrics.push(count(&format!("{name}/slots_created"), created, 0));
        }
        Ok(Value::Array(metrics))
    }

    /// The first so many piles by their records, in as many transactions as the relayer takes.
    async fn lane1(&mut self, piles: usize) -> Result<Charge, Failure> {
        let epoch = self.next_epoch().await?;
        let mut sum = Charge::default();
        for chunk in self.piles[..piles].chunks(RECORDS_MAX) {
            let mut groups: BTreeMap<u32, Vec<RecordBytes>> = BTreeMap::new();
            for pile in chunk {
                groups.entry(pile.group).or_default().push(self.record(pile, &epoch)?);
            }
            let calldata = match &*groups.into_iter().collect::<Vec<_>>() {
                [(group, records)] if records.len() == 1 => record_calldata(*group, epoch.number, records),
                groups => record_many_calldata(epoch.number, groups),
            };
            let charge = self.send(&epoch, calldata).await?;
            sum = Charge {
                gas_charged: sum.gas_charged + charge.gas_charged,
                gas_used: sum.gas_used + charge.gas_used,
                gas_limit: sum.gas_limit + charge.gas_limit,
                authorized: sum.authorized + charge.authorized,
                ..charge
            };
        }
        all_authorized(piles, sum)
    }

    /// The first so many piles in one root, of which `absent` percent, to the nearest pile, did not sign it.
    async fn lane2(&mut self, piles: usize, absent: usize) -> Result<Charge, Failure> {
        let epoch = self.next_epoch().await?;
        let absentees = (piles * absent + 50) / 100;
        let piles = &self.piles[..piles];
        let leaves: Vec<Leaf> = piles
            .iter()
            .map(|pile| Leaf { group: pile.group, index: pile.index, n: 1, head: head(pile, &epoch) })
            .collect();
        let tree = Tree::over(&leaves);
        let hash = root_hash(epoch.number, &epoch.challenge, &epoch.policy_hash, &tree.root());
        let digest = self.domain().digest(&hash);
        let mut groups: BTreeMap<u32, RootGroup> = BTreeMap::new();
        let mut signatures = Vec::new();
        for (number, pile) in piles.iter().enumerate() {
            let group = groups.entry(pile.group).or_insert_with(|| RootGroup {
                group: pile.group,
                group_root: tree.group_root(pile.group),
                ..RootGroup::default()
            });
            // Spread evenly, so that each group has its share.
            if (number + 1) * absentees / piles.len() > number * absentees / piles.len() {
                group.records.push(record_bytes(&self.record(pile, &epoch)?));
            } else {
                group.signers.push(pile.index);
                signatures.push(pile.bls.sign_root(&digest));
            }
        }
        let groups: Vec<RootGroup> = groups.into_values().collect();
        let calldata = record_root_calldata(epoch.number, &aggregate(&signatures), &groups);
        all_authorized(piles.len(), self.send(&epoch, calldata).await?)
    }

    /// An epoch that no transaction was for, and in which one can be recorded.
    async fn next_epoch(&mut self) -> Result<Epoch, Failure> {
        let now = self.deployment.epoch_of(self.chain.heads().await?.latest);
        let number = now.max(self.last_epoch + 1);
        self.last_epoch = number;
        // BLOCKHASH answers for a block only in the ones after it.
        let block = self.deployment.challenge_block(number);
        for _ in 0..POLLS_MAX {
            if self.chain.heads().await?.latest > block {
                let call = abi::policyAtCall { epoch: number }.abi_encode();
                let policy_hash = self.view(self.deployment.verifier(), call).await?.0;
                let challenge = self.chain.block_hash(block).await?.ok_or("no challenge block")?;
                return Ok(Epoch { number, challenge, policy_hash });
            }
            self.clock.sleep(POLL).await;
        }
        Err(format!("block {block} never came").into())
    }

    /// A signed head of a pile, with n = 1.
    fn record(&self, pile: &Pile, epoch: &Epoch) -> Result<RecordBytes, Failure> {
        let head = head(pile, epoch);
        let signed = Head {
            group: pile.group,
            index: pile.index,
            epoch: epoch.number,
            challenge: epoch.challenge,
            policy_hash: epoch.policy_hash,
            n: 1,
            head,
        };
        let signature = pile.key.sign_hash_sync(&self.domain().digest(&head_hash(&signed)).into())?;
        Ok(RecordBytes { index: pile.index, n: 1, head, signature: signature.as_erc2098() })
    }

    fn domain(&self) -> Domain {
        Domain { chain_id: self.deployment.chain_id, verifying_contract: self.deployment.verifier() }
    }

    async fn send(&self, epoch: &Epoch, calldata: Vec<u8>) -> Result<Charge, Failure> {
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
        if receipt["status"] != "0x1" {
            return Err(format!("transaction failed: {receipt}").into());
        }
        let fee: U256 = serde_json::from_value(receipt["gasFee"].clone())?;
        let paid = before.saturating_sub(self.chain.balance(from).await?);
        if fee != U256::from(paid) {
            return Err(format!("the receipt states a fee of {fee}, and {paid} were paid").into());
        }
        let price: U256 = serde_json::from_value(receipt["effectiveGasPrice"].clone())?;
        let gas_used: U64 = serde_json::from_value(receipt["gasUsed"].clone())?;
        let block: U64 = serde_json::from_value(receipt["blockNumber"].clone())?;
        Ok(Charge {
            gas_charged: f64::from(fee) / f64::from(price),
            gas_used: gas_used.to::<u64>() as f64,
            gas_limit: gas_limit as f64,
            authorized: authorized(&receipt, epoch.number)?,
            transaction,
            block: block.to(),
        })
    }

    async fn receipt(&self, transaction: Hash) -> Result<Value, Failure> {
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
    async fn slots(&self, charge: &Charge) -> Result<(usize, usize), Failure> {
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
}

fn piles() -> Result<Vec<Pile>, Failure> {
    let pile = |number: usize| {
        let (group, index) = (number / PILES_PER_GROUP + 1, number % PILES_PER_GROUP);
        let secret = keccak256(format!("bench gas, group {group}, pile {index}"));
        // Below the order of BLS12-381's groups, which has 255 bits.
        let mut scalar = keccak256(secret).0;
        scalar[0] &= 0x3f;
        Ok(Pile {
            group: u32::try_from(group)?,
            index: u8::try_from(index)?,
            key: PrivateKeySigner::from_bytes(&secret)?,
            bls: BlsKey::from_bytes(&scalar).map_err(|error| format!("{error:?}"))?,
        })
    };
    (0..PILES).map(pile).collect()
}

/// The parts of a fleet manifest that registration and enrolment read.
fn fleet(piles: &[Pile], deployment: &Deployment) -> Value {
    let registry = Domain { chain_id: deployment.chain_id, verifying_contract: deployment.device_registry };
    let piles: Vec<Value> = piles
        .iter()
        .map(|pile| {
            let address = pile.key.address();
            let device_id = keccak256(address);
            let possession = pile.bls.prove_possession(&registry, &device_id.0);
            json!({
                "address": address,
                "device_id": device_id,
                "group": pile.group,
                "bls_key": format!("0x{}", hex::encode(pile.bls.public_key())),
                "bls_possession": format!("0x{}", hex::encode(possession)),
            })
        })
        .collect();
    json!({ "piles": piles })
}

/// The one statement of a pile in an epoch.
fn head(pile: &Pile, epoch: &Epoch) -> Hash {
    keccak256([&epoch.number.to_be_bytes()[..], &[pile.index], &pile.group.to_be_bytes()].concat()).0
}

fn record_bytes(record: &RecordBytes) -> Vec<u8> {
    [&[record.index, record.n][..], &record.head, &record.signature].concat()
}

/// How many piles a receipt's events authorize in an epoch.
fn authorized(receipt: &Value, epoch: u32) -> Result<usize, Failure> {
    let mut authorized = 0;
    for log in receipt["logs"].as_array().ok_or("no logs")? {
        let topics: Vec<B256> = serde_json::from_value(log["topics"].clone())?;
        let data: Bytes = serde_json::from_value(log["data"].clone())?;
        if topics.first() == Some(&RootRecorded::SIGNATURE_HASH) {
            let root = RootRecorded::decode_raw_log(topics, &data)?;
            authorized += if root.epoch == epoch { U256::from(root.signers).count_ones() } else { 0 };
        } else if topics.first() == Some(&abi::HeadRecorded::SIGNATURE_HASH) {
            let head = abi::HeadRecorded::decode_raw_log(topics, &data)?;
            authorized += usize::from(head.position >> 16 == U256::from(epoch));
        }
    }
    Ok(authorized)
}

fn all_authorized(piles: usize, charge: Charge) -> Result<Charge, Failure> {
    if charge.authorized == piles {
        return Ok(charge);
    }
    Err(format!("{} of {piles} piles are authorized", charge.authorized).into())
}

fn figures(name: &str, charge: &Charge) -> Vec<Value> {
    let each = |gas: f64| (gas / charge.authorized as f64).round();
    let charged = each(charge.gas_charged);
    let metric = format!("{name}/charged");
    let known = LIMITS.iter().find(|(limited, ..)| *limited == metric);
    let (limit, target) = known.map_or((None, None), |(_, limit, target)| (Some(*limit), Some(*target)));
    let ok = limit.is_none_or(|limit| charged <= limit);
    let mut figures = vec![
        json!({ "metric": metric, "value": charged, "unit": "gas", "limit": limit, "target": target, "ok": ok }),
        json!({ "metric": format!("{name}/used"), "value": each(charge.gas_used), "unit": "gas", "limit": null, "ok": true }),
    ];
    if limit.is_some() {
        let gas_limit = each(charge.gas_limit);
        figures.push(json!({ "metric": format!("{name}/limit"), "value": gas_limit, "unit": "gas", "limit": null, "ok": true }));
    }
    figures
}

fn count(metric: &str, value: usize, limit: usize) -> Value {
    json!({ "metric": metric, "value": value, "unit": "slots", "limit": limit, "ok": value <= limit })
}

#[allow(clippy::disallowed_methods, reason = "a benchmark's own files")]
fn write(path: &Path, document: &Value) -> std::io::Result<()> {
    std::fs::write(path, format!("{document:#}\n"))
}
