//! OpenSSL's EVP interface, as little as the benchmark needs.

use std::{
    ffi::{CString, c_char, c_int, c_void},
    hint::black_box,
    ptr::{null, null_mut},
};

unsafe extern "C" {
    fn EVP_CIPHER_fetch(library: *mut c_void, name: *const c_char, properties: *const c_char) -> *mut c_void;
    fn EVP_CIPHER_CTX_new() -> *mut c_void;
    fn EVP_EncryptInit_ex2(
        context: *mut c_void,
        cipher: *const c_void,
        key: *const u8,
        iv: *const u8,
        parameters: *const c_void,
    ) -> c_int;
    fn EVP_EncryptUpdate(
        context: *mut c_void,
        output: *mut u8,
        written: *mut c_int,
        input: *const u8,
        length: c_int,
    ) -> c_int;
    fn EVP_EncryptFinal_ex(context: *mut c_void, output: *mut u8, written: *mut c_int) -> c_int;
    fn EVP_CIPHER_CTX_ctrl(context: *mut c_void, kind: c_int, argument: c_int, pointer: *mut c_void) -> c_int;
}

const GET_TAG: c_int = 0x10;

/// Seals in place under one key, a nonce for each call, as a record layer does.
pub fn seal(name: &str, size: usize) -> Box<dyn FnMut()> {
    let (_, context) = context(name);
    let mut buffer = vec![0x5a; size];
    Box::new(move || {
        let mut written = 0;
        let mut tag = [0u8; 16];
        // SAFETY: the context has its cipher and key; buffer has size bytes, the tag 16.
        let done = unsafe {
            EVP_EncryptInit_ex2(context, null(), null(), [0u8; 12].as_ptr(), null())
                & EVP_EncryptUpdate(context, null_mut(), &mut written, b"13 bytes long".as_ptr(), 13)
                & EVP_EncryptUpdate(
                    context,
                    buffer.as_mut_ptr(),
                    &mut written,
                    buffer.as_ptr(),
                    size as c_int,
                )
                & EVP_EncryptFinal_ex(context, null_mut(), &mut written)
                & EVP_CIPHER_CTX_ctrl(context, GET_TAG, 16, tag.as_mut_ptr().cast())
        };
        assert_eq!(done, 1);
        black_box(tag);
    })
}

/// Sets a new key.
pub fn set_key(name: &str) -> Box<dyn FnMut()> {
    let (_, context) = context(name);
    let mut key = [7u8; 16];
    Box::new(move || {
        key[0] = key[0].wrapping_add(1);
        // SAFETY: the context has its cipher; the key has 16 bytes, the nonce 12.
        let done = unsafe { EVP_EncryptInit_ex2(context, null(), key.as_ptr(), [0u8; 12].as_ptr(), null()) };
        assert_eq!(done, 1);
    })
}

/// A context with key and nonce; it lives as long as the process.
fn context(name: &str) -> (*mut c_void, *mut c_void) {
    let text = CString::new(name).expect("a name");
    // SAFETY: the names end in zero; keys and nonces have the lengths of the two ciphers.
    unsafe {
        let cipher = EVP_CIPHER_fetch(null_mut(), text.as_ptr(), null());
        assert!(!cipher.is_null(), "OpenSSL lacks {name}");
        let context = EVP_CIPHER_CTX_new();
        assert_eq!(EVP_EncryptInit_ex2(context, cipher, [7u8; 16].as_ptr(), [0u8; 12].as_ptr(), null()), 1);
        (cipher, context)
    }
}
