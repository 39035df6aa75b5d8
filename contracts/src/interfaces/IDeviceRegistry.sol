// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { IChargingAuthVerifier } from "./IChargingAuthVerifier.sol";

/// @title Who the charging piles are
/// @notice Piles stand in groups of at most 224 indices. The keys of a group are one code blob of 28-byte entries
/// {key 20 B, activeFrom u32, activeUntil u32}; every change writes a new blob and pushes one word per group,
/// {blobVersion u32 | revoked bitmap224}, to each attached verifier.
/// An index may also have a BLS key (G2, 192 bytes), with which its device co-signs the roots of batches. These stand in chunks, and
/// for each epoch from which on they change, the sum of the group's keys stands in a total; a second word per group (see BlsKeys)
/// says which.
/// @dev What holds:
/// - An index is never reused, neither after a rotation nor after a revocation.
/// - A key added in epoch E is active from E + 1; a key rotated away in epoch E is active through E. So what the registry
///   says of an epoch that has begun never changes, except by revocation, which takes effect at once and for every epoch.
/// - A BLS key counts from the epoch after its enrolment on, and through the epoch in which its index is rotated away. So the
///   total of an epoch that has begun never changes; a revoked device stays in it, and the verifier counts it as absent.
/// - A total is the sum of keys each of which was proven to be in the subgroup and in its device's possession: no key can be chosen
///   so that it cancels others (a rogue key).
/// - Pausing stops new groups, registrations, enrolments and rotations. It never stops {revoke} or {sync}.
///
/// Assumption: the operator registers keys whose holders control them. An address is not proven on registration; a wrong one
/// can harm only its own device id, because every digest names group and index.
interface IDeviceRegistry {
    /// @notice One device to register.
    /// @param deviceId The device's 32-byte identity, the one in its certificate.
    /// @param key The address of its secp256k1 key.
    struct Registration {
        bytes32 deviceId;
        address key;
    }

    /// @notice The BLS key of one device.
    /// @param deviceId A registered device.
    /// @param key 192 bytes: x.c0 ‖ x.c1 ‖ y.c0 ‖ y.c1, 48 bytes each, big-endian.
    /// @param possession 96 bytes, x ‖ y: the key's signature of the EIP-712 digest of BlsPossession(bytes32 deviceId,bytes key) in
    /// this registry's domain, under the tag BLS_POP_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_.
    struct Enrolment {
        bytes32 deviceId;
        bytes key;
        bytes possession;
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
    /// @notice The device's newest index has a BLS key, which counts from the epoch `activeFrom` on.
    event DeviceEnrolled(bytes32 indexed deviceId, uint32 indexed group, uint8 index, bytes key, uint32 activeFrom);
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
    /// @notice A registration or enrolment without devices.
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
    /// @notice The device stands in another group.
    error DeviceOfAnotherGroup(bytes32 deviceId, uint32 group);
    /// @notice The device's newest index has a BLS key already; it can get no other.
    error DeviceIsEnrolled(bytes32 deviceId, uint8 index);
    /// @notice Not 192 bytes, a coordinate that is not below the modulus, or infinity.
    error NotABlsKey(bytes32 deviceId);
    /// @notice The signature is not one by that key of that device's possession.
    error BadPossession(bytes32 deviceId);
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

    /// @notice Moves a device to a new key under a new index of its group, which has no BLS key until it is enrolled. Operator only.
    function rotate(bytes32 deviceId, address newKey) external;

    /// @notice Gives the newest index of each device a BLS key, for the epochs from the next one on. Operator only.
    /// @dev Reverts with Bls12381.BlsUnavailable where the chain has no EIP-2537, with Bls12381.BlsPointRefused (and takes all gas)
    /// if a point is off the curve or outside of the subgroup. About 120,000 gas for each proof, and the deposit of each chunk of 112
    /// indices that is touched, 8,600,000 on eSpace when full: keep a call to 16 devices of one chunk.
    function enrol(uint32 group, Enrolment[] calldata devices) external;

    /// @notice Revokes a device, its present index and every earlier one, at once. Guardian only; works while paused.
    function revoke(bytes32 deviceId) external;

    /// @notice Pushes the group's words to every attached verifier. Anyone may call it.
    function sync(uint32 group) external;

    /// @notice Adds a verifier to the ones told of changes. Governance only.
    function attach(IChargingAuthVerifier verifier) external;

    /// @notice Removes a verifier from the ones told of changes. Governance only.
    function detach(IChargingAuthVerifier verifier) external;

    /// @notice Stops createGroup, register, enrol and rotate. Guardian only.
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

    /// @notice The group's BLS word, see BlsKeys; 0 for a group without BLS keys.
    function blsWord(uint32 group) external view returns (uint256);

    /// @notice Version of the total in force in an epoch, 0 if there is none. Of an epoch to come it may still change.
    function totalVersionAt(uint32 group, uint32 epoch) external view returns (uint16);

    /// @notice The total in force in an epoch.
    /// @return members Indices whose BLS key counts in the epoch, revoked ones included.
    /// @return sum Sum of their keys, 192 bytes.
    function blsTotal(uint32 group, uint32 epoch) external view returns (uint224 members, bytes memory sum);

    /// @notice The BLS key that an index has or had, 192 bytes; zeros if it never had one.
    function blsKey(uint32 group, uint8 index) external view returns (bytes memory);

    /// @notice Indices given out in the group.
    function groupSize(uint32 group) external view returns (uint256);

    /// @notice The verifiers told of changes, oldest first.
    function verifiers() external view returns (IChargingAuthVerifier[] memory);

    /// @notice Length of an epoch, in blocks.
    function epochLenBlocks() external view returns (uint256);

    /// @notice The epoch of this block: block number / epoch length.
    function currentEpoch() external view returns (uint32);
}
