// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { IChargingAuthVerifier } from "../src/interfaces/IChargingAuthVerifier.sol";
import { IDeviceRegistry } from "../src/interfaces/IDeviceRegistry.sol";
import { KeyBlob } from "../src/libraries/KeyBlob.sol";
import { Environment } from "./Environment.sol";
import { console } from "forge-std/console.sol";

/// @notice Registers the piles of a fleet manifest, creating their groups and opening their rings, and enrols those that have a BLS
/// key and a proof of its possession (`cip22-fleet possess`), if the chain has EIP-2537. The operator's key sends. What was done
/// before is left alone, so it can be run again: after a failure, and once the possessions are there. Environment: FLEET_FILE.
contract RegisterFleet is Environment {
    /// @dev About 8 M gas a transaction on eSpace in a full group, of 15 M allowed.
    uint256 private constant DEVICES_PER_TX = 100;
    /// @dev About 2.7 M gas on eSpace, which packs at most 3 M a sender and block.
    uint256 private constant RING_WORDS_PER_TX = 64;

    /// @dev A seventh of a chunk of keys: the node's estimate of the call that fills up the chunk is a sixth above its use, and must stay
    /// within the 15 M gas that are allowed; 28 did not.
    uint256 private constant ENROLMENTS_PER_TX = 16;

    /// @notice The fleet file names no pile.
    error EmptyFleet(string path);

    struct Pile {
        address key;
        bytes32 deviceId;
        uint256 group;
    }

    string private constant PILE_TYPE = "Pile(address address,bytes32 device_id,uint256 group)";

    bytes32[] private _ids;
    address[] private _keys;
    uint256[] private _groups;
    mapping(uint256 group => bool) private _seen;
    mapping(uint256 group => IDeviceRegistry.Enrolment[]) private _coSigners;

    function run() external {
        _readFleet(requiredString("FLEET_FILE"));
        bool enrols = _hasBls();
        if (!enrols) console.log("this chain has no EIP-2537: no BLS key is enrolled, lane 1 serves");
        vm.startBroadcast();
        for (uint256 i; i < _groups.length; ++i) {
            uint256 group = _groups[i];
            if (_seen[group]) continue;
            _seen[group] = true;
            _group(uint32(group));
            if (enrols) _enrol(uint32(group));
        }
        vm.stopBroadcast();
    }

    function _group(uint32 group) private {
        IDeviceRegistry devices = deviceRegistry();
        IChargingAuthVerifier verifier = newestVerifier();
        if (devices.groupWord(group) == 0) devices.createGroup(group);

        IDeviceRegistry.Registration[] memory chunk = new IDeviceRegistry.Registration[](DEVICES_PER_TX);
        uint256 held;
        uint256 registered;
        for (uint256 i; i < _ids.length; ++i) {
            if (_groups[i] != group) continue;
            (,, uint8 status,,,) = devices.device(_ids[i]);
            if (status != 0) continue;
            chunk[held++] = IDeviceRegistry.Registration(_ids[i], _keys[i]);
            ++registered;
            if (held == DEVICES_PER_TX) {
                devices.register(group, chunk);
                held = 0;
            }
        }
        if (held != 0) {
            /// @solidity memory-safe-assembly
            assembly {
                mstore(chunk, held)
            }
            devices.register(group, chunk);
        }
        uint256 ring = verifier.ringEpochs();
        for (uint256 opened = verifier.ringOpened(group); opened < ring;) {
            uint256 count = ring - opened < RING_WORDS_PER_TX ? ring - opened : RING_WORDS_PER_TX;
            opened = verifier.openRing(group, uint32(count));
        }
        console.log("group %s: %s devices registered", uint256(group), registered);
    }

    function _enrol(uint32 group) private {
        uint256 enrolled;
        for (uint256 first; first < KeyBlob.INDICES_MAX && _coSigners[group].length != 0; first += ENROLMENTS_PER_TX) {
            IDeviceRegistry.Enrolment[] memory items = _enrolmentsOf(group, first);
            if (items.length == 0) continue;
            deviceRegistry().enrol(group, items);
            enrolled += items.length;
        }
        console.log("group %s: %s devices enrolled", uint256(group), enrolled);
    }

    /// @dev Those of the fleet with the indices from `first` on that have no key yet.
    function _enrolmentsOf(uint32 group, uint256 first)
        private
        view
        returns (IDeviceRegistry.Enrolment[] memory items)
    {
        IDeviceRegistry devices = deviceRegistry();
        items = new IDeviceRegistry.Enrolment[](ENROLMENTS_PER_TX);
        uint256 held;
        for (uint256 i; i < _coSigners[group].length; ++i) {
            if (_isDue(devices, group, first, _coSigners[group][i].deviceId)) items[held++] = _coSigners[group][i];
        }
        /// @solidity memory-safe-assembly
        assembly {
            mstore(items, held)
        }
    }

    function _isDue(IDeviceRegistry devices, uint32 group, uint256 first, bytes32 deviceId)
        private
        view
        returns (bool)
    {
        (uint32 ownGroup, uint8 index, uint8 status,,,) = devices.device(deviceId);
        if (index / ENROLMENTS_PER_TX != first / ENROLMENTS_PER_TX || ownGroup != group || status != 1) return false;
        return keccak256(devices.blsKey(group, index)) == keccak256(new bytes(192));
    }

    /// @dev Asks the node, because what runs here has the precompiles whatever the chain has. 0 + 0 = 0, in G1.
    function _hasBls() private returns (bool) {
        string memory zeros = vm.toString(new bytes(256));
        string memory transaction =
            string.concat('[{"to":"0x000000000000000000000000000000000000000b","data":"', zeros, '"},"latest"]');
        return vm.rpc("eth_call", transaction).length == 128;
    }

    function _readFleet(string memory path) private {
        string memory json = vm.readFile(path);
        if (!vm.keyExistsJson(json, ".piles[0]")) revert EmptyFleet(path);
        // Read by field name, so that fields which other readers need may come and go.
        bytes memory encoded = vm.parseJsonTypeArray(json, ".piles", PILE_TYPE);
        Pile[] memory piles = abi.decode(encoded, (Pile[]));
        for (uint256 i; i < piles.length; ++i) {
            _ids.push(piles[i].deviceId);
            _keys.push(piles[i].key);
            _groups.push(piles[i].group);
        }
        _readCoSigners(json);
    }

    /// @dev Only some piles have these fields, so they are read by a filter, which gives an array of each field, or of one pile the
    /// field alone.
    function _readCoSigners(string memory json) private {
        string memory which = ".piles[?(@.bls_key && @.bls_possession)]";
        if (!vm.keyExistsJson(json, which)) return;
        bytes memory ids = vm.parseJson(json, string.concat(which, ".device_id"));
        bytes memory groups = vm.parseJson(json, string.concat(which, ".group"));
        bytes memory keys = vm.parseJson(json, string.concat(which, ".bls_key"));
        bytes memory possessions = vm.parseJson(json, string.concat(which, ".bls_possession"));
        if (ids.length == 32) {
            _coSigners[abi.decode(
                    groups, (uint256)
                )].push(
                IDeviceRegistry.Enrolment(
                    abi.decode(ids, (bytes32)), abi.decode(keys, (bytes)), abi.decode(possessions, (bytes))
                )
            );
            return;
        }
        bytes32[] memory id = abi.decode(ids, (bytes32[]));
        uint256[] memory group = abi.decode(groups, (uint256[]));
        bytes[] memory key = abi.decode(keys, (bytes[]));
        bytes[] memory possession = abi.decode(possessions, (bytes[]));
        for (uint256 i; i < id.length; ++i) {
            _coSigners[group[i]].push(IDeviceRegistry.Enrolment(id[i], key[i], possession[i]));
        }
    }
}
