"""OpenSSL 4 against the examples, both ways: full and resumed handshakes with SM2 certificates of both ends, and refusals.

RUSTLS_SHANGMI_EXAMPLES names the directory of the built examples `client` and `server`."""

import contextlib
import os
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from OpenSSL import SSL

PKI = Path(__file__).parent.parent / "tests" / "pki"
EXAMPLES = Path(os.environ["RUSTLS_SHANGMI_EXAMPLES"])
SUITE = "TLS_SM4_GCM_SM3"
DEVICE = "urn:cip22:device:01"
PATIENCE_S = 60


def context(side, name, root, suites=SUITE, version=SSL.TLS1_3_VERSION):
    made = SSL.Context(SSL.TLS_CLIENT_METHOD if side == "client" else SSL.TLS_SERVER_METHOD)
    made.set_min_proto_version(version)
    made.set_max_proto_version(version)
    if version == SSL.TLS1_3_VERSION:
        made.set_tls13_ciphersuites(suites.encode())
    if name:
        made.use_certificate_chain_file(str(PKI / f"{name}.pem"))
        made.use_privatekey_file(str(PKI / f"{name}.key"))
    made.load_verify_locations(str(PKI / f"{root}.pem"))
    made.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *arguments: bool(arguments[-1]))
    if side == "server":
        made.set_session_id(b"interop")
    return made


@pytest.fixture
def server():
    """The example, serving both pairings: where it listens, and how to read its lines."""
    arguments = [
        EXAMPLES / "server",
        *(PKI / name for name in ("root.pem", "gateway.pem", "gateway.key")),
        "127.0.0.1:0",
        *(PKI / name for name in ("standard_root.pem", "standard_gateway.pem", "standard_gateway.key")),
    ]
    with run(arguments) as read_line:
        yield address_of(read_line()), read_line


@pytest.fixture
def shangmi_server():
    """The example, serving ShangMi alone."""
    names = ("root.pem", "gateway.pem", "gateway.key")
    with run([EXAMPLES / "server", *(PKI / name for name in names), "127.0.0.1:0"]) as read_line:
        yield address_of(read_line()), read_line


@contextlib.contextmanager
def run(arguments):
    process = subprocess.Popen([str(argument) for argument in arguments], stdout=subprocess.PIPE, text=True)
    guard = threading.Timer(PATIENCE_S, process.kill)
    guard.start()
    try:
        yield lambda: process.stdout.readline().rstrip("\n")
    finally:
        guard.cancel()
        process.kill()
        process.wait()


def address_of(line):
    word, address = line.split()
    assert word == "listening"
    host, port = address.rsplit(":", 1)
    return host, int(port)


def connect(made, address, session=None):
    """A finished handshake after one line was echoed, which brings the tickets."""
    connection = SSL.Connection(made, socket.create_connection(address))
    connection.set_tlsext_host_name(b"gateway.example")
    if session is not None:
        connection.set_session(session)
    connection.set_connect_state()
    try:
        connection.do_handshake()
        connection.sendall(b"charge\n")
        assert read_exactly(connection, 7) == b"charge\n"
    except BaseException:
        with contextlib.suppress(OSError):  # the server may have gone first
            connection.sock_shutdown(socket.SHUT_RDWR)
        raise
    return connection


def read_exactly(connection, length):
    received = b""
    while len(received) < length:
        received += connection.recv(length - len(received))
    return received


def close(connection):
    connection.shutdown()
    connection.sock_shutdown(socket.SHUT_WR)


def test_openssl_client_full_and_resumed(server):
    address, read_line = server
    made = context("client", "device_1", "root")
    first = connect(made, address)
    assert first.get_cipher_name() == SUITE
    assert first.get_protocol_version_name() == "TLSv1.3"
    assert read_line() == f"ShangMi full {DEVICE}"
    session = first.get_session()
    close(first)
    second = connect(made, address, session)
    assert second.get_cipher_name() == SUITE
    assert read_line() == f"ShangMi resumed {DEVICE}"
    close(second)


def test_openssl_client_of_the_standard_pairing(server):
    address, read_line = server
    made = context("client", "standard_device", "standard_root", "TLS_AES_128_GCM_SHA256")
    connection = connect(made, address)
    assert connection.get_cipher_name() == "TLS_AES_128_GCM_SHA256"
    assert read_line() == f"standard full {DEVICE}"
    close(connection)


def test_openssl_client_of_both_pairings_gets_shangmi(server):
    address, read_line = server
    made = context("client", "device_1", "root", f"TLS_AES_128_GCM_SHA256:{SUITE}")
    connection = connect(made, address)
    assert connection.get_cipher_name() == SUITE
    assert read_line() == f"ShangMi full {DEVICE}"
    close(connection)


