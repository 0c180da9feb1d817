"""Where each worker shows how it reaches the providers, for /readyz of the API and `pushsvc health`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import msgspec

from pushsvc.dispatch.ports import Reach
from pushsvc.stream import keys
from pushsvc.stream.valkey import Script, Valkey

REFRESH_S = 20.0
LIVES_S = 60  # what a dead worker has shown is not shown for longer; one that has left is not asked for

# beginning with a deletion, it works when Valkey is out of memory
_SHOW = Script("""
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
""")
_decoder = msgspec.json.Decoder(dict[str, Reach])


class ValkeyBoard:
    """Implements Board for one consumer of the stream: a write when the state changes, and one every REFRESH_S."""

    def __init__(self, valkey: Valkey, consumer: str) -> None:
        self._valkey = valkey
        self._key = keys.reach(consumer)
        self._shown: Mapping[str, tuple[int, str, float]] = {}
        self._write_at = 0.0

    def show(self, reach: Mapping[str, Reach]) -> None:
        """Replaces what this worker has shown; raises StreamUnavailable."""
        state = {authority: (one.connections, one.fault, one.since) for authority, one in reach.items()}
        now = time.monotonic()
        if state and (state != self._shown or now >= self._write_at):
            self._valkey.run(_SHOW, (self._key,), (msgspec.json.encode(reach), LIVES_S))
            self._shown, self._write_at = state, now + REFRESH_S


def shown(valkey: Valkey, consumers: Sequence[str]) -> list[Mapping[str, Reach]]:
    """What each of these consumers shows, in one round trip; raises StreamUnavailable."""
    if not consumers:
        return []
    values = valkey.call("MGET", *(keys.reach(name) for name in consumers))
    return [_decoder.decode(value) for value in values if value is not None]
