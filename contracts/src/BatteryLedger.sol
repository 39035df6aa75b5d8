// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { Sha3 } from "./Sha3.sol";
import { IBatteryLedger } from "./interfaces/IBatteryLedger.sol";
import { IChargingAuthVerifier } from "./interfaces/IChargingAuthVerifier.sol";
import { IDeviceRegistry } from "./interfaces/IDeviceRegistry.sol";
import { Evidence } from "./libraries/Evidence.sol";
import { StatementChain } from "./libraries/StatementChain.sol";
import { AccessManaged } from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import { Pausable } from "@openzeppelin/contracts/utils/Pausable.sol";

/// @title BatteryLedger
contract BatteryLedger is IBatteryLedger, AccessManaged, Pausable {
    uint256 private constant TELEMETRY_BYTES = 80;

    uint8 private constant PREV_DIFFERS = 1;
    uint8 private constant BAD_SIGNATURE = 2;
    uint8 private constant WRONG_DEVICE = 3;
    uint8 private constant SEQ_NOT_ABOVE = 4;

    /// @inheritdoc IBatteryLedger
    IDeviceRegistry public immutable deviceRegistry;

    Sha3 private immutable _sha3;

    mapping(bytes32 battery => bytes32) private _heads;

    /// @param authority AccessManager that says who may pause.
    /// @param deviceRegistry_ Knows the piles and the verifiers.
    constructor(address authority, IDeviceRegistry deviceRegistry_) AccessManaged(authority) {
        deviceRegistry = deviceRegistry_;
        _sha3 = new Sha3();
    }

    /// @inheritdoc IBatteryLedger
    function advance(Advance[] calldata items) external whenNotPaused returns (uint256 advanced) {
        IChargingAuthVerifier[] memory verifiers = deviceRegistry.verifiers();
        for (uint256 i; i < items.length; ++i) {
            Advance calldata item = items[i];
            uint8 reason = _refusal(verifiers, item);
            if (reason != 0) {
                emit AdvanceSkipped(item.battery, item.seq, reason);
                continue;
            }
            _heads[item.battery] = keccak256(abi.encodePacked(item.seq, item.fp));
            ++advanced;
            emit BatteryAdvanced(item.battery, item.deviceId, item.seq, item.fp, item.segment, item.time, item.prevSeq);
        }
    }

    /// @inheritdoc IBatteryLedger
    function proveTampering(Advance calldata a, Advance calldata b) external {
        bool samePile = a.deviceId == b.deviceId && a.group == b.group && a.index == b.index;
        bool samePlace = a.battery == b.battery && a.segment == b.segment && a.seq == b.seq;
        if (!samePile || !samePlace || a.fp == b.fp) revert NoContradiction();
        if (!deviceRegistry.holdsIndex(a.deviceId, a.group, a.index)) {
            revert WrongDevice(a.deviceId, a.group, a.index);
        }
        IChargingAuthVerifier[] memory verifiers = deviceRegistry.verifiers();
        if (!_isEvident(verifiers, a)) revert EvidenceRefused(a.epoch, a.n);
        if (!_isEvident(verifiers, b)) revert EvidenceRefused(b.epoch, b.n);
        emit TamperingProven(a.battery, a.deviceId, a.seq, a.segment, a.fp, b.fp);
    }

    /// @inheritdoc IBatteryLedger
    function proveTelemetry(bytes32 battery, uint32 prevSeq, bytes32 prevFp, bytes32 fp, bytes calldata records)
        external
    {
        uint256 count = records.length / TELEMETRY_BYTES;
        if (count == 0 || records.length % TELEMETRY_BYTES != 0 || count > type(uint32).max - prevSeq) {
            revert MalformedTelemetry(prevSeq);
        }
        bytes32 found = prevFp;
        uint32 seq = prevSeq;
        for (uint256 i; i < count; ++i) {
            bytes calldata item = records[TELEMETRY_BYTES * i:TELEMETRY_BYTES * (i + 1)];
            ++seq;
            // Canonical telemetry, docs/protocol.md §9.
            if (bytes32(item[:32]) != battery || uint32(bytes4(item[48:52])) != seq || bytes4(item[76:]) != 0) {
                revert MalformedTelemetry(seq);
            }
            found = _sha3Of(found, item);
        }
        if (found != fp) revert TelemetryDiffers(seq, found);
        emit TelemetryProven(battery, prevSeq, prevFp, seq, fp);
    }

    /// @inheritdoc IBatteryLedger
    function pause() external restricted {
        _pause();
    }

    /// @inheritdoc IBatteryLedger
    function unpause() external restricted {
        _unpause();
    }

    /// @inheritdoc IBatteryLedger
    function headOf(bytes32 battery) external view returns (bytes32) {
        return _heads[battery];
    }

    /// @dev Why the item cannot be used, 0 if it can; what costs least is looked at first.
    function _refusal(IChargingAuthVerifier[] memory verifiers, Advance calldata item) private view returns (uint8) {
        if (item.seq <= item.prevSeq) return SEQ_NOT_ABOVE;
        bool first = item.prevSeq == 0 && item.prevFp == 0;
        bytes32 prev = first ? bytes32(0) : keccak256(abi.encodePacked(item.prevSeq, item.prevFp));
        if (_heads[item.battery] != prev) return PREV_DIFFERS;
        if (!deviceRegistry.holdsIndex(item.deviceId, item.group, item.index)) return WRONG_DEVICE;
        // A signature of a revoked pile fails by itself; an opening does not ask.
        if ((deviceRegistry.groupWord(item.group) >> item.index) & 1 != 0) return BAD_SIGNATURE;
        return _isEvident(verifiers, item) ? 0 : BAD_SIGNATURE;
    }

    /// @dev Whether the pile stated the item's CHECKPOINT.
    function _isEvident(IChargingAuthVerifier[] memory verifiers, Advance calldata item) private view returns (bool) {
        StatementChain.Checkpoint memory checkpoint = StatementChain.Checkpoint(
            item.battery, item.segment, item.seq, item.time, item.fp, item.prevSeq, item.prevFp
        );
        bytes32 statement = StatementChain.checkpoint(item.deviceId, item.epoch, item.n, checkpoint);
        bytes32 head = StatementChain.head(item.prevHead, statement, item.later);
        uint256 n = uint256(item.n) + item.later.length;
        return item.n != 0 && Evidence.counts(verifiers, item.group, item.index, item.epoch, n, head, item.signature);
    }

    function _sha3Of(bytes32 prevFp, bytes calldata record) private view returns (bytes32) {
        // It has no function but its fallback, and cannot fail but for want of gas.
        (bool ok, bytes memory fp) = address(_sha3).staticcall(abi.encodePacked(prevFp, record));
        if (!ok) revert OutOfGas();
        return bytes32(fp);
    }
}
