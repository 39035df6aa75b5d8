#!/usr/bin/env python3
"""Writes the first inputs of each corpus: what tests/vectors and the deployment's files hold, and scripts of ordinary sessions.

usage: fuzz/seed.py    (inputs that a fuzzer found are left alone)
"""
import json
import pathlib
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
VECTORS = HERE.parent / "tests" / "vectors"


def load(name):
    return json.loads((VECTORS / f"{name}.json").read_text())


def raw(text):
    return bytes.fromhex(text.removeprefix("0x"))


def put(target, name, data):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"seed-{name}").write_bytes(data)


def wire():
    vectors = load("frames")
    for i, vector in enumerate(vectors["frames"]):
        payload = raw(vector["payload"])
        name = f"{vector['name'].lower()}-{i:02}"
        put("messages", name, bytes([vector["type"]]) + payload)
        if vector["name"] in ("AUTH_GRANT", "AUTH_DENY", "CREDIT_UPDATE"):
            put("bodies", name, raw(vector["fields"]["body"]))
    # Of a place that exists, and of one that does not.
    for name, leaf in (("near", 0x0105), ("beyond", 0x0205)):
        values = [b"\0\0\0\7", b"\0\0\0\x09", b"\x0a" * 32, leaf.to_bytes(2, "big"), bytes(range(32)) * 9, b"\3", b"\x0b" * 32]
        fields = (bytes([tag]) + len(value).to_bytes(2, "big") + value for tag, value in enumerate(values, 1))
        put("messages", f"path-{name}", b"\x40" + b"".join(fields))
    frames = [raw(vector["frame"]) for vector in vectors["frames"]]
    # Largest payload, cut, sealed or not, stream.
    put("frames", "stream", b"\x20\x00" + b"\x06" + b"\x00" + b"".join(frames[:6]))
    put("frames", "bytewise", b"\x20\x00" + b"\x00" + b"\x00" + frames[0])
    put("frames", "sealed", b"\x02\x00" + b"\x0b" + b"\x01" + b"\x04\x02abcdefgh" + b"\x12\x01abcd")
    for i, vector in enumerate(vectors["refused"]):
        if "frame" in vector:
            put("frames", f"refused-{i:02}", b"\x02\x00\x20\x00" + raw(vector["frame"]))
        elif "payload" in vector:
            put("messages", f"refused-{i:02}", bytes([vector["type"]]) + raw(vector["payload"]))
    tariffs = load("tariff")
    for kind in ("valid", "invalid"):
        for i, vector in enumerate(tariffs[kind]):
            put("tariffs", f"{kind}-{i:02}", raw(vector["bytes"]))


def device():
    connect = bytes([2, 0, 1])
    policy = bytes([3, 1, 255])
    epoch = bytes([4, 5])
    answer = bytes([6, 0xF0])
    ready = connect + policy + epoch + answer
    granted = ready + bytes([9]) + answer * 3
    measured = granted + bytes([11, 1]) + answer + bytes([12, 7]) + bytes(range(8)) + answer * 2
    end = bytes([15, 1]) + (100).to_bytes(4, "big") + (5).to_bytes(2, "big") + b"\x00" + answer * 3
    ended = measured + end
    cut = measured + bytes([20, 1, 1, 13, 23]) + ready + bytes([16, 0, 200]) + end + bytes([9]) + answer * 3
    later = ended + bytes([4, 12]) + bytes([3, 2, 255]) + bytes([4, 12]) + answer + bytes([9]) + answer * 3
    rooted = later + bytes([47, 5, 1, 7]) + answer + bytes([47, 5, 2, 7]) + answer + bytes([71, 5]) + answer * 2
    silent = granted + bytes([16, 0xFF, 0xFF, 17, 17, 17]) + connect + answer
    other = granted + bytes([18, 19]) + bytes([2, 7, 1]) + epoch + bytes([9]) + answer
    for name, script in dict(
        ready=ready, granted=granted, measured=measured, ended=ended, cut=cut, later=later, rooted=rooted, silent=silent, other=other
    ).items():
        put("device_session", name, script)
    chain = b"\x01" + (7).to_bytes(4, "big") + b"\x03" + b"\x01" * 32 + (9).to_bytes(4, "big") + b"\x05" + b"\x02" * 68
    checkpoints = b"\x01" + (b"\x01" + b"\x04" * 32 + b"\x05" * 16 + (6).to_bytes(4, "big") + b"\x07" * 32) + b"\x00" * 255
    charge = b"\x01" + b"\x09" * 16 + (1000).to_bytes(4, "big") + (60).to_bytes(2, "big") + b"\x00" * 40
    tariff = raw(load("tariff")["valid"][0]["bytes"])
    policy = b"\x01" + (1).to_bytes(4, "big") + (0).to_bytes(4, "big") + b"\x03" * 64 + tariff
    root = b"\x01" + (8).to_bytes(4, "big") + (7).to_bytes(4, "big") + b"\x2a\x05" + b"\x0a" * 96 + b"\x01" + b"\x0b" * 32
    closed = b"\x01" + root + b"\x00" * 429
    slots = [chain, checkpoints, charge, policy, b"", b"", b"", closed]
    put("device_records", "all", b"".join(len(slot).to_bytes(2, "big") + slot for slot in slots))
    put("device_records", "empty", b"\x00" * 16)


