use cip22_wire::{
    limits,
    tariff::{self, Period, Tariff, TariffError, Terms},
};
use proptest::prelude::*;
use serde_json::Value;

use crate::vectors::{self, array, bytes, int, text};

#[test]
fn valid_tariffs_of_the_vectors_are_read_and_written_back() {
    let file = vectors::read("tariff");
    for vector in array(&file, "valid") {
        let encoded = bytes(vector, "bytes");
        let read = Tariff::parse(&encoded).unwrap();
        let terms = Terms {
            currency: text(vector, "currency").as_bytes().try_into().unwrap(),
            utc_offset_minutes: int(vector, "utc_offset_minutes"),
            credit_wh: int(vector, "credit_wh"),
            credit_minutes: int(vector, "credit_minutes"),
        };
        assert_eq!(read.terms(), &terms);
        let periods = periods(vector);
        assert_eq!(read.periods().collect::<Vec<_>>(), periods);
        assert_eq!(read.as_bytes(), encoded);

        let mut out = [0; limits::TARIFF_BYTES_MAX];
        let len = tariff::encode(&terms, &periods, &mut out).unwrap();
        assert_eq!(out[..len], encoded[..]);
        assert_eq!(tariff::encode(&terms, &periods, &mut out[..len - 1]), Err(TariffError::BufferTooSmall));
    }
}

#[test]
fn invalid_tariffs_of_the_vectors_are_refused() {
    let file = vectors::read("tariff");
    for vector in array(&file, "invalid") {
        assert!(Tariff::parse(&bytes(vector, "bytes")).is_err(), "{}", vector["why"]);
    }
}

#[test]
fn a_period_holds_from_its_start_to_the_minute_before_the_next() {
    let file = vectors::read("tariff");
    let encoded = bytes(&array(&file, "valid")[0], "bytes");
    let read = Tariff::parse(&encoded).unwrap();
    let start = |minute| read.period_at(minute).map(|period| period.start_minute);
    assert_eq!([start(0), start(479), start(480), start(1_439)], [Some(0), Some(0), Some(480), Some(480)]);
    assert_eq!([start(1_440), start(u16::MAX)], [None, None]);
}

#[test]
fn the_local_minute_follows_the_time_zone_over_midnight() {
    let at = |utc_offset_minutes, time_ms| {
        let terms = Terms { currency: *b"CNY", utc_offset_minutes, credit_wh: 1, credit_minutes: 1 };
        let mut out = [0; limits::TARIFF_BYTES_MAX];
        let flat = Period { start_minute: 0, energy_price: 1, service_price: 1 };
        let len = tariff::encode(&terms, &[flat], &mut out).unwrap();
        Tariff::parse(&out[..len]).unwrap().local_minute(time_ms)
    };
    let noon_ms = 12 * 60 * 60_000;
    assert_eq!([at(0, 0), at(0, noon_ms), at(480, noon_ms)], [0, 720, 1_200]);
    assert_eq!([at(840, noon_ms), at(-720, 0), at(-1, 59_999)], [120, 720, 1_439]);
    assert!(at(840, u64::MAX) < limits::DAY_MINUTES);
}

proptest! {
    #[test]
    fn bytes_that_parse_are_the_only_encoding_of_what_they_say(encoded in almost_tariff()) {
        let Ok(read) = Tariff::parse(&encoded) else { return Ok(()) };
        let mut out = [0; limits::TARIFF_BYTES_MAX];
        let periods: Vec<_> = read.periods().collect();
        let len = tariff::encode(read.terms(), &periods, &mut out).unwrap();
        prop_assert_eq!(&out[..len], &encoded[..]);
        prop_assert!((0..limits::DAY_MINUTES).all(|minute| read.period_at(minute).is_some()));
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = Tariff::parse(&bytes);
    }
}

/// A valid tariff with at most one byte changed.
fn almost_tariff() -> impl Strategy<Value = Vec<u8>> {
    let starts = prop::collection::btree_set(1..limits::DAY_MINUTES, 0..8);
    (starts, any::<(u32, u32)>(), any::<Option<(prop::sample::Index, u8)>>()).prop_map(
        |(starts, (energy_price, service_price), change)| {
            let terms =
                Terms { currency: *b"CNY", utc_offset_minutes: 480, credit_wh: 60_000, credit_minutes: 480 };
            let periods: Vec<_> = [0]
                .into_iter()
                .chain(starts)
                .map(|start_minute| Period { start_minute, energy_price, service_price })
                .collect();
            let mut out = vec![0; limits::TARIFF_BYTES_MAX];
            let len = tariff::encode(&terms, &periods, &mut out).unwrap();
            out.truncate(len);
            if let Some((at, byte)) = change {
                let at = at.index(len);
                out[at] = byte;
            }
            out
        },
    )
}

fn periods(vector: &Value) -> Vec<Period> {
    let column = |key: &str| -> Vec<u32> {
        array(vector, key).iter().map(|value| value.as_u64().unwrap().try_into().unwrap()).collect()
    };
    let prices = column("energy_prices").into_iter().zip(column("service_prices"));
    column("start_minutes")
        .into_iter()
        .zip(prices)
        .map(|(start, (energy_price, service_price))| Period {
            start_minute: start.try_into().unwrap(),
            energy_price,
            service_price,
        })
        .collect()
}
