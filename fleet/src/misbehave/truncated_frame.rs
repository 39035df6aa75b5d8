//! Cuts an AUTH_RESP in half and closes: the ticket is not used up.

use super::{Actor, Verdict};
use crate::error::FleetError;

pub(super) const NAME: &str = "truncated_frame";

pub(super) async fn play(actor: &Actor) -> Result<Verdict, FleetError> {
    let mut client = actor.open(NAME).await?;
    let ticket = client.ticket().await?;
    let answer = client.answer(&ticket)?;
    let half = answer.frame.len() / 2;
    client.send_bytes(answer.frame.get(..half).unwrap_or_default()).await?;
    client.close().await;
    client.open().await?;
    client.commit(&answer);
    let observed = client.answer_to(&answer.frame).await?.name();
    client.end(&answer).await?;
    Verdict::new("AUTH_GRANT of the whole frame", format!("{observed} of the whole frame"))
}
