//! The chain as a scenario sees it: plain calls, independent of the relayer's own client.

use std::time::Duration;

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718;
use alloy::network::TxSignerSync;
use alloy::primitives::{Address, B256, Bytes, TxKind, U256};
use alloy::providers::{Provider, ProviderBuilder, RootProvider};
use alloy::rpc::types::{BlockNumberOrTag, Filter, Log, TransactionInput, TransactionRequest};
use alloy::signers::local::PrivateKeySigner;
use alloy::sol;
use alloy::sol_types::{SolCall, SolEvent};

use crate::node::Account;

sol! {
    event HeadRecorded(uint32 indexed group, uint256 indexed position, bytes32 head);
    event HeadExtended(uint32 indexed group, uint256 indexed position, bytes32 head);
    event RecordSkipped(uint32 indexed group, uint256 indexed position, uint8 reason);
    event BatteryAdvanced(bytes32 indexed battery, bytes32 indexed deviceId, uint32 seq, bytes32 fp, bytes16 segment, uint64 time, uint32 prevSeq);
    function record(uint32 group, uint32 epoch, bytes calldata records) external returns (uint256 recorded);
    function recordMany(uint32 epoch, bytes calldata batches) external returns (uint256 recorded);
    function extend(uint32 group, uint32 epoch, bytes calldata records) external returns (uint256 extended);
    function challengeOf(uint32 epoch) external view returns (bytes32);
    function currentEpoch() external view returns (uint32);
    function policyAt(uint32 epoch) external view returns (bytes32);
    function revoke(bytes32 deviceId) external;
    function rotate(bytes32 deviceId, address newKey) external;
}

/// One look at the chain takes this long at the least.
const POLL: Duration = Duration::from_millis(100);
/// A scenario gives up waiting after this many looks.
pub(crate) const POLLS_MAX: u32 = 1_800;

/// A head that the verifier emitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Group.
    pub group: u32,
    /// Index.
    pub index: u8,
    /// Epoch.
    pub epoch: u32,
    /// Number of the last statement covered.
    pub n: u8,
    /// Head.
    pub head: [u8; 32],
    /// By `extend`.
    pub extended: bool,
}

/// A client of a node.
#[derive(Debug, Clone)]
pub struct Chain {
    provider: RootProvider,
    /// The verifier.
    pub verifier: Address,
}

impl Chain {
    /// Connects to `rpc_url`.
    pub fn new(rpc_url: &str, verifier: [u8; 20]) -> Self {
        // An error says that a provider is there already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let provider = ProviderBuilder::default().connect_http(rpc_url.parse().expect("a valid URL"));
        Self { provider, verifier: verifier.into() }
    }

    /// Number of the block under a tag.
    pub async fn block(&self, tag: BlockNumberOrTag) -> u64 {
        let block = self.provider.get_block_by_number(tag).await.expect("the node answers");
        block.map_or(0, |block| block.header.number)
    }

    /// Hash of a block, by the RPC.
    pub async fn block_hash(&self, number: u64) -> B256 {
        let block = self.provider.get_block_by_number(number.into()).await.expect("the node answers");
        block.expect("the block exists").header.hash
    }

    /// Calls a view function.
    pub async fn view<C: SolCall>(&self, to: Address, call: C) -> C::Return {
        let request =
            TransactionRequest::default().to(to).input(TransactionInput::new(call.abi_encode().into()));
        let bytes = self.provider.call(request).await.expect("the call succeeds");
        C::abi_decode_returns(&bytes).expect("the answer decodes")
    }

    /// Runs code without deploying it: what its init code returns.
    pub async fn run_code(&self, code: Vec<u8>) -> Bytes {
        let request = TransactionRequest { to: Some(TxKind::Create), ..Default::default() }
            .input(Bytes::from(code).into());
        self.provider.call(request).await.expect("the code runs")
    }

