"""Events and streams for the tests of this folder."""

import time
from collections.abc import Callable
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
