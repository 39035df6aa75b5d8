// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { IGatewayRegistry } from "./interfaces/IGatewayRegistry.sol";
import { AccessManaged } from "@openzeppelin/contracts/access/manager/AccessManaged.sol";

/// @title GatewayRegistry
contract GatewayRegistry is IGatewayRegistry, AccessManaged {
    struct Gateway {
        address owner;
        uint64 availableAt;
        uint256 bond;
        uint32[] groups;
    }

    uint256 private constant GROUPS_MAX = 64;

    /// @inheritdoc IGatewayRegistry
    uint256 public immutable minimumBond;
    /// @inheritdoc IGatewayRegistry
    uint64 public immutable withdrawalDelay;

    mapping(address gatewayKey => Gateway) private _gateways;

    /// @param authority AccessManager that says who may register another's gateway.
    /// @param minimumBond_ Smallest bond, in drip (wei).
    /// @param withdrawalDelay_ Seconds between announcement and withdrawal.
    constructor(address authority, uint256 minimumBond_, uint64 withdrawalDelay_) AccessManaged(authority) {
        minimumBond = minimumBond_;
        withdrawalDelay = withdrawalDelay_;
    }

    /// @inheritdoc IGatewayRegistry
    function register(address gatewayKey, uint32[] calldata groups) external payable {
        if (gatewayKey == address(0)) revert ZeroGateway();
        if (groups.length == 0) revert NoGroups();
        if (groups.length > GROUPS_MAX) revert TooManyGroups(groups.length, GROUPS_MAX);
        Gateway storage entry = _gateways[gatewayKey];
        if (entry.owner == address(0)) {
            // Else anyone could take the entry of a gateway before it comes itself.
            if (msg.sender != gatewayKey) _checkCanCall(msg.sender, msg.data);
            entry.owner = msg.sender;
        } else {
            _onlyOwner(entry);
        }
        if (entry.availableAt != 0) revert WithdrawalPending(gatewayKey, entry.availableAt);
        entry.bond += msg.value;
        if (entry.bond < minimumBond) revert BondTooSmall(entry.bond, minimumBond);
        entry.groups = groups;
        emit GatewayRegistered(gatewayKey, entry.bond);
        emit GroupsServed(gatewayKey, groups);
    }

    /// @inheritdoc IGatewayRegistry
    function requestWithdrawal(address gatewayKey) external {
        Gateway storage entry = _known(gatewayKey);
        _onlyOwner(entry);
        if (entry.availableAt != 0) revert WithdrawalPending(gatewayKey, entry.availableAt);
        uint64 availableAt = uint64(block.timestamp) + withdrawalDelay;
        entry.availableAt = availableAt;
        delete entry.groups;
        emit WithdrawalRequested(gatewayKey, availableAt);
        emit GroupsServed(gatewayKey, new uint32[](0));
    }

    /// @inheritdoc IGatewayRegistry
    function withdraw(address gatewayKey, address payable to) external {
        Gateway storage entry = _known(gatewayKey);
        _onlyOwner(entry);
        uint64 availableAt = entry.availableAt;
        if (availableAt == 0) revert WithdrawalNotRequested(gatewayKey);
        if (block.timestamp < availableAt) revert WithdrawalTooEarly(availableAt, block.timestamp);
        uint256 amount = entry.bond;
        delete _gateways[gatewayKey];
        emit BondWithdrawn(gatewayKey, to, amount);
        (bool paid,) = to.call{ value: amount }("");
        if (!paid) revert TransferFailed(to, amount);
    }

    /// @inheritdoc IGatewayRegistry
    function gateway(address gatewayKey) external view returns (address owner, uint256 bond, uint64 availableAt) {
        Gateway storage entry = _gateways[gatewayKey];
        return (entry.owner, entry.bond, entry.availableAt);
    }

    /// @inheritdoc IGatewayRegistry
    function serves(address gatewayKey, uint32 group) external view returns (bool) {
        uint32[] storage groups = _gateways[gatewayKey].groups;
        for (uint256 i; i < groups.length; ++i) {
            if (groups[i] == group) return true;
        }
        return false;
    }

    /// @inheritdoc IGatewayRegistry
    function groupsOf(address gatewayKey) external view returns (uint32[] memory) {
        return _gateways[gatewayKey].groups;
    }

    function _known(address gatewayKey) private view returns (Gateway storage entry) {
        entry = _gateways[gatewayKey];
        if (entry.owner == address(0)) revert UnknownGateway(gatewayKey);
    }

    function _onlyOwner(Gateway storage entry) private view {
        if (msg.sender != entry.owner) revert NotGatewayOwner(msg.sender, entry.owner);
    }
}
