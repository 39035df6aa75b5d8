// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { IChargingAuthVerifier } from "./IChargingAuthVerifier.sol";

/// @title Who the charging piles are
/// @notice Piles stand in groups of at most 224 indices. The keys of a group are one code blob of 28-byte entries
/// {key 20 B, activeFrom u32, activeUntil u32}; every change writes a new blob and pushes one word per group,
/// {blobVersion u32 | revoked bitmap224}, to each attached verifier.
/// @dev What holds:
/// - An index is never reused, neither after a rotation nor after a revocation.
/// - A key added in epoch E is active from E + 1; a key rotated away in epoch E is active through E. So what the registry
///   says of an epoch that has begun never changes, except by revocation, which takes effect at once and for every epoch.
/// - Pausing stops new groups, registrations and rotations. It never stops {revoke} or {sync}.
///
/// Assumption: the operator registers keys whose holders control them. A key is not proven on registration; a wrong one
/// can harm only its own device id, because every digest names group and index.
interface IDeviceRegistry {
    /// @notice One device to register.
    /// @param deviceId The device's 32-byte identity, the one in its certificate.
    /// @param key The address of its secp256k1 key.
    struct Registration {
        bytes32 deviceId;
        address key;
    }

    /// @notice A group came to be.
    event GroupCreated(uint32 indexed group);
    /// @notice A device got an index; its key is active from the epoch `activeFrom`.
    event DeviceRegistered(bytes32 indexed deviceId, uint32 indexed group, uint8 index, address key, uint32 activeFrom);
    /// @notice A device got a new key under a new index, active from `activeFrom`; the old one ends with the epoch before.
    event DeviceRotated(
        bytes32 indexed deviceId,
        uint32 indexed group,
        uint8 oldIndex,
        uint8 newIndex,
        address newKey,
        uint32 activeFrom
    );
    /// @notice A device was revoked, at once and for good; `index` is its newest index, and its older ones are revoked too.
    event DeviceRevoked(bytes32 indexed deviceId, uint32 indexed group, uint8 index);
    /// @notice From now on `verifier` is told of every change. Each existing group still needs one {sync}.
    event VerifierAttached(address indexed verifier);
    /// @notice From now on `verifier` is told of nothing.
    event VerifierDetached(address indexed verifier);

    /// @notice The group exists already.
    error GroupExists(uint32 group);
    /// @notice No such group.
    error UnknownGroup(uint32 group);
    /// @notice The change needs `wanted` indices; a group has `limit`.
    error GroupFull(uint32 group, uint256 wanted, uint256 limit);
    /// @notice A registration without devices.
    error NothingToRegister();
    /// @notice The device is registered already; a device id is never registered twice, not even after revocation.
    error DeviceExists(bytes32 deviceId);
    /// @notice No such device.
    error UnknownDevice(bytes32 deviceId);
    /// @notice The device is revoked.
    error DeviceIsRevoked(bytes32 deviceId);
    /// @notice A device id or key of zero.
    error ZeroDevice(bytes32 deviceId, address key);
    /// @notice The new key is the device's present one.
    error SameKey(bytes32 deviceId, address key);
    /// @notice The device has used up its `limit` indices; revoke it and register a new device id.
    error RotationsExhausted(bytes32 deviceId, uint256 limit);
    /// @notice At most `limit` verifiers can be attached.
    error TooManyVerifiers(uint256 limit);
    /// @notice The verifier is attached already.
    error VerifierIsAttached(address verifier);
    /// @notice The verifier is not attached.
    error UnknownVerifier(address verifier);
    /// @notice The verifier was built for another registry or another epoch length.
    error ForeignVerifier(address verifier);
    /// @notice An epoch needs at least one block.
    error ZeroEpochLength();

    /// @notice Creates an empty group. Operator only.
    /// @param group Any number not used before.
    function createGroup(uint32 group) external;

    /// @notice Gives each device the group's next index, in order. Operator only.
    /// @dev About 8,900 gas of code deposit a device of the whole group on eSpace, plus 40,000 for each new device's slot:
    /// keep a call to 100 devices.
    function register(uint32 group, Registration[] calldata devices) external;

    /// @notice Moves a device to a new key under a new index of its group. Operator only.
    function rotate(bytes32 deviceId, address newKey) external;

    /// @notice Revokes a device, its present index and every earlier one, at once. Guardian only; works while paused.
    function revoke(bytes32 deviceId) external;

    /// @notice Pushes the group's word to every attached verifier. Anyone may call it.
    function sync(uint32 group) external;

    /// @notice Adds a verifier to the ones told of changes. Governance only.
    function attach(IChargingAuthVerifier verifier) external;

    /// @notice Removes a verifier from the ones told of changes. Governance only.
    function detach(IChargingAuthVerifier verifier) external;

    /// @notice Stops createGroup, register and rotate. Guardian only.
    function pause() external;

    /// @notice Ends the pause. Governance only.
    function unpause() external;

    /// @notice What the registry knows of a device.
    /// @return group The device's group.
    /// @return index Its newest index.
    /// @return status 0 unknown, 1 active, 2 revoked.
    /// @return key The key of that index.
    /// @return activeFrom First epoch of the key.
    /// @return activeUntil Last epoch of the key, 2^32 - 1 while it has no end.
    function device(bytes32 deviceId)
        external
        view
        returns (uint32 group, uint8 index, uint8 status, address key, uint32 activeFrom, uint32 activeUntil);

    /// @notice Whether (group, index) is or ever was the device's, so that a statement signed under an index that was later
    /// rotated away still counts for its epoch.
    function holdsIndex(bytes32 deviceId, uint32 group, uint8 index) external view returns (bool);

    /// @notice The group's word {blobVersion u32 | revoked bitmap224}; 0 for an unknown group.
    function groupWord(uint32 group) external view returns (uint256);

    /// @notice Indices given out in the group.
    function groupSize(uint32 group) external view returns (uint256);

    /// @notice The verifiers told of changes, oldest first.
    function verifiers() external view returns (IChargingAuthVerifier[] memory);

    /// @notice Length of an epoch, in blocks.
    function epochLenBlocks() external view returns (uint256);

    /// @notice The epoch of this block: block number / epoch length.
    function currentEpoch() external view returns (uint32);
}
