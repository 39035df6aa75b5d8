// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

/// @title SHA3-256 (FIPS 202)
/// @notice Whatever bytes it is called with, it answers their 32-byte SHA3-256, as a precompile would. No ABI, no state.
/// @dev A contract of its own, because it takes all of memory: addresses are constants, and nothing is on the stack but what a row
/// needs. A word holds four copies of a lane of 64 bits, so a rotation is one shift, which spoils the lowest bits; theta and
/// rho shift by 64 at most, so after three rounds the highest copy is still whole, and is copied anew. A round costs about 1,600 gas.
contract Sha3 {
    fallback() external {
        // Not memory-safe, on purpose: the compiler may keep nothing in memory here.
        assembly {
            // 0x000 state, 0x320 state after a round, 0x640 theta's five words, 0x6f0 round constants, 0x7b0 the block and the end, 0x7f0 the message.
            let LANE := 0xffffffffffffffff
            let COPIES := 0x0000000000000001000000000000000100000000000000010000000000000001

            /// The bytes of each of the four lanes in reverse: FIPS 202 counts them from the lowest.
            function laneOrder(w) -> v {
                v := or(
                    and(shr(8, w), 0x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff),
                    shl(8, and(w, 0x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff))
                )
                v := or(
                    and(shr(16, v), 0x0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff),
                    shl(16, and(v, 0x0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff))
                )
                v := or(
                    and(shr(32, v), 0x00000000ffffffff00000000ffffffff00000000ffffffff00000000ffffffff),
                    shl(32, and(v, 0x00000000ffffffff00000000ffffffff00000000ffffffff00000000ffffffff))
                )
            }

            mstore(0x6f0, 0x00000000000000010000000000008082800000000000808a8000000080008000)
            mstore(0x710, 0x000000000000808b000000008000000180000000800080818000000000008009)
            mstore(0x730, 0x000000000000008a00000000000000880000000080008009000000008000000a)
            mstore(0x750, 0x000000008000808b800000000000008b80000000000080898000000000008003)
            mstore(0x770, 0x80000000000080028000000000000080000000000000800a800000008000000a)
            mstore(0x790, 0x8000000080008081800000000000808000000000800000018000000080008008)

            // The state begins with zeros; Solidity's free memory pointer stood in it.
            mstore(0x040, 0)
            // Padding: 01 for SHA-3, then 10*1, to a whole number of blocks of 136 bytes.
            calldatacopy(0x7f0, 0, calldatasize())
            let end := add(0x7f0, mul(136, add(1, div(calldatasize(), 136))))
            mstore8(add(0x7f0, calldatasize()), 0x06)
            let last := sub(end, 1)
            mstore8(last, or(0x80, byte(0, mload(last))))

            mstore(0x7d0, end)
            for { mstore(0x7b0, 0x7f0) } lt(mload(0x7b0), mload(0x7d0)) { mstore(0x7b0, add(mload(0x7b0), 136)) } {
                {
                    let cursor := mload(0x7b0)
                    let lanes
                    lanes := laneOrder(mload(add(cursor, 0x000)))
                    mstore(0x000, xor(mload(0x000), mul(shr(192, lanes), COPIES)))
                    mstore(0x020, xor(mload(0x020), mul(and(shr(128, lanes), LANE), COPIES)))
                    mstore(0x040, xor(mload(0x040), mul(and(shr(64, lanes), LANE), COPIES)))
                    mstore(0x060, xor(mload(0x060), mul(and(lanes, LANE), COPIES)))
                    lanes := laneOrder(mload(add(cursor, 0x020)))
                    mstore(0x080, xor(mload(0x080), mul(shr(192, lanes), COPIES)))
                    mstore(0x0a0, xor(mload(0x0a0), mul(and(shr(128, lanes), LANE), COPIES)))
                    mstore(0x0c0, xor(mload(0x0c0), mul(and(shr(64, lanes), LANE), COPIES)))
                    mstore(0x0e0, xor(mload(0x0e0), mul(and(lanes, LANE), COPIES)))
                    lanes := laneOrder(mload(add(cursor, 0x040)))
                    mstore(0x100, xor(mload(0x100), mul(shr(192, lanes), COPIES)))
                    mstore(0x120, xor(mload(0x120), mul(and(shr(128, lanes), LANE), COPIES)))
                    mstore(0x140, xor(mload(0x140), mul(and(shr(64, lanes), LANE), COPIES)))
                    mstore(0x160, xor(mload(0x160), mul(and(lanes, LANE), COPIES)))
                    lanes := laneOrder(mload(add(cursor, 0x060)))
                    mstore(0x180, xor(mload(0x180), mul(shr(192, lanes), COPIES)))
                    mstore(0x1a0, xor(mload(0x1a0), mul(and(shr(128, lanes), LANE), COPIES)))
                    mstore(0x1c0, xor(mload(0x1c0), mul(and(shr(64, lanes), LANE), COPIES)))
                    mstore(0x1e0, xor(mload(0x1e0), mul(and(lanes, LANE), COPIES)))
                    lanes := laneOrder(mload(add(cursor, 0x080)))
                    mstore(0x200, xor(mload(0x200), mul(shr(192, lanes), COPIES)))
                }

                for { let constants := 0x6f0 } lt(constants, 0x7b0) { } {
                    for { } 1 { } {
                        // Theta: the parity of each column, then what it adds to its neighbours.
                        {
                            let c0 :=
                                xor(mload(0x000), xor(mload(0x0a0), xor(mload(0x140), xor(mload(0x1e0), mload(0x280)))))
                            let c1 :=
                                xor(mload(0x020), xor(mload(0x0c0), xor(mload(0x160), xor(mload(0x200), mload(0x2a0)))))
                            let c2 :=
                                xor(mload(0x040), xor(mload(0x0e0), xor(mload(0x180), xor(mload(0x220), mload(0x2c0)))))
                            let c3 :=
                                xor(mload(0x060), xor(mload(0x100), xor(mload(0x1a0), xor(mload(0x240), mload(0x2e0)))))
                            let c4 :=
                                xor(mload(0x080), xor(mload(0x120), xor(mload(0x1c0), xor(mload(0x260), mload(0x300)))))
                            mstore(0x640, xor(c4, shl(1, c1)))
                            mstore(0x660, xor(c0, shl(1, c2)))
                            mstore(0x680, xor(c1, shl(1, c3)))
                            mstore(0x6a0, xor(c2, shl(1, c4)))
                            mstore(0x6c0, xor(c3, shl(1, c0)))
                        }
                        // An empty copy makes the optimizer forget what it knows of memory: kept on the stack, it would not fit.
                        mcopy(0, 0, 0)
                        // Theta's end, rho and pi make a row; chi takes it to the second state.
                        {
                            let b0 := xor(mload(0x000), mload(0x640))
                            let b1 := shl(44, xor(mload(0x0c0), mload(0x660)))
                            let b2 := shl(43, xor(mload(0x180), mload(0x680)))
                            let b3 := shl(21, xor(mload(0x240), mload(0x6a0)))
                            let b4 := shl(14, xor(mload(0x300), mload(0x6c0)))
                            mstore(0x320, xor(xor(b0, and(not(b1), b2)), mul(shr(192, mload(constants)), COPIES)))
                            mstore(0x340, xor(b1, and(not(b2), b3)))
                            mstore(0x360, xor(b2, and(not(b3), b4)))
                            mstore(0x380, xor(b3, and(not(b4), b0)))
                            mstore(0x3a0, xor(b4, and(not(b0), b1)))
                        }
                        {
                            let b0 := shl(28, xor(mload(0x060), mload(0x6a0)))
                            let b1 := shl(20, xor(mload(0x120), mload(0x6c0)))
                            let b2 := shl(3, xor(mload(0x140), mload(0x640)))
                            let b3 := shl(45, xor(mload(0x200), mload(0x660)))
                            let b4 := shl(61, xor(mload(0x2c0), mload(0x680)))
                            mstore(0x3c0, xor(b0, and(not(b1), b2)))
                            mstore(0x3e0, xor(b1, and(not(b2), b3)))
                            mstore(0x400, xor(b2, and(not(b3), b4)))
                            mstore(0x420, xor(b3, and(not(b4), b0)))
                            mstore(0x440, xor(b4, and(not(b0), b1)))
                        }
                        {
                            let b0 := shl(1, xor(mload(0x020), mload(0x660)))
                            let b1 := shl(6, xor(mload(0x0e0), mload(0x680)))
                            let b2 := shl(25, xor(mload(0x1a0), mload(0x6a0)))
                            let b3 := shl(8, xor(mload(0x260), mload(0x6c0)))
                            let b4 := shl(18, xor(mload(0x280), mload(0x640)))
                            mstore(0x460, xor(b0, and(not(b1), b2)))
                            mstore(0x480, xor(b1, and(not(b2), b3)))
                            mstore(0x4a0, xor(b2, and(not(b3), b4)))
                            mstore(0x4c0, xor(b3, and(not(b4), b0)))
                            mstore(0x4e0, xor(b4, and(not(b0), b1)))
                        }
                        {
                            let b0 := shl(27, xor(mload(0x080), mload(0x6c0)))
                            let b1 := shl(36, xor(mload(0x0a0), mload(0x640)))
                            let b2 := shl(10, xor(mload(0x160), mload(0x660)))
                            let b3 := shl(15, xor(mload(0x220), mload(0x680)))
                            let b4 := shl(56, xor(mload(0x2e0), mload(0x6a0)))
                            mstore(0x500, xor(b0, and(not(b1), b2)))
                            mstore(0x520, xor(b1, and(not(b2), b3)))
                            mstore(0x540, xor(b2, and(not(b3), b4)))
                            mstore(0x560, xor(b3, and(not(b4), b0)))
                            mstore(0x580, xor(b4, and(not(b0), b1)))
                        }
                        {
                            let b0 := shl(62, xor(mload(0x040), mload(0x680)))
                            let b1 := shl(55, xor(mload(0x100), mload(0x6a0)))
                            let b2 := shl(39, xor(mload(0x1c0), mload(0x6c0)))
                            let b3 := shl(41, xor(mload(0x1e0), mload(0x640)))
                            let b4 := shl(2, xor(mload(0x2a0), mload(0x660)))
                            mstore(0x5a0, xor(b0, and(not(b1), b2)))
                            mstore(0x5c0, xor(b1, and(not(b2), b3)))
                            mstore(0x5e0, xor(b2, and(not(b3), b4)))
                            mstore(0x600, xor(b3, and(not(b4), b0)))
                            mstore(0x620, xor(b4, and(not(b0), b1)))
                        }
                        constants := add(constants, 8)
                        if iszero(mod(constants, 24)) { break }
                        mcopy(0x000, 0x320, 0x320)
                    }
                    // Back to the first state, four whole copies each.
                    mstore(0x000, mul(shr(192, mload(0x320)), COPIES))
                    mstore(0x020, mul(shr(192, mload(0x340)), COPIES))
                    mstore(0x040, mul(shr(192, mload(0x360)), COPIES))
                    mstore(0x060, mul(shr(192, mload(0x380)), COPIES))
                    mstore(0x080, mul(shr(192, mload(0x3a0)), COPIES))
                    mstore(0x0a0, mul(shr(192, mload(0x3c0)), COPIES))
                    mstore(0x0c0, mul(shr(192, mload(0x3e0)), COPIES))
                    mstore(0x0e0, mul(shr(192, mload(0x400)), COPIES))
                    mstore(0x100, mul(shr(192, mload(0x420)), COPIES))
                    mstore(0x120, mul(shr(192, mload(0x440)), COPIES))
                    mstore(0x140, mul(shr(192, mload(0x460)), COPIES))
                    mstore(0x160, mul(shr(192, mload(0x480)), COPIES))
                    mstore(0x180, mul(shr(192, mload(0x4a0)), COPIES))
                    mstore(0x1a0, mul(shr(192, mload(0x4c0)), COPIES))
                    mstore(0x1c0, mul(shr(192, mload(0x4e0)), COPIES))
                    mstore(0x1e0, mul(shr(192, mload(0x500)), COPIES))
                    mstore(0x200, mul(shr(192, mload(0x520)), COPIES))
                    mstore(0x220, mul(shr(192, mload(0x540)), COPIES))
                    mstore(0x240, mul(shr(192, mload(0x560)), COPIES))
                    mstore(0x260, mul(shr(192, mload(0x580)), COPIES))
                    mstore(0x280, mul(shr(192, mload(0x5a0)), COPIES))
                    mstore(0x2a0, mul(shr(192, mload(0x5c0)), COPIES))
                    mstore(0x2c0, mul(shr(192, mload(0x5e0)), COPIES))
                    mstore(0x2e0, mul(shr(192, mload(0x600)), COPIES))
                    mstore(0x300, mul(shr(192, mload(0x620)), COPIES))
                }
            }

            mstore(
                0x000,
                laneOrder(
                    or(
                        or(shl(192, mload(0x000)), shl(128, and(mload(0x020), LANE))),
                        or(shl(64, and(mload(0x040), LANE)), and(mload(0x060), LANE))
                    )
                )
            )
            return(0x000, 0x20)
        }
    }
}
