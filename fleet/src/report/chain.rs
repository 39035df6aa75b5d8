//! Reads the contracts' events and the receipts of what recorded heads, up to the `safe` block.

use std::collections::{BTreeMap, HashMap, HashSet};

use alloy::{
    primitives::{Address, B256, U256},
    providers::{DynProvider, Provider, ProviderBuilder},
    rpc::types::{Filter, Log},
    sol,
    sol_types::SolEvent,
};
use cip22_wire::{BatteryId, Hash};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use crate::{deployment::Deployment, error::FleetError};

sol! {
    event HeadRecorded(uint32 indexed group, uint256 indexed position, bytes32 head);
    event HeadExtended(uint32 indexed group, uint256 indexed position, bytes32 head);
    event RootRecorded(uint32 indexed group, uint32 indexed epoch, bytes32 groupRoot, uint224 signers, bytes32 before);
    event BatteryAdvanced(bytes32 indexed battery, bytes32 indexed deviceId, uint32 seq, bytes32 fp, bytes16 segment, uint64 time, uint32 prevSeq);
    event PolicyScheduled(uint32 indexed version, uint32 indexed firstEpoch, bytes32 policyHash, bytes tariff, bytes signature);
}

/// A head that a verifier emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedHead {
    /// n of the newest statement under it.
    pub n: u8,
    /// head_n.
    pub head: Hash,
    /// Where it stands.
    pub stands: Stands,
}

/// A root that a verifier emitted for one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedRoot {
    /// Root over the group's places.
    pub group_root: Hash,
    /// Bit i: index i signed.
    pub signers: U256,
    /// Where it stands.
    pub stands: Stands,
}

/// Where an event stands on chain; the earlier is the lesser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stands {
    /// Its place among the events read.
    pub order: usize,
    /// Unix time of its block, s.
    pub block_time_s: u64,
    /// Its transaction.
    pub transaction: B256,
}

/// What a transaction cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Gas {
    /// `gasUsed`.
    pub used: f64,
    /// `gasFee` / price: what was paid for.
    pub charged: f64,
}

/// What the chain says.
#[derive(Clone, Debug, Default)]
pub struct ChainFacts {
    /// Newest block counted.
    pub safe_block: u64,
    /// By (group, index, epoch), in the order of the chain.
    pub heads: HashMap<(u32, u8, u32), Vec<RecordedHead>>,
    /// By (group, epoch), in the order of the chain.
    pub roots: HashMap<(u32, u32), Vec<RecordedRoot>>,
    /// Transactions that recorded a root.
    pub root_transactions: HashSet<B256>,
    /// Heads of batteries, by seq: fp.
    pub batteries: HashMap<BatteryId, BTreeMap<u32, Hash>>,
    /// What a contract counted although it counted it before: a head or a battery's head that goes no further than the one before it.
    pub doubles: usize,
    /// Newest policy scheduled.
    pub policy_version: u32,
    /// By transaction that recorded heads or roots.
    pub gas: HashMap<B256, Gas>,
}

/// Reads on from where it stopped.
#[derive(Debug)]
pub(super) struct Reader {
    provider: DynProvider,
    deployment: Deployment,
    next_block: u64,
    /// Heads and roots so far.
    recorded: usize,
    facts: ChainFacts,
}

impl Reader {
    pub(super) fn new(rpc: &str, deployment: Deployment) -> Result<Self, FleetError> {
        // The HTTP client takes the process's provider; that another was installed before is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = rpc.parse().map_err(|_| FleetError::Setting("--rpc is no URL".to_owned()))?;
        let provider = ProviderBuilder::new().disable_recommended_fillers().connect_http(url).erased();
        let next_block = deployment.start_block;
        Ok(Self { provider, deployment, next_block, recorded: 0, facts: ChainFacts::default() })
    }

    /// Everything up to the `safe` block of now.
    pub(super) async fn read(&mut self) -> Result<ChainFacts, FleetError> {
        let safe = self.block("safe").await?;
        let safe_block = number(&safe, "number").ok_or_else(|| wrong("eth_getBlockByNumber", "no number"))?;
        while self.next_block <= safe_block {
            let to = safe_block.min(self.next_block + BLOCKS_PER_QUERY - 1);
            self.read_logs(self.next_block, to).await?;
            self.next_block = to + 1;
        }
        self.facts.safe_block = safe_block;
        Ok(self.facts.clone())
    }

