"""Session keys (§5.3) and the tags made with them (§4.2)."""

import hashlib
import hmac
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CURVE = ec.SECP256K1()


@dataclass(frozen=True)
class SessionKeys:
    k: bytes
    k_mac: bytes
    k_enc_gateway: bytes
    k_enc_pile: bytes


def derive(dev_eph_key, device_key, gw_eph, sid):
    """Session keys as the pile has them: two 32-byte private keys, the gateway's 33-byte ephemeral point, the ticket's sid."""
    prk = extract(sid, shared_secret(dev_eph_key, gw_eph) + shared_secret(device_key, gw_eph))
    return SessionKeys(
        k=expand(prk, b"CIP-22/2 K", 31),
        k_mac=expand(prk, b"CIP-22/2 K_mac", 32),
        k_enc_gateway=expand(prk, b"CIP-22/2 K_enc gateway", 16),
        k_enc_pile=expand(prk, b"CIP-22/2 K_enc pile", 16),
    )


def tag(k_mac, ticket_hash, frame_type, suite, body):
    """The 32-byte tag of an AUTH_GRANT, AUTH_DENY or CREDIT_UPDATE."""
    return hmac.digest(k_mac, ticket_hash + bytes([frame_type, suite]) + body, "sha256")


def public_point(private_key):
    """The 33-byte compressed point of a 32-byte secp256k1 private key."""
    public = private(private_key).public_key()
    return public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)


def shared_secret(private_key, point):
    return private(private_key).exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(CURVE, point))


def private(key):
    return ec.derive_private_key(int.from_bytes(key, "big"), CURVE)


def extract(salt, secret):
    return hmac.digest(salt, secret, "sha256")


def expand(prk, info, length):
    """HKDF-Expand for at most 32 bytes, one block of output."""
    assert length <= hashlib.sha256().digest_size
    return hmac.digest(prk, info + b"\x01", "sha256")[:length]
