"""What gets signed (§5): EIP-712 hashes, the statement chain, EIP-2098 signatures, and the telemetry fingerprint (§9)."""

import hashlib
from dataclasses import dataclass

from eth_account import Account
from eth_keys import keys
from eth_utils import keccak

STRUCTS = {
    row.split("(")[0]: row
    for row in (
        "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)",
        "ChallengeReq(bytes32 deviceId,bytes devEph)",
        "Ticket(uint8 circuitVersion,bytes16 sid,bytes32 deviceId,uint32 group,uint8 index,bytes32 nonce,uint32 epoch,"
        "bytes32 epochChallenge,bytes32 policyHash,uint64 issued,uint64 answerBy,uint64 deadline,bytes gwEph,bytes devEph,bytes32 h)",
        "Epoch(uint32 group,uint32 epoch,bytes32 challenge,bytes32 policyHash)",
        "Auth(bytes32 deviceId,uint32 epoch,uint8 n,bytes32 ticketHash,bytes32 l)",
        "Checkpoint(bytes32 deviceId,uint32 epoch,uint8 n,bytes32 battery,bytes16 segment,uint32 seq,uint64 time,bytes32 fp,"
        "uint32 prevSeq,bytes32 prevFp)",
        "PolicyAck(bytes32 deviceId,uint32 epoch,uint8 n,uint32 version,bytes32 policyHash,uint32 firstEpoch)",
        "Head(uint32 group,uint8 index,uint32 epoch,bytes32 challenge,bytes32 policyHash,uint8 n,bytes32 head)",
        "ChargeEnd(bytes32 deviceId,bytes16 sid,uint32 wh,uint16 minutes,uint8 cause,bytes meter)",
        "Policy(uint32 version,uint32 firstEpoch,bytes tariff)",
        "TrustUpdate(uint32 version,uint8 kind,bytes value)",
        "Root(uint32 epoch,bytes32 challenge,bytes32 policyHash,bytes32 root)",
        "BlsPossession(bytes32 deviceId,bytes key)",
    )
}
HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


def hash_struct(name, *values):
    """hashStruct of `name`, its values in the order of the type: integers, or byte strings."""
    kinds = [member.split()[0] for member in STRUCTS[name].split("(")[1].rstrip(")").split(",")]
    assert len(kinds) == len(values), name
    return keccak(keccak(text=STRUCTS[name]) + b"".join(map(encode_member, kinds, values)))


def encode_member(kind, value):
    if kind in ("bytes", "string"):
        return keccak(value)
    if kind.startswith("uint"):
        return value.to_bytes(32, "big")
    return value.rjust(32, b"\0") if kind == "address" else value.ljust(32, b"\0")


def next_head(prev_head, statement):
    """head_n of §5.1, from head_{n-1} and hashStruct of statement n."""
    return keccak(prev_head + statement)


@dataclass(frozen=True)
class Domain:
    """An EIP-712 domain of this protocol; `contract` is a 20-byte address."""

    chain_id: int
    contract: bytes

    @property
    def separator(self):
        return hash_struct("EIP712Domain", b"CIP-22", b"2", self.chain_id, self.contract)

    def digest(self, struct_hash):
        return keccak(b"\x19\x01" + self.separator + struct_hash)


def sign(private_key, digest):
    """The 64-byte EIP-2098 signature of a 32-byte digest."""
    signed = Account.unsafe_sign_hash(digest, private_key)
    return signed.r.to_bytes(32, "big") + (signed.s | (signed.v - 27) << 255).to_bytes(32, "big")


def signer(digest, signature):
    """The 20-byte address whose key signed, None when the signature is malformed or names no key."""
    s_and_parity = int.from_bytes(signature[32:], "big")
    r, s, parity = int.from_bytes(signature[:32], "big"), s_and_parity & (1 << 255) - 1, s_and_parity >> 255
    if not 0 < s <= HALF_ORDER:
        return None
    try:
        public = keys.Signature(vrs=(parity, r, s)).recover_public_key_from_msg_hash(digest)
    except Exception:  # eth-keys' two back ends raise different errors for the same bad point
        return None
    return public.to_canonical_address()


def fingerprint(prev_fp, record):
    """fp of a telemetry record, given by BATT_TELEM's field names."""
    return hashlib.sha3_256(prev_fp + canonical(record)).digest()


def canonical(record):
    """The 80 canonical bytes of a telemetry record."""
    layout = (("seq", 4), ("time_ms", 8), ("voltage_mv", 4), ("current_ma", 4), ("soc_centi_percent", 2), ("temperature_centi_c", 2),
              ("energy_wh", 4))
    numbers = b"".join((record[name] % (1 << 8 * size)).to_bytes(size, "big") for name, size in layout)
    return record["battery"] + record["segment"] + numbers + bytes(4)
