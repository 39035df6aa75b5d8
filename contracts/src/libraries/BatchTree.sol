// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { IChargingAuthVerifier } from "../interfaces/IChargingAuthVerifier.sol";

/// @title The tree whose root piles co-sign, and how a recorded one is opened
/// @notice leaf = keccak256(0x00 ‖ group ‖ index ‖ n ‖ head), node = keccak256(0x01 ‖ left ‖ right); a group's 256 places make its
/// groupRoot, groupLeaf = keccak256(0x02 ‖ group ‖ groupRoot), and over the groupLeaves stands the root.
/// @dev The prefixes and lengths keep leaves, nodes and groupLeaves apart.
library BatchTree {
    /// @notice The groups of a root as they come: {count ‖ last group ‖ GROUPS_MAX groupLeaves}, 32 bytes each.
    type Groups is uint256;

    /// @notice Groups of a root.
    uint256 internal constant GROUPS_MAX = 16;

    uint256 private constant GROUPS_SIZE = 0x240;

    uint256 private constant WORD_BYTES = 32;
    uint256 private constant GROUP_LEVELS = 8;
    uint256 private constant PATH_OFFSET = WORD_BYTES;
    uint256 private constant SIGNERS_OFFSET = PATH_OFFSET + GROUP_LEVELS * WORD_BYTES;
    uint256 private constant LATER_OFFSET = SIGNERS_OFFSET + 28;

    bytes32 private constant ROOT_TYPEHASH =
        keccak256("Root(uint32 epoch,bytes32 challenge,bytes32 policyHash,bytes32 root)");

    /// @notice What piles sign: the EIP-712 digest of a root.
    function digest(bytes32 domain, uint32 epoch, bytes32 challenge, bytes32 policyHash, bytes32 root)
        internal
        pure
        returns (bytes32)
    {
        bytes32 structHash = keccak256(abi.encode(ROOT_TYPEHASH, epoch, challenge, policyHash, root));
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }

    /// @notice No group yet.
    function begin() internal pure returns (Groups groups) {
        /// @solidity memory-safe-assembly
        assembly {
            groups := mload(0x40)
            mstore(0x40, add(groups, GROUPS_SIZE))
            calldatacopy(groups, calldatasize(), GROUPS_SIZE)
        }
    }

    /// @notice Puts the next group's leaf behind those before.
    function append(Groups groups, uint32 group, bytes32 groupRoot) internal pure {
        uint256 count;
        uint256 last;
        /// @solidity memory-safe-assembly
        assembly {
            count := mload(groups)
            last := mload(add(groups, 0x20))
        }
        if (count == GROUPS_MAX) revert IChargingAuthVerifier.TooManyGroups(GROUPS_MAX);
        if (count != 0 && group <= last) revert IChargingAuthVerifier.GroupsOutOfOrder(uint32(last), group);
        /// @solidity memory-safe-assembly
        assembly {
            mstore(groups, add(count, 1))
            mstore(add(groups, 0x20), group)
            // 0x02 ‖ group ‖ groupRoot in the scratch space.
            mstore(0x00, shl(216, or(0x0200000000, group)))
            mstore(0x05, groupRoot)
            mstore(add(add(groups, 0x40), shl(5, count)), keccak256(0x00, 0x25))
        }
    }

    /// @notice The root over the groups, padded with zeros to a power of two. Ends the use of `groups`.
    function root(Groups groups) internal pure returns (bytes32 top) {
        /// @solidity memory-safe-assembly
        assembly {
            let words := add(groups, 0x40)
            let size := 0x20
            for { let bytes_ := shl(5, mload(groups)) } lt(size, bytes_) { } { size := shl(1, size) }
            // {0x01 ‖ left ‖ right} in free memory.
            let node := mload(0x40)
            mstore8(node, 0x01)
            for { } gt(size, 0x20) { size := shr(1, size) } {
                for { let at := 0 } lt(at, size) { at := add(at, 0x40) } {
                    mcopy(add(node, 1), add(words, at), 0x40)
                    mstore(add(words, shr(1, at)), keccak256(node, 0x41))
                }
            }
            top := mload(words)
        }
    }

    /// @notice What a recorded root leaves in its ring word: word' = keccak256(word ‖ entry).
    function entry(uint32 epoch, bytes32 groupRoot, uint224 signers) internal pure returns (bytes32 hash) {
        /// @solidity memory-safe-assembly
        assembly {
            // The last four bytes fall on the free memory pointer's first, which are zeros too.
            mstore(0x00, shl(224, epoch))
            mstore(0x04, groupRoot)
            mstore(0x24, shl(32, signers))
            hash := keccak256(0x00, 0x40)
        }
    }

    /// @notice A ring word after one more entry.
    function chained(bytes32 word, bytes32 next) internal pure returns (bytes32 hash) {
        /// @solidity memory-safe-assembly
        assembly {
            mstore(0x00, word)
            mstore(0x20, next)
            hash := keccak256(0x00, 0x40)
        }
    }

    /// @notice Where an opening leads, 0 if it is malformed or the pile is not among the signers.
    /// @param opening before 32 ‖ path in the group 8 × 32 ‖ signers 28 ‖ later entries 32 each.
    /// @return word Ring word to compare; no ring word is 0.
    function open(uint32 group, uint8 index, uint32 epoch, uint8 n, bytes32 head, bytes calldata opening)
        internal
        pure
        returns (bytes32 word)
    {
        if (opening.length < LATER_OFFSET || (opening.length - LATER_OFFSET) % WORD_BYTES != 0) return 0;
        uint224 signers = uint224(bytes28(opening[SIGNERS_OFFSET:LATER_OFFSET]));
        if ((uint256(signers) >> index) & 1 == 0) return 0;

        bytes32 node = keccak256(abi.encodePacked(uint8(0), group, index, n, head));
        for (uint256 level; level < GROUP_LEVELS; ++level) {
            bytes32 sibling = bytes32(opening[PATH_OFFSET + level * WORD_BYTES:]);
            node = (index >> level) & 1 == 0 ? _node(node, sibling) : _node(sibling, node);
        }
        word = chained(bytes32(opening), entry(epoch, node, signers));
        for (uint256 at = LATER_OFFSET; at < opening.length; at += WORD_BYTES) {
            word = chained(word, bytes32(opening[at:]));
        }
    }

    function _node(bytes32 left, bytes32 right) private pure returns (bytes32) {
        return keccak256(abi.encodePacked(uint8(1), left, right));
    }
}
