"""Runs one pile's session against a gateway and prints what it verified as JSON; exits 0 only if every step was verified."""

import argparse
import json
import sys
from pathlib import Path

from .client import run
from .digests import Domain
from .frame import Refused
from .link import Endpoint
from .pile import Identity, Pile, Violation


def main():
    options = parse_options()
    endpoint = Endpoint(options.host, options.port, options.server_name, options.root, options.cert, options.key,
                        options.tls or "standard")
    identity = Identity(
        unhex(options.device_id, 32), unhex(options.device_key, 32), unhex(options.battery, 32),
        Domain(options.chain_id, unhex(options.verifier, 20)), Domain(options.chain_id, unhex(options.policy_registry, 20)),
        unhex(options.policy_signer, 20))
    state = options.state or Path(options.cert).with_suffix(".interop.json")
    try:
        summary = run(endpoint, Pile(identity, state), options.timeout, options.policy_until_version, options.until_safe)
    except (Violation, Refused, OSError) as error:
        print(json.dumps({"ok": False, "error": f"{type(error).__name__}: {error}"}, indent=2))
        return 1
    print(json.dumps({"ok": True} | summary, indent=2))
    return 0


def parse_options():
    parser = argparse.ArgumentParser(prog="python -m interop", description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--server-name", default="localhost", help="DNS name the gateway's certificate must carry (default: %(default)s)")
    parser.add_argument("--tls", choices=("standard", "shangmi"), help="pairing of TLS; the pile's in --fleet if absent, else standard")
    parser.add_argument("--root", help="PEM of the root that the gateway's certificate leads to; pki/root.pem or pki/sm2-root.pem beside --fleet if absent")
    parser.add_argument("--fleet", type=Path, help="fleet.json, with --pile in place of --cert --key --device-id --device-key --battery")
    parser.add_argument("--pile", help="name of a pile in --fleet")
    parser.add_argument("--deployment", type=Path, help="JSON in place of --chain-id --verifier --policy-registry --policy-signer")
    for name in ("cert", "key", "device-id", "device-key", "battery", "verifier", "policy-registry", "policy-signer"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--chain-id", type=int)
    parser.add_argument("--state", type=Path, help="file that holds the pile's state from one run to the next; beside --cert if absent")
    parser.add_argument("--timeout", type=float, default=60.0, help="longest wait for one answer, in seconds")
    parser.add_argument("--until-safe", action="store_true", help="wait for AUTH_FINAL")
    parser.add_argument("--policy-until-version", type=int, metavar="V", help="wait for SET_POLICY of this version and acknowledge it")
    options = parser.parse_args()
    fill(options, from_fleet(options.fleet, options.pile) if options.fleet else {})
    fill(options, from_deployment(options.deployment) if options.deployment else {})
    for name in ("root", "cert", "key", "device_id", "device_key", "battery", "chain_id", "verifier", "policy_registry", "policy_signer"):
        if getattr(options, name) is None:
            parser.error(f"--{name.replace('_', '-')} is missing")
    return options


def fill(options, values):
    for name, value in values.items():
        if getattr(options, name) is None:
            setattr(options, name, value)


def from_fleet(path, name):
    piles = {pile["name"]: pile for pile in json.loads(path.read_text())["piles"]}
    if name not in piles:
        sys.exit(f"{path} holds no pile {name}")
    pile, folder = piles[name], path.parent
    tls = pile.get("pairing", "standard")
    return {
        "tls": tls,
        "root": str(folder / "pki" / ("sm2-root.pem" if tls == "shangmi" else "root.pem")),
        "cert": str(folder / pile["certificate"]),
        "key": str(folder / pile["certificate_key"]),
        "device_id": pile["device_id"],
        "device_key": pile["key"],
        "battery": pile["battery"],
    }


def from_deployment(path):
    deployment = json.loads(path.read_text())
    return {
        "chain_id": deployment["chain_id"],
        "verifier": deployment["verifiers"][-1]["address"],
        "policy_registry": deployment["policy_registry"],
        "policy_signer": deployment["policy_signer"],
    }


def unhex(text, size):
    data = bytes.fromhex(text.removeprefix("0x"))
    if len(data) != size:
        sys.exit(f"{text[:10]}… is {len(data)} bytes, {size} are needed")
    return data


sys.exit(main())
