//! Answers a ticket a second time, with other bytes.

use super::granted;
use super::{Actor, Verdict};
use crate::error::FleetError;

pub(super) const NAME: &str = "reused_ticket";

pub(super) async fn play(actor: &Actor) -> Result<Verdict, FleetError> {
    let mut client = actor.open(NAME).await?;
    let (ticket, answer) = granted(&mut client).await?;
    let second = client.answer(&ticket)?;
    let observed = client.answer_to(&second.frame).await?.name();
    client.end(&answer).await?;
    Verdict::new("NACK TICKET_USED", observed)
}
