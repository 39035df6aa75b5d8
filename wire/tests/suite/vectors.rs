//! Reads the golden vectors.

use std::{fs, path::Path};

use serde_json::Value;

/// The file `tests/vectors/<name>.json`.
pub(crate) fn read(name: &str) -> Value {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(name).with_extension("json");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// The objects of the array `object[key]`; at least one.
pub(crate) fn array<'v>(object: &'v Value, key: &str) -> &'v [Value] {
    let items = object[key].as_array().unwrap_or_else(|| panic!("{key} is no array"));
    assert!(!items.is_empty(), "{key} is empty");
    items
}

/// The bytes of the 0x-hex string `object[key]`.
pub(crate) fn bytes(object: &Value, key: &str) -> Vec<u8> {
    hex_bytes(&object[key]).unwrap_or_else(|| panic!("{key} is no hex in {object}"))
}

/// [`bytes`] of a known length.
pub(crate) fn fixed<const N: usize>(object: &Value, key: &str) -> [u8; N] {
    bytes(object, key).try_into().unwrap_or_else(|_| panic!("{key} is not {N} bytes"))
}

/// The integer `object[key]`.
pub(crate) fn int<T: TryFrom<i64>>(object: &Value, key: &str) -> T {
    let value = object[key].as_i64().unwrap_or_else(|| panic!("{key} is no integer in {object}"));
    T::try_from(value).unwrap_or_else(|_| panic!("{key} is out of range"))
}

/// The string `object[key]`.
pub(crate) fn text<'v>(object: &'v Value, key: &str) -> &'v str {
    object[key].as_str().unwrap_or_else(|| panic!("{key} is no string"))
}

/// The bytes of a 0x-hex string.
pub(crate) fn hex_bytes(value: &Value) -> Option<Vec<u8>> {
    hex::decode(value.as_str()?.strip_prefix("0x")?).ok()
}
