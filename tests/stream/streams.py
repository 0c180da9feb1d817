"""Events and streams for the tests of this folder."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pushsvc.domain.event import Event, Kind
from pushsvc.stream.events import ValkeyStream
from pushsvc.stream.valkey import Valkey


def event(event_id: str, kind: Kind = Kind.MESSAGE, app: int = 1) -> Event:
    return Event(app=app, id=event_id, user="ada", kind=kind, sent_at=1_700_000_000.0)


def stream(valkey: Valkey, worker: str = "w") -> ValkeyStream:
    return ValkeyStream(valkey, 3600, worker)


def until(done: Callable[[], Any], within_s: float = 10.0) -> Any:
    """What `done` returns as soon as it is true; fails after `within_s`."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if value := done():
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {within_s} s")


class Lossy:
    """A wire to the server on which answers get lost while `losing` is set: they are read, then the line is cut."""

    def __init__(self, server: Path, listen: Path) -> None:
        self.losing = threading.Event()
        self._server = server
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(listen))
        self._listener.listen()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect(str(self._server))
            self._open += [near, far]
            threading.Thread(target=self._carry, args=(near, far, False), daemon=True).start()
            threading.Thread(target=self._carry, args=(far, near, True), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if answers and self.losing.is_set():
                    break
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> "Lossy":
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._open:
            end.close()
