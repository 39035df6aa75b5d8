// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { IBatteryLedger } from "../src/interfaces/IBatteryLedger.sol";
import { BatchTest } from "./BatchTest.sol";

/// @notice The ledger by openings of roots, and what it judges: two histories of one pile, and which records lie between two
/// fingerprints.
contract BatteryEvidenceTest is BatchTest {
    bytes32 private constant BATTERY = keccak256("battery");
    uint224 private constant ALL = uint224((1 << PILES) - 1);

    string private vectors;

    function setUp() public override {
        super.setUp();
        enrolPiles(GROUP, 0, PILES);
        toEpoch(current() + 2);
        vectors = vm.readFile("../tests/vectors/telemetry.json");
    }

    function checkpoint(uint8 pile, bytes32 fp) private view returns (IBatteryLedger.Advance memory a) {
        a.deviceId = deviceId(GROUP, pile);
        a.group = GROUP;
        a.index = pile;
        a.epoch = current();
        a.n = 1;
        a.battery = BATTERY;
        a.segment = bytes16("sid");
        a.seq = 10;
        a.time = 1_700_000_000_000;
        a.fp = fp;
    }

    function headAfter(IBatteryLedger.Advance memory a) private pure returns (bytes32) {
        bytes32 typeHash = keccak256(
            "Checkpoint(bytes32 deviceId,uint32 epoch,uint8 n,bytes32 battery,bytes16 segment,uint32 seq,uint64 time,bytes32 fp,uint32 prevSeq,bytes32 prevFp)"
        );
        bytes memory place = abi.encode(typeHash, a.deviceId, a.epoch, a.n);
        bytes32 statement = keccak256(
            bytes.concat(place, abi.encode(a.battery, a.segment, a.seq, a.time, a.fp, a.prevSeq, a.prevFp))
        );
        return keccak256(bytes.concat(a.prevHead, statement));
    }

    function sign(IBatteryLedger.Advance memory a, uint256 key) private view {
        a.signature = signHead(key, headIn(a.group, a.index, a.epoch, a.n, headAfter(a)));
    }

    /// @dev Records a root that holds the checkpoint, signed by all but pile 7.
    function root(IBatteryLedger.Advance memory a) private {
        Part memory part = partOf(GROUP, ALL, ALL & ~uint224(1 << 7));
        part.nodes[256 + a.index] = leafOf(GROUP, a.index, a.n, headAfter(a));
        hashUp(part);
        a.signature = openingOf(part, a.index, verifier.rootChain(GROUP, a.epoch));
        recordParts(a.epoch, one(part));
    }

    function advance(IBatteryLedger.Advance memory a) private returns (uint256) {
        IBatteryLedger.Advance[] memory items = new IBatteryLedger.Advance[](1);
        items[0] = a;
        vm.prank(STRANGER);
        return ledger.advance(items);
    }

    /* ADVANCE */

    function test_an_opened_checkpoint_moves_the_head() public {
        IBatteryLedger.Advance memory a = checkpoint(0, "fp");
        root(a);
        assertEq(advance(a), 1);
        assertEq(ledger.headOf(BATTERY), keccak256(abi.encodePacked(uint32(10), bytes32("fp"))));
    }

    function test_a_checkpoint_planted_in_a_root_for_an_absentee_moves_nothing() public {
        IBatteryLedger.Advance memory a = checkpoint(7, "fp");
        root(a);
        assertEq(advance(a), 0);
        assertEq(ledger.headOf(BATTERY), 0);
    }

    function test_an_opened_checkpoint_of_a_revoked_pile_moves_nothing() public {
        IBatteryLedger.Advance memory a = checkpoint(0, "fp");
        root(a);
        revoke(a.deviceId);
        assertEq(advance(a), 0);
    }

    /* TAMPERING */

    function test_two_fingerprints_of_one_pile_for_one_record_prove_tampering() public {
        IBatteryLedger.Advance memory a = checkpoint(0, "fp");
        IBatteryLedger.Advance memory b = checkpoint(0, "another");
        root(a);
        toEpoch(current() + 1);
        b.epoch = current();
        b.time += 5;
        sign(b, keyOf(GROUP, 0));
        vm.expectEmit(address(ledger));
        emit IBatteryLedger.TamperingProven(BATTERY, a.deviceId, 10, a.segment, "fp", "another");
        vm.prank(STRANGER);
        ledger.proveTampering(a, b);
        assertEq(ledger.headOf(BATTERY), 0, "nothing moves");
    }

    function test_statements_that_do_not_contradict_each_other_prove_nothing() public {
        IBatteryLedger.Advance memory a = checkpoint(0, "fp");
        sign(a, keyOf(GROUP, 0));
        for (uint256 i; i < 5; ++i) {
            IBatteryLedger.Advance memory b = checkpoint(i == 4 ? 1 : 0, i == 0 ? bytes32("fp") : bytes32("another"));
            if (i == 1) b.seq = 11;
            if (i == 2) b.battery = "another";
            if (i == 3) b.segment = "another";
            sign(b, keyOf(GROUP, b.index));
            vm.expectRevert(IBatteryLedger.NoContradiction.selector);
            ledger.proveTampering(a, b);
            vm.expectRevert(IBatteryLedger.NoContradiction.selector);
            ledger.proveTampering(b, a);
        }
    }

    function test_tampering_needs_evidence_of_both_statements() public {
        IBatteryLedger.Advance memory a = checkpoint(0, "fp");
        IBatteryLedger.Advance memory b = checkpoint(0, "another");
        b.n = 2;
        sign(a, keyOf(GROUP, 0));
        sign(b, keyOf(GROUP, 1));
        vm.expectRevert(abi.encodeWithSelector(IBatteryLedger.EvidenceRefused.selector, b.epoch, 2));
        ledger.proveTampering(a, b);
        vm.expectRevert(abi.encodeWithSelector(IBatteryLedger.EvidenceRefused.selector, b.epoch, 2));
        ledger.proveTampering(b, a);
        // Somebody else's index under the pile's name.
        a.deviceId = b.deviceId = deviceId(GROUP, 1);
        sign(a, keyOf(GROUP, 0));
        sign(b, keyOf(GROUP, 0));
        vm.expectRevert(abi.encodeWithSelector(IBatteryLedger.WrongDevice.selector, a.deviceId, GROUP, uint8(0)));
        ledger.proveTampering(a, b);
    }

    /* TELEMETRY */

    function record(uint256 i) private view returns (bytes memory) {
        return vm.parseJsonBytes(vectors, string.concat(".records[", vm.toString(i), "].canonical"));
    }

    function word(uint256 i, string memory field) private view returns (bytes32) {
        return vm.parseJsonBytes32(vectors, string.concat(".records[", vm.toString(i), "].", field));
    }

    function prove(uint32 prevSeq, bytes32 prevFp, bytes32 fp, bytes memory records) private {
        ledger.proveTelemetry(word(0, "battery"), prevSeq, prevFp, fp, records);
    }

    function test_the_records_between_two_fingerprints_are_proven() public {
        bytes memory records = bytes.concat(record(0), record(1));
        vm.expectEmit(address(ledger));
        emit IBatteryLedger.TelemetryProven(word(0, "battery"), 0, 0, 2, word(1, "fp"));
        prove(0, 0, word(1, "fp"), records);
        prove(1, word(0, "fp"), word(2, "fp"), bytes.concat(record(1), record(2)));
    }

    function test_other_records_than_those_signed_are_refused() public {
        bytes memory records = bytes.concat(record(0), record(1));
        records[80 + 63] ^= 0x01; // The current of the second.
        vm.expectPartialRevert(IBatteryLedger.TelemetryDiffers.selector);
        prove(0, 0, word(1, "fp"), records);
        vm.expectPartialRevert(IBatteryLedger.TelemetryDiffers.selector);
        prove(1, "another", word(1, "fp"), record(1));
        vm.expectRevert(abi.encodeWithSelector(IBatteryLedger.TelemetryDiffers.selector, 1, word(0, "fp")));
        prove(0, 0, word(1, "fp"), record(0));
    }

    function test_records_of_another_battery_or_number_or_form_are_refused() public {
        bytes memory longer = bytes.concat(record(0), hex"00");
        vm.expectRevert(abi.encodeWithSelector(IBatteryLedger.MalformedTelemetry.selector, 0));
        prove(0, 0, word(0, "fp"), "");
        vm.expectRevert(abi.encodeWithSelector(IBatteryLedger.MalformedTelemetry.selector, 0));
        prove(0, 0, word(0, "fp"), longer);
        vm.expectRevert(abi.encodeWithSelector(IBatteryLedger.MalformedTelemetry.selector, 2));
        prove(1, 0, word(0, "fp"), record(0));
        vm.expectRevert(abi.encodeWithSelector(IBatteryLedger.MalformedTelemetry.selector, type(uint32).max));
        prove(type(uint32).max, 0, word(0, "fp"), record(0));
        bytes memory tail = record(0);
        tail[79] = 0x01;
        vm.expectRevert(abi.encodeWithSelector(IBatteryLedger.MalformedTelemetry.selector, 1));
        prove(0, 0, word(0, "fp"), tail);
        vm.expectRevert(abi.encodeWithSelector(IBatteryLedger.MalformedTelemetry.selector, 1));
        ledger.proveTelemetry("another", 0, 0, word(0, "fp"), record(0));
    }
}
