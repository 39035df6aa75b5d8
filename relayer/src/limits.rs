//! Every limit of the relayer that is not configuration.

/// Most records in one journal transaction.
pub const JOURNAL_GROUP_RECORDS_MAX: usize = 4096;
/// Most frames of one session whose answers wait for the disk; past it the session stops reading.
pub const FRAMES_IN_FLIGHT_MAX: usize = 64;
/// Time for the last frames of a session that ends, ms; shorter than the stop of the daemon.
pub const SESSION_END_TIMEOUT_MS: u64 = 2_000;
/// Time for an HTTP/2 connection to end once it was told GOAWAY, ms; longer than that of its session.
pub const CONNECTION_END_TIMEOUT_MS: u64 = 3_000;
/// Requests a second that one HTTP/2 connection may make on average: one session, and a ticket now and then.
pub const REQUESTS_PER_SECOND_MAX: u32 = 20;
/// Requests that it may make at once; past it the connection is closed with ENHANCE_YOUR_CALM.
pub const REQUEST_BURST_MAX: u32 = 100;
/// Most telemetry records of a battery since its last checkpoint.
pub const RECORDS_SINCE_CHECKPOINT_MAX: usize = 4096;
/// Most tries to get a statement onto the chain before it counts as rejected by the contract.
pub const SUBMISSION_TRIES_MAX: u8 = 4;
/// Most tickets of a device in one epoch: each is a durable record, and a pile answers one at a time.
pub const TICKETS_PER_EPOCH_MAX: u32 = 64;
/// A batch that reverted, or never got a transaction, is tried again after this many blocks.
pub const RETRY_AFTER_BLOCKS: u64 = 25;
/// The lease of a group lasts so many blocks, and is renewed when half of them are over.
pub const LEASE_BLOCKS: u64 = 240;
/// A pile that signed a root wrongly is not asked to co-sign for so many epochs.
pub const QUARANTINE_EPOCHS: u32 = 16;
/// Whether the network verifies roots is asked again after this time where it does not, ms.
pub const LANE2_PROBE_INTERVAL_MS: u64 = 600_000;
/// Most endpoints: every look at the chain asks each of them.
pub const ENDPOINTS_MAX: usize = 16;
/// Hashes of scanned blocks that are kept, to find where a reorganisation began; below them everything is read again.
pub const ANCHORS_MAX: usize = 1_024;
/// Batches and ledger moves are kept for so many blocks after they are safe, unless they are final before: what a deeper
/// reorganisation undoes is carried by new batches, under new nonces.
pub const REORGANISATION_BLOCKS_MAX: u64 = 1_000;
/// Most strikes that a device may have against its credit: each halves it.
pub const STRIKES_MAX: u8 = 3;
/// Grants of a device whose AUTH_FINAL with level FINAL waits for a session; of more, the oldest are left out.
pub const FINALS_DUE_MAX: usize = 8;
/// What a pile is told to wait before it tries again when the relayer is not ready.
pub const NOT_READY_RETRY_MS: u32 = 1_000;
/// Largest frame that the relayer builds.
pub const FRAME_OUT_BYTES_MAX: usize = 1_024;
/// Records a `recordMany` call may hold: 98 bytes × 100 gas × 300 stays inside the 3 M gas that a sender gets per block.
pub const RECORDS_PER_BATCH_MAX: usize = 300;

const _: () = assert!(RECORDS_PER_BATCH_MAX * 98 * 100 < 3_000_000);
