//! Memcheck's client requests (valgrind.h, memcheck.h), for x86-64.

use core::arch::asm;

/// Whether valgrind runs this program.
pub(crate) fn is_running() -> bool {
    request(0x1001, [0; 5]) != 0
}

/// Errors found so far.
pub(crate) fn errors() -> usize {
    request(0x1201, [0; 5])
}

/// Marks bytes as undefined: a branch or an address that depends on one is an error from here on.
pub(crate) fn mark_secret(bytes: &mut [u8]) {
    mark(MAKE_MEM_UNDEFINED, bytes.as_mut_ptr(), bytes.len());
}

/// Marks bytes as defined.
pub(crate) fn mark_public(bytes: &mut [u8]) {
    mark(MAKE_MEM_DEFINED, bytes.as_mut_ptr(), bytes.len());
}

fn mark(kind: usize, place: *mut u8, length: usize) {
    request(kind, [place as usize, length, 0, 0, 0]);
}

/// What `shangmi` calls in place of its `declassify` under `--cfg shangmi_valgrind`.
///
/// # Safety
/// Both pointers are valid for their lengths, and the reason is UTF-8.
#[unsafe(no_mangle)]
unsafe extern "C" fn shangmi_declassify(
    place: *mut u8,
    length: usize,
    reason: *const u8,
    reason_length: usize,
) {
    let mut bits = vec![0u8; length];
    request(GET_VBITS, [place as usize, bits.as_mut_ptr() as usize, length, 0, 0]);
    mark(MAKE_MEM_DEFINED, place, length);
    // SAFETY: the caller's.
    let reason =
        unsafe { core::str::from_utf8_unchecked(core::slice::from_raw_parts(reason, reason_length)) };
    crate::declassified(reason, bits.iter().any(|byte| *byte != 0));
}

/// Nothing outside of valgrind, where the rotations by 128 bits in sum and the exchange leave all as it was.
#[inline(never)]
fn request(number: usize, arguments: [usize; 5]) -> usize {
    let [a, b, c, d, e] = arguments;
    let block = [number, a, b, c, d, e];
    let mut result = 0usize;
    // SAFETY: the sequence of valgrind.h: RAX points to the request, RDX is default and result; flags are clobbered. Memory
    // is, as valgrind may write what the request points to in its own books only.
    unsafe {
        asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") block.as_ptr(),
            inout("rdx") result,
            options(nostack),
        );
    }
    result
}

const MEMCHECK: usize = (b'M' as usize) << 24 | (b'C' as usize) << 16;
const MAKE_MEM_UNDEFINED: usize = MEMCHECK + 1;
const MAKE_MEM_DEFINED: usize = MEMCHECK + 2;
const GET_VBITS: usize = MEMCHECK + 8;
