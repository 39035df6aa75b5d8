// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { ChargingAuthVerifier } from "../src/ChargingAuthVerifier.sol";
import { IBatteryLedger } from "../src/interfaces/IBatteryLedger.sol";
import { SystemTest } from "./SystemTest.sol";

contract BatteryLedgerTest is SystemTest {
    bytes32 private constant BATTERY = keccak256("battery");
    string private constant CHECKPOINT = "Checkpoint(bytes32 deviceId,uint32 epoch,uint8 n,bytes32 battery,bytes16 segment,"
        "uint32 seq,uint64 time,bytes32 fp,uint32 prevSeq,bytes32 prevFp)";

    function checkpoint(uint8 pile, uint32 seq, uint32 prevSeq) private view returns (IBatteryLedger.Advance memory a) {
        a.deviceId = deviceId(GROUP, pile);
        a.group = GROUP;
        a.index = pile;
        a.epoch = current();
        a.n = 3;
        a.battery = BATTERY;
        a.segment = bytes16(keccak256("sid"));
        a.seq = seq;
        a.time = 1_700_000_000_000;
        a.fp = fingerprint(seq);
        a.prevSeq = prevSeq;
        a.prevFp = prevSeq == 0 ? bytes32(0) : fingerprint(prevSeq);
        a.prevHead = keccak256("the two statements before");
        sign(a, keyOf(GROUP, pile));
    }

    function fingerprint(uint32 seq) private pure returns (bytes32) {
        return keccak256(abi.encode("fp", seq));
    }

    function sign(IBatteryLedger.Advance memory a, uint256 key) private view {
        bytes32 statement = keccak256(
            abi.encode(
                keccak256(bytes(CHECKPOINT)),
                a.deviceId,
                a.epoch,
                a.n,
                a.battery,
                a.segment,
                a.seq,
                a.time,
                a.fp,
                a.prevSeq,
                a.prevFp
            )
        );
        bytes32 head = keccak256(bytes.concat(a.prevHead, statement));
        for (uint256 i; i < a.later.length; ++i) {
            head = keccak256(bytes.concat(head, a.later[i]));
        }
        uint8 signedN = uint8(a.n + a.later.length);
        a.signature = signHead(key, headIn(a.group, a.index, a.epoch, signedN, head));
    }

    function advance(IBatteryLedger.Advance memory a) private returns (uint256) {
        IBatteryLedger.Advance[] memory items = new IBatteryLedger.Advance[](1);
        items[0] = a;
        vm.prank(STRANGER);
        return ledger.advance(items);
    }

    function skipped(IBatteryLedger.Advance memory a, uint8 reason) private {
        bytes32 before = ledger.headOf(a.battery);
        vm.expectEmit(address(ledger));
        emit IBatteryLedger.AdvanceSkipped(a.battery, a.seq, reason);
        assertEq(advance(a), 0);
        assertEq(ledger.headOf(a.battery), before);
    }

    function test_a_signed_checkpoint_moves_the_head() public {
        IBatteryLedger.Advance memory a = checkpoint(0, 10, 0);
        vm.expectEmit(address(ledger));
        emit IBatteryLedger.BatteryAdvanced(BATTERY, a.deviceId, 10, a.fp, a.segment, a.time, 0);
        assertEq(advance(a), 1);
        assertEq(ledger.headOf(BATTERY), keccak256(abi.encodePacked(uint32(10), fingerprint(10))));
    }

    function test_one_call_moves_a_battery_from_pile_to_pile() public {
        IBatteryLedger.Advance[] memory items = new IBatteryLedger.Advance[](3);
        (items[0], items[1], items[2]) = (checkpoint(0, 10, 0), checkpoint(1, 25, 10), checkpoint(0, 26, 25));
        assertEq(ledger.advance(items), 3);
    }

    function test_a_checkpoint_below_later_statements_counts_by_their_signature() public {
        IBatteryLedger.Advance memory a = checkpoint(0, 10, 0);
        a.later = new bytes32[](2);
        (a.later[0], a.later[1]) = (keccak256("auth"), keccak256("ack"));
        skipped(a, 2);
        sign(a, keyOf(GROUP, 0));
        assertEq(advance(a), 1);
    }

    function test_more_statements_than_an_epoch_holds_are_skipped() public {
        IBatteryLedger.Advance memory a = checkpoint(0, 10, 0);
        a.later = new bytes32[](253);
        skipped(a, 2);
        a.later = new bytes32[](252);
        sign(a, keyOf(GROUP, 0));
        assertEq(advance(a), 1);
    }

    function test_the_number_of_statements_neither_wraps_nor_begins_at_zero() public {
        IBatteryLedger.Advance memory a = checkpoint(0, 10, 0);
        a.later = new bytes32[](254);
        sign(a, keyOf(GROUP, 0)); // As n = 1.
        skipped(a, 2);
        a.later = new bytes32[](1);
        a.n = 0;
        sign(a, keyOf(GROUP, 0));
        skipped(a, 2);
    }

    function test_a_first_checkpoint_names_no_history() public {
        IBatteryLedger.Advance memory a = checkpoint(0, 10, 0);
        a.prevFp = keccak256("a history that nobody recorded");
        sign(a, keyOf(GROUP, 0));
        skipped(a, 1);
    }

    function test_a_rewrite_of_recorded_telemetry_is_skipped() public {
        advance(checkpoint(0, 10, 0));
        skipped(checkpoint(0, 10, 0), 1);
        skipped(checkpoint(1, 12, 0), 1);
        skipped(checkpoint(1, 12, 9), 1);
        IBatteryLedger.Advance memory fork = checkpoint(1, 12, 10);
        fork.prevFp = keccak256("another history");
        sign(fork, keyOf(GROUP, 1));
        skipped(fork, 1);
        assertEq(advance(checkpoint(1, 12, 10)), 1);
    }

    function test_a_seq_that_is_not_above_the_one_before_is_skipped() public {
        advance(checkpoint(0, 10, 0));
        skipped(checkpoint(0, 10, 10), 4);
        skipped(checkpoint(0, 9, 10), 4);
        skipped(checkpoint(0, 0, 0), 4);
    }

    function test_a_bad_signature_is_skipped() public {
        IBatteryLedger.Advance memory a = checkpoint(0, 10, 0);
        sign(a, 0xBAD);
        skipped(a, 2);
        a = checkpoint(0, 10, 0);
        a.time += 1;
        skipped(a, 2);
        a = checkpoint(0, 10, 0);
        a.n = 0;
        sign(a, keyOf(GROUP, 0));
        skipped(a, 2);
    }

    function test_a_device_id_that_never_held_the_index_is_skipped() public {
        IBatteryLedger.Advance memory a = checkpoint(0, 10, 0);
        a.deviceId = deviceId(GROUP, 1);
        sign(a, keyOf(GROUP, 0));
        skipped(a, 3);
        a.deviceId = keccak256("nobody");
        sign(a, keyOf(GROUP, 0));
        skipped(a, 3);
    }

    function test_a_checkpoint_under_an_index_rotated_away_counts_for_its_epoch() public {
        IBatteryLedger.Advance memory a = checkpoint(0, 10, 0);
        rotate(deviceId(GROUP, 0), 0xC0FFEE);
        toEpoch(current() + 3);
        assertEq(advance(a), 1);
        IBatteryLedger.Advance memory late = checkpoint(0, 20, 10);
        skipped(late, 2);
        late.index = uint8(PILES);
        sign(late, 0xC0FFEE);
        assertEq(advance(late), 1);
    }

    function test_a_revoked_piles_checkpoint_is_skipped() public {
        IBatteryLedger.Advance memory a = checkpoint(0, 10, 0);
        revoke(deviceId(GROUP, 0));
        skipped(a, 2);
    }

    function test_a_checkpoint_older_than_the_window_is_skipped() public {
        IBatteryLedger.Advance memory a = checkpoint(0, 10, 0);
        toEpoch(current() + uint32(RING));
        skipped(a, 2);
    }

    function test_a_signature_in_any_attached_verifiers_domain_counts() public {
        IBatteryLedger.Advance memory a = checkpoint(0, 10, 0);
        ChargingAuthVerifier second =
            new ChargingAuthVerifier(address(manager), devices, policies, EPOCH_LEN, RING, 256);
        ChargingAuthVerifier first = verifier;
        govern(address(policies), abi.encodeCall(policies.attach, (second)));
        govern(address(devices), abi.encodeCall(devices.attach, (second)));
        devices.sync(GROUP);
        assertEq(advance(a), 1, "the first verifier's still counts");
        verifier = second;
        assertEq(advance(checkpoint(0, 11, 10)), 1, "so does the second's");
        govern(address(devices), abi.encodeCall(devices.detach, (first)));
        verifier = first;
        skipped(checkpoint(0, 12, 11), 2);
    }
}
