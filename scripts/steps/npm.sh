#!/usr/bin/env bash
# npm.sh DIR...: installs each folder's locked npm packages, once per lock file; safe to call in parallel.
set -euo pipefail

command -v npm >/dev/null || { echo "npm.sh: npm not found: install Node.js 18 or newer" >&2; exit 1; }

for dir in "$@"; do
  stamp=$dir/node_modules/.installed
  if cmp -s "$dir/package-lock.json" "$stamp"; then continue; fi
  (
    flock 9
    if cmp -s "$dir/package-lock.json" "$stamp"; then exit 0; fi
    npm ci --prefix "$dir" --no-audit --no-fund --loglevel=error >&2
    cp "$dir/package-lock.json" "$stamp"
  ) 9>>"$dir/package-lock.json"
done
