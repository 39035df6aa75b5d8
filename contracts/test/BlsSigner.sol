// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { Bls12381Reference } from "../reference/Bls12381Reference.sol";
import { HeadDigest } from "../reference/HeadDigest.sol";
import { Bls12381 } from "../src/libraries/Bls12381.sol";

/// @notice Keys, signatures and possessions of piles in tests, by the multiplications of EIP-2537. Points are unpadded: a key is 192
/// bytes, a signature 96.
library BlsSigner {
    using Bls12381 for Bls12381.Equation;

    bytes internal constant ROOT_DST = "BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";
    bytes internal constant POSSESSION_DST = "BLS_POP_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";

    /// @dev Order of the groups.
    uint256 internal constant R = 0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001;

    /// @notice The public key of a secret scalar.
    function keyOf(uint256 secret) internal view returns (bytes memory) {
        bytes memory generator = bytes.concat(Bls12381Reference.GENERATOR_G2_X, Bls12381Reference.GENERATOR_G2_Y);
        return multiplyG2(generator, secret);
    }

    /// @notice The signature of a message; that of a sum of secrets is the aggregate of their signatures.
    function sign(uint256 secret, bytes memory dst, bytes memory message) internal view returns (bytes memory) {
        return Bls12381Reference.unpad(
            Bls12381Reference.call(0x0c, abi.encodePacked(hashToCurve(dst, message), secret % R))
        );
    }

    /// @notice The point of a message, with padding. The library's own, because the reference takes thirty times as long;
    /// Bls12381Test holds it to the reference and to the RFC's vectors.
    function hashToCurve(bytes memory dst, bytes memory message) internal view returns (bytes memory point) {
        Bls12381.Equation equation = Bls12381.equation();
        equation.setMessage(dst, message);
        point = new bytes(128);
        /// @solidity memory-safe-assembly
        assembly {
            mcopy(add(point, 0x20), add(equation, 0x180), 128)
        }
    }

    /// @notice The signature of a root's digest.
    function signRoot(uint256 secret, bytes32 digest) internal view returns (bytes memory) {
        return sign(secret, ROOT_DST, abi.encodePacked(digest));
    }

    /// @notice A device's proof that it holds the secret.
    function possession(uint256 secret, bytes32 deviceId, address registry) internal view returns (bytes memory) {
        bytes32 digest = possessionDigest(block.chainid, registry, deviceId, keyOf(secret));
        return sign(secret, POSSESSION_DST, abi.encodePacked(digest));
    }

    function possessionDigest(uint256 chainId, address registry, bytes32 deviceId, bytes memory key)
        internal
        pure
        returns (bytes32)
    {
        bytes32 structHash =
            keccak256(abi.encode(keccak256("BlsPossession(bytes32 deviceId,bytes key)"), deviceId, keccak256(key)));
        return keccak256(abi.encodePacked(hex"1901", HeadDigest.domain(chainId, registry), structHash));
    }

    /// @notice The sum of keys.
    function sumOf(bytes[] memory keys) internal view returns (bytes memory) {
        bytes memory sum = new bytes(256);
        for (uint256 i; i < keys.length; ++i) {
            sum = Bls12381Reference.call(0x0d, bytes.concat(sum, Bls12381Reference.pad(keys[i])));
        }
        return Bls12381Reference.unpad(sum);
    }

    /// @notice The sum of signatures.
    function aggregate(bytes[] memory signatures) internal view returns (bytes memory) {
        bytes memory sum = new bytes(128);
        for (uint256 i; i < signatures.length; ++i) {
            sum = Bls12381Reference.call(0x0b, bytes.concat(sum, Bls12381Reference.pad(signatures[i])));
        }
        return Bls12381Reference.unpad(sum);
    }

    /// @notice A point on the curve of keys, but not in the subgroup.
    function outsideSubgroupG2() internal pure returns (bytes memory) {
        return bytes.concat(
            new bytes(95),
            hex"01",
            hex"135203e60180a68ee2e9c448d77a2cd91c3dedd930b1cf60ef396489f61eb45e304466cf3e67fa0af1ee7b04121bdea2"
            hex"140d2a0ca7fdc0223895aa4843747ffad8ac19034879ca1b67e64a4501b6c551cb36cb8e58c411de58318ef3c9ab641b"
        );
    }

    /// @notice A point on the curve of signatures, but not in the subgroup.
    function outsideSubgroupG1() internal pure returns (bytes memory) {
        return bytes.concat(
            new bytes(47),
            hex"04",
            hex"0a989badd40d6212b33cffc3f3763e9bc760f988c9926b26da9dd85e928483446346b8ed00e1de5d5ea93e354abe706c"
        );
    }

    /// @notice The same point, but one coordinate is not canonical.
    function withModulusAdded(bytes memory point, uint256 coordinate) internal pure returns (bytes memory raised) {
        raised = bytes.concat(point);
        uint256 carry;
        for (uint256 i = 48; i > 0; --i) {
            uint256 place = 48 * coordinate + i - 1;
            carry += uint256(uint8(point[place])) + uint8(Bls12381Reference.P[i - 1]);
            raised[place] = bytes1(uint8(carry));
            carry >>= 8;
        }
    }

    /// @notice The key of the negated secret.
    function negate(bytes memory key) internal pure returns (bytes memory) {
        return Bls12381Reference.negateG2(key);
    }

    function multiplyG2(bytes memory point, uint256 scalar) internal view returns (bytes memory) {
        bytes memory input = abi.encodePacked(Bls12381Reference.pad(point), scalar % R);
        return Bls12381Reference.unpad(Bls12381Reference.call(0x0e, input));
    }
}
