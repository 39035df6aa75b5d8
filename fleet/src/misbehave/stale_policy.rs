//! Signs under a policy that is not the epoch's.

use std::time::Instant;

use super::{Actor, Verdict};
use crate::error::FleetError;

pub(super) const NAME: &str = "stale_policy";

pub(super) async fn play(actor: &Actor) -> Result<Verdict, FleetError> {
    let mut client = actor.open(NAME).await?;
    // The tariff changes while the fleet runs: wait until another policy than the epoch's is known.
    let deadline = Instant::now() + actor.stage.patience;
    let stale = loop {
        let current = client.epoch.map(|epoch| epoch.policy_hash).unwrap_or_default();
        if let Some(other) = client.policies.iter().find(|policy| policy.hash != current) {
            break Some(other.hash);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break None;
        }
        // A timeout here only ends the waiting.
        let _ = client.receive(left).await;
    };
    let ticket = client.ticket().await?;
    let key = client.key.clone();
    // One that the gateway has never seen looks like any other wrong signature.
    let answer = client.answer_as(&ticket, &key, &stale.unwrap_or([0x5a; 32]))?;
    let observed = client.answer_to(&answer.frame).await?.name();
    let expected = if stale.is_some() { "NACK STALE_POLICY" } else { "NACK BAD_SIGNATURE" };
    Verdict::new(expected, observed)
}