    /// Sends a transaction and waits for its receipt; returns whether it succeeded.
    pub async fn send(&self, from: &Account, to: Address, calldata: Vec<u8>) -> bool {
        let nonce = self.nonce(address_of(from)).await;
        let hash =
            self.broadcast(from, TxEip1559 { nonce, to: to.into(), input: calldata.into(), ..call() }).await;
        self.receipt_of(hash).await
    }

    /// Sends value and waits for the receipt.
    pub async fn transfer(&self, from: &Account, to: Address, value: U256) {
        let nonce = self.nonce(address_of(from)).await;
        let transaction = TxEip1559 { nonce, to: to.into(), value, gas_limit: 21_000, ..call() };
        let hash = self.broadcast(from, transaction).await;
        assert!(self.receipt_of(hash).await, "the transfer succeeds");
    }

    /// Hands the node a transfer of nothing to oneself with this nonce and fee, and waits for nothing: its hash.
    pub async fn use_nonce(&self, from: &Account, nonce: u64, max_fee_per_gas: u128) -> B256 {
        let to = address_of(from).into();
        self.broadcast(from, TxEip1559 { nonce, to, gas_limit: 21_000, max_fee_per_gas, ..call() }).await
    }

    /// Executed nonce of an account.
    pub async fn nonce(&self, account: Address) -> u64 {
        self.provider.get_transaction_count(account).await.expect("the node answers")
    }

    /// Whether the node knows a transaction, in its pool or in a block.
    pub async fn knows(&self, transaction: B256) -> bool {
        self.provider.get_transaction_by_hash(transaction).await.expect("the node answers").is_some()
    }

    /// Waits until the node knows a transaction.
    pub async fn wait_until_known(&self, transaction: B256) {
        for _ in 0..POLLS_MAX {
            if self.knows(transaction).await {
                return;
            }
            pause().await;
        }
        panic!("the node never heard of {transaction}");
    }

    async fn broadcast(&self, from: &Account, mut transaction: TxEip1559) -> B256 {
        let signer: PrivateKeySigner = from.key.parse().expect("a valid key");
        let signature = signer.sign_transaction_sync(&mut transaction).expect("signs");
        let envelope: TxEnvelope = transaction.into_signed(signature).into();
        let hash = *envelope.tx_hash();
        let _ =
            self.provider.send_raw_transaction(&envelope.encoded_2718()).await.expect("accepted by the node");
        hash
    }

    /// Waits for a receipt; returns whether the transaction succeeded.
    pub async fn receipt_of(&self, hash: B256) -> bool {
        for _ in 0..POLLS_MAX {
            if let Some(receipt) =
                self.provider.get_transaction_receipt(hash).await.expect("the node answers")
            {
                return receipt.status();
            }
            pause().await;
        }
        panic!("transaction {hash} was never mined");
    }

    /// All heads that the verifier emitted up to `latest`, in order.
    pub async fn recorded(&self) -> Vec<Recorded> {
        let filter = Filter::new().address(self.verifier).from_block(0);
        let logs = self.provider.get_logs(&filter).await.expect("the node answers");
        logs.iter().filter_map(decode_head).collect()
    }

    /// All events of a kind that the verifier emitted up to `latest`, in order.
    pub async fn events<E: SolEvent>(&self) -> Vec<E> {
        self.events_of(self.verifier).await
    }

    /// Who paid for each head, and the transaction, in the order of [`Chain::recorded`].
    pub async fn payers(&self) -> Vec<(Address, B256)> {
        let filter = Filter::new().address(self.verifier).from_block(0);
        let logs = self.provider.get_logs(&filter).await.expect("the node answers");
        let mut payers = Vec::new();
        for log in logs.iter().filter(|log| decode_head(log).is_some()) {
            let hash = log.transaction_hash.expect("a mined log");
            let receipt = self.provider.get_transaction_receipt(hash).await.expect("the node answers");
            payers.push((receipt.expect("its receipt").from, hash));
        }
        payers
    }

    /// Number of successful heads for one pile and epoch.
    pub async fn heads_of(&self, group: u32, index: u8, epoch: u32) -> Vec<Recorded> {
        let mut heads = self.recorded().await;
        heads.retain(|head| head.group == group && head.index == index && head.epoch == epoch);
        heads
    }

