//! Sends a battery record that does not follow from the one before.

use super::{Actor, Verdict};
use crate::client::encode;
use crate::error::FleetError;

pub(super) const NAME: &str = "telemetry_fingerprint";

pub(super) async fn play(actor: &Actor) -> Result<Verdict, FleetError> {
    let mut client = actor.open(NAME).await?;
    let (seq, mut fp) = client.battery_head().await?;
    fp[0] ^= 0xff;
    let record = encode(&client.record(seq + 1, &fp))?;
    Verdict::new("NACK TELEM_FINGERPRINT", client.answer_to(&record).await?.name())
}
