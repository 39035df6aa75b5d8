// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { IDeviceRegistry } from "./interfaces/IDeviceRegistry.sol";
import { IStatementOpener } from "./interfaces/IStatementOpener.sol";
import { Evidence } from "./libraries/Evidence.sol";
import { StatementChain } from "./libraries/StatementChain.sol";

/// @title StatementOpener
contract StatementOpener is IStatementOpener {
    uint8 private constant AUTH = 1;
    uint8 private constant CHECKPOINT = 2;
    uint8 private constant POLICY_ACK = 3;

    /// @inheritdoc IStatementOpener
    IDeviceRegistry public immutable deviceRegistry;

    /// @param deviceRegistry_ Knows the piles and the verifiers.
    constructor(IDeviceRegistry deviceRegistry_) {
        deviceRegistry = deviceRegistry_;
    }

    /// @inheritdoc IStatementOpener
    function openAuth(Place calldata place, bytes32 ticketHash, bytes32 l, bytes calldata evidence)
        external
        returns (bytes32 statement)
    {
        statement = StatementChain.auth(place.deviceId, place.epoch, place.n, ticketHash, l);
        _open(AUTH, place, statement, evidence);
    }

    /// @inheritdoc IStatementOpener
    function openCheckpoint(
        Place calldata place,
        StatementChain.Checkpoint calldata checkpoint,
        bytes calldata evidence
    ) external returns (bytes32 statement) {
        statement = StatementChain.checkpoint(place.deviceId, place.epoch, place.n, checkpoint);
        _open(CHECKPOINT, place, statement, evidence);
    }

    /// @inheritdoc IStatementOpener
    function openPolicyAck(
        Place calldata place,
        uint32 version,
        bytes32 policyHash,
        uint32 firstEpoch,
        bytes calldata evidence
    ) external returns (bytes32 statement) {
        statement = StatementChain.policyAck(place.deviceId, place.epoch, place.n, version, policyHash, firstEpoch);
        _open(POLICY_ACK, place, statement, evidence);
    }

    function _open(uint8 kind, Place calldata place, bytes32 statement, bytes calldata evidence) private {
        if (!deviceRegistry.holdsIndex(place.deviceId, place.group, place.index)) {
            revert WrongDevice(place.deviceId, place.group, place.index);
        }
        bytes32 head = StatementChain.head(place.prevHead, statement, place.later);
        uint256 n = uint256(place.n) + place.later.length;
        bool valid = place.n != 0
            && Evidence.counts(deviceRegistry.verifiers(), place.group, place.index, place.epoch, n, head, evidence);
        if (!valid) revert EvidenceRefused(place.group, place.index, place.epoch, n, head);
        emit StatementOpened(kind, place.deviceId, statement, place.epoch, place.n);
    }
}
