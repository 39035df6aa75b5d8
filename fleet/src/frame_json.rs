//! Messages as JSON objects: field names of the protocol's tables, numbers as numbers, bytes as `0x…`, absent fields left out.

use std::fmt::Write;

use cip22_wire::Message;

/// Appends `{ "field": value, … }` to `out`.
pub(crate) fn write_fields(out: &mut String, message: &Message<'_>) {
    macro_rules! fields {
        ($($name:ident { $($field:ident)* })*) => {
            match message {
                $(Message::$name(message) => {
                    out.push('{');
                    let mut first = true;
                    $(message.$field.write(stringify!($field), &mut first, out);)*
                    let _ = first;
                    out.push('}');
                })*
            }
        };
    }
    fields! {
        Hello { versions device_id features max_payload policy_version epoch resume_token }
        HelloAck { version features max_payload heartbeat_interval_ms group index time_ms resumed resume_token }
        Epoch { group epoch challenge policy_hash signature }
        Heartbeat { counter time_ms }
        Nack { frame_type code field limit retry_ms }
        Drain { reconnect_after_ms window_ms }
        Ack { frame_type level sid epoch n }
        ChallengeReq { device_id dev_eph signature }
        Challenge {
            circuit_version sid device_id group index nonce epoch epoch_challenge policy_hash issued answer_by deadline
            gw_eph dev_eph h signature
        }
        AuthResp { sid n prev_head l signature }
        AuthGrant { sid suite body tag }
        AuthDeny { sid suite body tag }
        AuthAck { sid a }
        AuthFinal { sid level transaction block }
        AuthRevoke { sid cause grace_wh }
        Sealed { sid suite body }
        CreditUpdate { sid suite body tag }
        ChargeStatus { sid wh minutes }
        ChargeEnd { sid wh minutes cause meter signature }
        BattTelem {
            battery segment seq time_ms voltage_mv current_ma soc_centi_percent temperature_centi_c energy_wh fp
        }
        TelemCheckpoint { epoch n prev_head battery segment seq time_ms fp prev_seq prev_fp signature }
        TelemAck { battery seq level checkpoint }
        TelemHead { battery seq fp ledger_seq ledger_fp }
        BatchRoot { group epoch root leaf path n head }
        BatchSig { group epoch root signature }
        LeafReq { group epoch }
        SetPolicy { version first_epoch total_len offset chunk signature }
        PolicyAck { epoch n prev_head version policy_hash first_epoch signature }
        TrustUpdate { version kind value signature }
        FaultClaim { ticket_hash kind body }
        OtaOffer { version size sha256 signature }
        OtaReq { version offset length }
        OtaChunk { version offset data }
        OtaStatus { version state code }
    }
}

/// Appends `"0x…"`.
pub(crate) fn write_hex(out: &mut String, bytes: &[u8]) {
    out.push_str("\"0x");
    for byte in bytes {
        for digit in [byte >> 4, byte & 0x0f] {
            out.push(char::from(DIGITS[usize::from(digit)]));
        }
    }
    out.push('"');
}

/// A value of a field.
trait Json {
    fn write(&self, name: &str, first: &mut bool, out: &mut String) {
        if !*first {
            out.push(',');
        }
        *first = false;
        out.push('"');
        out.push_str(name);
        out.push_str("\":");
        self.write_value(out);
    }

    fn write_value(&self, out: &mut String);
}

impl<const N: usize> Json for [u8; N] {
    fn write_value(&self, out: &mut String) {
        write_hex(out, self);
    }
}

impl Json for &[u8] {
    fn write_value(&self, out: &mut String) {
        write_hex(out, self);
    }
}

impl<T: Json> Json for Option<T> {
    fn write(&self, name: &str, first: &mut bool, out: &mut String) {
        if let Some(value) = self {
            value.write(name, first, out);
        }
    }

    fn write_value(&self, _: &mut String) {}
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl Json for $number {
            fn write_value(&self, out: &mut String) {
                let _ = write!(out, "{self}");
            }
        }
    )*};
}

numbers!(u8 u16 u32 u64 i16 i32);

const DIGITS: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use cip22_wire::message::{Ack, ChargeStatus};

    use super::*;

    #[test]
    fn fields_have_the_names_of_the_protocol_and_absent_ones_are_left_out() {
        let mut out = String::new();
        let ack = Ack { frame_type: 0x15, level: 2, sid: Some([0xab; 16]), epoch: None, n: None };
        write_fields(&mut out, &ack.into());
        let sid = "ab".repeat(16);
        assert_eq!(out, format!(r#"{{"frame_type":21,"level":2,"sid":"0x{sid}"}}"#));

        let mut out = String::new();
        write_fields(&mut out, &ChargeStatus { sid: [1; 16], wh: 7, minutes: 3 }.into());
        assert!(serde_json::from_str::<serde_json::Value>(&out).is_ok_and(|json| json["wh"] == 7));
    }
}
