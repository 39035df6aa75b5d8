// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { Environment } from "./Environment.sol";

/// @notice Revokes a device at once. The guardian's key sends. Environment: DEVICE_ID (32 bytes, hex).
contract RevokeDevice is Environment {
    function run() external {
        bytes32 deviceId = requiredBytes32("DEVICE_ID");
        vm.startBroadcast();
        deviceRegistry().revoke(deviceId);
        vm.stopBroadcast();
    }
}
