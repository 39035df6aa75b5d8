//! States a payload above what the gateway takes.

use cip22_wire::FrameType;
use cip22_wire::frame;

use super::{Actor, Verdict};
use crate::client::ANSWER_TIMEOUT;
use crate::error::FleetError;

pub(super) const NAME: &str = "oversized_frame";

pub(super) async fn play(actor: &Actor) -> Result<Verdict, FleetError> {
    let mut client = actor.open(NAME).await?;
    let too_long = client
        .max_payload
        .checked_add(1)
        .ok_or_else(|| FleetError::Protocol("the gateway takes the longest payload there is".to_owned()))?;
    let [high, low] = too_long.to_be_bytes();
    let header =
        [frame::MAGIC, frame::CODEC, frame::VERSION, frame::FLAGS, high, low, FrameType::ChargeEnd.code()];
    let refused = client.answer_to(&header).await?;
    let limit = refused.nack().and_then(|nack| nack.limit).unwrap_or_default();
    client.expect_close(ANSWER_TIMEOUT).await?;
    Verdict::new(
        format!("NACK PAYLOAD_TOO_LONG limit {}, closed", client.max_payload),
        format!("{} limit {limit}, closed", refused.name()),
    )
}
