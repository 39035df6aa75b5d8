//! Three endpoints of one node, the first of which a scenario makes lie.

use serde_json::Value;

use crate::proxy::Proxy;
use crate::relayer::Relayer;
use crate::world::World;

/// The endpoints of one relayer. Two of the three have to agree.
#[derive(Debug)]
pub struct Endpoints {
    /// The one that lies on command.
    pub liar: Proxy,
    /// One that tells the truth. The node itself is the third.
    pub honest: Proxy,
    node: String,
}

impl Endpoints {
    /// In front of the world's node; all tell the truth.
    pub async fn start(world: &World) -> Self {
        let node = world.node.info.rpc_url.clone();
        Self { liar: Proxy::start(&node).await, honest: Proxy::start(&node).await, node }
    }

    /// For the relayer's configuration.
    pub fn urls(&self) -> [String; 3] {
        [self.liar.url.clone(), self.node.clone(), self.honest.url.clone()]
    }

    /// Waits until the relayer sees the liar in this state, and both others as healthy.
    pub async fn wait_for_liar(&self, relayer: &Relayer, state: &str) {
        let as_expected = |status: &Value| {
            self.urls().iter().all(|url| {
                let expected = if *url == self.liar.url { state } else { "healthy" };
                state_of(status, url) == Some(expected)
            })
        };
        relayer.wait_for_status(&format!("{} {state}, the others healthy", self.liar.url), as_expected).await;
    }
}

/// The state of an endpoint in `relayer status`.
pub fn state_of<'a>(status: &'a Value, url: &str) -> Option<&'a str> {
    let endpoints = status["endpoints"].as_array()?;
    endpoints.iter().find(|endpoint| endpoint["endpoint"] == url)?["state"].as_str()
}

/// Block numbers under `latest`, `safe` and `finalized` are `blocks` lower than the node says.
pub fn lag_by(blocks: u64) -> crate::proxy::Behaviour {
    crate::proxy::Behaviour::rewrite(move |params, mut answer| {
        if params[0].as_str().is_some_and(|at| !at.starts_with("0x"))
            && let Some(number) = answer["result"]["number"].as_str().and_then(|hex| hex.strip_prefix("0x"))
        {
            let number = u64::from_str_radix(number, 16).expect("a block number");
            answer["result"]["number"] = format!("{:#x}", number.saturating_sub(blocks)).into();
        }
        answer
    })
}
