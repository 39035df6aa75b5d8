//! What scenarios are made of: a real node from a deployed snapshot, the relayer as a process, and piles that do as they are told.
//!
//! Everything panics on trouble: a scenario that cannot be set up has failed.

pub mod battery;
pub mod chain;
pub mod co_sign;
pub mod endpoints;
pub mod fuzz;
pub mod hanging;
pub mod http2;
pub mod lane2;
pub mod node;
pub mod pile;
pub mod proxy;
pub mod relayer;
pub mod roots;
pub mod sealed;
pub mod shangmi;
pub mod snapshot;
pub mod statements;
pub mod terminator;
pub mod world;
