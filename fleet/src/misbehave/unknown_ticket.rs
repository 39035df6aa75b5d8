//! Answers a ticket that was never issued.

use super::{Actor, Verdict};
use crate::error::FleetError;

pub(super) const NAME: &str = "unknown_ticket";

pub(super) async fn play(actor: &Actor) -> Result<Verdict, FleetError> {
    let mut client = actor.open(NAME).await?;
    let mut ticket = client.ticket().await?;
    ticket.challenge.sid[0] ^= 0xff;
    let answer = client.answer(&ticket)?;
    Verdict::new("NACK UNKNOWN_TICKET", client.answer_to(&answer.frame).await?.name())
}
