//! Policies: from the chain to the piles, and their acknowledgements back to the chain.
//!
//! [`watch`] follows the chain, [`announce`] opens epochs, [`push`] sends SET_POLICY, [`ack`] takes POLICY_ACK.

pub mod ack;
pub mod anchors;
pub mod announce;
pub mod push;
pub mod watch;
