// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

/// @title What piles state, and the chain it stands in (docs/protocol.md §5)
/// @notice Struct hashes of the three statements, and the head of a chain of them.
library StatementChain {
    bytes32 private constant AUTH_TYPEHASH =
        keccak256("Auth(bytes32 deviceId,uint32 epoch,uint8 n,bytes32 ticketHash,bytes32 l)");
    bytes32 private constant CHECKPOINT_TYPEHASH = keccak256(
        "Checkpoint(bytes32 deviceId,uint32 epoch,uint8 n,bytes32 battery,bytes16 segment,uint32 seq,uint64 time,bytes32 fp,uint32 prevSeq,bytes32 prevFp)"
    );
    bytes32 private constant POLICY_ACK_TYPEHASH = keccak256(
        "PolicyAck(bytes32 deviceId,uint32 epoch,uint8 n,uint32 version,bytes32 policyHash,uint32 firstEpoch)"
    );

    /// @notice What a CHECKPOINT says of a battery.
    /// @param battery The battery's identity.
    /// @param segment The charge's sid.
    /// @param seq Number of the newest record covered.
    /// @param time The pile's time of that record, Unix milliseconds.
    /// @param fp SHA3-256 chained fingerprint of that record.
    /// @param prevSeq Seq of the battery's checkpoint before, 0 if none.
    /// @param prevFp Fingerprint of the battery's checkpoint before, 0 if none.
    struct Checkpoint {
        bytes32 battery;
        bytes16 segment;
        uint32 seq;
        uint64 time;
        bytes32 fp;
        uint32 prevSeq;
        bytes32 prevFp;
    }

    /// @notice Struct hash of an Auth.
    function auth(bytes32 deviceId, uint32 epoch, uint8 n, bytes32 ticketHash, bytes32 l)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(AUTH_TYPEHASH, deviceId, epoch, n, ticketHash, l));
    }

    /// @notice Struct hash of a Checkpoint.
    function checkpoint(bytes32 deviceId, uint32 epoch, uint8 n, Checkpoint memory c) internal pure returns (bytes32) {
        // A struct without dynamic members is encoded as its members in order.
        return keccak256(abi.encode(CHECKPOINT_TYPEHASH, deviceId, epoch, n, c));
    }

    /// @notice Struct hash of a PolicyAck.
    function policyAck(bytes32 deviceId, uint32 epoch, uint8 n, uint32 version, bytes32 policyHash, uint32 firstEpoch)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(POLICY_ACK_TYPEHASH, deviceId, epoch, n, version, policyHash, firstEpoch));
    }

    /// @notice The head after a statement and those that followed it.
    /// @param prevHead Head before the statement.
    /// @param later Struct hashes of the statements after it, in order.
    function head(bytes32 prevHead, bytes32 statement, bytes32[] calldata later) internal pure returns (bytes32 last) {
        last = keccak256(abi.encodePacked(prevHead, statement));
        for (uint256 i; i < later.length; ++i) {
            last = keccak256(abi.encodePacked(last, later[i]));
        }
    }
}
