//! The S-box of SM4 over the field of AES, and the constants every wide backend derives from it.
//!
//! `S(x) = TO_SM4·inv(TO_AES·x ⊕ 0x65) ⊕ 0xD3`, with `inv` the inversion of AES's field: both S-boxes invert in GF(2⁸), and
//! fields of one size are isomorphic. The wide backends keep the whole state in the basis of AES's field (each byte `b` as
//! `TO_AES·b`), so that one round needs no map in front of the inversion, and fold the diffusion `L` into the maps behind
//! it: with `s` the S-box's output, bytes numbered from the most significant,
//! `f_i = (I ⊕ ≫6)·s_i ⊕ (I ⊕ ≪2)·s_{i+3}` and `L(s)_i = f_0 ⊕ f_1 ⊕ f_2 ⊕ f_3 ⊕ f_i`.
//!
//! A map is eight columns: column `i` is the image of bit `i`.
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "evaluated by the compiler, where an overflow or an index out of bounds is an error"
)]

/// A linear map of GF(2)⁸, by the images of bits 0..8.
pub(crate) type Map = [u8; 8];

/// From bytes of SM4 to AES's field, in front of the inversion.
pub(crate) const TO_AES: Map = [0x24, 0x98, 0x6f, 0x6a, 0xc9, 0x67, 0x80, 0x4a];
/// Added after [`TO_AES`].
pub(crate) const TO_AES_CONSTANT: u8 = 0x65;
/// From AES's field to bytes of SM4, behind the inversion.
pub(crate) const TO_SM4: Map = [0xcb, 0x55, 0x37, 0xf6, 0x99, 0x22, 0x29, 0x45];
/// Added after [`TO_SM4`].
pub(crate) const TO_SM4_CONSTANT: u8 = 0xd3;

/// Back from the state's basis to bytes of SM4.
pub(crate) const FROM_BASIS: Map = inverse(TO_AES);
/// `(I ⊕ ≫6)` behind the inversion, in the state's basis.
pub(crate) const DIFFUSE_SAME: Map = then(then(TO_SM4, map_of(Step::XorShiftRight6)), TO_AES);
/// `(I ⊕ ≪2)` behind the inversion, in the state's basis.
pub(crate) const DIFFUSE_NEXT: Map = then(then(TO_SM4, map_of(Step::XorShiftLeft2)), TO_AES);
/// Added to `f`: what the S-box's constant comes to after `L`.
pub(crate) const DIFFUSE_CONSTANT: u8 = apply(TO_AES, TO_SM4_CONSTANT.rotate_left(2));

/// The image of `x`.
pub(crate) const fn apply(map: Map, x: u8) -> u8 {
    let mut image = 0;
    let mut bit = 0;
    while bit < 8 {
        // A mask, not a branch: round keys pass here.
        image ^= map[bit] & 0u8.wrapping_sub((x >> bit) & 1);
        bit += 1;
    }
    image
}

/// A round key in the state's basis, with the constant in front of the inversion; bytes from the most significant.
pub(crate) fn round_key_in_basis(key: u32) -> [u8; 4] {
    key.to_be_bytes().map(|byte| apply(TO_AES, byte) ^ TO_AES_CONSTANT)
}

/// The map as `GF2P8AFFINEQB` takes it: row of output bit `i` in byte `7 - i`.
pub(crate) const fn gfni(map: Map) -> u64 {
    let mut matrix = 0u64;
    let mut row = 0;
    while row < 8 {
        let mut column = 0;
        while column < 8 {
            if (map[column] >> row) & 1 == 1 {
                matrix |= 1 << (8 * (7 - row) + column);
            }
            column += 1;
        }
        row += 1;
    }
    matrix
}

/// Two tables by nibble, low then high: `map·(x ⊕ input) ⊕ output = low[x & 15] ^ high[x >> 4]`. They are looked up by
/// byte shuffles in registers, whose time does not depend on the index.
pub(crate) const fn nibble_tables(map: Map, input: u8, output: u8) -> [[u8; 16]; 2] {
    let mut tables = [[0; 16]; 2];
    let mut nibble = 0;
    while nibble < 16 {
        tables[0][nibble] = apply(map, nibble as u8 ^ input) ^ output;
        tables[1][nibble] = apply(map, (nibble as u8) << 4);
        nibble += 1;
    }
    tables
}

/// Tables behind AES's S-box (`AESENCLAST`, `AESE`) instead of the bare inversion.
pub(crate) const fn nibble_tables_behind_aes(map: Map, output: u8) -> [[u8; 16]; 2] {
    nibble_tables(then(inverse(map_of(Step::AesAffine)), map), 0x63, output)
}

