// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { BatchTree } from "./BatchTree.sol";
import { CompactSignature } from "./CompactSignature.sol";

/// @title Who signed a Head
/// @notice EIP-712 digest and signer of
/// `Head(uint32 group,uint8 index,uint32 epoch,bytes32 challenge,bytes32 policyHash,uint8 n,bytes32 head)`.
/// @dev Assembly, because a batch hashes the same memory again and again with three words changed; Solidity would encode
/// ten words anew for each record. `reference/ReferenceVerifier.sol` says the same in plain Solidity.
library HeadSignature {
    /// @notice Where the words of one call's records are hashed. Obtain it from {prepare}.
    type Buffer is uint256;

    /// @notice Type hash of Head.
    bytes32 internal constant TYPEHASH = keccak256(
        "Head(uint32 group,uint8 index,uint32 epoch,bytes32 challenge,bytes32 policyHash,uint8 n,bytes32 head)"
    );

    uint256 private constant S_MAX = CompactSignature.S_MAX;

    // Buffer: 0x000 type hash, 0x020 group, 0x040 index, 0x060 epoch, 0x080 challenge, 0x0a0 policyHash, 0x0c0 n then digest,
    //         0x0e0 head then v, 0x100 r, 0x120 s, 0x15e 0x1901, 0x160 domain, 0x180 struct hash.

    /// @notice Reserves the memory and fills in what a call's records share.
    function prepare(bytes32 domain, uint32 epoch, bytes32 challenge, bytes32 policyHash)
        internal
        pure
        returns (Buffer buffer)
    {
        bytes32 typeHash = TYPEHASH;
        /// @solidity memory-safe-assembly
        assembly {
            let m := mload(0x40)
            mstore(0x40, add(m, 0x1a0))
            mstore(m, typeHash)
            mstore(add(m, 0x060), epoch)
            mstore(add(m, 0x080), challenge)
            mstore(add(m, 0x0a0), policyHash)
            mstore(add(m, 0x140), 0x1901)
            mstore(add(m, 0x160), domain)
            buffer := m
        }
    }

    /// @notice Fills in the group of the records that follow.
    function setGroup(Buffer buffer, uint32 group) internal pure {
        /// @solidity memory-safe-assembly
        assembly {
            mstore(add(buffer, 0x020), group)
        }
    }

    /// @notice What piles sign of a batch's root in the same epoch, under the same challenge and policy.
    function rootDigest(Buffer buffer, bytes32 root) internal pure returns (bytes32) {
        uint256 epoch;
        bytes32 challenge;
        bytes32 policyHash;
        bytes32 domain;
        /// @solidity memory-safe-assembly
        assembly {
            epoch := mload(add(buffer, 0x060))
            challenge := mload(add(buffer, 0x080))
            policyHash := mload(add(buffer, 0x0a0))
            domain := mload(add(buffer, 0x160))
        }
        return BatchTree.digest(domain, uint32(epoch), challenge, policyHash, root);
    }

    /// @notice Whether `key` signed. False for a zero key and for s in the upper half.
    function signedBy(
        Buffer buffer,
        address key,
        uint256 index,
        uint256 n,
        bytes32 head,
        bytes32 r,
        uint256 yParityAndS
    ) internal view returns (bool valid) {
        uint256 sMax = S_MAX;
        /// @solidity memory-safe-assembly
        assembly {
            let s := shr(1, shl(1, yParityAndS))
            if iszero(gt(s, sMax)) {
                mstore(add(buffer, 0x040), index)
                mstore(add(buffer, 0x0c0), n)
                mstore(add(buffer, 0x0e0), head)
                mstore(add(buffer, 0x180), keccak256(buffer, 0x100))
                mstore(add(buffer, 0x0c0), keccak256(add(buffer, 0x15e), 0x42))
                mstore(add(buffer, 0x0e0), add(27, shr(255, yParityAndS)))
                mstore(add(buffer, 0x100), r)
                mstore(add(buffer, 0x120), s)
                // The precompile returns nothing when there is no signer, so the answer counts only if 32 bytes came back.
                pop(staticcall(gas(), 1, add(buffer, 0x0c0), 0x80, 0x00, 0x20))
                valid := and(and(eq(returndatasize(), 0x20), eq(mload(0x00), key)), iszero(iszero(key)))
            }
        }
    }
}
