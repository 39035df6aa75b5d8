//! Shows a certificate of another root.

use super::{Actor, Verdict};
use crate::client::encode;
use crate::error::FleetError;

pub(super) const NAME: &str = "foreign_certificate";

pub(super) async fn play(actor: &Actor) -> Result<Verdict, FleetError> {
    let mut client = actor.foreign_client(NAME)?;
    if let Err(error) = client.connect().await {
        return Verdict::new(REFUSED, refusal(&error));
    }
    // In TLS 1.3 the client learns of it only when it reads.
    let hello = encode(&client.hello())?;
    let observed = match client.answer_to(&hello).await {
        Ok(received) => received.name(),
        Err(error) => refusal(&error),
    };
    Verdict::new(REFUSED, observed)
}

/// Refused without a single frame is what TLS does; anything else would be a frame.
fn refusal(error: &FleetError) -> String {
    match error {
        FleetError::Connection(_) => REFUSED.to_owned(),
        other => other.to_string(),
    }
}

const REFUSED: &str = "refused by TLS";
