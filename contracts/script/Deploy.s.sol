// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { Environment } from "./Environment.sol";
import { PolicyText } from "./PolicyText.sol";
import { Wiring } from "./Wiring.sol";
import { console } from "forge-std/console.sol";

/// @notice Deploys the whole system and writes the deployment file. contracts/README.md lists the environment.
contract Deploy is Environment {
    uint256 private constant DEVNET = 1235;
    uint256 private constant TESTNET = 71;
    uint256 private constant MAINNET = 1030;
    uint256 private constant ANVIL = 31337;

    /// @notice Set EPOCH_LEN_BLOCKS, RING_EPOCHS, MIN_LEAD_EPOCHS, GOVERNANCE_DELAY_S and BLOCKHASH_REACH for a chain without preset.
    error NoPresetForChain(uint256 chainId);

    function run() external returns (Wiring.System memory system) {
        uint256 startBlock = block.number;
        Wiring.Settings memory settings = _settings(msg.sender);

        vm.startBroadcast();
        system = Wiring.deploy(settings, msg.sender);
        if (vm.envExists("POLICY_SIGNER_KEY")) {
            // Version 1 from epoch 0: before it nothing can be recorded.
            bytes memory tariff = vm.envOr("TARIFF", PolicyText.example());
            bytes memory signature =
                PolicyText.sign(vm.envUint("POLICY_SIGNER_KEY"), address(system.policies), 1, 0, tariff);
            system.policies.schedule(1, 0, tariff, signature);
        }
        vm.stopBroadcast();

        _writeDeployment(system, settings, startBlock);
    }

    function _settings(address deployer) private view returns (Wiring.Settings memory s) {
        _preset(s);
        s.epochLenBlocks = optionalUint("EPOCH_LEN_BLOCKS", s.epochLenBlocks, 65_535);
        s.ringEpochs = optionalUint("RING_EPOCHS", s.ringEpochs, 65_536);
        s.blockhashReach = optionalUint("BLOCKHASH_REACH", s.blockhashReach, 65_535);
        s.minLeadEpochs = optionalUint("MIN_LEAD_EPOCHS", s.minLeadEpochs, 65_535);
        s.governanceDelaySeconds = optionalUint("GOVERNANCE_DELAY_S", s.governanceDelaySeconds, 30 days);
        s.gatewayBond = optionalUint("GATEWAY_BOND_WEI", s.gatewayBond, type(uint128).max);
        s.withdrawalDelaySeconds = optionalUint("WITHDRAWAL_DELAY_S", s.withdrawalDelaySeconds, 365 days);
        if (s.epochLenBlocks == 0 || s.ringEpochs == 0 || s.blockhashReach == 0) {
            revert NoPresetForChain(block.chainid);
        }

        bool local = block.chainid == DEVNET || block.chainid == ANVIL;
        s.governance = _actor("GOVERNANCE", local, deployer);
        s.guardian = _actor("GUARDIAN", local, deployer);
        s.operator = _actor("OPERATOR", local, deployer);
        if (vm.envExists("POLICY_SIGNER") || !vm.envExists("POLICY_SIGNER_KEY")) {
            s.policySigner = requiredAddress("POLICY_SIGNER");
        } else {
            s.policySigner = vm.addr(vm.envUint("POLICY_SIGNER_KEY"));
        }
    }

    /// @dev (ring + 1) × epoch length stays within BLOCKHASH's reach; eSpace has about a block (native epoch) every 1.25 s.
    function _preset(Wiring.Settings memory s) private view {
        if (block.chainid == MAINNET || block.chainid == TESTNET) {
            bool mainnet = block.chainid == MAINNET;
            (s.epochLenBlocks, s.ringEpochs, s.blockhashReach) = (60, 1_091, 65_535);
            s.minLeadEpochs = 20;
            s.governanceDelaySeconds = mainnet ? 48 hours : 10 minutes;
            s.gatewayBond = mainnet ? 1_000 ether : 1 ether;
            s.withdrawalDelaySeconds = mainnet ? 14 days : 1 hours;
        } else if (block.chainid == DEVNET) {
            (s.epochLenBlocks, s.ringEpochs, s.blockhashReach) = (20, 32, 65_535);
            s.minLeadEpochs = 2;
            s.gatewayBond = 1 ether;
            s.withdrawalDelaySeconds = 5;
        } else if (block.chainid == ANVIL) {
            (s.epochLenBlocks, s.ringEpochs, s.blockhashReach) = (5, 32, 256);
            s.minLeadEpochs = 2;
            s.gatewayBond = 1 ether;
            s.withdrawalDelaySeconds = 5;
        }
    }

    function _actor(string memory name, bool local, address deployer) private view returns (address) {
        return local ? vm.envOr(name, deployer) : requiredAddress(name);
    }

    function _writeDeployment(Wiring.System memory system, Wiring.Settings memory s, uint256 startBlock) private {
        string memory head = string.concat(
            '{\n  "chain_id": ',
            vm.toString(block.chainid),
            ',\n  "start_block": ',
            vm.toString(startBlock),
            ',\n  "epoch_len_blocks": ',
            vm.toString(s.epochLenBlocks),
            ',\n  "ring_epochs": ',
            vm.toString(s.ringEpochs)
        );
        string memory registries = string.concat(
            _field("access_manager", address(system.manager)),
            _field("device_registry", address(system.devices)),
            _field("gateway_registry", address(system.gateways)),
            _field("policy_registry", address(system.policies)),
            _field("battery_ledger", address(system.ledger)),
            _field("statement_opener", address(system.opener)),
            _field("policy_signer", s.policySigner)
        );
        string memory path = deploymentPath();
        vm.writeFile(
            path,
            string.concat(
                head,
                registries,
                ',\n  "verifiers": [ { "address": "',
                vm.toString(address(system.verifier)),
                '", "label": "v1" } ]\n}\n'
            )
        );
        console.log("deployment file:", path);
    }

    function _field(string memory name, address value) private pure returns (string memory) {
        return string.concat(',\n  "', name, '": "', vm.toString(value), '"');
    }
}
