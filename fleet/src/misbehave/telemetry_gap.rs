//! Leaves a battery record out.

use super::{Actor, Verdict};
use crate::client::encode;
use crate::error::FleetError;

pub(super) const NAME: &str = "telemetry_gap";

pub(super) async fn play(actor: &Actor) -> Result<Verdict, FleetError> {
    let mut client = actor.open(NAME).await?;
    let (seq, fp) = client.battery_head().await?;
    let record = encode(&client.record(seq + 2, &fp))?;
    let refused = client.answer_to(&record).await?;
    let next = refused.nack().and_then(|nack| nack.limit).unwrap_or_default();
    Verdict::new(format!("NACK TELEM_GAP {}", seq + 1), format!("{} {next}", refused.name()))
}
