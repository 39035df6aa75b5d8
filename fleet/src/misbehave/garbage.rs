//! Sends bytes that are no frame.

use super::{Actor, Verdict};
use crate::client::ANSWER_TIMEOUT;
use crate::error::FleetError;

pub(super) const NAME: &str = "garbage";

pub(super) async fn play(actor: &Actor) -> Result<Verdict, FleetError> {
    let mut client = actor.open(NAME).await?;
    let refused = client.answer_to(&[0x47; 64]).await?;
    client.expect_close(ANSWER_TIMEOUT).await?;
    Verdict::new("NACK MALFORMED_HEADER, closed", format!("{}, closed", refused.name()))
}
