// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { Bls12381Reference } from "../reference/Bls12381Reference.sol";
import { ChargingAuthVerifier } from "../src/ChargingAuthVerifier.sol";
import { IChargingAuthVerifier } from "../src/interfaces/IChargingAuthVerifier.sol";
import { IDeviceRegistry } from "../src/interfaces/IDeviceRegistry.sol";
import { Bls12381 } from "../src/libraries/Bls12381.sol";
import { BlsKeys } from "../src/libraries/BlsKeys.sol";
import { KeyBlob } from "../src/libraries/KeyBlob.sol";
import { BlsSigner } from "./BlsSigner.sol";
import { SystemTest } from "./SystemTest.sol";
import { IAccessManaged } from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";
import { Pausable } from "@openzeppelin/contracts/utils/Pausable.sol";

/// @notice BLS keys of devices, and the totals of their groups.
contract DeviceEnrolmentTest is SystemTest {
    using BlsKeys for uint256;

    /* WHAT IS ENROLLED */

    function test_an_enrolled_device_counts_from_the_next_epoch_on() public {
        bytes32 id = deviceId(GROUP, 3);
        IDeviceRegistry.Enrolment memory item = enrolment(id, 77);
        vm.expectEmit(address(devices));
        emit IDeviceRegistry.DeviceEnrolled(id, GROUP, 3, item.key, current() + 1);
        enrol(GROUP, one(item));
        assertEq(devices.blsKey(GROUP, 3), item.key);
        assertTotal(current(), new uint256[](0));
        assertEq(devices.totalVersionAt(GROUP, current()), 0);
        assertTotal(current() + 1, list(3), list(77));
        assertEq(devices.totalVersionAt(GROUP, current() + 1), 1);
        assertEq(verifier.blsWord(GROUP), devices.blsWord(GROUP));
    }

    function test_the_blobs_stand_where_group_and_version_say() public {
        enrolPiles(GROUP, 0, 2);
        uint256 word = devices.blsWord(GROUP);
        address chunk = BlsKeys.chunkAddress(address(devices), GROUP, 0, 1);
        bytes memory keys = bytes.concat(keyOfPile(0), keyOfPile(1));
        assertEq(chunk.code, bytes.concat(hex"00", keys), "no longer than its last key");
        assertEq(word.chunkVersion(0), 1);
        assertEq(word.chunkVersion(1), 0);
        address total = BlsKeys.totalAddress(address(devices), GROUP, 1);
        bytes[] memory both = new bytes[](2);
        (both[0], both[1]) = (keyOfPile(0), keyOfPile(1));
        assertEq(total.code, abi.encodePacked(uint8(0), uint224(3), BlsSigner.sumOf(both)));
        // CREATE3 by hand, so that readers elsewhere can rely on it.
        assertEq(total, create3((uint256(1) << 224) | (uint256(GROUP) << 64) | 1));
        assertEq(chunk, create3((uint256(2) << 224) | (uint256(GROUP) << 64) | 1));
        assertEq(
            BlsKeys.chunkAddress(address(devices), GROUP, 1, 5),
            create3((uint256(2) << 224) | (uint256(GROUP) << 64) | (1 << 32) | 5)
        );
    }

    function test_no_blob_of_a_group_has_the_address_of_another() public pure {
        address registry = address(0xC0DE);
        address[5] memory all = [
            KeyBlob.addressOf(registry, 1, 1),
            BlsKeys.totalAddress(registry, 1, 1),
            BlsKeys.totalAddress(registry, 2, 1),
            BlsKeys.chunkAddress(registry, 1, 0, 1),
            BlsKeys.chunkAddress(registry, 1, 1, 1)
        ];
        for (uint256 i; i < all.length; ++i) {
            for (uint256 j; j < i; ++j) {
                assertNotEq(all[i], all[j]);
            }
        }
    }

    function test_keys_stand_in_their_chunks_at_their_borders() public {
        addPiles(GROUP, PILES, 224 - PILES);
        uint8[6] memory places = [0, 31, 111, 112, 113, 223];
        IDeviceRegistry.Enrolment[] memory items = new IDeviceRegistry.Enrolment[](places.length);
        for (uint256 i; i < places.length; ++i) {
            items[i] = enrolment(deviceId(GROUP, places[i]), blsSecretOf(GROUP, places[i]));
        }
        enrol(GROUP, items);
        for (uint256 i; i < places.length; ++i) {
            assertEq(devices.blsKey(GROUP, places[i]), keyOfPile(places[i]));
        }
        assertEq(devices.blsKey(GROUP, 110), new bytes(192));
        assertEq(devices.blsKey(GROUP, 114), new bytes(192));
        assertEq(devices.blsKey(GROUP, 222), new bytes(192));
        assertEq(devices.blsKey(GROUP, 224), new bytes(192));
        assertEq(devices.blsKey(GROUP, 255), new bytes(192));
        uint256 word = devices.blsWord(GROUP);
        assertEq(word.chunkVersion(0), 1);
        assertEq(word.chunkVersion(1), 1);
        (uint224 members,) = devices.blsTotal(GROUP, current() + 1);
        assertEq(members, (1 << 0) | (1 << 31) | (1 << 111) | (1 << 112) | (1 << 113) | (1 << 223));
        // A later key leaves those before it in their places.
        enrolPiles(GROUP, 114, 1);
        assertEq(devices.blsKey(GROUP, 113), keyOfPile(113));
        assertEq(devices.blsKey(GROUP, 223), keyOfPile(223));
        assertEq(devices.blsKey(GROUP, 114), keyOfPile(114));
        assertEq(devices.blsWord(GROUP).chunkVersion(1), 2);
        assertEq(devices.blsWord(GROUP).chunkVersion(0), 1);
    }

    function test_a_chunk_gets_full_in_four_transactions() public {
        addPiles(GROUP, PILES, 112 - PILES);
        for (uint256 first; first < 112; first += 32) {
            enrolPiles(GROUP, first, first == 96 ? 16 : 32);
        }
        (uint224 members,) = devices.blsTotal(GROUP, current() + 1);
        assertEq(members, (1 << 112) - 1);
        address chunk = BlsKeys.chunkAddress(address(devices), GROUP, 0, 4);
        assertEq(chunk.code.length, 1 + 112 * 192);
        assertEq(keyOfPile(0), devices.blsKey(GROUP, 0));
        assertEq(keyOfPile(111), devices.blsKey(GROUP, 111));
    }

    /* WHAT IS REFUSED */

    /// @dev The attack: whoever may choose a key after seeing the others' sum takes the sum away, and signs for all.
    function test_a_rogue_key_is_refused() public {
        enrolPiles(GROUP, 0, 3);
        bytes memory victims = sumOfPiles(0, 3);
        uint256 secret = 0xBAD;
        bytes[] memory parts = new bytes[](2);
        parts[0] = BlsSigner.keyOf(secret);
        parts[1] = BlsSigner.negate(victims);
        bytes memory rogue = BlsSigner.sumOf(parts);
        // With the rogue key in the total, one's own signature would be everyone's.
        parts[0] = victims;
        parts[1] = rogue;
        assertEq(BlsSigner.sumOf(parts), BlsSigner.keyOf(secret));

        bytes32 id = deviceId(GROUP, 3);
        bytes memory digest = abi.encodePacked(BlsSigner.possessionDigest(block.chainid, address(devices), id, rogue));
        bytes memory possession = BlsSigner.sign(secret, BlsSigner.POSSESSION_DST, digest);
        expectRefused(abi.encodeWithSelector(IDeviceRegistry.BadPossession.selector, id), id, rogue, possession);
    }

    function test_a_possession_of_another_device_chain_registry_or_tag_is_refused() public {
        bytes32 id = deviceId(GROUP, 0);
        bytes memory key = BlsSigner.keyOf(5);
        bytes memory refusal = abi.encodeWithSelector(IDeviceRegistry.BadPossession.selector, id);
        expectRefused(refusal, id, key, BlsSigner.possession(5, deviceId(GROUP, 1), address(devices)));
        expectRefused(refusal, id, key, BlsSigner.possession(5, id, address(verifier)));
        expectRefused(refusal, id, key, BlsSigner.possession(6, id, address(devices)));
        bytes32 digest = BlsSigner.possessionDigest(block.chainid, address(devices), id, key);
        expectRefused(refusal, id, key, BlsSigner.signRoot(5, digest));
        digest = BlsSigner.possessionDigest(block.chainid + 1, address(devices), id, key);
        expectRefused(refusal, id, key, BlsSigner.sign(5, BlsSigner.POSSESSION_DST, abi.encodePacked(digest)));
        expectRefused(refusal, id, key, new bytes(96));
        enrol(GROUP, one(enrolment(id, 5)));
    }

    function test_a_key_at_infinity_is_refused() public {
        bytes32 id = deviceId(GROUP, 0);
        bytes memory refusal = abi.encodeWithSelector(IDeviceRegistry.NotABlsKey.selector, id);
        // Which every message's infinity would fit.
        expectRefused(refusal, id, new bytes(192), new bytes(96));
    }

    function test_a_key_that_is_not_canonical_is_refused() public {
        bytes32 id = deviceId(GROUP, 0);
        bytes memory refusal = abi.encodeWithSelector(IDeviceRegistry.NotABlsKey.selector, id);
        IDeviceRegistry.Enrolment memory item = enrolment(id, 5);
        for (uint256 i; i < 4; ++i) {
            expectRefused(refusal, id, BlsSigner.withModulusAdded(item.key, i), item.possession);
        }
    }

    function test_keys_and_possessions_of_other_lengths_are_refused() public {
        bytes32 id = deviceId(GROUP, 0);
        bytes memory refusal = abi.encodeWithSelector(IDeviceRegistry.NotABlsKey.selector, id);
        IDeviceRegistry.Enrolment memory item = enrolment(id, 5);
        expectRefused(refusal, id, bytes.concat(item.key, hex"00"), item.possession);
        expectRefused(refusal, id, Bls12381Reference.slice(item.key, 0, 191), item.possession);
        expectRefused(refusal, id, "", item.possession);
        refusal = abi.encodeWithSelector(Bls12381.BlsMalformedLength.selector, 97);
        expectRefused(refusal, id, item.key, bytes.concat(item.possession, hex"00"));
    }

    function test_a_key_off_the_curve_is_refused() public {
        bytes32 id = deviceId(GROUP, 0);
        bytes memory refusal = abi.encodeWithSelector(Bls12381.BlsPointRefused.selector);
        IDeviceRegistry.Enrolment memory item = enrolment(id, 5);
        item.key[191] ^= 0x01;
        expectRefused(refusal, id, item.key, item.possession);
    }

    function test_a_key_outside_of_the_subgroup_is_refused() public {
        bytes32 id = deviceId(GROUP, 0);
        bytes memory refusal = abi.encodeWithSelector(Bls12381.BlsPointRefused.selector);
        IDeviceRegistry.Enrolment memory item = enrolment(id, 5);
        expectRefused(refusal, id, BlsSigner.outsideSubgroupG2(), item.possession);
        // A good key with a component outside, which the curve's equation does not show.
        bytes[] memory parts = new bytes[](2);
        (parts[0], parts[1]) = (item.key, BlsSigner.outsideSubgroupG2());
        expectRefused(refusal, id, BlsSigner.sumOf(parts), item.possession);
    }

    function test_an_index_gets_one_key_for_ever() public {
        enrolPiles(GROUP, 0, 1);
        bytes32 id = deviceId(GROUP, 0);
        bytes memory refusal = abi.encodeWithSelector(IDeviceRegistry.DeviceIsEnrolled.selector, id, 0);
        IDeviceRegistry.Enrolment memory again = enrolment(id, 99);
        expectRefused(refusal, id, again.key, again.possession);
        toEpoch(current() + 3);
        expectRefused(refusal, id, again.key, again.possession);

        IDeviceRegistry.Enrolment[] memory twice = new IDeviceRegistry.Enrolment[](2);
        id = deviceId(GROUP, 1);
        twice[0] = enrolment(id, 5);
        twice[1] = enrolment(id, 6);
        vm.expectRevert(abi.encodeWithSelector(IDeviceRegistry.DeviceIsEnrolled.selector, id, 1));
        enrol(GROUP, twice);
    }

    function test_devices_that_are_unknown_revoked_or_of_another_group_are_refused() public {
        addGroup(8, 1);
        IDeviceRegistry.Enrolment memory item = enrolment("nobody", 5);
        vm.expectRevert(abi.encodeWithSelector(IDeviceRegistry.UnknownDevice.selector, bytes32("nobody")));
        enrol(GROUP, one(item));
        item = enrolment(deviceId(8, 0), 5);
        vm.expectRevert(abi.encodeWithSelector(IDeviceRegistry.DeviceOfAnotherGroup.selector, item.deviceId, 8));
        enrol(GROUP, one(item));
        item = enrolment(deviceId(GROUP, 0), 5);
        revoke(item.deviceId);
        vm.expectRevert(abi.encodeWithSelector(IDeviceRegistry.DeviceIsRevoked.selector, item.deviceId));
        enrol(GROUP, one(item));
        vm.expectRevert(abi.encodeWithSelector(IDeviceRegistry.UnknownGroup.selector, 99));
        enrol(99, one(item));
        vm.expectRevert(IDeviceRegistry.NothingToRegister.selector);
        enrol(GROUP, new IDeviceRegistry.Enrolment[](0));
    }

    function test_one_bad_enrolment_leaves_nothing_of_the_others() public {
        IDeviceRegistry.Enrolment[] memory items = new IDeviceRegistry.Enrolment[](2);
        items[0] = enrolment(deviceId(GROUP, 0), 5);
        items[1] = enrolment(deviceId(GROUP, 1), 6);
        items[1].possession = items[0].possession;
        vm.expectRevert(abi.encodeWithSelector(IDeviceRegistry.BadPossession.selector, items[1].deviceId));
        enrol(GROUP, items);
        assertEq(devices.blsWord(GROUP), 0);
        assertEq(devices.blsKey(GROUP, 0), new bytes(192));
    }

    function test_only_the_operator_enrols_and_not_while_paused() public {
        IDeviceRegistry.Enrolment[] memory items = one(enrolment(deviceId(GROUP, 0), 5));
        vm.expectRevert(abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, STRANGER));
        vm.prank(STRANGER);
        devices.enrol(GROUP, items);
        vm.prank(GUARDIAN);
        devices.pause();
        vm.expectRevert(Pausable.EnforcedPause.selector);
        enrol(GROUP, items);
    }

    function test_without_the_precompiles_enrol_says_so_and_all_else_works() public {
        IDeviceRegistry.Enrolment[] memory items = one(enrolment(deviceId(GROUP, 0), 5));
        for (uint160 precompile = 0x0b; precompile <= 0x11; ++precompile) {
            vm.mockCall(address(precompile), bytes(""), bytes(""));
        }
        vm.expectRevert(Bls12381.BlsUnavailable.selector);
        enrol(GROUP, items);
        addPiles(GROUP, PILES, 1);
        rotate(deviceId(GROUP, 0), 0xC0FFEE);
        revoke(deviceId(GROUP, 1));
        devices.sync(GROUP);
        toEpoch(current() + 1);
        assertEq(verifier.record(GROUP, current(), recordOf(GROUP, 2, current(), 1)), 1);
        assertEq(verifier.blsWord(GROUP), 0);
    }

    /* TOTALS OVER TIME */

    function test_a_total_that_has_begun_stays_when_others_join() public {
        enrolPiles(GROUP, 0, 2);
        toEpoch(current() + 1);
        uint32 begun = current();
        (uint224 members, bytes memory sum) = devices.blsTotal(GROUP, begun);
        enrolPiles(GROUP, 2, 1);
        assertTotal(begun + 1, 0, 3);
        (uint224 membersAfter, bytes memory sumAfter) = devices.blsTotal(GROUP, begun);
        assertEq(membersAfter, members);
        assertEq(sumAfter, sum);
        assertTotal(begun, 0, 2);
    }

    function test_of_several_changes_in_one_epoch_the_last_total_counts() public {
        enrolPiles(GROUP, 0, 2);
        toEpoch(current() + 1);
        enrolPiles(GROUP, 2, 1);
        enrolPiles(GROUP, 3, 1);
        rotate(deviceId(GROUP, 0), 0xC0FFEE);
        assertTotal(current(), 0, 2);
        assertTotal(current() + 1, 1, 3);
        uint256 word = devices.blsWord(GROUP);
        (uint32 firstEpoch, uint16 version) = word.lane(0);
        assertEq(firstEpoch, current() + 1);
        assertEq(version, 4);
        (firstEpoch, version) = word.lane(1);
        assertEq(firstEpoch, current());
        assertEq(version, 1);
        (, version) = word.lane(2);
        assertEq(version, 0);
    }

    function test_a_rotated_pile_leaves_the_total_with_this_epochs_end_and_joins_by_its_new_index() public {
        enrolPiles(GROUP, 0, 3);
        toEpoch(current() + 1);
        bytes32 id = deviceId(GROUP, 1);
        rotate(id, 0xC0FFEE);
        assertTotal(current(), 0, 3);
        assertTotal(current() + 1, list(0, 2), list(blsSecretOf(GROUP, 0), blsSecretOf(GROUP, 2)));
        assertEq(devices.blsKey(GROUP, 1), keyOfPile(1), "epochs that are open need it");
        assertEq(devices.blsKey(GROUP, uint8(PILES)), new bytes(192), "the new index has none");
        assertEq(verifier.blsWord(GROUP), devices.blsWord(GROUP));

        enrol(GROUP, one(enrolment(id, 99)));
        uint256[] memory who = list(0, 2, PILES);
        assertTotal(current() + 1, who, list(blsSecretOf(GROUP, 0), blsSecretOf(GROUP, 2), 99));
    }

    function test_a_pile_enrolled_and_rotated_in_one_epoch_never_counts() public {
        enrolPiles(GROUP, 0, 2);
        rotate(deviceId(GROUP, 0), 0xC0FFEE);
        assertTotal(current(), new uint256[](0));
        assertTotal(current() + 1, 1, 1);
    }

    function test_the_last_of_a_group_leaves_a_total_of_infinity() public {
        enrolPiles(GROUP, 0, 1);
        toEpoch(current() + 1);
        rotate(deviceId(GROUP, 0), 0xC0FFEE);
        assertTotal(current(), 0, 1);
        (uint224 members, bytes memory sum) = devices.blsTotal(GROUP, current() + 1);
        assertEq(members, 0);
        assertEq(sum, new bytes(192));
        enrolPiles(GROUP, 1, 1);
        assertTotal(current() + 1, 1, 1);
    }

    function test_rotating_a_pile_without_a_key_leaves_the_total_alone() public {
        enrolPiles(GROUP, 0, 2);
        uint256 word = devices.blsWord(GROUP);
        rotate(deviceId(GROUP, 5), 0xC0FFEE);
        assertEq(devices.blsWord(GROUP), word);
    }

    function test_a_revoked_pile_stays_in_the_total_and_is_revoked_at_once() public {
        enrolPiles(GROUP, 0, 2);
        toEpoch(current() + 1);
        uint256 word = devices.blsWord(GROUP);
        revoke(deviceId(GROUP, 0));
        assertEq(devices.blsWord(GROUP), word);
        assertTotal(current() + 1, 0, 2);
        assertEq(uint224(verifier.groupWord(GROUP)), 1);
    }

    function test_the_registry_answers_for_totals_older_than_the_words_lanes() public {
        addPiles(GROUP, PILES, 12 - PILES);
        toEpoch(current() + 1);
        uint32 first = current() + 1;
        for (uint256 i; i < 12; ++i) {
            enrolPiles(GROUP, i, 1);
            toEpoch(current() + 2);
        }
        assertEq(devices.totalVersionAt(GROUP, first - 1), 0, "before the first");
        assertTotal(first - 1, new uint256[](0));
        for (uint32 i; i < 12; ++i) {
            assertEq(devices.totalVersionAt(GROUP, first + 2 * i), i + 1);
            assertEq(devices.totalVersionAt(GROUP, first + 2 * i + 1), i + 1, "and between two");
            assertTotal(first + 2 * i, 0, i + 1);
            (uint16 version, bool older) = devices.blsWord(GROUP).totalVersionAt(first + 2 * i);
            assertEq(older, i < 8, "the word holds four");
            if (!older) assertEq(version, i + 1);
        }
    }

    /* VERIFIERS */

    function test_a_verifier_attached_later_learns_of_bls_keys_by_sync() public {
        enrolPiles(GROUP, 0, 2);
        ChargingAuthVerifier second =
            new ChargingAuthVerifier(address(manager), devices, policies, EPOCH_LEN, RING, 256);
        govern(address(devices), abi.encodeCall(devices.attach, (second)));
        assertEq(second.blsWord(GROUP), 0);
        vm.prank(STRANGER);
        devices.sync(GROUP);
        assertEq(second.blsWord(GROUP), devices.blsWord(GROUP));
        enrolPiles(GROUP, 2, 1);
        assertEq(second.blsWord(GROUP), devices.blsWord(GROUP));
        assertEq(verifier.blsWord(GROUP), devices.blsWord(GROUP));
    }

    function test_only_the_registry_pushes_bls_words() public {
        vm.expectRevert(abi.encodeWithSelector(IChargingAuthVerifier.NotRegistry.selector, STRANGER));
        vm.prank(STRANGER);
        verifier.pushBls(GROUP, 1);
    }

    function test_a_bls_word_touches_no_other_word() public {
        uint256 word = verifier.groupWord(GROUP);
        verifier.record(GROUP, current(), recordOf(GROUP, 0, current(), 1));
        (, uint224 bitmap) = verifier.ringWord(GROUP, current());
        enrolPiles(GROUP, 0, 1);
        assertEq(verifier.groupWord(GROUP), word);
        (, uint224 after_) = verifier.ringWord(GROUP, current());
        assertEq(after_, bitmap);
        assertEq(verifier.blsWord(GROUP + 1), 0);
    }

    function expectRefused(bytes memory refusal, bytes32 id, bytes memory key, bytes memory possession) private {
        vm.expectRevert(refusal);
        vm.prank(OPERATOR);
        // A precompile that refuses takes all it is given.
        devices.enrol{ gas: 5_000_000 }(GROUP, one(IDeviceRegistry.Enrolment(id, key, possession)));
    }

    function assertTotal(uint32 epoch, uint256 from, uint256 count) private view {
        uint256[] memory who = new uint256[](count);
        uint256[] memory with = new uint256[](count);
        for (uint256 i; i < count; ++i) {
            (who[i], with[i]) = (from + i, blsSecretOf(GROUP, from + i));
        }
        assertTotal(epoch, who, with);
    }

    function assertTotal(uint32 epoch, uint256[] memory none) private view {
        assertTotal(epoch, none, none);
    }

    function assertTotal(uint32 epoch, uint256[] memory who, uint256[] memory with) private view {
        uint224 expected;
        bytes[] memory keys = new bytes[](who.length);
        for (uint256 i; i < who.length; ++i) {
            expected |= uint224(1 << who[i]);
            keys[i] = BlsSigner.keyOf(with[i]);
        }
        (uint224 members, bytes memory sum) = devices.blsTotal(GROUP, epoch);
        assertEq(members, expected);
        assertEq(sum, BlsSigner.sumOf(keys));
    }

    function sumOfPiles(uint256 from, uint256 count) private view returns (bytes memory) {
        bytes[] memory keys = new bytes[](count);
        for (uint256 i; i < count; ++i) {
            keys[i] = keyOfPile(from + i);
        }
        return BlsSigner.sumOf(keys);
    }

    function keyOfPile(uint256 pile) private view returns (bytes memory) {
        return BlsSigner.keyOf(blsSecretOf(GROUP, pile));
    }

    function create3(uint256 salt) private view returns (address) {
        bytes32 proxyCode = keccak256(hex"67363d3d37363d34f03d5260086018f3");
        address proxy = vm.computeCreate2Address(bytes32(salt), proxyCode, address(devices));
        return vm.computeCreateAddress(proxy, 1);
    }

    function one(IDeviceRegistry.Enrolment memory item)
        private
        pure
        returns (IDeviceRegistry.Enrolment[] memory items)
    {
        items = new IDeviceRegistry.Enrolment[](1);
        items[0] = item;
    }

    function list(uint256 a) private pure returns (uint256[] memory numbers) {
        numbers = new uint256[](1);
        numbers[0] = a;
    }

    function list(uint256 a, uint256 b) private pure returns (uint256[] memory numbers) {
        numbers = new uint256[](2);
        (numbers[0], numbers[1]) = (a, b);
    }

    function list(uint256 a, uint256 b, uint256 c) private pure returns (uint256[] memory numbers) {
        numbers = new uint256[](3);
        (numbers[0], numbers[1], numbers[2]) = (a, b, c);
    }
}
