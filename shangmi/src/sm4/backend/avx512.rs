//! GFNI, AVX-512 and VPCLMULQDQ: 64 blocks at once, byte-sliced.
//!
//! Register `4·w + j` holds byte `j` of word `w` of 64 blocks, in the basis of [`affine`]: moving bytes inside a word
//! costs nothing, and a round is 26 instructions. Lane `16·q + k` belongs to block `4·k + q`, so that four rounds of
//! unpacking turn the registers into 64 consecutive blocks. While one batch is enciphered the one before is hashed.

use core::arch::x86_64::*;

use aead::inout::InOutBuf;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{Counter, Hash, Kernel, KeyStream, avx2, clmul, has_features, next_counter};
use crate::sm4::{affine, schedule};

const BLOCKS: usize = 64;
const BATCH: usize = 16 * BLOCKS;

/// Round keys, each byte four times, and the hash key's powers 64..=1.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
#[repr(C, align(64))]
pub(crate) struct Avx512 {
    round_keys: [[u32; 4]; 32],
    powers: [u128; BLOCKS],
}

pub(super) fn is_available() -> bool {
    has_features!("avx512f", "avx512bw", "avx512vl", "gfni", "vpclmulqdq", "pclmulqdq")
}

impl Kernel for Avx512 {
    const BLOCKS: usize = BLOCKS;

    fn new(key: &[u8; 16]) -> Self {
        // SAFETY: AnyKernel makes this type only where is_available found the instructions.
        unsafe { new(key) }
    }

    fn key_stream(&self, counter: &Counter, out: &mut KeyStream) {
        // SAFETY: as in new; out is BATCH bytes long.
        unsafe { key_stream(self, counter, out) }
    }

    fn short_key_stream(&self, counter: &Counter, out: &mut KeyStream) -> usize {
        // SAFETY: as in new.
        unsafe { short_key_stream(self, counter, out) }
        super::SHORT_BLOCKS
    }

    fn apply(&self, counter: &mut Counter, data: InOutBuf<'_, '_, u8>) {
        let length = data.len();
        let (input, output) = data.into_raw();
        for offset in (0..length).step_by(BATCH) {
            // SAFETY: as in new; length is a multiple of BATCH, and InOutBuf's pointers are valid for length bytes.
            unsafe { apply_batch(self, counter, input.add(offset), output.add(offset)) };
            *counter = next_counter(counter, BLOCKS);
        }
    }

    fn seal(&self, counter: &mut Counter, hash: &mut Hash, mut data: InOutBuf<'_, '_, u8>) {
        let length = data.len();
        let (input, output) = data.reborrow().into_raw();
        for offset in (0..length).step_by(BATCH) {
            // SAFETY: as in apply; from the second batch on the one before has been written to output.
            unsafe {
                let (input, output) = (input.add(offset), output.add(offset));
                if offset == 0 {
                    apply_batch(self, counter, input, output);
                } else {
                    apply_batch_and_hash(self, counter, input, output, output.sub(BATCH), hash);
                }
            }
            *counter = next_counter(counter, BLOCKS);
        }
        if let Some(last) = data.get_out().last_chunk::<BATCH>() {
            self.hash(hash, last);
        }
    }

