"""A scripted HTTP/2 server for what the simulator does not do: another order of refusals, another protocol."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Pair:
    certificate_pem: bytes
    key_pem: bytes
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def issue(name: str, by: Pair | None = None, *, authority: bool = False) -> Pair:
    """A certificate for `name` (localhost: for 127.0.0.1 too), issued by `by` or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key((by.key if by else key).public_key()), critical=False
        )
    )
    if authority:
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(usage, critical=True)
    else:
        names: list[x509.GeneralName] = [x509.DNSName(name)]
        if name == "localhost":
            names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = builder.sign(by.key if by else key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    return Pair(
        certificate.public_bytes(pem),
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        certificate,
        key,
    )


@dataclass
class Seen:
    """A request that the server has read to its end."""

    connection: int
    stream: int
    headers: dict[str, str]
    body: bytes


class Conn:
    """One accepted connection; a script answers through it, from any thread."""

    def __init__(self, server: RawServer, sock: ssl.SSLSocket, number: int) -> None:
        self.server = server
        self.sock = sock
        self.number = number
        self.requests = 0
        self.closed = False
        self.lock = threading.RLock()
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8", validate_outbound_headers=False)
        self.h2 = h2.connection.H2Connection(config)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.sendall(self.h2.data_to_send())

    def answer(self, stream: int, status: int = 200, body: bytes = b"", **headers: str) -> None:
        with self.lock:
            fields = [(":status", str(status)), *((k.replace("_", "-"), v) for k, v in headers.items())]
            self.h2.send_headers(stream, fields, end_stream=not body)
            if body:
                self.h2.send_data(stream, body, end_stream=True)
            self.flush()

    def reset(self, stream: int, code: int = h2.errors.ErrorCodes.REFUSED_STREAM) -> None:
        with self.lock:
            self.h2.reset_stream(stream, code)
            self.flush()

    def goaway(self, last_stream: int, data: bytes | None = None, code: int = 0) -> None:
        """Sends GOAWAY but leaves the connection open for what was accepted."""
        from hyperframe.frame import GoAwayFrame

        with self.lock:
            frame = GoAwayFrame(0, last_stream_id=last_stream, error_code=code, additional_data=data or b"")
            with contextlib.suppress(OSError):
                self.sock.sendall(frame.serialize())

    def streams(self, count: int) -> None:
        """Announces SETTINGS_MAX_CONCURRENT_STREAMS."""
        with self.lock:
            self.h2.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: count})
            self.flush()

    def close(self) -> None:
        """Closes without a word."""
        with self.lock, contextlib.suppress(OSError):
            self.closed = True
            self.sock.shutdown(socket.SHUT_RDWR)

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        timer = threading.Timer(delay_s, action)
        timer.daemon = True
        timer.start()

    def run(self) -> None:
        initial = {h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: self.server.streams}
        self.h2.update_settings(initial)
        self.h2.local_settings.acknowledge()
        with self.lock:
            self.h2.initiate_connection()
            self.flush()
            self.server.on_connect(self)
        open_: dict[int, tuple[dict[str, str], bytearray]] = {}
        while data := self._recv():
            with self.lock:
                for event in self.h2.receive_data(data):
                    if isinstance(event, h2.events.RequestReceived):
                        open_[event.stream_id] = ({str(k): str(v) for k, v in event.headers}, bytearray())
                    elif isinstance(event, h2.events.DataReceived):
                        open_[event.stream_id][1].extend(event.data)
                        self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    elif isinstance(event, h2.events.StreamEnded):
                        headers, body = open_.pop(event.stream_id)
                        seen = Seen(self.number, event.stream_id, headers, bytes(body))
                        self.requests += 1
                        self.server.seen.append(seen)
                        self.server.on_request(self, seen)
                self.flush()

    def _recv(self) -> bytes:
        # A shut SSLSocket hands out the bytes of TLS itself.
        try:
            data = self.sock.recv(65536)
        except OSError:
            return b""
        return b"" if self.closed else data


@dataclass
class RawServer:
    """`on_request(conn, seen)` runs for every request, `on_connect(conn)` for every connection after its SETTINGS."""

    folder: Path
    on_request: Callable[[Conn, Seen], None] = lambda conn, seen: conn.answer(seen.stream)
    on_connect: Callable[[Conn], None] = lambda conn: None
    streams: int = 1000
    alpn: tuple[str, ...] = ("h2",)
    names: tuple[str, ...] = ("localhost",)
    speaks_http1: bool = False
    client_ca_pem: bytes | None = None
    seen: list[Seen] = field(default_factory=list)
    connections: list[Conn] = field(default_factory=list)

    def __enter__(self) -> RawServer:
        self.ca = issue("Test CA", authority=True)
        leaf = issue(self.names[0], self.ca)
        path = self.folder / "server.pem"
        path.write_bytes(leaf.certificate_pem + leaf.key_pem)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(path)
        if self.alpn:
            self.context.set_alpn_protocols(list(self.alpn))
        if self.client_ca_pem:
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(cadata=self.client_ca_pem.decode())
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.authority = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for conn in self.connections:
            conn.close()
        self.thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock = self.context.wrap_socket(raw, server_side=True)
        except (OSError, ValueError):
            raw.close()
            return
        if self.speaks_http1:
            with sock, contextlib.suppress(OSError):
                sock.recv(65536)
                sock.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            return
        conn = Conn(self, sock, len(self.connections) + 1)
        self.connections.append(conn)
        with sock:
            conn.run()
