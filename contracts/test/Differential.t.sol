// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { ReferenceVerifier } from "../reference/ReferenceVerifier.sol";
import { PolicyText } from "../script/PolicyText.sol";
import { SystemTest } from "./SystemTest.sol";
import { Vm } from "forge-std/Vm.sol";

/// @notice Whatever is sent, ChargingAuthVerifier answers, emits and refuses as the readable reference does.
contract DifferentialTest is SystemTest {
    ReferenceVerifier private twin;
    uint256[] private keyAt;

    function setUp() public override {
        super.setUp();
        twin = new ReferenceVerifier(address(verifier), EPOCH_LEN, RING);
        uint256 now_ = block.number;
        toEpoch(current() - 1);
        twin.createGroup(GROUP);
        twin.openRing(GROUP);
        twin.addPolicy(0, PolicyText.hash(1, 0, PolicyText.example()));
        for (uint256 i; i < PILES; ++i) {
            twin.addKey(GROUP, vm.addr(keyOf(GROUP, i)));
            keyAt.push(keyOf(GROUP, i));
        }
        vm.roll(now_);
        vm.prank(OPERATOR);
        devices.createGroup(8); // Known, without piles, its ring not open.
        twin.createGroup(8);
        schedule(2, current() + 6, PolicyText.example());
        twin.addPolicy(current() + 6, policies.policyAt(current() + 6));
        toEpoch(current() + 2);
        _rotate(2, 0xC0FFEE);
        toEpoch(current() + 3);
        _revoke(3);
        _rotate(4, 0xC0FFEF);
        toEpoch(current() + 3);
    }

    /// @dev Batches of records that are good, wrong in one thing, or garbage; duplicates and overlaps come by themselves,
    /// since few piles, epochs and numbers are drawn from.
    function testFuzz_the_optimised_verifier_agrees_with_the_reference(uint256 seed) public {
        for (uint256 call; call < 6; ++call) {
            uint256 draw = _random(seed, call);
            uint32 epoch = _epoch(draw >> 8);
            bytes memory data;
            if (draw % 4 == 0) {
                bytes memory batches = abi.encodePacked(GROUP, uint8(3), _records(draw, epoch, 3));
                batches =
                    bytes.concat(batches, abi.encodePacked(_group(draw >> 40), uint8(2), _records(draw + 1, epoch, 2)));
                if (draw % 7 == 0) batches = bytes.concat(batches, hex"00");
                data = abi.encodeCall(verifier.recordMany, (epoch, batches));
            } else {
                bytes memory records = _records(draw, epoch, 1 + (draw >> 16) % 5);
                if (draw % 11 == 0) records = bytes.concat(records, hex"00");
                data = draw % 4 == 1
                    ? abi.encodeCall(verifier.extend, (_group(draw >> 40), epoch, records))
                    : abi.encodeCall(verifier.record, (_group(draw >> 40), epoch, records));
            }
            _same(data);
        }
    }

    function testFuzz_verifyHead_agrees_with_the_reference(uint256 seed) public view {
        uint32 epoch = _epoch(seed);
        bytes memory item = _record(seed, epoch);
        bytes memory signature = new bytes(64);
        for (uint256 i; i < 64; ++i) {
            signature[i] = item[34 + i];
        }
        bytes32 head;
        /// @solidity memory-safe-assembly
        assembly {
            head := mload(add(item, 34))
        }
        assertEq(
            verifier.verifyHead(GROUP, uint8(item[0]), epoch, uint8(item[1]), head, signature),
            twin.verifyHead(GROUP, uint8(item[0]), epoch, uint8(item[1]), head, signature)
        );
    }

    function _same(bytes memory data) private {
        vm.recordLogs();
        (bool ok, bytes memory answer) = address(verifier).call(data);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        (bool twinOk, bytes memory twinAnswer) = address(twin).call(data);
        Vm.Log[] memory twinLogs = vm.getRecordedLogs();
        assertEq(ok, twinOk, "success");
        assertEq(answer, twinAnswer, "answer or refusal");
        assertEq(logs.length, twinLogs.length, "events");
        for (uint256 i; i < logs.length; ++i) {
            assertEq(abi.encode(logs[i].topics), abi.encode(twinLogs[i].topics), "topics");
            assertEq(logs[i].data, twinLogs[i].data, "data");
        }
    }

    function _records(uint256 draw, uint32 epoch, uint256 count) private view returns (bytes memory records) {
        for (uint256 i; i < count; ++i) {
            records = bytes.concat(records, _record(_random(draw, 100 + i), epoch));
        }
    }

    function _record(uint256 draw, uint32 epoch) private view returns (bytes memory record) {
        uint8 index = uint8((draw >> 8) % keyAt.length);
        record = recordBy(keyAt[index], GROUP, index, epoch, uint8((draw >> 16) % 4));
        uint256 fault = (draw >> 24) % 8;
        if (fault == 0) record[(draw >> 32) % 98] ^= bytes1(uint8(1 << ((draw >> 40) % 8)));
        if (fault == 1) record[0] = bytes1(uint8(draw >> 48));
        if (fault == 2) record = recordBy(keyAt[(draw >> 32) % keyAt.length], GROUP, index, epoch, 1);
        if (fault == 3) record = abi.encodePacked(index, uint8(1), bytes32(draw), new bytes(64));
    }

    function _epoch(uint256 draw) private view returns (uint32) {
        // Mostly inside, sometimes before the window, in the future, or no number of an epoch at all.
        if (draw % 16 == 0) return current() + uint32(draw >> 8) % 3;
        if (draw % 16 == 1) return current() - uint32(RING) + uint32(draw >> 8) % 3;
        if (draw % 16 == 2) return type(uint32).max;
        return current() - uint32(draw >> 8) % 9;
    }

    function _group(uint256 draw) private pure returns (uint32) {
        if (draw % 16 == 0) return 8;
        if (draw % 16 == 1) return 99;
        return GROUP;
    }

    function _rotate(uint8 index, uint256 newKey) private {
        rotate(deviceId(GROUP, index), newKey);
        twin.endKey(GROUP, index);
        twin.addKey(GROUP, vm.addr(newKey));
        keyAt.push(newKey);
    }

    function _revoke(uint8 index) private {
        revoke(deviceId(GROUP, index));
        twin.revokeKey(GROUP, index);
    }

    function _random(uint256 seed, uint256 salt) private pure returns (uint256) {
        return uint256(keccak256(abi.encode(seed, salt)));
    }
}
