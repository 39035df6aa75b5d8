//! Nothing but the pile's crates and a panic handler; the features show that the probe notices what it is there to notice.
#![no_std]

use cip22_device_sdk as _;
use cip22_wire as _;
use shangmi as _;

#[cfg(feature = "use-alloc")]
extern crate alloc;
#[cfg(feature = "use-std")]
extern crate std;

/// What a firmware with `bls` or `chain` has to bring; nothing that a pile calls asks it for memory.
#[cfg(feature = "allocator")]
mod allocator {
    use core::alloc::{GlobalAlloc, Layout};

    struct Empty;

    // SAFETY: null says that there is no memory, and nothing was given that could come back.
    unsafe impl GlobalAlloc for Empty {
        unsafe fn alloc(&self, _: Layout) -> *mut u8 {
            core::ptr::null_mut()
        }

        unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
    }

    #[global_allocator]
    static EMPTY: Empty = Empty;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
