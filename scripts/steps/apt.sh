#!/usr/bin/env bash
# apt.sh PACKAGE...: installs the Debian packages that are missing, and nothing when none is.
set -euo pipefail

missing=()
for package in "$@"; do
  if [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then missing+=("$package"); fi
done
[ ${#missing[@]} -gt 0 ] || exit 0

give_up() {
  echo "missing Debian packages: ${missing[*]}; $1" >&2
  exit 1
}

command -v apt-get >/dev/null || give_up "this system has no apt-get, so install their equivalents by hand"
as_root=()
if [ "$(id -u)" != 0 ]; then
  if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
    give_up "run as root: apt-get install ${missing[*]}"
  fi
  as_root=(sudo -n)
fi

install() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

echo "installing Debian packages: ${missing[*]}" >&2
# Package lists are often stale or absent on a fresh machine, and fetching them costs more than trying.
install 2>/dev/null || { "${as_root[@]}" apt-get update -qq >&2 && install; } || give_up "apt-get could not install them"
