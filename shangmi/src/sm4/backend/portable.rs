//! Any processor, in constant time: bitsliced, without a table.
//!
//! Bit `b` of every byte lives in plane `b`; a plane is one machine word whose lane `blocks·j + n` belongs to byte `j`
//! (from the most significant) of block `n`'s word. The S-box is a circuit of 115 gates and 5 inversions; moving bytes
//! inside words is a rotation of the planes. GHASH multiplies integers whose bits are spread out, so that carries die
//! in the gaps: constant time where the processor's multiplication is (it is not on ARM7, ARM9 and Cortex-M3).

use core::ops::{BitAnd, BitXor, Not};

use aead::inout::InOutBuf;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{Counter, Hash, Kernel, KeyStream, next_counter};
use crate::sm4::schedule;

#[cfg(target_pointer_width = "64")]
type Native = u64;
#[cfg(not(target_pointer_width = "64"))]
type Native = u32;

/// SM4-GCM's key for [`Native`] planes.
#[derive(Clone)]
pub(crate) struct Portable {
    cipher: Bitsliced<Native>,
    hash_key: u128,
}

impl Drop for Portable {
    fn drop(&mut self) {
        self.hash_key.zeroize();
    }
}

impl ZeroizeOnDrop for Portable {}

impl Kernel for Portable {
    const BLOCKS: usize = Native::BLOCKS;

    fn new(key: &[u8; 16]) -> Self {
        let cipher = Bitsliced::new(key);
        let mut zero = [[0; 16]; MAX_BLOCKS];
        cipher.encrypt_counters(&[0; 16], &mut zero);
        let hash_key = soft_ghash::multiply_by_x(u128::from_be_bytes(zero[0]));
        zero.zeroize();
        Self { cipher, hash_key }
    }

    fn key_stream(&self, counter: &Counter, out: &mut KeyStream) {
        let mut blocks = [[0; 16]; MAX_BLOCKS];
        self.cipher.encrypt_counters(counter, &mut blocks);
        for (out, block) in out.as_chunks_mut::<16>().0.iter_mut().zip(&blocks).take(Self::BLOCKS) {
            *out = *block;
        }
        blocks.zeroize();
    }

    fn apply(&self, counter: &mut Counter, data: InOutBuf<'_, '_, u8>) {
        let mut data = data;
        let mut blocks = [[0; 16]; MAX_BLOCKS];
        while !data.is_empty() {
            let length = data.len().min(Self::BLOCKS.wrapping_mul(16));
            let (mut batch, rest) = data.split_at(length);
            self.cipher.encrypt_counters(counter, &mut blocks);
            let stream = blocks.as_flattened().get(..length).unwrap_or_default();
            batch.xor_in2out(stream);
            *counter = next_counter(counter, Self::BLOCKS);
            data = rest;
        }
        blocks.zeroize();
    }

    fn seal(&self, counter: &mut Counter, hash: &mut Hash, mut data: InOutBuf<'_, '_, u8>) {
        self.apply(counter, data.reborrow());
        self.hash(hash, data.get_out());
    }

    fn hash(&self, hash: &mut Hash, blocks: &[u8]) {
        let mut state = u128::from_be_bytes(*hash);
        for block in blocks.as_chunks::<16>().0 {
            state = soft_ghash::multiply(state ^ u128::from_be_bytes(*block), self.hash_key);
        }
        *hash = state.to_be_bytes();
    }
}

/// Blocks of the widest plane.
const MAX_BLOCKS: usize = 16;
/// The constant in front of the S-box's inversion, moved to its input and there into the round keys.
const INPUT_CONSTANT: u8 = 0x75;

/// A machine word of lanes.
pub(crate) trait Plane:
    Copy + BitAnd<Output = Self> + BitXor<Output = Self> + Not<Output = Self> + Zeroize
{
    const BLOCKS: usize;
    const ZERO: Self;
    /// Every lane of byte `j` set to `bits[j]`, which is 0 or 1.
    fn of_bytes(bits: [u8; 4]) -> Self;
    /// Lane of byte `j` takes byte `j + 1`'s: the words rotated left by 8.
    fn rotate_bytes(self) -> Self;
    /// The words rotated left by 16.
    fn rotate_halves(self) -> Self;
    /// The words rotated left by 24.
    fn rotate_bytes_back(self) -> Self;
    /// `self` and `other` exchange bits: one step of a transposition.
    fn exchange(&mut self, other: &mut Self, step: Transpose);
    /// Planes of words, most significant byte first, one for each block.
    fn pack(words: &[[u8; 4]; MAX_BLOCKS]) -> [Self; 8];
    /// The inverse of [`Plane::pack`].
    fn unpack(planes: [Self; 8], words: &mut [[u8; 4]; MAX_BLOCKS]);
}

