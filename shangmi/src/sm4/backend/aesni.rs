//! AES-NI, PCLMULQDQ and SSE4.1: the S-box through `AESENCLAST`, 16 blocks at once.
//!
//! A register holds one word of four blocks, its bytes as in memory and in the basis of [`affine`]. `AESENCLAST` applies
//! AES's S-box and moves the bytes by ShiftRows; two nibble tables in registers turn the result into the two halves of
//! the diffusion, and the shuffles the diffusion needs anyway move the bytes back.

use core::arch::x86_64::*;

use aead::inout::InOutBuf;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{Counter, Hash, Kernel, KeyStream, clmul, has_features, next_counter};
use crate::sm4::{affine, schedule};

const BLOCKS: usize = 16;
const BATCH: usize = 16 * BLOCKS;

/// Round keys, each four times, and the hash key's powers 16..=1.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
#[repr(C, align(64))]
pub(crate) struct AesNi {
    round_keys: [[[u8; 4]; 4]; 32],
    powers: [u128; BLOCKS],
}

pub(super) fn is_available() -> bool {
    has_features!("aes", "pclmulqdq", "sse4.1")
}

impl Kernel for AesNi {
    const BLOCKS: usize = BLOCKS;

    fn new(key: &[u8; 16]) -> Self {
        // SAFETY: AnyKernel makes this type only where is_available found the instructions.
        unsafe { new(key) }
    }

    fn key_stream(&self, counter: &Counter, out: &mut KeyStream) {
        // SAFETY: as in new.
        unsafe { key_stream(self, counter, out) }
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
        self.apply(counter, data.reborrow());
        self.hash(hash, data.get_out());
    }

    fn hash(&self, hash: &mut Hash, blocks: &[u8]) {
        for batch in blocks.chunks(BATCH) {
            // SAFETY: as in new.
            unsafe { hash_batch(self, hash, batch) };
        }
    }
}

#[target_feature(enable = "aes,pclmulqdq,sse4.1")]
fn new(key: &[u8; 16]) -> AesNi {
    let mut words = schedule::round_keys(key, |word| substitute_word(word));
    let mut kernel = AesNi { round_keys: [[[0; 4]; 4]; 32], powers: [0; BLOCKS] };
    for (round_key, word) in kernel.round_keys.iter_mut().zip(&words) {
        *round_key = [affine::round_key_in_basis(*word); 4];
    }
    words.zeroize();
    let mut zero = [0; 16 * super::MAX_BLOCKS];
    key_stream(&kernel, &[0; 16], &mut zero);
    if let Some(h) = zero.first_chunk::<16>() {
        clmul::fill_powers(&mut kernel.powers, clmul::hash_key(h));
    }
    kernel
}

/// The S-box on each byte of a word, for the key schedule.
#[inline]
#[target_feature(enable = "aes,sse4.1")]
fn substitute_word(word: u32) -> u32 {
    // Four times the same word: ShiftRows moves each byte to a place of its own number, and takes it from any word.
    let x = _mm_set1_epi32(word.cast_signed());
    let x = map(x, &TO_AES_TABLES);
    let s = _mm_aesenclast_si128(_mm_xor_si128(x, _mm_set1_epi8(TO_AES_CONSTANT)), _mm_setzero_si128());
    _mm_cvtsi128_si32(map(s, &TO_SM4_TABLES)).cast_unsigned()
}

#[target_feature(enable = "aes,sse4.1")]
fn key_stream(kernel: &AesNi, counter: &Counter, out: &mut KeyStream) {
    let stream = encrypt_counters(kernel, counter);
    for (place, block) in out.as_chunks_mut::<16>().0.iter_mut().zip(stream.as_flattened()) {
        // SAFETY: place has 16 bytes.
        unsafe { _mm_storeu_si128(place.as_mut_ptr().cast(), *block) };
    }
}

