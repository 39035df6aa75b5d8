//! Nothing but the pile's crates and a panic handler; the features show that the probe notices what it is there to notice.
#![no_std]

use cip22_device_sdk as _;
use cip22_wire as _;

#[cfg(feature = "use-alloc")]
extern crate alloc;
#[cfg(feature = "use-std")]
extern crate std;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
