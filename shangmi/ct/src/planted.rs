//! Code that leaks on purpose, each in a way the check must see: one that it does not see fails the run.

use std::hint::black_box;

/// SM4's key schedule as textbooks have it: the S-box is looked up by a byte of the key.
#[inline(never)]
pub(crate) fn table_lookup(key: &[u8; 16]) -> u8 {
    let table: [u8; 256] = core::array::from_fn(|i| (i as u8).wrapping_mul(13) ^ 0xd6);
    black_box(&table)[usize::from(key[0] ^ key[5])]
}

/// A comparison of tags that ends at the first difference.
#[inline(never)]
pub(crate) fn early_exit(tag: &[u8; 16], expected: &[u8; 16]) -> bool {
    for (a, b) in tag.iter().zip(expected) {
        if black_box(*a) != *b {
            return false;
        }
    }
    true
}

/// Double and add: an addition for the set bits only.
#[inline(never)]
pub(crate) fn double_and_add(scalar: &[u8; 32]) -> u64 {
    let mut sum = 1u64;
    for byte in scalar {
        for bit in 0..8 {
            sum = black_box(sum.wrapping_mul(3));
            if black_box(byte >> bit & 1) == 1 {
                sum = black_box(sum.wrapping_add(7));
            }
        }
    }
    sum
}
