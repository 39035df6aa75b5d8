// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { BatteryLedger } from "../src/BatteryLedger.sol";
import { ChargingAuthVerifier } from "../src/ChargingAuthVerifier.sol";
import { DeviceRegistry } from "../src/DeviceRegistry.sol";
import { GatewayRegistry } from "../src/GatewayRegistry.sol";
import { PolicyRegistry } from "../src/PolicyRegistry.sol";
import { StatementOpener } from "../src/StatementOpener.sol";
import { IChargingAuthVerifier } from "../src/interfaces/IChargingAuthVerifier.sol";
import { IDeviceRegistry } from "../src/interfaces/IDeviceRegistry.sol";
import { IPolicyRegistry } from "../src/interfaces/IPolicyRegistry.sol";
import { AccessManager } from "@openzeppelin/contracts/access/manager/AccessManager.sol";

/// @notice How the system is made and who may do what; the deployment script and the tests use the same.
/// Governance is the manager's admin role and holds every restricted function not named here, each after its delay.
library Wiring {
    /// @notice May pause and revoke, at once, and nothing else.
    uint64 internal constant GUARDIAN_ROLE = 1;
    /// @notice May create groups, register, enrol and rotate devices, and register gateways for others.
    uint64 internal constant OPERATOR_ROLE = 2;

    struct Settings {
        uint256 epochLenBlocks;
        uint256 ringEpochs;
        uint256 blockhashReach;
        uint256 minLeadEpochs;
        uint256 governanceDelaySeconds;
        uint256 gatewayBond;
        uint256 withdrawalDelaySeconds;
        address policySigner;
        address governance;
        address guardian;
        address operator;
    }

    struct System {
        AccessManager manager;
        DeviceRegistry devices;
        PolicyRegistry policies;
        GatewayRegistry gateways;
        ChargingAuthVerifier verifier;
        BatteryLedger ledger;
        StatementOpener opener;
    }

    /// @notice Deploys every contract; `deployer` makes the calls and is the manager's first admin.
    function deploy(Settings memory settings, address deployer) internal returns (System memory system) {
        system.manager = new AccessManager(deployer);
        address authority = address(system.manager);
        system.devices = new DeviceRegistry(authority, settings.epochLenBlocks);
        system.policies = new PolicyRegistry(
            authority, settings.epochLenBlocks, uint32(settings.minLeadEpochs), settings.policySigner
        );
        system.gateways = new GatewayRegistry(authority, settings.gatewayBond, uint64(settings.withdrawalDelaySeconds));
        system.verifier = new ChargingAuthVerifier(
            authority,
            IDeviceRegistry(address(system.devices)),
            IPolicyRegistry(address(system.policies)),
            settings.epochLenBlocks,
            settings.ringEpochs,
            settings.blockhashReach
        );
        system.ledger = new BatteryLedger(authority, IDeviceRegistry(address(system.devices)));
        system.opener = new StatementOpener(IDeviceRegistry(address(system.devices)));
        // One transaction: attaches the verifier, hands out the roles, and takes the deployer's own away.
        system.manager.multicall(calls(system, settings, deployer));
    }

    /// @notice The manager's calls that finish a deployment.
    function calls(System memory system, Settings memory settings, address deployer)
        internal
        pure
        returns (bytes[] memory list)
    {
        bool keepsAdmin = deployer == settings.governance;
        list = new bytes[](keepsAdmin ? 12 : 13);
        uint256 i;
        list[i++] = _execute(address(system.devices), abi.encodeCall(IDeviceRegistry.attach, (system.verifier)));
        list[i++] = _execute(address(system.policies), abi.encodeCall(IPolicyRegistry.attach, (system.verifier)));

        bytes4[] memory guardianOfDevices = new bytes4[](2);
        guardianOfDevices[0] = IDeviceRegistry.revoke.selector;
        guardianOfDevices[1] = IDeviceRegistry.pause.selector;
        list[i++] = _functions(address(system.devices), guardianOfDevices, GUARDIAN_ROLE);
        list[i++] = _functions(address(system.policies), _one(IPolicyRegistry.pause.selector), GUARDIAN_ROLE);
        list[i++] = _functions(address(system.verifier), _one(IChargingAuthVerifier.pause.selector), GUARDIAN_ROLE);
        list[i++] = _functions(address(system.ledger), _one(BatteryLedger.pause.selector), GUARDIAN_ROLE);

        bytes4[] memory operatorOfDevices = new bytes4[](4);
        operatorOfDevices[0] = IDeviceRegistry.createGroup.selector;
        operatorOfDevices[1] = IDeviceRegistry.register.selector;
        operatorOfDevices[2] = IDeviceRegistry.rotate.selector;
        operatorOfDevices[3] = IDeviceRegistry.enrol.selector;
        list[i++] = _functions(address(system.devices), operatorOfDevices, OPERATOR_ROLE);
        list[i++] = _functions(address(system.gateways), _one(GatewayRegistry.register.selector), OPERATOR_ROLE);

        list[i++] = abi.encodeCall(AccessManager.labelRole, (GUARDIAN_ROLE, "guardian"));
        list[i++] = abi.encodeCall(AccessManager.grantRole, (GUARDIAN_ROLE, settings.guardian, 0));
        list[i++] = abi.encodeCall(AccessManager.grantRole, (OPERATOR_ROLE, settings.operator, 0));
        // Last, because from here on the admin's calls wait for the delay.
        list[i++] =
            abi.encodeCall(AccessManager.grantRole, (0, settings.governance, uint32(settings.governanceDelaySeconds)));
        if (!keepsAdmin) list[i++] = abi.encodeCall(AccessManager.renounceRole, (0, deployer));
    }

    function _execute(address target, bytes memory data) private pure returns (bytes memory) {
        return abi.encodeCall(AccessManager.execute, (target, data));
    }

    function _functions(address target, bytes4[] memory selectors, uint64 role) private pure returns (bytes memory) {
        return abi.encodeCall(AccessManager.setTargetFunctionRole, (target, selectors, role));
    }

    function _one(bytes4 selector) private pure returns (bytes4[] memory selectors) {
        selectors = new bytes4[](1);
        selectors[0] = selector;
    }
}
