// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { PolicyText } from "../script/PolicyText.sol";
import { Wiring } from "../script/Wiring.sol";
import { IBatteryLedger } from "../src/interfaces/IBatteryLedger.sol";
import { IChargingAuthVerifier } from "../src/interfaces/IChargingAuthVerifier.sol";
import { IDeviceRegistry } from "../src/interfaces/IDeviceRegistry.sol";
import { IPolicyRegistry } from "../src/interfaces/IPolicyRegistry.sol";
import { SystemTest } from "./SystemTest.sol";
import { IAccessManaged } from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";
import { IAccessManager } from "@openzeppelin/contracts/access/manager/IAccessManager.sol";
import { Pausable } from "@openzeppelin/contracts/utils/Pausable.sol";

contract GovernanceTest is SystemTest {
    struct Restricted {
        address target;
        bytes data;
        uint64 role;
    }

    function restrictedCalls() private view returns (Restricted[] memory calls) {
        calls = new Restricted[](17);
        IDeviceRegistry.Registration[] memory items = new IDeviceRegistry.Registration[](1);
        items[0] = IDeviceRegistry.Registration("someone", address(1));
        uint256 i;
        bytes32 id = deviceId(GROUP, 0);
        calls[i++] = Restricted(address(devices), abi.encodeCall(devices.revoke, (id)), Wiring.GUARDIAN_ROLE);
        calls[i++] = Restricted(address(devices), abi.encodeCall(devices.pause, ()), Wiring.GUARDIAN_ROLE);
        calls[i++] = Restricted(address(policies), abi.encodeCall(policies.pause, ()), Wiring.GUARDIAN_ROLE);
        calls[i++] = Restricted(address(verifier), abi.encodeCall(verifier.pause, ()), Wiring.GUARDIAN_ROLE);
        calls[i++] = Restricted(address(ledger), abi.encodeCall(ledger.pause, ()), Wiring.GUARDIAN_ROLE);
        calls[i++] = Restricted(address(devices), abi.encodeCall(devices.createGroup, (50)), Wiring.OPERATOR_ROLE);
        calls[i++] =
            Restricted(address(devices), abi.encodeCall(devices.register, (GROUP, items)), Wiring.OPERATOR_ROLE);
        calls[i++] =
            Restricted(address(devices), abi.encodeCall(devices.rotate, (id, address(1))), Wiring.OPERATOR_ROLE);
        IDeviceRegistry.Enrolment[] memory enrolments = new IDeviceRegistry.Enrolment[](1);
        enrolments[0] = enrolment(id, 5);
        calls[i++] =
            Restricted(address(devices), abi.encodeCall(devices.enrol, (GROUP, enrolments)), Wiring.OPERATOR_ROLE);
        calls[i++] = Restricted(address(devices), abi.encodeCall(devices.unpause, ()), 0);
        calls[i++] = Restricted(address(devices), abi.encodeCall(devices.attach, (verifier)), 0);
        calls[i++] = Restricted(address(devices), abi.encodeCall(devices.detach, (verifier)), 0);
        calls[i++] = Restricted(address(policies), abi.encodeCall(policies.unpause, ()), 0);
        calls[i++] = Restricted(address(policies), abi.encodeCall(policies.attach, (verifier)), 0);
        calls[i++] = Restricted(address(policies), abi.encodeCall(policies.setPolicySigner, (address(1))), 0);
        calls[i++] = Restricted(address(verifier), abi.encodeCall(verifier.unpause, ()), 0);
        calls[i++] = Restricted(address(ledger), abi.encodeCall(ledger.unpause, ()), 0);
        assertEq(i, calls.length);
    }

    function test_each_restricted_function_answers_to_its_role_alone() public {
        Restricted[] memory calls = restrictedCalls();
        address[5] memory callers = [STRANGER, GUARDIAN, OPERATOR, GOVERNANCE, address(this)];
        for (uint256 i; i < calls.length; ++i) {
            for (uint256 j; j < callers.length; ++j) {
                bool allowed = (callers[j] == GUARDIAN && calls[i].role == Wiring.GUARDIAN_ROLE)
                    || (callers[j] == OPERATOR && calls[i].role == Wiring.OPERATOR_ROLE);
                uint256 before = vm.snapshotState();
                vm.prank(callers[j]);
                (bool ok, bytes memory answer) = calls[i].target.call(calls[i].data);
                assertEq(ok, allowed, string.concat("call ", vm.toString(i), ", caller ", vm.toString(j)));
                if (!ok) {
                    // Governance may, but only what it scheduled before.
                    bytes4 expected = callers[j] == GOVERNANCE && calls[i].role == 0
                        ? IAccessManager.AccessManagerNotScheduled.selector
                        : IAccessManaged.AccessManagedUnauthorized.selector;
                    assertEq(bytes4(answer), expected);
                }
                vm.revertToState(before);
            }
        }
    }

    function test_governance_waits_for_its_delay() public {
        vm.prank(GUARDIAN);
        verifier.pause();
        bytes memory data = abi.encodeCall(verifier.unpause, ());
        vm.startPrank(GOVERNANCE);
        manager.schedule(address(verifier), data, 0);
        vm.warp(block.timestamp + GOVERNANCE_DELAY - 1);
        vm.expectPartialRevert(IAccessManager.AccessManagerNotReady.selector);
        manager.execute(address(verifier), data);
        vm.warp(block.timestamp + 1);
        manager.execute(address(verifier), data);
        assertFalse(verifier.paused());
    }

    function test_the_guardian_can_change_no_role() public {
        vm.startPrank(GUARDIAN);
        vm.expectPartialRevert(IAccessManager.AccessManagerUnauthorizedAccount.selector);
        manager.grantRole(0, GUARDIAN, 0);
        vm.expectPartialRevert(IAccessManager.AccessManagerUnauthorizedAccount.selector);
        manager.setTargetClosed(address(verifier), true);
    }

    function test_the_deployer_keeps_nothing() public {
        (bool admin,) = manager.hasRole(0, address(this));
        assertFalse(admin);
        vm.expectPartialRevert(IAccessManager.AccessManagerUnauthorizedAccount.selector);
        manager.grantRole(0, address(this), 0);
    }

    function test_a_pause_stops_recording_and_never_revocation() public {
        uint32 epoch = current();
        bytes memory records = recordOf(GROUP, 0, epoch, 1);
        bytes memory batch = abi.encodePacked(GROUP, uint8(1), records);
        vm.startPrank(GUARDIAN);
        verifier.pause();
        devices.pause();
        policies.pause();
        ledger.pause();
        vm.stopPrank();
        bytes memory paused = abi.encodeWithSelector(IChargingAuthVerifier.RecordingPaused.selector);
        vm.expectRevert(paused);
        verifier.record(GROUP, epoch, records);
        vm.expectRevert(paused);
        verifier.recordMany(epoch, batch);
        vm.expectRevert(paused);
        verifier.extend(GROUP, epoch, records);
        vm.expectRevert(Pausable.EnforcedPause.selector);
        ledger.advance(new IBatteryLedger.Advance[](0));
        vm.expectRevert(Pausable.EnforcedPause.selector);
        policies.schedule(2, epoch + MIN_LEAD, "", "");
        vm.expectRevert(Pausable.EnforcedPause.selector);
        vm.prank(OPERATOR);
        devices.createGroup(50);

        revoke(deviceId(GROUP, 0));
        assertEq(uint224(verifier.groupWord(GROUP)), 1, "the verifier knows");
        vm.prank(STRANGER);
        devices.sync(GROUP);

        govern(address(verifier), abi.encodeCall(verifier.unpause, ()));
        assertEq(verifier.policyAt(epoch), policies.policyAt(epoch), "the pause changed no policy");
        assertEq(verifier.record(GROUP, epoch, recordOf(GROUP, 1, epoch, 1)), 1);
        assertEq(verifier.record(GROUP, epoch, records), 0, "still revoked");
    }

    function test_a_policy_pushed_during_a_pause_does_not_end_it() public {
        vm.prank(GUARDIAN);
        verifier.pause();
        schedule(2, current() + MIN_LEAD, PolicyText.example());
        assertTrue(verifier.paused());
        assertEq(verifier.policyAt(current() + MIN_LEAD), policies.policyAt(current() + MIN_LEAD));
    }

    function test_recording_extending_and_advancing_need_no_role() public {
        uint32 epoch = current();
        vm.startPrank(STRANGER);
        assertEq(verifier.record(GROUP, epoch, recordOf(GROUP, 0, epoch, 1)), 1);
        assertEq(verifier.extend(GROUP, epoch, recordOf(GROUP, 0, epoch, 2)), 1);
        assertEq(ledger.advance(new IBatteryLedger.Advance[](0)), 0);
        assertEq(verifier.openRing(GROUP, 1), RING);
        IPolicyRegistry(address(policies)).sync(1);
    }
}
