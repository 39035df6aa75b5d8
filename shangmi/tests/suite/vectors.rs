//! The files of `tests/vectors`, made by other implementations.

use serde_json::Value;

/// The vectors of a file; never none.
pub(crate) fn load(json: &str) -> Vec<Value> {
    let document: Value = serde_json::from_str(json).unwrap();
    let vectors = document["vectors"].as_array().unwrap().clone();
    assert!(!vectors.is_empty());
    vectors
}

/// Bytes of a field in hex.
pub(crate) fn bytes(vector: &Value, field: &str) -> Vec<u8> {
    hex::decode(vector[field].as_str().unwrap_or_else(|| panic!("no field {field}"))).unwrap()
}

/// Bytes of a field of fixed length.
pub(crate) fn array<const N: usize>(vector: &Value, field: &str) -> [u8; N] {
    bytes(vector, field).try_into().unwrap()
}