    async fn read_logs(&mut self, from: u64, to: u64) -> Result<(), FleetError> {
        let mut addresses: Vec<Address> =
            self.deployment.verifiers.iter().map(|verifier| verifier.address).collect();
        addresses.extend([self.deployment.battery_ledger, self.deployment.policy_registry]);
        let filter = Filter::new().from_block(from).to_block(to).address(addresses);
        let logs = self.provider.get_logs(&filter).await.map_err(|error| wrong("eth_getLogs", error))?;
        let mut times = HashMap::new();
        for log in &logs {
            if let Some(block) = log.block_number.filter(|_| recorded_by(log).is_some()) {
                times.insert(block, 0);
            }
        }
        for (block, time) in &mut times {
            let header = self.block(&format!("{block:#x}")).await?;
            *time =
                number(&header, "timestamp").ok_or_else(|| wrong("eth_getBlockByNumber", "no timestamp"))?;
        }
        let mut transactions = Vec::new();
        for log in logs {
            let time = log.block_number.and_then(|block| times.get(&block)).copied().unwrap_or_default();
            self.take(&log, time);
            if let Some(hash) = log.transaction_hash.filter(|_| recorded_by(&log).is_some())
                && !transactions.contains(&hash)
            {
                transactions.push(hash);
            }
        }
        let gas: Vec<_> = stream::iter(transactions)
            .map(|hash| gas_of(&self.provider, hash))
            .buffered(RECEIPTS_AT_A_TIME)
            .try_collect()
            .await?;
        self.facts.gas.extend(gas);
        Ok(())
    }

    fn take(&mut self, log: &Log, block_time_s: u64) {
        let address = log.address();
        if let Some(recorded) = recorded_by(log) {
            let transaction = log.transaction_hash.unwrap_or_default();
            let stands = Stands { order: self.recorded, block_time_s, transaction };
            self.recorded += 1;
            self.take_recorded(recorded, stands);
        } else if address == self.deployment.battery_ledger
            && let Ok(event) = BatteryAdvanced::decode_log(&log.inner)
        {
            let heads = self.facts.batteries.entry(event.battery.0).or_default();
            self.facts.doubles +=
                usize::from(heads.last_key_value().is_some_and(|(last, _)| *last >= event.seq));
            heads.insert(event.seq, event.fp.0);
        } else if address == self.deployment.policy_registry
            && let Ok(event) = PolicyScheduled::decode_log(&log.inner)
        {
            self.facts.policy_version = self.facts.policy_version.max(event.version);
        }
    }

    fn take_recorded(&mut self, recorded: Recorded, stands: Stands) {
        match recorded {
            Recorded::Head(group, position, head) => {
                let [.., e0, e1, e2, e3, index, n] = position.to_be_bytes::<32>();
                let epoch = u32::from_be_bytes([e0, e1, e2, e3]);
                let heads = self.facts.heads.entry((group, index, epoch)).or_default();
                self.facts.doubles += usize::from(heads.last().is_some_and(|last| last.n >= n));
                heads.push(RecordedHead { n, head: head.0, stands });
            }
            Recorded::Root(event) => {
                let roots = self.facts.roots.entry((event.group, event.epoch)).or_default();
                let (group_root, signers) = (event.groupRoot.0, U256::from(event.signers));
                roots.push(RecordedRoot { group_root, signers, stands });
                self.facts.root_transactions.insert(stands.transaction);
            }
        }
    }

    async fn block(&self, tag: &str) -> Result<Value, FleetError> {
        // Raw: eSpace blocks lack fields that a typed one requires.
        self.provider
            .raw_request("eth_getBlockByNumber".into(), json!([tag, false]))
            .await
            .map_err(|error| wrong("eth_getBlockByNumber", error))
    }
}

/// What puts statements on chain.
enum Recorded {
    /// Group, position and head.
    Head(u32, U256, B256),
    Root(RootRecorded),
}

/// What the event put on chain, if it is such an event.
fn recorded_by(log: &Log) -> Option<Recorded> {
    if let Ok(event) = HeadRecorded::decode_log(&log.inner) {
        return Some(Recorded::Head(event.group, event.position, event.head));
    }
    if let Ok(event) = RootRecorded::decode_log(&log.inner) {
        return Some(Recorded::Root(event.data));
    }
    let event = HeadExtended::decode_log(&log.inner).ok()?;
    Some(Recorded::Head(event.group, event.position, event.head))
}

