// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { IGatewayRegistry } from "../src/interfaces/IGatewayRegistry.sol";
import { Environment } from "./Environment.sol";

/// @notice Registers a gateway. The gateway's own key sends, or an operator. Environment: GATEWAY (address), GATEWAY_GROUPS (numbers
/// separated by commas), BOND_WEI (default: what is missing to the minimum).
contract RegisterGateway is Environment {
    function run() external {
        IGatewayRegistry gateways = gatewayRegistry();
        address gateway = requiredAddress("GATEWAY");
        if (!vm.envExists("GATEWAY_GROUPS")) revert MissingEnvironmentVariable("GATEWAY_GROUPS");
        uint256[] memory numbers = vm.envUint("GATEWAY_GROUPS", ",");
        uint32[] memory groups = new uint32[](numbers.length);
        for (uint256 i; i < numbers.length; ++i) {
            if (numbers[i] > type(uint32).max) {
                revert EnvironmentVariableOutOfRange("GATEWAY_GROUPS", numbers[i], type(uint32).max);
            }
            groups[i] = uint32(numbers[i]);
        }
        (, uint256 held,) = gateways.gateway(gateway);
        uint256 minimum = gateways.minimumBond();
        uint256 bond = optionalUint("BOND_WEI", held < minimum ? minimum - held : 0, type(uint128).max);
        vm.startBroadcast();
        gateways.register{ value: bond }(gateway, groups);
        vm.stopBroadcast();
    }
}
