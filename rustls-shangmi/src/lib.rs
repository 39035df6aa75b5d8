#![doc = include_str!("../README.md")]
#![deny(missing_docs)]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unreachable,
    clippy::unwrap_used
)]

pub mod chain;
pub mod cipher_suite;
pub mod client;
mod error;
pub mod key_exchange;
pub mod pairing;
mod peer;
mod provider;
pub mod secrets;
pub mod server;
pub mod signature;

pub use client::Client;
pub use error::Error;
pub use pairing::Pairing;
pub use peer::{Checked, Options};
pub use provider::{RANDOM, provider};
pub use server::Server;
