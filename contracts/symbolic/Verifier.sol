// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { HeadDigest } from "../reference/HeadDigest.sol";
import { ChargingAuthVerifier } from "../src/ChargingAuthVerifier.sol";
import { IDeviceRegistry } from "../src/interfaces/IDeviceRegistry.sol";
import { IPolicyRegistry } from "../src/interfaces/IPolicyRegistry.sol";
import { KeyBlob } from "../src/libraries/KeyBlob.sol";
import { PolicyHistory } from "../src/libraries/PolicyHistory.sol";
import { Vm } from "forge-std/Vm.sol";

/// @dev Stands for both registries.
contract Registry {
    uint256 public constant epochLenBlocks = 5;

    function pushGroup(ChargingAuthVerifier verifier, uint32 group, uint256 word) external {
        verifier.pushGroup(group, word);
    }

    function pushPolicies(ChargingAuthVerifier verifier, uint256 history, uint32 version, bytes32 hash) external {
        verifier.pushPolicies(history, version, hash);
    }
}

/// @notice What holds for every record, key, block and ring word, as halmos sees the contract's own bytecode. Its ecrecover and
/// BLOCKHASH are functions it knows nothing of, and ecrecover always answers.
contract VerifierChecks {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    uint256 private constant S_MAX = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;
    uint32 private constant GROUP = 7;
    uint8 private constant INDEX = 1;
    uint32 private constant RING = 4;
    uint32 private constant SECOND_POLICY = 9;
    bytes32 private constant FIRST_HASH = keccak256("first");
    bytes32 private constant SECOND_HASH = keccak256("second");

    struct World {
        uint32 blockNumber;
        uint32 epoch;
        uint224 revoked;
        uint224 bitmap;
        bool sameEpoch;
        address key;
        uint32 activeFrom;
        uint32 activeUntil;
    }

    struct Signed {
        uint8 n;
        bytes32 head;
        bytes32 r;
        uint256 yParityAndS;
    }

    Registry private registry;
    ChargingAuthVerifier private verifier;

    function setUp() public {
        registry = new Registry();
        verifier = new ChargingAuthVerifier(
            address(registry), IDeviceRegistry(address(registry)), IPolicyRegistry(address(registry)), 5, RING, 256
        );
        uint256 history = PolicyHistory.push(0, 0);
        registry.pushPolicies(verifier, history, 1, FIRST_HASH);
        registry.pushPolicies(verifier, PolicyHistory.push(history, SECOND_POLICY), 2, SECOND_HASH);
        registry.pushGroup(verifier, GROUP, 1 << 224);
        verifier.openRing(GROUP, RING);
    }

    function check_record_takes_what_the_protocol_says_and_sets_its_bit_alone(World memory w, Signed memory s) public {
        _arrange(w);
        (bool ok, bytes memory answer) =
            address(verifier).call(abi.encodeCall(verifier.record, (GROUP, w.epoch, _record(s))));
        if (!_recordable(w)) {
            assert(!ok);
            return;
        }
        assert(ok);
        bool fresh = (_bits(w) >> INDEX) & 1 == 0;
        bool taken = fresh && _counts(w, s);
        assert(abi.decode(answer, (uint256)) == (taken ? 1 : 0));
        (uint32 wordEpoch, uint224 bitmap) = verifier.ringWord(GROUP, w.epoch);
        assert(wordEpoch == (taken || w.sameEpoch ? w.epoch : _otherEpoch(w)));
        assert(bitmap == (taken ? _bits(w) | (1 << INDEX) : w.bitmap));
    }

    function check_verifyHead_says_whether_the_signature_counts(World memory w, Signed memory s) public {
        _arrange(w);
        bool said =
            verifier.verifyHead(GROUP, INDEX, w.epoch, s.n, s.head, abi.encodePacked(s.r, bytes32(s.yParityAndS)));
        assert(said == (_recordable(w) && _counts(w, s)));
    }

    function check_extend_takes_only_what_counts_and_was_recorded(World memory w, Signed memory s) public {
        _arrange(w);
        (bool ok, bytes memory answer) =
            address(verifier).call(abi.encodeCall(verifier.extend, (GROUP, w.epoch, _record(s))));
        assert(ok == _recordable(w));
        if (!ok) return;
        bool taken = (_bits(w) >> INDEX) & 1 == 1 && _counts(w, s);
        assert(abi.decode(answer, (uint256)) == (taken ? 1 : 0));
    }

    function check_a_pushed_group_changes_no_other_word(uint32 group, uint256 word, uint32 other, uint32 place) public {
        vm.assume(other != group && other != GROUP);
        uint256 before = verifier.groupWord(other);
        registry.pushGroup(verifier, group, word);
        assert(verifier.groupWord(group) == word);
        assert(verifier.groupWord(other) == before);
        assert(verifier.policyAt(SECOND_POLICY - 1) == FIRST_HASH);
        assert(verifier.policyAt(SECOND_POLICY) == SECOND_HASH);
        (uint32 wordEpoch, uint224 bitmap) = verifier.ringWord(GROUP, place % RING);
        assert(wordEpoch == type(uint32).max && bitmap == 0);
    }

    function check_a_pushed_policy_changes_no_group_and_no_ring(uint32 version, bytes32 hash, uint32 group) public {
        vm.assume(version > 2 && group != GROUP);
        registry.pushPolicies(verifier, PolicyHistory.push(0, 0), version, hash);
        assert(verifier.groupWord(group) == 0);
        assert(verifier.groupWord(GROUP) == 1 << 224);
        (uint32 wordEpoch,) = verifier.ringWord(GROUP, 0);
        assert(wordEpoch == type(uint32).max);
        assert(!verifier.paused());
    }

    /* THE WORLD */

    function _arrange(World memory w) private {
        vm.assume(w.key != address(0));
        vm.assume(w.epoch < type(uint32).max / 8);
        // A ring word gets an epoch together with a bit.
        vm.assume(!w.sameEpoch || w.bitmap != 0);
        vm.roll(w.blockNumber);
        registry.pushGroup(verifier, GROUP, (uint256(2) << 224) | w.revoked);
        address blob = KeyBlob.addressOf(address(registry), GROUP, 2);
        bytes28 entry = bytes28(uint224(KeyBlob.pack(w.key, w.activeFrom, w.activeUntil)));
        vm.etch(blob, abi.encodePacked(bytes1(0), bytes28(0), entry));
        uint256 wordEpoch = w.sameEpoch ? w.epoch : _otherEpoch(w);
        for (uint256 place; place < RING; ++place) {
            vm.store(
                address(verifier),
                bytes32(uint256(3 << 192) | (uint256(GROUP) << 32) | place),
                bytes32((wordEpoch << 224) | w.bitmap)
            );
        }
    }

    /// @dev An epoch that is not this one.
    function _otherEpoch(World memory w) private pure returns (uint32) {
        return w.epoch + RING;
    }

    function _record(Signed memory s) private pure returns (bytes memory) {
        return abi.encodePacked(INDEX, s.n, s.head, s.r, bytes32(s.yParityAndS));
    }

    /* WHAT THE PROTOCOL SAYS */

    function _recordable(World memory w) private view returns (bool) {
        uint256 current = uint256(w.blockNumber) / 5;
        return w.epoch <= current && current < uint256(w.epoch) + RING && _challenge(w) != 0;
    }

    function _challenge(World memory w) private view returns (bytes32) {
        return blockhash(uint256(w.epoch) * 5);
    }

    function _bits(World memory w) private pure returns (uint224) {
        return w.sameEpoch ? w.bitmap : 0;
    }

    function _counts(World memory w, Signed memory s) private view returns (bool) {
        if ((w.revoked >> INDEX) & 1 == 1) return false;
        if (w.epoch < w.activeFrom || w.epoch > w.activeUntil) return false;
        uint256 sValue = s.yParityAndS & (type(uint256).max >> 1);
        if (s.n == 0 || sValue > S_MAX) return false;
        bytes32 policyHash = w.epoch < SECOND_POLICY ? FIRST_HASH : SECOND_HASH;
        bytes32 digest = HeadDigest.digest(
            block.chainid,
            address(verifier),
            HeadDigest.Head(GROUP, INDEX, w.epoch, _challenge(w), policyHash, s.n, s.head)
        );
        return ecrecover(digest, uint8(27 + (s.yParityAndS >> 255)), s.r, bytes32(sValue)) == w.key;
    }
}
