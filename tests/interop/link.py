"""One TLS 1.3 connection to a gateway (§1), of either pairing, carrying messages."""

import re
import socket
import ssl
import time
from dataclasses import dataclass

from cryptography import x509

from . import messages, shangmi_tls
from .frame import FrameReader
from .pile import verify

ALPN = "cip22/2"
MAX_PAYLOAD = 512  # the smallest a pile may state, so that the gateway has to cut what is longer


@dataclass(frozen=True)
class Endpoint:
    """Where the gateway listens, the DNS name its certificate must carry, and paths of PEM files."""

    host: str
    port: int
    server_name: str
    root: str
    cert: str
    key: str
    tls: str = "standard"  # or "shangmi"


class Link:
    """`gateway` is the 20-byte address in the peer's certificate."""

    def __init__(self, endpoint, timeout_s):
        self.stream = shangmi_tls.connect(endpoint, ALPN, timeout_s) if endpoint.tls == "shangmi" else connect(endpoint, timeout_s)
        verify(self.stream.version() == "TLSv1.3", "the gateway did not speak TLS 1.3")
        verify(self.stream.selected_alpn_protocol() == ALPN, f"the gateway did not choose ALPN {ALPN}")
        self.gateway = gateway_address(self.stream.getpeercert(binary_form=True))
        self.reader = FrameReader(MAX_PAYLOAD)
        self.last_sent = self.last_received = time.monotonic()

    def send(self, frame):
        self.stream.sendall(frame)
        self.last_sent = time.monotonic()

    def receive(self, deadline):
        """The next (name, fields). Raises TimeoutError at the monotonic `deadline` in seconds, EOFError when the gateway closed."""
        while (frame := self.reader.next_frame()) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self.stream.settimeout(left)
            try:
                data = self.stream.recv(65536)
            except ConnectionError as error:
                raise EOFError from error
            if not data:
                raise EOFError
            self.last_received = time.monotonic()
            self.reader.feed(data)
        return messages.decode(*frame)

    def close(self):
        self.stream.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def connect(endpoint, timeout_s):
    """A connection of the standard pairing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(endpoint.root)
    context.load_cert_chain(endpoint.cert, endpoint.key)
    context.set_alpn_protocols([ALPN])
    plain = socket.create_connection((endpoint.host, endpoint.port), timeout_s)
    return context.wrap_socket(plain, server_hostname=endpoint.server_name)


def gateway_address(der):
    """The address in the one `urn:cip22:gateway:` name of a DER certificate."""
    names = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    found = [match for match in (re.fullmatch("urn:cip22:gateway:0x([0-9a-f]{40})", uri) for uri in uris) if match]
    verify(len(found) == 1, "the gateway's certificate does not name one gateway")
    return bytes.fromhex(found[0][1])
