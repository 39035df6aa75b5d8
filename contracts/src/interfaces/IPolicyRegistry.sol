// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { IChargingAuthVerifier } from "./IChargingAuthVerifier.sol";

/// @title Which tariff is in force in which epoch
/// @notice A policy is a canonical tariff (docs/protocol.md §10) with a version and a first epoch, signed by the policy
/// signer. The policy of epoch E is the one with the highest first epoch that is not above E.
/// @dev What holds:
/// - Versions are 1, 2, 3, ... and their first epochs strictly increase, so that the policy of an epoch is unique.
/// - Every policy but the first is known MIN_LEAD epochs before it is in force, so the policy of an epoch that has begun
///   never changes. The first may start anywhere, because before it there is no policy and nothing can be recorded.
/// - Anyone may submit what the policy signer signed.
interface IPolicyRegistry {
    /// @notice A policy was scheduled. The hash is its EIP-712 struct hash; the tariff's bytes stand here and nowhere else on chain.
    event PolicyScheduled(
        uint32 indexed version, uint32 indexed firstEpoch, bytes32 policyHash, bytes tariff, bytes signature
    );
    /// @notice The policy signer changed.
    event PolicySignerSet(address indexed policySigner);
    /// @notice From now on `verifier` is told of every policy.
    event VerifierAttached(address indexed verifier);
    /// @notice From now on `verifier` is told of nothing.
    event VerifierDetached(address indexed verifier);

    /// @notice The next version is `expected`.
    error WrongVersion(uint32 version, uint32 expected);
    /// @notice The policy would be in force before epoch `earliest`.
    error FirstEpochTooEarly(uint32 firstEpoch, uint32 earliest);
    /// @notice 2^32 - 1 is no epoch.
    error FirstEpochTooLate(uint32 firstEpoch);
    /// @notice The signature is not the policy signer's.
    error WrongPolicySigner(address recovered, address expected);
    /// @notice The policy signer cannot be zero.
    error ZeroPolicySigner();
    /// @notice At most `limit` verifiers can be attached.
    error TooManyVerifiers(uint256 limit);
    /// @notice The verifier is attached already.
    error VerifierIsAttached(address verifier);
    /// @notice The verifier is not attached.
    error UnknownVerifier(address verifier);
    /// @notice The verifier was built for another registry or another epoch length.
    error ForeignVerifier(address verifier);
    /// @notice No such policy.
    error UnknownPolicy(uint32 version);
    /// @notice An epoch needs at least one block.
    error ZeroEpochLength();

    /// @notice Schedules the next policy. Anyone may call it; the signature decides.
    /// @param version Newest version + 1.
    /// @param firstEpoch First epoch it is in force: above the newest policy's, and from version 2 on at least the current
    /// epoch + minimum lead.
    /// @param tariff Canonical tariff bytes.
    /// @param signature The policy signer's over `Policy(uint32 version,uint32 firstEpoch,bytes tariff)` in this contract's
    /// EIP-712 domain, 64 bytes (EIP-2098).
    function schedule(uint32 version, uint32 firstEpoch, bytes calldata tariff, bytes calldata signature) external;

    /// @notice Pushes the history and one version's hash to every attached verifier. Anyone may call it. A verifier that
    /// lacks a hash asks {policyAt} instead, at a higher price, so this is never needed for correctness.
    function sync(uint32 version) external;

    /// @notice Replaces the policy signer. Governance only.
    function setPolicySigner(address newPolicySigner) external;

    /// @notice Adds a verifier to the ones told of policies, and tells it the newest. Governance only.
    function attach(IChargingAuthVerifier verifier) external;

    /// @notice Removes a verifier from the ones told of policies. Governance only.
    function detach(IChargingAuthVerifier verifier) external;

    /// @notice Stops {schedule}. Guardian only.
    function pause() external;

    /// @notice Ends the pause. Governance only.
    function unpause() external;

    /// @notice Hash of the policy in force in `epoch`, 0 if there is none.
    function policyAt(uint32 epoch) external view returns (bytes32 policyHash);

    /// @notice First epoch and hash of a version.
    function policy(uint32 version) external view returns (uint32 firstEpoch, bytes32 policyHash);

    /// @notice Newest version, 0 if there is none.
    function newestVersion() external view returns (uint32);

    /// @notice Address whose signature makes a policy.
    function policySigner() external view returns (address);

    /// @notice Epochs between scheduling and the first epoch, at least.
    function minLeadEpochs() external view returns (uint32);

    /// @notice The verifiers told of policies, oldest first.
    function verifiers() external view returns (IChargingAuthVerifier[] memory);

    /// @notice Length of an epoch, in blocks.
    function epochLenBlocks() external view returns (uint256);

    /// @notice The epoch of this block: block number / epoch length.
    function currentEpoch() external view returns (uint32);
}
