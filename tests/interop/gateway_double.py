"""A gateway just large enough to show that the client refuses what it must; certificates of its own making."""

import datetime
import secrets
import socket
import ssl
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from eth_account import Account

from interop import digests, messages, session_keys
from interop.client import TICKET
from interop.digests import Domain, hash_struct
from interop.frame import UNKNOWN_DEVICE, FrameReader, Refused, encode_tlv
from interop.link import ALPN, Endpoint
from interop.messages import TYPES, encode
from interop.pile import Epoch, Identity, Policy

TARIFF = bytes.fromhex("01434e5901e00000ea6001e00200000004a76800061a8001e0000fec2c000927c0")
GROUP, INDEX = 7, 3
VERIFIER, REGISTRY = Domain(1235, b"\x11" * 20), Domain(1235, b"\x22" * 20)


class GatewayDouble:
    """Serves connections until closed. `tamper(name, fields)` may change any message before it is sent; integer fields of the ticket that
    it changes are signed again, so that only the check of that field can refuse them."""

    def __init__(self, folder, tamper=lambda name, fields: None):
        self.tamper = tamper
        self.key, self.governance, self.device_key = (secrets.token_bytes(32) for _ in range(3))
        self.policy = Policy(1, 1, TARIFF)
        self.epoch = Epoch(GROUP, 9, secrets.token_bytes(32), self.policy.hash)
        self.identity = Identity(secrets.token_bytes(32), self.device_key, secrets.token_bytes(32), VERIFIER, REGISTRY,
                                 address(self.governance))
        write_certificates(folder, "0x" + address(self.key).hex(), self.identity.device_id.hex())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version, context.verify_mode = ssl.TLSVersion.TLSv1_3, ssl.CERT_REQUIRED
        context.load_cert_chain(folder / "gateway.pem", folder / "gateway.key")
        context.load_verify_locations(folder / "root.pem")
        context.set_alpn_protocols([ALPN])
        self.active_from = 0
        self.root_offered, self.nacks = None, []
        self.listener = context.wrap_socket(socket.create_server(("127.0.0.1", 0)), server_side=True)
        self.endpoint = Endpoint("127.0.0.1", self.listener.getsockname()[1], "localhost", *(str(folder / name) for name in
                                 ("root.pem", "pile.pem", "pile.key")))
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def close(self):
        self.listener.close()

    def serve(self):
        while True:
            try:
                stream, _ = self.listener.accept()
            except OSError:
                return
            with stream:
                try:
                    Peer(self, stream).serve()
                except OSError:
                    continue


