//! A relayer whose transaction stays in its node's pool, for as long as a scenario wants.

use serde_json::json;

use crate::chain::address_of;
use crate::node::Account;
use crate::pile::Pile;
use crate::proxy::{Behaviour, Proxy};
use crate::relayer::Relayer;
use crate::world::World;

/// The relayer was told a nonce one too high, so that what it signs cannot be mined before somebody uses `nonce`.
#[derive(Debug)]
pub struct Hanging {
    /// Its signer.
    pub signer: Account,
    /// The signer's next nonce; the relayer's first transaction has the one above.
    pub nonce: u64,
    /// Between the relayer and the node.
    pub proxy: Proxy,
    /// The relayer.
    pub relayer: Relayer,
    /// A pile with one authorization, the only one.
    pub pile: Pile,
}

impl Hanging {
    /// Starts a relayer that sends again soon and raises no fee by itself, and has one pile authorize.
    pub async fn new(world: &World) -> Self {
        let signer = world.node.info.account("relayer-1").clone();
        let nonce = world.chain.nonce(address_of(&signer)).await;
        let proxy = Proxy::start(&world.node.info.rpc_url).await;
        proxy.on("eth_getTransactionCount", Behaviour::Answer(json!(format!("{:#x}", nonce + 1))));
        let relayer = world
            .launch()
            .with("RELAYER__CHAIN__ENDPOINTS", &proxy.url)
            .with("RELAYER__CHAIN__REPLACE_BLOCKS", 10_000)
            .with("RELAYER__CHAIN__REBROADCAST_BLOCKS", 5)
            .start();
        let mut pile = world.connected_pile(0, &relayer).await;
        pile.authorize().await;
        Self { signer, nonce, proxy, relayer, pile }
    }
}
