"""One accepted TCP connection under TLS, over memory BIOs so that every alert really reaches the peer."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Callable
from typing import Protocol, cast

from .faults import CONNECT
from .journal import Connection
from .site import Session, Site

# How long a closed connection still reads, so that its last words are not lost in a reset.
LINGER_S = 2.0


class Speaker(Protocol):
    """The HTTP version spoken over a link."""

    def receive(self, data: bytes) -> None: ...
    def lost(self) -> None: ...


SpeakerFactory = Callable[["Link", Site, Session, Connection], Speaker]


class Link(asyncio.Protocol):
    """TLS on one socket. `speakers` gives the HTTP version for each ALPN name."""

    def __init__(self, site: Site, speakers: dict[str, SpeakerFactory]) -> None:
        self.site = site
        self.loop = asyncio.get_running_loop()
        self._speakers = speakers
        self._speaker: Speaker | None = None
        self._closing = False
        self._alert: int | None = None
        self._stalled = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        world, name = self.site.world, self.site.name
        peer = transport.get_extra_info("peername")
        self.connection = world.journal.opened(name, f"{peer[0]}:{peer[1]}" if peer else "")
        self.site.transports.add(transport)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = self.site.context().wrap_bio(self._in, self._out, server_side=True)
        if world.faults.active:
            self._strike()

    def _strike(self) -> None:
        world, name = self.site.world, self.site.name
        churn = world.faults.standing("churn-limit", name)
        if churn is not None:
            now = self.connection.opened_at
            recent = [c for c in world.journal.connections if c.site == name and c.opened_at > now - 60]
            if len(recent) > churn.options["per_minute"]:
                self.reset("churn")
                return
        for fault in world.faults.take(CONNECT, name):
            if fault.kind.name == "reset-connections":
                self.reset("fault")
            elif fault.kind.name == "tls-alert":
                self._alert = int(fault.options["alert"])
            else:
                self._stalled = True

    def data_received(self, data: bytes) -> None:
        if self._closing or self._stalled:
            return
        if self._alert is not None:
            # The ClientHello is in: a plaintext fatal alert is a legal answer to it in every TLS version.
            self._transport.write(bytes((0x15, 0x03, 0x03, 0x00, 0x02, 0x02, self._alert)))
            self._half_close(f"TLS alert {self._alert}")
            return
        self._in.write(data)
        if self._speaker is None and not self._handshake():
            return
        self._read()

    def _handshake(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except (ssl.SSLError, ssl.CertificateError) as error:
            self._flush()
            self._half_close(f"TLS handshake: {error.reason if isinstance(error, ssl.SSLError) else error}")
            return False
        self._flush()
        alpn = self._tls.selected_alpn_protocol() or ""
        self.connection.alpn, self.connection.tls_version = alpn, self._tls.version() or ""
        if alpn not in self._speakers:
            self.finish("no ALPN in common")
            return False
        session = self.site.open(self.connection, self._tls.getpeercert(binary_form=True))
        self._speaker = self._speakers[alpn](self, self.site, session, self.connection)
        return True

    def _read(self) -> None:
        chunks = []
        ended = False
        try:
            while chunk := self._tls.read(65536):
                chunks.append(chunk)
            ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            ended = True
        if chunks and self._speaker is not None:
            self._speaker.receive(b"".join(chunks))
        self._flush()
        if ended and not self._closing:
            self.finish("closed by the client")

    def send(self, data: bytes) -> None:
        """Encrypts and sends; silently drops what is sent after the end."""
        if self._closing or not data:
            return
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view) :]
        self._flush()

    def _flush(self) -> None:
        if self._out.pending and not self._transport.is_closing():
            self._transport.write(self._out.read())

    def finish(self, because: str) -> None:
        """Ends politely: close_notify, FIN, and then nothing more is heard."""
        if self._closing:
            return
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        self._flush()
        self._half_close(because)

    def cut(self, because: str, how: str) -> None:
        """Ends at once, with a bare FIN or a reset."""
        if how == "fin":
            self._half_close(because)
        else:
            self.reset(because)

    def reset(self, because: str) -> None:
        """Ends with a TCP reset."""
        self._closing = True
        self.connection.closed_because = self.connection.closed_because or because
        plain: socket.socket = self._transport.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def _half_close(self, because: str) -> None:
        self._closing = True
        self.connection.closed_because = self.connection.closed_because or because
        if self._transport.is_closing():
            return
        try:
            self._transport.write_eof()
        except OSError:
            self._transport.abort()
            return
        self.loop.call_later(LINGER_S, self._transport.abort)

    def eof_received(self) -> bool:
        self.connection.closed_because = self.connection.closed_because or "closed by the client"
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._closing = True
        self.site.transports.discard(self._transport)
        self.connection.closed_at = self.site.world.clock.now()
        self.connection.closed_because = self.connection.closed_because or "lost"
        if self._speaker is not None:
            self._speaker.lost()
