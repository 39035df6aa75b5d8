// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { Bls12381Reference } from "../reference/Bls12381Reference.sol";
import { DeviceRegistry } from "../src/DeviceRegistry.sol";
import { IDeviceRegistry } from "../src/interfaces/IDeviceRegistry.sol";
import { BlsCaller } from "./Bls12381.t.sol";
import { BlsSigner } from "./BlsSigner.sol";
import { AccessManager } from "@openzeppelin/contracts/access/manager/AccessManager.sol";
import { Test } from "forge-std/Test.sol";

/// @notice The vectors of co-signing, which piles and relayer are checked against too.
contract BlsVectorsTest is Test {
    string private json;
    BlsCaller private caller;

    function setUp() public {
        json = vm.readFile("../tests/vectors/bls.json");
        caller = new BlsCaller();
    }

    function bytesOf(string memory path) private view returns (bytes memory) {
        return vm.parseJsonBytes(json, path);
    }

    function textOf(string memory path) private view returns (string memory) {
        return vm.parseJsonString(json, path);
    }

    function item(string memory list, uint256 i) private pure returns (string memory) {
        return string.concat(".", list, "[", vm.toString(i), "]");
    }

    function has(string memory path) private view returns (bool) {
        return vm.keyExistsJson(json, path);
    }

    /// @dev The equation itself, or its refusal of a point.
    function accepts(bytes memory dst, bytes memory message, bytes memory signature, bytes memory key)
        private
        view
        returns (bool)
    {
        (bool called, bytes memory answer) = address(caller).staticcall{ gas: 1_000_000 }(
            abi.encodeCall(caller.verifyOne, (dst, message, signature, key))
        );
        return called && abi.decode(answer, (bool));
    }

    function rootDigest() private view returns (bytes memory) {
        return bytesOf(".root.digest");
    }

    function test_messages_are_hashed_to_the_points_of_rfc_9380() public view {
        bytes memory dst = bytesOf(".hash_to_curve.dst");
        uint256 count;
        for (; has(item("hash_to_curve.vectors", count)); ++count) {
            string memory path = item("hash_to_curve.vectors", count);
            bytes memory point = caller.hash(dst, bytesOf(string.concat(path, ".message")));
            assertEq(point, Bls12381Reference.pad(bytesOf(string.concat(path, ".point"))));
        }
        assertEq(count, 5);
    }

    function test_every_signers_signature_and_possession_are_accepted() public view {
        address registry = vm.parseJsonAddress(json, ".domain.device_registry");
        uint256 count;
        for (; has(item("signers", count)); ++count) {
            string memory path = item("signers", count);
            bytes memory key = bytesOf(string.concat(path, ".key"));
            assertTrue(accepts(BlsSigner.ROOT_DST, rootDigest(), bytesOf(string.concat(path, ".signature")), key));
            bytes32 digest = BlsSigner.possessionDigest(
                vm.parseJsonUint(json, ".domain.chain_id"),
                registry,
                vm.parseJsonBytes32(json, string.concat(path, ".device_id")),
                key
            );
            assertEq(digest, vm.parseJsonBytes32(json, string.concat(path, ".possession_digest")));
            bytes memory possession = bytesOf(string.concat(path, ".possession"));
            assertTrue(accepts(BlsSigner.POSSESSION_DST, abi.encodePacked(digest), possession, key));
        }
        assertEq(count, 5);
    }

    function test_aggregates_are_accepted_under_the_sum_of_their_signers_keys() public view {
        uint256 count;
        for (; has(item("aggregates", count)); ++count) {
            string memory path = item("aggregates", count);
            uint256[] memory numbers = vm.parseJsonUintArray(json, string.concat(path, ".signers"));
            bytes[] memory keys = new bytes[](numbers.length);
            for (uint256 i; i < numbers.length; ++i) {
                keys[i] = bytesOf(string.concat(item("signers", numbers[i]), ".key"));
            }
            assertEq(BlsSigner.sumOf(keys), bytesOf(string.concat(path, ".key")));
            bytes memory signature = bytesOf(string.concat(path, ".signature"));
            assertTrue(caller.verify(BlsSigner.ROOT_DST, rootDigest(), signature, keys));
        }
        assertGt(count, 0);
    }

    function test_no_invalid_key_is_accepted() public view {
        bytes memory signature = bytesOf(".signers[0].signature");
        uint256 checked;
        for (uint256 i; has(item("invalid_keys", i)); ++i) {
            string memory path = item("invalid_keys", i);
            if (!has(string.concat(path, ".key"))) continue;
            bytes memory key = bytesOf(string.concat(path, ".key"));
            assertFalse(accepts(BlsSigner.ROOT_DST, rootDigest(), signature, key), textOf(string.concat(path, ".why")));
            ++checked;
        }
        assertGt(checked, 15);
    }

    function test_no_invalid_signature_is_accepted() public view {
        bytes memory key = bytesOf(".signers[0].key");
        uint256 checked;
        for (uint256 i; has(item("invalid_signatures", i)); ++i) {
            string memory path = item("invalid_signatures", i);
            if (!has(string.concat(path, ".signature"))) continue;
            bytes memory signature = bytesOf(string.concat(path, ".signature"));
            assertFalse(accepts(BlsSigner.ROOT_DST, rootDigest(), signature, key), textOf(string.concat(path, ".why")));
            ++checked;
        }
        assertGt(checked, 13);
    }

    function test_no_signature_is_accepted_for_what_it_does_not_sign() public view {
        uint256 count;
        for (; has(item("refused_signatures", count)); ++count) {
            string memory path = item("refused_signatures", count);
            bytes memory signature = bytesOf(string.concat(path, ".signature"));
            bytes memory key = bytesOf(string.concat(path, ".key"));
            assertFalse(accepts(BlsSigner.ROOT_DST, rootDigest(), signature, key), textOf(string.concat(path, ".why")));
        }
        assertGt(count, 10);
    }

    function test_no_possession_is_accepted_for_another_devices_registrys_or_chains() public view {
        uint256 chainId = vm.parseJsonUint(json, ".domain.chain_id");
        address registry = vm.parseJsonAddress(json, ".domain.device_registry");
        uint256 count;
        for (; has(item("refused_possessions", count)); ++count) {
            string memory path = item("refused_possessions", count);
            bytes memory key = bytesOf(string.concat(path, ".key"));
            bytes32 deviceId = vm.parseJsonBytes32(json, string.concat(path, ".device_id"));
            bytes32 digest = BlsSigner.possessionDigest(chainId, registry, deviceId, key);
            bytes memory possession = bytesOf(string.concat(path, ".possession"));
            assertFalse(
                accepts(BlsSigner.POSSESSION_DST, abi.encodePacked(digest), possession, key),
                textOf(string.concat(path, ".why"))
            );
        }
        assertEq(count, 8);
    }
}

