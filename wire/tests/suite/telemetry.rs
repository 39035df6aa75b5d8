use cip22_wire::{message::BattTelem, telemetry};
use serde_json::Value;

use crate::vectors::{self, array, fixed, int};

#[test]
fn canonical_bytes_and_the_chain_of_fingerprints_equal_the_vectors() {
    let file = vectors::read("telemetry");
    let mut prev = telemetry::FIRST_FINGERPRINT;
    for vector in array(&file, "records") {
        let record = record(vector);
        assert_eq!(telemetry::canonical(&record), fixed(vector, "canonical"));
        assert_eq!(prev, fixed(vector, "prev_fp"));
        prev = telemetry::fingerprint(&prev, &record);
        assert_eq!(prev, record.fp);
    }
}

fn record(v: &Value) -> BattTelem {
    BattTelem {
        battery: fixed(v, "battery"),
        segment: fixed(v, "segment"),
        seq: int(v, "seq"),
        time_ms: int(v, "time_ms"),
        voltage_mv: int(v, "voltage_mv"),
        current_ma: int(v, "current_ma"),
        soc_centi_percent: int(v, "soc_centi_percent"),
        temperature_centi_c: int(v, "temperature_centi_c"),
        energy_wh: int(v, "energy_wh"),
        fp: fixed(v, "fp"),
    }
}
