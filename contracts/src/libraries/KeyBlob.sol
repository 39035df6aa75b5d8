// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { SSTORE2 } from "solady/utils/SSTORE2.sol";

/// @title The keys of a group as the code of a contract
/// @notice A blob holds one entry of 28 bytes per index: {key 20 B, activeFrom u32, activeUntil u32}. Its address follows from
/// registry, group and version alone (CREATE3), so a reader needs no stored pointer: a cold slot costs 2,100 gas.
/// @dev Code begins with a zero byte (STOP), so that a blob can never be run.
library KeyBlob {
    /// @notice Bytes of an entry.
    uint256 internal constant ENTRY_BYTES = 28;
    /// @notice Indices of a group.
    uint256 internal constant INDICES_MAX = 224;
    /// @notice activeUntil of a key without an end.
    uint32 internal constant NO_END = type(uint32).max;

    /// @notice Where the blob stands; the registry is its only possible maker.
    function addressOf(address registry, uint32 group, uint32 version) internal pure returns (address) {
        return SSTORE2.predictDeterministicAddress(_salt(group, version), registry);
    }

    /// @notice Writes a blob. Reverts if that version was written before.
    function write(uint32 group, uint32 version, bytes memory entries) internal {
        SSTORE2.writeDeterministic(entries, _salt(group, version));
    }

    /// @notice All entries; empty if the blob was never written.
    function read(address blob) internal view returns (bytes memory) {
        return blob.code.length == 0 ? bytes("") : SSTORE2.read(blob);
    }

    /// @notice Entry at an index, as a number of 224 bits; 0 past the end.
    /// @dev A blob is a whole number of entries and extcodecopy pads with zeros, so a read past the end is all zeros, and no
    /// entry within is, because no key is zero.
    function entryAt(address blob, uint256 index) internal view returns (uint256 entry) {
        /// @solidity memory-safe-assembly
        assembly {
            mstore(0x00, 0)
            extcodecopy(blob, 0x04, add(1, mul(index, 28)), 28)
            entry := mload(0x00)
        }
    }

    /// @notice Packs an entry.
    function pack(address key, uint32 first, uint32 last) internal pure returns (uint256) {
        return (uint256(uint160(key)) << 64) | (uint256(first) << 32) | last;
    }

    /// @notice The entry's key.
    function keyOf(uint256 entry) internal pure returns (address) {
        return address(uint160(entry >> 64));
    }

    /// @notice First epoch of the entry's key.
    function activeFrom(uint256 entry) internal pure returns (uint32) {
        return uint32(entry >> 32);
    }

    /// @notice Last epoch of the entry's key.
    function activeUntil(uint256 entry) internal pure returns (uint32) {
        return uint32(entry);
    }

    function _salt(uint32 group, uint32 version) private pure returns (bytes32) {
        return bytes32((uint256(group) << 32) | version);
    }
}
