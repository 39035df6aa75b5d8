// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { IChargingAuthVerifier } from "../src/interfaces/IChargingAuthVerifier.sol";
import { IDeviceRegistry } from "../src/interfaces/IDeviceRegistry.sol";
import { IGatewayRegistry } from "../src/interfaces/IGatewayRegistry.sol";
import { IPolicyRegistry } from "../src/interfaces/IPolicyRegistry.sol";
import { Script } from "forge-std/Script.sol";

/// @notice What every script reads from its environment and from the deployment file.
abstract contract Environment is Script {
    /// @notice Set this variable.
    error MissingEnvironmentVariable(string name);
    /// @notice The variable's value is outside its limits.
    error EnvironmentVariableOutOfRange(string name, uint256 value, uint256 limit);
    /// @notice No deployment file; deploy first, or set DEPLOYMENT_FILE.
    error MissingDeploymentFile(string path);
    /// @notice The deployment file is of another chain.
    error DeploymentOfAnotherChain(string path, uint256 fileChainId, uint256 chainId);

    /// @notice DEPLOYMENT_FILE, else deployments/<chainId>.json.
    function deploymentPath() internal view returns (string memory) {
        return vm.envOr("DEPLOYMENT_FILE", string.concat("deployments/", vm.toString(block.chainid), ".json"));
    }

    function deviceRegistry() internal view returns (IDeviceRegistry) {
        return IDeviceRegistry(_deployed(".device_registry"));
    }

    function policyRegistry() internal view returns (IPolicyRegistry) {
        return IPolicyRegistry(_deployed(".policy_registry"));
    }

    function gatewayRegistry() internal view returns (IGatewayRegistry) {
        return IGatewayRegistry(_deployed(".gateway_registry"));
    }

    /// @notice The verifier new sessions use: the last of the file.
    function newestVerifier() internal view returns (IChargingAuthVerifier) {
        IChargingAuthVerifier[] memory attached = deviceRegistry().verifiers();
        return attached[attached.length - 1];
    }

    function requiredAddress(string memory name) internal view returns (address) {
        if (!vm.envExists(name)) revert MissingEnvironmentVariable(name);
        return vm.envAddress(name);
    }

    function requiredUint(string memory name, uint256 limit) internal view returns (uint256 value) {
        if (!vm.envExists(name)) revert MissingEnvironmentVariable(name);
        value = vm.envUint(name);
        if (value > limit) revert EnvironmentVariableOutOfRange(name, value, limit);
    }

    function requiredBytes32(string memory name) internal view returns (bytes32) {
        if (!vm.envExists(name)) revert MissingEnvironmentVariable(name);
        return vm.envBytes32(name);
    }

    function requiredString(string memory name) internal view returns (string memory) {
        if (!vm.envExists(name)) revert MissingEnvironmentVariable(name);
        return vm.envString(name);
    }

    function optionalUint(string memory name, uint256 otherwise, uint256 limit) internal view returns (uint256 value) {
        value = vm.envOr(name, otherwise);
        if (value > limit) revert EnvironmentVariableOutOfRange(name, value, limit);
    }

    function _deployed(string memory key) private view returns (address) {
        string memory path = deploymentPath();
        if (!vm.exists(path)) revert MissingDeploymentFile(path);
        string memory json = vm.readFile(path);
        uint256 chainId = vm.parseJsonUint(json, ".chain_id");
        if (chainId != block.chainid) revert DeploymentOfAnotherChain(path, chainId, block.chainid);
        return vm.parseJsonAddress(json, key);
    }
}
