"""What generate.py and bls.py share: hashing, filler bytes and EIP-712 with the structs that the documents define."""

import hashlib
import re
from pathlib import Path

from Crypto.Hash import keccak
from eth_account.messages import encode_typed_data

DOCS = Path(__file__).resolve().parents[2] / "docs"
PROTOCOL, DESIGN = DOCS / "protocol.md", DOCS / "distilled-batches.md"


def keccak256(*parts):
    return keccak.new(digest_bits=256, data=b"".join(parts)).digest()


def filler(label, size):
    """Bytes that look random and never change."""
    return hashlib.shake_128(f"CIP-22 vector {label}".encode()).digest(size)


def uint(value, size):
    return value.to_bytes(size, "big", signed=value < 0)


STRUCTS = {
    name: [tuple(field.split(" ")) for field in fields.split(",")]
    for document in (DESIGN, PROTOCOL)
    for name, fields in re.findall(r"`([A-Z]\w+)\((\w+ \w+(?:,\w+ \w+)*)\)`", document.read_text())
}


class Domain:
    def __init__(self, chain_id, contract):
        self.chain_id, self.contract = chain_id, contract

    def encode(self, struct, values):
        """eth-account's header is the domain separator, its body the struct hash."""
        return encode_typed_data(
            full_message={
                "types": {
                    "EIP712Domain": [
                        {"name": "name", "type": "string"},
                        {"name": "version", "type": "string"},
                        {"name": "chainId", "type": "uint256"},
                        {"name": "verifyingContract", "type": "address"},
                    ],
                    struct: [{"name": name, "type": kind} for kind, name in STRUCTS[struct]],
                },
                "primaryType": struct,
                "domain": {
                    "name": "CIP-22",
                    "version": "2",
                    "chainId": self.chain_id,
                    "verifyingContract": "0x" + self.contract.hex(),
                },
                "message": {name: value for (_, name), value in zip(STRUCTS[struct], values, strict=True)},
            }
        )


def digest_of(signable):
    return keccak256(b"\x19" + signable.version + signable.header + signable.body)
