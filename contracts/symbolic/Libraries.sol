// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { CompactSignature } from "../src/libraries/CompactSignature.sol";
import { KeyBlob } from "../src/libraries/KeyBlob.sol";
import { PolicyHistory } from "../src/libraries/PolicyHistory.sol";
import { Vm } from "forge-std/Vm.sol";

/// @notice What holds for every argument of the libraries.
contract LibraryChecks {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    uint256 private constant HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;

    function check_an_entry_gives_back_what_was_packed(address key, uint32 first, uint32 last) public pure {
        uint256 entry = KeyBlob.pack(key, first, last);
        assert(KeyBlob.keyOf(entry) == key);
        assert(KeyBlob.activeFrom(entry) == first);
        assert(KeyBlob.activeUntil(entry) == last);
        assert(entry >> 224 == 0);
    }

    /// @dev Eight policies, so that two have fallen out of the word.
    function check_the_history_finds_the_policy_of_every_epoch(uint32[8] memory firsts, uint32 epoch) public pure {
        uint256 history;
        uint32 expected;
        for (uint32 i; i < 8; ++i) {
            if (i > 0) vm.assume(firsts[i] > firsts[i - 1]);
            vm.assume(firsts[i] != type(uint32).max);
            history = PolicyHistory.push(history, firsts[i]);
            if (firsts[i] <= epoch) expected = i + 1;
        }
        (uint32 version, bool older) = PolicyHistory.versionAt(history, epoch);
        assert(PolicyHistory.newest(history) == 8);
        assert(PolicyHistory.newestFirstEpoch(history) == firsts[7]);
        if (expected > 2) assert(version == expected && !older);
        else assert(version == 0 && older);
    }

    function check_a_short_history_has_no_policy_before_its_first(uint32 first, uint32 epoch) public pure {
        vm.assume(first != type(uint32).max && epoch != type(uint32).max);
        (uint32 version, bool older) = PolicyHistory.versionAt(PolicyHistory.push(0, first), epoch);
        assert(version == (epoch < first ? 0 : 1));
        assert(!older);
    }

    function recover(bytes32 digest, bytes calldata signature) external pure returns (address) {
        return CompactSignature.recover(digest, signature);
    }

    function check_a_compact_signature_has_one_form(bytes32 digest, bytes32 r, uint256 yParityAndS) public view {
        address signer = this.recover(digest, abi.encodePacked(r, bytes32(yParityAndS)));
        uint256 s = yParityAndS & (type(uint256).max >> 1);
        if (s > HALF_ORDER) assert(signer == address(0));
        else assert(signer == ecrecover(digest, yParityAndS >> 255 == 0 ? 27 : 28, r, bytes32(s)));
        assert(this.recover(digest, abi.encodePacked(r, bytes32(yParityAndS), bytes1(0))) == address(0));
    }
}
