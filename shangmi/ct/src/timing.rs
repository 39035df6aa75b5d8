//! The method of dudect (Reparaz, Balasch, Verbauwhede: "Dude, is my code constant time?"): times of a fixed input and of
//! random ones, in random order, compared by Welch's t-test. Advisory: a machine has other reasons to be slow.

use std::{arch::x86_64, hint::black_box, process::ExitCode};

use shangmi::{
    signature::{DEFAULT_ID, SigningKey},
    sm4::{Implementation, Sm4Gcm, aead::AeadInOut},
};

use crate::planted;

/// Beyond it, dudect calls two classes different.
const THRESHOLD: f64 = 4.5;

/// Times of the two classes: the fixed input's, then the random ones'.
type Times = [Vec<f64>; 2];

pub(crate) fn compare() -> ExitCode {
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ ticks());
    println!("{:<52}{:>9}{:>9}", "fixed against random", "times", "t");
    for (name, times) in [
        ("SM4-GCM, Portable, key and seal 256 B: key", keys(&mut random)),
        ("SM4-GCM, Portable, seal 256 B: plaintext", plaintexts(&mut random)),
        ("SM4-GCM, Portable, open 256 B: plaintext", ciphertexts(&mut random)),
        ("SM4-GCM, Portable, refuse 256 B: place of the error", tags(&mut random)),
        ("SM2, sign: private key", private_keys(&mut random)),
        ("planted: a comparison that ends early", early_exit(&mut random)),
    ] {
        let (count, t) = (times[0].len() + times[1].len(), welch(&times));
        println!("{name:<52}{count:>9}{t:>9.1}{}", if t.abs() > THRESHOLD { "  they differ" } else { "" });
    }
    println!(
        "\nadvisory: beyond ±{THRESHOLD} the classes differ in time on this machine, for whatever reason"
    );
    ExitCode::SUCCESS
}

fn keys(random: &mut Random) -> Times {
    measure(
        random,
        20_000,
        |random, class| [[7; 16], random.bytes()][class],
        |key| {
            let mut buffer = [0x5a; 256];
            black_box(
                portable(key)
                    .encrypt_inout_detached(&[3; 12].into(), b"", buffer.as_mut_slice().into())
                    .is_ok(),
            );
        },
    )
}

fn plaintexts(random: &mut Random) -> Times {
    let cipher = portable(&[7; 16]);
    measure(
        random,
        50_000,
        |random, class| [[0; 256], random.bytes()][class],
        |buffer: &mut [u8; 256]| {
            black_box(
                cipher.encrypt_inout_detached(&[3; 12].into(), b"", buffer.as_mut_slice().into()).is_ok(),
            );
        },
    )
}

fn ciphertexts(random: &mut Random) -> Times {
    let cipher = portable(&[7; 16]);
    let prepare = |random: &mut Random, class: usize| {
        let mut buffer = [[0; 256], random.bytes()][class];
        let tag = cipher.encrypt_inout_detached(&[3; 12].into(), b"", buffer.as_mut_slice().into());
        (buffer, tag.expect("short"))
    };
    measure(random, 50_000, prepare, |(buffer, tag)| {
        let opened = cipher.decrypt_inout_detached(&[3; 12].into(), b"", buffer.as_mut_slice().into(), tag);
        assert!(opened.is_ok());
    })
}

/// A tag that is wrong in its first byte, or anywhere.
fn tags(random: &mut Random) -> Times {
    let cipher = portable(&[7; 16]);
    let prepare = |random: &mut Random, class: usize| {
        let mut buffer = [0x5a; 256];
        let sealed = cipher.encrypt_inout_detached(&[3; 12].into(), b"", buffer.as_mut_slice().into());
        let mut tag = sealed.expect("short");
        let place = (random.next() & 15) as usize;
        tag[[0, place][class]] ^= 0x80;
        (buffer, tag)
    };
    measure(random, 50_000, prepare, |(buffer, tag)| {
        let opened = cipher.decrypt_inout_detached(&[3; 12].into(), b"", buffer.as_mut_slice().into(), tag);
        assert!(opened.is_err());
    })
}

fn private_keys(random: &mut Random) -> Times {
    let prepare = |random: &mut Random, class: usize| {
        let mut number = [[1; 32], random.bytes()][class];
        number[0] &= 0x7f;
        SigningKey::from_bytes(&number).expect("in range")
    };
    measure(random, 4_000, prepare, |key| {
        assert!(key.sign(DEFAULT_ID, b"message").is_ok());
    })
}

fn early_exit(random: &mut Random) -> Times {
    measure(
        random,
        50_000,
        |random, class| [[7; 16], random.bytes()][class],
        |tag| {
            black_box(planted::early_exit(tag, &[7; 16]));
        },
    )
}

fn portable(key: &[u8; 16]) -> Sm4Gcm {
    Sm4Gcm::with_implementation(key, Implementation::Portable).expect("always there")
}

/// Inputs are prepared ahead in lots, both classes the same way, so that the caches are alike.
fn measure<T>(
    random: &mut Random,
    count: usize,
    mut prepare: impl FnMut(&mut Random, usize) -> T,
    mut run: impl FnMut(&mut T),
) -> Times {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..count.div_ceil(100) {
        let mut lot: Vec<(usize, T)> = (0..100)
            .map(|_| {
                let class = (random.next() & 1) as usize;
                (class, prepare(random, class))
            })
            .collect();
        for (class, input) in &mut lot {
            let start = ticks();
            run(input);
            let end = ticks();
            times[*class].push(end.wrapping_sub(start) as f64);
        }
    }
    times
}

/// Of the quicker nine tenths of both classes together: what is slower was interrupted.
fn welch(times: &Times) -> f64 {
    let mut all: Vec<f64> = times.concat();
    all.sort_by(f64::total_cmp);
    let limit = all[all.len() * 9 / 10];
    let [a, b] = [0, 1].map(|class: usize| {
        let kept: Vec<f64> = times[class].iter().copied().filter(|time| *time <= limit).collect();
        let count = kept.len() as f64;
        let mean = kept.iter().sum::<f64>() / count;
        let variance = kept.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, variance / count)
    });
    (a.0 - b.0) / (a.1 + b.1).sqrt()
}

/// Cycles of the time-stamp counter.
fn ticks() -> u64 {
    // SAFETY: every x86-64 has SSE2's fence and the counter.
    unsafe {
        x86_64::_mm_lfence();
        let ticks = x86_64::_rdtsc();
        x86_64::_mm_lfence();
        ticks
    }
}

/// SplitMix64: inputs only have to differ.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        core::array::from_fn(|_| self.next() as u8)
    }
}
