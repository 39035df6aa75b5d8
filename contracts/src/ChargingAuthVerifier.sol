// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { IChargingAuthVerifier } from "./interfaces/IChargingAuthVerifier.sol";
import { IDeviceRegistry } from "./interfaces/IDeviceRegistry.sol";
import { IPolicyRegistry } from "./interfaces/IPolicyRegistry.sol";
import { BatchTree } from "./libraries/BatchTree.sol";
import { Bls12381 } from "./libraries/Bls12381.sol";
import { BlsKeys } from "./libraries/BlsKeys.sol";
import { CompactSignature } from "./libraries/CompactSignature.sol";
import { HeadSignature } from "./libraries/HeadSignature.sol";
import { KeyBlob } from "./libraries/KeyBlob.sol";
import { PolicyHistory } from "./libraries/PolicyHistory.sol";
import { SignerSum } from "./libraries/SignerSum.sol";
import { AccessManaged } from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import { EIP712 } from "solady/utils/EIP712.sol";
import { LibBit } from "solady/utils/LibBit.sol";

/// @title ChargingAuthVerifier
/// @dev Everything the hot path reads is here, pushed by the registries: on eSpace a call to another contract and its cold
/// slot cost more than the rest of an authorization's checks.
contract ChargingAuthVerifier is IChargingAuthVerifier, AccessManaged, EIP712 {
    using BatchTree for BatchTree.Groups;
    using Bls12381 for Bls12381.Equation;
    using BlsKeys for uint256;
    using HeadSignature for HeadSignature.Buffer;
    using KeyBlob for address;
    using KeyBlob for uint256;
    using PolicyHistory for uint256;

    uint256 private constant RECORD_BYTES = 98;
    uint256 private constant BATCH_HEADER_BYTES = 5;
    uint256 private constant ROOT_HEADER_BYTES = 65;
    uint256 private constant RING_WORDS_MAX = 65_536;

    uint8 private constant ALREADY_RECORDED = 1;
    uint8 private constant INACTIVE = 2;
    uint8 private constant REVOKED = 3;
    uint8 private constant BAD_SIGNATURE = 4;
    uint8 private constant BAD_INDEX = 5;
    uint8 private constant NOT_RECORDED = 6;

    /// @dev No epoch has this number: it would have to begin first.
    uint256 private constant UNUSED_WORD = uint256(type(uint32).max) << 224;
    uint256 private constant PAUSED_FLAG = 1 << 255;

    /// @dev The hot words stand at {tag | number} instead of in mappings: no two tags and numbers meet, neither with each other
    /// nor with a declared variable, and a hash a word is what a single record cannot afford.
    uint256 private constant GROUP_TAG = 1 << 192;
    uint256 private constant POLICY_TAG = 2 << 192;
    uint256 private constant RING_TAG = 3 << 192;
    uint256 private constant BLS_TAG = 4 << 192;
    uint256 private constant ROOT_TAG = 5 << 192;

    /// @dev draft-irtf-cfrg-bls-signature, proof of possession.
    bytes private constant ROOT_DST = "BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";

    bytes32 private constant HEAD_RECORDED = IChargingAuthVerifier.HeadRecorded.selector;

    /// @inheritdoc IChargingAuthVerifier
    IDeviceRegistry public immutable deviceRegistry;
    /// @inheritdoc IChargingAuthVerifier
    IPolicyRegistry public immutable policyRegistry;
    /// @inheritdoc IChargingAuthVerifier
    uint256 public immutable epochLenBlocks;
    /// @inheritdoc IChargingAuthVerifier
    uint256 public immutable ringEpochs;

    /// @dev PolicyHistory in the lower 224 bits, the pause flag in the highest: one read serves both.
    uint256 private _policies;
    mapping(uint256 group => uint256) private _ringOpened;

    /// @param authority AccessManager that says who may pause.
    /// @param deviceRegistry_ Pushes groups and makes key blobs.
    /// @param policyRegistry_ Pushes policies.
    /// @param epochLenBlocks_ Length of an epoch, in blocks; the registries' own.
    /// @param ringEpochs_ Epochs of the window.
    /// @param blockhashReach How far back BLOCKHASH answers, in blocks: 65,535 on eSpace, 256 on Ethereum and anvil.
    constructor(
        address authority,
        IDeviceRegistry deviceRegistry_,
        IPolicyRegistry policyRegistry_,
        uint256 epochLenBlocks_,
        uint256 ringEpochs_,
        uint256 blockhashReach
    ) AccessManaged(authority) {
        if (
            epochLenBlocks_ == 0 || ringEpochs_ == 0 || ringEpochs_ > RING_WORDS_MAX || epochLenBlocks_ > blockhashReach
                || (ringEpochs_ + 1) * epochLenBlocks_ > blockhashReach
        ) {
            revert RingOutsideReach(epochLenBlocks_, ringEpochs_, blockhashReach);
        }
        if (deviceRegistry_.epochLenBlocks() != epochLenBlocks_ || policyRegistry_.epochLenBlocks() != epochLenBlocks_)
        {
            revert EpochLengthDiffers(
                epochLenBlocks_, deviceRegistry_.epochLenBlocks(), policyRegistry_.epochLenBlocks()
            );
        }
        deviceRegistry = deviceRegistry_;
        policyRegistry = policyRegistry_;
        epochLenBlocks = epochLenBlocks_;
        ringEpochs = ringEpochs_;
    }

    /* RECORDING */

    /// @inheritdoc IChargingAuthVerifier
    function record(uint32 group, uint32 epoch, bytes calldata records) external returns (uint256 recorded) {
        HeadSignature.Buffer buffer = _begin(epoch);
        (uint256 cursor, uint256 end) = _span(records);
        recorded = _recordGroup(buffer, group, epoch, cursor, end);
    }

    /// @inheritdoc IChargingAuthVerifier
    function recordMany(uint32 epoch, bytes calldata batches) external returns (uint256 recorded) {
        HeadSignature.Buffer buffer = _begin(epoch);
        if (batches.length == 0) revert MalformedLength(0);
        uint256 offset;
        while (offset < batches.length) {
            if (batches.length - offset < BATCH_HEADER_BYTES) revert MalformedLength(batches.length);
            uint32 group = uint32(bytes4(batches[offset:offset + 4]));
            uint256 size = uint256(uint8(batches[offset + 4])) * RECORD_BYTES;
            offset += BATCH_HEADER_BYTES;
            if (size == 0 || batches.length - offset < size) revert MalformedLength(batches.length);
            (uint256 cursor, uint256 end) = _span(batches[offset:offset + size]);
            recorded += _recordGroup(buffer, group, epoch, cursor, end);
            offset += size;
        }
    }

    /// @inheritdoc IChargingAuthVerifier
    function recordRoot(uint32 epoch, bytes calldata signature, bytes calldata batches)
        external
        returns (uint256 recorded)
    {
        HeadSignature.Buffer buffer = _begin(epoch);
        Bls12381.Equation equation = Bls12381.equation();
        equation.setSignature(signature);
        if (equation.signatureIsInfinity()) revert SignatureAtInfinity();
        BatchTree.Groups groups = BatchTree.begin();
        uint256 anySigner;
        (uint256 cursor, uint256 end) = _bounds(batches);
        while (cursor != end) {
            (uint32 group, bytes32 groupRoot, uint224 signers, uint256 next) = _partAt(cursor);
            if (next > end) revert MalformedLength(batches.length);
            groups.append(group, groupRoot);
            anySigner |= signers;
            recorded += _recordPart(
                buffer, equation, group, epoch, groupRoot, signers, cursor + ROOT_HEADER_BYTES, next
            );
            cursor = next;
        }
        if (anySigner == 0) revert NoSigner();
        if (equation.sumIsInfinity()) revert KeySumAtInfinity();
        bytes32 root = groups.root();
        equation.setMessage(ROOT_DST, abi.encodePacked(buffer.rootDigest(root)));
        if (!equation.holds()) revert RootNotSigned(root);
    }

    /// @inheritdoc IChargingAuthVerifier
    function extend(uint32 group, uint32 epoch, bytes calldata records) external returns (uint256 extended) {
        HeadSignature.Buffer buffer = _begin(epoch);
        buffer.setGroup(group);
        (uint256 cursor, uint256 end) = _span(records);
        (uint256 revoked, address keys) = _keysOf(group);
        (, uint256 bitmap) = _ringWordOf(group, epoch);
        for (; cursor < end; cursor += RECORD_BYTES) {
            (uint256 index, uint256 n, bytes32 head) = _headAt(cursor);
            uint8 reason = (bitmap >> index) & 1 == 0 ? NOT_RECORDED : 0;
            if (index >= KeyBlob.INDICES_MAX) reason = BAD_INDEX;
            if (reason == 0) reason = _refusal(buffer, revoked, keys, epoch, index, n, head, cursor);

            uint256 position = (uint256(epoch) << 16) | (index << 8) | n;
            if (reason == 0) {
                ++extended;
                emit HeadExtended(group, position, head);
            } else {
                emit RecordSkipped(group, position, reason);
            }
        }
    }

    /// @inheritdoc IChargingAuthVerifier
    function openRing(uint32 group, uint32 count) external returns (uint32 opened) {
        if (groupWord(group) == 0) revert UnknownGroup(group);
        uint256 from = _ringOpened[group];
        uint256 to = from + count;
        if (to > ringEpochs) to = ringEpochs;
        opened = uint32(to);
        if (to == from) return opened;
        uint256 ring = _ringSlot(group, 0);
        uint256 roots = _rootSlot(group, 0);
        for (uint256 i = from; i < to; ++i) {
            _store(ring + i, UNUSED_WORD);
            _store(roots + i, UNUSED_WORD);
        }
        _ringOpened[group] = to;
        emit RingOpened(group, opened);
    }

    /* FROM THE REGISTRIES */

    /// @inheritdoc IChargingAuthVerifier
    function pushGroup(uint32 group, uint256 word) external {
        if (msg.sender != address(deviceRegistry)) revert NotRegistry(msg.sender);
        _store(GROUP_TAG | group, word);
    }

    /// @inheritdoc IChargingAuthVerifier
    function pushBls(uint32 group, uint256 word) external {
        if (msg.sender != address(deviceRegistry)) revert NotRegistry(msg.sender);
        _store(BLS_TAG | group, word);
    }

    /// @inheritdoc IChargingAuthVerifier
    function pushPolicies(uint256 history, uint32 version, bytes32 policyHash) external {
        if (msg.sender != address(policyRegistry)) revert NotRegistry(msg.sender);
        _policies = (_policies & PAUSED_FLAG) | history;
        if (version != 0) _store(POLICY_TAG | version, uint256(policyHash));
    }

    /* GOVERNANCE */

    /// @inheritdoc IChargingAuthVerifier
    function pause() external restricted {
        _policies |= PAUSED_FLAG;
        emit Paused(msg.sender);
    }

    /// @inheritdoc IChargingAuthVerifier
    function unpause() external restricted {
        _policies &= ~PAUSED_FLAG;
        emit Unpaused(msg.sender);
    }

    /* VIEWS */

    /// @inheritdoc IChargingAuthVerifier
    function verifyHead(uint32 group, uint8 index, uint32 epoch, uint8 n, bytes32 head, bytes calldata signature)
        external
        view
        returns (bool)
    {
        uint256 word = groupWord(group);
        uint256 current = block.number / epochLenBlocks;
        if (word == 0 || signature.length != 64 || index >= KeyBlob.INDICES_MAX) return false;
        if (epoch > current || current - epoch >= ringEpochs) return false;
        bytes32 challenge = challengeOf(epoch);
        bytes32 policyHash = policyAt(epoch);
        if (challenge == 0 || policyHash == 0) return false;

        HeadSignature.Buffer buffer = HeadSignature.prepare(_domainSeparator(), epoch, challenge, policyHash);
        buffer.setGroup(group);
        uint256 cursor;
        /// @solidity memory-safe-assembly
        assembly {
            // _refusal reads a signature 34 bytes into a record.
            cursor := sub(signature.offset, 34)
        }
        return _refusal(buffer, word, _blobOf(group, word), epoch, index, n, head, cursor) == 0;
    }

    /// @inheritdoc IChargingAuthVerifier
    function openHead(uint32 group, uint8 index, uint32 epoch, uint8 n, bytes32 head, bytes calldata opening)
        external
        view
        returns (bool)
    {
        bytes32 word = BatchTree.open(group, index, epoch, n, head, opening);
        return word != 0 && word == bytes32(_load(_rootSlot(group, epoch % ringEpochs)));
    }

    /// @inheritdoc IChargingAuthVerifier
    function policyAt(uint32 epoch) public view returns (bytes32) {
        return _policyAt(_policies & ~PAUSED_FLAG, epoch);
    }

    /// @inheritdoc IChargingAuthVerifier
    function challengeOf(uint32 epoch) public view returns (bytes32) {
        // Unchecked: 32 bits times at most 16.
        unchecked {
            return blockhash(uint256(epoch) * epochLenBlocks);
        }
    }

    /// @inheritdoc IChargingAuthVerifier
    function currentEpoch() external view returns (uint32) {
        return uint32(block.number / epochLenBlocks);
    }

    /// @inheritdoc IChargingAuthVerifier
    function ringWord(uint32 group, uint32 epoch) external view returns (uint32 wordEpoch, uint224 bitmap) {
        uint256 word = _load(_ringSlot(group, epoch % ringEpochs));
        if (word == 0) revert RingNotOpen(group, epoch);
        return (uint32(word >> 224), uint224(word));
    }

    /// @inheritdoc IChargingAuthVerifier
    function rootChain(uint32 group, uint32 epoch) external view returns (bytes32 word) {
        word = bytes32(_load(_rootSlot(group, epoch % ringEpochs)));
        if (word == 0) revert RingNotOpen(group, epoch);
    }

    /// @inheritdoc IChargingAuthVerifier
    function ringOpened(uint32 group) external view returns (uint32) {
        return uint32(_ringOpened[group]);
    }

    /// @inheritdoc IChargingAuthVerifier
    function groupWord(uint32 group) public view returns (uint256) {
        return _load(GROUP_TAG | group);
    }

    /// @inheritdoc IChargingAuthVerifier
    function blsWord(uint32 group) external view returns (uint256) {
        return _load(BLS_TAG | group);
    }

    /// @inheritdoc IChargingAuthVerifier
    function paused() external view returns (bool) {
        return _policies & PAUSED_FLAG != 0;
    }

    /* INTERNAL */

    /// @dev What concerns the whole call: pause, window, challenge, policy.
    function _begin(uint32 epoch) private view returns (HeadSignature.Buffer) {
        uint256 policies = _policies;
        if (policies & PAUSED_FLAG != 0) revert RecordingPaused();
        uint256 current = block.number / epochLenBlocks;
        if (epoch > current) revert EpochInFuture(epoch, uint32(current));
        // Unchecked: the epoch is not above the current one.
        unchecked {
            if (current - epoch >= ringEpochs) revert EpochOlderThanRing(epoch, uint32(current - ringEpochs + 1));
        }
        bytes32 challenge = challengeOf(epoch);
        if (challenge == 0) revert ChallengeUnavailable(epoch);
        bytes32 policyHash = _policyAt(policies, epoch);
        if (policyHash == 0) revert NoPolicy(epoch);
        return HeadSignature.prepare(_domainSeparator(), epoch, challenge, policyHash);
    }

    /// @dev Takes whole records of one group.
    function _recordGroup(HeadSignature.Buffer buffer, uint32 group, uint32 epoch, uint256 cursor, uint256 end)
        private
        returns (uint256 recorded)
    {
        (uint256 revoked, address keys) = _keysOf(group);
        (uint256 slot, uint256 bitmap) = _ringWordOf(group, epoch);
        (recorded, bitmap) = _takeRecords(buffer, group, epoch, revoked, keys, bitmap, cursor, end);
        // _ringWordOf refused a word of zero, so this never makes a new slot.
        if (recorded != 0) _store(slot, (uint256(epoch) << 224) | bitmap);
    }

    /// @dev One group of a root: its signers, then the records of those that did not sign, from `cursor` to `end`.
    function _recordPart(
        HeadSignature.Buffer buffer,
        Bls12381.Equation equation,
        uint32 group,
        uint32 epoch,
        bytes32 groupRoot,
        uint224 signers,
        uint256 cursor,
        uint256 end
    ) private returns (uint256 recorded) {
        uint256 revoked = groupWord(group);
        if (revoked == 0) revert UnknownGroup(group);
        (uint256 slot, uint256 bitmap) = _ringWordOf(group, epoch);
        if (signers != 0) {
            if (signers & uint224(revoked) != 0) revert RevokedSigners(group, signers & uint224(revoked));
            _addSigners(equation, group, epoch, signers);
            uint256 added = signers & ~bitmap;
            if (added != 0) {
                recorded = LibBit.popCount(added);
                bitmap |= signers;
                _enterRoot(slot ^ RING_TAG ^ ROOT_TAG, group, epoch, groupRoot, signers);
            }
        }
        if (cursor != end) {
            uint256 stragglers;
            (stragglers, bitmap) =
                _takeRecords(buffer, group, epoch, revoked, _blobOf(group, revoked), bitmap, cursor, end);
            recorded += stragglers;
        }
        if (recorded != 0) _store(slot, (uint256(epoch) << 224) | bitmap);
    }

    /// @dev Only a root that adds a bit is entered: at most 224 a group and epoch, whoever sends them.
    function _enterRoot(uint256 slot, uint32 group, uint32 epoch, bytes32 groupRoot, uint224 signers) private {
        bytes32 before = bytes32(_load(slot));
        _store(slot, uint256(BatchTree.chained(before, BatchTree.entry(epoch, groupRoot, signers))));
        emit RootRecorded(group, epoch, groupRoot, signers, before);
    }

    function _addSigners(Bls12381.Equation equation, uint32 group, uint32 epoch, uint224 signers) private view {
        uint256 word = _load(BLS_TAG | group);
        (uint16 version, bool older) = word.totalVersionAt(epoch);
        if (older) version = deviceRegistry.totalVersionAt(group, epoch);
        uint224 strangers = SignerSum.add(equation, address(deviceRegistry), group, word, version, signers);
        if (strangers != 0) revert SignersWithoutKey(group, strangers);
    }

    /// @dev Takes whole records of one group. The check of a record is assembly: it runs for every record, hashes and recovers in
    /// memory laid out once, and in Solidity costs 500 gas more, a tenth of what is left beside calldata, precompile and event.
    function _takeRecords(
        HeadSignature.Buffer buffer,
        uint32 group,
        uint32 epoch,
        uint256 revoked,
        address keys,
        uint256 bitmap,
        uint256 cursor,
        uint256 end
    ) private returns (uint256 recorded, uint256 bits) {
        buffer.setGroup(group);
        uint256 sMax = CompactSignature.S_MAX;
        bytes32 topic = HEAD_RECORDED;
        for (; cursor < end;) {
            bool valid;
            /// @solidity memory-safe-assembly
            assembly {
                let word := calldataload(cursor)
                let index := shr(248, word)
                // A bit that is set, by a record or by a revocation, and an index beyond the bitmap go no further.
                if and(lt(index, 224), iszero(and(shr(index, or(bitmap, revoked)), 1))) {
                    extcodecopy(keys, 0x00, add(mul(index, 28), 1), 28)
                    let entry := mload(0x00)
                    if iszero(
                        or(lt(epoch, and(shr(64, entry), 0xffffffff)), gt(epoch, and(shr(32, entry), 0xffffffff)))
                    ) {
                        // See HeadSignature for the buffer. Head, r and s arrive in one copy, because they stand in the record as
                        // in the buffer; digest and v then take the places of n and head.
                        let n := byte(1, word)
                        mstore(add(buffer, 0x040), index)
                        mstore(add(buffer, 0x0c0), n)
                        calldatacopy(add(buffer, 0x0e0), add(cursor, 2), 0x60)
                        mstore(add(buffer, 0x180), keccak256(buffer, 0x100))
                        mstore(add(buffer, 0x0c0), keccak256(add(buffer, 0x15e), 0x42))
                        let s := mload(add(buffer, 0x120))
                        mstore(add(buffer, 0x0e0), add(27, shr(255, s)))
                        s := shr(1, shl(1, s))
                        mstore(add(buffer, 0x120), s)
                        // The precompile returns nothing when there is no signer, so a key of zero matches nothing.
                        pop(staticcall(gas(), 1, add(buffer, 0x0c0), 0x80, 0x00, 0x20))
                        valid := and(
                            and(eq(returndatasize(), 0x20), eq(mload(0x00), shr(96, entry))),
                            and(iszero(gt(s, sMax)), gt(n, 0))
                        )
                    }
                }
                if valid {
                    bitmap := or(bitmap, shl(index, 1))
                    recorded := add(recorded, 1)
                    calldatacopy(0x00, add(cursor, 2), 0x20)
                    log3(0x00, 0x20, topic, group, or(shl(16, epoch), shr(240, word)))
                }
            }
            if (!valid) _skip(group, epoch, bitmap, revoked, keys, cursor);
            // Unchecked: a position in calldata.
            unchecked {
                cursor += RECORD_BYTES;
            }
        }
        bits = bitmap;
    }

    /// @dev Says why {_takeRecords} did not take the record.
    function _skip(uint32 group, uint32 epoch, uint256 bitmap, uint256 revoked, address keys, uint256 cursor) private {
        (uint256 index, uint256 n,) = _headAt(cursor);
        uint8 reason;
        if (index >= KeyBlob.INDICES_MAX) {
            reason = BAD_INDEX;
        } else if ((bitmap >> index) & 1 != 0) {
            reason = ALREADY_RECORDED;
        } else {
            (reason,) = _keyAt(revoked, keys, epoch, index);
            if (reason == 0) reason = BAD_SIGNATURE;
        }
        emit RecordSkipped(group, (uint256(epoch) << 16) | (index << 8) | n, reason);
    }

    /// @dev The key of the index in the epoch, or why there is none that counts.
    function _keyAt(uint256 revoked, address keys, uint32 epoch, uint256 index)
        private
        view
        returns (uint8 reason, address key)
    {
        if ((revoked >> index) & 1 != 0) return (REVOKED, address(0));
        uint256 entry = keys.entryAt(index);
        if (entry == 0) return (BAD_INDEX, address(0));
        if (epoch < entry.activeFrom() || epoch > entry.activeUntil()) return (INACTIVE, address(0));
        return (0, entry.keyOf());
    }

    /// @dev Why the pile's signature cannot be used, 0 if it can. The signature stands 34 bytes after `cursor` in calldata.
    function _refusal(
        HeadSignature.Buffer buffer,
        uint256 revoked,
        address keys,
        uint32 epoch,
        uint256 index,
        uint256 n,
        bytes32 head,
        uint256 cursor
    ) private view returns (uint8) {
        (uint8 reason, address key) = _keyAt(revoked, keys, epoch, index);
        if (reason != 0) return reason;
        bytes32 r;
        uint256 yParityAndS;
        /// @solidity memory-safe-assembly
        assembly {
            r := calldataload(add(cursor, 34))
            yParityAndS := calldataload(add(cursor, 66))
        }
        return n != 0 && buffer.signedBy(key, index, n, head, r, yParityAndS) ? 0 : BAD_SIGNATURE;
    }

    function _keysOf(uint32 group) private view returns (uint256 revoked, address keys) {
        revoked = groupWord(group);
        if (revoked == 0) revert UnknownGroup(group);
        keys = _blobOf(group, revoked);
    }

    function _blobOf(uint32 group, uint256 word) private view returns (address) {
        return KeyBlob.addressOf(address(deviceRegistry), group, uint32(word >> 224));
    }

    /// @dev Slot of the epoch's ring word and the bits recorded for the epoch. A word of another epoch is an older one, because the
    /// epoch is in the window.
    function _ringWordOf(uint32 group, uint32 epoch) private view returns (uint256 slot, uint256 bitmap) {
        slot = _ringSlot(group, epoch % ringEpochs);
        uint256 word = _load(slot);
        if (word == 0) revert RingNotOpen(group, epoch);
        if (word >> 224 == epoch) bitmap = uint224(word);
    }

    function _policyAt(uint256 history, uint32 epoch) private view returns (bytes32 policyHash) {
        uint256 version = history.newest();
        bool older;
        if (epoch < history.newestFirstEpoch()) (version, older) = history.versionAt(epoch);
        if (version != 0) policyHash = bytes32(_load(POLICY_TAG | version));
        else if (!older) return 0;
        // Not pushed here: attached after that version, or older than the history reaches.
        if (policyHash == 0) policyHash = policyRegistry.policyAt(epoch);
    }

    function _ringSlot(uint32 group, uint256 place) private pure returns (uint256) {
        return RING_TAG | (uint256(group) << 32) | place;
    }

    function _rootSlot(uint32 group, uint256 place) private pure returns (uint256) {
        return ROOT_TAG | (uint256(group) << 32) | place;
    }

    function _load(uint256 slot) private view returns (uint256 word) {
        /// @solidity memory-safe-assembly
        assembly {
            word := sload(slot)
        }
    }

    function _store(uint256 slot, uint256 word) private {
        /// @solidity memory-safe-assembly
        assembly {
            sstore(slot, word)
        }
    }

    /// @dev Calldata positions of the first record and of the end.
    function _span(bytes calldata records) private pure returns (uint256 cursor, uint256 end) {
        if (records.length == 0 || records.length % RECORD_BYTES != 0) revert MalformedLength(records.length);
        return _bounds(records);
    }

    function _bounds(bytes calldata data) private pure returns (uint256 cursor, uint256 end) {
        /// @solidity memory-safe-assembly
        assembly {
            cursor := data.offset
            end := add(cursor, data.length)
        }
    }

    /// @dev A group of a root; past the end of calldata stand zeros, so the caller compares `next` with the end.
    function _partAt(uint256 cursor)
        private
        pure
        returns (uint32 group, bytes32 groupRoot, uint224 signers, uint256 next)
    {
        /// @solidity memory-safe-assembly
        assembly {
            group := shr(224, calldataload(cursor))
            groupRoot := calldataload(add(cursor, 4))
            signers := shr(32, calldataload(add(cursor, 36)))
            let count := byte(0, calldataload(add(cursor, 64)))
            next := add(add(cursor, ROOT_HEADER_BYTES), mul(count, RECORD_BYTES))
        }
    }

    function _headAt(uint256 cursor) private pure returns (uint256 index, uint256 n, bytes32 head) {
        /// @solidity memory-safe-assembly
        assembly {
            let word := calldataload(cursor)
            index := byte(0, word)
            n := byte(1, word)
            head := calldataload(add(cursor, 2))
        }
    }

    function _domainNameAndVersion() internal pure override returns (string memory, string memory) {
        return ("CIP-22", "2");
    }
}
