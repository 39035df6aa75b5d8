// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { Vm } from "forge-std/Vm.sol";

/// @notice What the policy signer signs.
library PolicyText {
    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant POLICY_TYPEHASH = keccak256("Policy(uint32 version,uint32 firstEpoch,bytes tariff)");
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    /// @notice EIP-712 digest of a policy in the registry's domain.
    function digest(address registry, uint32 version, uint32 firstEpoch, bytes memory tariff)
        internal
        view
        returns (bytes32)
    {
        bytes32 domain =
            keccak256(abi.encode(DOMAIN_TYPEHASH, keccak256("CIP-22"), keccak256("2"), block.chainid, registry));
        return keccak256(abi.encodePacked(hex"1901", domain, hash(version, firstEpoch, tariff)));
    }

    /// @notice Struct hash, the policyHash of the protocol.
    function hash(uint32 version, uint32 firstEpoch, bytes memory tariff) internal pure returns (bytes32) {
        return keccak256(abi.encode(POLICY_TYPEHASH, version, firstEpoch, keccak256(tariff)));
    }

    /// @notice 64-byte signature of a policy.
    function sign(uint256 key, address registry, uint32 version, uint32 firstEpoch, bytes memory tariff)
        internal
        view
        returns (bytes memory)
    {
        (bytes32 r, bytes32 vs) = vm.signCompact(key, digest(registry, version, firstEpoch, tariff));
        return abi.encodePacked(r, vs);
    }

    /// @notice A tariff for test networks: yuan, UTC+8, 20 kWh or two hours a grant, a cheap night.
    function example() internal pure returns (bytes memory) {
        return abi.encodePacked(
            hex"01",
            "CNY",
            uint16(480),
            uint32(20_000),
            uint16(120),
            uint8(3),
            abi.encodePacked(uint16(0), uint32(300_000), uint32(400_000)),
            abi.encodePacked(uint16(480), uint32(800_000), uint32(500_000)),
            abi.encodePacked(uint16(1_320), uint32(300_000), uint32(400_000))
        );
    }
}