class Peer:
    def __init__(self, gateway, stream):
        self.gateway, self.stream, self.reader = gateway, stream, FrameReader(8192)
        self.records = (0, bytes(32))
        self.ledger = (0, bytes(32))

    def serve(self):
        while data := self.stream.recv(65536):
            self.reader.feed(data)
            try:
                while frame := self.reader.next_frame():
                    self.answer(*frame)
            except Refused as refused:
                self.send("NACK", frame_type=refused.frame_type, code=refused.code, field=refused.field, limit=refused.limit)
                if refused.closes:
                    return

    def answer(self, frame_type, payload):
        try:
            name, fields = messages.decode(frame_type, payload)
        except Refused as refused:
            self.send("NACK", frame_type=refused.frame_type, code=refused.code, field=refused.field, limit=refused.limit)
            return
        handler = getattr(self, f"on_{name.lower()}", None)
        if handler:
            handler(fields)
        elif name != "TELEM_HEAD":
            self.send("ACK", frame_type=frame_type, level=2, sid=fields.get("sid"), epoch=fields.get("epoch"), n=fields.get("n"))

    def on_hello(self, fields):
        gateway = self.gateway
        self.send("HELLO_ACK", version=0x20, features=0, max_payload=8192, heartbeat_interval_ms=15_000, group=GROUP, index=INDEX, time_ms=1,
                  resumed=0, resume_token=bytes(16))
        signed = digests.sign(gateway.governance, REGISTRY.digest(gateway.policy.hash))
        for offset in (0, 20):
            self.send("SET_POLICY", version=1, first_epoch=1, total_len=len(TARIFF), offset=offset, signature=signed,
                      chunk=TARIFF[offset : offset + 20])
        self.announce()

    def announce(self):
        epoch = vars(self.gateway.epoch)
        self.send("EPOCH", **epoch, signature=self.sign(hash_struct("Epoch", *epoch.values())))

    def on_nack(self, fields):
        self.gateway.nacks.append(fields)

    def on_policy_ack(self, fields):
        gateway = self.gateway
        if gateway.root_offered:
            self.send("BATCH_ROOT", **gateway.root_offered)
        if fields["epoch"] >= gateway.active_from:
            self.send("ACK", frame_type=TYPES["POLICY_ACK"], level=2, epoch=fields["epoch"], n=fields["n"])
            return
        self.send("NACK", frame_type=TYPES["POLICY_ACK"], code=UNKNOWN_DEVICE)
        gateway.epoch = Epoch(GROUP, fields["epoch"] + 1, secrets.token_bytes(32), gateway.policy.hash)
        self.announce()

    def on_heartbeat(self, fields):
        self.send("HEARTBEAT", **fields)

    def on_challenge_req(self, fields):
        gateway, epoch = self.gateway, self.gateway.epoch
        self.eph_key = secrets.token_bytes(32)
        self.ticket = {
            "circuit_version": 0, "sid": secrets.token_bytes(16), "device_id": gateway.identity.device_id, "group": GROUP, "index": INDEX,
            "nonce": secrets.token_bytes(32), "epoch": epoch.epoch, "epoch_challenge": epoch.challenge, "policy_hash": epoch.policy_hash,
            "issued": 100, "answer_by": 110, "deadline": 170, "gw_eph": session_keys.public_point(self.eph_key),
            "dev_eph": fields["dev_eph"], "h": bytes(32)}
        gateway.tamper("ticket", self.ticket)
        self.send("CHALLENGE", **self.ticket, signature=self.sign(self.ticket_hash()))

    def on_auth_resp(self, fields):
        # The Diffie-Hellman points seen from the other end: the gateway's private key, the device's two public ones.
        secret = b"".join(session_keys.shared_secret(self.eph_key, point) for point in (
            self.ticket["dev_eph"], session_keys.public_point(self.gateway.device_key)))
        k_mac = session_keys.expand(session_keys.extract(self.ticket["sid"], secret), b"CIP-22/2 K_mac", 32)
        body = encode_tlv([(1, (60_000).to_bytes(4, "big")), (2, (480).to_bytes(2, "big"))])
        tag = session_keys.tag(k_mac, self.ticket_hash(), TYPES["AUTH_GRANT"], 0, body)
        self.send("AUTH_GRANT", sid=self.ticket["sid"], suite=0, body=body, tag=tag)

    def on_telem_head(self, fields):
        (seq, fp), (ledger_seq, ledger_fp) = self.records, self.ledger
        self.send("TELEM_HEAD", battery=fields["battery"], seq=seq, fp=fp, ledger_seq=ledger_seq, ledger_fp=ledger_fp)

    def on_batt_telem(self, fields):
        assert fields["fp"] == digests.fingerprint(self.records[1], fields) and fields["seq"] == self.records[0] + 1
        self.records = (fields["seq"], fields["fp"])
        self.send("TELEM_ACK", battery=fields["battery"], seq=fields["seq"], level=2, checkpoint=0)

    def on_telem_checkpoint(self, fields):
        assert (fields["seq"], fields["fp"]) == self.records and (fields["prev_seq"], fields["prev_fp"]) == self.ledger
        self.ledger = self.records
        self.send("TELEM_ACK", battery=fields["battery"], seq=fields["seq"], level=2, checkpoint=1)

    def ticket_hash(self):
        return hash_struct("Ticket", *(self.ticket[name] for name in TICKET))

    def sign(self, struct_hash):
        return digests.sign(self.gateway.key, VERIFIER.digest(struct_hash))

    def send(self, name, **fields):
        self.gateway.tamper(name, fields)
        self.stream.sendall(encode(name, **fields))


def address(key):
    return bytes.fromhex(Account.from_key(key).address[2:])


def write_certificates(folder, gateway_address, device_id):
    root_key, root = certificate("root", None, None, [])
    for name, names in (
        ("gateway", [x509.DNSName("localhost"), x509.UniformResourceIdentifier(f"urn:cip22:gateway:{gateway_address}")]),
        ("pile", [x509.UniformResourceIdentifier(f"urn:cip22:device:{device_id}")]),
    ):
        key, signed = certificate(name, root_key, root, names)
        (folder / f"{name}.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        (folder / f"{name}.key").write_bytes(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    (folder / "root.pem").write_bytes(root.public_bytes(serialization.Encoding.PEM))


def certificate(name, issuer_key, issuer, names):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer.subject if issuer else subject)
               .public_key(key.public_key()).serial_number(x509.random_serial_number())
               .not_valid_before(now - datetime.timedelta(minutes=5)).not_valid_after(now + datetime.timedelta(days=1))
               .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return key, builder.sign(issuer_key or key, hashes.SHA256())
