"""What libcurl hides: the TLS alert or the GOAWAY reason of a server that closes on an identity without an answer."""

from __future__ import annotations

import json
import queue
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Hashable
from typing import Any
from urllib.parse import unquote, urlsplit

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from pushsvc.domain.push import Fault, Identity, TransportFailure
from pushsvc.senders.faults import alert_in
from pushsvc.senders.trust import Trust

Finding = TransportFailure | None
_SPEAKS_FIRST_S = 1.0  # how long a server may take to send its SETTINGS before we say anything
_AFTER_PING_S = 0.2  # a GOAWAY that follows the answer to our PING so closely still counts
_AT_ONCE = 4  # diagnostic connections at one time


def examine(authority: str, identity: Identity, *, trust: Trust, proxy: str, timeout_s: float) -> Finding:
    """Opens a connection as `identity`, sends no request; returns the alert or GOAWAY reason that it meets, or None."""
    deadline = time.monotonic() + timeout_s
    host, _, port = authority.rpartition(":")
    host = host.strip("[]")
    try:
        with _connect(host, int(port), proxy, timeout_s) as raw:
            return _listen(_Tls(raw, trust.context(identity), host), deadline)
    except ssl.SSLCertVerificationError as error:
        return TransportFailure(Fault.UNTRUSTED, error.verify_message)
    except ssl.SSLError as error:
        return alert_in(str(error))
    except (OSError, ValueError, h2.exceptions.ProtocolError):
        return None


def reason(debug_data: bytes | None) -> str:
    """The word in a GOAWAY's debug data: JSON's `reason` as APNs sends it, else the text; at most 200 characters."""
    text = (debug_data or b"").decode("utf-8", "replace").strip()
    try:
        document = json.loads(text)
    except ValueError:
        return text[:200]
    word = document.get("reason") if isinstance(document, dict) else None
    return str(word or text)[:200]


def _connect(host: str, port: int, proxy: str, timeout_s: float) -> socket.socket:
    if not proxy:
        return socket.create_connection((host, port), timeout_s)
    url = urlsplit(proxy)
    if url.scheme != "http":
        raise OSError("the standard library has no TLS inside TLS")
    sock = socket.create_connection((url.hostname or "", url.port or 80), timeout_s)
    try:
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        if url.username is not None:
            word = b64encode(f"{unquote(url.username)}:{unquote(url.password or '')}".encode()).decode()
            lines.append(f"Proxy-Authorization: Basic {word}")
        sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            chunk = sock.recv(1)  # not a byte of the tunnel may be swallowed
            if not chunk or len(answer) > 16_384:
                raise OSError("the proxy closed the tunnel")
            answer += chunk
        if answer.split(b" ", 2)[1] != b"200":
            raise OSError("the proxy refused the tunnel")
    except BaseException:
        sock.close()
        raise
    return sock


class _Tls:
    """TLS over a socket that stays ours: SSLContext.wrap_socket leaks it where the server resets at once."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, host: str) -> None:
        self._sock = sock
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=host)
        self._run(self._tls.do_handshake)
        self.alpn = self._tls.selected_alpn_protocol()

    def read(self, timeout_s: float) -> bytes | None:
        """What has come; b"" at the end, None after `timeout_s`."""
        self._sock.settimeout(max(timeout_s, 0.001))
        try:
            return bytes(self._run(lambda: self._tls.read(65_536)))
        except TimeoutError:
            return None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def write(self, data: bytes) -> None:
        self._run(lambda: self._tls.write(data))

    def _run(self, step: Callable[[], Any]) -> Any:
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self._flush()
                data = self._sock.recv(65_536)
                if data:
                    self._in.write(data)
                else:
                    self._in.write_eof()
            finally:
                self._flush()

    def _flush(self) -> None:
        if self._out.pending:
            self._sock.sendall(self._out.read())


def _listen(tls: _Tls, deadline: float) -> Finding:
    if tls.alpn != "h2":
        return TransportFailure(Fault.PROTOCOL, "the server does not speak HTTP/2")
    session = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    session.initiate_connection()
    session.ping(b"diagnose")
    # First listen, then speak: what we send to a server that has already closed makes its kernel reset the
    # connection, and a reset throws away the alert that waits in our receive buffer.
    spoken = False
    until = min(deadline, time.monotonic() + _SPEAKS_FIRST_S)
    while (left := until - time.monotonic()) > 0 or not spoken:
        data = tls.read(left)
        if data == b"":
            return None
        for event in session.receive_data(data) if data else ():
            if isinstance(event, h2.events.ConnectionTerminated):
                word = reason(event.additional_data)
                return TransportFailure(Fault.GOAWAY, word) if word else None
            if isinstance(event, h2.events.PingAckReceived):
                until = min(deadline, time.monotonic() + _AFTER_PING_S)
        if not spoken:
            spoken = True
            until = deadline
        tls.write(session.data_to_send())
    return None


class Diagnoses:
    """At most one diagnosis per key in `interval_s`, in the background, remembered so that a storm costs one."""

    def __init__(self, wake: Callable[[], None], *, interval_s: float = 60.0) -> None:
        self._wake = wake
        self._interval_s = interval_s
        self._known: dict[Hashable, tuple[float, Finding]] = {}
        self._finished: queue.SimpleQueue[tuple[Hashable, Finding]] = queue.SimpleQueue()
        self._slots = threading.BoundedSemaphore(_AT_ONCE)

    def recall(self, key: Hashable) -> tuple[Finding] | None:
        """What was found for the key within the interval, as a tuple of one; None: nobody has looked."""
        known = self._known.get(key)
        if known is None or time.monotonic() - known[0] > self._interval_s:
            return None
        return (known[1],)

    def begin(self, key: Hashable, look: Callable[[], Finding]) -> None:
        """Runs `look` in a thread of its own; `finished` reports it after `wake` was called."""
        threading.Thread(target=self._run, args=(key, look), name="pushsvc-diagnosis", daemon=True).start()

    def _run(self, key: Hashable, look: Callable[[], Finding]) -> None:
        found: Finding = None
        try:
            with self._slots:
                found = look()
        finally:
            self._finished.put((key, found))
            self._wake()

    def finished(self) -> list[tuple[Hashable, Finding]]:
        """The diagnoses that have ended since the last call."""
        ended = []
        while not self._finished.empty():
            key, found = self._finished.get()
            self._known[key] = (time.monotonic(), found)
            ended.append((key, found))
        return ended

    def forget(self, key: Hashable) -> None:
        """The key's connections are answered again: what was found no longer holds."""
        self._known.pop(key, None)
