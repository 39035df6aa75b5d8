// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { IChargingAuthVerifier } from "../src/interfaces/IChargingAuthVerifier.sol";
import { HeadDigest } from "./HeadDigest.sol";

/// @title What ChargingAuthVerifier does, to be read and to be tested against
/// @notice One mapping per fact, no packing, no assembly, no ring: recorded bits are kept for ever, and only the window rule says
/// what is too old. Not for deployment: it costs a new slot per authorization.
/// @dev The test tells it of keys and policies itself, so it shares no code with the registries.
contract ReferenceVerifier {
    struct Key {
        address key;
        uint32 activeFrom;
        uint32 activeUntil;
        bool revoked;
    }

    struct Policy {
        uint32 firstEpoch;
        bytes32 hash;
    }

    address public immutable domainAddress;
    uint256 public immutable epochLenBlocks;
    uint256 public immutable ringEpochs;

    mapping(uint32 group => bool) public groupExists;
    mapping(uint32 group => bool) public ringOpen;
    mapping(uint32 group => Key[]) public keys;
    Policy[] public policies;
    mapping(uint32 group => mapping(uint32 epoch => mapping(uint8 index => bool))) public isRecorded;

    /// @param domainAddress_ The verifier in whose domain piles sign.
    constructor(address domainAddress_, uint256 epochLenBlocks_, uint256 ringEpochs_) {
        domainAddress = domainAddress_;
        epochLenBlocks = epochLenBlocks_;
        ringEpochs = ringEpochs_;
    }

    /* WHAT THE REGISTRIES WOULD SAY */

    function createGroup(uint32 group) external {
        groupExists[group] = true;
    }

    function openRing(uint32 group) external {
        ringOpen[group] = true;
    }

    function addKey(uint32 group, address key) external {
        keys[group].push(Key(key, currentEpoch() + 1, type(uint32).max, false));
    }

    function endKey(uint32 group, uint8 index) external {
        keys[group][index].activeUntil = currentEpoch();
    }

    function revokeKey(uint32 group, uint8 index) external {
        keys[group][index].revoked = true;
    }

    function addPolicy(uint32 firstEpoch, bytes32 hash) external {
        policies.push(Policy(firstEpoch, hash));
    }

    /* THE VERIFIER */

    function record(uint32 group, uint32 epoch, bytes calldata records) external returns (uint256) {
        _checkEpoch(epoch);
        _checkRecords(records);
        return _recordGroup(group, epoch, records);
    }

    function recordMany(uint32 epoch, bytes calldata batches) external returns (uint256 recorded) {
        _checkEpoch(epoch);
        if (batches.length == 0) revert IChargingAuthVerifier.MalformedLength(0);
        uint256 offset = 0;
        while (offset < batches.length) {
            if (batches.length < offset + 5) revert IChargingAuthVerifier.MalformedLength(batches.length);
            uint32 group = uint32(bytes4(batches[offset:offset + 4]));
            uint256 count = uint8(batches[offset + 4]);
            offset += 5;
            if (count == 0) revert IChargingAuthVerifier.MalformedLength(batches.length);
            if (batches.length < offset + 98 * count) revert IChargingAuthVerifier.MalformedLength(batches.length);
            recorded += _recordGroup(group, epoch, batches[offset:offset + 98 * count]);
            offset += 98 * count;
        }
    }

    function extend(uint32 group, uint32 epoch, bytes calldata records) external returns (uint256 extended) {
        _checkEpoch(epoch);
        _checkRecords(records);
        _checkGroup(group, epoch);
        for (uint256 i = 0; i < records.length; i += 98) {
            bytes calldata item = records[i:i + 98];
            uint8 index = uint8(item[0]);
            uint8 n = uint8(item[1]);
            bytes32 head = bytes32(item[2:34]);
            uint8 reason;
            if (index >= 224) reason = 5;
            else if (!isRecorded[group][epoch][index]) reason = 6;
            else reason = refusal(group, index, epoch, n, head, item[34:98]);

            if (reason == 0) {
                extended += 1;
                emit IChargingAuthVerifier.HeadExtended(group, positionOf(epoch, index, n), head);
            } else {
                emit IChargingAuthVerifier.RecordSkipped(group, positionOf(epoch, index, n), reason);
            }
        }
    }

    function verifyHead(
        uint32 group,
        uint8 index,
        uint32 epoch,
        uint8 n,
        bytes32 head,
        bytes calldata signature
    ) external view returns (bool) {
        if (!groupExists[group] || signature.length != 64 || index >= 224) return false;
        if (epoch > currentEpoch() || currentEpoch() - epoch >= ringEpochs) return false;
        if (challengeOf(epoch) == 0 || policyAt(epoch) == 0) return false;
        return refusal(group, index, epoch, n, head, signature) == 0;
    }

    function refusal(
        uint32 group,
        uint8 index,
        uint32 epoch,
        uint8 n,
        bytes32 head,
        bytes calldata signature
    ) public view returns (uint8) {
        if (index >= keys[group].length) return 5;
        Key memory key = keys[group][index];
        if (key.revoked) return 3;
        if (epoch < key.activeFrom || epoch > key.activeUntil) return 2;
        bytes32 digest = HeadDigest.digest(
            block.chainid,
            domainAddress,
            HeadDigest.Head(group, index, epoch, challengeOf(epoch), policyAt(epoch), n, head)
        );
        bytes32 r = bytes32(signature[0:32]);
        bytes32 vs = bytes32(signature[32:64]);
        bytes32 s = vs & 0x7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff;
        uint8 v = uint256(vs) >> 255 == 1 ? 28 : 27;
        bool sInLowerHalf = uint256(s) <= 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;
        address signer = ecrecover(digest, v, r, s);
        if (n == 0 || !sInLowerHalf || signer == address(0) || signer != key.key) return 4;
        return 0;
    }

    function policyAt(uint32 epoch) public view returns (bytes32 hash) {
        for (uint256 i = 0; i < policies.length; ++i) {
            if (policies[i].firstEpoch <= epoch) hash = policies[i].hash;
        }
    }

    function challengeOf(uint32 epoch) public view returns (bytes32) {
        return blockhash(uint256(epoch) * epochLenBlocks);
    }

    function currentEpoch() public view returns (uint32) {
        return uint32(block.number / epochLenBlocks);
    }

    function positionOf(uint32 epoch, uint8 index, uint8 n) public pure returns (uint256) {
        return uint256(epoch) * 65_536 + uint256(index) * 256 + n;
    }

    function _recordGroup(uint32 group, uint32 epoch, bytes calldata records) internal returns (uint256 recorded) {
        _checkGroup(group, epoch);
        for (uint256 i = 0; i < records.length; i += 98) {
            bytes calldata item = records[i:i + 98];
            uint8 index = uint8(item[0]);
            uint8 n = uint8(item[1]);
            bytes32 head = bytes32(item[2:34]);
            uint8 reason;
            if (index >= 224) reason = 5;
            else if (isRecorded[group][epoch][index]) reason = 1;
            else reason = refusal(group, index, epoch, n, head, item[34:98]);

            if (reason == 0) {
                recorded += 1;
                isRecorded[group][epoch][index] = true;
                emit IChargingAuthVerifier.HeadRecorded(group, positionOf(epoch, index, n), head);
            } else {
                emit IChargingAuthVerifier.RecordSkipped(group, positionOf(epoch, index, n), reason);
            }
        }
    }

    function _checkEpoch(uint32 epoch) internal view {
        uint32 current = currentEpoch();
        if (epoch > current) revert IChargingAuthVerifier.EpochInFuture(epoch, current);
        if (current - epoch >= ringEpochs) {
            revert IChargingAuthVerifier.EpochOlderThanRing(epoch, uint32(current - ringEpochs + 1));
        }
        if (challengeOf(epoch) == 0) revert IChargingAuthVerifier.ChallengeUnavailable(epoch);
        if (policyAt(epoch) == 0) revert IChargingAuthVerifier.NoPolicy(epoch);
    }

    function _checkRecords(bytes calldata records) private pure {
        if (records.length == 0 || records.length % 98 != 0) {
            revert IChargingAuthVerifier.MalformedLength(records.length);
        }
    }

    function _checkGroup(uint32 group, uint32 epoch) internal view {
        if (!groupExists[group]) revert IChargingAuthVerifier.UnknownGroup(group);
        if (!ringOpen[group]) revert IChargingAuthVerifier.RingNotOpen(group, epoch);
    }
}
