// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

/// @title BLS12-381 signatures of 96 bytes under keys of 192, by the precompiles of EIP-2537
/// @notice Outside of memory a point has no padding: a key (G2) is x.c0 ‖ x.c1 ‖ y.c0 ‖ y.c1 and a signature (G1) x ‖ y, each
/// coordinate 48 bytes, big-endian; all zeros is infinity. An {Equation} asks whether a signature is one of a message under a sum
/// of keys: e(signature, −generator) · e(hash of the message, sum) = 1.
/// @dev What the precompiles check: the pairing, that each of its points is canonical, on the curve and in the subgroup; G2ADD, the
/// first two only. So a key must have been in a pairing before it is in a sum. Infinity passes both: the caller refuses it.
/// A precompile that refuses a point takes all gas it was given.
library Bls12381 {
    /// @notice Bytes of a signature.
    uint256 internal constant SIGNATURE_BYTES = 96;
    /// @notice Bytes of a key, or of a sum of keys.
    uint256 internal constant KEY_BYTES = 192;

    /// @notice Memory of {SIZE} bytes that the pairing reads as it stands, and behind it the point that is added next:
    /// signature (0x000, 128 bytes) ‖ −generator (0x080, 256) ‖ hash (0x180, 128) ‖ sum (0x200, 256) ‖ operand (0x300, 256).
    /// The 16 bytes of padding before each coordinate are zeros and stay so.
    type Equation is uint256;

    uint256 private constant SIZE = 0x400;
    uint256 private constant HASH = 0x180;
    uint256 private constant SUM = 0x200;
    uint256 private constant OPERAND = 0x300;

    uint256 private constant G1ADD = 0x0b;
    uint256 private constant G2ADD = 0x0d;
    uint256 private constant PAIRING_CHECK = 0x0f;
    uint256 private constant MAP_FP_TO_G1 = 0x10;

    /// @dev The field's modulus, its upper 128 bits and its lower 256.
    uint256 private constant P_HIGH = 0x1a0111ea397fe69a4b1ba7b6434bacd7;
    uint256 private constant P_LOW = 0x64774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab;

    /// @notice The chain lacks the precompiles of EIP-2537: a call to one returned nothing.
    error BlsUnavailable();
    /// @notice A precompile refused a point: not canonical, not on the curve, or (pairing) not in the subgroup; or gas ran out.
    error BlsPointRefused();
    /// @notice A key or signature has this number of bytes.
    error BlsMalformedLength(uint256 length);

    /// @notice An equation with signature, hash and sum at infinity.
    function equation() internal pure returns (Equation self) {
        /// @solidity memory-safe-assembly
        assembly {
            self := mload(0x40)
            mstore(0x40, add(self, SIZE))
            calldatacopy(self, calldatasize(), SIZE)
            mstore(add(self, 0x080), 0x024aa2b2f08f0a91260805272dc51051)
            mstore(add(self, 0x0a0), 0xc6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8)
            mstore(add(self, 0x0c0), 0x13e02b6052719f607dacd3a088274f65)
            mstore(add(self, 0x0e0), 0x596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e)
            mstore(add(self, 0x100), 0x0d1b3cc2c7027888be51d9ef691d77bc)
            mstore(add(self, 0x120), 0xb679afda66c73f17f9ee3837a55024f78c71363275a75d75d86bab79f74782aa)
            mstore(add(self, 0x140), 0x13fa4d4a0ad8b1ce186ed5061789213d)
            mstore(add(self, 0x160), 0x993923066dddaf1040bc3ff59f825c78df74f2d75467e25e0f55f8a00fa030ed)
        }
    }

    /// @notice Sets the signature, which {holds} checks.
    function setSignature(Equation self, bytes calldata signature) internal pure {
        if (signature.length != SIGNATURE_BYTES) revert BlsMalformedLength(signature.length);
        /// @solidity memory-safe-assembly
        assembly {
            calldatacopy(add(self, 0x10), signature.offset, 48)
            calldatacopy(add(self, 0x50), add(signature.offset, 48), 48)
        }
    }

    /// @notice Sets the message: its hash_to_curve of RFC 9380, suite BLS12381G1_XMD:SHA-256_SSWU_RO_.
    /// @param dst Domain separation tag, at most 255 bytes.
    function setMessage(Equation self, bytes memory dst, bytes memory message) internal view {
        uint256 u = Equation.unwrap(self) + OPERAND;
        _hashToField(dst, message, u);
        // The precompile clears the cofactor too, and the sum of cleared points is the cleared sum.
        _precompile(MAP_FP_TO_G1, u, 0x40, u, 0x80);
        _precompile(MAP_FP_TO_G1, u + 0x80, 0x40, u + 0x80, 0x80);
        _precompile(G1ADD, u, 0x100, Equation.unwrap(self) + HASH, 0x80);
    }

    /// @notice Sets the sum to one key.
    function setSum(Equation self, bytes calldata key) internal pure {
        if (key.length != KEY_BYTES) revert BlsMalformedLength(key.length);
        _unpack(Equation.unwrap(self) + SUM, key);
    }

    /// @notice Adds a key to the sum.
    function add(Equation self, bytes calldata key) internal view {
        if (key.length != KEY_BYTES) revert BlsMalformedLength(key.length);
        _unpack(Equation.unwrap(self) + OPERAND, key);
        _addOperand(self);
    }

    /// @notice Adds a key, or a sum of keys, that stands in code; past the code's end stands infinity, which adds nothing.
    /// @param offset Of its first byte in the code.
    function addCode(Equation self, address code, uint256 offset) internal view {
        /// @solidity memory-safe-assembly
        assembly {
            let packed := mload(0x40)
            let operand := add(self, OPERAND)
            extcodecopy(code, packed, offset, KEY_BYTES)
            mcopy(add(operand, 0x10), packed, 48)
            mcopy(add(operand, 0x50), add(packed, 48), 48)
            mcopy(add(operand, 0x90), add(packed, 96), 48)
            mcopy(add(operand, 0xd0), add(packed, 144), 48)
        }
        _addOperand(self);
    }

    /// @notice Adds some of up to 32 keys that stand one behind another in code.
    /// @dev The same as {addCode} of each, at half of what is left of its cost beside the precompile's: it runs for every absentee.
    /// @param offset Of the first one in the code.
    /// @param chosen Bit i for the key at place i.
    function addCodes(Equation self, address code, uint256 offset, uint256 chosen) internal view {
        bytes32 refused = BlsPointRefused.selector;
        bytes32 unavailable = BlsUnavailable.selector;
        /// @solidity memory-safe-assembly
        assembly {
            let packed := mload(0x40)
            let target := add(self, SUM)
            for { } chosen { } {
                // The number of the lowest bit, as in Solady's LibBit.ffs for 32 bits.
                let lowest := and(chosen, sub(0, chosen))
                let place :=
                    byte(
                        and(div(0xd76453e0, lowest), 0x1f),
                        0x001f0d1e100c1d070f090b19131c1706010e11080a1a141802121b1503160405
                    )
                chosen := xor(chosen, lowest)
                extcodecopy(code, packed, add(mul(place, KEY_BYTES), offset), KEY_BYTES)
                mcopy(add(target, 0x110), packed, 48)
                mcopy(add(target, 0x150), add(packed, 48), 48)
                mcopy(add(target, 0x190), add(packed, 96), 48)
                mcopy(add(target, 0x1d0), add(packed, 144), 48)
                let called := staticcall(gas(), G2ADD, target, 0x200, target, 0x100)
                if iszero(and(called, eq(returndatasize(), 0x100))) {
                    mstore(0x00, refused)
                    if called { mstore(0x00, unavailable) }
                    revert(0x00, 0x04)
                }
            }
        }
    }

    /// @notice Negates the sum: y becomes p − y.
    function negateSum(Equation self) internal pure {
        uint256 y = Equation.unwrap(self) + SUM + 0x80;
        _negate(y);
        _negate(y + 0x40);
    }

    /// @notice Whether signature, message and sum fit each other. Never true of a signature or a sum at infinity, which every
    /// message fits.
    function holds(Equation self) internal view returns (bool fits) {
        if (signatureIsInfinity(self) || sumIsInfinity(self)) return false;
        _precompile(PAIRING_CHECK, Equation.unwrap(self), OPERAND, 0x00, 0x20);
        /// @solidity memory-safe-assembly
        assembly {
            fits := eq(mload(0x00), 1)
        }
    }

    /// @notice Whether the signature is infinity.
    function signatureIsInfinity(Equation self) internal pure returns (bool) {
        return _ored(Equation.unwrap(self)) == 0;
    }

    /// @notice Whether the sum is infinity.
    function sumIsInfinity(Equation self) internal pure returns (bool) {
        return _ored(Equation.unwrap(self) + SUM) | _ored(Equation.unwrap(self) + SUM + 0x80) == 0;
    }

    /// @notice The sum, without padding.
    function sum(Equation self) internal pure returns (bytes memory key) {
        key = new bytes(KEY_BYTES);
        /// @solidity memory-safe-assembly
        assembly {
            let from := add(self, SUM)
            mcopy(add(key, 0x20), add(from, 0x10), 48)
            mcopy(add(key, 0x50), add(from, 0x50), 48)
            mcopy(add(key, 0x80), add(from, 0x90), 48)
            mcopy(add(key, 0xb0), add(from, 0xd0), 48)
        }
    }

    /// @notice Whether each coordinate is below the field's modulus, as a precompile will demand.
    /// @param point A key or a signature.
    function isCanonical(bytes calldata point) internal pure returns (bool) {
        for (uint256 i; i < point.length; i += 48) {
            uint256 high = uint128(bytes16(point[i:i + 16]));
            uint256 low = uint256(bytes32(point[i + 16:i + 48]));
            if (high > P_HIGH || (high == P_HIGH && low >= P_LOW)) return false;
        }
        return true;
    }

    /// @notice Whether all bytes are zeros.
    function isInfinity(bytes calldata point) internal pure returns (bool) {
        for (uint256 i; i < point.length; i += 48) {
            if (bytes16(point[i:i + 16]) != 0 || bytes32(point[i + 16:i + 48]) != 0) return false;
        }
        return true;
    }

    /// @dev expand_message_xmd to 128 bytes and hash_to_field, in free memory. There stands at 0x000 what is hashed, first
    /// {0 × 64 ‖ message ‖ 128 u16 ‖ 0 u8 ‖ dst ‖ its length}, then {b_i ‖ i u8 ‖ dst ‖ its length}, of 289 bytes at most; at 0x160
    /// MODEXP's input {64 ‖ 1 ‖ 64 ‖ two hashes ‖ 1 u8 ‖ p}.
    /// @param u Memory of the two elements, 64 bytes each, at 0x00 and 0x80.
    function _hashToField(bytes memory dst, bytes memory message, uint256 u) private view {
        /// @solidity memory-safe-assembly
        assembly {
            let input := mload(0x40)
            let tag := mload(dst)
            let end := add(input, 0x40)
            calldatacopy(input, calldatasize(), 0x40)
            mcopy(end, add(message, 0x20), mload(message))
            end := add(end, mload(message))
            mstore(end, shl(232, 0x008000))
            mcopy(add(end, 3), add(dst, 0x20), tag)
            end := add(add(end, 3), tag)
            mstore8(end, tag)
            let ok := staticcall(gas(), 2, input, sub(add(end, 1), input), 0x00, 0x20)
            let b0 := mload(0x00)

            let size := add(0x22, tag)
            mcopy(add(input, 0x21), add(dst, 0x20), tag)
            mstore8(add(add(input, 0x21), tag), tag)
            let power := add(input, 0x160)
            let first := add(input, 0x1c0)
            let second := add(input, 0x1e0)
            mstore(power, 64)
            mstore(add(power, 0x20), 1)
            mstore(add(power, 0x40), 64)
            mstore8(add(power, 0xa0), 1)
            mstore(add(power, 0xa1), P_HIGH)
            mstore(add(power, 0xc1), P_LOW)

            mstore(input, b0)
            mstore8(add(input, 0x20), 1)
            ok := and(staticcall(gas(), 2, input, size, first, 0x20), ok)
            mstore(input, xor(b0, mload(first)))
            mstore8(add(input, 0x20), 2)
            ok := and(staticcall(gas(), 2, input, size, second, 0x20), ok)
            ok := and(staticcall(gas(), 5, power, 0xe1, u, 0x40), ok)
            mstore(input, xor(b0, mload(second)))
            mstore8(add(input, 0x20), 3)
            ok := and(staticcall(gas(), 2, input, size, first, 0x20), ok)
            mstore(input, xor(b0, mload(first)))
            mstore8(add(input, 0x20), 4)
            ok := and(staticcall(gas(), 2, input, size, second, 0x20), ok)
            ok := and(staticcall(gas(), 5, power, 0xe1, add(u, 0x80), 0x40), ok)
            // These refuse nothing: only gas can have run out.
            if iszero(ok) { revert(0, 0) }
        }
    }

    /// @dev A call to an address without code succeeds and returns nothing.
    function _precompile(uint256 which, uint256 input, uint256 inputSize, uint256 output, uint256 outputSize)
        private
        view
    {
        bytes32 refused = BlsPointRefused.selector;
        bytes32 unavailable = BlsUnavailable.selector;
        /// @solidity memory-safe-assembly
        assembly {
            let called := staticcall(gas(), which, input, inputSize, output, outputSize)
            if iszero(and(called, eq(returndatasize(), outputSize))) {
                mstore(0x00, refused)
                if called { mstore(0x00, unavailable) }
                revert(0x00, 0x04)
            }
        }
    }

    function _addOperand(Equation self) private view {
        uint256 target = Equation.unwrap(self) + SUM;
        _precompile(G2ADD, target, 0x200, target, 0x100);
    }

    function _unpack(uint256 target, bytes calldata key) private pure {
        /// @solidity memory-safe-assembly
        assembly {
            calldatacopy(add(target, 0x10), key.offset, 48)
            calldatacopy(add(target, 0x50), add(key.offset, 48), 48)
            calldatacopy(add(target, 0x90), add(key.offset, 96), 48)
            calldatacopy(add(target, 0xd0), add(key.offset, 144), 48)
        }
    }

    /// @dev Coordinates are below p here; p − 0 would not be.
    function _negate(uint256 coordinate) private pure {
        /// @solidity memory-safe-assembly
        assembly {
            let high := mload(coordinate)
            let low := mload(add(coordinate, 0x20))
            if or(high, low) {
                mstore(coordinate, sub(sub(P_HIGH, high), gt(low, P_LOW)))
                mstore(add(coordinate, 0x20), sub(P_LOW, low))
            }
        }
    }

    /// @dev Two coordinates, ored: 0 if both are zero.
    function _ored(uint256 start) private pure returns (uint256 any) {
        /// @solidity memory-safe-assembly
        assembly {
            any := or(or(mload(start), mload(add(start, 0x20))), or(mload(add(start, 0x40)), mload(add(start, 0x60))))
        }
    }
}