#[derive(Clone, Copy)]
pub(crate) enum Transpose {
    Single,
    Pairs,
    Nibbles,
}

macro_rules! plane {
    ($word:ty, $blocks:literal) => {
        const BLOCKS: usize = $blocks;
        const ZERO: Self = 0;

        #[inline(always)]
        fn of_bytes(bits: [u8; 4]) -> Self {
            let lanes: $word = (1 << $blocks) - 1;
            let [a, b, c, d] = bits.map(|bit| <$word>::from(bit).wrapping_neg() & lanes);
            a | b << $blocks | c << (2 * $blocks) | d << (3 * $blocks)
        }

        #[inline(always)]
        fn rotate_bytes(self) -> Self {
            self.rotate_right($blocks)
        }

        #[inline(always)]
        fn rotate_halves(self) -> Self {
            self.rotate_right(2 * $blocks)
        }

        #[inline(always)]
        fn rotate_bytes_back(self) -> Self {
            self.rotate_left($blocks)
        }

        #[inline(always)]
        fn exchange(&mut self, other: &mut Self, step: Transpose) {
            let ones = <$word>::MAX;
            let (shift, mask) = match step {
                Transpose::Single => (1u32, ones / 3),
                Transpose::Pairs => (2, ones / 5),
                Transpose::Nibbles => (4, ones / 17),
            };
            let moved = ((*self >> shift) ^ *other) & mask;
            *other ^= moved;
            *self ^= moved << shift;
        }
    };
}

#[allow(clippy::arithmetic_side_effects)] // shifts by constants below the word's width
impl Plane for u64 {
    plane!(u64, 16);

    #[inline(always)]
    fn pack(words: &[[u8; 4]; MAX_BLOCKS]) -> [Self; 8] {
        let (low, high) = words.split_at(8);
        let mut planes = [0; 8];
        for ((plane, low), high) in planes.iter_mut().zip(low).zip(high) {
            *plane = spread(u32::from_le_bytes(*low)) | spread(u32::from_le_bytes(*high)) << 8;
        }
        transpose(&mut planes);
        planes
    }

    #[inline(always)]
    fn unpack(mut planes: [Self; 8], words: &mut [[u8; 4]; MAX_BLOCKS]) {
        transpose(&mut planes);
        let (lows, highs) = words.split_at_mut(8);
        for ((plane, low), high) in planes.iter().zip(lows).zip(highs) {
            *low = gather(*plane).to_le_bytes();
            *high = gather(*plane >> 8).to_le_bytes();
        }
    }
}

#[allow(clippy::arithmetic_side_effects)] // shifts by constants below the word's width
impl Plane for u32 {
    plane!(u32, 8);

    #[inline(always)]
    fn pack(words: &[[u8; 4]; MAX_BLOCKS]) -> [Self; 8] {
        let mut planes = [0; 8];
        for (plane, word) in planes.iter_mut().zip(words) {
            *plane = Self::from_le_bytes(*word);
        }
        transpose(&mut planes);
        planes
    }

    #[inline(always)]
    fn unpack(mut planes: [Self; 8], words: &mut [[u8; 4]; MAX_BLOCKS]) {
        transpose(&mut planes);
        for (plane, word) in planes.iter().zip(words) {
            *word = plane.to_le_bytes();
        }
    }
}

/// Bytes of a word to the even bytes of a wider one.
#[inline(always)]
fn spread(word: u32) -> u64 {
    let x = u64::from(word);
    let x = (x | x << 16) & 0x0000_ffff_0000_ffff;
    (x | x << 8) & 0x00ff_00ff_00ff_00ff
}

/// The even bytes of a word.
#[inline(always)]
#[allow(clippy::cast_possible_truncation)] // the low half is what is wanted
fn gather(x: u64) -> u32 {
    let x = x & 0x00ff_00ff_00ff_00ff;
    let x = (x | x >> 8) & 0x0000_ffff_0000_ffff;
    (x | x >> 16) as u32
}

