//! Comes back after it was revoked on chain.

use std::time::Instant;

use cip22_wire::FrameType;

use super::{ADMISSION_INTERVAL, Actor, Verdict};
use crate::client::ANSWER_TIMEOUT;
use crate::client::encode;
use crate::error::FleetError;

pub(super) const NAME: &str = "revoked_device";

pub(super) async fn play(actor: &Actor) -> Result<Verdict, FleetError> {
    // Until its registration is safe the gateway knows of no such device.
    let deadline = Instant::now() + actor.stage.patience;
    loop {
        let observed = ask(actor).await?;
        if observed != UNKNOWN || Instant::now() >= deadline {
            return Verdict::new("NACK REVOKED_DEVICE", observed);
        }
        tokio::time::sleep(ADMISSION_INTERVAL).await;
    }
}

/// HELLO, and if that is taken CHALLENGE_REQ.
async fn ask(actor: &Actor) -> Result<String, FleetError> {
    let mut client = actor.client(NAME)?;
    client.connect().await?;
    client.send(&client.hello()).await?;
    let types = [FrameType::Nack, FrameType::Epoch].map(FrameType::code);
    let answer = client.expect(|received| types.contains(&received.frame_type), ANSWER_TIMEOUT).await?;
    if answer.nack().is_some() {
        return Ok(answer.name());
    }
    let request = encode(&client.challenge_req()?)?;
    Ok(client.answer_to(&request).await?.name())
}

const UNKNOWN: &str = "NACK UNKNOWN_DEVICE";
