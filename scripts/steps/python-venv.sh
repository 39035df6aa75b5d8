#!/usr/bin/env bash
# python-venv.sh VENV REQUIREMENTS: a virtual environment holding exactly the pinned requirements; quick when nothing changed.
set -euo pipefail

venv=$1
requirements=$2
if cmp -s "$requirements" "$venv/.installed"; then exit 0; fi
rm -rf "$venv"
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements" >&2
cp "$requirements" "$venv/.installed"