    /// Waits until the verifier shows a head for (group, index, epoch) that covers n.
    pub async fn wait_for_head(&self, group: u32, index: u8, epoch: u32, n: u8) -> Recorded {
        for _ in 0..POLLS_MAX {
            let heads = self.heads_of(group, index, epoch).await;
            if let Some(head) = heads.into_iter().find(|head| head.n >= n) {
                return head;
            }
            pause().await;
        }
        panic!("no head for group {group}, index {index}, epoch {epoch} covers statement {n}");
    }

    /// Waits until the block number is at least `number`.
    pub async fn wait_for_block(&self, tag: BlockNumberOrTag, number: u64) {
        for _ in 0..POLLS_MAX {
            if self.block(tag).await >= number {
                return;
            }
            pause().await;
        }
        panic!("block {number} never came under {tag}");
    }

    /// Ledger moves of a battery: (seq, fingerprint), in order.
    pub async fn ledger(&self, ledger: [u8; 20], battery: [u8; 32]) -> Vec<(u32, [u8; 32])> {
        let filter = Filter::new()
            .address(Address::from(ledger))
            .event_signature(BatteryAdvanced::SIGNATURE_HASH)
            .topic1(B256::from(battery))
            .from_block(0);
        let logs = self.provider.get_logs(&filter).await.expect("the node answers");
        logs.iter()
            .map(|log| BatteryAdvanced::decode_log(&log.inner).expect("a ledger event"))
            .map(|event| (event.seq, event.fp.0))
            .collect()
    }

    /// Logs of a contract with this first topic, in order.
    pub async fn logs(&self, emitter: Address, topic: B256) -> Vec<Log> {
        let filter = Filter::new().address(emitter).event_signature(topic).from_block(0);
        self.provider.get_logs(&filter).await.expect("the node answers")
    }

    /// Waits until the ledger shows `seq` for a battery.
    pub async fn wait_for_ledger(&self, ledger: [u8; 20], battery: [u8; 32], seq: u32) {
        for _ in 0..POLLS_MAX {
            if self.ledger(ledger, battery).await.iter().any(|(moved, _)| *moved >= seq) {
                return;
            }
            pause().await;
        }
        panic!("the ledger never showed record {seq}");
    }
}

/// Address of an account.
pub fn address_of(account: &Account) -> Address {
    account.address.parse().expect("an address")
}

/// A call with what all calls have in common.
fn call() -> TxEip1559 {
    TxEip1559 {
        chain_id: 1235,
        nonce: 0,
        gas_limit: 3_000_000,
        max_fee_per_gas: 60_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
        to: TxKind::Create,
        value: U256::ZERO,
        access_list: Default::default(),
        input: Bytes::new(),
    }
}

/// Blocks this thread until `safe` covers what there is now, and at least block `number`.
pub fn wait_for_safe(rpc_url: &str, number: u64) {
    let wait = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let chain = Chain::new(rpc_url, [0; 20]);
            let number = number.max(chain.block(BlockNumberOrTag::Latest).await);
            chain.wait_for_block(BlockNumberOrTag::Safe, number).await;
        });
    };
    // The caller may be inside a runtime already, where another cannot block.
    std::thread::scope(|scope| scope.spawn(wait).join().expect("safe covers the block"));
}

#[allow(clippy::disallowed_methods, reason = "another process is watched, there is no event to await")]
pub(crate) async fn pause() {
    tokio::time::sleep(POLL).await;
}

fn decode_head(log: &Log) -> Option<Recorded> {
    let (group, position, head, extended) = if let Ok(event) = HeadRecorded::decode_log(&log.inner) {
        (event.group, event.position, event.head, false)
    } else {
        let event = HeadExtended::decode_log(&log.inner).ok()?;
        (event.group, event.position, event.head, true)
    };
    let position: u64 = position.to();
    let [.., index, n] = position.to_be_bytes();
    Some(Recorded { group, index, epoch: (position >> 16) as u32, n, head: head.0, extended })
}
