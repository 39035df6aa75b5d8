//! Sends a field with an even tag that the message does not have.

use cip22_wire::FrameType;
use cip22_wire::frame;
use cip22_wire::message::Heartbeat;

use super::raw_frame;
use super::{Actor, Verdict};
use crate::client::encode;
use crate::error::FleetError;

pub(super) const NAME: &str = "unknown_even_tag";

pub(super) async fn play(actor: &Actor) -> Result<Verdict, FleetError> {
    let mut client = actor.open(NAME).await?;
    let whole = encode(&Heartbeat { counter: 1, time_ms: 0 })?;
    let payload =
        frame::parse(&whole, u16::MAX).ok().flatten().map(|parsed| parsed.payload).unwrap_or_default();
    let frame = raw_frame(FrameType::Heartbeat.code(), &[payload, &[4, 0, 1, 0]].concat());
    let refused = client.answer_to(&frame).await?;
    let field = refused.nack().and_then(|nack| nack.field).unwrap_or_default();
    Verdict::new("NACK UNKNOWN_FIELD 4", format!("{} {field}", refused.name()))
}