/// Byte shuffle that undoes AES's ShiftRows on four words, then rotates each left by `bytes` bytes.
pub(crate) const fn shift_rows_back(bytes: usize) -> [u8; 16] {
    let mut order = [0; 16];
    let mut place = 0;
    while place < 16 {
        let (word, byte) = (place / 4, (place + bytes) % 4);
        order[place] = (4 * ((word + 4 - byte) % 4) + byte) as u8;
        place += 1;
    }
    order
}

/// Byte shuffle that rotates each of four words left by `bytes` bytes.
pub(crate) const fn rotate_words(bytes: usize) -> [u8; 16] {
    let mut order = [0; 16];
    let mut place = 0;
    while place < 16 {
        order[place] = (place / 4 * 4 + (place + bytes) % 4) as u8;
        place += 1;
    }
    order
}

#[derive(Clone, Copy)]
enum Step {
    XorShiftRight6,
    XorShiftLeft2,
    AesAffine,
}

const fn map_of(step: Step) -> Map {
    let mut map = [0; 8];
    let mut bit = 0;
    while bit < 8 {
        let x = 1u8 << bit;
        map[bit] = match step {
            Step::XorShiftRight6 => x ^ (x >> 6),
            Step::XorShiftLeft2 => x ^ (x << 2),
            Step::AesAffine => x ^ x.rotate_left(1) ^ x.rotate_left(2) ^ x.rotate_left(3) ^ x.rotate_left(4),
        };
        bit += 1;
    }
    map
}

/// `second` after `first`.
const fn then(first: Map, second: Map) -> Map {
    let mut map = [0; 8];
    let mut bit = 0;
    while bit < 8 {
        map[bit] = apply(second, first[bit]);
        bit += 1;
    }
    map
}

const fn inverse(map: Map) -> Map {
    let mut inverted = [0; 8];
    let mut bit = 0;
    while bit < 8 {
        let mut x = 0u8;
        while apply(map, x) != 1 << bit {
            x += 1;
        }
        inverted[bit] = x;
        bit += 1;
    }
    inverted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sm4::SBOX_FOR_TESTS;

    fn multiply(mut a: u8, b: u8) -> u8 {
        (0..8).fold(0, |product, bit| {
            let term = if b >> bit & 1 == 1 { a } else { 0 };
            a = a << 1 ^ if a & 0x80 == 0 { 0 } else { 0x1b };
            product ^ term
        })
    }

    fn invert(x: u8) -> u8 {
        (0..254).fold(1, |power, _| multiply(power, x))
    }

    #[test]
    fn the_maps_around_the_inversion_make_the_standards_sbox() {
        for x in 0..=255u8 {
            let inverted = invert(apply(TO_AES, x) ^ TO_AES_CONSTANT);
            assert_eq!(apply(TO_SM4, inverted) ^ TO_SM4_CONSTANT, SBOX_FOR_TESTS[usize::from(x)], "{x}");
        }
    }

    #[test]
    fn the_folded_diffusion_is_the_standards() {
        let mut word = 0x0123_4567u32;
        for _ in 0..1000 {
            word = word.wrapping_mul(0x9e37_79b9).wrapping_add(0x7f4a_7c15);
            let inverted = word.to_be_bytes().map(|byte| invert(apply(TO_AES, byte) ^ TO_AES_CONSTANT));
            let f: [u8; 4] = core::array::from_fn(|i| {
                apply(DIFFUSE_SAME, inverted[i])
                    ^ apply(DIFFUSE_NEXT, inverted[(i + 3) % 4])
                    ^ DIFFUSE_CONSTANT
            });
            let folded: [u8; 4] =
                core::array::from_fn(|i| apply(FROM_BASIS, f[0] ^ f[1] ^ f[2] ^ f[3] ^ f[i]));
            let s = u32::from_be_bytes(word.to_be_bytes().map(|byte| SBOX_FOR_TESTS[usize::from(byte)]));
            let standard = s ^ s.rotate_left(2) ^ s.rotate_left(10) ^ s.rotate_left(18) ^ s.rotate_left(24);
            assert_eq!(u32::from_be_bytes(folded), standard);
        }
    }

    #[test]
    fn tables_behind_the_aes_sbox_undo_its_affine_map() {
        let [low, high] = nibble_tables_behind_aes(TO_SM4, TO_SM4_CONSTANT);
        for x in 0..=255u8 {
            let y = invert(x);
            let aes = y ^ y.rotate_left(1) ^ y.rotate_left(2) ^ y.rotate_left(3) ^ y.rotate_left(4) ^ 0x63;
            let looked_up = low[usize::from(aes & 15)] ^ high[usize::from(aes >> 4)];
            assert_eq!(looked_up, apply(TO_SM4, y) ^ TO_SM4_CONSTANT);
        }
    }
}
