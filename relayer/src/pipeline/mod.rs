//! The way of a statement, stage by stage:
//!
//! | stage | what it does |
//! |---|---|
//! | [`accept`] | TLS handshake, certificate, binding |
//! | [`decode`] | bytes to frames to messages, limits, NACK for the rest |
//! | [`authenticate`] | whose key signed, under which policy, at which place of the chain |
//! | [`challenge`] | tickets |
//! | [`grant`] | the local decision: a bounded credit |
//! | [`journal`] | durable before any answer leaves |
//! | [`batch`] | what goes to the chain next |
//! | [`batch_tree`], [`lane`] | the tree whose root piles co-sign, and whether that pays |
//! | [`lease`] | whose a group's epochs are to cut |
//! | [`round`], [`cosign`] | a root, co-signed by its piles |
//! | [`dispatch`] | which signer carries which batch |
//! | [`submit`] | nonce, fees, signed bytes, broadcast |
//! | [`confirm`] | receipts until `safe` |
//! | [`acknowledge`] | what the chain shows or takes back, told to the piles |
//! | [`revoke`] | grants that the chain did not bear out |

pub mod accept;
pub mod acknowledge;
pub mod authenticate;
pub mod batch;
pub mod batch_tree;
pub mod challenge;
pub mod charge;
pub mod confirm;
pub mod cosign;
pub mod decode;
pub mod dispatch;
pub mod grant;
pub mod journal;
pub mod lane;
pub mod lease;
pub mod revoke;
pub mod round;
pub mod submit;

use cip22_wire::NackCode;
use cip22_wire::message::{Body, Nack};
use metrics::counter;

use crate::gateway::Durable;
use crate::limits::FRAME_OUT_BYTES_MAX;

/// What handling a frame came to.
pub struct Handled {
    /// Frames to send, once `durable` resolved.
    pub replies: Vec<Vec<u8>>,
    /// What they wait for.
    pub durable: Option<Durable>,
    /// Whether the session ends after them.
    pub close: bool,
}

impl std::fmt::Debug for Handled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handled")
            .field("replies", &self.replies.len())
            .field("waits", &self.durable.is_some())
            .field("close", &self.close)
            .finish()
    }
}

impl Handled {
    /// A reply that waits for nothing.
    pub fn now(reply: Vec<u8>) -> Self {
        Self { replies: vec![reply], durable: None, close: false }
    }

    /// A reply that waits for the disk.
    pub fn after(durable: Durable, reply: Vec<u8>) -> Self {
        Self { replies: vec![reply], durable: Some(durable), close: false }
    }

    /// No reply.
    pub fn nothing() -> Self {
        Self { replies: Vec::new(), durable: None, close: false }
    }

    /// A refusal.
    pub fn refused(frame_type: u8, code: NackCode) -> Self {
        Self::now(refuse(frame_type, code))
    }

    /// A refusal that names the field at fault and its limit.
    pub fn refused_field(frame_type: u8, code: NackCode, field: u8, limit: Option<u32>) -> Self {
        Self::now(refuse_with(Nack {
            frame_type,
            code: code.code(),
            field: Some(field),
            limit,
            retry_ms: None,
        }))
    }

    /// A refusal for now.
    pub fn refused_until(frame_type: u8, code: NackCode, retry_ms: u32) -> Self {
        let retry_ms = Some(retry_ms);
        Self::now(refuse_with(Nack { frame_type, code: code.code(), field: None, limit: None, retry_ms }))
    }

    /// The session ends after the replies.
    pub fn closing(mut self) -> Self {
        self.close = true;
        self
    }
}

/// The whole frame of a message.
pub fn frame_bytes<'a>(message: &impl Body<'a>) -> Vec<u8> {
    let mut bytes = vec![0; FRAME_OUT_BYTES_MAX];
    // Every message that the relayer builds is bounded by its own field limits, far below this buffer.
    let length = message.encode(&mut bytes).expect("frames that the relayer builds fit");
    bytes.truncate(length);
    bytes
}

/// A NACK frame, counted.
pub fn refuse(frame_type: u8, code: NackCode) -> Vec<u8> {
    refuse_with(Nack { frame_type, code: code.code(), field: None, limit: None, retry_ms: None })
}

/// A NACK frame with all it says, counted.
pub fn refuse_with(nack: Nack) -> Vec<u8> {
    let code = NackCode::from_u16(nack.code).map_or("UNKNOWN", NackCode::name);
    counter!("nacks_total", "code" => code).increment(1);
    frame_bytes(&nack)
}
