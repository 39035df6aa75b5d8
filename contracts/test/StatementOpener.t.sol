// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { ChargingAuthVerifier } from "../src/ChargingAuthVerifier.sol";
import { IStatementOpener } from "../src/interfaces/IStatementOpener.sol";
import { StatementChain } from "../src/libraries/StatementChain.sol";
import { BatchTest } from "./BatchTest.sol";

/// @notice Statements shown by a pile's signature or by the opening of a root.
contract StatementOpenerTest is BatchTest {
    bytes32 private constant TICKET = keccak256("ticket");
    bytes32 private constant L = keccak256("l");

    IStatementOpener.Place private place;

    function setUp() public override {
        super.setUp();
        enrolPiles(GROUP, 0, PILES);
        toEpoch(current() + 2);
        place.deviceId = deviceId(GROUP, 3);
        place.group = GROUP;
        place.index = 3;
        place.epoch = current();
        place.n = 2;
        place.prevHead = keccak256("the statement before");
    }

    function authHash() private view returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256("Auth(bytes32 deviceId,uint32 epoch,uint8 n,bytes32 ticketHash,bytes32 l)"),
                place.deviceId,
                place.epoch,
                place.n,
                TICKET,
                L
            )
        );
    }

    function headAfter(bytes32 statement) private view returns (bytes32 head) {
        head = keccak256(bytes.concat(place.prevHead, statement));
        for (uint256 i; i < place.later.length; ++i) {
            head = keccak256(bytes.concat(head, place.later[i]));
        }
    }

    function signatureOf(bytes32 statement) private view returns (bytes memory) {
        uint8 n = uint8(place.n + place.later.length);
        return signHead(keyOf(GROUP, 3), headIn(place.group, place.index, place.epoch, n, headAfter(statement)));
    }

    /// @dev Records a root with the head of pile 3, signed by all but pile 2, and opens it.
    function rooted(bytes32 statement) private returns (bytes memory opening) {
        uint224 all = uint224((1 << PILES) - 1);
        Part memory part = partOf(GROUP, all, all & ~uint224(4));
        part.nodes[256 + 3] = leafOf(GROUP, 3, uint8(place.n + place.later.length), headAfter(statement));
        hashUp(part);
        opening = openingOf(part, 3, verifier.rootChain(GROUP, place.epoch));
        recordParts(place.epoch, one(part));
    }

    function expectOpened(uint8 kind, bytes32 statement) private {
        vm.expectEmit(address(opener));
        emit IStatementOpener.StatementOpened(kind, place.deviceId, statement, place.epoch, place.n);
    }

    function expectRefused(bytes memory evidence) private {
        uint256 n = place.n + place.later.length;
        bytes32 head = headAfter(authHash());
        vm.expectRevert(
            abi.encodeWithSelector(
                IStatementOpener.EvidenceRefused.selector, place.group, place.index, place.epoch, n, head
            )
        );
        opener.openAuth(place, TICKET, L, evidence);
    }

    function test_an_authorization_opens_by_its_signature() public {
        bytes memory signature = signatureOf(authHash());
        expectOpened(1, authHash());
        vm.prank(STRANGER);
        assertEq(opener.openAuth(place, TICKET, L, signature), authHash());
    }

    function test_an_authorization_opens_by_a_recorded_root() public {
        bytes memory opening = rooted(authHash());
        expectOpened(1, authHash());
        vm.prank(STRANGER);
        assertEq(opener.openAuth(place, TICKET, L, opening), authHash());
        expectRefused(bytes.concat(opening, bytes32(0)));
    }

    function test_an_opening_needs_neither_the_window_nor_a_pile_that_is_not_revoked() public {
        bytes memory opening = rooted(authHash());
        revoke(place.deviceId);
        toEpoch(current() + 2 * uint32(RING));
        opener.openAuth(place, TICKET, L, opening);
        expectRefused(signatureOf(authHash()));
    }

    function test_a_statement_below_later_ones_opens() public {
        place.later.push(keccak256("one"));
        place.later.push(keccak256("another"));
        bytes memory opening = rooted(authHash());
        opener.openAuth(place, TICKET, L, opening);
        opener.openAuth(place, TICKET, L, signatureOf(authHash()));
        place.later.pop();
        expectRefused(opening);
    }

    function test_a_checkpoint_opens() public {
        StatementChain.Checkpoint memory c = StatementChain.Checkpoint(
            keccak256("battery"), bytes16("segment"), 12, 1_700_000_000_000, keccak256("fp"), 5, keccak256("prev")
        );
        bytes32 typeHash = keccak256(
            "Checkpoint(bytes32 deviceId,uint32 epoch,uint8 n,bytes32 battery,bytes16 segment,uint32 seq,uint64 time,bytes32 fp,uint32 prevSeq,bytes32 prevFp)"
        );
        bytes32 statement = keccak256(
            bytes.concat(
                abi.encode(typeHash, place.deviceId, place.epoch, place.n),
                abi.encode(c.battery, c.segment, c.seq, c.time, c.fp, c.prevSeq, c.prevFp)
            )
        );
        bytes memory opening = rooted(statement);
        expectOpened(2, statement);
        assertEq(opener.openCheckpoint(place, c, opening), statement);
        c.seq = 13;
        vm.expectPartialRevert(IStatementOpener.EvidenceRefused.selector);
        opener.openCheckpoint(place, c, opening);
    }

    function test_a_policy_acknowledgement_opens() public {
        bytes32 statement = keccak256(
            abi.encode(
                keccak256(
                    "PolicyAck(bytes32 deviceId,uint32 epoch,uint8 n,uint32 version,bytes32 policyHash,uint32 firstEpoch)"
                ),
                place.deviceId,
                place.epoch,
                place.n,
                uint32(4),
                keccak256("policy"),
                uint32(900)
            )
        );
        bytes memory opening = rooted(statement);
        expectOpened(3, statement);
        assertEq(opener.openPolicyAck(place, 4, keccak256("policy"), 900, opening), statement);
        vm.expectPartialRevert(IStatementOpener.EvidenceRefused.selector);
        opener.openPolicyAck(place, 4, keccak256("policy"), 901, opening);
    }

    function test_what_was_not_stated_does_not_open() public {
        bytes memory opening = rooted(keccak256("another statement"));
        expectRefused(opening);
        expectRefused(signatureOf(keccak256("another statement")));
        expectRefused("");
    }

    function test_a_statement_of_another_device_does_not_open() public {
        place.deviceId = deviceId(GROUP, 4);
        bytes memory signature = signatureOf(authHash());
        vm.expectRevert(abi.encodeWithSelector(IStatementOpener.WrongDevice.selector, place.deviceId, GROUP, uint8(3)));
        opener.openAuth(place, TICKET, L, signature);
    }

    function test_the_number_of_a_statement_neither_wraps_nor_begins_at_zero() public {
        place.n = 0;
        place.later.push(keccak256("one"));
        expectRefused(signatureOf(authHash()));
        place.n = 255;
        place.later.push(keccak256("another"));
        bytes32 head = headAfter(authHash());
        bytes memory wrapped = signHead(keyOf(GROUP, 3), headIn(GROUP, 3, place.epoch, 1, head));
        expectRefused(wrapped);
    }

    function test_every_attached_verifier_is_asked_the_newest_first() public {
        ChargingAuthVerifier first = verifier;
        bytes memory opening = rooted(authHash());
        bytes memory signature = signatureOf(authHash());
        ChargingAuthVerifier second =
            new ChargingAuthVerifier(address(manager), devices, policies, EPOCH_LEN, RING, 256);
        govern(address(policies), abi.encodeCall(policies.attach, (second)));
        govern(address(devices), abi.encodeCall(devices.attach, (second)));
        devices.sync(GROUP);
        second.openRing(GROUP, uint32(RING));
        opener.openAuth(place, TICKET, L, opening);
        opener.openAuth(place, TICKET, L, signature);
        verifier = second;
        toEpoch(current() + 1);
        place.epoch = current();
        opening = rooted(authHash());
        vm.expectCall(address(first), abi.encodePacked(first.openHead.selector), 0);
        opener.openAuth(place, TICKET, L, opening);
    }

    function test_a_detached_verifiers_roots_open_no_more() public {
        bytes memory opening = rooted(authHash());
        govern(address(devices), abi.encodeCall(devices.detach, (verifier)));
        expectRefused(opening);
    }
}
