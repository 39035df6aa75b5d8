//! Asks for a ticket before HELLO.

use super::{Actor, Verdict};
use crate::client::encode;
use crate::error::FleetError;

pub(super) const NAME: &str = "missing_hello";

pub(super) async fn play(actor: &Actor) -> Result<Verdict, FleetError> {
    let mut client = actor.client(NAME)?;
    client.connect().await?;
    let request = encode(&client.challenge_req()?)?;
    Verdict::new("NACK UNEXPECTED", client.answer_to(&request).await?.name())
}