    fn hash(&self, hash: &mut Hash, blocks: &[u8]) {
        for batch in blocks.chunks(BATCH) {
            // SAFETY: as in new; a batch has at most BATCH bytes.
            unsafe { hash_batch(self, hash, batch) };
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,gfni,vpclmulqdq,pclmulqdq")]
fn new(key: &[u8; 16]) -> Avx512 {
    let mut words = schedule::round_keys(key, |word| substitute_word(word));
    let mut kernel = Avx512 { round_keys: [[0; 4]; 32], powers: [0; BLOCKS] };
    for (round_key, word) in kernel.round_keys.iter_mut().zip(&words) {
        *round_key = affine::round_key_in_basis(*word).map(|byte| u32::from_ne_bytes([byte; 4]));
    }
    words.zeroize();
    let mut zero = [0; BATCH];
    key_stream(&kernel, &[0; 16], &mut zero);
    if let Some(h) = zero.first_chunk::<16>() {
        clmul::fill_powers(&mut kernel.powers, clmul::hash_key(h));
    }
    kernel
}

/// The S-box on each byte of a word, for the key schedule.
#[inline]
#[target_feature(enable = "avx512f,avx512vl,gfni")]
fn substitute_word(word: u32) -> u32 {
    let to_aes = _mm_set1_epi64x(TO_AES);
    let to_sm4 = _mm_set1_epi64x(affine::gfni(affine::TO_SM4).cast_signed());
    let x = _mm_cvtsi32_si128(word.cast_signed());
    let x = _mm_gf2p8affine_epi64_epi8::<{ affine::TO_AES_CONSTANT as i32 }>(x, to_aes);
    let x = _mm_gf2p8affineinv_epi64_epi8::<{ affine::TO_SM4_CONSTANT as i32 }>(x, to_sm4);
    _mm_cvtsi128_si32(x).cast_unsigned()
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,gfni")]
fn key_stream(kernel: &Avx512, counter: &Counter, out: &mut KeyStream) {
    let stream = encrypt_counters(kernel, counter, |_| {});
    for (place, blocks) in out.as_chunks_mut::<64>().0.iter_mut().zip(stream) {
        // SAFETY: place has 64 bytes.
        unsafe { _mm512_storeu_si512(place.as_mut_ptr().cast(), blocks) };
    }
}

/// 32 blocks in registers of half the width, which a Zen 4 does in half the time.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,gfni")]
fn short_key_stream(kernel: &Avx512, counter: &Counter, out: &mut KeyStream) {
    let stream = avx2::encrypt_counters(&kernel.round_keys, counter, |_| {});
    for (place, blocks) in out.as_chunks_mut::<32>().0.iter_mut().zip(stream) {
        // SAFETY: place has 32 bytes.
        unsafe { _mm256_storeu_si256(place.as_mut_ptr().cast(), blocks) };
    }
}

/// # Safety
/// `input` and `output` are valid for BATCH bytes, the same or apart.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,gfni")]
unsafe fn apply_batch(kernel: &Avx512, counter: &Counter, input: *const u8, output: *mut u8) {
    let stream = encrypt_counters(kernel, counter, |_| {});
    // SAFETY: the caller's.
    unsafe { add_stream(stream, input, output) };
}

/// # Safety
/// As [`apply_batch`]'s; `previous` is valid for reading BATCH bytes, and not in `output`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,gfni,vpclmulqdq,pclmulqdq")]
unsafe fn apply_batch_and_hash(
    kernel: &Avx512,
    counter: &Counter,
    input: *const u8,
    output: *mut u8,
    previous: *const u8,
    hash: &mut Hash,
) {
    let mut state = _mm512_zextsi128_si512(clmul::load_hash(hash));
    let mut sums = Sums::new();
    let stream = encrypt_counters(kernel, counter, |step| {
        // SAFETY: step is below 16, and previous and powers have 16 times 64 bytes.
        unsafe {
            let data = _mm512_loadu_si512(previous.add(step.wrapping_mul(64)).cast());
            let powers = _mm512_load_si512(kernel.powers.as_ptr().byte_add(step.wrapping_mul(64)).cast());
            sums.add(_mm512_xor_si512(reverse_bytes(data), state), powers);
        }
        state = _mm512_setzero_si512();
    });
    // SAFETY: the caller's.
    unsafe { add_stream(stream, input, output) };
    *hash = clmul::store_hash(sums.reduce());
}

/// Hashes at most BATCH bytes, whole blocks.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,vpclmulqdq,pclmulqdq")]
fn hash_batch(kernel: &Avx512, hash: &mut Hash, blocks: &[u8]) {
    let mut state = _mm512_zextsi128_si512(clmul::load_hash(hash));
    let mut sums = Sums::new();
    let powers = kernel.powers.as_slice();
    let powers = powers.get(powers.len().saturating_sub(blocks.len() / 16)..).unwrap_or_default();
    for (data, powers) in blocks.chunks(64).zip(powers.chunks(4)) {
        let lanes = match data.len() {
            64 => 0xff,
            48 => 0x3f,
            32 => 0x0f,
            _ => 0x03,
        };
        // SAFETY: the mask keeps the loads inside of data and of powers, which are lanes·8 bytes long.
        let (data, powers) = unsafe {
            (
                _mm512_maskz_loadu_epi64(lanes, data.as_ptr().cast()),
                _mm512_maskz_loadu_epi64(lanes, powers.as_ptr().cast()),
            )
        };
        sums.add(_mm512_xor_si512(reverse_bytes(data), state), powers);
        state = _mm512_setzero_si512();
    }
    *hash = clmul::store_hash(sums.reduce());
}

/// Sums of products before their reduction, in four lanes.
struct Sums {
    low: __m512i,
    middle: __m512i,
    high: __m512i,
}

impl Sums {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new() -> Self {
        let zero = _mm512_setzero_si512();
        Self { low: zero, middle: zero, high: zero }
    }

    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    fn add(&mut self, a: __m512i, b: __m512i) {
        self.low = _mm512_xor_si512(self.low, _mm512_clmulepi64_epi128::<0x00>(a, b));
        self.high = _mm512_xor_si512(self.high, _mm512_clmulepi64_epi128::<0x11>(a, b));
        let middle = (_mm512_clmulepi64_epi128::<0x01>(a, b), _mm512_clmulepi64_epi128::<0x10>(a, b));
        self.middle = _mm512_ternarylogic_epi64::<XOR>(self.middle, middle.0, middle.1);
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512vl,pclmulqdq")]
    fn reduce(&self) -> __m128i {
        let [low, middle, high] = [self.low, self.middle, self.high].map(|sum| {
            let half = _mm256_xor_si256(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64::<1>(sum));
            _mm_xor_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half))
        });
        clmul::reduce(low, middle, high)
    }
}

/// 64 blocks of key stream from `counter` on; `between` is called 16 times on the way, with 0..16.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,gfni")]
fn encrypt_counters(kernel: &Avx512, counter: &Counter, mut between: impl FnMut(usize)) -> [__m512i; 16] {
    let same = _mm512_set1_epi64(SAME);
    let next = _mm512_set1_epi64(NEXT);
    let mut state = load_counters(counter);
    macro_rules! round {
        ($keys:expr, $a:literal, $b:literal, $c:literal, $d:literal) => {
            macro_rules! input {
                ($j:literal) => {{
                    let key = _mm512_set1_epi32($keys[$j].cast_signed());
                    // The newest word last: the others are ready earlier.
                    let early = _mm512_ternarylogic_epi64::<XOR>(state[$b * 4 + $j], state[$c * 4 + $j], key);
                    _mm512_xor_si512(early, state[$d * 4 + $j])
                }};
            }
            let z = [input!(0), input!(1), input!(2), input!(3)];
            macro_rules! diffuse {
                ($i:literal, $k:literal) => {
                    _mm512_xor_si512(
                        _mm512_gf2p8affineinv_epi64_epi8::<{ affine::DIFFUSE_CONSTANT as i32 }>(z[$i], same),
                        _mm512_gf2p8affineinv_epi64_epi8::<0>(z[$k], next),
                    )
                };
            }
            let f = [diffuse!(0, 3), diffuse!(1, 0), diffuse!(2, 1), diffuse!(3, 2)];
            let first = _mm512_xor_si512(f[0], f[1]);
            let second = _mm512_xor_si512(f[2], f[3]);
            state[$a * 4] = _mm512_ternarylogic_epi64::<XOR>(state[$a * 4], f[1], second);
            state[$a * 4 + 1] = _mm512_ternarylogic_epi64::<XOR>(state[$a * 4 + 1], f[0], second);
            state[$a * 4 + 2] = _mm512_ternarylogic_epi64::<XOR>(state[$a * 4 + 2], f[3], first);
            state[$a * 4 + 3] = _mm512_ternarylogic_epi64::<XOR>(state[$a * 4 + 3], f[2], first);
        };
    }
    let mut step = 0usize;
    for keys in kernel.round_keys.as_chunks::<4>().0 {
        round!(keys[0], 0, 1, 2, 3);
        round!(keys[1], 1, 2, 3, 0);
        between(step);
        round!(keys[2], 2, 3, 0, 1);
        round!(keys[3], 3, 0, 1, 2);
        between(step.wrapping_add(1));
        step = step.wrapping_add(2);
    }
    let from_basis = _mm512_set1_epi64(FROM_BASIS);
    let [a, b, c, d] = *state.as_chunks::<4>().0 else { return state };
    let mut bytes = state;
    for (place, byte) in bytes.iter_mut().zip([d, c, b, a].as_flattened()) {
        *place = _mm512_gf2p8affine_epi64_epi8::<0>(*byte, from_basis);
    }
    transpose(bytes)
}

/// The counter blocks, byte-sliced and in the basis.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,gfni")]
fn load_counters(counter: &Counter) -> [__m512i; 16] {
    let to_aes = _mm512_set1_epi64(TO_AES);
    let [nonce @ .., c0, c1, c2, c3] = *counter;
    let mut state = [_mm512_setzero_si512(); 16];
    for (place, byte) in state.iter_mut().zip(nonce) {
        let byte = _mm512_set1_epi8(byte.cast_signed());
        *place = _mm512_gf2p8affine_epi64_epi8::<0>(byte, to_aes);
    }
    // Doubleword t of quarter q of vector m counts block 16·m + 4·t + q.
    let first = _mm512_set1_epi32(i32::from_be_bytes([c0, c1, c2, c3]));
    let order = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    // Bytes of like significance together, the most significant first.
    let gather = _mm512_broadcast_i32x4(_mm_set_epi8(12, 8, 4, 0, 13, 9, 5, 1, 14, 10, 6, 2, 15, 11, 7, 3));
    let v = [0, 16, 32, 48].map(|offset| {
        let counters = _mm512_add_epi32(_mm512_add_epi32(first, _mm512_set1_epi32(offset)), order);
        _mm512_gf2p8affine_epi64_epi8::<0>(_mm512_shuffle_epi8(counters, gather), to_aes)
    });
    let (low01, high01) = (_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
    let (low23, high23) = (_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
    state[12] = _mm512_unpacklo_epi64(low01, low23);
    state[13] = _mm512_unpackhi_epi64(low01, low23);
    state[14] = _mm512_unpacklo_epi64(high01, high23);
    state[15] = _mm512_unpackhi_epi64(high01, high23);
    state
}

/// From registers of bytes to registers of four blocks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn transpose(mut rows: [__m512i; 16]) -> [__m512i; 16] {
    for _ in 0..4 {
        let r = rows;
        macro_rules! interleave {
            ($($i:literal)+) => { $(
                rows[2 * $i] = _mm512_unpacklo_epi8(r[$i], r[$i + 8]);
                rows[2 * $i + 1] = _mm512_unpackhi_epi8(r[$i], r[$i + 8]);
            )+ };
        }
        interleave!(0 1 2 3 4 5 6 7);
    }
    rows
}

/// # Safety
/// `input` and `output` are valid for BATCH bytes, the same or apart.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn add_stream(stream: [__m512i; 16], mut input: *const u8, mut output: *mut u8) {
    for blocks in stream {
        // SAFETY: 16 times 64 bytes are BATCH.
        unsafe {
            let sum = _mm512_xor_si512(_mm512_loadu_si512(input.cast()), blocks);
            _mm512_storeu_si512(output.cast(), sum);
            input = input.add(64);
            output = output.add(64);
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn reverse_bytes(blocks: __m512i) -> __m512i {
    let order = _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    _mm512_shuffle_epi8(blocks, _mm512_broadcast_i32x4(order))
}

/// Exclusive or of three.
const XOR: i32 = 0x96;
const TO_AES: i64 = affine::gfni(affine::TO_AES).cast_signed();
const FROM_BASIS: i64 = affine::gfni(affine::FROM_BASIS).cast_signed();
const SAME: i64 = affine::gfni(affine::DIFFUSE_SAME).cast_signed();
const NEXT: i64 = affine::gfni(affine::DIFFUSE_NEXT).cast_signed();
