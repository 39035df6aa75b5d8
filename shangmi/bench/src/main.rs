//! Rates of SM4-GCM, one core, one process. Prints a list of {"metric","value","unit","limit","ok"} as JSON, and to
//! stderr a table.
//!
//! The rate is the best of many windows of the thread's processor time: other work on the machine slows a window, and
//! nothing makes one faster.
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[cfg(feature = "openssl")]
mod openssl;

use std::{hint::black_box, time::Duration};

use aes_gcm::{Aes128Gcm, AesGcm, aead::consts::U12};
use shangmi::sm4::{
    Implementation, Sm4Gcm,
    aead::{AeadInOut, KeyInit},
};

const SIZES: [usize; 5] = [64, 256, 1024, 4096, 16384];

fn main() {
    let windows = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(40);
    let mut rows: Vec<(String, Vec<f64>)> = Vec::new();
    for size in SIZES {
        let mut column: Vec<(String, Box<dyn FnMut()>)> = Vec::new();
        for implementation in Implementation::ALL.into_iter().filter(|it| it.is_available()) {
            let sealing = Sm4Gcm::with_implementation(&[7; 16], implementation).expect("available");
            column.push((format!("shangmi {implementation:?} seal"), seal_with(sealing.clone(), size)));
            column.push((format!("shangmi {implementation:?} open"), open_with(sealing, size)));
        }
        let reference = AesGcm::<sm4::Sm4, U12>::new(&[7; 16].into());
        column.push(("RustCrypto AesGcm<Sm4> seal".into(), seal_with(reference, size)));
        #[cfg(feature = "openssl")]
        column.push(("OpenSSL SM4-GCM seal".into(), openssl::seal("SM4-GCM", size)));
        #[cfg(feature = "openssl")]
        column.push(("OpenSSL AES-128-GCM seal".into(), openssl::seal("AES-128-GCM", size)));
        column.push(("ring AES-128-GCM seal".into(), ring_seal(size)));
        let aes = Aes128Gcm::new(&[7; 16].into());
        column.push(("RustCrypto AES-128-GCM seal".into(), seal_with(aes, size)));
        for (name, mut work) in column {
            let rate = size as f64 / seconds_per_call(windows, &mut work) / 1e6;
            match rows.iter_mut().find(|row| row.0 == name) {
                Some(row) => row.1.push(rate),
                None => rows.push((name, vec![rate])),
            }
        }
    }
    eprintln!("{:<36}{}", "MB/s", SIZES.map(|size| format!("{size:>9}")).concat());
    for (name, rates) in &rows {
        eprintln!("{name:<36}{}", rates.iter().map(|rate| format!("{rate:>9.0}")).collect::<String>());
    }
    let set_up = key_set_up(windows);
    for (name, nanoseconds) in &set_up {
        eprintln!("{name:<36}{nanoseconds:>9.0} ns");
    }
    for implementation in Implementation::ALL.into_iter().filter(|it| !it.is_available()) {
        eprintln!("not run, for want of its instructions: {implementation:?}");
    }
    print_metrics(&rows, &set_up);
}

fn seal_with<A: AeadInOut + 'static>(cipher: A, size: usize) -> Box<dyn FnMut()> {
    let mut buffer = vec![0x5a; size];
    let nonce = Default::default();
    Box::new(move || {
        let tag = cipher.encrypt_inout_detached(&nonce, b"13 bytes long", buffer.as_mut_slice().into());
        black_box(tag.is_ok());
    })
}

/// Opens what was sealed; the ciphertext is kept, the plaintext goes to another buffer.
fn open_with(cipher: Sm4Gcm, size: usize) -> Box<dyn FnMut()> {
    let mut sealed = vec![0x5a; size];
    let nonce = Default::default();
    let tag = cipher
        .encrypt_inout_detached(&nonce, b"13 bytes long", sealed.as_mut_slice().into())
        .expect("short enough");
    let mut opened = vec![0; size];
    Box::new(move || {
        let buffer = shangmi::sm4::aead::inout::InOutBuf::new(&sealed, &mut opened).expect("equal lengths");
        assert!(cipher.decrypt_inout_detached(&nonce, b"13 bytes long", buffer, &tag).is_ok());
    })
}

fn ring_seal(size: usize) -> Box<dyn FnMut()> {
    use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[7; 16]).expect("16 bytes"));
    let mut buffer = vec![0x5a; size];
    Box::new(move || {
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(b"13 bytes long"), &mut buffer);
        black_box(tag.is_ok());
    })
}

