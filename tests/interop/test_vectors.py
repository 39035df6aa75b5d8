"""Every golden vector of tests/vectors, against this package's own codec and cryptography."""

import json
from pathlib import Path

import pytest

from interop import batch_tree, digests, messages, session_keys, tariff
from interop.digests import Domain, hash_struct
from interop.frame import FrameReader, Refused, crc8

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
TICKET_FIELDS = ("circuit_version sid device_id group index nonce epoch epoch_challenge policy_hash issued answer_by deadline"
                 " gw_eph dev_eph h").split()
STRUCT_OF = {
    "policy": ("Policy", "version first_epoch tariff".split(), "governance"),
    "challenge_req": ("ChallengeReq", "device_id dev_eph".split(), "device"),
    "epoch": ("Epoch", "group epoch challenge policy_hash".split(), "gateway"),
    "ticket": ("Ticket", TICKET_FIELDS, "gateway"),
    "head": ("Head", "group index epoch challenge policy_hash n head".split(), "device"),
    "charge_end": ("ChargeEnd", "device_id sid wh minutes cause meter".split(), "device"),
    "charge_end_without_meter": ("ChargeEnd", "device_id sid wh minutes cause meter".split(), "device"),
    "trust_update": ("TrustUpdate", "version kind value".split(), "governance"),
}
STATEMENT_OF = {
    "policy_ack": ("PolicyAck", "device_id epoch n version policy_hash first_epoch".split()),
    "auth": ("Auth", "device_id epoch n ticket_hash l".split()),
    "checkpoint": ("Checkpoint", "device_id epoch n battery segment seq time_ms fp prev_seq prev_fp".split()),
}


