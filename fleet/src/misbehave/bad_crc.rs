//! Sends a frame whose checksum is wrong.

use cip22_wire::message::Heartbeat;

use super::{Actor, Verdict};
use crate::client::ANSWER_TIMEOUT;
use crate::client::encode;
use crate::error::FleetError;

pub(super) const NAME: &str = "bad_crc";

pub(super) async fn play(actor: &Actor) -> Result<Verdict, FleetError> {
    let mut client = actor.open(NAME).await?;
    let mut frame = encode(&Heartbeat { counter: 1, time_ms: 0 })?;
    if let Some(crc) = frame.last_mut() {
        *crc ^= 0xff;
    }
    let refused = client.answer_to(&frame).await?;
    client.expect_close(ANSWER_TIMEOUT).await?;
    Verdict::new("NACK BAD_CRC, closed", format!("{}, closed", refused.name()))
}
