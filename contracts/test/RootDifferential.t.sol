// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { ReferenceRoots } from "../reference/ReferenceRoots.sol";
import { PolicyText } from "../script/PolicyText.sol";
import { BatchTest } from "./BatchTest.sol";
import { BlsSigner } from "./BlsSigner.sol";
import { Vm } from "forge-std/Vm.sol";

/// @notice Whatever root is sent, ChargingAuthVerifier answers, emits and refuses as the readable reference does.
contract RootDifferentialTest is BatchTest {
    uint32 private constant SECOND = 9;
    uint32 private constant THIRD = 11;

    ReferenceRoots private twin;

    function setUp() public override {
        super.setUp();
        twin = new ReferenceRoots(address(verifier), EPOCH_LEN, RING);
        addGroup(SECOND, 120);
        // Not block.number, which the compiler may read again after the roll.
        uint256 now_ = vm.getBlockNumber();
        toEpoch(current() - 1);
        twin.addPolicy(0, PolicyText.hash(1, 0, PolicyText.example()));
        _tell(GROUP, PILES);
        vm.roll(now_);
        _tell(SECOND, 120);
        vm.prank(OPERATOR);
        devices.createGroup(THIRD); // Known, without piles, its ring not open.
        twin.createGroup(THIRD);
        _enrol(GROUP, 0, 5);
        _enrol(SECOND, 0, 3);
        _enrol(SECOND, 108, 8); // On both sides of a chunk's end.
        toEpoch(current() + 1);
        _enrol(GROUP, 5, 3);
        _enrol(SECOND, 30, 6);
        toEpoch(current() + 2);
        rotate(deviceId(GROUP, 1), 0xC0FFEE);
        twin.endKey(GROUP, 1);
        twin.addKey(GROUP, vm.addr(0xC0FFEE));
        twin.endBlsKey(GROUP, 1);
        toEpoch(current() + 2);
        revoke(deviceId(GROUP, 2));
        twin.revokeKey(GROUP, 2);
        toEpoch(current() + 2);
    }

    /// @dev Roots that are good or wrong in one thing; overlaps come by themselves, since few epochs are drawn from. A run is three
    /// calls with pairings, on both sides.
    /// forge-config: full.fuzz.runs = 1000
    function testFuzz_the_optimised_verifier_agrees_with_the_reference_on_roots(uint256 seed) public {
        for (uint256 call; call < 3; ++call) {
            uint256 draw = uint256(keccak256(abi.encode(seed, call)));
            uint32 epoch = current() - uint32(draw % 8);
            if (draw % 31 == 0) epoch = current() + 1;
            Part[] memory parts = new Part[](1 + (draw >> 8) % 2);
            parts[0] = _part(GROUP, epoch, draw >> 16);
            if (parts.length == 2) parts[1] = _part((draw >> 9) % 16 == 0 ? THIRD : SECOND, epoch, draw >> 80);
            bytes memory signature = signed(epoch < current() ? epoch : current(), parts);
            if ((draw >> 12) % 8 == 0) parts[0].signers ^= uint224(1 << ((draw >> 200) % 10));
            if ((draw >> 12) % 8 == 1) signature = BlsSigner.signRoot(1 + draw % 99, bytes32(draw));
            if ((draw >> 12) % 64 == 2) signature = new bytes(96);
            bytes memory batches = batchesOf(parts);
            if ((draw >> 12) % 32 == 3) batches = bytes.concat(batches, hex"00");
            if ((draw >> 12) % 32 == 11) batches = bytes.concat(batches, batches);
            _same(abi.encodeCall(verifier.recordRoot, (epoch, signature, batches)));
            if (epoch <= current()) {
                bytes32 chain = twin.chains(GROUP, epoch % RING);
                if (chain != 0) assertEq(verifier.rootChain(GROUP, epoch), chain, "chain of roots");
            }
        }
    }

    /// @dev Signers among those that may, mostly, and records of some others.
    function _part(uint32 group, uint32 epoch, uint256 draw) private view returns (Part memory part) {
        uint224 able;
        for (uint256 index; index < 224; ++index) {
            (, uint32 from, uint32 until) = twin.blsKeys(group, index);
            bool revoked = group == GROUP && index == 2;
            if (from != 0 && from <= epoch && epoch <= until && !revoked) able |= uint224(1 << index);
        }
        uint224 signers = draw % 3 == 0 ? able : able & uint224(draw >> 4);
        if (draw % 41 == 0) signers |= uint224(1 << ((draw >> 8) % 224));
        part = partOf(group, able, signers);
        if (group == THIRD) return part;
        for (uint256 i; i < (draw >> 2) % 3; ++i) {
            uint8 index = uint8((draw >> (16 + 8 * i)) % (group == GROUP ? PILES + 2 : 120));
            part.records = bytes.concat(part.records, recordOf(group, index, epoch, 1));
        }
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

    function _tell(uint32 group, uint256 piles) private {
        twin.createGroup(group);
        twin.openRing(group);
        for (uint256 i; i < piles; ++i) {
            twin.addKey(group, vm.addr(keyOf(group, i)));
        }
    }

    function _enrol(uint32 group, uint256 from, uint256 count) private {
        enrolPiles(group, from, count);
        for (uint256 i = from; i < from + count; ++i) {
            twin.addBlsKey(group, uint8(i), BlsSigner.keyOf(blsSecretOf(group, i)));
        }
    }
}
