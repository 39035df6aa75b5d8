#!/usr/bin/env bash
# test-on-aarch64.sh: the tests of shangmi for AArch64, under QEMU with every instruction it knows; SM4-GCM against OpenSSL too.
# The standard library comes from rustup, or is built from Debian's sources; linker and C library come from Debian.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. scripts/steps/cargo-path.sh

scripts/steps/apt.sh qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross
if [ "$(scripts/steps/rust-targets.sh aarch64-unknown-linux-gnu)" = debian ]; then
  # build-std is unstable, hence the bootstrap variable.
  export RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc CARGO_UNSTABLE_BUILD_STD=std,test,panic_unwind CARGO_TARGET_DIR=$PWD/target/debian
fi
export CARGO_BUILD_TARGET=aarch64-unknown-linux-gnu
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -cpu max -L /usr/aarch64-linux-gnu"
export SHANGMI_IMPLEMENTATIONS="[ArmSm4, ArmAes, Portable]"
cargo test --package shangmi --profile ci --lib --tests
exec scripts/steps/test-sm4-openssl.sh
