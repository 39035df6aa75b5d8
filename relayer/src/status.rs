//! What `relayer status`, `/ready` and operators are told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};

use crate::admin::http::Readiness;
use crate::chain::endpoints::Endpoints;
use crate::deployment::Deployment;
use crate::directory::Device;
use crate::gateway::Gateway;

/// The chain view counts as fresh this long after its head last moved, ms.
pub const HEAD_FRESH_MS: u64 = 60_000;

/// Reads the running gateway.
#[derive(Debug)]
pub struct Status {
    gateway: Arc<Gateway>,
    deployment: Arc<Deployment>,
    endpoints: Endpoints,
    listen: OnceLock<SocketAddr>,
}

impl Status {
    /// A view of `gateway`.
    pub fn new(gateway: Arc<Gateway>, deployment: Arc<Deployment>, endpoints: Endpoints) -> Self {
        Self { gateway, deployment, endpoints, listen: OnceLock::new() }
    }

    /// Notes where piles are listened to.
    pub fn serves_on(&self, listen: SocketAddr) {
        let _ = self.listen.set(listen);
    }

    /// Everything at a glance.
    pub fn report(&self) -> Value {
        let view = self.gateway.view.borrow().clone();
        let announced = *self.gateway.announced().borrow();
        let ciphers = shangmi::suite::detect();
        let state = self.gateway.state();
        let mut policy_acks: BTreeMap<u32, u64> = BTreeMap::new();
        for version in state.policy_acks.values() {
            *policy_acks.entry(*version).or_default() += 1;
        }
        json!({
            "listen": self.listen.get(),
            "chain": {
                "chain_id": self.deployment.chain_id,
                "verifier": format!("0x{}", hex::encode(self.deployment.verifier())),
                "latest": view.latest_block,
                "safe": view.safe_block,
                "finalized": view.finalized_block,
                "scanned_to": state.scanned_to,
                "head_age_ms": self.gateway.clock.monotonic_ms().saturating_sub(view.advanced_at_ms),
                "lane2": self.gateway.cosign.lane2().name(),
                "trouble": view.trouble.as_ref().map(|trouble| trouble.error.clone()),
            },
            "endpoints": self.endpoints.report(),
            "epoch": announced.map(|announced| announced.epoch.epoch),
            "policy": view.policies.last().map(|policy| json!({
                "newest_version": policy.version,
                "first_epoch": policy.first_epoch,
            })),
            "policy_acks": policy_acks,
            "sessions": self.gateway.session_count(),
            "ciphers": json!({
                "sm4_gcm": format!("{:?}", ciphers.sm4_gcm),
                "aes_instructions": ciphers.aes_instructions,
            }),
            "devices": self.devices(announced.map(|announced| announced.epoch.epoch)),
            "counts": state.counts,
            "statements_waiting": state.uncovered.len(),
            "batches": state.batches.values().map(|batch| json!({
                "batch": batch.record.batch,
                "kind": batch.record.kind,
                "epoch": batch.record.epoch,
                "members": batch.record.members.len(),
                "attempts": batch.attempts.len(),
                "mined_in": batch.mined.map(|(_, block, ..)| block),
                "safe_in": batch.safe.map(|(block, _)| block),
            })).collect::<Vec<_>>(),
            "ready": self.not_ready_because().is_empty(),
        })
    }

    fn devices(&self, epoch: Option<u32>) -> Value {
        let directory = self.gateway.directory.load();
        let devices = || directory.devices.values();
        let active =
            |device: &&Device| !device.revoked && epoch.is_some_and(|epoch| device.place_at(epoch).is_some());
        json!({
            "registered": devices().count(),
            "active": devices().filter(active).count(),
            "revoked": devices().filter(|device| device.revoked).count(),
        })
    }

    /// Why piles cannot be served now; empty when they can.
    pub fn not_ready_because(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.gateway.failed.is_cancelled() {
            reasons.push("the journal cannot be written".to_owned());
        }
        if self.gateway.stop.is_cancelled() {
            reasons.push("stopping".to_owned());
        }
        if self.listen.get().is_none() {
            reasons.push("the device registry has not been read yet".to_owned());
        }
        if self.gateway.announced().borrow().is_none() {
            reasons.push("no epoch is safe yet".to_owned());
        }
        let now_ms = self.gateway.clock.monotonic_ms();
        let advanced_at_ms = self.gateway.view.borrow().advanced_at_ms;
        if now_ms.saturating_sub(advanced_at_ms) > HEAD_FRESH_MS {
            reasons.push(format!("the chain's head has not moved for {HEAD_FRESH_MS} ms"));
        }
        reasons
    }
}

impl Readiness for Status {
    fn ready(&self) -> Result<(), Vec<String>> {
        let reasons = self.not_ready_because();
        if reasons.is_empty() { Ok(()) } else { Err(reasons) }
    }
}
