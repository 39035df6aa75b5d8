// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { IChargingAuthVerifier } from "../src/interfaces/IChargingAuthVerifier.sol";
import { IDeviceRegistry } from "../src/interfaces/IDeviceRegistry.sol";
import { Environment } from "./Environment.sol";
import { console } from "forge-std/console.sol";

/// @notice Registers the piles of a fleet manifest, creating their groups and opening their rings. The operator's key sends.
/// Piles registered before are left alone, so it can be run again after a failure. Environment: FLEET_FILE.
contract RegisterFleet is Environment {
    /// @dev About 8 M gas a transaction on eSpace in a full group, of 15 M allowed.
    uint256 private constant DEVICES_PER_TX = 100;
    /// @dev About 2.7 M gas on eSpace, which packs at most 3 M a sender and block.
    uint256 private constant RING_WORDS_PER_TX = 64;

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

    function run() external {
        _readFleet(requiredString("FLEET_FILE"));
        vm.startBroadcast();
        for (uint256 i; i < _groups.length; ++i) {
            uint256 group = _groups[i];
            if (_seen[group]) continue;
            _seen[group] = true;
            _group(uint32(group));
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
    }
}