def test_large_records_of_openssl(server):
    address, read_line = server
    connection = connect(context("client", "device_1", "root"), address)
    for length in (1, 15, 16, 17, 1_000, 16_383, 16_384, 16_385, 50_000):
        sent = os.urandom(length)
        connection.sendall(sent)
        assert read_exactly(connection, length) == sent
    close(connection)


@pytest.mark.parametrize(
    ("client", "suites", "reason", "refusal"),
    [
        ("device_of_look_alike", SUITE, "certificate unknown", "InvalidSignatureForPublicKey"),
        ("device_of_ca_without_ca_bit", SUITE, "certificate unknown", "EndEntityUsedAsCa"),
        (None, SUITE, "certificate required", "peer sent no certificates"),
        ("standard_device", "TLS_AES_128_GCM_SHA256", "handshake failure", "the standard pairing, which is not served"),
    ],
)
def test_openssl_client_refused(shangmi_server, client, suites, reason, refusal):
    address, read_line = shangmi_server
    root = "standard_root" if client == "standard_device" else "root"
    with pytest.raises(SSL.Error) as refused:
        connect(context("client", client, root, suites), address)
    assert reason in str(refused.value)
    line = read_line()
    assert line.startswith("refused ") and refusal in line


def test_openssl_client_of_tls_1_2_refused(server):
    address, read_line = server
    made = context("client", "standard_device", "standard_root", version=SSL.TLS1_2_VERSION)
    with pytest.raises(SSL.Error) as refused:
        connect(made, address)
    assert "protocol version" in str(refused.value)
    assert read_line() == "refused the client does not offer TLS 1.3"


@contextlib.contextmanager
def openssl_server(made):
    """Echoes what its clients send; yields where it listens, and a list of what each handshake was."""
    listener = socket.create_server(("127.0.0.1", 0))
    seen = []

    def serve():
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError:
                return
            connection = SSL.Connection(made, accepted)
            connection.set_accept_state()
            try:
                connection.do_handshake()
                certificate = connection.get_peer_certificate(as_cryptography=True)
                seen.append((connection.get_cipher_name(), certificate.serial_number))
                connection.sendall(read_exactly(connection, 7))
                with contextlib.suppress(SSL.ZeroReturnError):
                    connection.recv(1)
                connection.shutdown()
            except SSL.Error as error:
                seen.append(str(error))
            accepted.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname(), seen
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def run_client(address, name="device_1", root="root", host="gateway.example"):
    files = (PKI / f"{root}.pem", PKI / f"{name}.pem", PKI / f"{name}.key")
    command = [EXAMPLES / "client", *files, f"{address[0]}:{address[1]}", host]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=PATIENCE_S)


def serial_of(name):
    from cryptography import x509

    return x509.load_pem_x509_certificate((PKI / f"{name}.pem").read_bytes()).serial_number


def test_rustls_client_full_and_resumed():
    with openssl_server(context("server", "gateway", "root")) as (address, seen):
        ran = run_client(address)
        assert (ran.returncode, ran.stdout) == (0, "ShangMi full\nShangMi resumed\n"), ran.stderr
    assert seen == [(SUITE, serial_of("device_1"))] * 2


@pytest.mark.parametrize(
    ("server", "root", "host", "refusal", "alert"),
    [
        ("gateway_of_look_alike", "root", "gateway.example", "InvalidSignatureForPublicKey", "certificate unknown"),
        ("gateway", "other_root", "gateway.example", "UnknownIssuer", "unknown ca"),
        ("gateway", "root", "other.example", "NotValidForName", "bad certificate"),
        ("device_2", "root", "gateway.example", "RequiredEkuNotFound", "certificate unknown"),
    ],
)
def test_rustls_client_refuses_the_server(server, root, host, refusal, alert):
    with openssl_server(context("server", server, "root")) as (address, seen):
        ran = run_client(address, root=root, host=host)
        assert ran.returncode != 0 and refusal in ran.stderr, ran.stderr
    assert len(seen) == 1 and alert in seen[0], seen


def test_rustls_client_is_refused_by_openssl():
    with openssl_server(context("server", "gateway", "root")) as (address, seen):
        ran = run_client(address, name="device_of_look_alike")
        assert ran.returncode != 0
    assert "certificate verify failed" in seen[0]


def test_rustls_client_and_a_server_of_the_standard_pairing_alone():
    made = context("server", "standard_gateway", "standard_root", "TLS_AES_128_GCM_SHA256")
    with openssl_server(made) as (address, seen):
        ran = run_client(address)
        assert ran.returncode != 0 and "HandshakeFailure" in ran.stderr, ran.stderr
    assert "no shared cipher" in seen[0]
