// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { IChargingAuthVerifier } from "./interfaces/IChargingAuthVerifier.sol";
import { IDeviceRegistry } from "./interfaces/IDeviceRegistry.sol";
import { KeyBlob } from "./libraries/KeyBlob.sol";
import { AccessManaged } from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import { Pausable } from "@openzeppelin/contracts/utils/Pausable.sol";

/// @title DeviceRegistry
/// @dev A device is one slot, {status u8 | count u8 | group u32 | indices 26 × u8}, newest index lowest: a slot costs 40,000
/// gas on eSpace, so the indices a device had stand beside the one it has.
contract DeviceRegistry is IDeviceRegistry, AccessManaged, Pausable {
    using KeyBlob for address;
    using KeyBlob for uint256;

    uint8 private constant UNKNOWN = 0;
    uint8 private constant ACTIVE = 1;
    uint8 private constant REVOKED = 2;
    uint256 private constant INDICES_PER_DEVICE_MAX = 26;
    uint256 private constant INDICES_BITS = 208;
    uint256 private constant VERIFIERS_MAX = 4;

    /// @inheritdoc IDeviceRegistry
    uint256 public immutable epochLenBlocks;

    mapping(bytes32 deviceId => uint256) private _devices;
    mapping(uint32 group => uint256) private _groupWords;
    IChargingAuthVerifier[] private _verifiers;

    /// @param authority AccessManager that says who may do what.
    /// @param epochLenBlocks_ Length of an epoch, in blocks.
    constructor(address authority, uint256 epochLenBlocks_) AccessManaged(authority) {
        if (epochLenBlocks_ == 0) revert ZeroEpochLength();
        epochLenBlocks = epochLenBlocks_;
    }

    /* OPERATOR */

    /// @inheritdoc IDeviceRegistry
    function createGroup(uint32 group) external restricted whenNotPaused {
        if (_groupWords[group] != 0) revert GroupExists(group);
        // Version 1 is the empty blob: never written, read as no entries.
        _setGroupWord(group, 1 << 224);
        emit GroupCreated(group);
    }

    /// @inheritdoc IDeviceRegistry
    function register(uint32 group, Registration[] calldata devices) external restricted whenNotPaused {
        uint256 word = _wordOf(group);
        if (devices.length == 0) revert NothingToRegister();
        bytes memory entries = _blobOf(group, word).read();
        uint256 size = entries.length / KeyBlob.ENTRY_BYTES;
        if (size + devices.length > KeyBlob.INDICES_MAX) {
            revert GroupFull(group, size + devices.length, KeyBlob.INDICES_MAX);
        }
        uint32 activeFrom = currentEpoch() + 1;
        bytes memory added = new bytes(devices.length * KeyBlob.ENTRY_BYTES);
        for (uint256 i; i < devices.length; ++i) {
            Registration calldata item = devices[i];
            if (item.deviceId == 0 || item.key == address(0)) revert ZeroDevice(item.deviceId, item.key);
            if (_devices[item.deviceId] != 0) revert DeviceExists(item.deviceId);
            uint8 index = uint8(size + i);
            _devices[item.deviceId] = _packDevice(ACTIVE, 1, group, index);
            _putEntry(added, i, KeyBlob.pack(item.key, activeFrom, KeyBlob.NO_END));
            emit DeviceRegistered(item.deviceId, group, index, item.key, activeFrom);
        }
        _writeGroup(group, word, bytes.concat(entries, added));
    }

    /// @inheritdoc IDeviceRegistry
    function rotate(bytes32 deviceId, address newKey) external restricted whenNotPaused {
        uint256 packed = _activeDevice(deviceId);
        if (newKey == address(0)) revert ZeroDevice(deviceId, newKey);
        (, uint256 count, uint32 group, uint256 indices) = _unpackDevice(packed);
        if (count == INDICES_PER_DEVICE_MAX) revert RotationsExhausted(deviceId, INDICES_PER_DEVICE_MAX);
        uint256 word = _groupWords[group];
        bytes memory entries = _blobOf(group, word).read();
        uint256 size = entries.length / KeyBlob.ENTRY_BYTES;
        if (size == KeyBlob.INDICES_MAX) revert GroupFull(group, size + 1, KeyBlob.INDICES_MAX);

        uint8 oldIndex = uint8(indices);
        uint8 newIndex = uint8(size);
        uint32 current = currentEpoch();
        uint256 old = _blobOf(group, word).entryAt(oldIndex);
        if (old.keyOf() == newKey) revert SameKey(deviceId, newKey);
        _putEntry(entries, oldIndex, KeyBlob.pack(old.keyOf(), old.activeFrom(), current));
        bytes memory added = new bytes(KeyBlob.ENTRY_BYTES);
        _putEntry(added, 0, KeyBlob.pack(newKey, current + 1, KeyBlob.NO_END));
        _devices[deviceId] = _packDevice(ACTIVE, count + 1, group, (indices << 8) | newIndex);
        _writeGroup(group, word, bytes.concat(entries, added));
        emit DeviceRotated(deviceId, group, oldIndex, newIndex, newKey, current + 1);
    }

    /* GUARDIAN */

    /// @inheritdoc IDeviceRegistry
    function revoke(bytes32 deviceId) external restricted {
        uint256 packed = _activeDevice(deviceId);
        (, uint256 count, uint32 group, uint256 indices) = _unpackDevice(packed);
        _devices[deviceId] = _packDevice(REVOKED, count, group, indices);
        uint256 word = _groupWords[group];
        for (uint256 i; i < count; ++i) {
            word |= 1 << uint8(indices >> (8 * i));
        }
        _setGroupWord(group, word);
        emit DeviceRevoked(deviceId, group, uint8(indices));
    }

    /// @inheritdoc IDeviceRegistry
    function pause() external restricted {
        _pause();
    }

    /* GOVERNANCE */

    /// @inheritdoc IDeviceRegistry
    function unpause() external restricted {
        _unpause();
    }

    /// @inheritdoc IDeviceRegistry
    function attach(IChargingAuthVerifier verifier) external restricted {
        uint256 count = _verifiers.length;
        if (count == VERIFIERS_MAX) revert TooManyVerifiers(VERIFIERS_MAX);
        for (uint256 i; i < count; ++i) {
            if (_verifiers[i] == verifier) revert VerifierIsAttached(address(verifier));
        }
        if (verifier.deviceRegistry() != this || verifier.epochLenBlocks() != epochLenBlocks) {
            revert ForeignVerifier(address(verifier));
        }
        _verifiers.push(verifier);
        emit VerifierAttached(address(verifier));
    }

    /// @inheritdoc IDeviceRegistry
    function detach(IChargingAuthVerifier verifier) external restricted {
        uint256 count = _verifiers.length;
        for (uint256 i; i < count; ++i) {
            if (_verifiers[i] != verifier) continue;
            // Keeps the order, oldest first.
            for (uint256 j = i + 1; j < count; ++j) {
                _verifiers[j - 1] = _verifiers[j];
            }
            _verifiers.pop();
            emit VerifierDetached(address(verifier));
            return;
        }
        revert UnknownVerifier(address(verifier));
    }

    /* ANYONE */

    /// @inheritdoc IDeviceRegistry
    function sync(uint32 group) external {
        _pushGroup(group, _wordOf(group));
    }

    /* VIEWS */

    /// @inheritdoc IDeviceRegistry
    function device(bytes32 deviceId)
        external
        view
        returns (uint32 group, uint8 index, uint8 status, address key, uint32 activeFrom, uint32 activeUntil)
    {
        uint256 packed = _devices[deviceId];
        if (packed == 0) return (0, 0, UNKNOWN, address(0), 0, 0);
        uint256 indices;
        (status,, group, indices) = _unpackDevice(packed);
        index = uint8(indices);
        uint256 entry = _blobOf(group, _groupWords[group]).entryAt(index);
        return (group, index, status, entry.keyOf(), entry.activeFrom(), entry.activeUntil());
    }

    /// @inheritdoc IDeviceRegistry
    function holdsIndex(bytes32 deviceId, uint32 group, uint8 index) external view returns (bool) {
        (, uint256 count, uint32 ownGroup, uint256 indices) = _unpackDevice(_devices[deviceId]);
        if (ownGroup != group) return false;
        for (uint256 i; i < count; ++i) {
            if (uint8(indices >> (8 * i)) == index) return true;
        }
        return false;
    }

    /// @inheritdoc IDeviceRegistry
    function groupWord(uint32 group) external view returns (uint256) {
        return _groupWords[group];
    }

    /// @inheritdoc IDeviceRegistry
    function groupSize(uint32 group) external view returns (uint256) {
        return _blobOf(group, _groupWords[group]).read().length / KeyBlob.ENTRY_BYTES;
    }

    /// @inheritdoc IDeviceRegistry
    function verifiers() external view returns (IChargingAuthVerifier[] memory) {
        return _verifiers;
    }

    /// @inheritdoc IDeviceRegistry
    function currentEpoch() public view returns (uint32) {
        return uint32(block.number / epochLenBlocks);
    }

    /* INTERNAL */

    function _writeGroup(uint32 group, uint256 word, bytes memory entries) private {
        uint256 next = word + (1 << 224);
        KeyBlob.write(group, uint32(next >> 224), entries);
        _setGroupWord(group, next);
    }

    function _setGroupWord(uint32 group, uint256 word) private {
        _groupWords[group] = word;
        _pushGroup(group, word);
    }

    function _pushGroup(uint32 group, uint256 word) private {
        uint256 count = _verifiers.length;
        for (uint256 i; i < count; ++i) {
            _verifiers[i].pushGroup(group, word);
        }
    }

    function _wordOf(uint32 group) private view returns (uint256 word) {
        word = _groupWords[group];
        if (word == 0) revert UnknownGroup(group);
    }

    function _activeDevice(bytes32 deviceId) private view returns (uint256 packed) {
        packed = _devices[deviceId];
        if (packed == 0) revert UnknownDevice(deviceId);
        if (packed >> 248 == REVOKED) revert DeviceIsRevoked(deviceId);
    }

    function _blobOf(uint32 group, uint256 word) private view returns (address) {
        return KeyBlob.addressOf(address(this), group, uint32(word >> 224));
    }

    function _packDevice(uint8 status, uint256 count, uint32 group, uint256 indices) private pure returns (uint256) {
        return (uint256(status) << 248) | (count << 240) | (uint256(group) << INDICES_BITS) | indices;
    }

    function _unpackDevice(uint256 packed)
        private
        pure
        returns (uint8 status, uint256 count, uint32 group, uint256 indices)
    {
        return (
            uint8(packed >> 248),
            uint8(packed >> 240),
            uint32(packed >> INDICES_BITS),
            packed & ((1 << INDICES_BITS) - 1)
        );
    }

    function _putEntry(bytes memory entries, uint256 position, uint256 entry) private pure {
        // 28 bytes are no word: write the word that ends with them, keeping its first 4 bytes.
        /// @solidity memory-safe-assembly
        assembly {
            let target := add(add(entries, 28), mul(position, 28))
            mstore(target, or(shl(224, shr(224, mload(target))), entry))
        }
    }
}
