// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { ChargingAuthVerifier } from "../src/ChargingAuthVerifier.sol";
import { DeviceRegistry } from "../src/DeviceRegistry.sol";
import { IChargingAuthVerifier } from "../src/interfaces/IChargingAuthVerifier.sol";
import { IDeviceRegistry } from "../src/interfaces/IDeviceRegistry.sol";
import { SystemTest } from "./SystemTest.sol";

contract DeviceRegistryTest is SystemTest {
    function expectRevert(bytes memory data) private {
        vm.expectRevert(data);
        vm.prank(OPERATOR);
    }

    function one(bytes32 id, address key) private pure returns (IDeviceRegistry.Registration[] memory items) {
        items = new IDeviceRegistry.Registration[](1);
        items[0] = IDeviceRegistry.Registration(id, key);
    }

    function newVerifier() private returns (ChargingAuthVerifier) {
        return new ChargingAuthVerifier(address(manager), devices, policies, EPOCH_LEN, RING, 256);
    }

    function test_a_registered_device_is_known_with_its_key_from_the_next_epoch() public {
        bytes32 id = keccak256("new");
        vm.expectEmit(address(devices));
        emit IDeviceRegistry.DeviceRegistered(id, GROUP, uint8(PILES), address(0xABC), current() + 1);
        vm.prank(OPERATOR);
        devices.register(GROUP, one(id, address(0xABC)));
        (uint32 group, uint8 index, uint8 status, address key, uint32 from, uint32 until) = devices.device(id);
        assertEq(group, GROUP);
        assertEq(index, PILES);
        assertEq(status, 1);
        assertEq(key, address(0xABC));
        assertEq(from, current() + 1);
        assertEq(until, type(uint32).max);
        assertEq(devices.groupSize(GROUP), PILES + 1);
    }

    function test_an_unknown_device_is_zeros() public view {
        (uint32 group, uint8 index, uint8 status, address key, uint32 from, uint32 until) = devices.device("nobody");
        assertEq(uint256(group) + index + status + uint160(key) + from + until, 0);
        assertFalse(devices.holdsIndex("nobody", 0, 0));
    }

    function test_registrations_that_make_no_sense_are_refused() public {
        expectRevert(abi.encodeWithSelector(IDeviceRegistry.GroupExists.selector, GROUP));
        devices.createGroup(GROUP);
        expectRevert(abi.encodeWithSelector(IDeviceRegistry.UnknownGroup.selector, 99));
        devices.register(99, one("x", address(1)));
        expectRevert(abi.encodeWithSelector(IDeviceRegistry.NothingToRegister.selector));
        devices.register(GROUP, new IDeviceRegistry.Registration[](0));
        expectRevert(abi.encodeWithSelector(IDeviceRegistry.ZeroDevice.selector, bytes32(0), address(1)));
        devices.register(GROUP, one(0, address(1)));
        expectRevert(abi.encodeWithSelector(IDeviceRegistry.ZeroDevice.selector, bytes32("x"), address(0)));
        devices.register(GROUP, one("x", address(0)));
        expectRevert(abi.encodeWithSelector(IDeviceRegistry.DeviceExists.selector, deviceId(GROUP, 0)));
        devices.register(GROUP, one(deviceId(GROUP, 0), address(1)));
    }

    function test_a_group_holds_224_indices_and_no_more() public {
        addPiles(GROUP, PILES, 224 - PILES);
        assertEq(devices.groupSize(GROUP), 224);
        expectRevert(abi.encodeWithSelector(IDeviceRegistry.GroupFull.selector, GROUP, 225, 224));
        devices.register(GROUP, one("one too many", address(1)));
        expectRevert(abi.encodeWithSelector(IDeviceRegistry.GroupFull.selector, GROUP, 225, 224));
        devices.rotate(deviceId(GROUP, 0), address(1));
        toEpoch(current() + 1);
        assertEq(verifier.record(GROUP, current(), recordOf(GROUP, 223, current(), 1)), 1, "the last index records");
    }

    function test_rotation_ends_the_old_key_with_this_epoch_and_keeps_its_index() public {
        bytes32 id = deviceId(GROUP, 0);
        vm.expectEmit(address(devices));
        emit IDeviceRegistry.DeviceRotated(id, GROUP, 0, uint8(PILES), address(0xABC), current() + 1);
        vm.prank(OPERATOR);
        devices.rotate(id, address(0xABC));
        (, uint8 index,, address key, uint32 from,) = devices.device(id);
        assertEq(index, PILES);
        assertEq(key, address(0xABC));
        assertEq(from, current() + 1);
        assertTrue(devices.holdsIndex(id, GROUP, 0));
        assertTrue(devices.holdsIndex(id, GROUP, uint8(PILES)));
        assertFalse(devices.holdsIndex(id, GROUP, 1));
        assertFalse(devices.holdsIndex(id, GROUP + 1, 0));
    }

    function test_rotations_that_make_no_sense_are_refused() public {
        bytes32 id = deviceId(GROUP, 0);
        expectRevert(abi.encodeWithSelector(IDeviceRegistry.UnknownDevice.selector, bytes32("x")));
        devices.rotate("x", address(1));
        expectRevert(abi.encodeWithSelector(IDeviceRegistry.ZeroDevice.selector, id, address(0)));
        devices.rotate(id, address(0));
        address key = vm.addr(keyOf(GROUP, 0));
        expectRevert(abi.encodeWithSelector(IDeviceRegistry.SameKey.selector, id, key));
        devices.rotate(id, key);
        revoke(id);
        expectRevert(abi.encodeWithSelector(IDeviceRegistry.DeviceIsRevoked.selector, id));
        devices.rotate(id, address(1));
    }

    function test_a_device_has_at_most_26_indices() public {
        bytes32 id = deviceId(GROUP, 0);
        for (uint256 i; i < 25; ++i) {
            rotate(id, 0xC0FFEE + i);
        }
        assertTrue(devices.holdsIndex(id, GROUP, 0), "the first is still its own");
        expectRevert(abi.encodeWithSelector(IDeviceRegistry.RotationsExhausted.selector, id, 26));
        devices.rotate(id, address(1));
        revoke(id);
        uint256 word = devices.groupWord(GROUP);
        assertEq(uint224(word), 1 | (((1 << 25) - 1) << PILES), "every index it ever had is revoked");
    }

    function test_revocation_reaches_the_verifier_at_once_and_is_for_good() public {
        bytes32 id = deviceId(GROUP, 3);
        vm.expectEmit(address(devices));
        emit IDeviceRegistry.DeviceRevoked(id, GROUP, 3);
        revoke(id);
        (,, uint8 status,,,) = devices.device(id);
        assertEq(status, 2);
        assertEq(uint224(verifier.groupWord(GROUP)), 1 << 3);
        vm.expectRevert(abi.encodeWithSelector(IDeviceRegistry.DeviceIsRevoked.selector, id));
        vm.prank(GUARDIAN);
        devices.revoke(id);
        expectRevert(abi.encodeWithSelector(IDeviceRegistry.DeviceExists.selector, id));
        devices.register(GROUP, one(id, address(1)));
    }

    function test_a_verifier_attached_later_learns_of_groups_by_sync() public {
        ChargingAuthVerifier second = newVerifier();
        revoke(deviceId(GROUP, 1));
        govern(address(devices), abi.encodeCall(devices.attach, (second)));
        assertEq(second.groupWord(GROUP), 0);
        vm.prank(STRANGER);
        devices.sync(GROUP);
        assertEq(second.groupWord(GROUP), devices.groupWord(GROUP));
        revoke(deviceId(GROUP, 2));
        assertEq(second.groupWord(GROUP), devices.groupWord(GROUP));
        assertEq(verifier.groupWord(GROUP), devices.groupWord(GROUP));
        vm.expectRevert(abi.encodeWithSelector(IDeviceRegistry.UnknownGroup.selector, 99));
        devices.sync(99);
    }

    function test_at_most_four_verifiers_of_this_registry_are_attached() public {
        ChargingAuthVerifier[4] memory more = [newVerifier(), newVerifier(), newVerifier(), newVerifier()];
        for (uint256 i; i < 3; ++i) {
            govern(address(devices), abi.encodeCall(devices.attach, (more[i])));
        }
        bytes memory attach = abi.encodeCall(devices.attach, (more[3]));
        governExpecting(abi.encodeWithSelector(IDeviceRegistry.TooManyVerifiers.selector, 4), attach);
        govern(address(devices), abi.encodeCall(devices.detach, (IChargingAuthVerifier(address(verifier)))));
        IChargingAuthVerifier[] memory left = devices.verifiers();
        assertEq(left.length, 3);
        assertEq(address(left[0]), address(more[0]));
        assertEq(address(left[2]), address(more[2]));
        bytes memory again = abi.encodeCall(devices.attach, (more[0]));
        governExpecting(abi.encodeWithSelector(IDeviceRegistry.VerifierIsAttached.selector, more[0]), again);
        bytes memory detach = abi.encodeCall(devices.detach, (more[3]));
        governExpecting(abi.encodeWithSelector(IDeviceRegistry.UnknownVerifier.selector, more[3]), detach);
        DeviceRegistry other = new DeviceRegistry(address(manager), EPOCH_LEN);
        ChargingAuthVerifier foreign = new ChargingAuthVerifier(address(manager), other, policies, EPOCH_LEN, RING, 256);
        bytes memory strange = abi.encodeCall(devices.attach, (foreign));
        governExpecting(abi.encodeWithSelector(IDeviceRegistry.ForeignVerifier.selector, foreign), strange);
    }

    function governExpecting(bytes memory refusal, bytes memory data) private {
        vm.prank(GOVERNANCE);
        manager.schedule(address(devices), data, 0);
        vm.warp(block.timestamp + GOVERNANCE_DELAY);
        vm.expectRevert(refusal);
        vm.prank(GOVERNANCE);
        manager.execute(address(devices), data);
    }
}
