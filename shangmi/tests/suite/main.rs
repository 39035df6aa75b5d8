//! Tests of the public interface.
#![allow(clippy::disallowed_methods)] // files of vectors are read from where the crate lies

mod sm4_gcm;