/// # Safety
/// `input` and `output` are valid for BATCH bytes, the same or apart.
#[target_feature(enable = "aes,sse4.1")]
unsafe fn apply_batch(kernel: &AesNi, counter: &Counter, mut input: *const u8, mut output: *mut u8) {
    for block in encrypt_counters(kernel, counter).as_flattened() {
        // SAFETY: 16 times 16 bytes are BATCH.
        unsafe {
            let sum = _mm_xor_si128(_mm_loadu_si128(input.cast()), *block);
            _mm_storeu_si128(output.cast(), sum);
            input = input.add(16);
            output = output.add(16);
        }
    }
}

/// Hashes at most BATCH bytes, whole blocks.
#[target_feature(enable = "pclmulqdq,sse4.1")]
fn hash_batch(kernel: &AesNi, hash: &mut Hash, blocks: &[u8]) {
    let order = _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let zero = _mm_setzero_si128();
    let (mut low, mut middle, mut high) = (zero, zero, zero);
    let mut state = clmul::load_hash(hash);
    let powers = kernel.powers.as_slice();
    let powers = powers.get(powers.len().saturating_sub(blocks.len() / 16)..).unwrap_or_default();
    for (block, power) in blocks.as_chunks::<16>().0.iter().zip(powers) {
        // SAFETY: both are 16 bytes.
        let (block, power) = unsafe {
            (_mm_loadu_si128(block.as_ptr().cast()), _mm_loadu_si128(core::ptr::from_ref(power).cast()))
        };
        let x = _mm_xor_si128(_mm_shuffle_epi8(block, order), state);
        state = zero;
        low = _mm_xor_si128(low, _mm_clmulepi64_si128::<0x00>(x, power));
        high = _mm_xor_si128(high, _mm_clmulepi64_si128::<0x11>(x, power));
        middle = _mm_xor_si128(middle, _mm_clmulepi64_si128::<0x01>(x, power));
        middle = _mm_xor_si128(middle, _mm_clmulepi64_si128::<0x10>(x, power));
    }
    *hash = clmul::store_hash(clmul::reduce(low, middle, high));
}

/// 16 blocks of key stream from `counter` on: four groups of four.
#[inline]
#[target_feature(enable = "aes,sse4.1")]
fn encrypt_counters(kernel: &AesNi, counter: &Counter) -> [[__m128i; 4]; 4] {
    let [same_low, same_high] = SAME_TABLES.map(|table| load_table(&table));
    let [next_low, next_high] = NEXT_TABLES.map(|table| load_table(&table));
    let nibble = _mm_set1_epi8(0x0f);
    let [back, back_24] = [SHIFT_ROWS_BACK, SHIFT_ROWS_BACK_24].map(|order| load_table(&order));
    let [rotate_16, rotate_8] = [ROTATE_16, ROTATE_8].map(|order| load_table(&order));
    let zero = _mm_setzero_si128();
    let mut state = load_counters(counter);
    macro_rules! round {
        ($keys:expr, $a:literal, $b:literal, $c:literal, $d:literal) => {
            // SAFETY: a round key is 16 bytes.
            let key = unsafe { _mm_loadu_si128($keys.as_ptr().cast()) };
            for group in &mut state {
                let early = _mm_xor_si128(_mm_xor_si128(group[$b], group[$c]), key);
                let s = _mm_aesenclast_si128(_mm_xor_si128(early, group[$d]), zero);
                let low = _mm_and_si128(s, nibble);
                let high = _mm_and_si128(_mm_srli_epi16::<4>(s), nibble);
                let same = _mm_xor_si128(_mm_shuffle_epi8(same_low, low), _mm_shuffle_epi8(same_high, high));
                let next = _mm_xor_si128(_mm_shuffle_epi8(next_low, low), _mm_shuffle_epi8(next_high, high));
                let f = _mm_xor_si128(_mm_shuffle_epi8(same, back), _mm_shuffle_epi8(next, back_24));
                // f_0 + f_1 + f_2 + f_3 + f_i is f_{i+2} + (f_i + f_{i+2}) moved by one.
                let half = _mm_shuffle_epi8(f, rotate_16);
                let pair = _mm_shuffle_epi8(_mm_xor_si128(f, half), rotate_8);
                group[$a] = _mm_xor_si128(_mm_xor_si128(group[$a], half), pair);
            }
        };
    }
    for keys in kernel.round_keys.as_chunks::<4>().0 {
        round!(keys[0], 0, 1, 2, 3);
        round!(keys[1], 1, 2, 3, 0);
        round!(keys[2], 2, 3, 0, 1);
        round!(keys[3], 3, 0, 1, 2);
    }
    for group in &mut state {
        let [a, b, c, d] = *group;
        let [w0, w1, w2, w3] = [d, c, b, a].map(|word| map(word, &FROM_BASIS_TABLES));
        let (low01, high01) = (_mm_unpacklo_epi32(w0, w1), _mm_unpackhi_epi32(w0, w1));
        let (low23, high23) = (_mm_unpacklo_epi32(w2, w3), _mm_unpackhi_epi32(w2, w3));
        *group = [
            _mm_unpacklo_epi64(low01, low23),
            _mm_unpackhi_epi64(low01, low23),
            _mm_unpacklo_epi64(high01, high23),
            _mm_unpackhi_epi64(high01, high23),
        ];
    }
    state
}

