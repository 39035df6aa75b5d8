//! The CIP-22 gateway daemon: it grants power in milliseconds and carries what piles sign to Conflux eSpace.
//!
//! Read the stages in order in [`pipeline`]; the seams to the world are [`clock`], [`disk`], [`net`], [`chain`] and [`journal`].

pub mod admin;
pub mod bls;
pub mod chain;
pub mod cli;
pub mod clock;
pub mod config;
pub mod deployment;
pub mod directory;
pub mod disk;
pub mod edge;
pub mod error;
pub mod failpoint;
pub mod gateway;
pub mod gateway_key;
pub mod journal;
pub mod limits;
pub mod net;
pub mod pipeline;
pub mod policy;
pub mod seal;
pub mod session;
pub mod signers;
pub mod state;
pub mod status;
pub mod supervisor;
pub mod telemetry;
pub mod view;
