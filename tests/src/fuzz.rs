//! What the fuzz targets under `fuzz/` run: one function a target, bytes in, a panic if anything that must hold does not.
//!
//! They stand here rather than beside the targets so that they are compiled and linted with everything else, and so that
//! `tests/corpus.rs` runs the kept inputs without a fuzzer.

mod board;
mod chain;
mod ciphers;
mod device;
mod input;
mod relayer;
mod relayer_session;
mod wire;

// The gateway of the SDK's own tests, so that the two cannot come to differ.
#[allow(
    dead_code,
    missing_debug_implementations,
    unreachable_pub,
    reason = "only what builds frames is used"
)]
#[path = "../../device-sdk/tests/session/gateway.rs"]
mod gateway;

/// A target's name, which is also that of its corpus, and what it runs.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("admin_requests", relayer::admin_requests),
    ("bodies", wire::bodies),
    ("certificates", relayer::certificates),
    ("chain_answers", chain::answers),
    ("chain_events", chain::events),
    ("configuration", relayer::configuration),
    ("device_records", device::records),
    ("device_session", device::session),
    ("frames", wire::frames),
    ("journal_records", relayer::journal_records),
    ("messages", wire::messages),
    ("relayer_session", relayer_session::serve),
    ("sm4_gcm", ciphers::sm4_gcm),
    ("tariffs", wire::tariffs),
];

/// Runs the target of this name.
///
/// # Panics
/// There is no such target, or the input breaks what must hold.
pub fn run(target: &str, data: &[u8]) {
    let (_, run) = TARGETS.iter().find(|(name, _)| *name == target).expect("a target of this name");
    run(data);
}
