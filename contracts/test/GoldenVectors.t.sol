// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { HeadDigest } from "../reference/HeadDigest.sol";
import { PolicyText } from "../script/PolicyText.sol";
import { ChargingAuthVerifier } from "../src/ChargingAuthVerifier.sol";
import { IDeviceRegistry } from "../src/interfaces/IDeviceRegistry.sol";
import { CompactSignature } from "../src/libraries/CompactSignature.sol";
import { Tariff } from "../src/libraries/Tariff.sol";
import { SystemTest } from "./SystemTest.sol";

/// @notice The vectors every implementation of the protocol is checked against.
contract GoldenVectorsTest is SystemTest {
    string private json;
    address private domainAddress;

    function setUp() public override {
        super.setUp();
        json = vm.readFile("../tests/vectors/digests.json");
        vm.chainId(uintOf(".domain.chain_id"));
        domainAddress = vm.parseJsonAddress(json, ".domain.verifying_contract");
    }

    function uintOf(string memory path) private view returns (uint256) {
        return vm.parseJsonUint(json, path);
    }

    function wordOf(string memory path) private view returns (bytes32) {
        return vm.parseJsonBytes32(json, path);
    }

    function bytesOf(string memory path) private view returns (bytes memory) {
        return vm.parseJsonBytes(json, path);
    }

    function head() private view returns (HeadDigest.Head memory) {
        return HeadDigest.Head(
            uint32(uintOf(".head.group")),
            uint8(uintOf(".head.index")),
            uint32(uintOf(".head.epoch")),
            wordOf(".head.challenge"),
            wordOf(".head.policy_hash"),
            uint8(uintOf(".head.n")),
            wordOf(".head.head")
        );
    }

    function signer(bytes32 digest, bytes calldata signature) external pure returns (address) {
        return CompactSignature.recover(digest, signature);
    }

    function checkTariff(bytes calldata tariff) external pure {
        Tariff.check(tariff);
    }

    function test_domain_separators() public view {
        assertEq(HeadDigest.domain(block.chainid, domainAddress), wordOf(".domain.separator"));
        assertEq(
            HeadDigest.domain(block.chainid, vm.parseJsonAddress(json, ".domain.policy_registry")),
            wordOf(".domain.policy_registry_separator")
        );
    }

    function test_head_digest_and_signer() public view {
        assertEq(HeadDigest.structHash(head()), wordOf(".head.struct_hash"));
        assertEq(HeadDigest.digest(block.chainid, domainAddress, head()), wordOf(".head.digest"));
        address device = vm.parseJsonAddress(json, ".device.address");
        assertEq(this.signer(wordOf(".head.digest"), bytesOf(".head.signature")), device);
    }

    function test_policy_hash_digest_and_signer() public view {
        address registry = vm.parseJsonAddress(json, ".domain.policy_registry");
        uint32 version = uint32(uintOf(".policy.version"));
        uint32 firstEpoch = uint32(uintOf(".policy.first_epoch"));
        bytes memory tariff = bytesOf(".policy.tariff");
        this.checkTariff(tariff);
        assertEq(PolicyText.hash(version, firstEpoch, tariff), wordOf(".policy.struct_hash"));
        bytes32 digest = PolicyText.digest(registry, version, firstEpoch, tariff);
        assertEq(digest, wordOf(".policy.digest"));
        address governance = vm.parseJsonAddress(json, ".governance.address");
        assertEq(this.signer(digest, bytesOf(".policy.signature")), governance);
    }

    function test_the_statement_chain_leads_to_each_head() public view {
        bytes32 last;
        for (uint256 i; vm.keyExistsJson(json, string.concat(".statements[", vm.toString(i), "]")); ++i) {
            string memory path = string.concat(".statements[", vm.toString(i), "]");
            assertEq(wordOf(string.concat(path, ".prev_head")), last);
            last = keccak256(abi.encodePacked(last, wordOf(string.concat(path, ".stmt"))));
            assertEq(wordOf(string.concat(path, ".head")), last);
        }
        assertEq(last, head().head);
    }

    function test_every_valid_tariff_is_canonical_here_too() public view {
        string memory tariffs = vm.readFile("../tests/vectors/tariff.json");
        uint256 count;
        for (; vm.keyExistsJson(tariffs, string.concat(".valid[", vm.toString(count), "]")); ++count) {
            this.checkTariff(vm.parseJsonBytes(tariffs, string.concat(".valid[", vm.toString(count), "].bytes")));
        }
        assertGt(count, 0);
    }

    /// @dev The vector's record, byte for byte, through the real contract, set up at the vector's address.
    function test_the_vectors_record_is_recorded() public {
        uint32 epoch = head().epoch;
        uint8 index = head().index;
        vm.roll(uint256(epoch - 1) * EPOCH_LEN + 1);
        addGroup(70, 1); // Another group, so that group numbers matter.
        _fill(index);
        deployCodeTo(
            "ChargingAuthVerifier.sol:ChargingAuthVerifier",
            abi.encode(manager, devices, policies, EPOCH_LEN, RING, 256),
            domainAddress
        );
        ChargingAuthVerifier target = ChargingAuthVerifier(domainAddress);
        govern(address(devices), abi.encodeCall(IDeviceRegistry.attach, (target)));
        devices.sync(GROUP);
        target.openRing(GROUP, uint32(RING));
        toEpoch(epoch);
        vm.setBlockhash(uint256(epoch) * EPOCH_LEN, head().challenge);
        vm.prank(address(policies));
        target.pushPolicies((1 << 192) | (uint256(epoch) << 160), 1, head().policyHash);

        bytes memory record = bytesOf(".head.record");
        assertEq(record, abi.encodePacked(index, head().n, head().head, bytesOf(".head.signature")));
        assertEq(target.record(GROUP, epoch, record), 1);
        assertTrue(target.verifyHead(GROUP, index, epoch, head().n, head().head, bytesOf(".head.signature")));
    }

    /// @dev Registers piles up to the vector's index, which gets the vector's device.
    function _fill(uint8 index) private {
        assertEq(head().group, GROUP);
        addPiles(GROUP, PILES, index - PILES);
        IDeviceRegistry.Registration[] memory items = new IDeviceRegistry.Registration[](1);
        items[0] = IDeviceRegistry.Registration(
            wordOf(".challenge_req.device_id"), vm.parseJsonAddress(json, ".device.address")
        );
        vm.prank(OPERATOR);
        devices.register(GROUP, items);
    }
}
