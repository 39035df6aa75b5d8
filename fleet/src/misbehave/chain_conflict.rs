//! Signs another statement under a number it has used.

use cip22_wire::statement::FIRST_HEAD;

use super::granted;
use super::{Actor, Verdict};
use crate::error::FleetError;

pub(super) const NAME: &str = "chain_conflict";

pub(super) async fn play(actor: &Actor) -> Result<Verdict, FleetError> {
    let mut client = actor.open(NAME).await?;
    let epoch = client.epoch.map(|epoch| epoch.epoch).unwrap_or_default();
    let before = client.chains.get(&epoch).copied().unwrap_or((0, FIRST_HEAD));
    let (_, answer) = granted(&mut client).await?;
    client.end(&answer).await?;
    let ticket = client.ticket().await?;
    if ticket.challenge.epoch != answer.position.0 {
        return Err(FleetError::Protocol("the epoch advanced in between".to_owned()));
    }
    let held = client
        .chains
        .insert(answer.position.0, if epoch == answer.position.0 { before } else { (0, FIRST_HEAD) });
    let conflicting = client.answer(&ticket)?;
    if let Some(held) = held {
        client.chains.insert(answer.position.0, held);
    }
    Verdict::new("NACK CHAIN_CONFLICT", client.answer_to(&conflicting.frame).await?.name())
}
