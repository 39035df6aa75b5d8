#!/usr/bin/env bash
# test-sm4-openssl.sh [SEED]: every implementation of SM4-GCM against OpenSSL 4, on cases drawn anew each time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. scripts/steps/cargo-path.sh
directory=target/sm4-openssl

scripts/steps/python-venv.sh "$directory/venv" shangmi/tests/openssl/requirements.txt
"$directory/venv/bin/python" shangmi/tests/openssl/cases.py "$directory/cases.bin" "$@"
SHANGMI_OPENSSL_CASES=$PWD/$directory/cases.bin \
  cargo test --package shangmi --profile ci --lib -- --ignored --nocapture agrees_with_openssl
