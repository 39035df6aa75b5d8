//! Every kernel of this processor, below the mode: blocks, the counter's wrap, and batches split anywhere.

use alloc::{vec, vec::Vec};
use proptest::prelude::*;

use super::*;

/// Runs a generic function for each kernel the processor has, and tells which ran.
macro_rules! for_each_kernel {
    ($check:ident ( $($argument:expr),* )) => {{
        let mut ran = Vec::new();
        for implementation in Implementation::ALL {
            if let Ok(any) = AnyKernel::new(&KEY, implementation) {
                with_kernel!(&any, kernel => $check(kernel $(, $argument)*));
                ran.push(implementation);
            }
        }
        assert!(ran.contains(&Implementation::Portable) && ran[0] == Implementation::detect(), "{ran:?}");
    }};
}

/// Key and plaintext of GB/T 32907, appendix A.
const KEY: [u8; 16] = 0x0123_4567_89ab_cdef_fedc_ba98_7654_3210_u128.to_be_bytes();

/// One block, as the first of a batch of key stream.
fn encrypt<K: Kernel>(kernel: &K, block: &[u8; 16]) -> [u8; 16] {
    let mut stream = [0; 16 * MAX_BLOCKS];
    kernel.key_stream(block, &mut stream);
    *stream.first_chunk().unwrap()
}

#[test]
fn the_standards_block_comes_out() {
    fn check<K: Kernel>(kernel: &K) {
        let expected = 0x681e_df34_d206_965e_86b3_e94f_536e_4246_u128;
        assert_eq!(encrypt(kernel, &KEY), expected.to_be_bytes());
    }
    for_each_kernel!(check());
}

#[test]
fn the_standards_million_iterations_come_out() {
    fn check<K: Kernel>(kernel: &K) {
        let mut block = KEY;
        for _ in 0..1_000_000 {
            block = encrypt(kernel, &block);
        }
        assert_eq!(block, 0x5952_98c7_c6fd_271f_0402_f804_c33d_3f66_u128.to_be_bytes());
    }
    for_each_kernel!(check());
}

#[test]
fn the_counter_wraps_at_32_bits_and_leaves_the_nonce_alone() {
    fn check<K: Kernel>(kernel: &K) {
        for before in 0..=K::BLOCKS as u32 {
            let mut counter = [0xee; 16];
            counter[12..].copy_from_slice(&0u32.wrapping_sub(before).to_be_bytes());
            let mut stream = [0; 16 * MAX_BLOCKS];
            kernel.key_stream(&counter, &mut stream);
            let mut applied = vec![0; 2 * 16 * K::BLOCKS];
            let mut moved = counter;
            kernel.apply(&mut moved, applied.as_mut_slice().into());
            let mut short = [0; 16 * MAX_BLOCKS];
            let short_blocks = kernel.short_key_stream(&counter, &mut short);
            assert!(short_blocks >= SHORT_BLOCKS.min(K::BLOCKS));
            for number in 0..2 * K::BLOCKS {
                let mut block = [0xee; 16];
                let count = 0u32.wrapping_sub(before).wrapping_add(number as u32);
                block[12..].copy_from_slice(&count.to_be_bytes());
                assert_eq!(block, next_counter(&counter, number));
                let expected = encrypt(kernel, &block);
                let place = 16 * number..16 * (number + 1);
                assert_eq!(applied[place.clone()], expected);
                if number < K::BLOCKS {
                    assert_eq!(stream[place.clone()], expected);
                }
                if number < short_blocks {
                    assert_eq!(short[place], expected);
                }
            }
            assert_eq!(moved, next_counter(&counter, 2 * K::BLOCKS));
        }
    }
    for_each_kernel!(check());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn sealing_is_the_same_however_batches_are_split(
        counter: [u8; 16],
        state: [u8; 16],
        cuts in prop::collection::vec(0usize..8, 0..4),
        hash_cut in 0usize..=512,
        data in prop::collection::vec(any::<u8>(), 16 * MAX_BLOCKS * 8),
    ) {
        fn check<K: Kernel>(
            kernel: &K, counter: [u8; 16], state: [u8; 16], cuts: &[usize], hash_cut: usize, data: &[u8],
        ) {
            let batch = 16 * K::BLOCKS;
            let batches = data.len() / batch;
            let (mut whole, mut whole_counter, mut whole_hash) = (data.to_vec(), counter, state);
            kernel.seal(&mut whole_counter, &mut whole_hash, whole.as_mut_slice().into());

            let mut ends: Vec<_> = cuts.iter().map(|cut| cut % batches * batch).chain([data.len()]).collect();
            ends.sort_unstable();
            let (mut parts, mut parts_counter, mut parts_hash) = (data.to_vec(), counter, state);
            let mut start = 0;
            for end in ends {
                kernel.seal(&mut parts_counter, &mut parts_hash, (&mut parts[start..end]).into());
                start = end;
            }
            assert!((&whole, whole_counter, whole_hash) == (&parts, parts_counter, parts_hash));

            // Apart: encrypted, then hashed in two pieces cut anywhere between blocks; from buffer to buffer.
            let (mut apart, mut apart_counter, mut apart_hash) = (vec![0; data.len()], counter, state);
            kernel.apply(&mut apart_counter, InOutBuf::new(data, &mut apart).unwrap());
            kernel.hash(&mut apart_hash, &apart[..16 * hash_cut]);
            kernel.hash(&mut apart_hash, &apart[16 * hash_cut..]);
            assert!((&whole, whole_counter, whole_hash) == (&apart, apart_counter, apart_hash));
        }
        for_each_kernel!(check(counter, state, &cuts, hash_cut, &data));
    }

    #[test]
    fn every_kernel_hashes_and_encrypts_as_the_portable_one(
        key: [u8; 16], counter: [u8; 16], state: [u8; 16], blocks in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        fn outcome<K: Kernel>(kernel: &K, counter: &[u8; 16], mut state: [u8; 16], blocks: &[u8]) -> ([u8; 16], [u8; 16]) {
            kernel.hash(&mut state, blocks);
            (state, encrypt(kernel, counter))
        }
        let blocks = &blocks[..blocks.len() / 16 * 16];
        let expected = outcome(&portable::Portable::new(&key), &counter, state, blocks);
        for implementation in Implementation::ALL {
            if let Ok(any) = AnyKernel::new(&key, implementation) {
                let found = with_kernel!(&any, kernel => outcome(kernel, &counter, state, blocks));
                prop_assert_eq!(found, expected, "{:?}", implementation);
            }
        }
    }
}
