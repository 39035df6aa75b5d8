//! Says HELLO under the device id of another.

use super::{Actor, Verdict};
use crate::client::encode;
use crate::error::FleetError;

pub(super) const NAME: &str = "device_mismatch";

pub(super) async fn play(actor: &Actor) -> Result<Verdict, FleetError> {
    let mut client = actor.client(NAME)?;
    client.connect().await?;
    let mut hello = client.hello();
    hello.device_id[0] ^= 0xff;
    Verdict::new("NACK DEVICE_MISMATCH", client.answer_to(&encode(&hello)?).await?.name())
}
