// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { HeadDigest } from "../reference/HeadDigest.sol";
import { PolicyText } from "../script/PolicyText.sol";
import { ChargingAuthVerifier } from "../src/ChargingAuthVerifier.sol";
import { PolicyRegistry } from "../src/PolicyRegistry.sol";
import { IChargingAuthVerifier } from "../src/interfaces/IChargingAuthVerifier.sol";
import { IDeviceRegistry } from "../src/interfaces/IDeviceRegistry.sol";
import { IPolicyRegistry } from "../src/interfaces/IPolicyRegistry.sol";
import { SystemTest } from "./SystemTest.sol";
import { IAccessManaged } from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";
import { Pausable } from "@openzeppelin/contracts/utils/Pausable.sol";

/// @notice The last value that is taken and the first that is refused, where the tests of a contract's purpose do not go;
/// most were written for a bug of mutations/ that survived.
contract BoundariesTest is SystemTest {
    uint256 private constant S_MAX = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;
    /// @dev The x of the generator: with it any s recovers some address.
    bytes32 private constant R = 0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798;

    /* VERIFYHEAD AND EXTEND */

    function _verifies(uint256 key, uint8 index, uint32 epoch, uint8 n) private view returns (bool) {
        bytes32 head = headOf(index, n);
        return verifier.verifyHead(GROUP, index, epoch, n, head, signHead(key, headIn(GROUP, index, epoch, n, head)));
    }

    function test_verifyHead_holds_to_the_window() public {
        uint32 epoch = current();
        toEpoch(epoch + uint32(RING) - 1);
        assertTrue(_verifies(keyOf(GROUP, 0), 0, epoch, 1));
        toEpoch(epoch + uint32(RING));
        assertFalse(_verifies(keyOf(GROUP, 0), 0, epoch, 1));
    }

    function test_verifyHead_needs_a_challenge() public {
        uint32 epoch = current() + 1;
        vm.roll(epoch * EPOCH_LEN);
        assertEq(verifier.challengeOf(epoch), 0);
        assertFalse(_verifies(keyOf(GROUP, 0), 0, epoch, 1));
        vm.roll(epoch * EPOCH_LEN + 1);
        assertTrue(_verifies(keyOf(GROUP, 0), 0, epoch, 1));
    }

    function test_verifyHead_needs_a_policy() public {
        uint256 word = verifier.groupWord(GROUP);
        verifier = new ChargingAuthVerifier(address(manager), devices, policies, EPOCH_LEN, RING, 256);
        vm.prank(address(devices));
        verifier.pushGroup(GROUP, word);
        assertEq(verifier.policyAt(current()), 0);
        assertFalse(_verifies(keyOf(GROUP, 0), 0, current(), 1));
    }

    function test_verifyHead_holds_to_the_epochs_of_a_key() public {
        addPiles(GROUP, PILES, 1);
        uint32 epoch = current();
        assertFalse(_verifies(keyOf(GROUP, PILES), uint8(PILES), epoch, 1), "not active yet");
        rotate(deviceId(GROUP, 0), 0xC0FFEE);
        toEpoch(epoch + 1);
        assertTrue(_verifies(keyOf(GROUP, PILES), uint8(PILES), epoch + 1, 1));
        assertTrue(_verifies(keyOf(GROUP, 0), 0, epoch, 1));
        assertFalse(_verifies(keyOf(GROUP, 0), 0, epoch + 1, 1), "rotated away");
        assertFalse(_verifies(keyOf(GROUP, 1), 1, epoch, 0), "no statement");
    }

    function test_verifyHead_refuses_s_in_the_upper_half() public {
        uint32 epoch = current() + 1;
        bytes32 challenge = keccak256("challenge");
        bytes32 policyHash = verifier.policyAt(epoch);
        IDeviceRegistry.Registration[] memory items = new IDeviceRegistry.Registration[](2);
        for (uint8 i; i < 2; ++i) {
            uint8 index = uint8(PILES) + i;
            HeadDigest.Head memory head =
                HeadDigest.Head(GROUP, index, epoch, challenge, policyHash, 1, headOf(index, 1));
            bytes32 digest = HeadDigest.digest(block.chainid, address(verifier), head);
            items[i] =
                IDeviceRegistry.Registration(deviceId(GROUP, index), ecrecover(digest, 27, R, bytes32(S_MAX + i)));
        }
        vm.prank(OPERATOR);
        devices.register(GROUP, items);
        toEpoch(epoch);
        vm.setBlockhash(uint256(epoch) * EPOCH_LEN, challenge);
        uint8 low = uint8(PILES);
        assertTrue(verifier.verifyHead(GROUP, low, epoch, 1, headOf(low, 1), abi.encodePacked(R, S_MAX)));
        assertFalse(verifier.verifyHead(GROUP, low + 1, epoch, 1, headOf(low + 1, 1), abi.encodePacked(R, S_MAX + 1)));
    }

    function _extendSkips(uint8 index, uint8 n, bytes memory records, uint8 reason) private {
        vm.expectEmit(address(verifier));
        emit IChargingAuthVerifier.RecordSkipped(GROUP, position(current(), index, n), reason);
        assertEq(verifier.extend(GROUP, current(), records), 0);
    }

    function test_extend_names_why_it_skips() public {
        uint32 epoch = current();
        verifier.record(GROUP, epoch, bytes.concat(recordOf(GROUP, 0, epoch, 1), recordOf(GROUP, 1, epoch, 1)));
        _extendSkips(1, 0, recordOf(GROUP, 1, epoch, 0), 4);
        _extendSkips(224, 1, recordOf(GROUP, 224, epoch, 1), 5);
        _extendSkips(2, 1, recordOf(GROUP, 2, epoch, 1), 6);
        revoke(deviceId(GROUP, 0));
        _extendSkips(0, 2, recordOf(GROUP, 0, epoch, 2), 3);
    }

    /* RECORD */

    function test_in_epoch_zero_a_signature_without_signer_is_no_key_of_zero() public {
        // Epoch 0 lies between the zeros that an index without a key has for its first and last epoch.
        vm.roll(3);
        vm.setBlockhash(0, keccak256("genesis"));
        bytes memory first = abi.encodePacked(uint8(PILES), uint8(1), headOf(PILES, 1), new bytes(64));
        bytes memory second = abi.encodePacked(uint8(PILES + 1), uint8(1), headOf(PILES + 1, 1), new bytes(64));
        assertEq(verifier.record(GROUP, 0, bytes.concat(first, second, first)), 0);
    }

    function test_a_registration_keeps_what_was_revoked_in_its_group() public {
        revoke(deviceId(GROUP, 3));
        addPiles(GROUP, PILES, 1);
        rotate(deviceId(GROUP, 0), 0xC0FFEE);
        assertEq(uint224(verifier.groupWord(GROUP)), 1 << 3);
        assertEq(verifier.record(GROUP, current(), recordOf(GROUP, 3, current(), 1)), 0);
    }

    function test_both_registries_count_the_verifiers_epochs() public {
        PolicyRegistry other = new PolicyRegistry(address(manager), 4, MIN_LEAD, vm.addr(POLICY_SIGNER_KEY));
        vm.expectRevert(
            abi.encodeWithSelector(IChargingAuthVerifier.EpochLengthDiffers.selector, EPOCH_LEN, EPOCH_LEN, 4)
        );
        new ChargingAuthVerifier(address(manager), devices, other, EPOCH_LEN, RING, 256);
    }

    /* DEVICES */

    function test_a_pause_stops_registration_and_rotation() public {
        IDeviceRegistry.Registration[] memory items = new IDeviceRegistry.Registration[](1);
        items[0] = IDeviceRegistry.Registration("new", address(1));
        vm.prank(GUARDIAN);
        devices.pause();
        vm.startPrank(OPERATOR);
        vm.expectRevert(Pausable.EnforcedPause.selector);
        devices.register(GROUP, items);
        vm.expectRevert(Pausable.EnforcedPause.selector);
        devices.rotate(deviceId(GROUP, 0), address(1));
    }

    /* POLICIES */

    function _registry(uint32 minLead) private returns (PolicyRegistry registry) {
        registry = new PolicyRegistry(address(manager), EPOCH_LEN, minLead, vm.addr(POLICY_SIGNER_KEY));
    }

    function _schedule(PolicyRegistry registry, uint32 version, uint32 first) private {
        bytes memory tariff = PolicyText.example();
        bytes memory signature = PolicyText.sign(POLICY_SIGNER_KEY, address(registry), version, first, tariff);
        registry.schedule(version, first, tariff, signature);
    }

    function test_before_the_first_policy_there_is_none() public {
        PolicyRegistry registry = _registry(MIN_LEAD);
        uint32 first = current() + 1;
        _schedule(registry, 1, first);
        assertEq(registry.policyAt(first - 1), 0);
        assertTrue(registry.policyAt(first) != 0);
        ChargingAuthVerifier fresh = new ChargingAuthVerifier(address(manager), devices, registry, EPOCH_LEN, RING, 256);
        govern(address(registry), abi.encodeCall(registry.attach, (fresh)));
        assertEq(fresh.policyAt(first - 1), 0);
        assertEq(fresh.policyAt(first), registry.policyAt(first));
        vm.expectRevert(abi.encodeWithSelector(IChargingAuthVerifier.NoPolicy.selector, first - 1));
        fresh.record(GROUP, first - 1, new bytes(98));
    }

    function test_no_two_policies_share_a_first_epoch() public {
        uint32 first = current() + MIN_LEAD;
        schedule(2, first, PolicyText.example());
        bytes memory signature = PolicyText.sign(POLICY_SIGNER_KEY, address(policies), 3, first, PolicyText.example());
        vm.expectRevert(abi.encodeWithSelector(IPolicyRegistry.FirstEpochTooEarly.selector, first, first + 1));
        policies.schedule(3, first, PolicyText.example(), signature);
    }

    function test_without_a_lead_an_epoch_that_has_begun_still_keeps_its_policy() public {
        PolicyRegistry registry = _registry(0);
        _schedule(registry, 1, 0);
        uint32 now_ = current();
        bytes memory tariff = PolicyText.example();
        bytes memory signature = PolicyText.sign(POLICY_SIGNER_KEY, address(registry), 2, now_, tariff);
        vm.expectRevert(abi.encodeWithSelector(IPolicyRegistry.FirstEpochTooEarly.selector, now_, now_ + 1));
        registry.schedule(2, now_, tariff, signature);
        _schedule(registry, 2, now_ + 1);
    }

    function test_every_version_is_found_from_its_first_epoch_on() public {
        uint32 base = current() + MIN_LEAD;
        for (uint32 version = 2; version <= 9; ++version) {
            schedule(version, base + 2 * version, PolicyText.example());
        }
        for (uint32 version = 2; version <= 9; ++version) {
            uint32 first = base + 2 * version;
            bytes32 hash = PolicyText.hash(version, first, PolicyText.example());
            for (uint32 epoch = first; epoch < first + 2; ++epoch) {
                assertEq(policies.policyAt(epoch), hash);
                assertEq(verifier.policyAt(epoch), hash);
            }
        }
        assertEq(policies.policyAt(base + 3), PolicyText.hash(1, 0, PolicyText.example()));
    }

    function test_the_policy_signer_is_never_zero() public {
        vm.expectRevert(IPolicyRegistry.ZeroPolicySigner.selector);
        new PolicyRegistry(address(manager), EPOCH_LEN, MIN_LEAD, address(0));
        bytes memory data = abi.encodeCall(policies.setPolicySigner, (address(0)));
        vm.prank(GOVERNANCE);
        manager.schedule(address(policies), data, 0);
        vm.warp(block.timestamp + GOVERNANCE_DELAY);
        vm.expectRevert(IPolicyRegistry.ZeroPolicySigner.selector);
        vm.prank(GOVERNANCE);
        manager.execute(address(policies), data);
    }

    function test_a_policy_signature_with_high_s_is_refused() public {
        bytes memory tariff = PolicyText.example();
        uint32 first = current() + MIN_LEAD + 1;
        bytes32 digest = PolicyText.digest(address(policies), 2, first, tariff);
        for (uint256 i = 2; i > 0; --i) {
            uint256 s = S_MAX + i - 1;
            address signer = ecrecover(digest, 27, R, bytes32(s));
            govern(address(policies), abi.encodeCall(policies.setPolicySigner, (signer)));
            if (s > S_MAX) {
                vm.expectRevert(abi.encodeWithSelector(IPolicyRegistry.WrongPolicySigner.selector, address(0), signer));
            }
            policies.schedule(2, first, tariff, abi.encodePacked(R, s));
        }
        assertEq(policies.newestVersion(), 2);
    }

    function test_only_governance_detaches_a_verifier_from_the_policies() public {
        address[3] memory others = [STRANGER, GUARDIAN, OPERATOR];
        for (uint256 i; i < others.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, others[i]));
            vm.prank(others[i]);
            policies.detach(verifier);
        }
        govern(address(policies), abi.encodeCall(policies.detach, (IChargingAuthVerifier(address(verifier)))));
        assertEq(policies.verifiers().length, 0);
    }
}