def relayer():
    requests = dict(
        status=None, policy=None, devices={"offset": 0, "limit": 500}, device={"device": "1a2b"}, why={"sid": "00" * 16},
        tx_list=None, tx_bump={"batch": 1}, tx_cancel={"batch": 2**64 - 1}, journal_backup={"destination": "/backup.redb"},
    )
    for command, arguments in requests.items():
        line = {"v": 1, "command": command} | ({"arguments": arguments} if arguments else {})
        put("admin_requests", command, json.dumps(line).encode())
    put("admin_requests", "version", b'{"v":2,"command":"status"}')
    put("admin_requests", "unknown", b'{"v":1,"command":"reboot"}')
    put("configuration", "annotated", b"\x00" + (HERE.parent / "deploy" / "relayer.toml").read_bytes())
    names = ["access_manager", "device_registry", "gateway_registry", "policy_registry", "battery_ledger", "policy_signer"]
    deployment = {"chain_id": 1235, "start_block": 12, "epoch_len_blocks": 20, "ring_epochs": 32}
    deployment |= {name: "0x" + f"{i:02x}" * 20 for i, name in enumerate(names)}
    deployment["verifiers"] = [{"address": "0x" + "77" * 20, "label": "v1"}]
    put("configuration", "deployment", b"\x01" + json.dumps(deployment).encode())
    # Ticket, statement, epoch closed, batch, attempt, receipt, safe, settled.
    put("journal_records", "carried", bytes.fromhex("040000000001" "04000000000002" "0100000102" "00000100" "01 05 ff 20 00".replace(" ", "")))
    acked = b"\x04" + b"\x07" * 48
    put("journal_records", "bytes", b"\x00" + len(acked).to_bytes(2, "big") + acked)
    for i in range(4):
        put("chain_events", f"kind-{i}", bytes([i, 1, 5, 1]) + b"\x06" * 32 + bytes([0, 2, 0]) + b"\x00" * 31 + b"\x01" + b"\x00" * 27 + b"\x05\x00\x00\x02\x03" + b"\x09" * 32)
    # Step, its draws, and whether to listen after it.
    hello = bytes([2, 0, 0, 1, 1, 0, 1])
    granted = hello + bytes([3, 0, 1]) + bytes([5, 0, 0, 1, 0, 1])
    acked = granted + bytes([9, 0, 1, 1])
    ended = acked + bytes([9, 2, 0]) + bytes(4) + bytes(2) + b"\x01\x01"
    measured = hello + bytes([10, 0, 0, 1]) * 5 + bytes([12, 0, 0, 0, 0, 0, 0, 1])
    for name, script in dict(
        granted=granted,
        ended=ended,
        measured=measured,
        repeated=granted + bytes([8, 1]),
        later=ended + bytes([16, 1]) + bytes([3, 1, 1]) + bytes([5, 0, 0, 1, 0, 1]),
        policy=hello + bytes([13, 0, 0, 0, 0, 1]),
        failing=granted + bytes([17, 0, 1]) + bytes([9, 0, 1, 1]),
        revoked=granted + bytes([17, 1, 1]) + bytes([14, 1]) + hello,
        bytes=hello + bytes([0, 3, 0xC1, 2, 0x20, 1]) + hello,
    ).items():
        put("relayer_session", name, script)
    answers = {0: '"0x4d3"', 1: '{"number":"0x9","hash":"0x%s","baseFeePerGas":"0x4a817c800"}' % ("0a" * 32), 2: "null", 7: '"0x5208"', 8: '"0xf1885eda54b7a053318cd41e2093220dab15d65381b1157a3633a83bfd5c9239"', 10: '"0x00"'}
    answers[9] = '{"status":"0x1","blockNumber":"0x10","blockHash":"0x%s","gasUsed":"0x5208","effectiveGasPrice":"0x1","gasFee":"0x12345","logs":[]}' % ("0b" * 32)
    log = '[{"address":"0x%s","topics":["0x%s"],"data":"0x%s","blockNumber":"0x1","transactionHash":"0x%s","logIndex":"0x0","removed":false}]'
    for method in (3, 4, 5, 6):
        answers[method] = log % ("0c" * 20, "0d" * 32, "0e" * 64, "0f" * 32)
    for method, answer in answers.items():
        put("chain_answers", f"method-{method:02}", bytes([method, 0]) + answer.encode())
    put("chain_answers", "refused", b"\x08\x01" + b'{"code":-32603,"message":"nonce too low"}')
    put("chain_answers", "reverted", b"\x07\x01" + b'{"code":3,"message":"execution reverted","data":"0xdeadbeef"}')
    put("chain_answers", "html", b"\x01\x03<html>Bad Gateway</html>")
    certificate("device", "URI:urn:cip22:device:" + "0b" * 32)
    certificate("gateway", "URI:urn:cip22:gateway:0x" + "0c" * 20 + ",DNS:gateway")
    certificate("two-names", "URI:urn:cip22:device:" + "0b" * 32 + ",URI:urn:cip22:device:" + "0c" * 32)


def certificate(name, names):
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "c.der"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650"]
            + ["-keyout", "/dev/null", "-subj", "/CN=x", "-addext", f"subjectAltName={names}", "-outform", "DER", "-out", str(out)],
            check=True,
            capture_output=True,
        )
        put("certificates", name, out.read_bytes())


def ciphers():
    # Key, nonce, associated data's length, gap, change (kind, place, bit), associated data and plaintext.
    head = bytes(range(16)) + b"\7" * 12
    for length in (0, 1, 16, 17, 240, 497, 1009, 2100):
        for kind in range(4):
            change = bytes([kind]) + (length // 2).to_bytes(2, "big") + bytes([length % 8])
            put("sm4_gcm", f"{length:04}-{kind}", head + bytes([length % 70, length % 33]) + change + bytes(i * 7 & 255 for i in range(length % 70 + length)))


wire()
device()
relayer()
ciphers()