/// Exchanges the planes' index with the low three bits of the lanes'.
#[inline(always)]
fn transpose<P: Plane>(planes: &mut [P; 8]) {
    let [a, b, c, d, e, f, g, h] = planes;
    for (x, y) in [(&mut *a, &mut *b), (&mut *c, &mut *d), (&mut *e, &mut *f), (&mut *g, &mut *h)] {
        x.exchange(y, Transpose::Single);
    }
    for (x, y) in [(&mut *a, &mut *c), (&mut *b, &mut *d), (&mut *e, &mut *g), (&mut *f, &mut *h)] {
        x.exchange(y, Transpose::Pairs);
    }
    for (x, y) in [(a, e), (b, f), (c, g), (d, h)] {
        x.exchange(y, Transpose::Nibbles);
    }
}

/// The round keys as planes.
#[derive(Clone)]
struct Bitsliced<P: Plane> {
    round_keys: [[P; 8]; 32],
}

impl<P: Plane> Drop for Bitsliced<P> {
    fn drop(&mut self) {
        self.round_keys.zeroize();
    }
}

impl<P: Plane> Bitsliced<P> {
    fn new(key: &[u8; 16]) -> Self {
        let mut words = schedule::round_keys(key, substitute_word);
        let mut round_keys = [[P::ZERO; 8]; 32];
        for (planes, word) in round_keys.iter_mut().zip(&words) {
            *planes = splat(word ^ u32::from_be_bytes([INPUT_CONSTANT; 4]));
        }
        words.zeroize();
        Self { round_keys }
    }

    /// `P::BLOCKS` blocks of key stream from `counter` on.
    fn encrypt_counters(&self, counter: &Counter, out: &mut [[u8; 16]; MAX_BLOCKS]) {
        let ([n0, n1, n2, c], _) = counter.as_chunks::<4>() else { return };
        let mut words = [[0; 4]; MAX_BLOCKS];
        let mut next = u32::from_be_bytes(*c);
        for word in &mut words {
            *word = next.to_be_bytes();
            next = next.wrapping_add(1);
        }
        let [n0, n1, n2] = [n0, n1, n2].map(|word| splat::<P>(u32::from_be_bytes(*word)));
        let mut state = [n0, n1, n2, P::pack(&words)];
        for keys in self.round_keys.as_chunks::<4>().0 {
            let [a, b, c, d] = &mut state;
            round(a, b, c, d, &keys[0]);
            round(b, c, d, a, &keys[1]);
            round(c, d, a, b, &keys[2]);
            round(d, a, b, c, &keys[3]);
        }
        let [a, b, c, d] = state;
        for (column, planes) in [d, c, b, a].into_iter().enumerate() {
            P::unpack(planes, &mut words);
            for (block, word) in out.iter_mut().zip(&words) {
                if let Some(place) = block.as_chunks_mut::<4>().0.get_mut(column) {
                    *place = *word;
                }
            }
        }
        words.zeroize();
    }
}

/// One word in every block's lanes.
#[inline(always)]
fn splat<P: Plane>(word: u32) -> [P; 8] {
    let mut bytes = word.to_be_bytes();
    let mut planes = [P::ZERO; 8];
    for plane in &mut planes {
        *plane = P::of_bytes(bytes.map(|byte| byte & 1));
        bytes = bytes.map(|byte| byte >> 1);
    }
    planes
}

#[inline(always)]
fn round<P: Plane>(a: &mut [P; 8], b: &[P; 8], c: &[P; 8], d: &[P; 8], key: &[P; 8]) {
    let input = xor(&xor(b, c), &xor(d, key));
    let s = substitute(input);
    // T is the sum of a word's four bytes, in each of their places.
    let t = s.map(|plane| {
        let pair = plane ^ plane.rotate_bytes();
        pair ^ pair.rotate_halves()
    });
    // The word rotated by 24, and by 2: y << 2 within the byte, with the two bits of the next byte's y behind it, where
    // y = T ^ the fourth byte, and the next byte's y = T ^ this byte.
    let r = s.map(Plane::rotate_bytes_back);
    let y = xor(&t, &r);
    let next = xor(&t, &s);
    let shifted = [next[6], next[7], y[0], y[1], y[2], y[3], y[4], y[5]];
    *a = xor(&xor(a, &s), &xor(&r, &shifted));
}

