// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { IChargingAuthVerifier } from "../src/interfaces/IChargingAuthVerifier.sol";
import { Bls12381 } from "../src/libraries/Bls12381.sol";
import { Bls12381Reference } from "./Bls12381Reference.sol";
import { HeadDigest } from "./HeadDigest.sol";
import { ReferenceVerifier } from "./ReferenceVerifier.sol";

/// @title What ChargingAuthVerifier does with roots, to be read and to be tested against
/// @notice Every signer's key is added by itself, and every entry of a ring place is kept. Not for deployment.
contract ReferenceRoots is ReferenceVerifier {
    struct BlsKey {
        bytes key;
        uint32 activeFrom;
        uint32 activeUntil;
    }

    mapping(uint32 group => mapping(uint256 index => BlsKey)) public blsKeys;
    mapping(uint32 group => mapping(uint256 place => bytes32)) public chains;

    constructor(address domainAddress_, uint256 epochLenBlocks_, uint256 ringEpochs_)
        ReferenceVerifier(domainAddress_, epochLenBlocks_, ringEpochs_)
    { }

    function addBlsKey(uint32 group, uint8 index, bytes calldata key) external {
        blsKeys[group][index] = BlsKey(key, currentEpoch() + 1, type(uint32).max);
    }

    function endBlsKey(uint32 group, uint8 index) external {
        blsKeys[group][index].activeUntil = currentEpoch();
    }

    function recordRoot(uint32 epoch, bytes calldata signature, bytes calldata batches)
        external
        returns (uint256 recorded)
    {
        _checkEpoch(epoch);
        if (signature.length != 96) revert Bls12381.BlsMalformedLength(signature.length);
        if (Bls12381Reference.isZero(signature)) revert IChargingAuthVerifier.SignatureAtInfinity();
        bytes32[] memory leaves = new bytes32[](16);
        bytes memory sum = new bytes(256);
        uint256 groups = 0;
        uint256 signersOfAll = 0;
        uint256 offset = 0;
        uint32 last = 0;
        while (offset < batches.length) {
            uint256 size = 65;
            if (batches.length - offset >= 65) size += 98 * uint256(uint8(batches[offset + 64]));
            if (batches.length - offset < size) revert IChargingAuthVerifier.MalformedLength(batches.length);
            bytes calldata part = batches[offset:offset + size];
            uint32 group = uint32(bytes4(part[0:4]));
            if (groups == 16) revert IChargingAuthVerifier.TooManyGroups(16);
            if (groups > 0 && group <= last) revert IChargingAuthVerifier.GroupsOutOfOrder(last, group);
            leaves[groups] = keccak256(bytes.concat(hex"02", part[0:36]));
            groups += 1;
            last = group;
            offset += size;
            uint224 signers = uint224(bytes28(part[36:64]));
            signersOfAll |= signers;
            sum = _sumUp(sum, group, epoch, signers);
            recorded += _setBits(group, epoch, bytes32(part[4:36]), signers);
            if (size > 65) recorded += _recordGroup(group, epoch, part[65:]);
        }
        if (signersOfAll == 0) revert IChargingAuthVerifier.NoSigner();
        if (Bls12381Reference.isZero(sum)) revert IChargingAuthVerifier.KeySumAtInfinity();
        bytes32 root = _root(leaves, groups);
        if (!_isSigned(epoch, root, signature, sum)) revert IChargingAuthVerifier.RootNotSigned(root);
    }

    function _sumUp(bytes memory sum, uint32 group, uint32 epoch, uint224 signers)
        private
        view
        returns (bytes memory)
    {
        _checkGroup(group, epoch);
        uint224 revoked = 0;
        uint224 strangers = 0;
        for (uint256 index = 0; index < 224; ++index) {
            if ((signers >> index) & 1 == 0) continue;
            if (index < keys[group].length && keys[group][index].revoked) revoked |= uint224(1 << index);
            BlsKey memory own = blsKeys[group][index];
            if (own.key.length == 0 || epoch < own.activeFrom || epoch > own.activeUntil) {
                strangers |= uint224(1 << index);
            } else {
                sum = Bls12381Reference.call(0x0d, bytes.concat(sum, Bls12381Reference.pad(own.key)));
            }
        }
        if (revoked != 0) revert IChargingAuthVerifier.RevokedSigners(group, revoked);
        if (strangers != 0) revert IChargingAuthVerifier.SignersWithoutKey(group, strangers);
        return sum;
    }

    function _setBits(uint32 group, uint32 epoch, bytes32 groupRoot, uint224 signers)
        private
        returns (uint256 added)
    {
        for (uint256 index = 0; index < 224; ++index) {
            if ((signers >> index) & 1 == 0 || isRecorded[group][epoch][uint8(index)]) continue;
            isRecorded[group][epoch][uint8(index)] = true;
            added += 1;
        }
        if (added == 0) return 0;
        bytes32 before = chains[group][epoch % ringEpochs];
        if (before == 0) before = bytes32(uint256(type(uint32).max) << 224); // As a ring is opened.
        bytes32 entry = keccak256(bytes.concat(bytes4(epoch), groupRoot, bytes28(signers)));
        chains[group][epoch % ringEpochs] = keccak256(bytes.concat(before, entry));
        emit IChargingAuthVerifier.RootRecorded(group, epoch, groupRoot, signers, before);
    }

    function _root(bytes32[] memory level, uint256 groups) private pure returns (bytes32) {
        uint256 width = 1;
        while (width < groups) {
            width *= 2;
        }
        while (width > 1) {
            for (uint256 i = 0; i < width / 2; ++i) {
                level[i] = keccak256(bytes.concat(hex"01", level[2 * i], level[2 * i + 1]));
            }
            width /= 2;
        }
        return level[0];
    }

    function _isSigned(uint32 epoch, bytes32 root, bytes calldata signature, bytes memory sum)
        private
        view
        returns (bool)
    {
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256("Root(uint32 epoch,bytes32 challenge,bytes32 policyHash,bytes32 root)"),
                epoch,
                challengeOf(epoch),
                policyAt(epoch),
                root
            )
        );
        bytes32 digest =
            keccak256(bytes.concat(hex"1901", HeadDigest.domain(block.chainid, domainAddress), structHash));
        bytes[] memory signers = new bytes[](1);
        signers[0] = Bls12381Reference.unpad(sum);
        return Bls12381Reference.verify(
            "BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_", bytes.concat(digest), signature, signers
        );
    }
}
