//! Builds any message from a source of field values: a golden vector, or random bytes.

use cip22_wire::{FrameType, Message, limits, message::*};

/// Where the values of fields come from.
pub(crate) trait Source<'a> {
    /// Whether an optional field is there.
    fn has(&mut self, field: &str) -> bool;
    /// A value of `len` bytes.
    fn fixed(&mut self, field: &str, len: usize) -> &'a [u8];
    /// A value of at most `max` bytes, a multiple of `step`.
    fn variable(&mut self, field: &str, max: usize, step: usize) -> &'a [u8];
}

/// Lists the fields of every message once more, so that a field added or renamed there does not compile here.
macro_rules! samples {
    ($($name:ident { $($field:ident $([$max:expr, $step:expr])?),* })*) => {
        /// A message of `frame_type` whose fields come from `source`.
        pub(crate) fn build<'a>(frame_type: FrameType, source: &mut dyn Source<'a>) -> Message<'a> {
            match frame_type {
                $(FrameType::$name => Message::$name($name {
                    $($field: Take::take(source, stringify!($field), bounds([$($max, $step)?])),)*
                }),)*
            }
        }
    };
}

samples! {
    Hello { versions[limits::VERSIONS_BYTES_MAX, 1], device_id, features, max_payload, policy_version, epoch, resume_token }
    HelloAck { version, features, max_payload, heartbeat_interval_ms, group, index, time_ms, resumed, resume_token }
    Epoch { group, epoch, challenge, policy_hash, signature }
    Heartbeat { counter, time_ms }
    Nack { frame_type, code, field, limit, retry_ms }
    Drain { reconnect_after_ms, window_ms }
    Ack { frame_type, level, sid, epoch, n }
    ChallengeReq { device_id, dev_eph, signature }
    Challenge {
        circuit_version, sid, device_id, group, index, nonce, epoch, epoch_challenge, policy_hash, issued, answer_by,
        deadline, gw_eph, dev_eph, h, signature
    }
    AuthResp { sid, n, prev_head, l, signature }
    AuthGrant { sid, suite, body[limits::BODY_BYTES_MAX, 1], tag }
    AuthDeny { sid, suite, body[limits::BODY_BYTES_MAX, 1], tag }
    AuthAck { sid, a }
    AuthFinal { sid, level, transaction, block }
    AuthRevoke { sid, cause, grace_wh }
    Sealed { sid, suite, body[limits::SEALED_BODY_BYTES_MAX, 1] }
    CreditUpdate { sid, suite, body[limits::BODY_BYTES_MAX, 1], tag }
    ChargeStatus { sid, wh, minutes }
    ChargeEnd { sid, wh, minutes, cause, meter[limits::METER_BYTES_MAX, 1], signature }
    BattTelem {
        battery, segment, seq, time_ms, voltage_mv, current_ma, soc_centi_percent, temperature_centi_c, energy_wh, fp
    }
    TelemCheckpoint { epoch, n, prev_head, battery, segment, seq, time_ms, fp, prev_seq, prev_fp, signature }
    TelemAck { battery, seq, level, checkpoint }
    TelemHead { battery, seq, fp, ledger_seq, ledger_fp }
    BatchRoot { group, epoch, root, leaf, path[limits::PATH_BYTES_MAX, limits::PATH_NODE_BYTES], n, head }
    BatchSig { group, epoch, root, signature }
    LeafReq { group, epoch }
    SetPolicy { version, first_epoch, total_len, offset, chunk[limits::POLICY_CHUNK_BYTES_MAX, 1], signature }
    PolicyAck { epoch, n, prev_head, version, policy_hash, first_epoch, signature }
    TrustUpdate { version, kind, value[limits::TRUST_VALUE_BYTES_MAX, 1], signature }
    FaultClaim { ticket_hash, kind, body[limits::CLAIM_BYTES_MAX, 1] }
    OtaOffer { version, size, sha256, signature }
    OtaReq { version, offset, length }
    OtaChunk { version, offset, data[limits::OTA_DATA_BYTES_MAX, 1] }
    OtaStatus { version, state, code }
}

/// A value that a [`Source`] can give; `bounds` are those of a byte string.
trait Take<'a>: Sized {
    fn take(source: &mut dyn Source<'a>, field: &str, bounds: (usize, usize)) -> Self;
}

impl<'a> Take<'a> for &'a [u8] {
    fn take(source: &mut dyn Source<'a>, field: &str, (max, step): (usize, usize)) -> Self {
        source.variable(field, max, step)
    }
}

impl<'a, const N: usize> Take<'a> for [u8; N] {
    fn take(source: &mut dyn Source<'a>, field: &str, _: (usize, usize)) -> Self {
        source.fixed(field, N).try_into().unwrap_or_else(|_| panic!("{field} is not {N} bytes"))
    }
}

impl<'a, T: Take<'a>> Take<'a> for Option<T> {
    fn take(source: &mut dyn Source<'a>, field: &str, bounds: (usize, usize)) -> Self {
        source.has(field).then(|| T::take(source, field, bounds))
    }
}

macro_rules! take_integers {
    ($($int:ty)*) => {$(
        impl<'a> Take<'a> for $int {
            fn take(source: &mut dyn Source<'a>, field: &str, bounds: (usize, usize)) -> Self {
                Self::from_be_bytes(Take::take(source, field, bounds))
            }
        }
    )*};
}

take_integers!(u8 u16 u32 u64 i16 i32);

fn bounds<const N: usize>(stated: [usize; N]) -> (usize, usize) {
    match stated.as_slice() {
        [max, step] => (*max, *step),
        _ => (0, 1),
    }
}