#[inline(always)]
fn xor<P: Plane>(a: &[P; 8], b: &[P; 8]) -> [P; 8] {
    let mut sum = *a;
    for (sum, b) in sum.iter_mut().zip(b) {
        *sum = *sum ^ *b;
    }
    sum
}

/// The S-box on each byte of one word.
fn substitute_word(word: u32) -> u32 {
    let planes = substitute(splat::<u32>(word ^ u32::from_be_bytes([INPUT_CONSTANT; 4])));
    let mut words = [[0; 4]; MAX_BLOCKS];
    u32::unpack(planes, &mut words);
    u32::from_be_bytes(words[0])
}

/// The S-box, its input with [`INPUT_CONSTANT`] added: the inversion is Boyar's and Peralta's circuit for AES
/// (eprint 2011/332), with linear layers found for SM4 by a greedy search.
#[inline(always)]
#[rustfmt::skip]
fn substitute<P: Plane>([x0, x1, x2, x3, x4, x5, x6, x7]: [P; 8]) -> [P; 8] {
    let y13 = x1;
    let y20 = x7 ^ x2;
    let y10 = y20 ^ x4;
    let y5 = x6 ^ x2;
    let y2 = y5 ^ x1;
    let y7 = y10 ^ x0;
    let y18 = y7 ^ y2;
    let s14 = x5 ^ x3;
    let y19 = s14 ^ y18;
    let y8 = y19 ^ y10;
    let y1 = s14 ^ x7;
    let y6 = y1 ^ y10;
    let y3 = y8 ^ y5;
    let y16 = y1 ^ y7;
    let y21 = y16 ^ x1;
    let y11 = y21 ^ x5;
    let y0 = y11 ^ y7;
    let y15 = y0 ^ y6;
    let y17 = y11 ^ y10;
    let y12 = y15 ^ x6;
    let y9 = y11 ^ y20;
    let y14 = y12 ^ x1;
    let y4 = y12 ^ y3;
    let t2 = y12 & y15;
    let t3 = y3 & y6;
    let t4 = t3 ^ t2;
    let t5 = y4 & y0;
    let t6 = t5 ^ t2;
    let t7 = y13 & y16;
    let t8 = y5 & y1;
    let t9 = t8 ^ t7;
    let t10 = y2 & y7;
    let t11 = t10 ^ t7;
    let t12 = y9 & y11;
    let t13 = y14 & y17;
    let t14 = t13 ^ t12;
    let t15 = y8 & y10;
    let t16 = t15 ^ t12;
    let t17 = t4 ^ t14;
    let t18 = t6 ^ t16;
    let t19 = t9 ^ t14;
    let t20 = t11 ^ t16;
    let t21 = t17 ^ y20;
    let t22 = t18 ^ y19;
    let t23 = t19 ^ y21;
    let t24 = t20 ^ y18;
    let t25 = t21 ^ t22;
    let t26 = t21 & t23;
    let t27 = t24 ^ t26;
    let t28 = t25 & t27;
    let t29 = t28 ^ t22;
    let t30 = t23 ^ t24;
    let t31 = t22 ^ t26;
    let t32 = t31 & t30;
    let t33 = t32 ^ t24;
    let t34 = t23 ^ t33;
    let t35 = t27 ^ t33;
    let t36 = t24 & t35;
    let t37 = t36 ^ t34;
    let t38 = t27 ^ t36;
    let t39 = t29 & t38;
    let t40 = t25 ^ t39;
    let t41 = t40 ^ t37;
    let t42 = t29 ^ t33;
    let t43 = t29 ^ t40;
    let t44 = t33 ^ t37;
    let t45 = t42 ^ t41;
    let z0 = t44 & y15;
    let z1 = t37 & y6;
    let z2 = t33 & y0;
    let z3 = t43 & y16;
    let z4 = t40 & y1;
    let z5 = t29 & y7;
    let z6 = t42 & y11;
    let z7 = t45 & y17;
    let z8 = t41 & y10;
    let z9 = t44 & y12;
    let z10 = t37 & y3;
    let z11 = t33 & y4;
    let z12 = t43 & y13;
    let z13 = t40 & y5;
    let z14 = t29 & y2;
    let z15 = t42 & y9;
    let z16 = t45 & y14;
    let z17 = t41 & y8;
    let w18 = z10 ^ z0;
    let w19 = z15 ^ z9;
    let w20 = z14 ^ z6;
    let w21 = w18 ^ z1;
    let w22 = w20 ^ z13;
    let w23 = w22 ^ z4;
    let w24 = w21 ^ z5;
    let w25 = w24 ^ z8;
    let w26 = w19 ^ z17;
    let w27 = w26 ^ z7;
    let w28 = w23 ^ z11;
    let w29 = w19 ^ z16;
    let w30 = w29 ^ w25;
    let w31 = z6 ^ z4;
    let w32 = w30 ^ z3;
    let w33 = w28 ^ w25;
    let w34 = w18 ^ z7;
    let w35 = w27 ^ z10;
    let w36 = w35 ^ z3;
    let w37 = z5 ^ z2;
    let w38 = w37 ^ w28;
    let w39 = z16 ^ z13;
    let w40 = w27 ^ w21;
    let w41 = w26 ^ z11;
    let w42 = w39 ^ z12;
    let w43 = w31 ^ w30;
    let w44 = w32 ^ z7;
    let w45 = w36 ^ w23;
    let w46 = w42 ^ z15;
    let w47 = w38 ^ w34;
    let w48 = w40 ^ w22;
    [!w44, !w33, w45, w41, !w43, w48, !w47, !w46]
}

