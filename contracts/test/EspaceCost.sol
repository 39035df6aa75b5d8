// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

/// @notice What Conflux eSpace charges for a transaction, in gas (CIP-130, CIP-645, the refund rule of a quarter at most).
library EspaceCost {
    /// @notice Gas a new storage slot costs above Ethereum's price.
    uint256 internal constant NEW_SLOT_SURCHARGE = 20_000;

    /// @param gasUsed As Ethereum counts it.
    /// @param calldataBytes Length of the call's input; the gas limit must be at least 100 times this.
    /// @param newSlots Slots that went from zero to something.
    /// @param gasLimit Of the transaction; 0 for the tightest that is allowed.
    function charged(uint256 gasUsed, uint256 calldataBytes, uint256 newSlots, uint256 gasLimit)
        internal
        pure
        returns (uint256)
    {
        uint256 used = gasUsed + NEW_SLOT_SURCHARGE * newSlots;
        uint256 least = 100 * calldataBytes > used ? 100 * calldataBytes : used;
        uint256 limit = gasLimit == 0 ? least : gasLimit;
        require(limit >= least, "the node refuses this limit");
        uint256 kept = limit * 3 / 4;
        return kept > used ? kept : used;
    }
}
