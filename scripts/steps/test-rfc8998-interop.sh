#!/usr/bin/env bash
# test-rfc8998-interop.sh [pytest's option]...: rustls-shangmi's examples against OpenSSL 4, both ways. Ends with pytest's summary.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=scripts/steps/cargo-path.sh
. "$root/scripts/steps/cargo-path.sh"
venv=$root/target/rfc8998-venv
interop=$root/rustls-shangmi/interop

"$root/scripts/steps/python-venv.sh" "$venv" "$interop/requirements.txt"
cargo build --quiet --manifest-path "$root/Cargo.toml" -p rustls-shangmi --examples --profile ci
export RUSTLS_SHANGMI_EXAMPLES=$root/target/ci/examples PYTHONDONTWRITEBYTECODE=1
cd "$interop"
exec "$venv/bin/python" -m pytest -q -p no:cacheprovider "$@" .
