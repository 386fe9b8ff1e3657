# SPDX-License-Identifier: Apache-2.0
"""A TLS server on loopback whose certificate is wrong in one named way, or right.

    with TlsPeer("expired", tmp_path) as peer:
        client(peer.url, ca=peer.ca)
    assert peer.heard == []        # nothing was said to it

Kinds: good, self-signed (by an authority the client does not know), wrong-name, expired. ``ca`` is
what the client is told to trust; for self-signed another authority than the one that signed.
"""
import datetime
import ipaddress
import ssl
import threading

# by name: importing eventlet makes the attribute http.server a green copy of the module
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

BAD = ("self-signed", "wrong-name", "expired")
_DAY = datetime.timedelta(days=1)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _pem(path: Path, *parts: bytes) -> Path:
    path.write_bytes(b"".join(parts))
    return path


class _Authority:
    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = _named("authority of a test")
        self.certificate = self.sign(self.name, self.key.public_key(), authority=True)

    def sign(self, name: x509.Name, public, *, authority: bool = False, address: str = "127.0.0.1",
             expired: bool = False) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        end = now - _DAY if expired else now + _DAY
        builder = (x509.CertificateBuilder().subject_name(name).issuer_name(self.name)
                   .public_key(public).serial_number(x509.random_serial_number())
                   .not_valid_before(now - 3 * _DAY).not_valid_after(end)
                   .add_extension(x509.BasicConstraints(authority, None), critical=True))
        if not authority:
            names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self.key, hashes.SHA256())


class TlsPeer:
    """The server; ``heard`` has the first line of every request it could read."""

    def __init__(self, kind: str, directory: Path) -> None:
        signer = _Authority()
        trusted = _Authority() if kind == "self-signed" else signer
        encoding = serialization.Encoding.PEM
        self.ca = str(_pem(directory / "ca.pem", trusted.certificate.public_bytes(encoding)))
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = signer.sign(
            _named("peer"), key.public_key(), expired=kind == "expired",
            address="192.0.2.1" if kind == "wrong-name" else "127.0.0.1")
        chain = _pem(directory / "peer.pem",
                     key.private_bytes(encoding, serialization.PrivateFormat.PKCS8,
                                       serialization.NoEncryption()),
                     certificate.public_bytes(encoding))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        heard = self.heard = []

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def answer(self) -> None:
                heard.append(self.requestline)
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_HEAD = do_PUT = do_POST = answer  # noqa: N815 (the base class looks there)

            def log_message(self, *_words: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def finish_request(self, request, address) -> None:
                try:
                    secure = context.wrap_socket(request, server_side=True)
                except OSError:
                    return      # the client hung up, which is what a test waits for
                with secure:
                    super().finish_request(secure, address)

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"https://127.0.0.1:{self.port}"

    def __enter__(self) -> "TlsPeer":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
