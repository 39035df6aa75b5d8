//! Values that come from secrets and are public all the same. Each is named here's callers' way: with the reason.

/// `value`, which is public from here on for the reason given. Nothing happens but under `scripts/constant-time`, which
/// builds with `--cfg shangmi_valgrind`: there the value counts as a secret's no more, and the reason is listed.
#[inline(always)]
pub(crate) fn declassify<T: Copy>(value: T, reason: &'static str) -> T {
    #[cfg(not(shangmi_valgrind))]
    let _ = reason;
    #[cfg(shangmi_valgrind)]
    let value = {
        let mut value = value;
        let place = (&raw mut value).cast();
        // SAFETY: the program that is checked defines the function; it reads the reason, and leaves the value as it is.
        #[allow(unsafe_code)]
        unsafe {
            shangmi_declassify(place, size_of::<T>(), reason.as_ptr(), reason.len());
        }
        value
    };
    value
}

#[cfg(shangmi_valgrind)]
#[allow(unsafe_code)]
unsafe extern "C" {
    fn shangmi_declassify(place: *mut u8, length: usize, reason: *const u8, reason_length: usize);
}
