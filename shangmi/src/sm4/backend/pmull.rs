//! GHASH by PMULL, for the kernels of AArch64; the representation is that of `clmul.rs`.

use core::arch::aarch64::*;

use super::Hash;

/// `H·x` of the hash key as the standard writes it.
pub(super) fn hash_key(h: &[u8; 16]) -> u128 {
    let h = u128::from_be_bytes(*h);
    h << 1 ^ (h >> 127).wrapping_neg() & 0xc200_0000_0000_0000_0000_0000_0000_0001
}

/// `powers[i]` becomes the key's power `N - i`.
#[target_feature(enable = "aes")]
pub(super) fn fill_powers(powers: &mut [u128], key: u128) {
    let mut power = key;
    for place in powers.iter_mut().rev() {
        *place = power;
        let mut sums = Sums::default();
        sums.add(power, key);
        power = sums.reduce();
    }
}

/// Whole blocks, at most as many as there are powers.
#[target_feature(enable = "aes")]
pub(super) fn hash_batch(powers: &[u128], hash: &mut Hash, blocks: &[u8]) {
    let powers = powers.get(powers.len().saturating_sub(blocks.len() / 16)..).unwrap_or_default();
    let mut state = u128::from_be_bytes(*hash);
    let mut sums = Sums::default();
    for (block, power) in blocks.as_chunks::<16>().0.iter().zip(powers) {
        sums.add(u128::from_be_bytes(*block) ^ state, *power);
        state = 0;
    }
    *hash = sums.reduce().to_be_bytes();
}

/// Sums of products before their reduction.
#[derive(Default)]
struct Sums {
    low: u128,
    middle: u128,
    high: u128,
}

impl Sums {
    #[inline]
    #[target_feature(enable = "aes")]
    fn add(&mut self, a: u128, b: u128) {
        let [(a0, a1), (b0, b1)] = [a, b].map(halves);
        self.low ^= vmull_p64(a0, b0);
        self.high ^= vmull_p64(a1, b1);
        self.middle ^= vmull_p64(a0, b1) ^ vmull_p64(a1, b0);
    }

    #[inline]
    #[target_feature(enable = "aes")]
    fn reduce(&self) -> u128 {
        let low = self.low ^ self.middle << 64;
        let high = self.high ^ self.middle >> 64;
        let fold = |v: u128| v.rotate_left(64) ^ vmull_p64(halves(v).0, 0xc200_0000_0000_0000);
        high ^ fold(fold(low))
    }
}

#[inline(always)]
#[allow(clippy::cast_possible_truncation)] // halves
fn halves(x: u128) -> (u64, u64) {
    (x as u64, (x >> 64) as u64)
}
