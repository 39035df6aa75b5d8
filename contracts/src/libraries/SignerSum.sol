// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { Bls12381 } from "./Bls12381.sol";
import { BlsKeys } from "./BlsKeys.sol";
import { LibBit } from "solady/utils/LibBit.sol";

/// @title The sum of the keys of a group's signers
/// @notice The group's total without its absentees, or the signers alone, whichever are fewer.
/// @dev An addition costs 600 gas and about 300 around it, a chunk that was not read before in the call 2,600.
library SignerSum {
    using Bls12381 for Bls12381.Equation;
    using BlsKeys for uint256;

    uint256 private constant CHUNK_MASK = (1 << BlsKeys.CHUNK_KEYS) - 1;
    /// @dev Keys that one {Bls12381-addCodes} takes.
    uint256 private constant WINDOW_KEYS = 32;

    /// @notice Adds the signers' keys to the equation's sum.
    /// @param word The group's BLS word.
    /// @param version Of the total in force in the epoch, 0 if there is none.
    /// @param signers Not empty.
    /// @return strangers Signers that are no members of the total; if there are any, nothing was added.
    function add(
        Bls12381.Equation equation,
        address registry,
        uint32 group,
        uint256 word,
        uint256 version,
        uint224 signers
    ) internal view returns (uint224 strangers) {
        address total = BlsKeys.totalAddress(registry, group, version);
        uint256 members = BlsKeys.membersOf(total);
        strangers = uint224(signers & ~members);
        if (strangers != 0) return strangers;
        uint256 absent = members & ~signers;
        if (absent != 0) {
            if (LibBit.popCount(absent) >= LibBit.popCount(signers)) {
                _addKeys(equation, registry, group, word, signers);
                return 0;
            }
            // Twice the sign of what is there costs less than each absentee's once.
            equation.negateSum();
            _addKeys(equation, registry, group, word, absent);
            equation.negateSum();
        }
        equation.addCode(total, BlsKeys.SUM_OFFSET);
    }

    function _addKeys(Bls12381.Equation equation, address registry, uint32 group, uint256 word, uint256 indices)
        private
        view
    {
        for (uint256 chunk; indices != 0; ++chunk) {
            uint256 chosen = indices & CHUNK_MASK;
            indices >>= BlsKeys.CHUNK_KEYS;
            if (chosen == 0) continue;
            address code = BlsKeys.chunkAddress(registry, group, chunk, word.chunkVersion(chunk));
            for (uint256 first; chosen != 0; first += WINDOW_KEYS) {
                equation.addCodes(code, BlsKeys.keyOffset(first), uint32(chosen));
                chosen >>= WINDOW_KEYS;
            }
        }
    }
}
