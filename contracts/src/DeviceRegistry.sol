// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { IChargingAuthVerifier } from "./interfaces/IChargingAuthVerifier.sol";
import { IDeviceRegistry } from "./interfaces/IDeviceRegistry.sol";
import { Bls12381 } from "./libraries/Bls12381.sol";
import { BlsKeys } from "./libraries/BlsKeys.sol";
import { KeyBlob } from "./libraries/KeyBlob.sol";
import { AccessManaged } from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import { Pausable } from "@openzeppelin/contracts/utils/Pausable.sol";
import { EIP712 } from "solady/utils/EIP712.sol";

/// @title DeviceRegistry
/// @dev A device is one slot, {status u8 | count u8 | group u32 | indices 26 × u8}, newest index lowest: a slot costs 40,000
/// gas on eSpace, so the indices a device had stand beside the one it has.
contract DeviceRegistry is IDeviceRegistry, AccessManaged, Pausable, EIP712 {
    using Bls12381 for Bls12381.Equation;
    using BlsKeys for address;
    using BlsKeys for bytes;
    using BlsKeys for uint256;
    using KeyBlob for address;
    using KeyBlob for uint256;

    uint8 private constant UNKNOWN = 0;
    uint8 private constant ACTIVE = 1;
    uint8 private constant REVOKED = 2;
    uint256 private constant INDICES_PER_DEVICE_MAX = 26;
    uint256 private constant INDICES_BITS = 208;
    uint256 private constant VERIFIERS_MAX = 4;
    uint256 private constant CHUNKS = 2;
    bytes private constant POSSESSION_DST = "BLS_POP_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";
    bytes32 private constant POSSESSION_TYPEHASH = keccak256("BlsPossession(bytes32 deviceId,bytes key)");

    /// @inheritdoc IDeviceRegistry
    uint256 public immutable epochLenBlocks;

    mapping(bytes32 deviceId => uint256) private _devices;
    mapping(uint32 group => uint256) private _groupWords;
    mapping(uint32 group => uint256) private _blsWords;
    /// @dev {firstEpoch u32 ‖ version u16} of the totals that fell off the word, oldest first. A group has 448 totals at most, since
    /// an index joins once and leaves once.
    mapping(uint32 group => uint48[]) private _olderTotals;
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
        _leaveTotal(group, oldIndex, current + 1);
        emit DeviceRotated(deviceId, group, oldIndex, newIndex, newKey, current + 1);
    }

    /// @inheritdoc IDeviceRegistry
    function enrol(uint32 group, Enrolment[] calldata devices) external restricted whenNotPaused {
        _wordOf(group);
        if (devices.length == 0) revert NothingToRegister();
        uint256 word = _blsWords[group];
        uint32 activeFrom = currentEpoch() + 1;
        (uint224 members, Bls12381.Equation total) = _newestTotal(group, word);
        Bls12381.Equation possession = Bls12381.equation();
        bytes[CHUNKS] memory chunks;
        for (uint256 i; i < devices.length; ++i) {
            Enrolment calldata item = devices[i];
            uint8 index = _admit(group, members, item);
            // Puts the key in a pairing, which is what tells that it is in the subgroup.
            _checkPossession(possession, item);
            members |= uint224(1 << index);
            total.add(item.key);
            uint256 chunk = index / BlsKeys.CHUNK_KEYS;
            if (chunks[chunk].length == 0) {
                chunks[chunk] = BlsKeys.chunkAddress(address(this), group, chunk, word.chunkVersion(chunk)).readChunk();
            }
            chunks[chunk].putKey(index, item.key);
            emit DeviceEnrolled(item.deviceId, group, index, item.key, activeFrom);
        }
        for (uint256 chunk; chunk < CHUNKS; ++chunk) {
            if (chunks[chunk].length == 0) continue;
            word = word.withNextChunk(chunk);
            BlsKeys.writeChunk(group, chunk, word.chunkVersion(chunk), chunks[chunk]);
        }
        _writeTotal(group, word, activeFrom, members, total);
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
        uint256 word = _blsWords[group];
        // A group that has keys never loses its word, so a verifier that was told none holds none.
        if (word != 0) _pushBls(group, word);
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
    function blsWord(uint32 group) external view returns (uint256) {
        return _blsWords[group];
    }

    /// @inheritdoc IDeviceRegistry
    function totalVersionAt(uint32 group, uint32 epoch) public view returns (uint16) {
        (uint16 version, bool older) = _blsWords[group].totalVersionAt(epoch);
        if (!older) return version;
        uint48[] storage totals = _olderTotals[group];
        for (uint256 i = totals.length; i > 0; --i) {
            uint48 total = totals[i - 1];
            if (total >> 16 <= epoch) return uint16(total);
        }
        return 0;
    }

    /// @inheritdoc IDeviceRegistry
    function blsTotal(uint32 group, uint32 epoch) external view returns (uint224 members, bytes memory sum) {
        address total = BlsKeys.totalAddress(address(this), group, totalVersionAt(group, epoch));
        return (total.membersOf(), total.sumOf());
    }

    /// @inheritdoc IDeviceRegistry
    function blsKey(uint32 group, uint8 index) external view returns (bytes memory) {
        uint256 chunk = index / BlsKeys.CHUNK_KEYS;
        if (chunk >= CHUNKS) return new bytes(Bls12381.KEY_BYTES);
        uint256 version = _blsWords[group].chunkVersion(chunk);
        return BlsKeys.chunkAddress(address(this), group, chunk, version).keyAt(index);
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

    function _pushBls(uint32 group, uint256 word) private {
        uint256 count = _verifiers.length;
        for (uint256 i; i < count; ++i) {
            _verifiers[i].pushBls(group, word);
        }
    }

    /// @dev The newest index of a device that may get a BLS key. An index without one is not among the members of the newest total,
    /// because the newest index of a device leaves it only by a rotation, after which another is the newest.
    function _admit(uint32 group, uint224 members, Enrolment calldata item) private view returns (uint8 index) {
        (,, uint32 ownGroup, uint256 indices) = _unpackDevice(_activeDevice(item.deviceId));
        if (ownGroup != group) revert DeviceOfAnotherGroup(item.deviceId, ownGroup);
        index = uint8(indices);
        if ((members >> index) & 1 != 0) revert DeviceIsEnrolled(item.deviceId, index);
    }

    function _checkPossession(Bls12381.Equation equation, Enrolment calldata item) private view {
        if (item.key.length != Bls12381.KEY_BYTES || Bls12381.isInfinity(item.key) || !Bls12381.isCanonical(item.key)) {
            revert NotABlsKey(item.deviceId);
        }
        bytes32 digest = _hashTypedData(keccak256(abi.encode(POSSESSION_TYPEHASH, item.deviceId, keccak256(item.key))));
        equation.setSum(item.key);
        equation.setSignature(item.possession);
        equation.setMessage(POSSESSION_DST, abi.encodePacked(digest));
        if (!equation.holds()) revert BadPossession(item.deviceId);
    }

    /// @dev The members of the newest total, and their sum in an equation.
    function _newestTotal(uint32 group, uint256 word) private view returns (uint224 members, Bls12381.Equation sum) {
        sum = Bls12381.equation();
        (, uint16 version) = word.lane(0);
        if (version == 0) return (0, sum);
        address total = BlsKeys.totalAddress(address(this), group, version);
        sum.addCode(total, BlsKeys.SUM_OFFSET);
        return (total.membersOf(), sum);
    }

    /// @dev Takes an index's key out of the totals from an epoch on that has not begun, if it has one.
    function _leaveTotal(uint32 group, uint8 index, uint32 firstEpoch) private {
        uint256 word = _blsWords[group];
        if (word == 0) return;
        (, uint16 version) = word.lane(0);
        address newest = BlsKeys.totalAddress(address(this), group, version);
        uint224 members = newest.membersOf();
        if ((members >> index) & 1 == 0) return;
        uint256 chunk = index / BlsKeys.CHUNK_KEYS;
        Bls12381.Equation total = Bls12381.equation();
        total.addCode(
            BlsKeys.chunkAddress(address(this), group, chunk, word.chunkVersion(chunk)), BlsKeys.keyOffset(index)
        );
        total.negateSum();
        total.addCode(newest, BlsKeys.SUM_OFFSET);
        _writeTotal(group, word, firstEpoch, members & ~uint224(1 << index), total);
    }

    /// @dev Writes the total of the epochs from `firstEpoch` on. Of several changes in an epoch the last one's total counts.
    function _writeTotal(uint32 group, uint256 word, uint32 firstEpoch, uint224 members, Bls12381.Equation total)
        private
    {
        (uint32 newestFirstEpoch, uint16 version) = word.lane(0);
        bool replaces = version != 0 && newestFirstEpoch == firstEpoch;
        BlsKeys.writeTotal(group, ++version, members, total.sum());
        if (replaces) {
            word = word.withNewestTotal(firstEpoch, version);
        } else {
            uint48 oldest = word.oldestLane();
            if (oldest != 0) _olderTotals[group].push(oldest);
            word = word.withTotal(firstEpoch, version);
        }
        _blsWords[group] = word;
        _pushBls(group, word);
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

    function _domainNameAndVersion() internal pure override returns (string memory, string memory) {
        return ("CIP-22", "2");
    }
}
