//! Comes back after it was revoked on chain.

use cip22_wire::FrameType;

use super::{Actor, Verdict};
use crate::client::ANSWER_TIMEOUT;
use crate::client::encode;
use crate::error::FleetError;

pub(super) const NAME: &str = "revoked_device";

pub(super) async fn play(actor: &Actor) -> Result<Verdict, FleetError> {
    let mut client = actor.client(NAME)?;
    client.connect().await?;
    client.send(&client.hello()).await?;
    let types = [FrameType::Nack, FrameType::Epoch].map(FrameType::code);
    let answer = client.expect(|received| types.contains(&received.frame_type), ANSWER_TIMEOUT).await?;
    let answer = if answer.nack().is_some() {
        answer
    } else {
        let request = encode(&client.challenge_req()?)?;
        client.answer_to(&request).await?
    };
    Verdict::new("NACK REVOKED_DEVICE", answer.name())
}
