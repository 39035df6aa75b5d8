//! Whole messages over any [`Kernel`]: the first batch holds the tag's mask and the first blocks, whole batches follow,
//! then what is left.

use aead::inout::InOutBuf;
use subtle::ConstantTimeEq;
use zeroize::optimization_barrier;

use crate::declassify::declassify;

use super::{Counter, Hash, Kernel, KeyStream, MAX_BLOCKS, SHORT_BLOCKS, next_counter};

/// Encrypts and returns the tag.
#[inline]
pub(super) fn seal<K: Kernel>(
    kernel: &K,
    first: &Counter,
    associated_data: &[u8],
    data: InOutBuf<'_, '_, u8>,
) -> [u8; 16] {
    let length = data.len();
    let (mut stream, mask, mut counter) = first_batch(kernel, first, length);
    let (mut head, rest) = split_head::<K>(data);
    add_stream(&mut head, stream.get(16..).unwrap_or_default());
    let mut hash = [0; 16];
    if rest.is_empty() {
        hash_all(kernel, &mut hash, associated_data, head.get_out());
    } else {
        hash_padded(kernel, &mut hash, associated_data);
        // The head is whole blocks when something follows it.
        kernel.hash(&mut hash, head.get_out());
        let (body, mut tail) = split_body::<K>(rest);
        if !body.is_empty() {
            kernel.seal(&mut counter, &mut hash, body);
        }
        if !tail.is_empty() {
            kernel.key_stream(&counter, &mut stream);
            add_stream(&mut tail, &stream);
        }
        hash_end(kernel, &mut hash, tail.get_out(), associated_data.len(), length);
    }
    wipe(&mut stream, length);
    sum(&hash, &mask)
}

/// Whether the tag is right; only then the plaintext is computed.
#[inline]
pub(super) fn open<K: Kernel>(
    kernel: &K,
    first: &Counter,
    associated_data: &[u8],
    data: InOutBuf<'_, '_, u8>,
    tag: &[u8; 16],
) -> bool {
    let length = data.len();
    let (mut stream, mask, mut counter) = first_batch(kernel, first, length);
    let mut hash = [0; 16];
    hash_all(kernel, &mut hash, associated_data, data.get_in());
    let right = sum(&hash, &mask).ct_eq(tag);
    let authentic = bool::from(declassify(right, "whether a tag is right: the caller is told"));
    if authentic {
        let (mut head, rest) = split_head::<K>(data);
        add_stream(&mut head, stream.get(16..).unwrap_or_default());
        let (body, mut tail) = split_body::<K>(rest);
        if !body.is_empty() {
            kernel.apply(&mut counter, body);
        }
        if !tail.is_empty() {
            kernel.key_stream(&counter, &mut stream);
            add_stream(&mut tail, &stream);
        }
    }
    wipe(&mut stream, length);
    authentic
}

/// Key stream from the first counter block on, its first block (the tag's mask), and the counter after it.
#[inline(always)]
fn first_batch<K: Kernel>(kernel: &K, first: &Counter, length: usize) -> (KeyStream, [u8; 16], Counter) {
    let mut stream = [0; 16 * MAX_BLOCKS];
    let blocks = if length <= 16 * (SHORT_BLOCKS - 1) {
        kernel.short_key_stream(first, &mut stream)
    } else {
        kernel.key_stream(first, &mut stream);
        K::BLOCKS
    };
    let mask = stream.first_chunk::<16>().copied().unwrap_or_default();
    (stream, mask, next_counter(first, blocks))
}

/// What the first batch covers beside the mask, and the rest.
#[inline(always)]
fn split_head<'i, 'o, K: Kernel>(data: InOutBuf<'i, 'o, u8>) -> (InOutBuf<'i, 'o, u8>, InOutBuf<'i, 'o, u8>) {
    let length = data.len().min(K::BLOCKS.saturating_sub(1).saturating_mul(16));
    data.split_at(length)
}

/// Whole batches, and the rest.
#[inline(always)]
fn split_body<'i, 'o, K: Kernel>(data: InOutBuf<'i, 'o, u8>) -> (InOutBuf<'i, 'o, u8>, InOutBuf<'i, 'o, u8>) {
    let batch = K::BLOCKS.saturating_mul(16);
    let length = data.len().saturating_sub(data.len().checked_rem(batch).unwrap_or_default());
    data.split_at(length)
}

