// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { IDeviceRegistry } from "./IDeviceRegistry.sol";

/// @title The recorded head of every battery's telemetry
/// @notice One word per battery: keccak256(seq ‖ fp) of the newest checkpoint. A head moves only by a CHECKPOINT statement that
/// a pile signed and whose previous (seq, fp) is the stored one, so a rewrite of recorded telemetry is refused.
/// @dev What is proven is that a registered pile signed it, not that a battery measured it. A fork between piles is refused, not
/// judged: whose branch is right is not for this contract.
///
/// The signature is checked by the verifiers attached to the device registry, newest first: a pile signs in one verifier's domain,
/// and it counts while that verifier is attached.
interface IBatteryLedger {
    /// @notice A CHECKPOINT statement and the chain it stands in (docs/protocol.md §5.1).
    /// @param deviceId The pile that signed.
    /// @param group Its group in that epoch.
    /// @param index Its index in that epoch.
    /// @param epoch Epoch of the statement.
    /// @param n Position of the CHECKPOINT in the pile's chain of that epoch; the signed n is n + later.length.
    /// @param battery The battery's identity.
    /// @param segment The charge's sid.
    /// @param seq Number of the newest record covered; above prevSeq.
    /// @param time The pile's time of that record, Unix milliseconds.
    /// @param fp SHA3-256 chained fingerprint of that record.
    /// @param prevSeq The recorded head's seq, 0 if none.
    /// @param prevFp The recorded head's fingerprint, 0 if none.
    /// @param prevHead Statement chain before this statement.
    /// @param later Struct hashes of the statements after it, in order, up to the signed one.
    /// @param signature Evidence of the head: the pile's signature over Head, 64 bytes (EIP-2098), or the opening of a recorded root
    /// (IChargingAuthVerifier.openHead).
    struct Advance {
        bytes32 deviceId;
        uint32 group;
        uint8 index;
        uint32 epoch;
        uint8 n;
        bytes32 battery;
        bytes16 segment;
        uint32 seq;
        uint64 time;
        bytes32 fp;
        uint32 prevSeq;
        bytes32 prevFp;
        bytes32 prevHead;
        bytes32[] later;
        bytes signature;
    }

    /// @notice The battery's head moved from prevSeq to seq.
    event BatteryAdvanced(
        bytes32 indexed battery,
        bytes32 indexed deviceId,
        uint32 seq,
        bytes32 fp,
        bytes16 segment,
        uint64 time,
        uint32 prevSeq
    );
    /// @notice An item was passed over. Reason: 1 prev differs from the recorded head, 2 bad signature (or revoked, inactive, outside
    /// the window) or an opening of nothing recorded, 3 device unknown or (group, index) never its own, 4 seq not above prevSeq.
    event AdvanceSkipped(bytes32 indexed battery, uint32 seq, uint8 reason);

    /// @notice The pile stated two fingerprints, fpA and fpB, for one record of a battery.
    event TamperingProven(
        bytes32 indexed battery, bytes32 indexed deviceId, uint32 seq, bytes16 segment, bytes32 fpA, bytes32 fpB
    );
    /// @notice The records prevSeq + 1 to seq, which are the call's, lead from the one fingerprint to the other.
    event TelemetryProven(bytes32 indexed battery, uint32 prevSeq, bytes32 prevFp, uint32 seq, bytes32 fp);

    /// @notice Not two CHECKPOINTs of one pile key for one (battery, segment, seq) with different fingerprints.
    error NoContradiction();
    /// @notice The device is unknown, or (group, index) was never its own.
    error WrongDevice(bytes32 deviceId, uint32 group, uint8 index);
    /// @notice No attached verifier takes the evidence for the CHECKPOINT at this place.
    error EvidenceRefused(uint32 epoch, uint8 n);
    /// @notice Not whole records, none, or the record that should have this seq is another battery's, has another number, or is not
    /// canonical (docs/protocol.md §9).
    error MalformedTelemetry(uint32 seq);
    /// @notice The records up to seq have another fingerprint.
    error TelemetryDiffers(uint32 seq, bytes32 fp);
    /// @notice Too little gas for a fingerprint.
    error OutOfGas();

    /// @notice Moves heads. Anyone may call it. Items are taken in order, so one call may move a battery several times; an item
    /// that cannot be used is skipped.
    /// @return advanced Heads moved.
    function advance(Advance[] calldata items) external returns (uint256 advanced);

    /// @notice Shows that one pile key stated two histories. It says nothing of which is true, and changes nothing.
    /// @param a A CHECKPOINT with its evidence.
    /// @param b Another, for the same (battery, segment, seq).
    function proveTampering(Advance calldata a, Advance calldata b) external;

    /// @notice Shows that telemetry records are the ones between two fingerprints, which CHECKPOINTs or {BatteryAdvanced} name.
    /// About 45,000 gas a record.
    /// @param battery The battery of all records.
    /// @param prevSeq Number of the record before the first, 0 if none.
    /// @param prevFp Fingerprint of that record, 0 if none.
    /// @param fp Fingerprint of the last record.
    /// @param records Canonical records of 80 bytes, at least one.
    function proveTelemetry(bytes32 battery, uint32 prevSeq, bytes32 prevFp, bytes32 fp, bytes calldata records)
        external;

    /// @notice Stops {advance}. Guardian only.
    function pause() external;

    /// @notice Ends the pause. Governance only.
    function unpause() external;

    /// @notice keccak256(abi.encodePacked(seq, fp)) of the newest checkpoint, 0 when none.
    function headOf(bytes32 battery) external view returns (bytes32 headHash);

    /// @notice The registry that knows the piles.
    function deviceRegistry() external view returns (IDeviceRegistry);
}
