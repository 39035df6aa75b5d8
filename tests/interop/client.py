"""A pile's session with a gateway (§4.1), each step verified. `run` goes through all of them and returns what it saw."""

import secrets
import time
from collections import Counter

from . import digests, messages, session_keys
from .digests import hash_struct, keccak
from .frame import (BAD_CRC, FIELD_VALUE, STALE_POLICY, UNKNOWN_DEVICE, UNKNOWN_FIELD, UNSUPPORTED, VERSION, encode_frame,
                    encode_tlv)
from .link import MAX_PAYLOAD, Link
from .messages import TYPES, encode
from .pile import Epoch, Policy, Violation, verify

TICKET = [field for _, field, _, _ in messages.parse_row(messages.TABLE[TYPES["CHALLENGE"]][1])][:-1]
RECEIVED, DURABLE, SAFE = 1, 2, 3
CAUSE_LOCAL = 1
UNSERVED = ("BATCH_ROOT", "TRUST_UPDATE", "OTA_OFFER")


def run(endpoint, pile, timeout_s=60.0, policy_until_version=None, until_safe=False):
    """The summary of a whole session and of a second connection that breaks a checksum; raises Violation at the first step that fails."""
    with Link(endpoint, timeout_s) as link:
        session = Session(link, pile, timeout_s)
        session.hello()
        session.await_epoch()
        session.await_policy_acks()
        session.unknown_fields()
        session.authorize()
        session.charge()
        if until_safe:
            session.await_final()
        if policy_until_version is not None:
            session.await_policy(policy_until_version)
    with Link(endpoint, timeout_s) as link:
        Session(link, pile, timeout_s, session.summary).broken_checksum()
    return session.summary


class Late(Violation):
    """What the gateway owed did not come in time."""


