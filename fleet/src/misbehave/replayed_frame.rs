//! Sends the same AUTH_RESP twice: it counts once, and gets the same answer.

use super::{Actor, Verdict};
use crate::error::FleetError;

pub(super) const NAME: &str = "replayed_frame";

pub(super) async fn play(actor: &Actor) -> Result<Verdict, FleetError> {
    let mut client = actor.open(NAME).await?;
    let ticket = client.ticket().await?;
    let answer = client.answer(&ticket)?;
    client.commit(&answer);
    let first = client.answer_to(&answer.frame).await?;
    let second = client.answer_to(&answer.frame).await?;
    let observed = if first.bytes == second.bytes {
        format!("{} twice, byte for byte", first.name())
    } else {
        format!("{}, then {}", first.name(), second.name())
    };
    client.end(&answer).await?;
    Verdict::new("AUTH_GRANT twice, byte for byte", observed)
}
