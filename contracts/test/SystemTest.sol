// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { HeadDigest } from "../reference/HeadDigest.sol";
import { PolicyText } from "../script/PolicyText.sol";
import { Wiring } from "../script/Wiring.sol";
import { BatteryLedger } from "../src/BatteryLedger.sol";
import { ChargingAuthVerifier } from "../src/ChargingAuthVerifier.sol";
import { DeviceRegistry } from "../src/DeviceRegistry.sol";
import { GatewayRegistry } from "../src/GatewayRegistry.sol";
import { PolicyRegistry } from "../src/PolicyRegistry.sol";
import { StatementOpener } from "../src/StatementOpener.sol";
import { IDeviceRegistry } from "../src/interfaces/IDeviceRegistry.sol";
import { BlsSigner } from "./BlsSigner.sol";
import { AccessManager } from "@openzeppelin/contracts/access/manager/AccessManager.sol";
import { Test } from "forge-std/Test.sol";

/// @notice The whole system as the deployment script wires it, one group with piles, and piles that can sign.
abstract contract SystemTest is Test {
    uint256 internal constant EPOCH_LEN = 5;
    uint256 internal constant RING = 32;
    uint32 internal constant MIN_LEAD = 2;
    uint32 internal constant GOVERNANCE_DELAY = 1 hours;
    uint32 internal constant GROUP = 7;
    uint256 internal constant PILES = 8;
    uint256 internal constant POLICY_SIGNER_KEY = 0xB0B;

    address internal immutable GOVERNANCE = makeAddr("governance");
    address internal immutable GUARDIAN = makeAddr("guardian");
    address internal immutable OPERATOR = makeAddr("operator");
    address internal immutable STRANGER = makeAddr("stranger");

    AccessManager internal manager;
    DeviceRegistry internal devices;
    PolicyRegistry internal policies;
    GatewayRegistry internal gateways;
    ChargingAuthVerifier internal verifier;
    BatteryLedger internal ledger;
    StatementOpener internal opener;

    function setUp() public virtual {
        vm.roll(1_003);
        Wiring.System memory system = Wiring.deploy(settings(), address(this));
        manager = system.manager;
        devices = system.devices;
        policies = system.policies;
        gateways = system.gateways;
        verifier = system.verifier;
        ledger = system.ledger;
        opener = system.opener;
        schedule(1, 0, PolicyText.example());
        addGroup(GROUP, PILES);
        toEpoch(devices.currentEpoch() + 1);
    }

    function settings() internal view returns (Wiring.Settings memory) {
        return Wiring.Settings({
            epochLenBlocks: EPOCH_LEN,
            ringEpochs: RING,
            blockhashReach: 256,
            minLeadEpochs: MIN_LEAD,
            governanceDelaySeconds: GOVERNANCE_DELAY,
            gatewayBond: 1 ether,
            withdrawalDelaySeconds: 1 days,
            policySigner: vm.addr(POLICY_SIGNER_KEY),
            governance: GOVERNANCE,
            guardian: GUARDIAN,
            operator: OPERATOR
        });
    }

    /* THE WORLD */

    function toEpoch(uint32 epoch) internal {
        vm.roll(epoch * EPOCH_LEN + 2);
    }

    function schedule(uint32 version, uint32 firstEpoch, bytes memory tariff) internal {
        bytes memory signature = PolicyText.sign(POLICY_SIGNER_KEY, address(policies), version, firstEpoch, tariff);
        policies.schedule(version, firstEpoch, tariff, signature);
    }

    function addGroup(uint32 group, uint256 size) internal {
        vm.prank(OPERATOR);
        devices.createGroup(group);
        addPiles(group, 0, size);
        verifier.openRing(group, uint32(RING));
    }

    function addPiles(uint32 group, uint256 from, uint256 count) internal {
        IDeviceRegistry.Registration[] memory items = new IDeviceRegistry.Registration[](count);
        for (uint256 i; i < count; ++i) {
            items[i] = IDeviceRegistry.Registration(deviceId(group, from + i), vm.addr(keyOf(group, from + i)));
        }
        vm.prank(OPERATOR);
        devices.register(group, items);
    }

    /// @dev Gives piles their BLS keys, from the next epoch on.
    function enrolPiles(uint32 group, uint256 from, uint256 count) internal {
        IDeviceRegistry.Enrolment[] memory items = new IDeviceRegistry.Enrolment[](count);
        for (uint256 i; i < count; ++i) {
            items[i] = enrolment(deviceId(group, from + i), blsSecretOf(group, from + i));
        }
        enrol(group, items);
    }

    function enrol(uint32 group, IDeviceRegistry.Enrolment[] memory items) internal {
        vm.prank(OPERATOR);
        devices.enrol(group, items);
    }

    /// @dev A device's valid enrolment.
    function enrolment(bytes32 id, uint256 secret) internal view returns (IDeviceRegistry.Enrolment memory) {
        return
            IDeviceRegistry.Enrolment(id, BlsSigner.keyOf(secret), BlsSigner.possession(secret, id, address(devices)));
    }

    function rotate(bytes32 id, uint256 newKey) internal {
        vm.prank(OPERATOR);
        devices.rotate(id, vm.addr(newKey));
    }

    function revoke(bytes32 id) internal {
        vm.prank(GUARDIAN);
        devices.revoke(id);
    }

    /// @dev Schedules, waits and executes, as governance must.
    function govern(address target, bytes memory data) internal {
        vm.prank(GOVERNANCE);
        manager.schedule(target, data, 0);
        vm.warp(block.timestamp + GOVERNANCE_DELAY);
        vm.prank(GOVERNANCE);
        manager.execute(target, data);
    }

    /* PILES */

    function deviceId(uint32 group, uint256 pile) internal pure returns (bytes32) {
        return keccak256(abi.encode("device", group, pile));
    }

    function keyOf(uint32 group, uint256 pile) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode("key", group, pile))) >> 8;
    }

    function blsSecretOf(uint32 group, uint256 pile) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode("bls", group, pile))) % BlsSigner.R;
    }

    function headOf(uint256 pile, uint256 n) internal pure returns (bytes32) {
        return keccak256(abi.encode("head", pile, n));
    }

    function signHead(uint256 key, HeadDigest.Head memory head) internal view returns (bytes memory) {
        (bytes32 r, bytes32 vs) = vm.signCompact(key, HeadDigest.digest(block.chainid, address(verifier), head));
        return abi.encodePacked(r, vs);
    }

    function headIn(uint32 group, uint8 index, uint32 epoch, uint8 n, bytes32 head)
        internal
        view
        returns (HeadDigest.Head memory)
    {
        return HeadDigest.Head(group, index, epoch, verifier.challengeOf(epoch), verifier.policyAt(epoch), n, head);
    }

    /// @dev A pile's valid record.
    function recordOf(uint32 group, uint8 index, uint32 epoch, uint8 n) internal view returns (bytes memory) {
        return recordBy(keyOf(group, index), group, index, epoch, n);
    }

    function recordBy(uint256 key, uint32 group, uint8 index, uint32 epoch, uint8 n)
        internal
        view
        returns (bytes memory)
    {
        bytes32 head = headOf(index, n);
        return abi.encodePacked(index, n, head, signHead(key, headIn(group, index, epoch, n, head)));
    }

    function position(uint32 epoch, uint8 index, uint8 n) internal pure returns (uint256) {
        return (uint256(epoch) << 16) | (uint256(index) << 8) | n;
    }

    function current() internal view returns (uint32) {
        return verifier.currentEpoch();
    }
}
