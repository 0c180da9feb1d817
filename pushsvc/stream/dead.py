"""The dead letters: events that nobody could work off, kept with the reason until an operator decides."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import redis

from pushsvc.dispatch.ports import Lane
from pushsvc.domain import event as events
from pushsvc.domain.event import BadEvent
from pushsvc.stream import keys
from pushsvc.stream.events import DEAD_KEPT
from pushsvc.stream.valkey import Argument, Script, Valkey

# KEYS: dead, lane, mark. ARGV: id, the lane's word, seconds to keep the mark.
_RETRY = Script("""
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not found then return 0 end
local event, again
for i = 1, #found[2], 2 do
  if found[2][i] == 'event' then event = found[2][i + 1] end
  if found[2][i] == 'again' then again = found[2][i + 1] end
end
redis.call('XDEL', KEYS[1], ARGV[1])
if again then
  redis.call('XADD', KEYS[2], '*', 'event', event, 'again', again)
else
  local id = redis.call('XADD', KEYS[2], '*', 'event', event)
  redis.call('HSET', KEYS[3], 'owner', ARGV[2] .. ':' .. id)
  redis.call('EXPIRE', KEYS[3], ARGV[3])
end
return 1
""")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """`id` names it among the dead letters; `entry` and `lane` tell where it was; `at` is UNIX seconds.

    `fields` are the names of the fields of an entry that had no event in it.
    """

    id: str
    entry: str
    lane: Lane
    reason: str
    at: float
    deliveries: int
    raw: bytes = field(repr=False)
    retrying: bool = False  # it was a later attempt of a push, not the event's first
    fields: str = ""


class DeadLetters:
    def __init__(self, valkey: Valkey, marks_kept_s: int) -> None:
        self._valkey = valkey
        self._kept_s = marks_kept_s

    def list(self, count: int = 100, before: str = "+") -> list[DeadLetter]:
        """The newest first; `before` is the id of the last one seen."""
        rows = self._valkey.call("XREVRANGE", keys.DEAD, before if before == "+" else f"({before}", "-", "COUNT", count)
        return [_letter(entry_id, fields) for entry_id, fields in rows]

    def get(self, letter_id: str) -> DeadLetter | None:
        try:
            rows = self._valkey.call("XRANGE", keys.DEAD, letter_id, letter_id)
        except redis.ResponseError:  # not an id at all
            return None
        return _letter(*rows[0]) if rows else None

    def count(self) -> int:
        return int(self._valkey.call("XLEN", keys.DEAD))

    def add(self, raw: bytes, reason: str, lane: Lane = Lane.MESSAGES) -> None:
        """Keeps a bad event that came by a door without an answer and was never in a lane."""
        fields: tuple[Argument, ...] = ("event", raw, "reason", reason[:1000], "lane", lane.value, "entry", "")
        self._valkey.call(
            "XADD", keys.DEAD, "MAXLEN", "~", DEAD_KEPT, "*", *fields, "at", repr(time.time()), "deliveries", 0
        )

    def retry(self, letter_id: str) -> bool:
        """Puts it on its lane again, with the event as its own; False when it is gone.

        Raises BadEvent when it could only be buried again.
        """
        letter = self.get(letter_id)
        if letter is None:
            return False
        try:
            event = events.decode(letter.raw)
        except BadEvent as error:
            raise BadEvent(error.cause, "Correct the producer and send the event anew; drop this one.") from error
        moved = self._valkey.run(
            _RETRY,
            (keys.DEAD, keys.LANES[letter.lane], keys.mark(event.app, event.id)),
            (letter.id, letter.lane.value, self._kept_s),
        )
        return bool(moved)

    def drop(self, letter_id: str) -> bool:
        """False when it is gone."""
        try:
            return bool(self._valkey.call("XDEL", keys.DEAD, letter_id))
        except redis.ResponseError:  # not an id at all
            return False


def _letter(entry_id: bytes, fields: Mapping[bytes, bytes] | Any) -> DeadLetter:
    def text(name: bytes, default: str = "") -> str:
        return fields.get(name, default.encode()).decode(errors="replace")

    return DeadLetter(
        id=entry_id.decode(),
        entry=text(b"entry"),
        lane=Lane(text(b"lane", Lane.MESSAGES.value)),
        reason=text(b"reason"),
        at=float(text(b"at", "0")),
        deliveries=int(text(b"deliveries", "0")),
        raw=fields.get(b"event", b""),
        retrying=b"again" in fields,
        fields=text(b"fields"),
    )
