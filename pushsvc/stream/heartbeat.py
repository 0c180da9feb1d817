"""Tells the other workers that this one lives, so that nobody takes over what it is working on."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from pushsvc.dispatch.ports import StreamUnavailable
from pushsvc.stream import keys
from pushsvc.stream.valkey import Script, Valkey

EVERY_S = 2.0
LIVES_S = 8  # four heartbeats: one lost packet, or a pause of the machine, is not a death
LEFT_S = 60  # how long the others can read that a worker has left; afterwards it counts as dead, a little slower
STUCK_AFTER_S = 120.0  # a loop that does nothing for this long has stopped working, whatever its thread says

log = logging.getLogger("pushsvc.stream")

# beginning with a deletion, it works when Valkey is out of memory
_BEAT = Script("""
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
""")


class Heartbeat:
    """A key with a short life, renewed by a thread of its own while the loop shows life."""

    def __init__(self, valkey: Valkey, consumer: str) -> None:
        self._valkey = valkey
        self._key = keys.worker(consumer)
        self._consumer = consumer
        self._last = 0.0
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def beat(self) -> None:
        """Shows that the loop lives; the first call writes the key before it returns."""
        self._last = time.monotonic()
        if self._thread is None and not self._stopped.is_set():
            self._write("alive", LIVES_S)
            self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._stopped.wait(EVERY_S):
            if time.monotonic() - self._last > STUCK_AFTER_S:
                continue  # back as soon as the loop is
            try:
                self._write("alive", LIVES_S)
            except StreamUnavailable as error:
                log.warning("heartbeat of %s: %s", self._consumer, error.cause)

    def _write(self, value: str, lives_s: int) -> None:
        self._valkey.run(_BEAT, (self._key,), (value, lives_s))

    def stop(self) -> None:
        """Says that this worker has left, where that can be said; otherwise its key ends by itself."""
        self._stopped.set()
        if self._thread is None:
            return
        self._thread.join()
        self._thread = None
        try:
            self._write("left", LEFT_S)
        except StreamUnavailable as error:
            log.warning("heartbeat of %s: %s", self._consumer, error.cause)


def living(valkey: Valkey, consumers: Sequence[str]) -> dict[str, str]:
    """What each consumer's heartbeat says: "alive", "left" or "" (none); one round trip."""
    if not consumers:
        return {}
    values = valkey.call("MGET", *(keys.worker(name) for name in consumers))
    return {name: (value or b"").decode() for name, value in zip(consumers, values, strict=True)}