/// eSpace charges up to a quarter of an unused limit; `gasFee` is what was paid, `gasUsed` is not.
async fn gas_of(provider: &DynProvider, hash: B256) -> Result<(B256, Gas), FleetError> {
    let method = "eth_getTransactionReceipt";
    let receipt: Value =
        provider.raw_request(method.into(), json!([hash])).await.map_err(|error| wrong(method, error))?;
    let price = number(&receipt, "effectiveGasPrice").filter(|price| *price > 0);
    let price = price.ok_or_else(|| wrong(method, "no effectiveGasPrice"))?;
    // All fit f64 to more digits than are shown.
    let used = number(&receipt, "gasUsed").ok_or_else(|| wrong(method, "no gasUsed"))? as f64;
    let charged = quantity(&receipt, "gasFee").map_or(used, |fee| fee.to::<u128>() as f64 / price as f64);
    Ok((hash, Gas { used, charged }))
}

fn quantity(object: &Value, field: &str) -> Option<U256> {
    object.get(field)?.as_str()?.parse().ok()
}

fn number(object: &Value, field: &str) -> Option<u64> {
    quantity(object, field)?.try_into().ok()
}

fn wrong(method: &'static str, problem: impl ToString) -> FleetError {
    FleetError::Chain { method, problem: problem.to_string() }
}

const BLOCKS_PER_QUERY: u64 = 500;
const RECEIPTS_AT_A_TIME: usize = 8;

#[cfg(test)]
mod tests {
    use alloy::primitives::{LogData, Uint, b256};

    use super::*;

    fn reader() -> Reader {
        let address = |byte: u8| Address::repeat_byte(byte);
        let deployment = json!({
            "chain_id": 1, "start_block": 0, "epoch_len_blocks": 20, "ring_epochs": 32, "access_manager": address(1),
            "device_registry": address(2), "gateway_registry": address(3), "policy_registry": address(4),
            "battery_ledger": address(5), "policy_signer": address(6),
            "verifiers": [{ "address": address(7), "label": "v1" }]
        });
        let deployment = serde_json::from_value(deployment).unwrap();
        Reader::new("http://127.0.0.1:9", deployment).unwrap()
    }

    fn log(address: u8, data: LogData) -> Log {
        let inner = alloy::primitives::Log { address: Address::repeat_byte(address), data };
        Log { inner, ..Log::default() }
    }

    fn head(epoch: u64, n: u8) -> Log {
        let position = U256::from(epoch << 16 | u64::from(n));
        log(7, HeadRecorded { group: 1, position, head: B256::repeat_byte(n) }.encode_log_data())
    }

    fn advance(seq: u32) -> Log {
        let battery = b256!("0x00000000000000000000000000000000000000000000000000000000000000bb");
        let event = BatteryAdvanced {
            battery,
            deviceId: B256::ZERO,
            seq,
            fp: B256::ZERO,
            segment: Default::default(),
            time: 0,
            prevSeq: 0,
        };
        log(5, event.encode_log_data())
    }

    #[test]
    fn a_head_that_goes_no_further_than_the_one_before_it_is_counted_twice() {
        let mut reader = reader();
        for log in [head(9, 2), head(9, 5), head(8, 2), advance(3), advance(7)] {
            reader.take(&log, 0);
        }
        assert_eq!(reader.facts.doubles, 0);
        for log in [head(9, 5), head(9, 4), advance(7)] {
            reader.take(&log, 0);
        }
        assert_eq!(reader.facts.doubles, 3);
    }

    #[test]
    fn a_root_is_kept_with_its_signers_and_its_transaction() {
        let mut reader = reader();
        let signers = Uint::from(0b1010);
        let (group_root, before) = (B256::repeat_byte(0x77), B256::ZERO);
        let event = RootRecorded { group: 1, epoch: 9, groupRoot: group_root, signers, before };
        let transaction = B256::repeat_byte(0x33);
        let log = Log { transaction_hash: Some(transaction), ..log(7, event.encode_log_data()) };
        reader.take(&head(9, 2), 5);
        reader.take(&log, 6);
        let stands = Stands { order: 1, block_time_s: 6, transaction };
        let root = RecordedRoot { group_root: group_root.0, signers: U256::from(0b1010), stands };
        assert_eq!(reader.facts.roots[&(1, 9)], [root]);
        assert_eq!(reader.facts.root_transactions, HashSet::from([transaction]));
        assert_eq!(reader.facts.doubles, 0, "a pile's head and a root may both cover a statement");
    }
}
