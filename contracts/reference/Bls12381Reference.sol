// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

/// @title What Bls12381 computes, step by step as RFC 9380 has it
/// @notice In memory a point has EIP-2537's padding: 128 bytes in G1, 256 in G2. Not for deployment.
library Bls12381Reference {
    /// @dev The field's modulus, 384 bits.
    bytes internal constant P =
        hex"1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab";
    bytes internal constant GENERATOR_G2_X = hex"024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8"
        hex"13e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e";
    bytes internal constant GENERATOR_G2_Y = hex"0ce5d527727d6e118cc9cdc6da2e351aadfd9baa8cbdd3a76d429a695160d12c923ac9cc3baca289e193548608b82801"
        hex"0606c4a02ea734cc32acd2b02bc28b99cb3e287e85a763af267492ab572e99ab3f370d275cec1da1aaa9075ff05f79be";

    /// @notice Whether the signature is one of the message under the sum of the keys.
    function verify(bytes memory dst, bytes memory message, bytes memory signature, bytes[] memory keys)
        internal
        view
        returns (bool)
    {
        bytes memory sum = new bytes(256);
        for (uint256 i; i < keys.length; ++i) {
            sum = call(0x0d, bytes.concat(sum, pad(keys[i])));
        }
        if (isZero(signature) || isZero(sum)) return false;
        bytes memory generator = bytes.concat(GENERATOR_G2_X, GENERATOR_G2_Y);
        bytes memory answer =
            call(0x0f, bytes.concat(pad(signature), pad(negateG2(generator)), hashToCurve(dst, message), sum));
        return abi.decode(answer, (uint256)) == 1;
    }

    function hashToCurve(bytes memory dst, bytes memory message) internal view returns (bytes memory) {
        bytes memory uniform = expandMessageXmd(dst, message);
        bytes memory q0 = call(0x10, reduce(slice(uniform, 0, 64)));
        bytes memory q1 = call(0x10, reduce(slice(uniform, 64, 64)));
        return call(0x0b, bytes.concat(q0, q1));
    }

    /// @notice 128 bytes, by SHA-256.
    function expandMessageXmd(bytes memory dst, bytes memory message) internal pure returns (bytes memory uniform) {
        bytes memory dstPrime = abi.encodePacked(dst, uint8(dst.length));
        bytes32 b0 = sha256(abi.encodePacked(new bytes(64), message, uint16(128), uint8(0), dstPrime));
        bytes32 b;
        for (uint8 i = 1; i <= 4; ++i) {
            b = sha256(abi.encodePacked(b0 ^ b, i, dstPrime));
            uniform = abi.encodePacked(uniform, b);
        }
    }

    /// @notice A number of 64 bytes modulo p, in 64 bytes, bit by bit.
    function reduce(bytes memory number) internal pure returns (bytes memory) {
        (uint256 pHigh, uint256 pLow) = split(P);
        uint256 high;
        uint256 low;
        for (uint256 i; i < 512; ++i) {
            high = (high << 1) | (low >> 255);
            low = (low << 1) | ((uint8(number[i / 8]) >> (7 - (i % 8))) & 1);
            if (high > pHigh || (high == pHigh && low >= pLow)) {
                unchecked {
                    high = high - pHigh - (low < pLow ? 1 : 0);
                    low -= pLow;
                }
            }
        }
        return abi.encode(high, low);
    }

    /// @notice The point of G2 with −y, without padding.
    function negateG2(bytes memory point) internal pure returns (bytes memory) {
        return bytes.concat(slice(point, 0, 96), negate(slice(point, 96, 48)), negate(slice(point, 144, 48)));
    }

    function negate(bytes memory coordinate) internal pure returns (bytes memory) {
        if (isZero(coordinate)) return coordinate;
        (uint256 pHigh, uint256 pLow) = split(P);
        (uint256 high, uint256 low) = split(coordinate);
        unchecked {
            return abi.encodePacked(uint128(pHigh - high - (low > pLow ? 1 : 0)), pLow - low);
        }
    }

    function split(bytes memory coordinate) internal pure returns (uint256 high, uint256 low) {
        return (uint128(bytes16(slice(coordinate, 0, 16))), uint256(bytes32(slice(coordinate, 16, 32))));
    }

    function pad(bytes memory point) internal pure returns (bytes memory padded) {
        for (uint256 i; i < point.length; i += 48) {
            padded = bytes.concat(padded, bytes16(0), slice(point, i, 48));
        }
    }

    function unpad(bytes memory padded) internal pure returns (bytes memory point) {
        for (uint256 i; i < padded.length; i += 64) {
            point = bytes.concat(point, slice(padded, i + 16, 48));
        }
    }

    function isZero(bytes memory data) internal pure returns (bool) {
        return keccak256(data) == keccak256(new bytes(data.length));
    }

    function slice(bytes memory data, uint256 from, uint256 length) internal pure returns (bytes memory part) {
        part = new bytes(length);
        for (uint256 i; i < length; ++i) {
            part[i] = data[from + i];
        }
    }

    function call(uint160 precompile, bytes memory input) internal view returns (bytes memory) {
        (bool ok, bytes memory output) = address(precompile).staticcall(input);
        require(ok, "the precompile refuses the input");
        require(output.length != 0, "there is no such precompile");
        return output;
    }
}
