// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { PolicyText } from "../script/PolicyText.sol";
import { IBatteryLedger } from "../src/interfaces/IBatteryLedger.sol";
import { IChargingAuthVerifier } from "../src/interfaces/IChargingAuthVerifier.sol";
import { IDeviceRegistry } from "../src/interfaces/IDeviceRegistry.sol";
import { BatchTest } from "./BatchTest.sol";
import { BlsSigner } from "./BlsSigner.sol";
import { SystemTest } from "./SystemTest.sol";
import { Vm } from "forge-std/Vm.sol";

/// @notice Piles sign, strangers and relayers submit in any order, time passes, keys rotate and are revoked.
contract World is BatchTest {
    bytes32 private constant CHECKPOINT = keccak256(
        "Checkpoint(bytes32 deviceId,uint32 epoch,uint8 n,bytes32 battery,bytes16 segment,uint32 seq,uint64 time,bytes32 fp,uint32 prevSeq,bytes32 prevFp)"
    );

    struct Identity {
        uint256 key;
        uint256 pile;
        uint32 firstEpoch;
        uint32 lastEpoch;
        bool revoked;
        /// First epoch of its BLS key, 0 while it has none.
        uint32 enrolledFrom;
    }

    /// @dev How a recorded root is opened for one of its signers.
    struct Opening {
        uint32 epoch;
        uint8 index;
        bytes opening;
    }

    Identity[] public identities;
    Opening[] private openings;
    uint256 public roots;
    uint256 public rootsRefused;
    uint256 public falseRoots;
    uint256[PILES] public newest;
    bool[PILES] public pileRevoked;
    /// @dev Digests of (index, epoch, n, head) that a pile signed with its own key.
    mapping(bytes32 => bool) public signedHeads;
    mapping(uint256 bit => uint256 times) public recordedTimes;
    uint256 public recorded;
    uint256 public extended;
    uint256 public skipped;
    uint256 public unsignedEvents;
    uint256 public inactiveEvents;
    uint256 public doubleRecords;
    /// @dev Policy that an epoch had when it was first seen begun.
    mapping(uint32 epoch => bytes32) public policyOf;
    uint256 public changedPolicies;
    /// @dev What the total of an epoch was, hashed, when the epoch was first seen begun.
    mapping(uint32 epoch => bytes32) public totalOf;
    uint256 public changedTotals;
    uint256 public enrolled;
    uint32 private firstObserved;
    uint32 public ledgerSeq;
    uint256 public ledgerMoves;
    uint256 public ledgerForks;

    function setUp() public override {
        super.setUp();
        for (uint256 i; i < PILES; ++i) {
            identities.push(Identity(keyOf(GROUP, i), i, current(), type(uint32).max, false, 0));
            newest[i] = i;
        }
        firstObserved = current();
        _observeTotals();
    }

    function identityCount() external view returns (uint256) {
        return identities.length;
    }

    /* ACTIONS */

    function passTime(uint8 epochs) external {
        toEpoch(current() + 1 + epochs % 3);
        _observePolicies();
        _observeTotals();
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
            if (key == identities[index].key) {
                signedHeads[keccak256(abi.encode(index, epoch, n, headOf(index, n)))] = true;
            }
            records = bytes.concat(records, recordBy(key, GROUP, index, epoch, n));
        }
        vm.recordLogs();
        if (extend) verifier.extend(GROUP, epoch, records);
        else verifier.record(GROUP, epoch, records);
        _observe(vm.getRecordedLogs());
    }

    /// @dev A root signed by some of the piles that may sign in the epoch, and a record beside it; or one that claims more or other
    /// signers than it has, or was signed in another epoch.
    function submitRoot(uint256 seed) external {
        uint32 epoch = current() - uint32(seed % 4);
        uint224 able = _ableToSign(epoch);
        uint224 signers = able & uint224(seed >> 16);
        if (able == 0) return;
        if (signers == 0) signers = able;
        Part memory part = partOf(GROUP, able, signers);
        uint256 fault = (seed >> 8) % 8;
        bytes memory signature = signed(fault == 1 ? epoch - 1 : epoch, one(part));
        if (fault == 2) part.signers = able;
        if (fault == 3) part.signers = signers & (signers - 1);
        if (fault == 4) part.signers = signers | uint224(1 << ((seed >> 32) % 30));
        if (fault == 5) part.nodes[1] = keccak256("another root");
        bool honest = fault != 1 && fault != 5 && part.signers == signers;

        uint8 index = uint8((seed >> 40) % identities.length);
        part.records = recordBy(identities[index].key, GROUP, index, epoch, 1);
        signedHeads[keccak256(abi.encode(index, epoch, uint8(1), headOf(index, 1)))] = true;
        uint224 before = bitsOf(GROUP, epoch);
        bytes32 chain = verifier.rootChain(GROUP, epoch);
        vm.recordLogs();
        try verifier.recordRoot(epoch, signature, batchOf(part)) {
            if (!honest) ++falseRoots;
        } catch {
            if (honest) ++rootsRefused;
            return;
        }
        _observe(vm.getRecordedLogs());
        if (signers & ~before == 0) return;
        ++roots;
        _noteRoot(part, epoch, before, chain);
    }

    function rotatePile(uint256 pile) external {
        pile = pile % PILES;
        if (pileRevoked[pile] || identities.length >= 26) return;
        uint256 key = uint256(keccak256(abi.encode("rotated", identities.length))) >> 8;
        rotate(deviceId(GROUP, pile), key);
        identities[newest[pile]].lastEpoch = current();
        newest[pile] = identities.length;
        identities.push(Identity(key, pile, current() + 1, type(uint32).max, false, 0));
        _observeTotals();
    }

    /// @dev Gives a pile's newest index its BLS key; now and then two piles' in one call.
    function enrolPile(uint256 pile) external {
        uint256 count = 1 + (pile >> 8) % 2;
        IDeviceRegistry.Enrolment[] memory items = new IDeviceRegistry.Enrolment[](count);
        uint256 held;
        for (uint256 i; i < count; ++i) {
            uint256 one = (pile % PILES + i) % PILES;
            Identity storage who = identities[newest[one]];
            if (pileRevoked[one] || who.enrolledFrom != 0) continue;
            who.enrolledFrom = current() + 1;
            items[held++] = enrolment(deviceId(GROUP, one), blsSecretOf(GROUP, newest[one]));
        }
        if (held == 0) return;
        /// @solidity memory-safe-assembly
        assembly {
            mstore(items, held)
        }
        enrol(GROUP, items);
        enrolled += held;
        _observeTotals();
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

    /// @dev The next tariff, a few epochs ahead.
    function schedulePolicy(uint8 ahead) external {
        uint32 version = policies.newestVersion() + 1;
        (uint32 newest_,) = policies.policy(version - 1);
        uint32 first = current() + MIN_LEAD;
        if (first <= newest_) first = newest_ + 1;
        schedule(version, first + ahead % 3, PolicyText.example());
        _observePolicies();
    }

    /// @dev A checkpoint that follows the newest one, or forks off before it, by any pile.
    function advanceBattery(uint256 seed) external {
        IBatteryLedger.Advance[] memory items = new IBatteryLedger.Advance[](1);
        IBatteryLedger.Advance memory a = items[0];
        a.index = uint8(seed % identities.length);
        a.group = GROUP;
        a.deviceId = deviceId(GROUP, identities[a.index].pile);
        a.epoch = current();
        a.n = 1;
        a.battery = "battery";
        a.prevSeq = ledgerSeq;
        if ((seed >> 8) % 4 == 0) a.prevSeq = uint32((seed >> 16) % (uint256(ledgerSeq) + 1));
        a.prevFp = a.prevSeq == 0 ? bytes32(0) : keccak256(abi.encode(a.prevSeq));
        a.seq = a.prevSeq + uint32((seed >> 24) % 4);
        a.fp = keccak256(abi.encode(a.seq));
        bytes32 statement = keccak256(
            abi.encode(
                CHECKPOINT, a.deviceId, a.epoch, a.n, a.battery, a.segment, a.seq, a.time, a.fp, a.prevSeq, a.prevFp
            )
        );
        bytes32 head = keccak256(bytes.concat(a.prevHead, statement));
        a.signature = signHead(identities[a.index].key, headIn(GROUP, a.index, a.epoch, 1, head));
        if (ledger.advance(items) == 0) return;
        ++ledgerMoves;
        if (a.prevSeq != ledgerSeq || a.seq <= ledgerSeq) ++ledgerForks;
        ledgerSeq = a.seq;
    }

    /* WHAT THE CHAIN SAYS */

    /// @dev Indices whose BLS key counts in the epoch and that are not revoked.
    function _ableToSign(uint32 epoch) private view returns (uint224 able) {
        for (uint256 i; i < identities.length; ++i) {
            Identity storage who = identities[i];
            if (who.revoked || who.enrolledFrom == 0 || epoch < who.enrolledFrom || epoch > who.lastEpoch) continue;
            able |= uint224(1 << i);
        }
    }

    /// @dev Counts the bits that a root set, and keeps an opening of it; those of the roots before it get longer.
    function _noteRoot(Part memory part, uint32 epoch, uint224 before, bytes32 chain) private {
        for (uint256 i; i < openings.length; ++i) {
            if (openings[i].epoch % RING != epoch % RING) continue;
            openings[i].opening = bytes.concat(openings[i].opening, entryOf(part, epoch));
        }
        uint8 signer;
        for (uint8 i; i < identities.length; ++i) {
            if ((part.signers >> i) & 1 == 0) continue;
            signer = i;
            if ((before >> i) & 1 == 0 && ++recordedTimes[(uint256(epoch) << 8) | i] > 1) ++doubleRecords;
        }
        openings.push(Opening(epoch, signer, openingOf(part, signer, chain)));
    }

    function openingCount() external view returns (uint256) {
        return openings.length;
    }

    function canOpen(uint256 i) external view returns (bool) {
        Opening storage o = openings[i];
        return verifier.openHead(GROUP, o.index, o.epoch, 1, headOf(o.index, 1), o.opening);
    }

    /// @dev Notes the policies of the epochs near the present one, and counts those that are not what they were.
    function _observePolicies() private {
        for (uint32 epoch = current() - 4; epoch <= current(); ++epoch) {
            bytes32 policyHash = verifier.policyAt(epoch);
            if (policyOf[epoch] == 0) policyOf[epoch] = policyHash;
            if (policyOf[epoch] != policyHash || policies.policyAt(epoch) != policyHash) ++changedPolicies;
        }
    }

    /// @dev Notes the totals of the epochs of the window that were not seen before, and counts those that are not what they were.
    function _observeTotals() private {
        uint32 from = firstObserved;
        if (current() >= RING && current() - uint32(RING) + 1 > from) from = current() - uint32(RING) + 1;
        for (uint32 epoch = from; epoch <= current(); ++epoch) {
            (uint224 members, bytes memory sum) = devices.blsTotal(GROUP, epoch);
            bytes32 total = keccak256(abi.encode(members, sum));
            if (totalOf[epoch] == 0) totalOf[epoch] = total;
            if (totalOf[epoch] != total) ++changedTotals;
        }
    }

    /// @dev The total that the keys of an epoch must have. The sum of the keys is the key of the sum of their secrets.
    function expectedTotal(uint32 epoch) external view returns (uint224 members, bytes memory sum) {
        uint256 secret;
        for (uint256 i; i < identities.length; ++i) {
            Identity storage who = identities[i];
            if (who.enrolledFrom == 0 || epoch < who.enrolledFrom || epoch > who.lastEpoch) continue;
            members |= uint224(1 << i);
            secret = addmod(secret, blsSecretOf(GROUP, i), BlsSigner.R);
        }
        return (members, BlsSigner.keyOf(secret));
    }

    function actualTotal(uint32 epoch) external view returns (uint224 members, bytes memory sum) {
        return devices.blsTotal(GROUP, epoch);
    }

    function oldestObserved() external view returns (uint32) {
        return current() - firstObserved < RING ? firstObserved : current() - uint32(RING) + 1;
    }

    function verifierKnows() external view returns (bool) {
        return
            verifier.blsWord(GROUP) == devices.blsWord(GROUP) && verifier.groupWord(GROUP) == devices.groupWord(GROUP);
    }

    function _observe(Vm.Log[] memory logs) private {
        for (uint256 i; i < logs.length; ++i) {
            uint256 place = uint256(logs[i].topics[2]);
            uint8 index = uint8(place >> 8);
            uint32 epoch = uint32(place >> 16);
            if (logs[i].topics[0] == IChargingAuthVerifier.RecordSkipped.selector) {
                ++skipped;
                continue;
            }
            // Counted where it was sent: its topics are others.
            if (logs[i].topics[0] == IChargingAuthVerifier.RootRecorded.selector) continue;
            bytes32 head = abi.decode(logs[i].data, (bytes32));
            if (!signedHeads[keccak256(abi.encode(index, epoch, uint8(place), head))]) ++unsignedEvents;
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

    /// @dev Brings a head of the pile behind the index on chain; whether that went. Its event is not observed: forge forgets what
    /// happens after a run's last call.
    function canBring(uint8 index, uint32 epoch) external returns (bool) {
        bytes memory records = recordBy(identities[index].key, GROUP, index, epoch, 200);
        return verifier.record(GROUP, epoch, records) == 1 || verifier.extend(GROUP, epoch, records) == 1;
    }

    function policyCount() external view returns (uint32) {
        return policies.newestVersion();
    }

    function currentEpoch() external view returns (uint32) {
        return current();
    }
}

/// @notice Invariants 1 to 3 of the architecture, and what the tariffs and the battery history rest on. Of the others, 4 speaks of
/// claims, which do not exist yet, and 5 of what piles and relayers keep.
/// @dev One campaign for all of them: 10,000 runs of 32 calls take minutes then. The costly one, 3, is asked of one pile after each
/// call and of every pile and epoch at the end of a run.
contract InvariantsTest is SystemTest {
    World private world;

    function setUp() public override {
        world = new World();
        world.setUp();
        targetContract(address(world));
        bytes4[] memory actions = new bytes4[](11);
        // Submissions and time three and two times, so that there is something to hold the rest against.
        actions[0] = actions[1] = actions[2] = World.submit.selector;
        actions[3] = World.passTime.selector;
        actions[4] = World.rotatePile.selector;
        actions[5] = World.revokePile.selector;
        actions[6] = World.schedulePolicy.selector;
        actions[7] = World.advanceBattery.selector;
        actions[8] = World.enrolPile.selector;
        actions[9] = actions[10] = World.submitRoot.selector;
        targetSelector(FuzzSelector(address(world), actions));
    }

    function invariant_the_chain_keeps_its_word_after_every_call() public {
        invariant_1_a_head_counts_only_if_the_piles_active_key_signed_it();
        invariant_2_a_pile_is_recorded_once_an_epoch();
        invariant_3_nobody_makes_anothers_record_in_the_window_unrecordable();
        invariant_battery_history_is_extended_and_never_rewritten();
        invariant_the_policy_of_an_epoch_that_has_begun_never_changes();
        invariant_totals_are_the_sum_of_the_epochs_keys_and_never_change_once_begun();
    }

    function afterInvariant() public {
        for (uint8 index; index < world.identityCount(); ++index) {
            for (uint32 back; back < 3; ++back) {
                _bring(index, back);
            }
        }
        for (uint256 i; i < world.openingCount(); ++i) {
            assertTrue(world.canOpen(i));
        }
        for (uint32 epoch = world.oldestObserved(); epoch <= world.currentEpoch() + 1; ++epoch) {
            _sum(epoch);
        }
    }

    function invariant_1_a_head_counts_only_if_the_piles_active_key_signed_it() private view {
        assertEq(world.unsignedEvents(), 0);
        assertEq(world.inactiveEvents(), 0);
        assertEq(world.falseRoots(), 0);
    }

    function invariant_2_a_pile_is_recorded_once_an_epoch() private view {
        assertEq(world.doubleRecords(), 0);
    }

    function invariant_3_nobody_makes_anothers_record_in_the_window_unrecordable() private {
        uint256 draw =
            uint256(keccak256(abi.encode(world.recorded(), world.skipped(), world.ledgerSeq(), block.number)));
        _bring(uint8(draw % world.identityCount()), uint32((draw >> 8) % 3));
        assertEq(world.rootsRefused(), 0);
        uint256 count = world.openingCount();
        if (count > 0) assertTrue(world.canOpen((draw >> 16) % count));
    }

    function invariant_battery_history_is_extended_and_never_rewritten() private view {
        assertEq(world.ledgerForks(), 0);
    }

    function invariant_the_policy_of_an_epoch_that_has_begun_never_changes() private view {
        assertEq(world.changedPolicies(), 0);
    }

    function invariant_totals_are_the_sum_of_the_epochs_keys_and_never_change_once_begun() private view {
        assertEq(world.changedTotals(), 0);
        assertTrue(world.verifierKnows());
        uint256 draw = uint256(keccak256(abi.encode(world.enrolled(), world.recorded(), block.number)));
        uint32 oldest = world.oldestObserved();
        uint32 next = world.currentEpoch() + 1;
        _sum(draw % 2 == 0 ? next : oldest + uint32((draw >> 8) % (next - oldest)));
    }

    function _sum(uint32 epoch) private view {
        (uint224 members, bytes memory sum) = world.actualTotal(epoch);
        (uint224 expectedMembers, bytes memory expectedSum) = world.expectedTotal(epoch);
        assertEq(members, expectedMembers);
        assertEq(sum, expectedSum);
    }

    function _bring(uint8 index, uint32 back) private {
        (,, uint32 first, uint32 last, bool revoked,) = world.identities(index);
        uint32 epoch = world.currentEpoch() - back;
        if (revoked || epoch < first || epoch > last) return;
        assertTrue(world.canBring(index, epoch));
    }

    function test_the_world_records_extends_skips_advances_and_schedules() public {
        for (uint256 i; i < 40; ++i) {
            world.submit(uint256(keccak256(abi.encode(i))), i % 3 == 2);
            if (i % 4 == 3) world.passTime(1);
            if (i % 5 == 3) world.enrolPile(i * 257);
            if (i % 10 == 9) world.rotatePile(i);
            for (uint256 j; i > 10 && j < 4; ++j) {
                world.submitRoot(uint256(keccak256(abi.encode("root", i, j))));
            }
            if (i % 8 == 7) world.schedulePolicy(uint8(i));
            world.advanceBattery(uint256(keccak256(abi.encode("battery", i))));
        }
        assertGt(world.recorded(), 10);
        assertGt(world.extended(), 2);
        assertGt(world.skipped(), 10);
        assertGt(world.ledgerMoves(), 10);
        assertLt(world.ledgerMoves(), 40, "forks were tried");
        assertGt(world.policyCount(), 4);
        assertEq(world.changedPolicies(), 0);
        assertGt(world.enrolled(), 5);
        assertGt(world.roots(), 10);
        assertEq(world.falseRoots() + world.rootsRefused(), 0);
        for (uint256 i; i < world.openingCount(); ++i) {
            assertTrue(world.canOpen(i));
        }
        (uint224 members,) = world.actualTotal(world.currentEpoch() + 1);
        assertNotEq(members, 0);
        (uint224 before,) = world.actualTotal(world.oldestObserved());
        assertNotEq(members, before, "totals changed on the way");
        assertEq(world.changedTotals(), 0);
    }
}
