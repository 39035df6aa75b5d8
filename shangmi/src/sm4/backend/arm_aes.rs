//! AArch64's AES instructions and PMULL: the S-box through `AESE`, 16 blocks at once. As `aesni.rs`.

use core::arch::aarch64::*;

use aead::inout::InOutBuf;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{Counter, Hash, Kernel, KeyStream, has_features, next_counter, pmull};
use crate::sm4::{affine, schedule};

const BLOCKS: usize = 16;
const BATCH: usize = 16 * BLOCKS;

/// Round keys, each four times, and the hash key's powers 16..=1.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct ArmAes {
    round_keys: [[[u8; 4]; 4]; 32],
    powers: [u128; BLOCKS],
}

pub(super) fn is_available() -> bool {
    has_features!("aes", "neon")
}

impl Kernel for ArmAes {
    const BLOCKS: usize = BLOCKS;

    fn new(key: &[u8; 16]) -> Self {
        // SAFETY: AnyKernel makes this type only where is_available found the instructions.
        unsafe { new(key) }
    }

    fn key_stream(&self, counter: &Counter, out: &mut KeyStream) {
        // SAFETY: as in new.
        let stream = unsafe { encrypt_counters(self, counter) };
        for (place, block) in out.as_chunks_mut::<16>().0.iter_mut().zip(stream) {
            *place = block;
        }
    }

    fn apply(&self, counter: &mut Counter, mut data: InOutBuf<'_, '_, u8>) {
        while !data.is_empty() {
            let length = data.len().min(BATCH);
            let (mut batch, rest) = data.split_at(length);
            // SAFETY: as in new.
            let stream = unsafe { encrypt_counters(self, counter) };
            batch.xor_in2out(stream.as_flattened().get(..length).unwrap_or_default());
            *counter = next_counter(counter, BLOCKS);
            data = rest;
        }
    }

    fn seal(&self, counter: &mut Counter, hash: &mut Hash, mut data: InOutBuf<'_, '_, u8>) {
        self.apply(counter, data.reborrow());
        self.hash(hash, data.get_out());
    }

    fn hash(&self, hash: &mut Hash, blocks: &[u8]) {
        for batch in blocks.chunks(BATCH) {
            // SAFETY: as in new.
            unsafe { pmull::hash_batch(&self.powers, hash, batch) };
        }
    }
}

#[target_feature(enable = "neon,aes")]
fn new(key: &[u8; 16]) -> ArmAes {
    let mut words = schedule::round_keys(key, |word| substitute_word(word));
    let mut kernel = ArmAes { round_keys: [[[0; 4]; 4]; 32], powers: [0; BLOCKS] };
    for (round_key, word) in kernel.round_keys.iter_mut().zip(&words) {
        *round_key = [affine::round_key_in_basis(*word); 4];
    }
    words.zeroize();
    if let Some(zero) = encrypt_counters(&kernel, &[0; 16]).first() {
        pmull::fill_powers(&mut kernel.powers, pmull::hash_key(zero));
    }
    kernel
}

/// The S-box on each byte of a word, for the key schedule.
#[inline]
#[target_feature(enable = "neon,aes")]
fn substitute_word(word: u32) -> u32 {
    // Four times the same word: ShiftRows moves each byte to a place of its own number, and takes it from any word.
    let x = map(vreinterpretq_u8_u32(vdupq_n_u32(word)), &TO_AES_TABLES);
    let s = vaeseq_u8(x, vdupq_n_u8(affine::TO_AES_CONSTANT));
    vgetq_lane_u32::<0>(vreinterpretq_u32_u8(map(s, &TO_SM4_TABLES)))
}

