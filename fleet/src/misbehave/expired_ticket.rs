//! Answers a ticket after its answer_by.

use std::time::Instant;

use super::{Actor, Verdict};
use crate::error::FleetError;

pub(super) const NAME: &str = "expired_ticket";

pub(super) async fn play(actor: &Actor) -> Result<Verdict, FleetError> {
    let mut client = actor.open(NAME).await?;
    let ticket = client.ticket().await?;
    let answer = client.answer(&ticket)?;
    // An epoch is announced once its first block is safe: then the ticket's last block is past.
    let epoch_len = actor.stage.deployment.epoch_len_blocks;
    let deadline = Instant::now() + actor.stage.patience;
    while client.epoch.is_none_or(|epoch| u64::from(epoch.epoch) * epoch_len <= ticket.challenge.answer_by) {
        client.receive(deadline.saturating_duration_since(Instant::now())).await?;
    }
    client.commit(&answer);
    Verdict::new("AUTH_DENY EXPIRED", client.answer_to(&answer.frame).await?.name())
}
