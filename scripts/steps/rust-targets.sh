#!/usr/bin/env bash
# rust-targets.sh TARGET...: makes the bare-metal targets buildable and prints how: `rustup`, or `debian` for Debian's
# rustc with its library sources where rustup or its download is not to be had. BARE_METAL_TOOLCHAIN forces one.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

case "${BARE_METAL_TOOLCHAIN:-}" in
  "" | rustup)
    if command -v rustup >/dev/null && rustup target add "$@" >&2; then
      echo rustup
      exit 0
    fi
    [ -z "${BARE_METAL_TOOLCHAIN:-}" ] || exit 1
    echo "rustup cannot add the targets: using Debian's rustc-web with build-std" >&2
    ;;
  debian) ;;
  *) echo "BARE_METAL_TOOLCHAIN: '$BARE_METAL_TOOLCHAIN' is neither rustup nor debian" >&2; exit 1 ;;
esac

"$here/apt.sh" rustc-web rust-web-src
echo debian