class Session:
    def __init__(self, link, pile, timeout_s, summary=None):
        self.link, self.pile, self.timeout_s = link, pile, timeout_s
        self.identity = pile.identity
        self.heartbeat_s = None
        self.beats = 0
        self.clock_skew_ms = 0
        self.epoch_confirmed = False
        self.chunks = b""
        self.to_acknowledge = []  # versions of policies that wait for an open epoch
        self.unanswered = {}  # (epoch, n) of each POLICY_ACK without its ACK, the oldest first: the policy's version
        self.sid = None
        self.summary = summary or {"gateway": "0x" + link.gateway.hex(), "verified": [], "received": Counter()}

    # --- steps

    def hello(self):
        """§4.1, 1 and 2."""
        answer = self.request(
            "HELLO", "HELLO_ACK", versions=bytes([VERSION]), device_id=self.identity.device_id, features=0, max_payload=MAX_PAYLOAD,
            policy_version=max(self.pile.policies, default=0), epoch=self.pile.open_epoch.epoch)
        verify(answer["version"] == VERSION, "HELLO_ACK chose a version that was not offered")
        verify(answer["max_payload"] >= 8192, "HELLO_ACK states less than the smallest max_payload of a gateway")
        verify(answer["resumed"] == 0, "HELLO_ACK resumed a session that nobody asked to")
        self.pile.group, self.pile.index = answer["group"], answer["index"]
        self.heartbeat_s = answer["heartbeat_interval_ms"] / 1000
        self.clock_skew_ms = max(0, answer["time_ms"] - unix_ms())
        self.note("hello", group=answer["group"], index=answer["index"])

    def await_epoch(self):
        self.until(lambda _name, _fields: self.epoch_confirmed, "EPOCH")
        opened = self.pile.open_epoch
        self.note("epoch", epoch=opened.epoch, policy_hash="0x" + opened.policy_hash.hex())

    def await_policy_acks(self):
        """§4.1, 3. A key that is not active yet in the open epoch is refused, and tried again in the next."""
        def settled(name, fields):
            if name == "NACK":
                verify((fields["frame_type"], fields["code"]) == (TYPES["POLICY_ACK"], UNKNOWN_DEVICE) and self.unanswered,
                       f"NACK {fields} came instead of ACK of POLICY_ACK")
                self.to_acknowledge.append(self.unanswered.pop(next(iter(self.unanswered))))
            return not self.unanswered and not self.to_acknowledge

        if self.unanswered or self.to_acknowledge:
            self.until(settled, "ACK of POLICY_ACK", accept_nack=True)

    def unknown_fields(self):
        """§3: an unknown even tag refuses the frame, an unknown odd one is skipped."""
        def heartbeat(tag):
            self.beats += 1
            fields = messages.encode_payload("HEARTBEAT", {"counter": self.beats, "time_ms": self.now_ms()})
            self.link.send(encode_frame(TYPES["HEARTBEAT"], fields + encode_tlv([(tag, b"?")])))
            return self.beats

        heartbeat(4)
        nack = self.until(lambda name, fields: name == "NACK", "NACK of an unknown even tag", accept_nack=True)
        verify((nack["frame_type"], nack["code"], nack.get("field")) == (TYPES["HEARTBEAT"], UNKNOWN_FIELD, 4),
               f"an unknown even tag was answered with {nack}")
        counter = heartbeat(3)
        self.until(lambda name, fields: name == "HEARTBEAT" and fields["counter"] == counter, "HEARTBEAT after an unknown odd tag")
        self.note("unknown even tag refused")
        self.note("unknown odd tag skipped")

    def authorize(self):
        """CHALLENGE_REQ to the ACK of AUTH_ACK."""
        dev_eph_key = secrets.token_bytes(32)
        ticket = self.ask_ticket(session_keys.public_point(dev_eph_key))
        ticket_hash = hash_struct("Ticket", *(ticket[name] for name in TICKET))
        self.note("ticket", sid="0x" + ticket["sid"].hex(), ticket_hash="0x" + ticket_hash.hex())

        a = secrets.token_bytes(32)
        statement = self.pile.append("Auth", ticket_hash, keccak(a))
        sent = time.monotonic()
        self.send("AUTH_RESP", sid=ticket["sid"], l=keccak(a), **statement)
        answered = []

        def answers(name, fields):
            answered[:] = [name]
            return name in ("AUTH_GRANT", "AUTH_DENY") and fields["sid"] == ticket["sid"]

        fields = self.until(answers, "AUTH_GRANT")
        latency_ms = (time.monotonic() - sent) * 1000
        keys = session_keys.derive(dev_eph_key, self.identity.key, ticket["gw_eph"], ticket["sid"])
        verify(fields["suite"] == 0, "the answer's suite is reserved")
        expected = session_keys.tag(keys.k_mac, ticket_hash, TYPES[answered[0]], fields["suite"], fields["body"])
        verify(secrets.compare_digest(expected, fields["tag"]), f"{answered[0]} has a wrong tag")
        body = messages.decode_body(answered[0], fields["body"])
        verify(answered[0] == "AUTH_GRANT", f"denied: {body}")
        self.sid = ticket["sid"]
        self.note("grant", latency_ms=round(latency_ms, 2), **body)
        self.acknowledged("AUTH_ACK", sid=self.sid, a=a)

    def charge(self):
        """Telemetry from where the battery stands, a checkpoint within the charge and one after it."""
        self.acknowledged("CHARGE_STATUS", sid=self.sid, wh=0, minutes=0)
        held = self.request("TELEM_HEAD", "TELEM_HEAD", battery=self.identity.battery)
        verify(held["battery"] == self.identity.battery and {"seq", "fp", "ledger_seq", "ledger_fp"} <= held.keys(),
               "TELEM_HEAD does not name the battery and both of its heads")
        seq, fp, ledger = held["seq"], held["fp"], (held["ledger_seq"], held["ledger_fp"])
        record = None
        for count in (3, 1):
            for _ in range(count):
                seq += 1
                record = self.record(seq)
                fp = digests.fingerprint(fp, record)
                self.acknowledged_telemetry("BATT_TELEM", checkpoint=0, fp=fp, **record)
            if count == 1:
                self.end_charge(record)
            ledger = self.checkpoint(record, fp, *ledger)
        self.note("telemetry", seq=seq, fp="0x" + fp.hex())

    def await_final(self):
        final = self.until(lambda name, fields: name == "AUTH_FINAL" and fields["sid"] == self.sid and fields["level"] >= SAFE, "AUTH_FINAL")
        self.note("recorded on chain", transaction="0x" + final["transaction"].hex(), block=final["block"])

    def await_policy(self, version):
        self.until(lambda _name, _fields: version in self.pile.policies, f"SET_POLICY of version {version}")
        self.note("policy awaited", version=version)
        self.await_policy_acks()

    def broken_checksum(self):
        frame = encode("HEARTBEAT", counter=1, time_ms=unix_ms())
        self.link.send(frame[:-1] + bytes([frame[-1] ^ 1]))
        nack = self.until(lambda name, fields: name == "NACK", "NACK of a broken checksum", accept_nack=True)
        verify((nack["frame_type"], nack["code"]) == (0, BAD_CRC), f"a broken checksum was answered with {nack}")
        try:
            name, _ = self.link.receive(time.monotonic() + self.timeout_s)
        except EOFError:
            self.note("broken checksum refused and closed")
        else:
            raise Violation(f"{name} followed a broken checksum")

    # --- parts of steps

    def ask_ticket(self, dev_eph):
        signature = self.pile.sign(hash_struct("ChallengeReq", self.identity.device_id, dev_eph))
        for _ in range(3):
            ticket = self.request("CHALLENGE_REQ", "CHALLENGE", device_id=self.identity.device_id, dev_eph=dev_eph, signature=signature)
            wrong = self.fault(ticket, dev_eph)
            if wrong is None:
                return ticket
            self.send("NACK", frame_type=TYPES["CHALLENGE"], code=FIELD_VALUE, field=TICKET.index(wrong) + 1 if wrong in TICKET else 16)
            # An advance of the epoch may cross a ticket on the way; any other fault is the gateway's.
            verify(wrong in ("epoch", "epoch_challenge", "policy_hash"), f"CHALLENGE has a wrong {wrong}")
        raise Violation("CHALLENGE does not belong to the open epoch")

    def fault(self, ticket, dev_eph):
        """The name of the first field of §5.4 that is wrong, None when the ticket is good."""
        opened, pile = self.pile.open_epoch, self.pile
        expected = {"device_id": self.identity.device_id, "group": pile.group, "index": pile.index, "dev_eph": dev_eph, "epoch": opened.epoch,
                    "epoch_challenge": opened.challenge, "policy_hash": opened.policy_hash, "circuit_version": 0, "h": bytes(32)}
        if not self.by_gateway(hash_struct("Ticket", *(ticket[name] for name in TICKET)), ticket["signature"]):
            return "signature"
        for name, value in expected.items():
            if ticket[name] != value:
                return name
        if ticket["issued"] > ticket["answer_by"]:
            return "answer_by"
        in_range = ticket["answer_by"] + 60 <= ticket["deadline"] <= ticket["issued"] + 7200
        return None if in_range else "deadline"

    def record(self, seq):
        return {"battery": self.identity.battery, "segment": self.sid, "seq": seq, "time_ms": self.now_ms(), "voltage_mv": 402_000 + seq,
                "current_ma": -1_500, "soc_centi_percent": 4_200, "temperature_centi_c": -275, "energy_wh": 12 * seq}

    def checkpoint(self, record, fp, prev_seq, prev_fp):
        """Signs the record as the battery's head; returns it as (seq, fp)."""
        named = {name: record[name] for name in ("battery", "segment", "seq", "time_ms")} | {"fp": fp, "prev_seq": prev_seq, "prev_fp": prev_fp}
        statement = self.pile.append("Checkpoint", *named.values())
        self.acknowledged_telemetry("TELEM_CHECKPOINT", checkpoint=1, epoch=self.pile.open_epoch.epoch, **named, **statement)
        self.note("checkpoint", n=statement["n"], seq=record["seq"])
        return record["seq"], fp

    def end_charge(self, record):
        values = {"wh": record["energy_wh"], "minutes": 1, "cause": CAUSE_LOCAL, "meter": b'OCMF|{"FV":"1.0"}|{"SD":"00"}'}
        signature = self.pile.sign(hash_struct("ChargeEnd", self.identity.device_id, self.sid, *values.values()))
        self.acknowledged("CHARGE_END", sid=self.sid, signature=signature, **values)

    def acknowledged(self, name, **values):
        """Sends a message and waits for its ACK."""
        ack = self.request(name, "ACK", frame_type=TYPES[name], **values)
        verify(ack["level"] >= RECEIVED and ack.get("sid", self.sid) == self.sid, f"ACK of {name} is {ack}")
        self.note(f"{name} acknowledged", level=ack["level"])

    def acknowledged_telemetry(self, name, checkpoint, **values):
        def durable(answer, fields):
            return answer == "TELEM_ACK" and fields["checkpoint"] == checkpoint and fields["level"] >= DURABLE and (
                fields["battery"], fields["seq"]) == (values["battery"], values["seq"])

        self.send(name, **values)
        self.until(durable, f"TELEM_ACK of {name} {values['seq']}")

    # --- frames that come at any time

    def on_set_policy(self, fields):
        verify(fields["offset"] == len(self.chunks) or fields["offset"] == 0, "SET_POLICY chunks are out of order")
        self.chunks = self.chunks[: fields["offset"]] + fields["chunk"]
        if len(self.chunks) < fields["total_len"]:
            return
        policy, self.chunks = Policy(fields["version"], fields["first_epoch"], self.chunks), b""
        verify(len(policy.tariff) == fields["total_len"], "SET_POLICY is longer than its total_len")
        if self.pile.hold_policy(policy, fields["signature"]):
            self.note("policy", version=policy.version, first_epoch=policy.first_epoch, policy_hash="0x" + policy.hash.hex())
        self.to_acknowledge.append(policy.version)
        if self.epoch_confirmed:
            self.acknowledge_policies()

    def on_epoch(self, fields):
        epoch = Epoch(*(fields[name] for name in ("group", "epoch", "challenge", "policy_hash")))
        struct_hash = hash_struct("Epoch", epoch.group, epoch.epoch, epoch.challenge, epoch.policy_hash)
        verify(self.by_gateway(struct_hash, fields["signature"]), "EPOCH is not signed by the gateway")
        verify(epoch.group == self.pile.group, "EPOCH is of another group")
        if epoch == self.pile.open_epoch:
            self.epoch_confirmed = True
        elif not self.pile.holds(epoch.policy_hash):
            self.send("NACK", frame_type=TYPES["EPOCH"], code=STALE_POLICY)
            return
        else:
            verify(epoch.epoch > self.pile.open_epoch.epoch, "EPOCH does not rise")
            self.pile.enter(epoch)
            self.epoch_confirmed = True
        self.acknowledge_policies()

    def acknowledge_policies(self):
        for version in self.to_acknowledge:
            policy = self.pile.policies[version]
            named = {"version": version, "policy_hash": policy.hash, "first_epoch": policy.first_epoch}
            statement = self.pile.append("PolicyAck", *named.values())
            epoch = self.pile.open_epoch.epoch
            self.unanswered[epoch, statement["n"]] = version
            self.send("POLICY_ACK", epoch=epoch, **named, **statement)
        self.to_acknowledge = []

    def on_ack(self, fields):
        if fields["frame_type"] == TYPES["POLICY_ACK"]:
            version = self.unanswered.pop((fields.get("epoch"), fields.get("n")), None)
            verify(version is not None, f"{fields} answers no POLICY_ACK")
            self.note("POLICY_ACK acknowledged", version=version, level=fields["level"])

    # --- the stream

    def request(self, name, wanted, frame_type=None, **values):
        """Sends a message and returns the fields of its answer; sends again when a NACK says when."""
        while True:
            self.send(name, **values)
            answer = self.until(
                lambda got, fields: got == wanted and frame_type in (None, fields.get("frame_type")) or got == "NACK"
                and fields["frame_type"] == TYPES[name], f"{wanted} to {name}", accept_nack=True)
            if "code" not in answer:
                return answer
            verify("retry_ms" in answer, f"{name} was answered with NACK {answer}")
            try:
                self.until(lambda _name, _fields: False, "", time.monotonic() + answer["retry_ms"] / 1000)
            except Late:
                continue

    def send(self, name, **values):
        self.link.send(encode(name, **values))

    def until(self, accept, what, deadline=None, accept_nack=False):
        """The fields of the first frame that `accept(name, fields)` takes, after the frame had its effect. Raises Late at the
        monotonic `deadline` in seconds, Violation on a NACK that the caller does not accept."""
        deadline = deadline or time.monotonic() + self.timeout_s
        while True:
            name, fields = self.receive(min(deadline, self.next_beat()), what)
            if name is None:
                if time.monotonic() >= deadline:
                    raise Late(f"no {what} in time")
                continue
            self.summary["received"][name] += 1
            on_frame = {"SET_POLICY": self.on_set_policy, "EPOCH": self.on_epoch, "ACK": self.on_ack}.get(name)
            if on_frame:
                on_frame(fields)
            if name in UNSERVED:
                self.send("NACK", frame_type=TYPES[name], code=UNSUPPORTED)
            if accept(name, fields):
                return fields
            verify(name != "NACK" or accept_nack, f"NACK {fields} came instead of {what}")

    def receive(self, deadline, what):
        try:
            return self.link.receive(deadline)
        except TimeoutError:
            self.beat()
            return None, None
        except EOFError as error:
            raise Violation(f"the gateway closed instead of {what}") from error

    def next_beat(self):
        return self.link.last_sent + self.heartbeat_s if self.heartbeat_s else float("inf")

    def beat(self):
        if time.monotonic() >= self.next_beat():
            verify(time.monotonic() - self.link.last_received < 2 * self.heartbeat_s, "two heartbeat intervals without a byte")
            self.beats += 1
            self.send("HEARTBEAT", counter=self.beats, time_ms=self.now_ms())

    def by_gateway(self, struct_hash, signature):
        return digests.signer(self.identity.verifier.digest(struct_hash), signature) == self.link.gateway

    def now_ms(self):
        """Unix milliseconds, not behind the gateway's clock."""
        return unix_ms() + self.clock_skew_ms

    def note(self, step, **seen):
        self.summary["verified"].append({"step": step} | seen)


def unix_ms():
    return time.time_ns() // 1_000_000
