// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { IDeviceRegistry } from "./IDeviceRegistry.sol";
import { IPolicyRegistry } from "./IPolicyRegistry.sol";

/// @title Records what charging piles signed
/// @notice In each epoch a pile signs heads of a hash chain over its statements (docs/protocol.md §5). Anyone may bring such a
/// head here; the contract puts in the epoch's challenge and policy itself, so a head signed for another challenge or policy
/// simply fails to verify.
/// @dev What holds:
/// - A bit (group, index, epoch) is set only by a signature of the key that was active for that index in that epoch, and
///   never by a revoked one.
/// - A bit is set once. {record} skips a set bit; it never reverts on overlap, so nobody can make another's call fail by
///   recording first. Of the heads emitted for a bit the one with the largest n counts ({extend} adds longer ones).
/// - Every epoch of the window (current - ringEpochs, current] can be recorded in any order.
/// - No call but {openRing} and the registries' pushes makes a new storage slot.
///
/// Assumptions for liveness: BLOCKHASH answers for ringEpochs × epochLenBlocks blocks (checked against what the deployer
/// states); the registries push to this contract (governance attached it).
///
/// A record is 98 bytes: index (1) ‖ n (1) ‖ head (32) ‖ signature (64, EIP-2098: r ‖ yParityAndS, s in the lower half).
interface IChargingAuthVerifier {
    /// @notice A pile's head was recorded: the bit was clear and is set now. position = epoch << 16 | index << 8 | n.
    event HeadRecorded(uint32 indexed group, uint256 indexed position, bytes32 head);
    /// @notice Another head of a pile whose bit is set was verified.
    event HeadExtended(uint32 indexed group, uint256 indexed position, bytes32 head);
    /// @notice A record was passed over. Reason: 1 already recorded, 2 key not active in the epoch, 3 revoked, 4 bad signature,
    /// 5 no such index, 6 not recorded yet ({extend} only).
    event RecordSkipped(uint32 indexed group, uint256 indexed position, uint8 reason);
    /// @notice A root set bits of the group: those of `signers` that were clear. Its entry is
    /// keccak256(epoch u32 ‖ groupRoot ‖ signers u224), and the group's second ring word of the epoch's place went from `before` to
    /// keccak256(before ‖ entry).
    event RootRecorded(uint32 indexed group, uint32 indexed epoch, bytes32 groupRoot, uint224 signers, bytes32 before);
    /// @notice `opened` of the group's ring words stand.
    event RingOpened(uint32 indexed group, uint32 opened);
    /// @notice Recording stopped.
    event Paused(address account);
    /// @notice Recording goes on.
    event Unpaused(address account);

    /// @notice The epoch has not begun.
    error EpochInFuture(uint32 epoch, uint32 current);
    /// @notice The epoch has left the ring; `oldest` is the oldest that can be recorded.
    error EpochOlderThanRing(uint32 epoch, uint32 oldest);
    /// @notice BLOCKHASH does not answer for the epoch's first block: it is this very block, or out of reach.
    error ChallengeUnavailable(uint32 epoch);
    /// @notice No policy is in force in the epoch.
    error NoPolicy(uint32 epoch);
    /// @notice The device registry never pushed such a group.
    error UnknownGroup(uint32 group);
    /// @notice The ring word of the epoch does not stand yet: {openRing} first.
    error RingNotOpen(uint32 group, uint32 epoch);
    /// @notice Not a whole number of records (or, in recordMany, of batches), or none. `length` is the length of the bytes.
    error MalformedLength(uint256 length);
    /// @notice A root that nobody is said to have signed.
    error NoSigner();
    /// @notice These indices have no BLS key that is active in the epoch.
    error SignersWithoutKey(uint32 group, uint224 indices);
    /// @notice These indices are revoked.
    error RevokedSigners(uint32 group, uint224 indices);
    /// @notice The groups of a root increase.
    error GroupsOutOfOrder(uint32 group, uint32 next);
    /// @notice A root has no more groups than this.
    error TooManyGroups(uint256 limit);
    /// @notice Infinity signs everything under a key at infinity, so it is no signature.
    error SignatureAtInfinity();
    /// @notice The signers' keys sum up to infinity.
    error KeySumAtInfinity();
    /// @notice The signature is not that of all signers for this root.
    error RootNotSigned(bytes32 root);
    /// @notice The guardian stopped recording.
    error RecordingPaused();
    /// @notice Only the registry this contract was built for may push.
    error NotRegistry(address caller);
    /// @notice ringEpochs × epochLenBlocks plus one epoch of margin must fit BLOCKHASH's reach; no part may be zero, and a
    /// ring has at most 65,536 words.
    error RingOutsideReach(uint256 epochLenBlocks, uint256 ringEpochs, uint256 blockhashReach);
    /// @notice The registries count epochs of another length.
    error EpochLengthDiffers(uint256 expected, uint256 deviceRegistryHas, uint256 policyRegistryHas);

    /// @notice Records heads of one group and epoch.
    /// @param group Group of all the records.
    /// @param epoch Epoch of all the records.
    /// @param records Whole records, at least one.
    /// @return recorded Bits newly set.
    function record(uint32 group, uint32 epoch, bytes calldata records) external returns (uint256 recorded);

