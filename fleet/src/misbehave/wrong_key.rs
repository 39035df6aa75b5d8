//! Signs with a key that is not registered.

use cip22_device_sdk::sign::SigningKey;

use super::{Actor, Verdict};
use crate::clock::SystemEntropy;
use crate::error::FleetError;

pub(super) const NAME: &str = "wrong_key";

pub(super) async fn play(actor: &Actor) -> Result<Verdict, FleetError> {
    let mut client = actor.open(NAME).await?;
    let ticket = client.ticket().await?;
    let other = SigningKey::random(&mut SystemEntropy)?;
    let answer = client.answer_as(&ticket, &other, &ticket.challenge.policy_hash)?;
    Verdict::new("NACK BAD_SIGNATURE", client.answer_to(&answer.frame).await?.name())
}
