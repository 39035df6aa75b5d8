//! Every limit of the wire (§11 and the sizes of §4), in one place.

/// Largest payload that the length field can state, bytes.
pub const PAYLOAD_BYTES_MAX: u16 = u16::MAX;
/// Smallest `max_payload` a pile may state, bytes.
pub const PILE_PAYLOAD_BYTES_MIN: u16 = 512;
/// Smallest `max_payload` a gateway may state, bytes.
pub const GATEWAY_PAYLOAD_BYTES_MIN: u16 = 8_192;
/// Statements of one pile in one epoch.
pub const STATEMENTS_PER_EPOCH_MAX: u8 = 255;
/// Indices of one group, so the highest index is 223.
pub const GROUP_INDICES_MAX: u8 = 224;

/// `versions` of HELLO, bytes.
pub const VERSIONS_BYTES_MAX: usize = 8;
/// `body` of AUTH_GRANT, AUTH_DENY and CREDIT_UPDATE, bytes.
pub const BODY_BYTES_MAX: usize = 64;
/// What sealing adds to a body: its number before, the AEAD's tag behind, bytes (§4.5).
pub const SEAL_OVERHEAD_BYTES: usize = 20;
/// Numbers that one end uses for the bodies it seals under one ticket, from 0.
pub const SEALED_BODIES_MAX: u32 = 1 << 24;
/// `body` of SEALED, bytes: with the whole of OTA_CHUNK inside, SEALED's payload is the smallest `max_payload`.
pub const SEALED_BODY_BYTES_MAX: usize = 486;
/// `meter` of CHARGE_END, bytes.
pub const METER_BYTES_MAX: usize = 4_096;
/// `path` of BATCH_ROOT, bytes.
pub const PATH_BYTES_MAX: usize = 384;
/// One node of `path`, bytes.
pub const PATH_NODE_BYTES: usize = 32;
/// `chunk` of SET_POLICY, bytes: a whole tariff fits when the pile's `max_payload` allows.
pub const POLICY_CHUNK_BYTES_MAX: usize = TARIFF_BYTES_MAX;
/// Payload of SET_POLICY beyond its chunk, bytes; a chunk for a pile is at most its `max_payload` less this.
pub const SET_POLICY_OVERHEAD_BYTES: usize = 94;
/// `value` of TRUST_UPDATE, bytes.
pub const TRUST_VALUE_BYTES_MAX: usize = 64;
/// `body` of FAULT_CLAIM, bytes.
pub const CLAIM_BYTES_MAX: usize = 1_024;
/// `data` of OTA_CHUNK, bytes.
pub const OTA_DATA_BYTES_MAX: usize = 448;

/// Tariff bytes before the periods (§10).
pub const TARIFF_HEADER_BYTES: usize = 13;
/// One period of a tariff, bytes.
pub const TARIFF_PERIOD_BYTES: usize = 10;
/// Periods of a tariff.
pub const TARIFF_PERIODS_MAX: u8 = 48;
/// A whole tariff, bytes: 13 + 10 · 48.
pub const TARIFF_BYTES_MAX: usize = 493;
/// Time zone of a tariff, minutes east of UTC, lowest.
pub const UTC_OFFSET_MINUTES_MIN: i16 = -720;
/// Time zone of a tariff, minutes east of UTC, highest.
pub const UTC_OFFSET_MINUTES_MAX: i16 = 840;
/// Minutes of a day; a period starts below this.
pub const DAY_MINUTES: u16 = 1_440;

/// Ticket: `deadline` − `answer_by` is at least this, blocks (§5.4).
pub const TICKET_GRACE_BLOCKS_MIN: u64 = 60;
/// Ticket: `deadline` − `issued` is at most this, blocks (§5.4).
pub const TICKET_LIFE_BLOCKS_MAX: u64 = 7_200;
