// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

/// @title Which gateways serve which groups, and what they stake
/// @notice A gateway is named by the address of its secp256k1 key, the one in its certificate. Whoever registers it first
/// owns the entry: the gateway's own key, or an operator on its behalf.
/// @dev A bond can be taken back only after a delay from the announcement, during which the gateway serves no group.
interface IGatewayRegistry {
    /// @notice The gateway is registered; `bond` is its whole bond, in drip (wei).
    event GatewayRegistered(address indexed gateway, uint256 bond);
    /// @notice The groups the gateway serves from now on; they replace the ones before.
    event GroupsServed(address indexed gateway, uint32[] groups);
    /// @notice The gateway leaves; its bond is free at `availableAt` (Unix seconds).
    event WithdrawalRequested(address indexed gateway, uint64 availableAt);
    /// @notice The bond went to `to`, and the entry is gone.
    event BondWithdrawn(address indexed gateway, address indexed to, uint256 amount);

    /// @notice The gateway's address cannot be zero.
    error ZeroGateway();
    /// @notice The entry is another account's.
    error NotGatewayOwner(address caller, address owner);
    /// @notice The whole bond would be below the minimum, in drip (wei).
    error BondTooSmall(uint256 bond, uint256 minimum);
    /// @notice No group was named.
    error NoGroups();
    /// @notice Groups must be at most `limit`.
    error TooManyGroups(uint256 groups, uint256 limit);
    /// @notice No such gateway.
    error UnknownGateway(address gateway);
    /// @notice The gateway announced that it leaves.
    error WithdrawalPending(address gateway, uint64 availableAt);
    /// @notice Announce first.
    error WithdrawalNotRequested(address gateway);
    /// @notice The bond is free at `availableAt` (Unix seconds).
    error WithdrawalTooEarly(uint64 availableAt, uint256 timestamp);
    /// @notice The receiver refused the bond.
    error TransferFailed(address to, uint256 amount);

    /// @notice Registers a gateway with the value sent as bond, or adds to the bond and replaces the groups of one registered.
    /// The first call must come from the gateway's key or from an operator; later ones from the same account.
    function register(address gateway, uint32[] calldata groups) external payable;

    /// @notice Announces that the gateway leaves; it serves no group from now on. Owner only.
    function requestWithdrawal(address gateway) external;

    /// @notice Pays the bond out after the delay. Owner only.
    function withdraw(address gateway, address payable to) external;

    /// @notice What the registry knows of a gateway; zeros for an unknown one.
    /// @return owner Account that may change the entry.
    /// @return bond In drip (wei).
    /// @return availableAt When the bond is free (Unix seconds); 0 while the gateway serves.
    function gateway(address gatewayKey) external view returns (address owner, uint256 bond, uint64 availableAt);

    /// @notice Whether the gateway serves the group now.
    function serves(address gatewayKey, uint32 group) external view returns (bool);

    /// @notice Groups the gateway serves now.
    function groupsOf(address gatewayKey) external view returns (uint32[] memory);

    /// @notice Smallest bond, in drip (wei).
    function minimumBond() external view returns (uint256);

    /// @notice Seconds between announcement and withdrawal.
    function withdrawalDelay() external view returns (uint64);
}
