# shellcheck shell=bash
# Sourced: allows this shell and what it starts to have a thousand piles connected; the soft limit of most systems is 1024.
open_files=4096
soft=$(ulimit -Sn)
if [ "$soft" != unlimited ] && [ "$soft" -lt "$open_files" ]; then
  ulimit -Sn "$open_files" || {
    echo "this shell may open $soft files, and a thousand piles need $open_files: raise the hard limit (ulimit -Hn)" >&2
    exit 1
  }
fi
