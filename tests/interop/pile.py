"""What a pile is and keeps: its keys, verified policies, open epoch, and the statement chain of that epoch (§5.1)."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from . import digests, tariff
from .digests import Domain, hash_struct


class Violation(Exception):
    """The gateway did what the protocol does not allow, or withheld what it demands."""


def verify(condition, what):
    if not condition:
        raise Violation(what)


@dataclass(frozen=True)
class Identity:
    """Byte strings throughout: ids and the key of 32 bytes, addresses of 20."""

    device_id: bytes
    key: bytes
    battery: bytes
    verifier: Domain
    policy_registry: Domain
    policy_signer: bytes


@dataclass(frozen=True)
class Policy:
    version: int
    first_epoch: int
    tariff: bytes

    @property
    def hash(self):
        return hash_struct("Policy", self.version, self.first_epoch, self.tariff)


@dataclass(frozen=True)
class Epoch:
    group: int = 0
    epoch: int = 0
    challenge: bytes = bytes(32)
    policy_hash: bytes = bytes(32)


@dataclass
class Pile:
    """`state_path` is where the pile persists what must survive a restart; it is read back when it exists."""

    identity: Identity
    state_path: Path
    group: int = 0
    index: int = 0
    policies: dict = field(default_factory=dict)
    open_epoch: Epoch = Epoch()
    n: int = 0
    head: bytes = bytes(32)

    def __post_init__(self):
        if self.state_path.exists():
            self.restore(json.loads(self.state_path.read_text()))

    def hold_policy(self, policy, signature):
        """Keeps `policy`; True when it is new. Raises Violation unless governance signed it and its tariff is well-formed."""
        signed_by = digests.signer(self.identity.policy_registry.digest(policy.hash), signature)
        verify(signed_by == self.identity.policy_signer, "SET_POLICY is not signed by governance")
        try:
            tariff.parse(policy.tariff)
        except ValueError as error:
            raise Violation(f"SET_POLICY: {error}") from error
        held = self.policies.get(policy.version)
        verify(held in (None, policy), "SET_POLICY changes a version already held")
        if held:
            return False
        verify(policy.version > max(self.policies, default=0), "SET_POLICY is below the newest version held")
        self.policies[policy.version] = policy
        self.persist()
        return True

    def holds(self, policy_hash):
        return any(policy.hash == policy_hash for policy in self.policies.values())

    def enter(self, epoch):
        """Opens `epoch`, which closes the one before."""
        self.open_epoch, self.n, self.head = epoch, 0, bytes(32)
        self.persist()

    def append(self, struct, *values):
        """Appends the statement to the open epoch's chain and persists it; returns its `n`, `prev_head` and `signature` for the message.
        `values` are those after the device id, epoch and n that every statement begins with."""
        prev_head, opened, identity = self.head, self.open_epoch, self.identity
        verify(self.n < 255, "the open epoch has no statement left")
        self.n += 1
        self.head = digests.next_head(prev_head, hash_struct(struct, identity.device_id, opened.epoch, self.n, *values))
        self.persist()
        head = hash_struct("Head", self.group, self.index, opened.epoch, opened.challenge, opened.policy_hash, self.n, self.head)
        return {"n": self.n, "prev_head": prev_head, "signature": self.sign(head)}

    def sign(self, struct_hash):
        return digests.sign(self.identity.key, self.identity.verifier.digest(struct_hash))

    def persist(self):
        state = {
            "policies": [[p.version, p.first_epoch, p.tariff.hex()] for p in self.policies.values()],
            "epoch": [self.open_epoch.group, self.open_epoch.epoch, self.open_epoch.challenge.hex(), self.open_epoch.policy_hash.hex()],
            "n": self.n,
            "head": self.head.hex(),
        }
        written = self.state_path.with_suffix(".new")
        written.write_text(json.dumps(state))
        written.replace(self.state_path)

    def restore(self, state):
        self.policies = {version: Policy(version, first, bytes.fromhex(data)) for version, first, data in state["policies"]}
        group, epoch, challenge, policy_hash = state["epoch"]
        self.open_epoch = Epoch(group, epoch, bytes.fromhex(challenge), bytes.fromhex(policy_hash))
        self.n, self.head = state["n"], bytes.fromhex(state["head"])
