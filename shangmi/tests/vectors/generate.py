#!/usr/bin/env python3
"""Writes the vectors beside it. Needs the PyPI packages `cryptography` (with OpenSSL 4) and `gmssl-pyx` (GmSSL), and the
`openssl` command (3.0 or later). No code of this project takes part: SM4-GCM and HKDF come from OpenSSL, HMAC-SM3 from both,
KDF2 from its definition and, as the same function, from SP 800-108's KDF; certificates from the command."""

import json
import random
import subprocess
import tempfile
from pathlib import Path

import gmssl_pyx
from cryptography.hazmat.backends.openssl import backend
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.kbkdf import CounterLocation, KBKDFHMAC, Mode

HERE = Path(__file__).parent
DRAW = random.Random("shangmi vectors 1")


def hmac_sm3(key, data):
    mac = hmac.HMAC(key, hashes.SM3())
    mac.update(data)
    tag = mac.finalize()
    if 16 <= len(key) <= 64:  # what GmSSL takes
        assert tag == bytes(gmssl_pyx.sm3_hmac(key, data)), "OpenSSL and GmSSL differ"
    return tag


def kdf2(salt, secret, info, length):
    blocks = (hmac_sm3(salt, secret + counter.to_bytes(4, "big") + info) for counter in range(1, 2 + length // 32))
    out = b"".join(blocks)[:length]
    # The KDF of SP 800-108 in counter mode is the same, keyed by the salt, with its counter between secret and info.
    middle = CounterLocation.MiddleFixed
    other = KBKDFHMAC(hashes.SM3(), Mode.CounterMode, length, 4, None, middle, None, None, secret + info, break_location=len(secret))
    assert other.derive(salt) == out, "the definition and SP 800-108 differ"
    return out


def sm4_gcm(length, aad_length):
    key, nonce, aad, plaintext = (DRAW.randbytes(n) for n in (16, 12, aad_length, length))
    sealer = Cipher(algorithms.SM4(key), modes.GCM(nonce)).encryptor()
    sealer.authenticate_additional_data(aad)
    ciphertext = sealer.update(plaintext) + sealer.finalize()
    return case(key=key, nonce=nonce, aad=aad, plaintext=plaintext, ciphertext=ciphertext, tag=sealer.tag)


def hkdf(salt_length, secret_length, info_length, length):
    salt, secret, info = (DRAW.randbytes(n) for n in (salt_length, secret_length, info_length))
    okm = HKDF(hashes.SM3(), length, salt, info).derive(secret)
    return case(salt=salt, secret=secret, info=info, out=okm)


def kdf2_case(salt_length, secret_length, info_length, length):
    salt, secret, info = (DRAW.randbytes(n) for n in (salt_length, secret_length, info_length))
    return case(salt=salt, secret=secret, info=info, out=kdf2(salt, secret, info, length))


def hmac_case(key_length, length):
    key, data = DRAW.randbytes(key_length), DRAW.randbytes(length)
    return case(key=key, data=data, tag=hmac_sm3(key, data))


def case(**values):
    return {name: value.hex() for name, value in values.items()}


LEAF = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
CLIENT = LEAF + "extendedKeyUsage=clientAuth\nsubjectAltName=URI:urn:cip22:device:01\n"
SERVER = LEAF + "extendedKeyUsage=serverAuth\nsubjectAltName=DNS:gateway.example\n"
CA = "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n"
ROOT = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"
# name: (subject, issuer, extensions)
CERTIFICATES = {
    "root": ("Root", None, ROOT),
    "other_root": ("Root", None, ROOT),
    "ca": ("Province", "root", CA),
    "look_alike_ca": ("Province", "other_root", CA),
    "ca_without_ca_bit": ("Province", "root", CA.replace("CA:TRUE,pathlen:0", "CA:FALSE")),
    "ca_without_certificate_signing": ("Province", "root", CA.replace("keyCertSign,cRLSign", "digitalSignature")),
    "device": ("Device", "ca", CLIENT),
    "gateway": ("Gateway", "ca", SERVER),
    "device_of_look_alike_ca": ("Device", "look_alike_ca", CLIENT),
    "device_of_ca_without_ca_bit": ("Device", "ca_without_ca_bit", CLIENT),
    "device_of_ca_without_certificate_signing": ("Device", "ca_without_certificate_signing", CLIENT),
    "device_of_root": ("Device", "root", CLIENT),
    "device_without_key_usage": ("Device", "ca", CLIENT.replace("keyUsage=critical,digitalSignature\n", "")),
    "device_for_encryption": ("Device", "ca", CLIENT.replace("digitalSignature", "keyEncipherment")),
    "device_with_two_names": ("Device", "ca", CLIENT.replace("device:01", "device:01,URI:urn:cip22:device:02")),
    "sub_ca": ("District", "ca", CA),
    "device_of_sub_ca": ("Device", "sub_ca", CLIENT),
}


def chain():
    """Certificates by OpenSSL's command, valid for a hundred years, in hex of DER; the device's key, and a signature."""
    with tempfile.TemporaryDirectory() as directory:
        at = Path(directory)

        def openssl(*arguments, stdin=None):
            command = ["openssl", *map(str, arguments)]
            return subprocess.run(command, check=True, capture_output=True, input=stdin).stdout

        out = {}
        for name, (subject, issuer, extensions) in CERTIFICATES.items():
            key, request, certificate = (at / f"{name}.{end}" for end in ("key", "csr", "pem"))
            openssl("genpkey", "-algorithm", "SM2", "-out", key)
            distid = "distid:1234567812345678"
            openssl("req", "-new", "-key", key, "-subj", f"/O=Test/CN={subject}", "-sm3", "-sigopt", distid, "-out", request)
            (at / "extensions").write_text(extensions)
            signer = ("-signkey", key) if issuer is None else ("-CA", at / f"{issuer}.pem", "-CAkey", at / f"{issuer}.key")
            openssl("x509", "-req", "-in", request, *signer, "-days", 36500, "-sm3", "-sigopt", distid, "-vfyopt", distid,
                    "-set_serial", DRAW.getrandbits(64), "-extfile", at / "extensions", "-out", certificate)
            out[name] = openssl("x509", "-in", certificate, "-outform", "DER").hex()
        (at / "message").write_bytes(b"charge started")
        signed = openssl("pkeyutl", "-sign", "-inkey", at / "device.key", "-in", at / "message", "-rawin", "-digest", "sm3",
                         "-pkeyopt", "distid:TLSv1.3+GM+Cipher+Suite")
        key = openssl("pkcs8", "-topk8", "-nocrypt", "-in", at / "device.key", "-outform", "DER")
        return {"certificates": out, "device_key": key.hex(), "message": b"charge started".hex(), "tls_signature": signed.hex()}


def write(name, source, vectors):
    document = {"generator": "generate.py", "source": source, "vectors": vectors}
    (HERE / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")


version = backend.openssl_version_text()
lengths = [0, 1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 240, 255, 256, 257, 496, 497, 511, 512, 513, 1007, 1008, 1009, 1024, 2048, 4099]
write("sm4_gcm", version, [sm4_gcm(length, aad) for length in lengths for aad in (0, 5, 16, 21) if length < 300 or aad == 5])
write("hmac_sm3", f"{version}; GmSSL", [hmac_case(k, n) for k in (16, 32, 64, 65, 200) for n in (0, 1, 64, 100)])
write("hkdf_sm3", version, [hkdf(s, z, i, n) for s in (1, 32, 80) for z in (32, 64) for i in (0, 10) for n in (16, 32, 33, 100)])
write("kdf2", f"definition over {version} and GmSSL; SP 800-108 of {version}",
      [kdf2_case(s, z, i, n) for s in (16, 32, 64) for z in (32, 64) for i in (0, 9) for n in (1, 16, 32, 33, 64, 100)])
write("sm2_chain", subprocess.run(["openssl", "version"], capture_output=True, text=True, check=True).stdout.strip(), chain())
