// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { Bls12381 } from "./Bls12381.sol";
import { SSTORE2 } from "solady/utils/SSTORE2.sol";

/// @title The BLS keys of a group as the code of contracts, and the word that says which
/// @notice A chunk holds the keys of 112 indices, 192 bytes each, zeros for an index without one. A total holds {members bitmap
/// 28 B ‖ sum of the members' keys 192 B}. Both stand at addresses that follow from registry, group and version, as those of
/// KeyBlob do, under salts that no KeyBlob has.
/// A group's word: bits 192 + 8c .. hold the version of chunk c (two of them), and bits 0 .. 191 four lanes {firstEpoch u32 ‖ version u16},
/// newest highest, of the newest totals; a lane of version 0 is empty. The word 0 is the group without keys.
/// @dev Code begins with a zero byte (STOP), so that it can never be run. Keys are only ever added to a chunk, so its newest version
/// serves every epoch.
library BlsKeys {
    /// @notice Keys of a chunk: half a group. Absentees in few chunks are cheap to take away, and a group in one does not fit a
    /// transaction.
    uint256 internal constant CHUNK_KEYS = 112;
    /// @notice Lanes of a word.
    uint256 internal constant LANES = 4;
    /// @notice Where the sum begins in a total's code.
    uint256 internal constant SUM_OFFSET = 29;

    uint256 private constant TOTAL_SALT = 1 << 224;
    uint256 private constant CHUNK_SALT = 2 << 224;
    uint256 private constant LANE_BITS = 48;
    uint256 private constant LANES_MASK = (1 << 192) - 1;

    /// @notice Where a chunk stands; the registry is its only possible maker.
    function chunkAddress(address registry, uint32 group, uint256 chunk, uint256 version)
        internal
        pure
        returns (address)
    {
        return SSTORE2.predictDeterministicAddress(_chunkSalt(group, chunk, version), registry);
    }

    /// @notice Where a total stands; the registry is its only possible maker.
    function totalAddress(address registry, uint32 group, uint256 version) internal pure returns (address) {
        return SSTORE2.predictDeterministicAddress(_totalSalt(group, version), registry);
    }

    /// @notice Writes a chunk, up to its last key, and shortens `keys` to that. Reverts if that version was written before.
    function writeChunk(uint32 group, uint256 chunk, uint256 version, bytes memory keys) internal {
        /// @solidity memory-safe-assembly
        assembly {
            let length := mload(keys)
            for { } length { length := sub(length, 32) } { if mload(add(keys, length)) { break } }
            mstore(keys, mul(div(add(length, 191), 192), 192))
        }
        SSTORE2.writeDeterministic(keys, _chunkSalt(group, chunk, version));
    }

    /// @notice Writes a total. Reverts if that version was written before.
    function writeTotal(uint32 group, uint256 version, uint224 members, bytes memory sum) internal {
        SSTORE2.writeDeterministic(abi.encodePacked(members, sum), _totalSalt(group, version));
    }

    /// @notice Keys of a chunk with room for all {CHUNK_KEYS}, zeros where there is none.
    function readChunk(address chunk) internal view returns (bytes memory keys) {
        keys = new bytes(CHUNK_KEYS * Bls12381.KEY_BYTES);
        /// @solidity memory-safe-assembly
        assembly {
            extcodecopy(chunk, add(keys, 0x20), 1, mload(keys))
        }
    }

    /// @notice Puts the key of an index into its chunk.
    function putKey(bytes memory keys, uint256 index, bytes calldata key) internal pure {
        /// @solidity memory-safe-assembly
        assembly {
            calldatacopy(add(add(keys, 0x20), mul(mod(index, CHUNK_KEYS), 192)), key.offset, 192)
        }
    }

    /// @notice Key of an index in its chunk, zeros if it has none.
    function keyAt(address chunk, uint256 index) internal view returns (bytes memory) {
        return _codeAt(chunk, keyOffset(index));
    }

    /// @notice Sum of a total's keys, zeros if it was never written.
    function sumOf(address total) internal view returns (bytes memory) {
        return _codeAt(total, SUM_OFFSET);
    }

    /// @notice Where the key of an index begins in its chunk's code.
    function keyOffset(uint256 index) internal pure returns (uint256) {
        return 1 + (index % CHUNK_KEYS) * Bls12381.KEY_BYTES;
    }

    /// @notice Members of a total; none if it was never written.
    function membersOf(address total) internal view returns (uint224 members) {
        /// @solidity memory-safe-assembly
        assembly {
            mstore(0x00, 0)
            extcodecopy(total, 0x04, 1, 28)
            members := mload(0x00)
        }
    }

    /// @notice Version of a chunk, 0 if it was never written.
    function chunkVersion(uint256 word, uint256 chunk) internal pure returns (uint256) {
        return uint8(word >> (192 + 8 * chunk));
    }

    /// @notice The word after one more version of a chunk.
    function withNextChunk(uint256 word, uint256 chunk) internal pure returns (uint256) {
        return word + (1 << (192 + 8 * chunk));
    }

    /// @notice Lane 0 is the newest. Version 0 if it is empty.
    function lane(uint256 word, uint256 back) internal pure returns (uint32 firstEpoch, uint16 version) {
        uint256 shifted = word >> (LANE_BITS * (LANES - 1 - back));
        return (uint32(shifted >> 16), uint16(shifted));
    }

    /// @notice The lane that the next total pushes off the word, {firstEpoch u32 ‖ version u16}; 0 if it is empty.
    function oldestLane(uint256 word) internal pure returns (uint48) {
        return uint48(word);
    }

    /// @notice The word with one more total on top; the oldest lane falls off.
    function withTotal(uint256 word, uint32 firstEpoch, uint16 version) internal pure returns (uint256) {
        uint256 older = (word & LANES_MASK) >> LANE_BITS;
        return (word & ~LANES_MASK) | (_lane(firstEpoch, version) << (LANE_BITS * (LANES - 1))) | older;
    }

    /// @notice The word with another total in place of the newest.
    function withNewestTotal(uint256 word, uint32 firstEpoch, uint16 version) internal pure returns (uint256) {
        uint256 shift = LANE_BITS * (LANES - 1);
        uint256 older = word & ((1 << shift) - 1);
        return (word & ~LANES_MASK) | (_lane(firstEpoch, version) << shift) | older;
    }

    /// @notice Version of the total in force in an epoch.
    /// @return version 0 if no lane reaches back that far.
    /// @return older Whether a total that fell off may be in force: the registry knows.
    function totalVersionAt(uint256 word, uint32 epoch) internal pure returns (uint16 version, bool older) {
        uint32 firstEpoch;
        for (uint256 back; back < LANES; ++back) {
            (firstEpoch, version) = lane(word, back);
            if (version == 0) return (0, false);
            if (firstEpoch <= epoch) return (version, false);
        }
        return (0, true);
    }

    function _lane(uint32 firstEpoch, uint16 version) private pure returns (uint256) {
        return (uint256(firstEpoch) << 16) | version;
    }

    function _codeAt(address code, uint256 offset) private view returns (bytes memory key) {
        key = new bytes(Bls12381.KEY_BYTES);
        /// @solidity memory-safe-assembly
        assembly {
            extcodecopy(code, add(key, 0x20), offset, 192)
        }
    }

    function _totalSalt(uint32 group, uint256 version) private pure returns (bytes32) {
        return bytes32(TOTAL_SALT | (uint256(group) << 64) | version);
    }

    function _chunkSalt(uint32 group, uint256 chunk, uint256 version) private pure returns (bytes32) {
        return bytes32(CHUNK_SALT | (uint256(group) << 64) | (chunk << 32) | version);
    }
}
