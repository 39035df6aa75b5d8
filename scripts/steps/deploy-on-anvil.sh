#!/usr/bin/env bash
# Deploys the contracts by script to an anvil of its own and asks them whether they stand as they should: on Ethereum's rules too, and
# with a preset of their own. Ends with `N passed, N failed`.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
bin=$root/contracts/node_modules/.bin
dir=$(mktemp -d)
"$root/scripts/steps/forge-scripts.sh"

"$bin/anvil" --port 0 >"$dir/anvil.log" 2>&1 &
anvil=$!
trap 'kill "$anvil" 2>/dev/null; rm -rf "$dir"' EXIT
until grep -q '^Listening on' "$dir/anvil.log"; do
  kill -0 "$anvil" || { cat "$dir/anvil.log" >&2; exit 1; }
  sleep 0.2
done
export ETH_RPC_URL
ETH_RPC_URL=http://$(sed -n 's/^Listening on //p' "$dir/anvil.log" | head -n 1)
# anvil's first account, which everybody knows.
deployer=0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266
key=0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80

cd "$root/contracts"
FOUNDRY_DYNAMIC_TEST_LINKING=false DEPLOYMENT_FILE=$dir/deployment.json POLICY_SIGNER_KEY=0xB0B \
  "$bin/forge" script script/Deploy.s.sol --rpc-url "$ETH_RPC_URL" --private-key "$key" --broadcast --slow

address() { node -p 'const d = JSON.parse(require("fs").readFileSync(process.argv[1], "utf8")); eval("d." + process.argv[2])' "$dir/deployment.json" "$1"; }
verifier=$(address 'verifiers[0].address')
devices=$(address device_registry)
policies=$(address policy_registry)

passed=0
failed=0
expect() { # what, found, wanted
  if [ "${2,,}" = "${3,,}" ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED  $1: $2 and not $3"
  fi
}
call() { "$bin/cast" call "$@"; }
expect "the devices' verifier" "$(call "$devices" 'verifiers()(address[])')" "[$verifier]"
expect "the policies' verifier" "$(call "$policies" 'verifiers()(address[])')" "[$verifier]"
expect "the verifier's registry" "$(call "$verifier" 'deviceRegistry()(address)')" "$devices"
expect "the ledger's registry" "$(call "$(address battery_ledger)" 'deviceRegistry()(address)')" "$devices"
expect "the opener's registry" "$(call "$(address statement_opener)" 'deviceRegistry()(address)')" "$devices"
expect "the first policy" "$(call "$verifier" 'policyAt(uint32)(bytes32)' 0)" "$(call "$policies" 'policyAt(uint32)(bytes32)' 0)"
expect "the number of policies" "$(call "$policies" 'newestVersion()(uint32)')" 1
expect "the epoch's length" "$(call "$verifier" 'epochLenBlocks()(uint256)')" "$(address epoch_len_blocks)"
expect "the ring" "$(call "$verifier" 'ringEpochs()(uint256)')" "$(address ring_epochs)"
expect "the chain" "$("$bin/cast" chain-id)" "$(address chain_id)"
# The roles: on a local chain the deployer's. A group can be created and its ring opened.
"$bin/cast" send --private-key "$key" "$devices" 'createGroup(uint32)' 1 >/dev/null
"$bin/cast" send --private-key "$key" "$verifier" 'openRing(uint32,uint32)' 1 4 >/dev/null
expect "the opened ring" "$(call "$verifier" 'ringOpened(uint32)(uint32)' 1)" 4
expect "the deployer, as guardian" "$(call "$(address access_manager)" 'hasRole(uint64,address)(bool,uint32)' 1 "$deployer" | head -n 1)" true
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
