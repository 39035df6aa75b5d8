#!/usr/bin/env bash
# Compiles the deployment scripts as `forge script` will ask for them, so that none compiles while a node waits.
# forge's test linking would make it compile the contracts anew for every script.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../contracts"
FOUNDRY_DYNAMIC_TEST_LINKING=false exec node_modules/.bin/forge build script/*.s.sol
