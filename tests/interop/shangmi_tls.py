"""TLS 1.3 by RFC 8998 with SM2 certificates of both ends, by OpenSSL 4 under pyOpenSSL: what a Link needs of `ssl.SSLSocket`."""

import select
import socket
import time

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from .pile import verify

SUITE = "TLS_SM4_GCM_SM3"


def connect(endpoint, alpn, timeout_s):
    """A connection whose handshake is over; the gateway's chain, its server name and the suite are checked."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_tls13_ciphersuites(SUITE.encode())
    context.load_verify_locations(endpoint.root)
    context.set_verify(SSL.VERIFY_PEER, lambda connection, certificate, error, depth, ok: bool(ok))
    context.use_certificate_chain_file(endpoint.cert)
    context.use_privatekey_file(endpoint.key)
    context.set_alpn_protos([alpn.encode()])
    connection = SSL.Connection(context, socket.create_connection((endpoint.host, endpoint.port), timeout_s))
    connection.setblocking(False)
    connection.set_tlsext_host_name(endpoint.server_name.encode())
    connection.set_connect_state()
    stream = Stream(connection, timeout_s)
    stream.finish(connection.do_handshake)
    verify(connection.get_cipher_name() == SUITE, f"the gateway did not choose {SUITE}")
    certificate = x509.load_der_x509_certificate(stream.getpeercert(binary_form=True))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    verify(endpoint.server_name in names.get_values_for_type(x509.DNSName), "the gateway's certificate has another DNS name")
    return stream


class Stream:
    """A connection that blocks for `timeout_s` at most."""

    def __init__(self, connection, timeout_s):
        self.connection, self.timeout_s = connection, timeout_s

    def version(self):
        return self.connection.get_protocol_version_name()

    def selected_alpn_protocol(self):
        return self.connection.get_alpn_proto_negotiated().decode()

    def getpeercert(self, binary_form):
        assert binary_form
        return self.connection.get_peer_certificate(as_cryptography=True).public_bytes(Encoding.DER)

    def settimeout(self, timeout_s):
        self.timeout_s = timeout_s

    def sendall(self, data):
        while data:
            data = data[self.finish(lambda: self.connection.send(data)):]

    def recv(self, size):
        """b"" at the end of the connection."""
        try:
            return self.finish(lambda: self.connection.recv(size))
        except SSL.ZeroReturnError:
            return b""
        except SSL.SysCallError as error:
            raise ConnectionError(str(error)) from error
        except SSL.Error as error:
            raise ConnectionError(f"TLS: {error}") from error

    def finish(self, step):
        deadline = time.monotonic() + self.timeout_s
        while True:
            try:
                return step()
            except SSL.WantReadError:
                waits = ([self.connection], [], [])
            except SSL.WantWriteError:
                waits = ([], [self.connection], [])
            left = deadline - time.monotonic()
            if left <= 0 or not any(select.select(*waits, left)):
                raise TimeoutError

    def close(self):
        self.connection.close()
