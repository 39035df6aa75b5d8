// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

/// @title 64-byte ECDSA signatures (EIP-2098) with s in the lower half
/// @dev WARNING! Signatures authenticate. They are never identifiers.
library CompactSignature {
    /// @notice Length of a signature, in bytes.
    uint256 internal constant LENGTH = 64;

    /// @notice Half the order of secp256k1, rounded down: the largest s accepted.
    uint256 internal constant S_MAX = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;

    /// @notice The signer of a digest; 0 for a signature of another length, with s in the upper half, or without a signer.
    function recover(bytes32 digest, bytes calldata signature) internal pure returns (address) {
        if (signature.length != LENGTH) return address(0);
        bytes32 r = bytes32(signature[0:32]);
        uint256 yParityAndS = uint256(bytes32(signature[32:64]));
        uint256 s = yParityAndS & (type(uint256).max >> 1);
        if (s > S_MAX) return address(0);
        return ecrecover(digest, uint8(27 + (yParityAndS >> 255)), r, bytes32(s));
    }
}
