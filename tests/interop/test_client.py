"""The client accepts a faithful gateway and refuses each departure, so that its exit code means something."""

import dataclasses

import pytest

from interop.client import run
from interop.frame import UNSUPPORTED
from interop.gateway_double import GROUP, INDEX, GatewayDouble
from interop.messages import TYPES
from interop.pile import Pile, Violation


@pytest.fixture
def gateway_with(tmp_path):
    opened = []

    def start(tamper=lambda name, fields: None):
        opened.append(GatewayDouble(tmp_path, tamper))
        return opened[-1]

    yield start
    for gateway in opened:
        gateway.close()


def change(message, field, value):
    def tamper(name, fields):
        if name == message:
            fields[field] = value(fields[field]) if callable(value) else value

    return tamper


def flipped(data):
    return data[:-1] + bytes([data[-1] ^ 1])


def session(gateway, state):
    return run(gateway.endpoint, Pile(gateway.identity, state), timeout_s=10)


def test_faithful_gateway_is_verified_to_the_end(gateway_with, tmp_path):
    summary = session(gateway_with(), tmp_path / "state.json")
    steps = [entry["step"] for entry in summary["verified"]]
    assert steps == [
        "hello", "policy", "epoch", "POLICY_ACK acknowledged", "unknown even tag refused", "unknown odd tag skipped", "ticket", "grant",
        "AUTH_ACK acknowledged", "CHARGE_STATUS acknowledged", "checkpoint", "CHARGE_END acknowledged", "checkpoint", "telemetry",
        "broken checksum refused and closed"]


def test_second_run_continues_the_chain_of_the_same_epoch(gateway_with, tmp_path):
    gateway, state = gateway_with(), tmp_path / "state.json"
    session(gateway, state)
    first = Pile(gateway.identity, state)
    session(gateway, state)
    second = Pile(gateway.identity, state)
    # Two checkpoints and one authorization a run; the policy is acknowledged once more because the gateway sent it again.
    assert (first.n, second.n, first.open_epoch) == (4, 8, second.open_epoch)
    assert first.head != second.head


def test_pile_whose_key_becomes_active_later_waits_for_that_epoch(gateway_with, tmp_path):
    gateway = gateway_with()
    gateway.active_from = gateway.epoch.epoch + 2
    session(gateway, tmp_path / "state.json")
    assert Pile(gateway.identity, tmp_path / "state.json").open_epoch.epoch == gateway.active_from


def test_client_without_a_bls_key_does_not_serve_a_root_and_goes_on(gateway_with, tmp_path):
    gateway = gateway_with()
    gateway.root_offered = {
        "group": GROUP, "epoch": gateway.epoch.epoch - 1, "root": bytes(32), "leaf": INDEX, "path": bytes(256), "n": 1, "head": bytes(32)}
    session(gateway, tmp_path / "state.json")
    assert [(nack["frame_type"], nack["code"]) for nack in gateway.nacks] == [(TYPES["BATCH_ROOT"], UNSUPPORTED)]


@pytest.mark.parametrize("tamper, complaint", [
    (change("HELLO_ACK", "version", 0x30), "version that was not offered"),
    (change("HELLO_ACK", "max_payload", 8191), "smallest max_payload"),
    (change("SET_POLICY", "signature", flipped), "not signed by governance"),
    (change("SET_POLICY", "first_epoch", 2), "not signed by governance"),
    (change("SET_POLICY", "offset", 19), "out of order"),
    (change("EPOCH", "signature", flipped), "EPOCH is not signed by the gateway"),
    (change("EPOCH", "challenge", flipped), "EPOCH is not signed by the gateway"),
    (change("CHALLENGE", "signature", flipped), "wrong signature"),
    (change("ticket", "device_id", flipped), "wrong device_id"),
    (change("ticket", "group", 8), "wrong group"),
    (change("ticket", "index", 4), "wrong index"),
    (change("ticket", "epoch", 10), "does not belong to the open epoch"),
    (change("ticket", "answer_by", 99), "wrong answer_by"),
    (change("ticket", "deadline", 169), "wrong deadline"),
    (change("ticket", "deadline", 7301), "wrong deadline"),
    (change("ticket", "h", b"\x01" * 32), "wrong h"),
    (change("AUTH_GRANT", "tag", flipped), "wrong tag"),
    (change("AUTH_GRANT", "body", flipped), "wrong tag"),
    (change("AUTH_GRANT", "suite", 1), "suite is reserved"),
    (change("ACK", "level", 0), "ACK of AUTH_ACK"),
    (change("NACK", "code", 9), "unknown even tag was answered"),
])
def test_departure_is_refused(gateway_with, tmp_path, tamper, complaint):
    with pytest.raises(Violation, match=complaint):
        session(gateway_with(tamper), tmp_path / "state.json")


def test_gateway_that_signs_with_another_key_than_its_certificate_names_is_refused(gateway_with, tmp_path):
    gateway = gateway_with()
    gateway.key = b"\x07" * 32
    with pytest.raises(Violation, match="EPOCH is not signed by the gateway"):
        session(gateway, tmp_path / "state.json")


def test_gateway_of_another_name_is_refused(gateway_with, tmp_path):
    gateway = gateway_with()
    gateway.endpoint = dataclasses.replace(gateway.endpoint, server_name="elsewhere.example")
    with pytest.raises(OSError, match="Hostname mismatch"):
        session(gateway, tmp_path / "state.json")
