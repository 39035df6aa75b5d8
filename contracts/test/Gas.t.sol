// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { IBatteryLedger } from "../src/interfaces/IBatteryLedger.sol";
import { EspaceCost } from "./EspaceCost.sol";
import { SystemTest } from "./SystemTest.sol";

/// @notice Gas of whole transactions, kept in snapshots/. Run with `forge test --isolate --match-contract GasTest`; with
/// FORGE_SNAPSHOT_CHECK=true any change fails. Without --isolate a call is not a transaction, and these tests do nothing.
contract GasTest is SystemTest {
    uint32 private constant SECOND = 8;

    uint32 private epoch;

    function setUp() public override {
        super.setUp();
        addPiles(GROUP, PILES, 224 - PILES);
        addGroup(SECOND, 33);
        toEpoch(current() + 2);
        epoch = current();
    }

    modifier isolated() {
        // In isolation a call that may change state costs at least a transaction's 21,000.
        verifier.openRing(GROUP, 0);
        if (vm.lastCallGas().gasTotalUsed < 21_000) return;
        _;
    }

    function test_one_record() public isolated {
        bytes memory records = recordOf(GROUP, 0, epoch, 1);
        verifier.record(GROUP, epoch, records);
        uint256 charged = _charged(abi.encodeCall(verifier.record, (GROUP, epoch, records)).length);
        vm.snapshotValue("espace", "lane1/single/charged", charged);
        vm.snapshotGasLastCall("calls", "record 1");
        // eSpace takes 100 for BLOCKHASH, Ethereum 20.
        assertLe(charged + 80, 45_000);
    }

    function test_a_batch_of_256_in_two_groups() public isolated {
        bytes memory batches = abi.encodePacked(GROUP, uint8(224), _records(GROUP, 0, 224));
        batches = bytes.concat(batches, abi.encodePacked(SECOND, uint8(32), _records(SECOND, 0, 32)));
        assertEq(verifier.recordMany(epoch, batches), 256);
        uint256 charged = _charged(abi.encodeCall(verifier.recordMany, (epoch, batches)).length);
        vm.snapshotValue("espace", "lane1/batch256/charged", charged / 256);
        vm.snapshotGasLastCall("calls", "recordMany 256");
        assertLe(charged, 256 * 7_600);
    }

    function test_a_batch_of_32() public isolated {
        bytes memory records = _records(GROUP, 0, 32);
        verifier.record(GROUP, epoch, records);
        uint256 charged = _charged(abi.encodeCall(verifier.record, (GROUP, epoch, records)).length);
        vm.snapshotValue("espace", "lane1/batch32/charged", charged / 32);
        vm.snapshotGasLastCall("calls", "record 32");
    }

    function test_extend() public isolated {
        verifier.record(GROUP, epoch, recordOf(GROUP, 0, epoch, 1));
        verifier.extend(GROUP, epoch, recordOf(GROUP, 0, epoch, 2));
        vm.snapshotGasLastCall("calls", "extend 1");
    }

    function test_registry_calls() public isolated {
        revoke(deviceId(GROUP, 0));
        vm.snapshotGasLastCall("calls", "revoke");
        rotate(deviceId(SECOND, 0), 0xC0FFEE);
        vm.snapshotGasLastCall("calls", "rotate in a group of 33");
        addPiles(SECOND, 34, 100);
        vm.snapshotGasLastCall("calls", "register 100");
    }

    function test_enrolment() public isolated {
        enrolPiles(GROUP, 0, 1);
        vm.snapshotGasLastCall("calls", "enrol 1");
        enrolPiles(GROUP, 32, 32);
        vm.snapshotGasLastCall("calls", "enrol 32 more");
    }

    function test_open_ring() public isolated {
        vm.prank(OPERATOR);
        devices.createGroup(9);
        verifier.openRing(9, uint32(RING));
        vm.snapshotGasLastCall("calls", "openRing 32");
    }

    function _records(uint32 group, uint256 from, uint256 count) private view returns (bytes memory records) {
        for (uint256 i = from; i < from + count; ++i) {
            records = bytes.concat(records, recordOf(group, uint8(i), epoch, 1));
        }
    }

    function _charged(uint256 calldataBytes) private view returns (uint256) {
        return EspaceCost.charged(vm.lastCallGas().gasTotalUsed, calldataBytes, 0, 0);
    }
}

contract EspaceCostTest is SystemTest {
    function test_unused_gas_is_refunded_only_up_to_a_quarter_of_the_limit() public pure {
        assertEq(EspaceCost.charged(21_000, 0, 0, 1_000_000), 750_000);
        assertEq(EspaceCost.charged(21_000, 0, 0, 28_000), 21_000);
    }

    function test_calldata_costs_at_least_75_gas_a_byte() public pure {
        assertEq(EspaceCost.charged(121_000, 10_000, 0, 0), 750_000);
    }

    function test_a_new_slot_costs_20000_more() public pure {
        assertEq(EspaceCost.charged(43_601, 36, 1, 0), 63_601);
    }
}
