// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { IChargingAuthVerifier } from "../src/interfaces/IChargingAuthVerifier.sol";
import { SystemTest } from "./SystemTest.sol";
import { Vm } from "forge-std/Vm.sol";

/// @notice Piles sign, strangers and relayers submit in any order, time passes, keys rotate and are revoked.
contract World is SystemTest {
    struct Identity {
        uint256 key;
        uint256 pile;
        uint32 firstEpoch;
        uint32 lastEpoch;
        bool revoked;
    }

    Identity[] public identities;
    uint256[PILES] public newest;
    bool[PILES] public pileRevoked;
    /// @dev Digests of (index, epoch, n, head) that a pile signed with its own key.
    mapping(bytes32 => bool) public signed;
    mapping(uint256 bit => uint256 times) public recordedTimes;
    uint256 public recorded;
    uint256 public extended;
    uint256 public skipped;
    uint256 public unsignedEvents;
    uint256 public inactiveEvents;
    uint256 public doubleRecords;

    function setUp() public override {
        super.setUp();
        for (uint256 i; i < PILES; ++i) {
            identities.push(Identity(keyOf(GROUP, i), i, current(), type(uint32).max, false));
            newest[i] = i;
        }
    }

    function identityCount() external view returns (uint256) {
        return identities.length;
    }

    /* ACTIONS */

    function passTime(uint8 epochs) external {
        toEpoch(current() + 1 + epochs % 3);
    }

    /// @dev A few records in one call: by the right key, or by another pile's, in any epoch near the present one.
    function submit(uint256 seed, bool extend) external {
        bytes memory records;
        uint32 epoch = current() - uint32(seed % 5);
        for (uint256 i; i < 1 + (seed >> 8) % 4; ++i) {
            uint256 draw = uint256(keccak256(abi.encode(seed, i)));
            uint8 index = uint8((draw >> 8) % identities.length);
            uint8 n = uint8(1 + (draw >> 16) % 3);
            uint256 key = identities[index].key;
            if (draw % 5 == 0) key = identities[(draw >> 24) % identities.length].key;
            if (key == identities[index].key) signed[keccak256(abi.encode(index, epoch, n, headOf(index, n)))] = true;
            records = bytes.concat(records, recordBy(key, GROUP, index, epoch, n));
        }
        vm.recordLogs();
        if (extend) verifier.extend(GROUP, epoch, records);
        else verifier.record(GROUP, epoch, records);
        _observe(vm.getRecordedLogs());
    }

    function rotatePile(uint256 pile) external {
        pile = pile % PILES;
        if (pileRevoked[pile] || identities.length >= 26) return;
        uint256 key = uint256(keccak256(abi.encode("rotated", identities.length))) >> 8;
        rotate(deviceId(GROUP, pile), key);
        identities[newest[pile]].lastEpoch = current();
        newest[pile] = identities.length;
        identities.push(Identity(key, pile, current() + 1, type(uint32).max, false));
    }

    function revokePile(uint256 pile) external {
        pile = pile % (PILES / 2);
        if (pileRevoked[pile]) return;
        revoke(deviceId(GROUP, pile));
        pileRevoked[pile] = true;
        for (uint256 i; i < identities.length; ++i) {
            if (identities[i].pile == pile) identities[i].revoked = true;
        }
    }

    /* WHAT THE CHAIN SAYS */

    function _observe(Vm.Log[] memory logs) private {
        for (uint256 i; i < logs.length; ++i) {
            uint256 place = uint256(logs[i].topics[2]);
            uint8 index = uint8(place >> 8);
            uint32 epoch = uint32(place >> 16);
            if (logs[i].topics[0] == IChargingAuthVerifier.RecordSkipped.selector) {
                ++skipped;
                continue;
            }
            bytes32 head = abi.decode(logs[i].data, (bytes32));
            if (!signed[keccak256(abi.encode(index, epoch, uint8(place), head))]) ++unsignedEvents;
            Identity memory who = identities[index];
            if (who.revoked || epoch < who.firstEpoch || epoch > who.lastEpoch) ++inactiveEvents;
            if (logs[i].topics[0] == IChargingAuthVerifier.HeadRecorded.selector) {
                ++recorded;
                if (++recordedTimes[place >> 8] > 1) ++doubleRecords;
            } else {
                ++extended;
            }
        }
    }

    /// @dev Whether the pile behind the index can still bring a head of the epoch on chain. Leaves no trace.
    function canBring(uint8 index, uint32 epoch) external returns (bool) {
        uint256 before = vm.snapshotState();
        bytes memory records = recordBy(identities[index].key, GROUP, index, epoch, 200);
        bool done = verifier.record(GROUP, epoch, records) == 1 || verifier.extend(GROUP, epoch, records) == 1;
        vm.revertToState(before);
        return done;
    }

    function currentEpoch() external view returns (uint32) {
        return current();
    }
}

/// @notice Invariants 1 to 3 of the architecture, as far as lane 1 goes.
contract InvariantsTest is SystemTest {
    World private world;

    function setUp() public override {
        world = new World();
        world.setUp();
        targetContract(address(world));
        bytes4[] memory actions = new bytes4[](4);
        actions[0] = World.submit.selector;
        actions[1] = World.passTime.selector;
        actions[2] = World.rotatePile.selector;
        actions[3] = World.revokePile.selector;
        targetSelector(FuzzSelector(address(world), actions));
    }

    function invariant_1_a_head_counts_only_if_the_piles_active_key_signed_it() public view {
        assertEq(world.unsignedEvents(), 0);
        assertEq(world.inactiveEvents(), 0);
    }

    function invariant_2_a_pile_is_recorded_once_an_epoch() public view {
        assertEq(world.doubleRecords(), 0);
    }

    function invariant_3_nobody_makes_anothers_record_in_the_window_unrecordable() public {
        uint32 current_ = world.currentEpoch();
        for (uint8 index; index < world.identityCount(); ++index) {
            (,, uint32 first, uint32 last, bool revoked) = world.identities(index);
            for (uint32 back; back < 3; ++back) {
                uint32 epoch = current_ - back;
                if (revoked || epoch < first || epoch > last) continue;
                assertTrue(world.canBring(index, epoch));
            }
        }
    }

    function test_the_world_records_extends_and_skips() public {
        for (uint256 i; i < 40; ++i) {
            world.submit(uint256(keccak256(abi.encode(i))), i % 3 == 2);
            if (i % 4 == 3) world.passTime(1);
            if (i % 10 == 9) world.rotatePile(i);
        }
        assertGt(world.recorded(), 10);
        assertGt(world.extended(), 2);
        assertGt(world.skipped(), 10);
    }
}
