//! The key schedule (GB/T 32907 §7.3).

/// The 32 round keys; `substitute` applies the S-box to each byte of a word.
#[inline(always)]
pub(crate) fn round_keys(key: &[u8; 16], mut substitute: impl FnMut(u32) -> u32) -> [u32; 32] {
    let ([w0, w1, w2, w3], _) = key.as_chunks::<4>() else { return [0; 32] };
    let mut k = [*w0, *w1, *w2, *w3].map(u32::from_be_bytes);
    for (word, fk) in k.iter_mut().zip(FK) {
        *word ^= fk;
    }
    let mut keys = [0; 32];
    for (key, ck) in keys.iter_mut().zip(CK) {
        let s = substitute(k[1] ^ k[2] ^ k[3] ^ ck);
        *key = k[0] ^ s ^ s.rotate_left(13) ^ s.rotate_left(23);
        k = [k[1], k[2], k[3], *key];
    }
    keys
}

/// System parameter.
pub(crate) const FK: [u32; 4] = [0xa3b1_bac6, 0x56aa_3350, 0x677d_9197, 0xb270_22dc];

/// Fixed parameter: byte `j` of constant `i` is `7·(4i + j)` modulo 256.
pub(crate) const CK: [u32; 32] = {
    let mut constants = [0; 32];
    let mut i = 0u32;
    while i < 32 {
        let n = 28 * i;
        #[allow(clippy::indexing_slicing)] // evaluated by the compiler
        {
            constants[i as usize] =
                (n & 255) << 24 | ((n + 7) & 255) << 16 | ((n + 14) & 255) << 8 | (n + 21) & 255;
        }
        i += 1;
    }
    constants
};