/// Adds as much of the key stream as there is data; the stream is never shorter.
#[inline(always)]
fn add_stream(data: &mut InOutBuf<'_, '_, u8>, stream: &[u8]) {
    if let Some(stream) = stream.get(..data.len()) {
        data.xor_in2out(stream);
    }
}

/// Data into the hash, filled with zeros to whole blocks.
#[inline(always)]
fn hash_padded<K: Kernel>(kernel: &K, hash: &mut Hash, data: &[u8]) {
    let (whole, part) = split_blocks(data);
    if !whole.is_empty() {
        kernel.hash(hash, whole);
    }
    if !part.is_empty() {
        kernel.hash(hash, &padded(part));
    }
}

/// Associated data, message and the block of lengths: of a short message in one piece, which takes one reduction.
#[inline(always)]
fn hash_all<K: Kernel>(kernel: &K, hash: &mut Hash, associated_data: &[u8], message: &[u8]) {
    let blocks = associated_data.len().div_ceil(16).saturating_add(message.len().div_ceil(16));
    if blocks >= SHORT_BLOCKS {
        hash_padded(kernel, hash, associated_data);
        return hash_end(kernel, hash, message, associated_data.len(), message.len());
    }
    let mut text = [[0; 16]; SHORT_BLOCKS];
    let (first, rest) = text.split_at_mut(associated_data.len().div_ceil(16));
    let (second, rest) = rest.split_at_mut(message.len().div_ceil(16));
    for (place, data) in [(first, associated_data), (second, message)] {
        if let Some(place) = place.as_flattened_mut().get_mut(..data.len()) {
            place.copy_from_slice(data);
        }
    }
    if let Some(last) = rest.first_mut() {
        *last = lengths(associated_data.len(), message.len());
    }
    let whole = text.get(..blocks.saturating_add(1)).unwrap_or_default();
    kernel.hash(hash, whole.as_flattened());
}

/// The block of lengths, in bits.
#[inline(always)]
fn lengths(associated_data: usize, message: usize) -> [u8; 16] {
    let mut block = [0; 16];
    for (place, bytes) in block.as_chunks_mut::<8>().0.iter_mut().zip([associated_data, message]) {
        // A usize has at most 64 bits, and check_lengths keeps both numbers far below 2⁶¹.
        *place = (bytes as u64).wrapping_mul(8).to_be_bytes();
    }
    block
}

/// [`hash_padded`], then the block of lengths.
#[inline(always)]
fn hash_end<K: Kernel>(kernel: &K, hash: &mut Hash, data: &[u8], associated_data: usize, message: usize) {
    let mut end = [[0; 16], lengths(associated_data, message)];
    let [last, lengths] = &mut end;
    let (whole, part) = split_blocks(data);
    if !whole.is_empty() {
        kernel.hash(hash, whole);
    }
    if part.is_empty() {
        kernel.hash(hash, lengths);
    } else {
        *last = padded(part);
        kernel.hash(hash, end.as_flattened());
    }
}

#[inline(always)]
fn split_blocks(data: &[u8]) -> (&[u8], &[u8]) {
    let (blocks, part) = data.as_chunks::<16>();
    (blocks.as_flattened(), part)
}

#[inline(always)]
fn padded(part: &[u8]) -> [u8; 16] {
    let mut block = [0; 16];
    for (place, byte) in block.iter_mut().zip(part) {
        *place = *byte;
    }
    block
}

#[inline(always)]
fn sum(a: &[u8; 16], b: &[u8; 16]) -> [u8; 16] {
    (u128::from_ne_bytes(*a) ^ u128::from_ne_bytes(*b)).to_ne_bytes()
}

/// Zeros what a message of `length` bytes has used.
#[inline(always)]
fn wipe(stream: &mut KeyStream, length: usize) {
    let used = if length <= 16 * (SHORT_BLOCKS - 1) { 16 * SHORT_BLOCKS } else { stream.len() };
    if let Some(used) = stream.get_mut(..used) {
        used.fill(0);
    }
    optimization_barrier(stream);
}