/// 16 blocks of key stream from `counter` on: four groups of four.
#[target_feature(enable = "neon,aes")]
fn encrypt_counters(kernel: &ArmAes, counter: &Counter) -> [[u8; 16]; BLOCKS] {
    let [same_low, same_high] = SAME_TABLES.map(|table| load_table(&table));
    let [next_low, next_high] = NEXT_TABLES.map(|table| load_table(&table));
    let nibble = vdupq_n_u8(0x0f);
    let [back, back_24] = [SHIFT_ROWS_BACK, SHIFT_ROWS_BACK_24].map(|order| load_table(&order));
    let [rotate_16, rotate_8] = [ROTATE_16, ROTATE_8].map(|order| load_table(&order));
    let mut state = load_counters(counter);
    macro_rules! round {
        ($keys:expr, $a:literal, $b:literal, $c:literal, $d:literal) => {
            let key = load_table(($keys).as_flattened().first_chunk().unwrap_or(&[0; 16]));
            for group in &mut state {
                let s = vaeseq_u8(veorq_u8(veorq_u8(group[$b], group[$c]), group[$d]), key);
                let (low, high) = (vandq_u8(s, nibble), vshrq_n_u8::<4>(s));
                let same = veorq_u8(vqtbl1q_u8(same_low, low), vqtbl1q_u8(same_high, high));
                let next = veorq_u8(vqtbl1q_u8(next_low, low), vqtbl1q_u8(next_high, high));
                let f = veorq_u8(vqtbl1q_u8(same, back), vqtbl1q_u8(next, back_24));
                // f_0 + f_1 + f_2 + f_3 + f_i is f_{i+2} + (f_i + f_{i+2}) moved by one.
                let half = vqtbl1q_u8(f, rotate_16);
                let pair = vqtbl1q_u8(veorq_u8(f, half), rotate_8);
                group[$a] = veorq_u8(veorq_u8(group[$a], half), pair);
            }
        };
    }
    for keys in kernel.round_keys.as_chunks::<4>().0 {
        round!(keys[0], 0, 1, 2, 3);
        round!(keys[1], 1, 2, 3, 0);
        round!(keys[2], 2, 3, 0, 1);
        round!(keys[3], 3, 0, 1, 2);
    }
    let mut blocks = [[0; 16]; BLOCKS];
    for (places, [a, b, c, d]) in blocks.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        let words = [d, c, b, a].map(|word| vreinterpretq_u32_u8(map(word, &FROM_BASIS_TABLES)));
        // SAFETY: the interleaving store writes four times 16 bytes, which places are.
        unsafe {
            let words = uint32x4x4_t(words[0], words[1], words[2], words[3]);
            vst4q_u32(places.as_mut_ptr().cast(), words);
        }
    }
    blocks
}

/// The counter blocks by words, in the basis.
#[inline]
#[target_feature(enable = "neon,aes")]
fn load_counters(counter: &Counter) -> [[uint8x16_t; 4]; 4] {
    let ([n0, n1, n2, c], _) = counter.as_chunks::<4>() else { return [[vdupq_n_u8(0); 4]; 4] };
    let [n0, n1, n2] = [n0, n1, n2]
        .map(|word| map(vreinterpretq_u8_u32(vdupq_n_u32(u32::from_ne_bytes(*word))), &TO_AES_TABLES));
    let first = u32::from_be_bytes(*c);
    [0u32, 4, 8, 12].map(|offset| {
        let counters = [0u32, 1, 2, 3].map(|i| first.wrapping_add(offset).wrapping_add(i));
        // SAFETY: four numbers are 16 bytes.
        let counters = unsafe { vld1q_u32(counters.as_ptr()) };
        [n0, n1, n2, map(vrev32q_u8(vreinterpretq_u8_u32(counters)), &TO_AES_TABLES)]
    })
}

/// An affine map on each byte, by its nibbles.
#[inline]
#[target_feature(enable = "neon")]
fn map(x: uint8x16_t, tables: &[[u8; 16]; 2]) -> uint8x16_t {
    let [low, high] = tables;
    let low = vqtbl1q_u8(load_table(low), vandq_u8(x, vdupq_n_u8(0x0f)));
    veorq_u8(low, vqtbl1q_u8(load_table(high), vshrq_n_u8::<4>(x)))
}

#[inline]
#[target_feature(enable = "neon")]
fn load_table(table: &[u8; 16]) -> uint8x16_t {
    // SAFETY: 16 bytes.
    unsafe { vld1q_u8(table.as_ptr()) }
}

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
