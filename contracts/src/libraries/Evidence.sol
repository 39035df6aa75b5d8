// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { IChargingAuthVerifier } from "../interfaces/IChargingAuthVerifier.sol";
import { IDeviceRegistry } from "../interfaces/IDeviceRegistry.sol";
import { CompactSignature } from "./CompactSignature.sol";

/// @title Whether a head is a pile's
/// @notice Evidence is the pile's signature over Head, 64 bytes, or the opening of a recorded root. The verifiers attached to the
/// device registry are asked, newest first: a pile signs in one verifier's domain, and that counts while the verifier is attached.
library Evidence {
    /// @param verifiers As the registry lists them, oldest first.
    /// @param n Position of the statement that the head ends with in the pile's chain of the epoch, counted from the one that is
    /// shown: n of it plus those after it. Beyond 255 nothing counts.
    function counts(
        IChargingAuthVerifier[] memory verifiers,
        uint32 group,
        uint8 index,
        uint32 epoch,
        uint256 n,
        bytes32 head,
        bytes calldata evidence
    ) internal view returns (bool) {
        if (n > type(uint8).max) return false;
        bool signature = evidence.length == CompactSignature.LENGTH;
        for (uint256 i = verifiers.length; i != 0; --i) {
            IChargingAuthVerifier verifier = verifiers[i - 1];
            bool valid = signature
                ? verifier.verifyHead(group, index, epoch, uint8(n), head, evidence)
                : verifier.openHead(group, index, epoch, uint8(n), head, evidence);
            if (valid) return true;
        }
        return false;
    }
}
