// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { Sha3 } from "../src/Sha3.sol";
import { Test } from "forge-std/Test.sol";

abstract contract Hashes is Test {
    Sha3 private hasher;

    function setUp() public {
        hasher = new Sha3();
    }

    function hash(bytes memory data) internal view returns (bytes32) {
        (bool ok, bytes memory answer) = address(hasher).staticcall(data);
        assertTrue(ok && answer.length == 32);
        return bytes32(answer);
    }
}

contract Sha3Test is Hashes {
    function test_the_examples_of_fips_202() public view {
        assertEq(hash(""), 0xa7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a);
        assertEq(hash("abc"), 0x3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532);
        bytes memory long = new bytes(200);
        for (uint256 i; i < 200; ++i) {
            long[i] = 0xa3;
        }
        assertEq(hash(long), 0x79f38adec5c20307a98ef76e8324afbfd46cfd81b22e3973c65fa1bd9de31787);
    }

    /// @dev The message of length n is 7i + n modulo 256 at place i. What is expected was made with Python's hashlib:
    /// chain = sha3_256(chain + sha3_256(message)) for each n, from 32 zero bytes on.
    function test_every_length_from_0_to_300() public view {
        bytes32 chain;
        for (uint256 n; n <= 300; ++n) {
            bytes memory message = new bytes(n);
            for (uint256 i; i < n; ++i) {
                message[i] = bytes1(uint8(7 * i + n));
            }
            chain = hash(bytes.concat(chain, hash(message)));
        }
        assertEq(chain, 0x0d402130e1d92317f4948688ee32583edc4c21f90f7f6d15b16c49dab5cd9fde);
    }

    /// @dev All bits set, or a single one, in every lane of a block.
    function test_words_at_their_limits() public view {
        bytes memory block_ = new bytes(135);
        for (uint256 i; i < 135; ++i) {
            block_[i] = 0xff;
        }
        assertEq(hash(block_), ONES);
        bytes32 chain;
        for (uint256 i; i < 135; ++i) {
            bytes memory single = new bytes(135);
            single[i] = bytes1(uint8(1 << (i % 8)));
            chain = hash(bytes.concat(chain, hash(single)));
        }
        assertEq(chain, SINGLES);
    }

    bytes32 private constant ONES = 0xefee551716f808257a5ae23251471a4c5df47d6c170e8a875ae87d0bd26d8544;
    bytes32 private constant SINGLES = 0x4ff86a50e194db2abc1c476e42cc242fbcaff4a978e1b4a497e0f60aaeca325d;
}

/// @notice Apart, because planted bugs are compiled without the optimizer's steps, and then gas says nothing.
contract GasOfSha3 is Hashes {
    function test_a_telemetry_record_costs_one_block() public view {
        bytes memory record = new bytes(112);
        hash(record);
        uint256 before = gasleft();
        hash(record);
        assertLt(before - gasleft(), 46_000);
    }
}
