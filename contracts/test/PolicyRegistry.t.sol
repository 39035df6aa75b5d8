// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { PolicyText } from "../script/PolicyText.sol";
import { ChargingAuthVerifier } from "../src/ChargingAuthVerifier.sol";
import { IPolicyRegistry } from "../src/interfaces/IPolicyRegistry.sol";
import { PolicyHistory } from "../src/libraries/PolicyHistory.sol";
import { Tariff } from "../src/libraries/Tariff.sol";
import { SystemTest } from "./SystemTest.sol";

contract PolicyRegistryTest is SystemTest {
    function signed(uint32 version, uint32 firstEpoch, bytes memory tariff) private view returns (bytes memory) {
        return PolicyText.sign(POLICY_SIGNER_KEY, address(policies), version, firstEpoch, tariff);
    }

    function test_a_scheduled_policy_is_in_force_from_its_first_epoch() public {
        uint32 first = current() + MIN_LEAD;
        bytes memory tariff = PolicyText.example();
        bytes32 hash = PolicyText.hash(2, first, tariff);
        bytes memory signature = signed(2, first, tariff);
        vm.expectEmit(address(policies));
        emit IPolicyRegistry.PolicyScheduled(2, first, hash, tariff, signature);
        vm.prank(STRANGER);
        policies.schedule(2, first, tariff, signature);
        assertEq(policies.policyAt(first), hash);
        assertEq(policies.policyAt(first - 1), PolicyText.hash(1, 0, tariff));
        assertEq(verifier.policyAt(first), hash);
        assertEq(verifier.policyAt(first - 1), PolicyText.hash(1, 0, tariff));
        assertEq(policies.newestVersion(), 2);
        (uint32 firstEpoch, bytes32 policyHash) = policies.policy(2);
        assertEq(firstEpoch, first);
        assertEq(policyHash, hash);
    }

    function test_versions_come_one_after_another() public {
        bytes memory tariff = PolicyText.example();
        uint32 first = current() + MIN_LEAD;
        for (uint32 version; version < 5; ++version) {
            if (version == 2) continue;
            bytes memory signature = signed(version, first, tariff);
            vm.expectRevert(abi.encodeWithSelector(IPolicyRegistry.WrongVersion.selector, version, 2));
            policies.schedule(version, first, tariff, signature);
        }
    }

    function test_a_policy_needs_its_lead_and_a_later_epoch_than_the_one_before() public {
        bytes memory tariff = PolicyText.example();
        uint32 early = current() + MIN_LEAD - 1;
        bytes memory signature = signed(2, early, tariff);
        vm.expectRevert(abi.encodeWithSelector(IPolicyRegistry.FirstEpochTooEarly.selector, early, early + 1));
        policies.schedule(2, early, tariff, signature);

        uint32 far = current() + 50;
        schedule(2, far, tariff);
        signature = signed(3, far, tariff);
        vm.expectRevert(abi.encodeWithSelector(IPolicyRegistry.FirstEpochTooEarly.selector, far, far + 1));
        policies.schedule(3, far, tariff, signature);

        signature = signed(3, type(uint32).max, tariff);
        vm.expectRevert(abi.encodeWithSelector(IPolicyRegistry.FirstEpochTooLate.selector, type(uint32).max));
        policies.schedule(3, type(uint32).max, tariff, signature);
    }

    function test_only_the_policy_signer_makes_policies() public {
        bytes memory tariff = PolicyText.example();
        uint32 first = current() + MIN_LEAD;
        bytes memory signature = PolicyText.sign(0xBAD, address(policies), 2, first, tariff);
        address signer = vm.addr(POLICY_SIGNER_KEY);
        vm.expectRevert(abi.encodeWithSelector(IPolicyRegistry.WrongPolicySigner.selector, vm.addr(0xBAD), signer));
        policies.schedule(2, first, tariff, signature);
        signature = abi.encodePacked(signed(2, first, tariff), uint8(27));
        vm.expectRevert(abi.encodeWithSelector(IPolicyRegistry.WrongPolicySigner.selector, address(0), signer));
        policies.schedule(2, first, tariff, signature);
        vm.expectRevert(abi.encodeWithSelector(IPolicyRegistry.WrongPolicySigner.selector, address(0), signer));
        policies.schedule(2, first, tariff, new bytes(64));
    }

    function test_governance_replaces_the_policy_signer_after_its_delay() public {
        govern(address(policies), abi.encodeCall(policies.setPolicySigner, (vm.addr(0xBEEF))));
        bytes memory tariff = PolicyText.example();
        uint32 first = current() + MIN_LEAD;
        policies.schedule(2, first, tariff, PolicyText.sign(0xBEEF, address(policies), 2, first, tariff));
        assertEq(policies.newestVersion(), 2);
    }

    function test_a_verifier_attached_later_knows_every_policy() public {
        for (uint32 version = 2; version <= 10; ++version) {
            schedule(version, current() + MIN_LEAD + version, PolicyText.example());
        }
        ChargingAuthVerifier second =
            new ChargingAuthVerifier(address(manager), devices, policies, EPOCH_LEN, RING, 256);
        govern(address(policies), abi.encodeCall(policies.attach, (second)));
        for (uint32 epoch = current(); epoch < current() + 20; ++epoch) {
            assertEq(second.policyAt(epoch), policies.policyAt(epoch));
        }
        vm.prank(STRANGER);
        policies.sync(5);
        for (uint32 epoch = current(); epoch < current() + 20; ++epoch) {
            assertEq(second.policyAt(epoch), policies.policyAt(epoch));
        }
        vm.expectRevert(abi.encodeWithSelector(IPolicyRegistry.UnknownPolicy.selector, 11));
        policies.sync(11);
    }

    function testFuzz_the_packed_history_agrees_with_a_plain_list(uint8 count, uint64 seed, uint32 epoch) public pure {
        count = uint8(bound(count, 0, 20));
        uint256 history;
        uint32[] memory firsts = new uint32[](count);
        uint32 first;
        for (uint256 i; i < count; ++i) {
            first += uint32(uint256(keccak256(abi.encode(seed, i))) % 100) + (i == 0 ? 0 : 1);
            firsts[i] = first;
            history = PolicyHistory.push(history, first);
        }
        epoch = uint32(bound(epoch, 0, 2_000));
        uint32 expected;
        for (uint256 i; i < count; ++i) {
            if (firsts[i] <= epoch) expected = uint32(i + 1);
        }
        (uint32 version, bool older) = PolicyHistory.versionAt(history, epoch);
        assertEq(PolicyHistory.newest(history), count);
        if (older) assertLe(expected, count - PolicyHistory.LANES);
        else assertEq(version, expected);
    }

    /* TARIFF */

    function test_a_canonical_tariff_is_accepted() public {
        schedule(2, current() + MIN_LEAD, PolicyText.example());
        assertEq(policies.newestVersion(), 2);
    }

    function test_every_other_tariff_is_refused_with_its_offset() public {
        bytes memory good = PolicyText.example();
        _refused(_with(good, 0, 0x02), 0);
        _refused(_with(good, 1, "c"), 1);
        _refused(_with(good, 3, "0"), 3);
        _refused(_with(good, 4, 0x7f), 4);
        _refused(_with(_with(good, 4, 0xfd), 5, 0x2f), 4); // -721
        _refused(_with(_with(good, 8, 0x00), 9, 0x00), 6);
        _refused(_with(good, 11, 0x00), 10);
        _refused(_with(good, 12, 0x00), 12);
        _refused(_with(good, 12, 0x31), 12);
        _refused(_with(good, 12, 0x02), good.length);
        _refused(_with(good, 14, 0x01), 13);
        _refused(_with(_with(good, 23, 0x00), 24, 0x00), 23);
        _refused(_with(good, 33, 0x06), 33);
        _refused(_with(_with(good, 33, 0x05), 34, 0xa0), 33); // 1440
        _refused(bytes.concat(good, hex"00"), good.length + 1);
        _refused("", 0);
        _refused(new bytes(22), 22);
    }

    function _with(bytes memory source, uint256 offset, bytes1 value) private pure returns (bytes memory copy) {
        copy = bytes.concat(source);
        copy[offset] = value;
    }

    function _refused(bytes memory tariff, uint256 offset) private {
        uint32 first = current() + MIN_LEAD;
        vm.expectRevert(abi.encodeWithSelector(Tariff.MalformedTariff.selector, offset));
        policies.schedule(2, first, tariff, "");
    }
}