/// The counter blocks by words, in the basis.
#[inline]
#[target_feature(enable = "sse4.1")]
fn load_counters(counter: &Counter) -> [[__m128i; 4]; 4] {
    let ([n0, n1, n2, c], _) = counter.as_chunks::<4>() else { return [[_mm_setzero_si128(); 4]; 4] };
    let [n0, n1, n2] =
        [n0, n1, n2].map(|word| map(_mm_set1_epi32(i32::from_ne_bytes(*word)), &TO_AES_TABLES));
    let swap = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
    let first = _mm_add_epi32(_mm_set1_epi32(i32::from_be_bytes(*c)), _mm_set_epi32(3, 2, 1, 0));
    [0, 4, 8, 12].map(|offset| {
        let counters = _mm_shuffle_epi8(_mm_add_epi32(first, _mm_set1_epi32(offset)), swap);
        [n0, n1, n2, map(counters, &TO_AES_TABLES)]
    })
}

/// An affine map on each byte, by its nibbles.
#[inline]
#[target_feature(enable = "sse4.1")]
fn map(x: __m128i, tables: &[[u8; 16]; 2]) -> __m128i {
    let nibble = _mm_set1_epi8(0x0f);
    let [low, high] = tables;
    let low = _mm_shuffle_epi8(load_table(low), _mm_and_si128(x, nibble));
    let high = _mm_shuffle_epi8(load_table(high), _mm_and_si128(_mm_srli_epi16::<4>(x), nibble));
    _mm_xor_si128(low, high)
}

#[inline]
#[target_feature(enable = "sse4.1")]
fn load_table(table: &[u8; 16]) -> __m128i {
    // SAFETY: 16 bytes.
    unsafe { _mm_loadu_si128(table.as_ptr().cast()) }
}

const TO_AES_CONSTANT: i8 = affine::TO_AES_CONSTANT.cast_signed();
const TO_AES_TABLES: [[u8; 16]; 2] = affine::nibble_tables(affine::TO_AES, 0, 0);
const FROM_BASIS_TABLES: [[u8; 16]; 2] = affine::nibble_tables(affine::FROM_BASIS, 0, 0);
const TO_SM4_TABLES: [[u8; 16]; 2] =
    affine::nibble_tables_behind_aes(affine::TO_SM4, affine::TO_SM4_CONSTANT);
const SAME_TABLES: [[u8; 16]; 2] =
    affine::nibble_tables_behind_aes(affine::DIFFUSE_SAME, affine::DIFFUSE_CONSTANT);
const NEXT_TABLES: [[u8; 16]; 2] = affine::nibble_tables_behind_aes(affine::DIFFUSE_NEXT, 0);
const SHIFT_ROWS_BACK: [u8; 16] = affine::shift_rows_back(0);
const SHIFT_ROWS_BACK_24: [u8; 16] = affine::shift_rows_back(3);
const ROTATE_16: [u8; 16] = affine::rotate_words(2);
const ROTATE_8: [u8; 16] = affine::rotate_words(1);
