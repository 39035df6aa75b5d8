// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { Bls12381Reference } from "../reference/Bls12381Reference.sol";
import { Bls12381 } from "../src/libraries/Bls12381.sol";
import { BlsSigner } from "./BlsSigner.sol";
import { Test } from "forge-std/Test.sol";

/// @notice The library behind a call, so that its refusals can be awaited and its points come as calldata.
contract BlsCaller {
    using Bls12381 for Bls12381.Equation;

    function hash(bytes memory dst, bytes memory message) external view returns (bytes memory) {
        return BlsSigner.hashToCurve(dst, message);
    }

    function verify(bytes memory dst, bytes memory message, bytes calldata signature, bytes[] calldata keys)
        external
        view
        returns (bool)
    {
        Bls12381.Equation equation = Bls12381.equation();
        for (uint256 i; i < keys.length; ++i) {
            equation.add(keys[i]);
        }
        equation.setMessage(dst, message);
        equation.setSignature(signature);
        return equation.holds();
    }

    function verifyOne(bytes memory dst, bytes memory message, bytes calldata signature, bytes calldata key)
        external
        view
        returns (bool)
    {
        Bls12381.Equation equation = Bls12381.equation();
        equation.setSum(key);
        equation.setMessage(dst, message);
        equation.setSignature(signature);
        return equation.holds();
    }

    /// @dev What is left of a total without one key.
    function subtract(bytes calldata total, bytes calldata key) external view returns (bytes memory, bool infinity) {
        Bls12381.Equation equation = Bls12381.equation();
        equation.setSum(key);
        equation.negateSum();
        equation.add(total);
        return (equation.sum(), equation.sumIsInfinity());
    }

    function sumOfCode(address code, uint256 offset) external view returns (bytes memory) {
        Bls12381.Equation equation = Bls12381.equation();
        equation.addCode(code, offset);
        return equation.sum();
    }

    function isCanonical(bytes calldata point) external pure returns (bool) {
        return Bls12381.isCanonical(point);
    }

    function isInfinity(bytes calldata point) external pure returns (bool) {
        return Bls12381.isInfinity(point);
    }

    function costs(bytes memory message, bytes calldata signature, bytes calldata key, address code)
        external
        view
        returns (uint256 hashing, uint256 adding, uint256 pairing)
    {
        Bls12381.Equation equation = Bls12381.equation();
        bytes memory dst = BlsSigner.ROOT_DST;
        // Memory and code are paid for once.
        equation.setMessage(dst, message);
        equation.addCode(code, code.code.length);
        equation.setSum(key);
        equation.setSignature(signature);
        uint256 before = gasleft();
        equation.setMessage(dst, message);
        uint256 hashed = gasleft();
        equation.addCode(code, 1);
        uint256 added = gasleft();
        equation.setSum(key);
        uint256 set = gasleft();
        bool fits = equation.holds();
        pairing = set - gasleft();
        require(fits);
        return (before - hashed, hashed - added, pairing);
    }
}

