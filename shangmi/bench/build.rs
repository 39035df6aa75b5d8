//! Builds OpenSSL from its source, static.

fn main() {
    #[cfg(feature = "openssl")]
    openssl_src::Build::new().build().print_cargo_metadata();
}