/// GHASH's field without tables.
mod soft_ghash {
    /// `H·x` in the reflected representation, which turns the product's reduction into one without shifts.
    pub(super) fn multiply_by_x(h: u128) -> u128 {
        let carry = (h >> 127).wrapping_neg();
        h << 1 ^ carry & 0xc200_0000_0000_0000_0000_0000_0000_0001
    }

    /// `a·b·x⁻¹²⁸` modulo `x¹²⁸ + x¹²⁷ + x¹²⁶ + x¹²¹ + 1`.
    #[inline]
    pub(super) fn multiply(a: u128, b: u128) -> u128 {
        let ([a0, a1], [b0, b1]) = (halves(a), halves(b));
        let low = carryless(a0, b0);
        let high = carryless(a1, b1);
        let middle = carryless(a0 ^ a1, b0 ^ b1) ^ low ^ high;
        let low = low ^ middle << 64;
        let high = high ^ middle >> 64;
        high ^ reduce(reduce(low))
    }

    /// Divides by `x⁶⁴`: the low half is made zero by a multiple of the modulus.
    #[inline(always)]
    fn reduce(v: u128) -> u128 {
        let low = v & u128::from(u64::MAX);
        // low·(x¹²⁷ + x¹²⁶ + x¹²¹ + 1)·x⁻⁶⁴, the halves exchanged
        let folded = low << 63 ^ low << 62 ^ low << 57;
        (v >> 64 | low << 64) ^ folded
    }

    #[allow(clippy::cast_possible_truncation)] // halves
    fn halves(x: u128) -> [u64; 2] {
        [x as u64, (x >> 64) as u64]
    }

    #[cfg(test)]
    pub(super) fn carryless_for_tests(a: u64, b: u64) -> u128 {
        carryless(a, b)
    }

    /// Product of polynomials over GF(2). Every fourth bit is kept, so that at most 15 terms meet in a sum, which four
    /// bits hold; the sixteenth is added apart.
    #[inline(always)]
    #[cfg(target_pointer_width = "64")]
    fn carryless(a: u64, b: u64) -> u128 {
        const LANE: u64 = 0x1111_1111_1111_1111;
        const WIDE: u128 = 0x1111_1111_1111_1111_1111_1111_1111_1111;
        // The top four bits of a are multiplied by hand.
        let a_parts = [0, 1, 2, 3].map(|i| a & (LANE & u64::MAX >> 4) << i);
        let b_parts = [0, 1, 2, 3].map(|i| b & LANE << i);
        let product = |i: usize, j: usize| match (a_parts.get(i), b_parts.get(j)) {
            (Some(a), Some(b)) => u128::from(*a).wrapping_mul(u128::from(*b)),
            _ => 0,
        };
        let mut sum = 0;
        for lane in [0usize, 1, 2, 3] {
            let mut part = 0;
            for i in [0usize, 1, 2, 3] {
                part ^= product(i, lane.wrapping_sub(i) & 3);
            }
            #[allow(clippy::arithmetic_side_effects)] // below four
            {
                sum ^= part & WIDE << lane;
            }
        }
        let wide = u128::from(b);
        for bit in [60u32, 61, 62, 63] {
            let mask = u128::from(a >> bit & 1).wrapping_neg();
            sum ^= wide << bit & mask;
        }
        sum
    }

