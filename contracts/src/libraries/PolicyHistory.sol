// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

/// @title The newest policies' first epochs in one word
/// @notice Bits 192..223 hold the newest version, and six lanes of 32 bits below, highest first, the first epochs of that version
/// and the five before it; a lane without a policy holds 2^32 - 1, which no epoch reaches. The word 0 is the empty history.
library PolicyHistory {
    /// @notice Versions whose first epoch the word holds.
    uint256 internal constant LANES = 6;

    uint256 private constant EMPTY_LANES = (1 << 192) - 1;

    /// @notice Newest version, 0 if none.
    function newest(uint256 history) internal pure returns (uint32) {
        return uint32(history >> 192);
    }

    /// @notice First epoch of the newest version.
    function newestFirstEpoch(uint256 history) internal pure returns (uint32) {
        return uint32(history >> 160);
    }

    /// @notice The history with one more version; the oldest lane falls off.
    function push(uint256 history, uint32 firstEpoch) internal pure returns (uint256) {
        uint256 version = newest(history);
        uint256 lanes = version == 0 ? EMPTY_LANES : history & EMPTY_LANES;
        return ((version + 1) << 192) | (uint256(firstEpoch) << 160) | (lanes >> 32);
    }

    /// @notice Version in force in an epoch.
    /// @return version 0 if no lane reaches back that far.
    /// @return older Whether an older version than the lanes hold may be in force.
    function versionAt(uint256 history, uint32 epoch) internal pure returns (uint32 version, bool older) {
        uint32 last = newest(history);
        if (last == 0) return (0, false);
        for (uint32 back; back < LANES; ++back) {
            if (uint32(history >> (160 - 32 * back)) <= epoch) return (last - back, false);
        }
        return (0, last > LANES);
    }
}
