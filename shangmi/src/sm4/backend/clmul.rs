//! GHASH's field by PCLMULQDQ, and what the kernels of x86-64 share.
//!
//! Blocks are taken with their bytes reversed and the hash key multiplied by `x` once: products of reflected polynomials
//! then need no shift, and the reduction is two multiplications by `0xc2 << 56` (Gueron and Kounavis).

use core::arch::x86_64::*;

use super::Hash;

/// `H·x` of the hash key as the standard writes it, and a number the kernels can load.
pub(super) fn hash_key(h: &[u8; 16]) -> u128 {
    let h = u128::from_be_bytes(*h);
    h << 1 ^ (h >> 127).wrapping_neg() & 0xc200_0000_0000_0000_0000_0000_0000_0001
}

/// `powers[i]` becomes the key's power `N - i`: the blocks of a batch are multiplied by the powers in memory's order, and
/// a shorter batch by the last ones.
#[target_feature(enable = "pclmulqdq,sse4.1")]
pub(super) fn fill_powers(powers: &mut [u128], key: u128) {
    let first = load(key);
    let mut power = first;
    for place in powers.iter_mut().rev() {
        *place = store(power);
        power = multiply(power, first);
    }
}

#[inline]
#[target_feature(enable = "sse4.1")]
#[allow(clippy::cast_possible_truncation)] // halves
pub(super) fn load(x: u128) -> __m128i {
    let [low, high] = [x, x >> 64].map(|half| (half & u128::from(u64::MAX)) as i64);
    _mm_set_epi64x(high, low)
}

#[inline]
#[target_feature(enable = "sse4.1")]
pub(super) fn store(x: __m128i) -> u128 {
    let [low, high] = [_mm_extract_epi64::<0>(x), _mm_extract_epi64::<1>(x)];
    u128::from(low.cast_unsigned()) | u128::from(high.cast_unsigned()) << 64
}

#[inline]
#[target_feature(enable = "sse4.1")]
pub(super) fn load_hash(hash: &Hash) -> __m128i {
    load(u128::from_be_bytes(*hash))
}

#[inline]
#[target_feature(enable = "sse4.1")]
pub(super) fn store_hash(x: __m128i) -> Hash {
    store(x).to_be_bytes()
}

/// Product in the field.
#[inline]
#[target_feature(enable = "pclmulqdq,sse4.1")]
pub(super) fn multiply(a: __m128i, b: __m128i) -> __m128i {
    let middle = _mm_xor_si128(_mm_clmulepi64_si128::<0x01>(a, b), _mm_clmulepi64_si128::<0x10>(a, b));
    reduce(_mm_clmulepi64_si128::<0x00>(a, b), middle, _mm_clmulepi64_si128::<0x11>(a, b))
}

/// `(low + middle·x⁶⁴ + high·x¹²⁸)·x⁻¹²⁸` in the field.
#[inline]
#[target_feature(enable = "pclmulqdq,sse4.1")]
pub(super) fn reduce(low: __m128i, middle: __m128i, high: __m128i) -> __m128i {
    let polynomial = _mm_set_epi64x(0, 0xc200_0000_0000_0000_u64.cast_signed());
    let low = _mm_xor_si128(low, _mm_slli_si128::<8>(middle));
    let high = _mm_xor_si128(high, _mm_srli_si128::<8>(middle));
    let fold = |v| {
        let folded = _mm_clmulepi64_si128::<0x00>(v, polynomial);
        _mm_xor_si128(_mm_shuffle_epi32::<0x4e>(v), folded)
    };
    _mm_xor_si128(high, fold(fold(low)))
}
