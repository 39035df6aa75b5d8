// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { HeadDigest } from "../reference/HeadDigest.sol";
import { IDeviceRegistry } from "../src/interfaces/IDeviceRegistry.sol";
import { BlsSigner } from "./BlsSigner.sol";
import { SystemTest } from "./SystemTest.sol";

/// @notice Piles with BLS keys, trees over their heads, and roots that some of them signed.
abstract contract BatchTest is SystemTest {
    uint256 private constant ENROLMENTS = 32;

    /// @notice A group's part of a root.
    /// @param nodes Of the subtree: the root at 1, the children of i at 2i and 2i + 1, the place of an index at 256 + index.
    struct Part {
        uint32 group;
        uint224 signers;
        bytes32[] nodes;
        bytes records;
    }

    /* KEYS */

    /// @dev Enrols piles 32 a call, as an operator would. Their keys count from the next epoch on.
    function enrolChunks(uint32 group, uint256 count) internal {
        for (uint256 first; first < count; first += ENROLMENTS) {
            enrol(group, this.enrolmentsOf(group, first, count - first < ENROLMENTS ? count - first : ENROLMENTS));
        }
    }

    function enrolmentsOf(uint32 group, uint256 from, uint256 count)
        external
        view
        returns (IDeviceRegistry.Enrolment[] memory items)
    {
        items = new IDeviceRegistry.Enrolment[](count);
        for (uint256 i; i < count; ++i) {
            items[i] = enrolment(deviceId(group, from + i), blsSecretOf(group, from + i));
        }
    }

    /* TREES */

    /// @dev The group's subtree over {headOf} with n = 1 of the piles in `stated`, signed by `signers`.
    function partOf(uint32 group, uint224 stated, uint224 signers) internal pure returns (Part memory part) {
        part.group = group;
        part.signers = signers;
        part.nodes = new bytes32[](512);
        for (uint256 index; index < 224; ++index) {
            if ((stated >> index) & 1 != 0) part.nodes[256 + index] = leafOf(group, uint8(index), 1, headOf(index, 1));
        }
        hashUp(part);
    }

    /// @dev Computes the nodes above the places anew.
    function hashUp(Part memory part) internal pure {
        for (uint256 i = 255; i > 0; --i) {
            part.nodes[i] = nodeOf(part.nodes[2 * i], part.nodes[2 * i + 1]);
        }
    }

    function leafOf(uint32 group, uint8 index, uint8 n, bytes32 head) internal pure returns (bytes32) {
        return keccak256(bytes.concat(hex"00", bytes4(group), bytes1(index), bytes1(n), head));
    }

    function nodeOf(bytes32 left, bytes32 right) internal pure returns (bytes32) {
        return keccak256(bytes.concat(hex"01", left, right));
    }

    /// @dev The root over the groups and what fills up to a power of two.
    function rootOf(Part[] memory parts) internal pure returns (bytes32) {
        bytes32[] memory level = new bytes32[](1);
        while (level.length < parts.length) {
            level = new bytes32[](2 * level.length);
        }
        for (uint256 i; i < parts.length; ++i) {
            level[i] = keccak256(bytes.concat(hex"02", bytes4(parts[i].group), parts[i].nodes[1]));
        }
        while (level.length > 1) {
            bytes32[] memory above = new bytes32[](level.length / 2);
            for (uint256 i; i < above.length; ++i) {
                above[i] = nodeOf(level[2 * i], level[2 * i + 1]);
            }
            level = above;
        }
        return level[0];
    }

    function pathOf(Part memory part, uint8 index) internal pure returns (bytes memory path) {
        for (uint256 i = 256 + uint256(index); i > 1; i /= 2) {
            path = bytes.concat(path, part.nodes[i ^ 1]);
        }
    }

    /// @dev Opening of an index of a root that was entered after `before`.
    function openingOf(Part memory part, uint8 index, bytes32 before) internal pure returns (bytes memory) {
        return bytes.concat(before, pathOf(part, index), bytes28(part.signers));
    }

    function entryOf(Part memory part, uint32 epoch) internal pure returns (bytes32) {
        return keccak256(bytes.concat(bytes4(epoch), part.nodes[1], bytes28(part.signers)));
    }

    /* SIGNATURES */

    function rootDigest(uint32 epoch, bytes32 root) internal view returns (bytes32) {
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256("Root(uint32 epoch,bytes32 challenge,bytes32 policyHash,bytes32 root)"),
                epoch,
                verifier.challengeOf(epoch),
                verifier.policyAt(epoch),
                root
            )
        );
        return keccak256(bytes.concat(hex"1901", HeadDigest.domain(block.chainid, address(verifier)), structHash));
    }

    /// @dev All signers' signatures of the root, summed up.
    function signed(uint32 epoch, Part[] memory parts) internal view returns (bytes memory) {
        return BlsSigner.signRoot(secretSum(parts), rootDigest(epoch, rootOf(parts)));
    }

    function secretSum(Part[] memory parts) internal pure returns (uint256 sum) {
        for (uint256 i; i < parts.length; ++i) {
            for (uint256 index; index < 224; ++index) {
                if ((parts[i].signers >> index) & 1 != 0) {
                    sum = addmod(sum, blsSecretOf(parts[i].group, index), BlsSigner.R);
                }
            }
        }
    }

    /* CALLS */

    function batchesOf(Part[] memory parts) internal pure returns (bytes memory batches) {
        for (uint256 i; i < parts.length; ++i) {
            batches = bytes.concat(batches, batchOf(parts[i]));
        }
    }

    function batchOf(Part memory part) internal pure returns (bytes memory) {
        return bytes.concat(
            bytes4(part.group),
            part.nodes[1],
            bytes28(part.signers),
            bytes1(uint8(part.records.length / 98)),
            part.records
        );
    }

    function one(Part memory part) internal pure returns (Part[] memory parts) {
        parts = new Part[](1);
        parts[0] = part;
    }

    function recordParts(uint32 epoch, Part[] memory parts) internal returns (uint256) {
        return verifier.recordRoot(epoch, signed(epoch, parts), batchesOf(parts));
    }

    function recordsOf(uint32 group, uint224 indices, uint32 epoch) public view returns (bytes memory records) {
        for (uint256 index; index < 224; ++index) {
            if ((indices >> index) & 1 != 0) {
                records = bytes.concat(records, recordOf(group, uint8(index), epoch, 1));
            }
        }
    }

    function bitsOf(uint32 group, uint32 epoch) internal view returns (uint224) {
        (uint32 wordEpoch, uint224 bitmap) = verifier.ringWord(group, epoch);
        return wordEpoch == epoch ? bitmap : 0;
    }
}
