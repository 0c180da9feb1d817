"""Where workers share bearers that have to be fetched, and where one process at a time takes its turn."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from pushsvc.stream import keys
from pushsvc.stream.valkey import Script, Valkey

# beginning with a deletion, they work when Valkey is out of memory: what was taken has to be sent
_PUT = Script("""
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
""")
_TURN = Script("""
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
return 1
""")


def has_turn(valkey: Valkey, key: str, for_s: float) -> bool:
    """True for the first to ask; false for everybody for the next `for_s` seconds."""
    return bool(valkey.run(_TURN, (keys.turn(key),), (max(1, int(for_s * 1000)),)))


class ValkeyShelf:
    """Implements Shelf. `seal` encrypts a blob, `unseal` undoes it and raises ValueError on one that is not ours."""

    def __init__(
        self,
        valkey: Valkey,
        seal: Callable[[bytes], bytes],
        unseal: Callable[[bytes], bytes],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._valkey = valkey
        self._seal = seal
        self._unseal = unseal
        self._clock = clock

    def take(self, key: str) -> tuple[str, float] | None:
        """(token, use_until) if one lies there that can be read (a changed vault key makes old ones unreadable)."""
        blob = self._valkey.call("GET", keys.shelf(key))
        if blob is None:
            return None
        try:
            return msgspec.json.decode(self._unseal(blob), type=tuple[str, float])
        except ValueError:
            return None

    def put(self, key: str, token: str, use_until: float) -> None:
        """Lies there until `use_until` (UNIX seconds)."""
        left_ms = int((use_until - self._clock()) * 1000)
        if left_ms > 0:
            self._valkey.run(_PUT, (keys.shelf(key),), (self._seal(msgspec.json.encode((token, use_until))), left_ms))

    def may_fetch(self, key: str, for_s: float) -> bool:
        """True for one worker at a time: it fetches, the others look again."""
        return has_turn(self._valkey, f"fetch:{key}", for_s)

    def forget(self, key: str) -> None:
        """Takes the token away and gives the turn to fetch another back."""
        self._valkey.call("DEL", keys.shelf(key), keys.turn(f"fetch:{key}"))
