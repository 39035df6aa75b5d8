// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { BatchTest } from "./BatchTest.sol";
import { EspaceCost } from "./EspaceCost.sol";

/// @notice Gas of an authorization by root, all piles authorized: those that signed by it, the absent by their records in the same
/// transaction. Run as Gas.t.sol says.
contract BatchGasTest is BatchTest {
    uint32 private epoch;

    modifier isolated() {
        // In isolation a call that may change state costs at least a transaction's 21,000.
        verifier.openRing(GROUP, 0);
        if (vm.lastCallGas().gasTotalUsed < 21_000) return;
        _;
    }

    function test_224_piles_in_a_group() public isolated {
        uint256 absent5 = _measure(1, 224, 11, "absent5");
        _measure(1, 224, 0, "absent0");
        _measure(1, 224, 4, "absent2");
        _measure(1, 224, 22, "absent10");
        // TARGET 1,250.
        assertLe(absent5, 1_400);
    }

    function test_1024_piles_in_5_groups() public isolated {
        uint256 absent2 = _measure(5, 1024, 20, "absent2");
        _measure(5, 1024, 0, "absent0");
        _measure(5, 1024, 51, "absent5");
        _measure(5, 1024, 102, "absent10");
        // TARGET 420.
        assertLe(absent2, 500);
    }

    function _measure(uint32 groups, uint256 piles, uint256 absentees, string memory name)
        private
        returns (uint256 charged)
    {
        Part[] memory parts = new Part[](groups);
        _prepare(parts, piles);
        for (uint256 i; i < groups; ++i) {
            parts[i] = this.absentOf(parts[i], absentees * (i + 1) / groups - absentees * i / groups);
        }
        (bytes memory signature, bytes memory batches) = this.callOf(parts);
        assertEq(verifier.recordRoot(epoch, signature, batches), piles);
        uint256 used = vm.lastCallGas().gasTotalUsed;
        uint256 length = abi.encodeCall(verifier.recordRoot, (epoch, signature, batches)).length;
        charged = EspaceCost.charged(used, length, 0, 0) / piles;
        vm.snapshotValue("espace", string.concat("lane2/", vm.toString(piles), "/", name, "/charged"), charged);
    }

    /// @dev Calls of its own, here and below: what they leave in memory is gone after them.
    function callOf(Part[] memory parts) external view returns (bytes memory signature, bytes memory batches) {
        return (signed(epoch, parts), batchesOf(parts));
    }

    /// @dev Of the part's members so many, drawn by lot, do not sign.
    function absentOf(Part memory part, uint256 count) external view returns (Part memory) {
        uint224 absent;
        for (uint256 draw; count > 0; ++draw) {
            uint224 bit = uint224(1 << (uint256(keccak256(abi.encode(part.group, draw))) % 224));
            if (part.signers & ~absent & bit == 0) continue;
            absent |= bit;
            --count;
        }
        Part memory drawn = partOf(part.group, part.signers, part.signers & ~absent);
        drawn.records = this.recordsOf(part.group, absent, epoch);
        return drawn;
    }

    /// @dev Registers and enrols the piles once, as evenly spread as they go, and begins an epoch.
    function _prepare(Part[] memory parts, uint256 piles) private {
        uint256 from;
        for (uint32 i; i < parts.length; ++i) {
            uint256 end = piles * (i + 1) / parts.length;
            uint32 group = 100 + i;
            if (devices.groupWord(group) == 0) {
                addGroup(group, end - from);
                enrolChunks(group, end - from);
            }
            parts[i].group = group;
            parts[i].signers = uint224((1 << (end - from)) - 1);
            from = end;
        }
        toEpoch(current() + 2);
        epoch = current();
    }
}
