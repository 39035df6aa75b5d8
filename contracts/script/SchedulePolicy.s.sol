// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { IPolicyRegistry } from "../src/interfaces/IPolicyRegistry.sol";
import { Environment } from "./Environment.sol";
import { PolicyText } from "./PolicyText.sol";
import { console } from "forge-std/console.sol";

/// @notice Signs and schedules a policy; any key may send. Environment: TARIFF (hex), FIRST_EPOCH or LEAD_EPOCHS,
/// VERSION (default newest + 1), and POLICY_SIGNER_KEY or, signed elsewhere, POLICY_SIGNATURE (64 bytes, hex).
contract SchedulePolicy is Environment {
    function run() external returns (uint32 version, uint32 firstEpoch) {
        IPolicyRegistry policies = policyRegistry();
        bytes memory tariff = vm.parseBytes(requiredString("TARIFF"));
        version = uint32(optionalUint("VERSION", uint256(policies.newestVersion()) + 1, type(uint32).max));
        firstEpoch = vm.envExists("FIRST_EPOCH")
            ? uint32(requiredUint("FIRST_EPOCH", type(uint32).max - 1))
            : uint32(policies.currentEpoch() + requiredUint("LEAD_EPOCHS", 1_000_000));

        bytes memory signature = vm.envExists("POLICY_SIGNATURE")
            ? vm.envBytes("POLICY_SIGNATURE")
            : PolicyText.sign(
                uint256(requiredBytes32("POLICY_SIGNER_KEY")), address(policies), version, firstEpoch, tariff
            );
        vm.startBroadcast();
        policies.schedule(version, firstEpoch, tariff, signature);
        vm.stopBroadcast();
        console.log("policy %s in force from epoch %s", uint256(version), uint256(firstEpoch));
    }
}