    #[inline(always)]
    #[cfg(not(target_pointer_width = "64"))]
    fn carryless(a: u64, b: u64) -> u128 {
        super::soft_ghash_32::carryless(a, b)
    }
}

/// The same with multiplications of 32 bits, for processors that have no wider.
#[cfg(any(test, not(target_pointer_width = "64")))]
mod soft_ghash_32 {
    /// As [`super::soft_ghash`]'s, by three products of halves.
    #[allow(clippy::cast_possible_truncation)] // halves
    pub(super) fn carryless(a: u64, b: u64) -> u128 {
        let (a0, a1, b0, b1) = (a as u32, (a >> 32) as u32, b as u32, (b >> 32) as u32);
        let low = u128::from(carryless_half(a0, b0));
        let high = u128::from(carryless_half(a1, b1));
        let middle = u128::from(carryless_half(a0 ^ a1, b0 ^ b1)) ^ low ^ high;
        low ^ middle << 32 ^ high << 64
    }

    /// Eight terms at most meet in four bits.
    fn carryless_half(a: u32, b: u32) -> u64 {
        const LANE: u32 = 0x1111_1111;
        const WIDE: u64 = 0x1111_1111_1111_1111;
        let [a0, a1, a2, a3] = [0, 1, 2, 3].map(|i| u64::from(a & LANE << i));
        let [b0, b1, b2, b3] = [0, 1, 2, 3].map(|i| u64::from(b & LANE << i));
        let m = u64::wrapping_mul;
        let lane0 = m(a0, b0) ^ m(a1, b3) ^ m(a2, b2) ^ m(a3, b1);
        let lane1 = m(a0, b1) ^ m(a1, b0) ^ m(a2, b3) ^ m(a3, b2);
        let lane2 = m(a0, b2) ^ m(a1, b1) ^ m(a2, b0) ^ m(a3, b3);
        let lane3 = m(a0, b3) ^ m(a1, b2) ^ m(a2, b1) ^ m(a3, b0);
        lane0 & WIDE ^ lane1 & WIDE << 1 ^ lane2 & WIDE << 2 ^ lane3 & WIDE << 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sm4::SBOX_FOR_TESTS;

    #[test]
    fn the_circuit_is_the_standards_sbox() {
        for x in 0..=255u8 {
            let word = u32::from_be_bytes([x, x.wrapping_add(1), !x, 0]);
            let expected = word.to_be_bytes().map(|byte| SBOX_FOR_TESTS[usize::from(byte)]);
            assert_eq!(substitute_word(word).to_be_bytes(), expected);
        }
    }

    #[test]
    fn planes_of_32_and_64_bits_give_the_same_blocks() {
        let key = *b"0123456789abcdef";
        let counter = [0xff; 16];
        let (mut narrow, mut wide) = ([[0; 16]; MAX_BLOCKS], [[0; 16]; MAX_BLOCKS]);
        Bitsliced::<u32>::new(&key).encrypt_counters(&counter, &mut narrow);
        Bitsliced::<u64>::new(&key).encrypt_counters(&counter, &mut wide);
        assert_eq!(narrow[..8], wide[..8]);
        assert_ne!(wide[7], wide[8]);
    }

    #[test]
    fn carryless_products_of_32_and_64_bits_are_the_schoolbooks() {
        let (mut a, mut b) = (u64::MAX, u64::MAX);
        for i in 0..200u64 {
            let school =
                (0..64).fold(0, |sum, bit| sum ^ ((u128::from(b) << bit) * u128::from(a >> bit & 1)));
            assert_eq!(soft_ghash_32::carryless(a, b), school);
            assert_eq!(soft_ghash::carryless_for_tests(a, b), school);
            a = a.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ i;
            b = b.wrapping_add(a).rotate_left(29);
        }
    }
}