/// Nanoseconds from a key to a cipher ready for use.
fn key_set_up(windows: usize) -> Vec<(String, f64)> {
    let mut rows = Vec::new();
    let mut key = [7u8; 16];
    for implementation in Implementation::ALL.into_iter().filter(|it| it.is_available()) {
        let mut work: Box<dyn FnMut()> = Box::new(move || {
            key[0] = key[0].wrapping_add(1);
            drop(black_box(Sm4Gcm::with_implementation(black_box(&key), implementation)));
        });
        rows.push((format!("shangmi {implementation:?} key"), seconds_per_call(windows, &mut work) * 1e9));
    }
    let mut work: Box<dyn FnMut()> = Box::new(move || {
        key[0] = key[0].wrapping_add(1);
        black_box(AesGcm::<sm4::Sm4, U12>::new(black_box(&key.into())));
    });
    rows.push(("RustCrypto AesGcm<Sm4> key".into(), seconds_per_call(windows, &mut work) * 1e9));
    #[cfg(feature = "openssl")]
    rows.push(("OpenSSL SM4-GCM key".into(), {
        let mut work = openssl::set_key("SM4-GCM");
        seconds_per_call(windows, &mut work) * 1e9
    }));
    rows
}

/// The best of `windows` windows of about three milliseconds each.
fn seconds_per_call(windows: usize, work: &mut Box<dyn FnMut()>) -> f64 {
    let mut calls = 1u32;
    loop {
        let spent = time(calls, work);
        if spent > Duration::from_millis(3) {
            break;
        }
        calls = calls.saturating_mul(2);
    }
    (0..windows).map(|_| time(calls, work).as_secs_f64() / f64::from(calls)).fold(f64::INFINITY, f64::min)
}

fn time(calls: u32, work: &mut Box<dyn FnMut()>) -> Duration {
    let start = thread_time();
    for _ in 0..calls {
        work();
    }
    thread_time() - start
}

/// Processor time of this thread (CLOCK_THREAD_CPUTIME_ID).
fn thread_time() -> Duration {
    #[repr(C)]
    struct Timespec {
        seconds: i64,
        nanoseconds: i64,
    }
    unsafe extern "C" {
        fn clock_gettime(clock: i32, time: *mut Timespec) -> i32;
    }
    let mut time = Timespec { seconds: 0, nanoseconds: 0 };
    // SAFETY: time is a timespec of 64-bit Linux.
    let failed = unsafe { clock_gettime(3, &mut time) };
    assert_eq!(failed, 0, "clock_gettime");
    Duration::new(time.seconds as u64, time.nanoseconds as u32)
}

fn print_metrics(rows: &[(String, Vec<f64>)], set_up: &[(String, f64)]) {
    let rate = |name: &str, size: usize| {
        let column = SIZES.iter().position(|&other| other == size)?;
        rows.iter().find(|row| row.0 == name).map(|row| row.1[column])
    };
    let mut metrics = Vec::new();
    let mut metric = |name: String, value: f64, unit: &str, limit: Option<f64>| {
        let (limit, ok) = match limit {
            Some(least) => (least.to_string(), value >= least),
            None => ("null".into(), true),
        };
        metrics.push(format!(
            "  {{\"metric\": \"{name}\", \"value\": {value:.2}, \"unit\": \"{unit}\", \"limit\": {limit}, \"ok\": {ok}}}"
        ));
    };
    for (name, rates) in rows {
        for (size, value) in SIZES.iter().zip(rates) {
            metric(format!("{name}, {size} B"), *value, "MB/s", None);
        }
    }
    for (name, value) in set_up {
        metric(name.clone(), *value, "ns", None);
    }
    let mut ratio = |ours: &str, theirs: &str, size: usize, least: Option<f64>| {
        if let (Some(our), Some(their)) = (rate(ours, size), rate(theirs, size)) {
            metric(format!("{ours} / {theirs}, {size} B"), our / their, if least.is_some() { "times, at least" } else { "times" }, least);
        }
    };
    let openssl = "OpenSSL SM4-GCM seal";
    ratio("shangmi Avx512Gfni seal", openssl, 16384, Some(10.0));
    ratio("shangmi Avx512Gfni seal", openssl, 256, None);
    ratio("shangmi Avx512Gfni open", openssl, 16384, None);
    ratio("shangmi Avx2Gfni seal", openssl, 16384, None);
    ratio("shangmi AesNi seal", openssl, 16384, None);
    ratio("shangmi Portable seal", "RustCrypto AesGcm<Sm4> seal", 16384, None);
    println!("[\n{}\n]", metrics.join(",\n"));
}
