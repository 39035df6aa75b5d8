// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { HeadDigest } from "../reference/HeadDigest.sol";
import { PolicyText } from "../script/PolicyText.sol";
import { IChargingAuthVerifier } from "../src/interfaces/IChargingAuthVerifier.sol";
import { IDeviceRegistry } from "../src/interfaces/IDeviceRegistry.sol";
import { Bls12381 } from "../src/libraries/Bls12381.sol";
import { BatchTest } from "./BatchTest.sol";
import { BlsSigner } from "./BlsSigner.sol";
import { Vm } from "forge-std/Vm.sol";

/// @notice Roots of batches: what they record, and every way to misuse them.
contract RecordRootTest is BatchTest {
    uint224 private constant ALL = uint224((1 << PILES) - 1);

    uint32 private epoch;

    function setUp() public override {
        super.setUp();
        enrolPiles(GROUP, 0, PILES);
        toEpoch(current() + 2);
        epoch = current();
    }

    function expectRefused(bytes memory data, Part[] memory parts) private {
        expectRefused(data, parts, signed(epoch, parts));
    }

    function expectRefused(bytes memory data, Part[] memory parts, bytes memory signature) private {
        uint224 before = bitsOf(GROUP, epoch);
        bytes32 chain = verifier.rootChain(GROUP, epoch);
        bytes memory batches = batchesOf(parts);
        vm.expectRevert(data);
        verifier.recordRoot(epoch, signature, batches);
        assertEq(bitsOf(GROUP, epoch), before);
        assertEq(verifier.rootChain(GROUP, epoch), chain);
    }

    function notSigned(Part[] memory parts) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IChargingAuthVerifier.RootNotSigned.selector, rootOf(parts));
    }

    function opens(Part memory part, uint8 index, bytes32 before) private view returns (bool) {
        return verifier.openHead(part.group, index, epoch, 1, headOf(index, 1), openingOf(part, index, before));
    }

    /* WHAT IS RECORDED */

    function test_a_root_sets_the_bits_of_its_signers_and_each_of_them_opens() public {
        Part memory part = partOf(GROUP, ALL, ALL & ~uint224(4));
        bytes32 before = verifier.rootChain(GROUP, epoch);
        bytes memory signature = signed(epoch, one(part));
        vm.expectEmit(address(verifier));
        emit IChargingAuthVerifier.RootRecorded(GROUP, epoch, part.nodes[1], part.signers, before);
        vm.prank(STRANGER);
        assertEq(verifier.recordRoot(epoch, signature, batchOf(part)), PILES - 1);
        assertEq(bitsOf(GROUP, epoch), part.signers);
        assertEq(verifier.rootChain(GROUP, epoch), keccak256(bytes.concat(before, entryOf(part, epoch))));
        for (uint8 index; index < PILES; ++index) {
            assertEq(opens(part, index, before), index != 2);
        }
    }

    function test_piles_that_did_not_sign_are_recorded_by_their_records_in_the_same_call() public {
        Part memory part = partOf(GROUP, ALL, ALL & ~uint224(6));
        part.records = recordsOf(GROUP, 6, epoch);
        vm.recordLogs();
        assertEq(recordParts(epoch, one(part)), PILES);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs.length, 3, "a log for the root, and one for each record");
        assertEq(logs[1].topics[0], IChargingAuthVerifier.HeadRecorded.selector);
        assertEq(uint256(logs[1].topics[2]), position(epoch, 1, 1));
        assertEq(bitsOf(GROUP, epoch), ALL);
    }

    function test_a_bad_record_beside_a_root_is_skipped_and_the_rest_counts() public {
        Part memory part = partOf(GROUP, ALL, ALL & ~uint224(6));
        part.records = bytes.concat(recordBy(0xBAD, GROUP, 1, epoch, 1), recordOf(GROUP, 2, epoch, 1));
        assertEq(recordParts(epoch, one(part)), PILES - 1);
        assertEq(bitsOf(GROUP, epoch), ALL & ~uint224(2));
    }

    function test_several_groups_share_a_root() public {
        uint32[3] memory others = [uint32(9), 12, 4_000_000_000];
        for (uint256 i; i < others.length; ++i) {
            addGroup(others[i], 3);
            enrolPiles(others[i], 0, 3);
        }
        toEpoch(current() + 1);
        epoch = current();
        Part[] memory parts = new Part[](4);
        parts[0] = partOf(GROUP, ALL, ALL & ~uint224(1));
        parts[1] = partOf(9, 7, 7);
        parts[2] = partOf(12, 7, 1); // The signer alone is summed up here, the total elsewhere.
        parts[3] = partOf(4_000_000_000, 7, 0);
        parts[3].records = recordsOf(4_000_000_000, 7, epoch);
        parts[1].records = recordsOf(9, 1, epoch); // Signed as well.
        for (uint256 count = 4; count > 0; --count) {
            Part[] memory some = new Part[](count);
            uint256 expected;
            for (uint256 i; i < count; ++i) {
                some[i] = parts[i];
                expected += [PILES - 1, 3, 1, 3][i];
            }
            uint256 snapshot = vm.snapshotState();
            bytes32 before = verifier.rootChain(GROUP, epoch);
            assertEq(recordParts(epoch, some), expected, "recorded");
            assertTrue(opens(parts[0], 1, before));
            if (count > 1) assertTrue(opens(parts[1], 2, before));
            if (count == 4) {
                assertEq(bitsOf(4_000_000_000, epoch), 7);
                assertEq(verifier.rootChain(4_000_000_000, epoch), before, "nobody signed there");
            }
            vm.revertToState(snapshot);
        }
    }

    function test_sixteen_groups_are_the_most() public {
        Part[] memory parts = new Part[](17);
        for (uint32 i; i < 17; ++i) {
            uint32 group = 100 + i;
            addGroup(group, 1);
            if (i < 2) enrolPiles(group, 0, 1);
            parts[i] = partOf(group, 1, i < 2 ? 1 : 0);
        }
        toEpoch(current() + 1);
        epoch = current();
        expectRefused(abi.encodeWithSelector(IChargingAuthVerifier.TooManyGroups.selector, 16), parts);
        /// @solidity memory-safe-assembly
        assembly {
            mstore(parts, 16)
        }
        assertEq(recordParts(epoch, parts), 2);
    }

    function test_a_root_writes_no_new_slot_and_two_words_a_group() public {
        Part memory part = partOf(GROUP, ALL, ALL & ~uint224(1));
        part.records = recordsOf(GROUP, 1, epoch);
        bytes memory signature = signed(epoch, one(part));
        bytes memory batches = batchOf(part);
        vm.startStateDiffRecording();
        verifier.recordRoot(epoch, signature, batches);
        Vm.AccountAccess[] memory accesses = vm.stopAndReturnStateDiff();
        uint256 writes;
        for (uint256 i; i < accesses.length; ++i) {
            for (uint256 j; j < accesses[i].storageAccesses.length; ++j) {
                Vm.StorageAccess memory access = accesses[i].storageAccesses[j];
                if (!access.isWrite) continue;
                assertNotEq(access.previousValue, 0, "a new slot");
                ++writes;
            }
        }
        assertEq(writes, 2);
    }

    function test_a_revoked_pile_counts_as_absent_at_once() public {
        revoke(deviceId(GROUP, 3));
        Part memory part = partOf(GROUP, ALL, ALL & ~uint224(8));
        assertEq(recordParts(epoch, one(part)), PILES - 1);
    }

    /// @dev Both ways to sum up keys, whoever is absent, and whatever was recorded before.
    function testFuzz_total_without_absentees_and_sum_of_signers_agree(uint224 signers, uint224 earlier) public {
        signers &= ALL;
        earlier &= ALL;
        if (signers == 0) signers = 1;
        if (earlier != 0) verifier.record(GROUP, epoch, recordsOf(GROUP, earlier, epoch));
        Part memory part = partOf(GROUP, ALL, signers);
        part.records = recordsOf(GROUP, ALL & ~signers & ~uint224(1), epoch);
        recordParts(epoch, one(part));
        assertEq(bitsOf(GROUP, epoch), (ALL & ~uint224(1)) | signers | earlier);
    }

    /* OVERLAP AND ORDER */

    function test_a_smaller_subset_sent_first_by_a_stranger_leaves_the_rest_to_be_recorded() public {
        Part memory all = partOf(GROUP, ALL, ALL & ~uint224(1));
        Part memory few = partOf(GROUP, ALL, 0x0e);
        bytes32 before = verifier.rootChain(GROUP, epoch);
        bytes memory signature = signed(epoch, one(few));
        vm.prank(STRANGER);
        assertEq(verifier.recordRoot(epoch, signature, batchOf(few)), 3);
        bytes32 between = verifier.rootChain(GROUP, epoch);
        all.records = recordsOf(GROUP, 3, epoch); // One is a signer too: overlap is skipped.
        assertEq(recordParts(epoch, one(all)), PILES - 3);
        assertEq(bitsOf(GROUP, epoch), ALL);
        assertTrue(opens(all, 1, between), "signers of both open by either");
        bytes memory later = bytes.concat(openingOf(few, 1, before), entryOf(all, epoch));
        assertTrue(verifier.openHead(GROUP, 1, epoch, 1, headOf(1, 1), later));
    }

    function test_a_second_root_in_one_epoch_evicts_nothing_and_both_open() public {
        Part memory first = partOf(GROUP, 0x0f, 0x0f);
        Part memory second = partOf(GROUP, ALL, 0xf0);
        bytes32 before = verifier.rootChain(GROUP, epoch);
        recordParts(epoch, one(first));
        bytes32 between = verifier.rootChain(GROUP, epoch);
        assertEq(recordParts(epoch, one(second)), 4);
        assertTrue(opens(second, 7, between));
        assertFalse(opens(first, 0, before), "not without the entry after it");
        bytes memory opening = bytes.concat(openingOf(first, 0, before), entryOf(second, epoch));
        assertTrue(verifier.openHead(GROUP, 0, epoch, 1, headOf(0, 1), opening));
        // Nor do epochs that use the same place.
        uint32 old = epoch;
        toEpoch(epoch + uint32(RING));
        epoch = current();
        Part memory third = partOf(GROUP, ALL, ALL);
        recordParts(epoch, one(third));
        assertFalse(verifier.openHead(GROUP, 0, old, 1, headOf(0, 1), opening));
        opening = bytes.concat(opening, entryOf(third, epoch));
        assertTrue(verifier.openHead(GROUP, 0, old, 1, headOf(0, 1), opening));
    }

    function test_the_ring_cannot_be_flooded() public {
        Part memory part = partOf(GROUP, ALL, ALL);
        recordParts(epoch, one(part));
        bytes32 chain = verifier.rootChain(GROUP, epoch);
        // Whoever has the signatures sends each subset: no bit is new, so nothing is entered.
        for (uint224 signers = 1; signers < 9; ++signers) {
            part.signers = signers;
            vm.recordLogs();
            assertEq(recordParts(epoch, one(part)), 0);
            assertEq(vm.getRecordedLogs().length, 0);
        }
        assertEq(verifier.rootChain(GROUP, epoch), chain);
    }

    function test_a_replayed_root_changes_nothing() public {
        Part memory part = partOf(GROUP, ALL, ALL);
        bytes memory signature = signed(epoch, one(part));
        assertEq(verifier.recordRoot(epoch, signature, batchOf(part)), PILES);
        bytes32 chain = verifier.rootChain(GROUP, epoch);
        assertEq(verifier.recordRoot(epoch, signature, batchOf(part)), 0);
        assertEq(verifier.rootChain(GROUP, epoch), chain);
        toEpoch(epoch + 1);
        bytes32 digestRoot = rootOf(one(part));
        vm.expectRevert(abi.encodeWithSelector(IChargingAuthVerifier.RootNotSigned.selector, digestRoot));
        verifier.recordRoot(epoch + 1, signature, batchOf(part));
    }

    /* NOBODY, INFINITY, STRANGE POINTS */

    function test_an_all_absent_batch_with_the_signature_at_infinity_is_refused() public {
        Part[] memory parts = one(partOf(GROUP, ALL, 0));
        expectRefused(abi.encodeWithSelector(IChargingAuthVerifier.SignatureAtInfinity.selector), parts, new bytes(96));
        expectRefused(
            abi.encodeWithSelector(IChargingAuthVerifier.NoSigner.selector),
            parts,
            BlsSigner.signRoot(1, rootDigest(epoch, rootOf(parts)))
        );
    }

    function test_a_signature_at_infinity_is_refused_beside_signers() public {
        expectRefused(
            abi.encodeWithSelector(IChargingAuthVerifier.SignatureAtInfinity.selector),
            one(partOf(GROUP, ALL, ALL)),
            new bytes(96)
        );
    }

    function test_keys_that_cancel_each_other_sign_nothing() public {
        // Two piles of one owner with opposite keys, each with its proof of possession.
        uint32 group = 9;
        addGroup(group, 2);
        IDeviceRegistry.Enrolment[] memory items = new IDeviceRegistry.Enrolment[](2);
        items[0] = enrolment(deviceId(group, 0), 5);
        items[1] = enrolment(deviceId(group, 1), BlsSigner.R - 5);
        vm.prank(OPERATOR);
        devices.enrol(group, items);
        toEpoch(current() + 1);
        epoch = current();
        Part[] memory parts = one(partOf(group, 3, 3));
        expectRefused(
            abi.encodeWithSelector(IChargingAuthVerifier.KeySumAtInfinity.selector),
            parts,
            BlsSigner.signRoot(1, rootDigest(epoch, rootOf(parts)))
        );
    }

    function test_a_signature_off_the_curve_or_outside_the_subgroup_is_refused() public {
        Part[] memory parts = one(partOf(GROUP, ALL, ALL));
        bytes memory refused = abi.encodeWithSelector(Bls12381.BlsPointRefused.selector);
        expectRefused(refused, parts, BlsSigner.outsideSubgroupG1());
        bytes memory signature = signed(epoch, parts);
        bytes memory broken = bytes.concat(signature);
        broken[95] ^= 0x01;
        expectRefused(refused, parts, broken);
        expectRefused(refused, parts, BlsSigner.withModulusAdded(signature, 1));
    }

    function test_a_signature_of_another_length_is_refused() public {
        Part[] memory parts = one(partOf(GROUP, ALL, ALL));
        bytes memory longer = bytes.concat(signed(epoch, parts), hex"00");
        expectRefused(abi.encodeWithSelector(Bls12381.BlsMalformedLength.selector, 97), parts, longer);
        expectRefused(abi.encodeWithSelector(Bls12381.BlsMalformedLength.selector, 0), parts, "");
    }

    function test_without_the_precompiles_recording_roots_is_unavailable() public {
        Part memory part = partOf(GROUP, ALL, ALL);
        bytes memory signature = signed(epoch, one(part));
        // What an address without code does: it takes anything and returns nothing.
        vm.mockCall(address(0x0d), bytes(""), bytes(""));
        vm.expectRevert(Bls12381.BlsUnavailable.selector);
        verifier.recordRoot(epoch, signature, batchOf(part));
    }

    /* WHO SIGNED */

    function test_a_hidden_absentee_is_refused() public {
        Part[] memory parts = one(partOf(GROUP, ALL, ALL & ~uint224(8)));
        bytes memory signature = signed(epoch, parts);
        parts[0].signers = ALL;
        expectRefused(notSigned(parts), parts, signature);
    }

    function test_a_dropped_signer_is_refused() public {
        Part[] memory parts = one(partOf(GROUP, ALL, ALL));
        bytes memory signature = signed(epoch, parts);
        parts[0].signers = ALL & ~uint224(8);
        expectRefused(notSigned(parts), parts, signature);
        parts[0].signers = 1;
        expectRefused(notSigned(parts), parts, signature);
    }

    function test_a_duplicate_absentee_has_no_form_a_group_twice_is_refused() public {
        Part[] memory parts = new Part[](2);
        parts[0] = partOf(GROUP, ALL, ALL & ~uint224(1));
        parts[1] = partOf(GROUP, ALL, ALL & ~uint224(1));
        expectRefused(abi.encodeWithSelector(IChargingAuthVerifier.GroupsOutOfOrder.selector, GROUP, GROUP), parts);
    }

    function test_groups_in_another_order_are_refused() public {
        addGroup(3, 1);
        enrolPiles(3, 0, 1);
        toEpoch(current() + 1);
        epoch = current();
        Part[] memory parts = new Part[](2);
        parts[0] = partOf(GROUP, ALL, ALL);
        parts[1] = partOf(3, 1, 1);
        expectRefused(abi.encodeWithSelector(IChargingAuthVerifier.GroupsOutOfOrder.selector, GROUP, 3), parts);
    }

    function test_a_revoked_signer_is_refused() public {
        Part[] memory parts = one(partOf(GROUP, ALL, ALL));
        bytes memory signature = signed(epoch, parts);
        revoke(deviceId(GROUP, 3));
        expectRefused(
            abi.encodeWithSelector(IChargingAuthVerifier.RevokedSigners.selector, GROUP, uint224(8)), parts, signature
        );
    }

    function test_an_index_beyond_the_group_or_without_a_key_is_refused() public {
        addPiles(GROUP, PILES, 1);
        toEpoch(current() + 1);
        epoch = current();
        for (uint256 index = PILES; index < 224; index += 43) {
            Part[] memory parts = one(partOf(GROUP, ALL, ALL | uint224(1 << index)));
            expectRefused(
                abi.encodeWithSelector(IChargingAuthVerifier.SignersWithoutKey.selector, GROUP, uint224(1 << index)),
                parts
            );
        }
    }

    function test_a_group_without_keys_signs_nothing() public {
        addGroup(9, 2);
        toEpoch(current() + 1);
        epoch = current();
        Part[] memory parts = one(partOf(9, 3, 3));
        expectRefused(
            abi.encodeWithSelector(IChargingAuthVerifier.SignersWithoutKey.selector, uint32(9), uint224(3)), parts
        );
    }

    function test_a_signature_under_an_old_key_set_is_refused() public {
        // Pile 2 rotates: its index ends, and the new one has a key of its own.
        rotate(deviceId(GROUP, 2), 0xC0FFEE);
        toEpoch(current() + 1);
        epoch = current();
        Part[] memory parts = one(partOf(GROUP, ALL, ALL));
        expectRefused(
            abi.encodeWithSelector(IChargingAuthVerifier.SignersWithoutKey.selector, GROUP, uint224(4)), parts
        );
        IDeviceRegistry.Enrolment[] memory items = new IDeviceRegistry.Enrolment[](1);
        items[0] = enrolment(deviceId(GROUP, 2), 77);
        vm.prank(OPERATOR);
        devices.enrol(GROUP, items);
        toEpoch(current() + 1);
        epoch = current();
        parts[0].signers = (ALL & ~uint224(4)) | uint224(1 << PILES);
        // The old secret in place of the new one.
        uint256 secrets = addmod(secretSum(one(partOf(GROUP, 0, ALL))), 0, BlsSigner.R);
        expectRefused(notSigned(parts), parts, BlsSigner.signRoot(secrets, rootDigest(epoch, rootOf(parts))));
        secrets = addmod(secretSum(one(partOf(GROUP, 0, ALL & ~uint224(4)))), 77, BlsSigner.R);
        assertEq(
            verifier.recordRoot(epoch, BlsSigner.signRoot(secrets, rootDigest(epoch, rootOf(parts))), batchesOf(parts)),
            PILES
        );
    }

    function test_each_epoch_goes_by_the_key_set_of_its_own() public {
        uint32 old = epoch;
        addPiles(GROUP, PILES, 5);
        for (uint256 i; i < 5; ++i) {
            enrolPiles(GROUP, PILES + i, 1);
            toEpoch(current() + 1);
        }
        // More totals than the word's lanes hold: the registry is asked.
        epoch = old;
        expectRefused(
            abi.encodeWithSelector(IChargingAuthVerifier.SignersWithoutKey.selector, GROUP, uint224(1 << PILES)),
            one(partOf(GROUP, ALL, ALL | uint224(1 << PILES)))
        );
        assertEq(recordParts(old, one(partOf(GROUP, ALL, ALL & ~uint224(1)))), PILES - 1);
        for (uint32 i; i < 5; ++i) {
            uint224 members = uint224((1 << (PILES + i + 1)) - 1);
            assertEq(recordParts(old + 1 + i, one(partOf(GROUP, members, members & ~uint224(2)))), PILES + i);
        }
    }

    /* WHEN AND UNDER WHAT */

    function test_a_stale_future_or_poisoned_epoch_is_refused() public {
        Part memory part = partOf(GROUP, ALL, ALL);
        bytes memory signature = signed(epoch, one(part));
        bytes memory batch = batchOf(part);
        vm.expectRevert(abi.encodeWithSelector(IChargingAuthVerifier.EpochInFuture.selector, epoch + 1, epoch));
        verifier.recordRoot(epoch + 1, signature, batch);
        vm.expectRevert(abi.encodeWithSelector(IChargingAuthVerifier.EpochInFuture.selector, type(uint32).max, epoch));
        verifier.recordRoot(type(uint32).max, signature, batch);
        toEpoch(epoch + uint32(RING));
        vm.expectRevert(abi.encodeWithSelector(IChargingAuthVerifier.EpochOlderThanRing.selector, epoch, epoch + 1));
        verifier.recordRoot(epoch, signature, batch);
    }

    function test_a_root_signed_under_a_stale_policy_is_refused() public {
        schedule(2, epoch + 2, PolicyText.example());
        bytes32 stale = verifier.policyAt(epoch);
        toEpoch(epoch + 2);
        epoch = current();
        Part[] memory parts = one(partOf(GROUP, ALL, ALL));
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256("Root(uint32 epoch,bytes32 challenge,bytes32 policyHash,bytes32 root)"),
                epoch,
                verifier.challengeOf(epoch),
                stale,
                rootOf(parts)
            )
        );
        bytes32 digest =
            keccak256(bytes.concat(hex"1901", HeadDigest.domain(block.chainid, address(verifier)), structHash));
        expectRefused(notSigned(parts), parts, BlsSigner.signRoot(secretSum(parts), digest));
        assertEq(recordParts(epoch, parts), PILES);
    }

    function test_nothing_is_recorded_during_a_pause() public {
        Part memory part = partOf(GROUP, ALL, ALL);
        bytes memory signature = signed(epoch, one(part));
        vm.prank(GUARDIAN);
        verifier.pause();
        vm.expectRevert(IChargingAuthVerifier.RecordingPaused.selector);
        verifier.recordRoot(epoch, signature, batchOf(part));
    }

    function test_an_unknown_group_and_a_ring_that_is_not_open_are_refused() public {
        expectRefused(
            abi.encodeWithSelector(IChargingAuthVerifier.UnknownGroup.selector, uint32(9)), one(partOf(9, 1, 1))
        );
        vm.prank(OPERATOR);
        devices.createGroup(9);
        expectRefused(
            abi.encodeWithSelector(IChargingAuthVerifier.RingNotOpen.selector, uint32(9), epoch), one(partOf(9, 1, 1))
        );
        vm.expectRevert(abi.encodeWithSelector(IChargingAuthVerifier.RingNotOpen.selector, uint32(9), epoch));
        verifier.rootChain(9, epoch);
        assertFalse(verifier.openHead(9, 0, epoch, 1, headOf(0, 1), new bytes(316)));
    }

    function test_malformed_batches_are_refused() public {
        Part memory part = partOf(GROUP, ALL, ALL);
        part.records = recordsOf(GROUP, 1, epoch);
        bytes memory signature = signed(epoch, one(part));
        bytes memory batch = batchOf(part);
        vm.expectRevert(IChargingAuthVerifier.NoSigner.selector);
        verifier.recordRoot(epoch, signature, "");
        bytes memory cut = bytes.concat(batch);
        for (uint256 i; i < 3; ++i) {
            uint256 length = [uint256(64), 65, 162][i];
            /// @solidity memory-safe-assembly
            assembly {
                mstore(cut, length)
            }
            vm.expectRevert(abi.encodeWithSelector(IChargingAuthVerifier.MalformedLength.selector, length));
            verifier.recordRoot(epoch, signature, cut);
        }
        vm.expectRevert(abi.encodeWithSelector(IChargingAuthVerifier.MalformedLength.selector, 164));
        verifier.recordRoot(epoch, signature, bytes.concat(batch, hex"00"));
    }

    /* OPENING */

    function test_a_leaf_planted_for_an_absentee_does_not_open() public {
        Part memory part = partOf(GROUP, ALL, ALL & ~uint224(4));
        part.nodes[256 + 2] = leafOf(GROUP, 2, 1, "what pile 2 never stated");
        hashUp(part);
        bytes32 before = verifier.rootChain(GROUP, epoch);
        recordParts(epoch, one(part));
        bytes memory opening = openingOf(part, 2, before);
        assertFalse(verifier.openHead(GROUP, 2, epoch, 1, "what pile 2 never stated", opening));
        // Nor with a signer's bit claimed for it.
        part.signers = ALL;
        assertFalse(verifier.openHead(GROUP, 2, epoch, 1, "what pile 2 never stated", openingOf(part, 2, before)));
    }

    function test_a_statement_does_not_open_in_another_epoch_group_index_or_number() public {
        Part memory part = partOf(GROUP, ALL, ALL);
        bytes32 before = verifier.rootChain(GROUP, epoch);
        recordParts(epoch, one(part));
        bytes memory opening = openingOf(part, 3, before);
        assertTrue(verifier.openHead(GROUP, 3, epoch, 1, headOf(3, 1), opening));
        assertFalse(verifier.openHead(GROUP, 3, epoch - 1, 1, headOf(3, 1), opening));
        assertFalse(verifier.openHead(GROUP, 3, epoch + uint32(RING), 1, headOf(3, 1), opening), "the same place");
        assertFalse(verifier.openHead(GROUP + 1, 3, epoch, 1, headOf(3, 1), opening));
        assertFalse(verifier.openHead(GROUP, 2, epoch, 1, headOf(3, 1), opening));
        assertFalse(verifier.openHead(GROUP, 3, epoch, 2, headOf(3, 1), opening));
        assertFalse(verifier.openHead(GROUP, 3, epoch, 1, headOf(3, 2), opening));
    }

    function test_a_statement_leafed_again_in_another_epoch_opens_in_neither() public {
        // A relayer puts an old epoch's head into the tree of this one; the pile does not sign that, the others do.
        Part memory old = partOf(GROUP, ALL, ALL & ~uint224(2));
        recordParts(epoch, one(old));
        uint32 stated = epoch;
        toEpoch(epoch + 1);
        epoch = current();
        Part memory part = partOf(GROUP, ALL, ALL & ~uint224(2));
        bytes32 before = verifier.rootChain(GROUP, epoch);
        recordParts(epoch, one(part));
        assertFalse(opens(part, 1, before));
        assertFalse(verifier.openHead(GROUP, 1, stated, 1, headOf(1, 1), openingOf(part, 1, before)));
        assertTrue(opens(part, 0, before), "a signer stated it in this epoch");
    }

    function test_openings_of_another_length_open_nothing() public {
        Part memory part = partOf(GROUP, ALL, ALL);
        bytes32 before = verifier.rootChain(GROUP, epoch);
        recordParts(epoch, one(part));
        bytes memory opening = openingOf(part, 3, before);
        assertFalse(verifier.openHead(GROUP, 3, epoch, 1, headOf(3, 1), bytes.concat(opening, hex"00")));
        assertFalse(verifier.openHead(GROUP, 3, epoch, 1, headOf(3, 1), bytes.concat(opening, bytes32(0))));
        assertFalse(verifier.openHead(GROUP, 3, epoch, 1, headOf(3, 1), ""));
        for (uint256 length = 315; length > 250; length -= 32) {
            /// @solidity memory-safe-assembly
            assembly {
                mstore(opening, length)
            }
            assertFalse(verifier.openHead(GROUP, 3, epoch, 1, headOf(3, 1), opening));
        }
    }

    function test_an_entry_that_is_cut_off_is_not_read_as_one_that_ends_in_zeros() public {
        Part memory first = partOf(GROUP, 0x0f, 0x0f);
        Part memory second = partOf(GROUP, ALL, 0xf0);
        // What piles sign is a root; that it has leaves is between them and whoever built it.
        while (uint8(uint256(entryOf(second, epoch))) != 0) second.nodes[1] = keccak256(abi.encode(second.nodes[1]));
        bytes32 before = verifier.rootChain(GROUP, epoch);
        recordParts(epoch, one(first));
        recordParts(epoch, one(second));
        bytes memory opening = openingOf(first, 0, before);
        bytes memory cut = bytes.concat(opening, bytes31(entryOf(second, epoch)));
        assertFalse(verifier.openHead(GROUP, 0, epoch, 1, headOf(0, 1), cut));
        assertTrue(verifier.openHead(GROUP, 0, epoch, 1, headOf(0, 1), bytes.concat(cut, hex"00")));
    }

    function test_a_root_opens_nothing_for_an_index_beyond_the_bitmap() public {
        Part memory part = partOf(GROUP, ALL, ALL);
        part.nodes[256 + 230] = leafOf(GROUP, 230, 1, headOf(230, 1));
        hashUp(part);
        bytes32 before = verifier.rootChain(GROUP, epoch);
        recordParts(epoch, one(part));
        assertFalse(opens(part, 230, before));
    }

    /// @dev Whatever index and later entries: an opening opens exactly what its root holds.
    function testFuzz_a_signer_opens_behind_any_entries(uint8 index, uint8 extra, bytes32 other) public {
        index = uint8(index % PILES);
        Part memory part = partOf(GROUP, ALL, uint224(1 << index));
        bytes32 before = verifier.rootChain(GROUP, epoch);
        recordParts(epoch, one(part));
        bytes memory opening = openingOf(part, index, before);
        uint224 added = uint224(1 << index);
        for (uint256 i; i < extra % 4; ++i) {
            uint224 next = uint224(1 << ((index + i + 1) % PILES));
            added |= next;
            Part memory later = partOf(GROUP, added, next);
            recordParts(epoch, one(later));
            opening = bytes.concat(opening, entryOf(later, epoch));
        }
        assertTrue(verifier.openHead(GROUP, index, epoch, 1, headOf(index, 1), opening));
        assertFalse(verifier.openHead(GROUP, index, epoch, 1, other, opening));
    }
}
