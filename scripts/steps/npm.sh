#!/usr/bin/env bash
# npm.sh DIR...: installs each folder's locked npm packages, once per lock file; safe to call in parallel.
set -euo pipefail

command -v npm >/dev/null || { echo "npm.sh: npm not found: install Node.js 18 or newer" >&2; exit 1; }

for dir in "$@"; do
  lock=$dir/package-lock.json
  stamp=$dir/node_modules/.installed
  if cmp -s "$lock" "$stamp"; then continue; fi
  exec 9<"$dir"
  flock 9
  if ! cmp -s "$lock" "$stamp"; then
    (cd "$dir" && npm ci --no-audit --no-fund --loglevel=error >&2)
    cp "$lock" "$stamp"
  fi
  exec 9<&-
done
