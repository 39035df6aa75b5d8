// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { IBatteryLedger } from "./interfaces/IBatteryLedger.sol";
import { IChargingAuthVerifier } from "./interfaces/IChargingAuthVerifier.sol";
import { IDeviceRegistry } from "./interfaces/IDeviceRegistry.sol";
import { AccessManaged } from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import { Pausable } from "@openzeppelin/contracts/utils/Pausable.sol";

/// @title BatteryLedger
contract BatteryLedger is IBatteryLedger, AccessManaged, Pausable {
    bytes32 private constant CHECKPOINT_TYPEHASH = keccak256(
        "Checkpoint(bytes32 deviceId,uint32 epoch,uint8 n,bytes32 battery,bytes16 segment,uint32 seq,uint64 time,bytes32 fp,uint32 prevSeq,bytes32 prevFp)"
    );

    uint8 private constant PREV_DIFFERS = 1;
    uint8 private constant BAD_SIGNATURE = 2;
    uint8 private constant WRONG_DEVICE = 3;
    uint8 private constant SEQ_NOT_ABOVE = 4;

    /// @inheritdoc IBatteryLedger
    IDeviceRegistry public immutable deviceRegistry;

    mapping(bytes32 battery => bytes32) private _heads;

    /// @param authority AccessManager that says who may pause.
    /// @param deviceRegistry_ Knows the piles and the verifiers.
    constructor(address authority, IDeviceRegistry deviceRegistry_) AccessManaged(authority) {
        deviceRegistry = deviceRegistry_;
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
        uint256 signedN = uint256(item.n) + item.later.length;
        if (item.n == 0 || signedN > type(uint8).max) return BAD_SIGNATURE;
        bytes32 head = _signedHead(item);
        // Newest first: that is where piles sign now.
        for (uint256 i = verifiers.length; i != 0; --i) {
            if (verifiers[i - 1].verifyHead(item.group, item.index, item.epoch, uint8(signedN), head, item.signature)) {
                return 0;
            }
        }
        return BAD_SIGNATURE;
    }

    /// @dev The head after the CHECKPOINT and the statements that followed it.
    function _signedHead(Advance calldata item) private pure returns (bytes32 head) {
        bytes32 statement = keccak256(
            abi.encode(
                CHECKPOINT_TYPEHASH,
                item.deviceId,
                item.epoch,
                item.n,
                item.battery,
                item.segment,
                item.seq,
                item.time,
                item.fp,
                item.prevSeq,
                item.prevFp
            )
        );
        head = keccak256(abi.encodePacked(item.prevHead, statement));
        for (uint256 i; i < item.later.length; ++i) {
            head = keccak256(abi.encodePacked(head, item.later[i]));
        }
    }
}
