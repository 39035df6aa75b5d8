//! Batteries at scripted piles: what the gateway acknowledges of them, and how one moves.

use cip22_wire::FrameType;
use cip22_wire::message::{Body, TelemAck, TelemHead};

use crate::pile::Pile;

impl Pile {
    /// The next TELEM_ACK.
    pub async fn expect_telem_ack(&mut self) -> TelemAck {
        let (_, payload) = self.expect(&[FrameType::TelemAck]).await;
        TelemAck::decode(&payload).expect("TELEM_ACK")
    }

    /// Asks the gateway what it holds of the battery, and goes on from there.
    pub async fn adopt_battery(&mut self, battery: [u8; 32]) -> TelemHead {
        self.battery = battery;
        self.send(&TelemHead { battery, seq: None, fp: None, ledger_seq: None, ledger_fp: None }).await;
        let (_, payload) = self.expect(&[FrameType::TelemHead]).await;
        let head = TelemHead::decode(&payload).expect("TELEM_HEAD");
        self.record = (head.seq.expect("an answer"), head.fp.expect("an answer"));
        self.checkpoint = (head.ledger_seq.expect("an answer"), head.ledger_fp.expect("an answer"));
        head
    }
}
