//! The chain, as the rest of the relayer sees it. [`endpoints`] is the real one: [`espace`] several times over.

pub mod contracts;
pub mod endpoints;
pub mod espace;
pub mod fees;
pub mod head_quorum;
pub mod health;
pub mod precompiles;
pub mod quorum;
pub mod signer;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use cip22_wire::{Address, BatteryId, DeviceId, Hash, Sid};

pub use crate::error::ChainError;
use crate::signers::Signers;
use crate::view::Policy;

/// A shared chain.
pub type SharedChain = Arc<dyn Chain>;

/// Block numbers under the three tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heads {
    /// `latest`: newest executed block.
    pub latest: u64,
    /// `safe`.
    pub safe: u64,
    /// `finalized`.
    pub finalized: u64,
}

/// A change of the device registry, in the order of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceEvent {
    /// A device joined, or its key moved to a new index.
    Placed {
        /// Device.
        device_id: DeviceId,
        /// Group.
        group: u32,
        /// Index.
        index: u8,
        /// Key.
        key: Address,
        /// First epoch of the key.
        active_from: u32,
    },
    /// A device was revoked for good.
    Revoked {
        /// Device.
        device_id: DeviceId,
    },
    /// The index of a device got a BLS key.
    Enrolled {
        /// Device.
        device_id: DeviceId,
        /// Group.
        group: u32,
        /// Index.
        index: u8,
        /// Key, as the contract checked it: x.c0 ‖ x.c1 ‖ y.c0 ‖ y.c1.
        key: Box<BlsKeyBytes>,
        /// First epoch of the key.
        active_from: u32,
    },
}

/// A BLS12-381 key in G2, as it stands on chain.
pub type BlsKeyBytes = [u8; 192];

/// A `RootRecorded` event: what these indices stated in the epoch up to their leaves is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootEvent {
    /// Group.
    pub group: u32,
    /// Epoch.
    pub epoch: u32,
    /// Root of the group's 256 places.
    pub group_root: Hash,
    /// Bit i from the low end: index i signed.
    pub signers: Signers,
    /// Transaction.
    pub transaction: Hash,
    /// Block number.
    pub block: u64,
}

/// A `HeadRecorded` or `HeadExtended` event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadEvent {
    /// Group.
    pub group: u32,
    /// Index.
    pub index: u8,
    /// Epoch.
    pub epoch: u32,
    /// Number of the last statement covered.
    pub n: u8,
    /// Head.
    pub head: Hash,
    /// Transaction.
    pub transaction: Hash,
    /// Block number.
    pub block: u64,
}

/// A `BatteryAdvanced` event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerEvent {
    /// Battery.
    pub battery: BatteryId,
    /// Signing device.
    pub device_id: DeviceId,
    /// Segment.
    pub segment: Sid,
    /// New head's sequence number.
    pub seq: u32,
    /// New head's fingerprint.
    pub fp: Hash,
    /// Transaction.
    pub transaction: Hash,
    /// Block number.
    pub block: u64,
}

/// A transaction's receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Whether execution succeeded.
    pub succeeded: bool,
    /// Block number.
    pub block: u64,
    /// Block hash.
    pub block_hash: Hash,
    /// Gas used by execution.
    pub gas_used: u64,
    /// Fee charged, in drip: eSpace charges at least 3/4 of the gas limit.
    pub fee_drip: u128,
}

impl Receipt {
    /// Whether both tell of the same execution. The fee is left aside: it is for people.
    pub fn is_same_inclusion(&self, other: &Self) -> bool {
        let told = |receipt: &Self| (receipt.succeeded, receipt.block, receipt.block_hash, receipt.gas_used);
        told(self) == told(other)
    }
}

/// The calls that the relayer makes. Every method may fail with a [`ChainError`] that says whether to try again.
#[async_trait]
pub trait Chain: Debug + Send + Sync {
    /// The chain id that is reported.
    async fn chain_id(&self) -> Result<u64, ChainError>;
    /// Numbers under the three tags. What is guaranteed of several endpoints together: [`head_quorum`].
    async fn heads(&self) -> Result<Heads, ChainError>;
    /// Hash of a block, `None` if the endpoint has no such block.
    async fn block_hash(&self, number: u64) -> Result<Option<Hash>, ChainError>;
    /// Policies scheduled in blocks `from..=to`.
    async fn policies(&self, from: u64, to: u64) -> Result<Vec<Policy>, ChainError>;
    /// Registry changes in blocks `from..=to`.
    async fn device_events(&self, from: u64, to: u64) -> Result<Vec<DeviceEvent>, ChainError>;
    /// Recorded heads in blocks `from..=to`, of every verifier in the deployment file.
    async fn head_events(&self, from: u64, to: u64) -> Result<Vec<HeadEvent>, ChainError>;
    /// Recorded roots in blocks `from..=to`, of every verifier in the deployment file.
    async fn root_events(&self, from: u64, to: u64) -> Result<Vec<RootEvent>, ChainError>;
    /// Ledger moves in blocks `from..=to`.
    async fn ledger_events(&self, from: u64, to: u64) -> Result<Vec<LedgerEvent>, ChainError>;
    /// Executed nonce of an account at `latest`.
    async fn nonce(&self, account: Address) -> Result<u64, ChainError>;
    /// Balance of an account in drip at `latest`.
    async fn balance(&self, account: Address) -> Result<u128, ChainError>;
    /// Base fee of the newest block, in drip per gas.
    async fn base_fee(&self) -> Result<u128, ChainError>;
    /// Gas that a call would need, by the node's estimate.
    async fn estimate_gas(&self, from: Address, to: Address, calldata: &[u8]) -> Result<u64, ChainError>;
    /// Hands signed bytes to the node. An answer that the node knows them already is success.
    async fn send_raw(&self, raw: &[u8]) -> Result<(), ChainError>;
    /// Receipt of a transaction; `None` is *unknown*, never failure.
    async fn receipt(&self, transaction: Hash) -> Result<Option<Receipt>, ChainError>;
    /// Whether any code stands at an address.
    async fn has_code(&self, address: Address) -> Result<bool, ChainError>;
    /// What a call returns at `latest`, whatever stands at the address: of no code at all it is empty.
    async fn eth_call(&self, to: Address, calldata: &[u8]) -> Result<Vec<u8>, ChainError>;
}
