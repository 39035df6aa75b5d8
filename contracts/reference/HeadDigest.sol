// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

/// @title The digest of a Head, word for word as docs/protocol.md §5 has it
library HeadDigest {
    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant HEAD_TYPEHASH = keccak256(
        "Head(uint32 group,uint8 index,uint32 epoch,bytes32 challenge,bytes32 policyHash,uint8 n,bytes32 head)"
    );

    struct Head {
        uint32 group;
        uint8 index;
        uint32 epoch;
        bytes32 challenge;
        bytes32 policyHash;
        uint8 n;
        bytes32 head;
    }

    function digest(uint256 chainId, address verifier, Head memory head) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", domain(chainId, verifier), structHash(head)));
    }

    function domain(uint256 chainId, address verifyingContract) internal pure returns (bytes32) {
        return
            keccak256(
                abi.encode(DOMAIN_TYPEHASH, keccak256("CIP-22"), keccak256("2"), chainId, verifyingContract)
            );
    }

    function structHash(Head memory head) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                HEAD_TYPEHASH,
                head.group,
                head.index,
                head.epoch,
                head.challenge,
                head.policyHash,
                head.n,
                head.head
            )
        );
    }
}
