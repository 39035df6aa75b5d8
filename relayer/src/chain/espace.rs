//! Conflux eSpace over JSON-RPC.
//!
//! Every call is made by hand on alloy's client: no filler, no estimator of fees or nonces, no filter or subscription. eSpace
//! differs from Ethereum just where those look, and what is sent must be what was made durable.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{B256, Bytes, U64, U256, keccak256};
use alloy::rpc::client::RpcClient;
use alloy::rpc::json_rpc::{ErrorPayload, RpcError, RpcRecv, RpcSend};
use alloy::rpc::types::Log;
use alloy::transports::TransportErrorKind;
use async_trait::async_trait;
use cip22_wire::{Address, Hash};
use metrics::{counter, histogram};
use serde::Deserialize;
use serde_json::{Value, json};

use super::contracts;
use super::endpoints::Node;
use super::{Chain, ChainError, DeviceEvent, HeadEvent, Heads, LedgerEvent, Receipt, RootEvent};
use crate::clock::SharedClock;
use crate::deployment::Deployment;
use crate::view::Policy;

/// Most blocks one `eth_getLogs` asks for; public endpoints refuse more.
const LOG_RANGE_BLOCKS_MAX: u64 = 1_000;

/// JSON-RPC code of a call that reverted, with the revert data beside it.
const CODE_REVERTED: i64 = 3;

/// One endpoint of one network.
pub struct EspaceChain {
    rpc: RpcClient,
    endpoint: String,
    deployment: Arc<Deployment>,
    clock: SharedClock,
}

impl EspaceChain {
    /// Connects to `url` (http or https; credentials in it are used and never shown). Nothing is sent yet.
    pub fn new(
        url: &str,
        timeout: Duration,
        deployment: Arc<Deployment>,
        clock: SharedClock,
    ) -> Result<Self, ChainError> {
        let unusable = |endpoint: &str, problem: &str| ChainError::Endpoint {
            endpoint: endpoint.to_owned(),
            problem: problem.to_owned(),
        };
        let url = reqwest::Url::parse(url).map_err(|error| unusable("(unreadable)", &error.to_string()))?;
        let endpoint = redacted(&url);
        if !matches!(url.scheme(), "http" | "https") {
            return Err(unusable(&endpoint, "the scheme must be http or https"));
        }
        // An error says that a provider is installed already, which is as good.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| unusable(&endpoint, &cause(&error)))?;
        let rpc = RpcClient::new_http_with_client(client, url);
        Ok(Self { rpc, endpoint, deployment, clock })
    }

    /// With another name in metrics and errors than scheme, host and port.
    pub fn named(mut self, name: String) -> Self {
        self.endpoint = name;
        self
    }

    /// The endpoint's scheme, host and port, or the name it was given.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// One JSON-RPC call of any method, for what [`Chain`] does not name.
    pub async fn call<P: RpcSend, R: RpcRecv>(
        &self,
        method: &'static str,
        params: P,
    ) -> Result<R, ChainError> {
        let started_ms = self.clock.monotonic_ms();
        let answer = self.rpc.request::<P, R>(method, params).await;
        let elapsed_ms = self.clock.monotonic_ms().saturating_sub(started_ms);
        let endpoint = || self.endpoint.clone();
        histogram!("rpc_seconds", "endpoint" => endpoint(), "method" => method)
            .record(elapsed_ms as f64 / 1_000.0);
        answer.map_err(|error| {
            let error = self.classified(method, error);
            let kind = kind(&error);
            counter!("rpc_errors_total", "endpoint" => endpoint(), "method" => method, "kind" => kind)
                .increment(1);
            error
        })
    }

    /// `at`: a number in hex or a tag.
    async fn block(&self, at: &str) -> Result<Option<Block>, ChainError> {
        self.call("eth_getBlockByNumber", (at, false)).await
    }

    async fn number(&self, tag: &'static str) -> Result<u64, ChainError> {
        Ok(self.block(tag).await?.map_or(0, |block| block.number.to()))
    }

    async fn transaction_count(&self, account: Address, at: &str) -> Result<u64, ChainError> {
        Ok(self.call::<_, U64>("eth_getTransactionCount", (quoted(&account), at)).await?.to())
    }