def unhexed(value):
    if isinstance(value, str) and value.startswith("0x"):
        return bytes.fromhex(value[2:])
    if isinstance(value, dict):
        return {key: unhexed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [unhexed(item) for item in value]
    return value


def load(name):
    return unhexed(json.loads((VECTORS / f"{name}.json").read_text()))


FRAMES, DIGESTS, KEYS, TARIFFS, BLS = (load(name) for name in ("frames", "digests", "session_keys", "tariff", "bls"))


def test_no_vector_file_is_left_out():
    assert {path.stem for path in VECTORS.glob("*.json")} == {"bls", "crc", "digests", "frames", "session_keys", "tariff", "telemetry"}


@pytest.mark.parametrize("vector", load("crc")["vectors"])
def test_crc_matches(vector):
    assert crc8(vector["bytes"]) == vector["crc"]


def test_every_message_has_a_frame():
    assert {vector["name"] for vector in FRAMES["frames"]} == set(messages.TYPES)


@pytest.mark.parametrize("vector", FRAMES["frames"], ids=lambda vector: vector["name"])
def test_frame_decodes_and_encodes_to_the_same_bytes(vector):
    reader = FrameReader(8192)
    reader.feed(vector["frame"])
    frame_type, payload = reader.next_frame()
    assert (frame_type, payload, reader.buffer) == (vector["type"], vector["payload"], b"")
    name, fields = messages.decode(frame_type, payload)
    kinds = {field: kind for _, field, kind, _ in messages.parse_row(messages.TABLE[frame_type][1])}
    assert name == vector["name"]
    assert {field: messages.to_bytes(kinds[field], value) for field, value in fields.items()} == vector["fields"]
    assert messages.encode(name, **fields) == vector["frame"]


@pytest.mark.parametrize("vector", FRAMES["refused"], ids=lambda vector: vector["why"])
def test_frame_is_refused_as_the_vector_says(vector):
    reader = FrameReader(512)
    reader.feed(vector["frame"])
    with pytest.raises(Refused) as refused:
        messages.decode(*reader.next_frame())
    found = refused.value
    absent = {None: -1}
    assert (found.frame_type, found.code, absent.get(found.field, found.field), absent.get(found.limit, found.limit), found.closes) == (
        vector["frame_type"], vector["code"], vector["field"], vector["limit"], vector["closes"])


def test_unknown_odd_field_is_skipped():
    vector = FRAMES["frames"][0]
    assert messages.decode(vector["type"], vector["payload"] + b"\x09\x00\x02ab") == messages.decode(vector["type"], vector["payload"])


def domain(name="verifying_contract"):
    return Domain(DIGESTS["domain"]["chain_id"], DIGESTS["domain"][name])


def test_domain_separators_match():
    assert domain().separator == DIGESTS["domain"]["separator"]
    assert domain("policy_registry").separator == DIGESTS["domain"]["policy_registry_separator"]


@pytest.mark.parametrize("name", STRUCT_OF)
def test_struct_hash_digest_and_signature_match(name):
    vector, (struct, fields, who) = DIGESTS[name], STRUCT_OF[name]
    struct_hash = hash_struct(struct, *(vector[field] for field in fields))
    digest = domain("policy_registry" if who == "governance" else "verifying_contract").digest(struct_hash)
    assert (struct_hash, digest) == (vector["struct_hash"], vector["digest"])
    assert digests.signer(digest, vector["signature"]) == DIGESTS[who]["address"]
    assert digests.sign(DIGESTS[who]["private_key"], digest) == vector["signature"]


def test_statements_chain_to_the_signed_heads():
    head = bytes(32)
    for n, vector in enumerate(DIGESTS["statements"], start=1):
        struct, fields = STATEMENT_OF[vector["kind"]]
        statement = hash_struct(struct, *(vector[field] for field in fields))
        assert (n, statement, head) == (vector["n"], vector["stmt"], vector["prev_head"])
        head = digests.next_head(head, statement)
        epoch = DIGESTS["head"]
        signed = hash_struct("Head", epoch["group"], epoch["index"], vector["epoch"], epoch["challenge"], epoch["policy_hash"], n, head)
        assert (head, signed, domain().digest(signed)) == (vector["head"], vector["head_struct_hash"], vector["head_digest"])
        assert digests.signer(vector["head_digest"], vector["signature"]) == DIGESTS["device"]["address"]


def test_record_for_the_contract_is_index_n_head_signature():
    vector = DIGESTS["head"]
    assert vector["record"] == bytes([vector["index"], vector["n"]]) + vector["head"] + vector["signature"]


def test_what_is_signed_by_bls_matches():
    addresses, root = BLS["domain"], BLS["root"]
    verifier, registry = (Domain(addresses["chain_id"], addresses[name]) for name in ("verifying_contract", "device_registry"))
    assert registry.separator == addresses["device_registry_separator"]
    struct_hash = hash_struct("Root", root["epoch"], root["challenge"], root["policy_hash"], root["root"])
    assert (struct_hash, verifier.digest(struct_hash)) == (root["struct_hash"], root["digest"])
    for signer in BLS["signers"]:
        struct_hash = hash_struct("BlsPossession", signer["device_id"], signer["key"])
        assert (struct_hash, registry.digest(struct_hash)) == (signer["possession_struct_hash"], signer["possession_digest"])


@pytest.mark.parametrize("tree", BLS["trees"], ids=lambda tree: f"{len(tree['groups'])} groups")
def test_every_path_leads_to_its_trees_roots_and_from_no_other_place(tree):
    group_roots = {group["group"]: group["group_root"] for group in tree["groups"]}
    for group in tree["groups"]:
        assert batch_tree.group_leaf(group["group"], group["group_root"]) == group["group_leaf"]
    for leaf in tree["leaves"]:
        place = (leaf["group"], leaf["place"], leaf["n"], leaf["head"])
        assert batch_tree.leaf(leaf["group"], leaf["index"], leaf["n"], leaf["head"]) == leaf["leaf"]
        assert batch_tree.follow(*place, leaf["path"]) == (group_roots[leaf["group"]], tree["root"])
        other = (leaf["group"], leaf["place"] ^ 1, leaf["n"], leaf["head"])
        assert batch_tree.follow(*other, leaf["path"])[1] != tree["root"]
        beyond = (leaf["group"], leaf["place"] | 1 << len(leaf["path"]) // 32, leaf["n"], leaf["head"])
        assert batch_tree.follow(*beyond, leaf["path"]) is None
        assert batch_tree.follow(*place, leaf["path"][:-1]) is None


@pytest.mark.parametrize("s", [0, digests.HALF_ORDER + 1])
def test_signature_with_s_outside_the_lower_half_is_refused(s):
    vector = DIGESTS["head"]
    assert digests.signer(vector["digest"], vector["signature"][:32] + s.to_bytes(32, "big")) is None


def test_session_keys_match():
    found = session_keys.derive(KEYS["dev_eph_private_key"], KEYS["device_private_key"], KEYS["gw_eph"], KEYS["sid"])
    assert vars(found) == {name: KEYS[name] for name in ("k", "k_mac", "k_enc_gateway", "k_enc_pile")}
    assert session_keys.public_point(KEYS["dev_eph_private_key"]) == KEYS["dev_eph"]
    assert digests.keccak(KEYS["a"]) == KEYS["l"]


@pytest.mark.parametrize("vector", KEYS["tags"], ids=lambda vector: vector["name"])
def test_tag_matches_and_its_body_decodes(vector):
    assert session_keys.tag(KEYS["k_mac"], KEYS["ticket_hash"], vector["frame_type"], vector["suite"], vector["body"]) == vector["tag"]
    assert messages.TYPES[vector["name"]] == vector["frame_type"]
    assert messages.decode_body(vector["name"], vector["body"])


@pytest.mark.parametrize("vector", load("telemetry")["records"], ids=lambda vector: f"seq {vector['seq']}")
def test_telemetry_fingerprint_matches(vector):
    assert digests.canonical(vector) == vector["canonical"]
    assert digests.fingerprint(vector["prev_fp"], vector) == vector["fp"]


@pytest.mark.parametrize("vector", TARIFFS["valid"], ids=lambda vector: vector["currency"])
def test_tariff_parses(vector):
    found = tariff.parse(vector["bytes"])
    for name in ("currency", "utc_offset_minutes", "credit_wh", "credit_minutes"):
        assert getattr(found, name) == vector[name]
    assert [period.start_minute for period in found.periods] == vector["start_minutes"]
    assert [period.energy_price for period in found.periods] == vector["energy_prices"]
    assert [period.service_price for period in found.periods] == vector["service_prices"]


@pytest.mark.parametrize("vector", TARIFFS["invalid"], ids=lambda vector: vector["why"])
def test_tariff_is_refused(vector):
    with pytest.raises(ValueError):
        tariff.parse(vector["bytes"])
