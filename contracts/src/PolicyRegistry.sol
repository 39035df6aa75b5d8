// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { IChargingAuthVerifier } from "./interfaces/IChargingAuthVerifier.sol";
import { IPolicyRegistry } from "./interfaces/IPolicyRegistry.sol";
import { CompactSignature } from "./libraries/CompactSignature.sol";
import { PolicyHistory } from "./libraries/PolicyHistory.sol";
import { Tariff } from "./libraries/Tariff.sol";
import { AccessManaged } from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import { Pausable } from "@openzeppelin/contracts/utils/Pausable.sol";
import { EIP712 } from "solady/utils/EIP712.sol";

/// @title PolicyRegistry
contract PolicyRegistry is IPolicyRegistry, AccessManaged, Pausable, EIP712 {
    using PolicyHistory for uint256;

    struct Policy {
        bytes32 hash;
        uint32 firstEpoch;
    }

    bytes32 private constant POLICY_TYPEHASH = keccak256("Policy(uint32 version,uint32 firstEpoch,bytes tariff)");
    uint256 private constant VERIFIERS_MAX = 4;

    /// @inheritdoc IPolicyRegistry
    uint256 public immutable epochLenBlocks;
    /// @inheritdoc IPolicyRegistry
    uint32 public immutable minLeadEpochs;
    /// @inheritdoc IPolicyRegistry
    address public policySigner;

    uint256 private _history;
    mapping(uint32 version => Policy) private _policies;
    IChargingAuthVerifier[] private _verifiers;

    /// @param authority AccessManager that says who may do what.
    /// @param epochLenBlocks_ Length of an epoch, in blocks.
    /// @param minLeadEpochs_ Epochs between scheduling and first epoch, at least.
    /// @param policySigner_ Whose signature makes a policy.
    constructor(address authority, uint256 epochLenBlocks_, uint32 minLeadEpochs_, address policySigner_)
        AccessManaged(authority)
    {
        if (epochLenBlocks_ == 0) revert ZeroEpochLength();
        epochLenBlocks = epochLenBlocks_;
        minLeadEpochs = minLeadEpochs_;
        _setPolicySigner(policySigner_);
    }

    /* ANYONE */

    /// @inheritdoc IPolicyRegistry
    function schedule(uint32 version, uint32 firstEpoch, bytes calldata tariff, bytes calldata signature)
        external
        whenNotPaused
    {
        uint256 history = _history;
        if (version != history.newest() + 1) revert WrongVersion(version, history.newest() + 1);
        if (firstEpoch == type(uint32).max) revert FirstEpochTooLate(firstEpoch);
        if (version > 1) {
            uint32 earliest = currentEpoch() + minLeadEpochs;
            // An epoch that has begun keeps its policy, whatever the lead is.
            if (earliest <= currentEpoch()) earliest = currentEpoch() + 1;
            if (earliest <= history.newestFirstEpoch()) earliest = history.newestFirstEpoch() + 1;
            if (firstEpoch < earliest) revert FirstEpochTooEarly(firstEpoch, earliest);
        }
        Tariff.check(tariff);
        bytes32 policyHash = keccak256(abi.encode(POLICY_TYPEHASH, version, firstEpoch, keccak256(tariff)));
        address recovered = CompactSignature.recover(_hashTypedData(policyHash), signature);
        if (recovered != policySigner) revert WrongPolicySigner(recovered, policySigner);

        history = history.push(firstEpoch);
        _history = history;
        _policies[version] = Policy(policyHash, firstEpoch);
        emit PolicyScheduled(version, firstEpoch, policyHash, tariff, signature);
        _push(history, version, policyHash);
    }

    /// @inheritdoc IPolicyRegistry
    function sync(uint32 version) external {
        bytes32 policyHash = _policies[version].hash;
        if (policyHash == 0) revert UnknownPolicy(version);
        _push(_history, version, policyHash);
    }

    /* GUARDIAN */

    /// @inheritdoc IPolicyRegistry
    function pause() external restricted {
        _pause();
    }

    /* GOVERNANCE */

    /// @inheritdoc IPolicyRegistry
    function unpause() external restricted {
        _unpause();
    }

    /// @inheritdoc IPolicyRegistry
    function setPolicySigner(address newPolicySigner) external restricted {
        _setPolicySigner(newPolicySigner);
    }

    /// @inheritdoc IPolicyRegistry
    function attach(IChargingAuthVerifier verifier) external restricted {
        uint256 count = _verifiers.length;
        if (count == VERIFIERS_MAX) revert TooManyVerifiers(VERIFIERS_MAX);
        for (uint256 i; i < count; ++i) {
            if (_verifiers[i] == verifier) revert VerifierIsAttached(address(verifier));
        }
        if (verifier.policyRegistry() != this || verifier.epochLenBlocks() != epochLenBlocks) {
            revert ForeignVerifier(address(verifier));
        }
        _verifiers.push(verifier);
        emit VerifierAttached(address(verifier));
        uint32 newest = _history.newest();
        verifier.pushPolicies(_history, newest, _policies[newest].hash);
    }

    /// @inheritdoc IPolicyRegistry
    function detach(IChargingAuthVerifier verifier) external restricted {
        uint256 count = _verifiers.length;
        for (uint256 i; i < count; ++i) {
            if (_verifiers[i] != verifier) continue;
            // Keeps the order, oldest first.
            for (uint256 j = i + 1; j < count; ++j) {
                _verifiers[j - 1] = _verifiers[j];
            }
            _verifiers.pop();
            emit VerifierDetached(address(verifier));
            return;
        }
        revert UnknownVerifier(address(verifier));
    }

    /* VIEWS */

    /// @inheritdoc IPolicyRegistry
    function policyAt(uint32 epoch) external view returns (bytes32) {
        uint256 history = _history;
        (uint32 version, bool older) = history.versionAt(epoch);
        if (!older) return _policies[version].hash;
        // Only for epochs before the six newest policies; first epochs increase, so the first hit downwards is the one.
        for (version = history.newest() - uint32(PolicyHistory.LANES); version != 0; --version) {
            if (_policies[version].firstEpoch <= epoch) return _policies[version].hash;
        }
        return 0;
    }

    /// @inheritdoc IPolicyRegistry
    function policy(uint32 version) external view returns (uint32 firstEpoch, bytes32 policyHash) {
        return (_policies[version].firstEpoch, _policies[version].hash);
    }

    /// @inheritdoc IPolicyRegistry
    function newestVersion() external view returns (uint32) {
        return _history.newest();
    }

    /// @inheritdoc IPolicyRegistry
    function verifiers() external view returns (IChargingAuthVerifier[] memory) {
        return _verifiers;
    }

    /// @inheritdoc IPolicyRegistry
    function currentEpoch() public view returns (uint32) {
        return uint32(block.number / epochLenBlocks);
    }

    /* INTERNAL */

    function _push(uint256 history, uint32 version, bytes32 policyHash) private {
        uint256 count = _verifiers.length;
        for (uint256 i; i < count; ++i) {
            _verifiers[i].pushPolicies(history, version, policyHash);
        }
    }

    function _setPolicySigner(address newPolicySigner) private {
        if (newPolicySigner == address(0)) revert ZeroPolicySigner();
        policySigner = newPolicySigner;
        emit PolicySignerSet(newPolicySigner);
    }

    function _domainNameAndVersion() internal pure override returns (string memory, string memory) {
        return ("CIP-22", "2");
    }
}
