// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { HeadDigest } from "../reference/HeadDigest.sol";
import { PolicyText } from "../script/PolicyText.sol";
import { ChargingAuthVerifier } from "../src/ChargingAuthVerifier.sol";
import { IChargingAuthVerifier } from "../src/interfaces/IChargingAuthVerifier.sol";
import { IDeviceRegistry } from "../src/interfaces/IDeviceRegistry.sol";
import { SystemTest } from "./SystemTest.sol";
import { Vm } from "forge-std/Vm.sol";

contract ChargingAuthVerifierTest is SystemTest {
    uint256 private constant S_MAX = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;

    function expectRecorded(uint32 epoch, uint8 index, uint8 n) private {
        vm.expectEmit(address(verifier));
        emit IChargingAuthVerifier.HeadRecorded(GROUP, position(epoch, index, n), headOf(index, n));
    }

    function expectSkipped(uint32 epoch, uint8 index, uint8 n, uint8 reason) private {
        vm.expectEmit(address(verifier));
        emit IChargingAuthVerifier.RecordSkipped(GROUP, position(epoch, index, n), reason);
    }

    function bit(uint32 epoch, uint8 index) private view returns (bool) {
        (uint32 wordEpoch, uint224 bitmap) = verifier.ringWord(GROUP, epoch);
        return wordEpoch == epoch && (bitmap >> index) & 1 == 1;
    }

    /* RECORDING */

    function test_record_sets_the_bit_and_emits_the_head() public {
        expectRecorded(current(), 3, 9);
        assertEq(verifier.record(GROUP, current(), recordOf(GROUP, 3, current(), 9)), 1);
        assertTrue(bit(current(), 3));
        assertFalse(bit(current(), 2));
    }

    function test_recordMany_records_two_groups() public {
        addGroup(8, 3);
        toEpoch(current() + 1);
        uint32 epoch = current();
        bytes memory batches = abi.encodePacked(
            GROUP,
            uint8(2),
            recordOf(GROUP, 0, epoch, 1),
            recordOf(GROUP, 1, epoch, 1),
            uint32(8),
            uint8(1),
            recordOf(8, 2, epoch, 4)
        );
        vm.expectEmit(address(verifier));
        emit IChargingAuthVerifier.HeadRecorded(8, position(epoch, 2, 4), headOf(2, 4));
        assertEq(verifier.recordMany(epoch, batches), 3);
        (, uint224 bitmap) = verifier.ringWord(8, epoch);
        assertEq(bitmap, 1 << 2);
    }

    function test_a_later_epoch_recorded_first_does_not_block_an_earlier_one() public {
        uint32 early = current();
        toEpoch(early + 3);
        assertEq(verifier.record(GROUP, early + 3, recordOf(GROUP, 0, early + 3, 1)), 1);
        assertEq(verifier.record(GROUP, early, recordOf(GROUP, 0, early, 1)), 1);
        assertTrue(bit(early, 0) && bit(early + 3, 0));
    }

    function test_a_ring_word_is_used_again_by_a_later_epoch() public {
        uint32 early = current();
        verifier.record(GROUP, early, recordOf(GROUP, 0, early, 1));
        toEpoch(early + uint32(RING));
        assertEq(verifier.record(GROUP, current(), recordOf(GROUP, 1, current(), 1)), 1);
        (uint32 wordEpoch, uint224 bitmap) = verifier.ringWord(GROUP, early);
        assertEq(wordEpoch, early + RING);
        assertEq(bitmap, 1 << 1, "bits of the earlier epoch are gone");
    }

    function test_no_authorization_makes_a_new_storage_slot() public {
        uint32 epoch = current();
        bytes memory records = bytes.concat(recordOf(GROUP, 0, epoch, 1), recordOf(GROUP, 1, epoch, 1));
        bytes memory again = bytes.concat(recordOf(GROUP, 0, epoch, 2), recordOf(GROUP, 2, epoch, 2));
        bytes memory batch = abi.encodePacked(GROUP, uint8(1), recordOf(GROUP, 3, epoch - 0, 1));
        vm.startStateDiffRecording();
        verifier.record(GROUP, epoch, records);
        verifier.record(GROUP, epoch, again);
        verifier.recordMany(epoch, batch);
        verifier.extend(GROUP, epoch, recordOf(GROUP, 0, epoch, 3));
        toEpoch(epoch + uint32(RING));
        verifier.record(GROUP, current(), recordOf(GROUP, 5, current(), 1));
        VmAccess memory seen = _writes();
        assertEq(seen.fromZero, 0, "a slot went from zero to something");
        assertEq(seen.count, 4, "one write a group and call, none to extend");
    }

    struct VmAccess {
        uint256 count;
        uint256 fromZero;
    }

    function _writes() private returns (VmAccess memory seen) {
        Vm.AccountAccess[] memory accesses = vm.stopAndReturnStateDiff();
        for (uint256 i; i < accesses.length; ++i) {
            for (uint256 j; j < accesses[i].storageAccesses.length; ++j) {
                if (!accesses[i].storageAccesses[j].isWrite) continue;
                ++seen.count;
                if (accesses[i].storageAccesses[j].previousValue == 0) ++seen.fromZero;
            }
        }
    }

    /* SKIPPED */

    function test_a_replay_is_skipped_and_does_not_revert() public {
        bytes memory records = recordOf(GROUP, 0, current(), 1);
        verifier.record(GROUP, current(), records);
        expectSkipped(current(), 0, 1, 1);
        assertEq(verifier.record(GROUP, current(), records), 0);
    }

    function test_overlap_never_reverts_and_the_rest_is_recorded() public {
        uint32 epoch = current();
        vm.prank(STRANGER);
        verifier.record(GROUP, epoch, recordOf(GROUP, 1, epoch, 1));
        bytes memory records =
            bytes.concat(recordOf(GROUP, 0, epoch, 1), recordOf(GROUP, 1, epoch, 5), recordOf(GROUP, 2, epoch, 1));
        expectRecorded(epoch, 0, 1);
        expectSkipped(epoch, 1, 5, 1);
        expectRecorded(epoch, 2, 1);
        assertEq(verifier.record(GROUP, epoch, records), 2);
    }

    function test_a_record_twice_in_one_call_counts_once() public {
        bytes memory one = recordOf(GROUP, 4, current(), 1);
        expectRecorded(current(), 4, 1);
        expectSkipped(current(), 4, 1, 1);
        assertEq(verifier.record(GROUP, current(), bytes.concat(one, one)), 1);
    }

    function test_after_a_stranger_recorded_an_early_head_extend_adds_the_longer_one() public {
        uint32 epoch = current();
        bytes memory longer = recordOf(GROUP, 0, epoch, 7);
        vm.prank(STRANGER);
        verifier.record(GROUP, epoch, recordOf(GROUP, 0, epoch, 1));
        assertEq(verifier.record(GROUP, epoch, longer), 0);
        vm.expectEmit(address(verifier));
        emit IChargingAuthVerifier.HeadExtended(GROUP, position(epoch, 0, 7), headOf(0, 7));
        assertEq(verifier.extend(GROUP, epoch, longer), 1);
    }

    function test_extend_skips_what_was_not_recorded() public {
        expectSkipped(current(), 0, 1, 6);
        assertEq(verifier.extend(GROUP, current(), recordOf(GROUP, 0, current(), 1)), 0);
    }

    function test_extend_verifies_the_signature() public {
        uint32 epoch = current();
        verifier.record(GROUP, epoch, recordOf(GROUP, 0, epoch, 1));
        expectSkipped(epoch, 0, 2, 4);
        assertEq(verifier.extend(GROUP, epoch, recordBy(0xBAD, GROUP, 0, epoch, 2)), 0);
    }

    function test_a_bad_signature_is_skipped() public {
        expectSkipped(current(), 0, 1, 4);
        assertEq(verifier.record(GROUP, current(), recordBy(0xBAD, GROUP, 0, current(), 1)), 0);
        assertFalse(bit(current(), 0));
    }

    function test_another_piles_signature_is_skipped() public {
        expectSkipped(current(), 0, 1, 4);
        verifier.record(GROUP, current(), recordBy(keyOf(GROUP, 1), GROUP, 0, current(), 1));
    }

    function test_every_changed_field_breaks_the_signature() public {
        uint32 epoch = current();
        HeadDigest.Head memory good = headIn(GROUP, 0, epoch, 1, headOf(0, 1));
        for (uint256 field; field < 7; ++field) {
            HeadDigest.Head memory head = headIn(GROUP, 0, epoch, 1, headOf(0, 1));
            if (field == 0) head.group = 8;
            if (field == 1) head.index = 1;
            if (field == 2) head.epoch = epoch - 1;
            if (field == 3) head.challenge = verifier.challengeOf(epoch - 1);
            if (field == 4) head.policyHash = keccak256("another policy");
            if (field == 5) head.n = 2;
            if (field == 6) head.head = headOf(0, 2);
            bytes memory signature = signHead(keyOf(GROUP, 0), head);
            expectSkipped(epoch, 0, 1, 4);
            verifier.record(GROUP, epoch, abi.encodePacked(uint8(0), uint8(1), good.head, signature));
        }
    }

    function test_a_zero_signature_is_skipped() public {
        bytes memory records = abi.encodePacked(uint8(0), uint8(1), headOf(0, 1), new bytes(64));
        expectSkipped(current(), 0, 1, 4);
        assertEq(verifier.record(GROUP, current(), records), 0);
    }

    function test_a_zero_signature_for_an_index_without_a_key_is_skipped() public {
        for (uint256 index = PILES; index < 256; ++index) {
            bytes memory records = abi.encodePacked(uint8(index), uint8(1), headOf(index, 1), new bytes(64));
            expectSkipped(current(), uint8(index), 1, 5);
            assertEq(verifier.record(GROUP, current(), records), 0);
        }
    }

    function test_a_signature_with_high_s_is_skipped() public {
        // EIP-2098 leaves s 255 bits, a little more than half the order. No signer finds such an s by chance, but any
        // (r, s) recovers some address: register that one.
        uint32 epoch = current() + 1;
        bytes32 challenge = keccak256("challenge");
        bytes32 r = 0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798;
        uint256[2] memory s = [S_MAX, S_MAX + 1];
        IDeviceRegistry.Registration[] memory items = new IDeviceRegistry.Registration[](2);
        for (uint8 i; i < 2; ++i) {
            uint8 index = uint8(PILES) + i;
            bytes32 digest = HeadDigest.digest(
                block.chainid,
                address(verifier),
                HeadDigest.Head(GROUP, index, epoch, challenge, verifier.policyAt(epoch), 1, headOf(index, 1))
            );
            items[i] = IDeviceRegistry.Registration(deviceId(GROUP, index), ecrecover(digest, 27, r, bytes32(s[i])));
            assertTrue(items[i].key != address(0));
        }
        vm.prank(OPERATOR);
        devices.register(GROUP, items);
        toEpoch(epoch);
        vm.setBlockhash(uint256(epoch) * EPOCH_LEN, challenge);

        uint8 low = uint8(PILES);
        assertEq(verifier.record(GROUP, epoch, abi.encodePacked(low, uint8(1), headOf(low, 1), r, s[0])), 1);
        expectSkipped(epoch, low + 1, 1, 4);
        assertEq(verifier.record(GROUP, epoch, abi.encodePacked(low + 1, uint8(1), headOf(low + 1, 1), r, s[1])), 0);
    }

    function test_n_of_zero_is_skipped() public {
        expectSkipped(current(), 0, 0, 4);
        assertEq(verifier.record(GROUP, current(), recordOf(GROUP, 0, current(), 0)), 0);
    }

    function test_a_revoked_pile_is_skipped_even_for_epochs_before_the_revocation() public {
        uint32 epoch = current();
        bytes memory records = recordOf(GROUP, 0, epoch, 1);
        toEpoch(epoch + 1);
        revoke(deviceId(GROUP, 0));
        expectSkipped(epoch, 0, 1, 3);
        assertEq(verifier.record(GROUP, epoch, records), 0);
        assertEq(verifier.record(GROUP, epoch, recordOf(GROUP, 1, epoch, 1)), 1, "its neighbour still records");
    }

    function test_a_key_that_is_not_yet_active_is_skipped() public {
        addPiles(GROUP, PILES, 1);
        uint8 index = uint8(PILES);
        expectSkipped(current(), index, 1, 2);
        assertEq(verifier.record(GROUP, current(), recordOf(GROUP, index, current(), 1)), 0);
        toEpoch(current() + 1);
        assertEq(verifier.record(GROUP, current(), recordOf(GROUP, index, current(), 1)), 1);
    }

    function test_a_key_rotated_away_counts_for_its_epochs_and_no_later_one() public {
        uint32 epoch = current();
        rotate(deviceId(GROUP, 0), 0xC0FFEE);
        toEpoch(epoch + 1);
        expectSkipped(epoch + 1, 0, 1, 2);
        verifier.record(GROUP, epoch + 1, recordOf(GROUP, 0, epoch + 1, 1));
        assertEq(verifier.record(GROUP, epoch, recordOf(GROUP, 0, epoch, 1)), 1, "old index, old epoch");
        uint8 newIndex = uint8(PILES);
        assertEq(verifier.record(GROUP, epoch + 1, recordBy(0xC0FFEE, GROUP, newIndex, epoch + 1, 1)), 1);
        expectSkipped(epoch, newIndex, 1, 2);
        verifier.record(GROUP, epoch, recordBy(0xC0FFEE, GROUP, newIndex, epoch, 1));
    }

    function test_a_stale_policy_is_refused_from_the_next_ones_first_epoch_on() public {
        uint32 first = current() + MIN_LEAD;
        bytes32 stale = verifier.policyAt(current());
        schedule(2, first, PolicyText.example());
        toEpoch(first);
        HeadDigest.Head memory head = headIn(GROUP, 0, first, 1, headOf(0, 1));
        assertTrue(head.policyHash != stale);
        assertEq(
            verifier.record(GROUP, first - 1, recordOf(GROUP, 1, first - 1, 1)), 1, "the epoch before keeps the old"
        );
        head.policyHash = stale;
        bytes memory signature = signHead(keyOf(GROUP, 0), head);
        expectSkipped(first, 0, 1, 4);
        verifier.record(GROUP, first, abi.encodePacked(uint8(0), uint8(1), head.head, signature));
        assertEq(verifier.record(GROUP, first, recordOf(GROUP, 0, first, 1)), 1);
    }

    function test_epochs_older_than_the_packed_policies_still_find_theirs() public {
        uint32 epoch = current();
        bytes memory records = recordOf(GROUP, 0, epoch, 1);
        for (uint32 version = 2; version <= 9; ++version) {
            schedule(version, epoch + MIN_LEAD + version, PolicyText.example());
        }
        toEpoch(epoch + MIN_LEAD + 9);
        assertEq(verifier.record(GROUP, epoch, records), 1, "asked of the registry");
        for (uint32 e = epoch; e <= current(); ++e) {
            assertEq(verifier.policyAt(e), policies.policyAt(e));
            assertEq(verifier.record(GROUP, e, recordOf(GROUP, 1, e, 1)), 1);
        }
    }

    /* REVERTS: WHAT CONCERNS THE WHOLE CALL */

    function test_a_record_older_than_the_ring_is_refused() public {
        uint32 epoch = current();
        bytes memory records = recordOf(GROUP, 0, epoch, 1);
        toEpoch(epoch + uint32(RING) - 1);
        uint256 before = vm.snapshotState();
        assertEq(verifier.record(GROUP, epoch, records), 1, "the last epoch of the window");
        vm.revertToState(before);
        toEpoch(epoch + uint32(RING));
        vm.expectRevert(abi.encodeWithSelector(IChargingAuthVerifier.EpochOlderThanRing.selector, epoch, epoch + 1));
        verifier.record(GROUP, epoch, records);
        vm.expectRevert(abi.encodeWithSelector(IChargingAuthVerifier.EpochOlderThanRing.selector, epoch, epoch + 1));
        verifier.extend(GROUP, epoch, records);
    }

    function test_an_epoch_that_has_not_begun_is_refused() public {
        bytes memory records = recordOf(GROUP, 0, current(), 1);
        uint32 next = current() + 1;
        vm.expectRevert(abi.encodeWithSelector(IChargingAuthVerifier.EpochInFuture.selector, next, next - 1));
        verifier.record(GROUP, next, records);
    }

    function test_the_epoch_number_of_an_unused_ring_word_is_refused() public {
        bytes memory records = recordOf(GROUP, 0, current(), 1);
        uint32 poisoned = type(uint32).max;
        (uint32 wordEpoch, uint224 bitmap) = verifier.ringWord(GROUP, 0);
        assertEq(wordEpoch, poisoned);
        assertEq(bitmap, 0);
        vm.expectRevert(abi.encodeWithSelector(IChargingAuthVerifier.EpochInFuture.selector, poisoned, current()));
        verifier.record(GROUP, poisoned, records);
    }

    function test_the_first_block_of_an_epoch_has_no_challenge_for_it_yet() public {
        uint32 epoch = current() + 1;
        bytes memory records = new bytes(98);
        vm.roll(epoch * EPOCH_LEN);
        vm.expectRevert(abi.encodeWithSelector(IChargingAuthVerifier.ChallengeUnavailable.selector, epoch));
        verifier.record(GROUP, epoch, records);
    }

    function test_an_unknown_group_is_refused() public {
        bytes memory records = recordOf(GROUP, 0, current(), 1);
        uint32 epoch = current();
        vm.expectRevert(abi.encodeWithSelector(IChargingAuthVerifier.UnknownGroup.selector, 99));
        verifier.record(99, epoch, records);
        vm.expectRevert(abi.encodeWithSelector(IChargingAuthVerifier.UnknownGroup.selector, 99));
        verifier.openRing(99, 1);
    }

    function test_a_ring_that_is_not_open_is_refused() public {
        vm.prank(OPERATOR);
        devices.createGroup(8);
        addPiles(8, 0, 1);
        toEpoch(current() + 1);
        uint32 epoch = current();
        bytes memory records = recordOf(8, 0, epoch, 1);
        vm.expectRevert(abi.encodeWithSelector(IChargingAuthVerifier.RingNotOpen.selector, 8, epoch));
        verifier.record(8, epoch, records);
        assertEq(verifier.openRing(8, 5), 5);
        assertEq(verifier.openRing(8, 1_000), RING);
        assertEq(verifier.openRing(8, 1), RING);
        assertEq(verifier.record(8, epoch, records), 1);
        assertEq(verifier.openRing(8, uint32(RING)), RING, "opening again changes nothing");
        (, uint224 bitmap) = verifier.ringWord(8, epoch);
        assertEq(bitmap, 1);
    }

    function test_malformed_lengths_are_refused() public {
        uint32 epoch = current();
        bytes memory one = recordOf(GROUP, 0, epoch, 1);
        uint256[4] memory lengths = [uint256(0), 1, 97, 99];
        for (uint256 i; i < lengths.length; ++i) {
            bytes memory records = new bytes(lengths[i]);
            vm.expectRevert(abi.encodeWithSelector(IChargingAuthVerifier.MalformedLength.selector, lengths[i]));
            verifier.record(GROUP, epoch, records);
            vm.expectRevert(abi.encodeWithSelector(IChargingAuthVerifier.MalformedLength.selector, lengths[i]));
            verifier.extend(GROUP, epoch, records);
        }
        bytes[5] memory batches = [
            bytes(""),
            abi.encodePacked(GROUP),
            abi.encodePacked(GROUP, uint8(0)),
            abi.encodePacked(GROUP, uint8(2), one),
            abi.encodePacked(GROUP, uint8(1), one, uint8(0))
        ];
        for (uint256 i; i < batches.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IChargingAuthVerifier.MalformedLength.selector, batches[i].length));
            verifier.recordMany(epoch, batches[i]);
        }
    }

    function test_without_a_policy_nothing_is_recorded() public {
        ChargingAuthVerifier fresh = new ChargingAuthVerifier(address(manager), devices, policies, EPOCH_LEN, RING, 256);
        uint32 epoch = current();
        vm.expectRevert(abi.encodeWithSelector(IChargingAuthVerifier.NoPolicy.selector, epoch));
        fresh.record(GROUP, epoch, new bytes(98));
    }

    function test_only_the_registries_push() public {
        vm.expectRevert(abi.encodeWithSelector(IChargingAuthVerifier.NotRegistry.selector, STRANGER));
        vm.prank(STRANGER);
        verifier.pushGroup(GROUP, 1);
        vm.expectRevert(abi.encodeWithSelector(IChargingAuthVerifier.NotRegistry.selector, address(devices)));
        vm.prank(address(devices));
        verifier.pushPolicies(1, 1, bytes32(0));
    }

    function test_a_ring_longer_than_blockhash_reaches_is_refused() public {
        vm.expectRevert(abi.encodeWithSelector(IChargingAuthVerifier.RingOutsideReach.selector, EPOCH_LEN, 51, 256));
        new ChargingAuthVerifier(address(manager), devices, policies, EPOCH_LEN, 51, 256);
        new ChargingAuthVerifier(address(manager), devices, policies, EPOCH_LEN, 50, 256);
        vm.expectRevert(abi.encodeWithSelector(IChargingAuthVerifier.RingOutsideReach.selector, EPOCH_LEN, 0, 256));
        new ChargingAuthVerifier(address(manager), devices, policies, EPOCH_LEN, 0, 256);
        vm.expectRevert(
            abi.encodeWithSelector(IChargingAuthVerifier.EpochLengthDiffers.selector, 4, EPOCH_LEN, EPOCH_LEN)
        );
        new ChargingAuthVerifier(address(manager), devices, policies, 4, 50, 256);
    }

    /* VIEWS */

    function test_the_challenge_is_the_hash_of_the_epochs_first_block() public {
        bytes32 hash = keccak256("a block");
        uint32 epoch = current();
        vm.setBlockhash(uint256(epoch) * EPOCH_LEN, hash);
        assertEq(verifier.challengeOf(epoch), hash);
        assertEq(verifier.record(GROUP, epoch, recordOf(GROUP, 0, epoch, 1)), 1);
    }

    function test_verifyHead_says_what_record_would() public {
        uint32 epoch = current();
        bytes32 head = headOf(0, 3);
        bytes memory signature = signHead(keyOf(GROUP, 0), headIn(GROUP, 0, epoch, 3, head));
        assertTrue(verifier.verifyHead(GROUP, 0, epoch, 3, head, signature));
        assertFalse(verifier.verifyHead(GROUP, 0, epoch, 2, head, signature));
        assertFalse(verifier.verifyHead(GROUP, 1, epoch, 3, head, signature));
        assertFalse(verifier.verifyHead(GROUP, 224, epoch, 3, head, signature));
        assertFalse(verifier.verifyHead(99, 0, epoch, 3, head, signature));
        assertFalse(verifier.verifyHead(GROUP, 0, epoch + 1, 3, head, signature));
        assertFalse(verifier.verifyHead(GROUP, 0, epoch, 3, head, abi.encodePacked(signature, uint8(0))));
        revoke(deviceId(GROUP, 0));
        assertFalse(verifier.verifyHead(GROUP, 0, epoch, 3, head, signature));
        toEpoch(epoch + uint32(RING));
        assertFalse(verifier.verifyHead(GROUP, 0, epoch, 3, head, signature));
    }

    function test_the_domain_follows_the_chain_id() public {
        uint32 epoch = current();
        bytes memory old = recordOf(GROUP, 0, epoch, 1);
        vm.chainId(block.chainid + 1);
        expectSkipped(epoch, 0, 1, 4);
        verifier.record(GROUP, epoch, old);
        assertEq(verifier.record(GROUP, epoch, recordOf(GROUP, 0, epoch, 1)), 1);
    }

    /// forge-config: default.fuzz.runs = 64
    /// forge-config: full.fuzz.runs = 10000
    function testFuzz_garbage_records_are_never_recorded(bytes32 a, bytes32 b, bytes32 c, bytes2 d) public {
        bytes memory records = abi.encodePacked(d, a, b, c);
        assertEq(verifier.record(GROUP, current(), records), 0);
    }
}
