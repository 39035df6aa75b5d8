#!/usr/bin/env python3
"""cases.py FILE [SEED]: writes what OpenSSL makes of SM4-GCM, for `every_implementation_agrees_with_openssl` to compare with.

File: a pool of 4096 bytes, the number of cases (4 bytes), then for each case: key (16), first counter block (16), start and
length of the associated data and of the plaintext within the pool (2 bytes each), ciphertext, tag (16). Numbers are
big-endian. A nonce of 12 bytes gives the first counter block `nonce ‖ 1`; to have the counter wrap within a short message,
nonces of 16 bytes are made whose hash is the block wanted.
"""

import random
import sys

from cryptography.hazmat.backends.openssl import backend
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

POOL = 4096


def main():
    path, seed = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else str(random.SystemRandom().getrandbits(64))
    version = backend.openssl_version_text()
    if not version.startswith("OpenSSL 4."):
        sys.exit(f"cases.py: this is {version}, not OpenSSL 4")
    draw = random.Random(seed)
    pool = draw.randbytes(POOL)
    cases = list(every_length(draw, pool)) + list(every_aad(draw, pool)) + list(wrapping(draw, pool))
    with open(path, "wb") as file:
        file.write(pool + len(cases).to_bytes(4, "big") + b"".join(cases))
    print(f"{version}, seed {seed}: {len(cases)} cases")


def every_length(draw, pool):
    """Each length from 0 to 1,100 with several of associated data."""
    for length in range(1101):
        for turn in range(5):
            nonce = draw.randbytes(12)
            yield case(draw, pool, draw.randbytes(16), nonce, nonce + b"\0\0\0\1", (length + 13 * turn) % 65, length)


def every_aad(draw, pool):
    """Each length of associated data from 0 to 64 with messages at the edges of every batch."""
    for aad in range(65):
        for length in (0, 1, 16, 240, 255, 256, 496, 497, 1008, 1009, 2049, 3333):
            nonce = draw.randbytes(12)
            yield case(draw, pool, draw.randbytes(16), nonce, nonce + b"\0\0\0\1", aad, length)


def wrapping(draw, pool):
    """Counters that start up to 140 blocks before 2^32."""
    for _ in range(16):
        key = draw.randbytes(16)
        for _ in range(32):
            first = draw.randbytes(12) + ((-draw.randrange(140)) % 2**32).to_bytes(4, "big")
            yield case(draw, pool, key, nonce_with_hash(key, first), first, draw.randrange(65), draw.randrange(3000))


def case(draw, pool, key, nonce, first, aad_length, length):
    aad_start, start = draw.randrange(POOL - aad_length), draw.randrange(POOL - length)
    sealer = Cipher(algorithms.SM4(key), modes.GCM(nonce)).encryptor()
    for piece in split(draw, pool[aad_start : aad_start + aad_length]):
        sealer.authenticate_additional_data(piece)
    ciphertext = b"".join(sealer.update(piece) for piece in split(draw, pool[start : start + length])) + sealer.finalize()
    places = b"".join(n.to_bytes(2, "big") for n in (aad_start, aad_length, start, length))
    return key + first + places + ciphertext + sealer.tag


def split(draw, data):
    """In up to four pieces, cut anywhere."""
    cuts = sorted(draw.randint(0, len(data)) for _ in range(draw.randrange(4)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)])]


def nonce_with_hash(key, first):
    """The 16 bytes whose GHASH with their length, (nonce·H + length)·H, is `first`."""
    encryptor = Cipher(algorithms.SM4(key), modes.ECB()).encryptor()
    inverse = invert(int.from_bytes(encryptor.update(bytes(16)), "big"))
    return multiply(multiply(int.from_bytes(first, "big"), inverse) ^ 128, inverse).to_bytes(16, "big")


def multiply(x, v):
    """In the field of SP 800-38D section 6.3, whose first bit is the highest."""
    product = 0
    for bit in range(127, -1, -1):
        if x >> bit & 1:
            product ^= v
        v = v >> 1 ^ (0xE1 << 120 if v & 1 else 0)
    return product


def invert(x):
    """x to the power of 2^128 - 2."""
    inverse, power = 1 << 127, x
    for _ in range(127):
        power = multiply(power, power)
        inverse = multiply(inverse, power)
    return inverse


main()