    /// @notice Records heads of several groups and one epoch.
    /// @param epoch Epoch of all the records.
    /// @param batches Repeats { group 4 B, count 1 B, count × 98 B }, count at least 1.
    /// @return recorded Bits newly set.
    function recordMany(uint32 epoch, bytes calldata batches) external returns (uint256 recorded);

    /// @notice Records the heads of one epoch's piles that signed the root over them, and records of those that did not.
    /// The root is computed from the groupRoots (docs/protocol.md §5.4); the epoch's challenge and policy are put in as for {record}.
    /// Signers whose bit is set already change nothing; of what concerns the whole call everything reverts.
    /// @param epoch Epoch of the root and of all records.
    /// @param signature Sum of all signers' signatures of the root, 96 bytes: x ‖ y.
    /// @param batches Repeats { group 4 B ‖ groupRoot 32 B ‖ signers 28 B ‖ count 1 B ‖ count × 98 B }, groups increasing, 1 to 16.
    /// @return recorded Bits newly set.
    function recordRoot(uint32 epoch, bytes calldata signature, bytes calldata batches)
        external
        returns (uint256 recorded);

    /// @notice Emits further heads of piles whose bit is set; writes nothing.
    /// @param records As for {record}.
    /// @return extended Heads emitted.
    function extend(uint32 group, uint32 epoch, bytes calldata records) external returns (uint256 extended);

    /// @notice Initialises up to `count` more of the group's ring words. Anyone may pay for it.
    /// @return opened Words that stand after the call; ringEpochs when done.
    function openRing(uint32 group, uint32 count) external returns (uint32 opened);

    /// @notice Whether the head carries the signature of the pile that holds (group, index), by the epoch's own challenge and
    /// policy. False for whatever cannot be checked: an epoch outside the window, an unknown group, a revoked or inactive key.
    /// @param signature 64 bytes; anything else is false.
    function verifyHead(uint32 group, uint8 index, uint32 epoch, uint8 n, bytes32 head, bytes calldata signature)
        external
        view
        returns (bool);

    /// @notice Whether a recorded root holds the head for (group, index, epoch, n) and the pile signed that root. Nothing recorded is
    /// ever lost to it: what was recorded after, in the epoch or in later ones of the same place, is named in the opening. That a
    /// pile was revoked since is not looked at.
    /// @param opening before 32 ‖ path in the group, 8 × 32 from the leaf up ‖ signers 28 ‖ entries recorded after in the group's
    /// ring place, 32 each. `before`, signers and entries follow from {RootRecorded}.
    function openHead(uint32 group, uint8 index, uint32 epoch, uint8 n, bytes32 head, bytes calldata opening)
        external
        view
        returns (bool);

    /// @notice Takes a group's word {blobVersion u32 | revoked bitmap224}. Device registry only; works while paused.
    function pushGroup(uint32 group, uint256 word) external;

    /// @notice Takes a group's BLS word (see BlsKeys). Device registry only; works while paused.
    function pushBls(uint32 group, uint256 word) external;

    /// @notice Takes the policy history (see PolicyHistory) and one version's hash. Policy registry only.
    function pushPolicies(uint256 history, uint32 version, bytes32 policyHash) external;

    /// @notice Stops record, recordMany, recordRoot and extend. Guardian only.
    function pause() external;

    /// @notice Ends the pause. Governance only.
    function unpause() external;

    /// @notice Hash of the policy in force in `epoch`, 0 if there is none.
    function policyAt(uint32 epoch) external view returns (bytes32);

    /// @notice Challenge of `epoch`: the hash of its first block, 0 if BLOCKHASH does not answer for it.
    function challengeOf(uint32 epoch) external view returns (bytes32);

    /// @notice The epoch of this block: block number / epoch length.
    function currentEpoch() external view returns (uint32);

    /// @notice The ring word that serves `epoch`.
    /// @return wordEpoch Epoch the word holds now, 2^32 - 1 if none yet.
    /// @return bitmap Indices recorded in wordEpoch.
    function ringWord(uint32 group, uint32 epoch) external view returns (uint32 wordEpoch, uint224 bitmap);

    /// @notice The word of the second ring that serves `epoch`: what {RootRecorded} last made of it.
    function rootChain(uint32 group, uint32 epoch) external view returns (bytes32);

    /// @notice Ring words of the group that stand.
    function ringOpened(uint32 group) external view returns (uint32);

    /// @notice The group's word as last pushed; 0 for an unknown group.
    function groupWord(uint32 group) external view returns (uint256);

    /// @notice The group's BLS word as last pushed; 0 for a group without BLS keys.
    function blsWord(uint32 group) external view returns (uint256);

    /// @notice Whether the guardian stopped recording.
    function paused() external view returns (bool);

    /// @notice Length of an epoch, in blocks.
    function epochLenBlocks() external view returns (uint256);

    /// @notice Epochs of the window.
    function ringEpochs() external view returns (uint256);

    /// @notice The registry that pushes groups and made the key blobs.
    function deviceRegistry() external view returns (IDeviceRegistry);

    /// @notice The registry that pushes policies.
    function policyRegistry() external view returns (IPolicyRegistry);
}
