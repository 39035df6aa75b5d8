//! AArch64's SM4 instructions, by inline assembly (the intrinsics are not stable), and PMULL: 8 blocks at once.

use core::arch::{aarch64::*, asm};

use aead::inout::InOutBuf;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{Counter, Hash, Kernel, KeyStream, has_features, next_counter, pmull};
use crate::sm4::schedule::{CK, FK};

const BLOCKS: usize = 8;
const BATCH: usize = 16 * BLOCKS;

/// Round keys and the hash key's powers 8..=1.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct ArmSm4 {
    round_keys: [[u32; 4]; 8],
    powers: [u128; BLOCKS],
}

pub(super) fn is_available() -> bool {
    has_features!("sm4", "aes")
}

impl Kernel for ArmSm4 {
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

#[target_feature(enable = "neon,sm4,aes")]
fn new(key: &[u8; 16]) -> ArmSm4 {
    let mut kernel = ArmSm4 { round_keys: [[0; 4]; 8], powers: [0; BLOCKS] };
    // SAFETY: each table is loaded and stored within its length; the assembly has no effect beside its operands.
    unsafe {
        let mut keys = vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(key.as_ptr())));
        keys = veorq_u32(keys, vld1q_u32(FK.as_ptr()));
        for (place, constants) in kernel.round_keys.iter_mut().zip(CK.as_chunks::<4>().0) {
            let constants = vld1q_u32(constants.as_ptr());
            asm!(
                ".arch_extension sm4",
                "sm4ekey {keys:v}.4s, {keys:v}.4s, {constants:v}.4s",
                keys = inout(vreg) keys,
                constants = in(vreg) constants,
                options(pure, nomem, nostack, preserves_flags)
            );
            vst1q_u32(place.as_mut_ptr(), keys);
        }
    }
    if let Some(zero) = encrypt_counters(&kernel, &[0; 16]).first() {
        pmull::fill_powers(&mut kernel.powers, pmull::hash_key(zero));
    }
    kernel
}

/// 8 blocks of key stream from `counter` on.
#[target_feature(enable = "neon,sm4")]
fn encrypt_counters(kernel: &ArmSm4, counter: &Counter) -> [[u8; 16]; BLOCKS] {
    let mut blocks = [*counter; BLOCKS];
    for (number, block) in blocks.iter_mut().enumerate() {
        *block = next_counter(counter, number);
    }
    // SAFETY: loads and stores of 16 bytes from and to blocks and round keys of that length; the assembly has no effect
    // beside its operands.
    unsafe {
        let mut state = blocks.map(|block| vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(block.as_ptr()))));
        for keys in &kernel.round_keys {
            let keys = vld1q_u32(keys.as_ptr());
            for block in &mut state {
                asm!(
                    ".arch_extension sm4",
                    "sm4e {block:v}.4s, {keys:v}.4s",
                    block = inout(vreg) *block,
                    keys = in(vreg) keys,
                    options(pure, nomem, nostack, preserves_flags)
                );
            }
        }
        for (place, block) in blocks.iter_mut().zip(state) {
            // The words in reverse, each big-endian: all 16 bytes reversed.
            let bytes = vrev64q_u8(vreinterpretq_u8_u32(block));
            vst1q_u8(place.as_mut_ptr(), vextq_u8::<8>(bytes, bytes));
        }
    }
    blocks
}