    async fn funds(&self, account: Address, at: &str) -> Result<u128, ChainError> {
        let balance: U256 = self.call("eth_getBalance", (quoted(&account), at)).await?;
        Ok(u128::try_from(balance).unwrap_or(u128::MAX))
    }

    async fn block_base_fee(&self, at: &str) -> Result<u128, ChainError> {
        let method = "eth_getBlockByNumber";
        let base_fee = self
            .block(at)
            .await?
            .and_then(|block| block.base_fee_per_gas)
            .ok_or_else(|| ChainError::Malformed { method, what: "no baseFeePerGas".to_owned() })?;
        Ok(u128::try_from(base_fee).unwrap_or(u128::MAX))
    }

    /// All logs of `addresses` with one of `topics` in `from..=to`, in order. A range that the endpoint refuses is halved: the limits on
    /// blocks and on logs differ between endpoints, and an error's text says nothing to rely on.
    async fn logs(
        &self,
        addresses: &[Address],
        topics: &[B256],
        from: u64,
        to: u64,
    ) -> Result<Vec<Log>, ChainError> {
        let addresses: Vec<String> = addresses.iter().map(|address| quoted(address)).collect();
        let mut logs = Vec::new();
        let mut ranges = vec![(from, to)];
        while let Some((from, to)) = ranges.pop() {
            if from > to {
                continue;
            }
            let end = to.min(from.saturating_add(LOG_RANGE_BLOCKS_MAX - 1));
            if end < to {
                ranges.push((end + 1, to));
            }
            let filter = json!({
                "fromBlock": U64::from(from), "toBlock": U64::from(end), "address": addresses, "topics": [topics],
            });
            match self.call::<_, Vec<Log>>("eth_getLogs", (filter,)).await {
                Ok(found) => logs.extend(found.into_iter().filter(|log| !log.removed)),
                Err(ChainError::Refused { .. }) if from < end => {
                    let middle = from + (end - from) / 2;
                    ranges.push((middle + 1, end));
                    ranges.push((from, middle));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(logs)
    }

    fn verifiers(&self) -> Vec<Address> {
        self.deployment.verifiers.iter().map(|verifier| verifier.address).collect()
    }

    fn classified(&self, method: &'static str, error: RpcError<TransportErrorKind>) -> ChainError {
        match error {
            RpcError::ErrorResp(payload) => match revert_data(&payload) {
                Some(data) => ChainError::Reverted { method, data },
                None => {
                    ChainError::Refused { method, code: payload.code, message: payload.message.into_owned() }
                }
            },
            RpcError::DeserError { err, .. } => ChainError::Malformed { method, what: err.to_string() },
            RpcError::NullResp => ChainError::Malformed { method, what: "null".to_owned() },
            RpcError::SerError(error) => ChainError::Malformed { method, what: error.to_string() },
            RpcError::Transport(kind) => self.unreachable(method, transport_cause(&kind)),
            other => self.unreachable(method, other.to_string()),
        }
    }

    fn unreachable(&self, method: &'static str, what: String) -> ChainError {
        ChainError::Unreachable { endpoint: self.endpoint.clone(), method, source: what.into() }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Block {
    number: U64,
    hash: B256,
    base_fee_per_gas: Option<U256>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReceiptFields {
    status: Option<U64>,
    block_number: Option<U64>,
    block_hash: Option<B256>,
    gas_used: U64,
    effective_gas_price: Option<U256>,
    /// What eSpace charged; other nodes do not send it.
    gas_fee: Option<U256>,
}

#[async_trait]
impl Chain for EspaceChain {
    async fn chain_id(&self) -> Result<u64, ChainError> {
        Ok(self.call::<_, U64>("eth_chainId", ()).await?.to())
    }

    async fn heads(&self) -> Result<Heads, ChainError> {
        let (latest, safe, finalized) =
            tokio::try_join!(self.number("latest"), self.number("safe"), self.number("finalized"))?;
        Ok(Heads { latest, safe, finalized })
    }

    async fn block_hash(&self, number: u64) -> Result<Option<Hash>, ChainError> {
        Ok(self.block(&format!("{number:#x}")).await?.map(|block| block.hash.0))
    }

    async fn policies(&self, from: u64, to: u64) -> Result<Vec<Policy>, ChainError> {
        let registry = [self.deployment.policy_registry];
        let logs = self.logs(&registry, &contracts::POLICY_TOPICS, from, to).await?;
        logs.iter().map(contracts::policy_event).collect()
    }

    async fn device_events(&self, from: u64, to: u64) -> Result<Vec<DeviceEvent>, ChainError> {
        let registry = [self.deployment.device_registry];
        let logs = self.logs(&registry, &contracts::DEVICE_TOPICS, from, to).await?;
        logs.iter().map(contracts::device_event).collect()
    }

    async fn head_events(&self, from: u64, to: u64) -> Result<Vec<HeadEvent>, ChainError> {
        let logs = self.logs(&self.verifiers(), &contracts::HEAD_TOPICS, from, to).await?;
        logs.iter().map(contracts::head_event).collect()
    }

    async fn root_events(&self, from: u64, to: u64) -> Result<Vec<RootEvent>, ChainError> {
        let logs = self.logs(&self.verifiers(), &contracts::ROOT_TOPICS, from, to).await?;
        logs.iter().map(contracts::root_event).collect()
    }

    async fn ledger_events(&self, from: u64, to: u64) -> Result<Vec<LedgerEvent>, ChainError> {
        let ledger = [self.deployment.battery_ledger];
        let logs = self.logs(&ledger, &contracts::LEDGER_TOPICS, from, to).await?;
        logs.iter().map(contracts::ledger_event).collect()
    }

    async fn nonce(&self, account: Address) -> Result<u64, ChainError> {
        self.transaction_count(account, "latest").await
    }

    async fn balance(&self, account: Address) -> Result<u128, ChainError> {
        self.funds(account, "latest").await
    }

    async fn base_fee(&self) -> Result<u128, ChainError> {
        self.block_base_fee("latest").await
    }

    async fn estimate_gas(&self, from: Address, to: Address, calldata: &[u8]) -> Result<u64, ChainError> {
        let call = json!({ "from": quoted(&from), "to": quoted(&to), "data": quoted(calldata) });
        Ok(self.call::<_, U64>("eth_estimateGas", (call,)).await?.to())
    }

    async fn send_raw(&self, raw: &[u8]) -> Result<(), ChainError> {
        let hash = keccak256(raw);
        match self.call::<_, B256>("eth_sendRawTransaction", (quoted(raw),)).await {
            Ok(reported) if reported == hash => Ok(()),
            Ok(reported) => Err(ChainError::Malformed {
                method: "eth_sendRawTransaction",
                what: format!("hash {reported} for transaction {hash}"),
            }),
            // eSpace says "already known", "replacement transaction underpriced" or "nonce too low" for bytes it holds or has
            // executed: whether it knows them is a question to ask, not a text to read.
            Err(refusal @ ChainError::Refused { .. }) => {
                let known: Option<Value> = self.call("eth_getTransactionByHash", (hash,)).await?;
                if known.is_some() { Ok(()) } else { Err(refusal) }
            }
            Err(error) => Err(error),
        }
    }

    async fn receipt(&self, transaction: Hash) -> Result<Option<Receipt>, ChainError> {
        let method = "eth_getTransactionReceipt";
        let receipt: Option<ReceiptFields> = self.call(method, (B256::from(transaction),)).await?;
        Ok(receipt.and_then(|fields| fields.into_receipt()))
    }

    async fn has_code(&self, address: Address) -> Result<bool, ChainError> {
        let code: Bytes = self.call("eth_getCode", (quoted(&address), "latest")).await?;
        Ok(!code.is_empty())
    }

    async fn eth_call(&self, to: Address, calldata: &[u8]) -> Result<Vec<u8>, ChainError> {
        let call = json!({ "to": quoted(&to), "data": quoted(calldata) });
        Ok(self.call::<_, Bytes>("eth_call", (call, "latest")).await?.to_vec())
    }
}

#[async_trait]
impl Node for EspaceChain {
    fn name(&self) -> &str {
        &self.endpoint
    }

    async fn is_syncing(&self) -> Result<bool, ChainError> {
        // `false`, or an object with progress that differs between nodes.
        let answer: Value = self.call("eth_syncing", ()).await?;
        Ok(answer != Value::Bool(false))
    }

    async fn is_espace(&self) -> Result<bool, ChainError> {
        let block: Value = self.call("eth_getBlockByNumber", ("latest", false)).await?;
        Ok(block.get("espaceGasLimit").is_some())
    }

    async fn nonce_at(&self, account: Address, block: u64) -> Result<u64, ChainError> {
        self.transaction_count(account, &format!("{block:#x}")).await
    }

    async fn balance_at(&self, account: Address, block: u64) -> Result<u128, ChainError> {
        self.funds(account, &format!("{block:#x}")).await
    }

    async fn base_fee_at(&self, block: u64) -> Result<u128, ChainError> {
        self.block_base_fee(&format!("{block:#x}")).await
    }
}

impl ReceiptFields {
    /// `None` while the transaction is not executed in a block: nothing is known yet.
    fn into_receipt(self) -> Option<Receipt> {
        let gas_used: u64 = self.gas_used.to();
        let priced = || self.effective_gas_price.map(|price| price.saturating_mul(U256::from(gas_used)));
        let fee = self.gas_fee.or_else(priced).unwrap_or_default();
        Some(Receipt {
            succeeded: self.status? == U64::ONE,
            block: self.block_number?.to(),
            block_hash: self.block_hash?.0,
            gas_used,
            fee_drip: u128::try_from(fee).unwrap_or(u128::MAX),
        })
    }
}

impl fmt::Debug for EspaceChain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("EspaceChain")
            .field("endpoint", &self.endpoint)
            .field("chain_id", &self.deployment.chain_id)
            .finish_non_exhaustive()
    }
}

/// Scheme, host and port: keys of public endpoints sit in user, path or query.
fn redacted(url: &reqwest::Url) -> String {
    let host = url.host_str().unwrap_or("?");
    match url.port() {
        Some(port) => format!("{}://{host}:{port}", url.scheme()),
        None => format!("{}://{host}", url.scheme()),
    }
}

fn quoted(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

/// The data of a revert. Its code and its data tell it from a refusal, not its text.
fn revert_data(payload: &ErrorPayload) -> Option<Vec<u8>> {
    let data = payload.data.as_ref().and_then(|data| serde_json::from_str::<Bytes>(data.get()).ok());
    match (payload.code, data) {
        (CODE_REVERTED, data) => Some(data.unwrap_or_default().to_vec()),
        (_, Some(data)) if !data.is_empty() => Some(data.to_vec()),
        _ => None,
    }
}

fn transport_cause(kind: &TransportErrorKind) -> String {
    match kind {
        TransportErrorKind::HttpError(error) => format!("HTTP status {}", error.status),
        TransportErrorKind::HttpErrorWithRetryAfter { error, .. } => format!("HTTP status {}", error.status),
        TransportErrorKind::Custom(error) | TransportErrorKind::NonRetryable(error) => {
            error.downcast_ref::<reqwest::Error>().map_or_else(|| "transport failed".to_owned(), cause)
        }
        _ => "transport failed".to_owned(),
    }
}

/// What went wrong, without the URL that reqwest's own text repeats.
fn cause(error: &reqwest::Error) -> String {
    let what = match error {
        error if error.is_timeout() => "no answer in time",
        error if error.is_connect() => "no connection",
        error if error.is_body() || error.is_decode() => "answer cut short",
        error if error.is_builder() => "client not built",
        _ => "request failed",
    };
    let mut text = what.to_owned();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

fn kind(error: &ChainError) -> &'static str {
    match error {
        ChainError::Unreachable { .. } => "unreachable",
        ChainError::Refused { .. } => "refused",
        ChainError::Reverted { .. } => "reverted",
        _ => "malformed",
    }
}

#[cfg(test)]
#[path = "espace_tests.rs"]
mod tests;
