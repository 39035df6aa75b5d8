// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { StatementChain } from "../libraries/StatementChain.sol";
import { IDeviceRegistry } from "./IDeviceRegistry.sol";

/// @title Shows on chain what a pile stated
/// @notice Anyone who holds a statement and evidence of its head can show it: the pile's own signature over Head, or the opening
/// of a root that was recorded. Nothing is stored: who trusts this contract reads {StatementOpened}.
/// @dev A signature counts while its epoch is in the verifier's window and the pile is not revoked. An opening counts as long as the
/// ring word stands that its entry leads to, whatever became of the pile.
interface IStatementOpener {
    /// @notice Where a statement stands (docs/protocol.md §5.1).
    /// @param deviceId The pile that stated it.
    /// @param group Its group in that epoch.
    /// @param index Its index in that epoch.
    /// @param epoch Epoch of the statement.
    /// @param n Position of the statement in the pile's chain of that epoch; the head's n is n + later.length.
    /// @param prevHead The chain before this statement.
    /// @param later Struct hashes of the statements after it, in order, up to the head's last.
    struct Place {
        bytes32 deviceId;
        uint32 group;
        uint8 index;
        uint32 epoch;
        uint8 n;
        bytes32 prevHead;
        bytes32[] later;
    }

    /// @notice The pile stated it. Kind: 1 AUTH, 2 CHECKPOINT, 3 POLICY_ACK. `statement` is its struct hash.
    event StatementOpened(
        uint8 indexed kind, bytes32 indexed deviceId, bytes32 indexed statement, uint32 epoch, uint8 n
    );

    /// @notice The device is unknown, or (group, index) was never its own.
    error WrongDevice(bytes32 deviceId, uint32 group, uint8 index);
    /// @notice No attached verifier takes the evidence for the head; `n` is the head's.
    error EvidenceRefused(uint32 group, uint8 index, uint32 epoch, uint256 n, bytes32 head);

    /// @notice Shows an AUTH.
    /// @param evidence 64 bytes: the pile's signature; else an opening, see IChargingAuthVerifier.openHead.
    /// @return statement Its struct hash.
    function openAuth(Place calldata place, bytes32 ticketHash, bytes32 l, bytes calldata evidence)
        external
        returns (bytes32 statement);

    /// @notice Shows a CHECKPOINT.
    /// @param evidence As for {openAuth}.
    /// @return statement Its struct hash.
    function openCheckpoint(
        Place calldata place,
        StatementChain.Checkpoint calldata checkpoint,
        bytes calldata evidence
    ) external returns (bytes32 statement);

    /// @notice Shows a POLICY_ACK.
    /// @param evidence As for {openAuth}.
    /// @return statement Its struct hash.
    function openPolicyAck(
        Place calldata place,
        uint32 version,
        bytes32 policyHash,
        uint32 firstEpoch,
        bytes calldata evidence
    ) external returns (bytes32 statement);

    /// @notice The registry that knows the piles and the verifiers.
    function deviceRegistry() external view returns (IDeviceRegistry);
}