/// @notice The same through the registry, which stands at the vectors' address.
contract EnrolmentVectorsTest is Test {
    uint32 private constant GROUP = 7;

    string private json;
    DeviceRegistry private devices;

    function setUp() public {
        json = vm.readFile("../tests/vectors/bls.json");
        vm.chainId(vm.parseJsonUint(json, ".domain.chain_id"));
        address manager = makeAddr("manager");
        vm.mockCall(manager, abi.encodeWithSelector(AccessManager.canCall.selector), abi.encode(true, uint32(0)));
        address place = vm.parseJsonAddress(json, ".domain.device_registry");
        deployCodeTo("DeviceRegistry.sol:DeviceRegistry", abi.encode(manager, 5), place);
        devices = DeviceRegistry(place);
        devices.createGroup(GROUP);
        IDeviceRegistry.Registration[] memory items = new IDeviceRegistry.Registration[](5);
        for (uint256 i; i < items.length; ++i) {
            items[i] = IDeviceRegistry.Registration(vm.parseJsonBytes32(json, signer(i, "device_id")), vm.addr(i + 1));
        }
        devices.register(GROUP, items);
    }

    function signer(uint256 i, string memory field) private pure returns (string memory) {
        return string.concat(".signers[", vm.toString(i), "].", field);
    }

    function enrols(bytes32 deviceId, bytes memory key, bytes memory possession) private returns (bool enrolled) {
        IDeviceRegistry.Enrolment[] memory items = new IDeviceRegistry.Enrolment[](1);
        items[0] = IDeviceRegistry.Enrolment(deviceId, key, possession);
        (enrolled,) = address(devices).call{ gas: 3_000_000 }(abi.encodeCall(devices.enrol, (GROUP, items)));
    }

    function test_every_signer_is_enrolled() public {
        for (uint256 i; i < 5; ++i) {
            bytes32 deviceId = vm.parseJsonBytes32(json, signer(i, "device_id"));
            bytes memory key = vm.parseJsonBytes(json, signer(i, "key"));
            assertTrue(enrols(deviceId, key, vm.parseJsonBytes(json, signer(i, "possession"))));
        }
    }

    function test_no_invalid_key_is_enrolled() public {
        bytes32 deviceId = vm.parseJsonBytes32(json, signer(0, "device_id"));
        bytes memory possession = vm.parseJsonBytes(json, signer(0, "possession"));
        for (uint256 i; vm.keyExistsJson(json, string.concat(".invalid_keys[", vm.toString(i), "]")); ++i) {
            string memory path = string.concat(".invalid_keys[", vm.toString(i), "]");
            if (!vm.keyExistsJson(json, string.concat(path, ".key"))) continue;
            bytes memory key = vm.parseJsonBytes(json, string.concat(path, ".key"));
            assertFalse(enrols(deviceId, key, possession), vm.parseJsonString(json, string.concat(path, ".why")));
        }
        assertTrue(enrols(deviceId, vm.parseJsonBytes(json, signer(0, "key")), possession));
    }

    function test_no_refused_possession_enrols() public {
        uint256 count;
        for (; vm.keyExistsJson(json, string.concat(".refused_possessions[", vm.toString(count), "]")); ++count) {
            string memory path = string.concat(".refused_possessions[", vm.toString(count), "]");
            assertFalse(
                enrols(
                    vm.parseJsonBytes32(json, string.concat(path, ".device_id")),
                    vm.parseJsonBytes(json, string.concat(path, ".key")),
                    vm.parseJsonBytes(json, string.concat(path, ".possession"))
                ),
                vm.parseJsonString(json, string.concat(path, ".why"))
            );
        }
        assertEq(count, 8);
    }
}
