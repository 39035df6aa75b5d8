#!/usr/bin/env python3
"""Writes the certificates and keys beside it, by the `openssl` command (3.0 or later), valid for a hundred years but for one that ends after ten days:
NAME.pem (a chain without its root; a root alone) and NAME.key (PKCS #8) for who presents one. Test material only."""

import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
LEAF = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
DEVICE = LEAF + "extendedKeyUsage=clientAuth\nsubjectAltName=URI:urn:cip22:device:{}\n"
GATEWAY = LEAF + "extendedKeyUsage=serverAuth\nsubjectAltName=DNS:gateway.example,DNS:localhost\n"
CA = "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n"
ROOT = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"
# name: (algorithm, subject, issuer, extensions)
CERTIFICATES = {
    "root": ("sm2", "Root", None, ROOT),
    "ca": ("sm2", "Province", "root", CA),
    "device_1": ("sm2", "Device", "ca", DEVICE.format("01")),
    "device_2": ("sm2", "Device", "ca", DEVICE.format("02")),
    "device_that_expires": ("sm2", "Device", "ca", DEVICE.format("01")),
    "gateway": ("sm2", "Gateway", "ca", GATEWAY),
    # a root of the same name, and one of another
    "look_alike_root": ("sm2", "Root", None, ROOT),
    "look_alike_ca": ("sm2", "Province", "look_alike_root", CA),
    "device_of_look_alike": ("sm2", "Device", "look_alike_ca", DEVICE.format("01")),
    "gateway_of_look_alike": ("sm2", "Gateway", "look_alike_ca", GATEWAY),
    "other_root": ("sm2", "Other root", None, ROOT),
    "ca_without_ca_bit": ("sm2", "Province", "root", CA.replace("CA:TRUE,pathlen:0", "CA:FALSE")),
    "device_of_ca_without_ca_bit": ("sm2", "Device", "ca_without_ca_bit", DEVICE.format("01")),
    "standard_root": ("p256", "Standard root", None, ROOT),
    "standard_ca": ("p256", "Standard province", "standard_root", CA),
    "standard_device": ("p256", "Device", "standard_ca", DEVICE.format("01")),
    "standard_gateway": ("p256", "Gateway", "standard_ca", GATEWAY),
}
DAYS = {"device_that_expires": 10}
DISTID = "distid:1234567812345678"
KEY = {"sm2": ("-algorithm", "SM2"), "p256": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")}
DIGEST = {"sm2": ("-sm3", "-sigopt", DISTID), "p256": ("-sha256",)}


def openssl(*arguments):
    return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, text=True).stdout


def main():
    with tempfile.TemporaryDirectory() as directory:
        at = Path(directory)
        for serial, (name, (algorithm, subject, issuer, extensions)) in enumerate(CERTIFICATES.items(), 1):
            key, request, certificate = (at / f"{name}.{end}" for end in ("key", "csr", "pem"))
            openssl("genpkey", *KEY[algorithm], "-out", key)
            openssl("req", "-new", "-key", key, "-subj", f"/O=Test/CN={subject}", *DIGEST[algorithm], "-out", request)
            (at / "extensions").write_text(extensions)
            signer = ("-signkey", key) if issuer is None else ("-CA", at / f"{issuer}.pem", "-CAkey", at / f"{issuer}.key")
            check = ("-vfyopt", DISTID) if algorithm == "sm2" else ()
            openssl("x509", "-req", "-in", request, *signer, "-days", DAYS.get(name, 36500), *DIGEST[algorithm], *check,
                    "-set_serial", serial, "-extfile", at / "extensions", "-out", certificate)
            if issuer is None:
                (HERE / f"{name}.pem").write_text(certificate.read_text())
            elif "CA:FALSE\nkeyUsage=critical,digitalSignature" in extensions:
                (HERE / f"{name}.pem").write_text(certificate.read_text() + (at / f"{issuer}.pem").read_text())
                (HERE / f"{name}.key").write_text(key.read_text())


main()