contract Bls12381Test is Test {
    bytes private constant RFC_DST = "QUUX-V01-CS02-with-BLS12381G1_XMD:SHA-256_SSWU_RO_";
    bytes private constant MESSAGE = "what is signed";

    BlsCaller private caller;

    function setUp() public {
        caller = new BlsCaller();
    }

    function _expectHash(bytes memory message, bytes memory point) private view {
        assertEq(caller.hash(RFC_DST, message), Bls12381Reference.pad(point), string(message));
        assertEq(Bls12381Reference.hashToCurve(RFC_DST, message), Bls12381Reference.pad(point), string(message));
    }

    /// @dev RFC 9380, J.9.1.
    function test_hash_to_curve_gives_the_points_of_the_rfc() public view {
        _expectHash(
            "",
            hex"052926add2207b76ca4fa57a8734416c8dc95e24501772c814278700eed6d1e4e8cf62d9c09db0fac349612b759e79a1"
            hex"08ba738453bfed09cb546dbb0783dbb3a5f1f566ed67bb6be0e8c67e2e81a4cc68ee29813bb7994998f3eae0c9c6a265"
        );
        _expectHash(
            "abc",
            hex"03567bc5ef9c690c2ab2ecdf6a96ef1c139cc0b2f284dca0a9a7943388a49a3aee664ba5379a7655d3c68900be2f6903"
            hex"0b9c15f3fe6e5cf4211f346271d7b01c8f3b28be689c8429c85b67af215533311f0b8dfaaa154fa6b88176c229f2885d"
        );
        _expectHash(
            "abcdef0123456789",
            hex"11e0b079dea29a68f0383ee94fed1b940995272407e3bb916bbf268c263ddd57a6a27200a784cbc248e84f357ce82d98"
            hex"03a87ae2caf14e8ee52e51fa2ed8eefe80f02457004ba4d486d6aa1f517c0889501dc7413753f9599b099ebcbbd2d709"
        );
        _expectHash(
            bytes.concat("q128_", _repeated("q", 128)),
            hex"15f68eaa693b95ccb85215dc65fa81038d69629f70aeee0d0f677cf22285e7bf58d7cb86eefe8f2e9bc3f8cb84fac488"
            hex"1807a1d50c29f430b8cafc4f8638dfeeadf51211e1602a5f184443076715f91bb90a48ba1e370edce6ae1062f5e6dd38"
        );
        _expectHash(
            bytes.concat("a512_", _repeated("a", 512)),
            hex"082aabae8b7dedb0e78aeb619ad3bfd9277a2f77ba7fad20ef6aabdc6c31d19ba5a6d12283553294c1825c4b3ca2dcfe"
            hex"05b84ae5a942248eea39e1d91030458c40153f3b654ab7872d779ad1e942856a20c438e8d99bc8abfbf74729ce1f7ac8"
        );
    }

    function testFuzz_hash_to_curve_agrees_with_the_reference(bytes memory dst, bytes memory message) public view {
        if (dst.length > 255) dst = Bls12381Reference.slice(dst, 0, 255);
        assertEq(caller.hash(dst, message), Bls12381Reference.hashToCurve(dst, message));
    }

    function test_a_tag_of_255_bytes_leaves_the_field_elements_alone() public view {
        bytes memory dst = _repeated("t", 255);
        assertEq(caller.hash(dst, MESSAGE), Bls12381Reference.hashToCurve(dst, MESSAGE));
    }

    function testFuzz_verify_agrees_with_the_reference(uint256 seed, uint8 signers) public view {
        bytes[] memory keys = new bytes[](1 + signers % 4);
        bytes[] memory signatures = new bytes[](keys.length);
        for (uint256 i; i < keys.length; ++i) {
            uint256 secret = uint256(keccak256(abi.encode(seed, i)));
            keys[i] = BlsSigner.keyOf(secret);
            signatures[i] = BlsSigner.signRoot(secret, bytes32(seed));
        }
        // One in three signs something else.
        if (seed % 3 == 0) signatures[0] = BlsSigner.signRoot(seed, bytes32(seed));
        bytes memory signature = BlsSigner.aggregate(signatures);
        bytes memory message = abi.encodePacked(seed);
        bool fits = caller.verify(BlsSigner.ROOT_DST, message, signature, keys);
        assertEq(fits, seed % 3 != 0);
        assertEq(fits, Bls12381Reference.verify(BlsSigner.ROOT_DST, message, signature, keys));
    }

    function test_a_signature_counts_for_its_message_tag_and_key_only() public view {
        bytes memory key = BlsSigner.keyOf(7);
        bytes memory signature = BlsSigner.sign(7, BlsSigner.ROOT_DST, MESSAGE);
        assertTrue(caller.verifyOne(BlsSigner.ROOT_DST, MESSAGE, signature, key));
        assertFalse(caller.verifyOne(BlsSigner.ROOT_DST, "something else", signature, key));
        assertFalse(caller.verifyOne(BlsSigner.POSSESSION_DST, MESSAGE, signature, key));
        assertFalse(caller.verifyOne(BlsSigner.ROOT_DST, MESSAGE, signature, BlsSigner.keyOf(8)));
    }

    function test_infinity_signs_nothing_and_is_no_key() public view {
        bytes memory key = BlsSigner.keyOf(7);
        bytes memory signature = BlsSigner.sign(7, BlsSigner.ROOT_DST, MESSAGE);
        assertFalse(caller.verifyOne(BlsSigner.ROOT_DST, MESSAGE, new bytes(96), new bytes(192)));
        assertFalse(caller.verifyOne(BlsSigner.ROOT_DST, MESSAGE, new bytes(96), key));
        assertFalse(caller.verifyOne(BlsSigner.ROOT_DST, MESSAGE, signature, new bytes(192)));
        assertTrue(caller.isInfinity(new bytes(192)));
        assertFalse(caller.isInfinity(key));
        for (uint256 i; i < 192; i += 13) {
            bytes memory nearly = new bytes(192);
            nearly[i] = 0x01;
            assertFalse(caller.isInfinity(nearly));
        }
    }

    function test_a_point_off_the_curve_or_out_of_the_subgroup_is_refused() public {
        bytes memory key = BlsSigner.keyOf(7);
        bytes memory signature = BlsSigner.sign(7, BlsSigner.ROOT_DST, MESSAGE);
        bytes memory offCurve = BlsSigner.keyOf(7);
        offCurve[191] ^= 0x01;
        _expectRefused(signature, offCurve);
        _expectRefused(signature, BlsSigner.outsideSubgroupG2());
        bytes memory bad = BlsSigner.sign(7, BlsSigner.ROOT_DST, MESSAGE);
        bad[95] ^= 0x01;
        _expectRefused(bad, key);
        _expectRefused(BlsSigner.outsideSubgroupG1(), key);
    }

    function test_a_coordinate_of_the_modulus_or_more_is_refused() public {
        bytes memory key = BlsSigner.keyOf(7);
        bytes memory signature = BlsSigner.sign(7, BlsSigner.ROOT_DST, MESSAGE);
        for (uint256 i; i < 4; ++i) {
            bytes memory raised = BlsSigner.withModulusAdded(key, i);
            assertFalse(caller.isCanonical(raised));
            _expectRefused(signature, raised);
        }
        for (uint256 i; i < 2; ++i) {
            bytes memory raised = BlsSigner.withModulusAdded(signature, i);
            assertFalse(caller.isCanonical(raised));
            _expectRefused(raised, key);
        }
        assertTrue(caller.isCanonical(key));
        assertFalse(caller.isCanonical(Bls12381Reference.P));
        bytes memory largest = Bls12381Reference.P;
        largest[47] = 0xaa;
        assertTrue(caller.isCanonical(largest));
    }

    function test_lengths_other_than_a_points_are_refused() public {
        bytes memory key = BlsSigner.keyOf(7);
        vm.expectRevert(abi.encodeWithSelector(Bls12381.BlsMalformedLength.selector, 95));
        caller.verifyOne(BlsSigner.ROOT_DST, MESSAGE, new bytes(95), key);
        vm.expectRevert(abi.encodeWithSelector(Bls12381.BlsMalformedLength.selector, 193));
        caller.verifyOne(BlsSigner.ROOT_DST, MESSAGE, new bytes(96), new bytes(193));
        bytes[] memory keys = new bytes[](1);
        keys[0] = new bytes(191);
        vm.expectRevert(abi.encodeWithSelector(Bls12381.BlsMalformedLength.selector, 191));
        caller.verify(BlsSigner.ROOT_DST, MESSAGE, new bytes(96), keys);
    }

    function testFuzz_a_total_without_a_key_is_the_sum_of_the_others(uint256 a, uint256 b) public view {
        a = 1 + a % (BlsSigner.R - 1);
        b = 1 + b % (BlsSigner.R - 1);
        bytes[] memory keys = new bytes[](2);
        (keys[0], keys[1]) = (BlsSigner.keyOf(a), BlsSigner.keyOf(b));
        (bytes memory left, bool infinity) = caller.subtract(BlsSigner.sumOf(keys), keys[0]);
        assertEq(left, keys[1]);
        assertFalse(infinity);
    }

    function test_a_total_without_its_only_key_is_infinity() public view {
        bytes memory key = BlsSigner.keyOf(7);
        (bytes memory left, bool infinity) = caller.subtract(key, key);
        assertEq(left, new bytes(192));
        assertTrue(infinity);
        (left, infinity) = caller.subtract(key, new bytes(192));
        assertEq(left, key, "infinity is its own negative");
    }

    function test_a_key_is_read_from_code_and_past_its_end_is_infinity() public {
        bytes memory key = BlsSigner.keyOf(7);
        vm.etch(address(0xC0DE), bytes.concat(hex"00", BlsSigner.keyOf(8), key));
        assertEq(caller.sumOfCode(address(0xC0DE), 193), key);
        assertEq(caller.sumOfCode(address(0xC0DE), 385), new bytes(192));
    }

    /// @dev What a call to an address without code gives.
    function test_without_the_precompiles_it_says_so() public {
        bytes memory key = BlsSigner.keyOf(7);
        bytes memory signature = BlsSigner.sign(7, BlsSigner.ROOT_DST, MESSAGE);
        address[4] memory precompiles = [address(0x0b), address(0x0d), address(0x0f), address(0x10)];
        bytes[] memory keys = new bytes[](1);
        keys[0] = key;
        for (uint256 i; i < precompiles.length; ++i) {
            vm.mockCall(precompiles[i], bytes(""), bytes(""));
            vm.expectRevert(Bls12381.BlsUnavailable.selector);
            caller.verify(BlsSigner.ROOT_DST, MESSAGE, signature, keys);
            vm.clearMockedCalls();
        }
        assertTrue(caller.verify(BlsSigner.ROOT_DST, MESSAGE, signature, keys));
    }

    function test_what_it_costs() public {
        bytes memory key = BlsSigner.keyOf(7);
        bytes memory message = abi.encodePacked(keccak256("root"));
        bytes memory signature = BlsSigner.sign(7, BlsSigner.ROOT_DST, message);
        vm.etch(address(0xC0DE), bytes.concat(hex"00", key));
        (uint256 hashing, uint256 adding, uint256 pairing) = caller.costs(message, signature, key, address(0xC0DE));
        emit log_named_uint("hash_to_curve", hashing);
        emit log_named_uint("key from code added", adding);
        emit log_named_uint("pairing", pairing);
        assertLe(hashing, 14_300);
        assertLe(adding, 1_060);
        assertLe(pairing, 103_500);
    }

    function _expectRefused(bytes memory signature, bytes memory key) private {
        vm.expectRevert(Bls12381.BlsPointRefused.selector);
        // A precompile that refuses takes all it is given.
        caller.verifyOne{ gas: 1_000_000 }(BlsSigner.ROOT_DST, MESSAGE, signature, key);
    }

    function _repeated(bytes1 letter, uint256 count) private pure returns (bytes memory text) {
        text = new bytes(count);
        for (uint256 i; i < count; ++i) {
            text[i] = letter;
        }
    }
}
