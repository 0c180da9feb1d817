"""What has been done already: events taken, tokens an event has ended for, and quiet windows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pushsvc.dispatch.ports import Entry, Mark
from pushsvc.domain.event import Event
from pushsvc.stream import keys
from pushsvc.stream.valkey import Script, Valkey

# ARGV: seconds to keep a mark, then for each key the entry, or '#' and the one token of what comes again: that owns
# nothing, and of an event for thousands it asks for its own mark alone.
# A script that begins with a deletion may add when Valkey is out of memory: what was taken is still worked off.
_MARKS = Script("""
local out = {}
for i, key in ipairs(KEYS) do
  local entry = ARGV[i + 1]
  local owner = redis.call('HGET', key, 'owner')
  if string.sub(entry, 1, 1) == '#' then
    local token = string.sub(entry, 2)
    out[i] = redis.call('HEXISTS', key, token) == 1 and {token} or {}
  elseif not owner then
    redis.call('HDEL', key, 'owner')
    redis.call('HSET', key, 'owner', entry)
    redis.call('EXPIRE', key, ARGV[1])
    out[i] = {}
  elseif owner ~= entry then
    out[i] = false
  else
    out[i] = redis.call('HKEYS', key)
  end
end
return out
""")

# ARGV: now, then for each key the event, the window's end and the milliseconds until it is forgotten.
_WINDOWS = Script("""
local out = {}
for i, key in ipairs(KEYS) do
  local event, ends, px = ARGV[i * 3 - 1], ARGV[i * 3], ARGV[i * 3 + 1]
  local open = redis.call('GET', key)
  local space = open and string.find(open, ' ', 1, true)
  local until_ = open and string.sub(open, 1, space - 1)
  if open and tonumber(until_) > tonumber(ARGV[1]) then
    out[i] = string.sub(open, space + 1) ~= event and until_
  else
    redis.call('DEL', key)
    redis.call('SET', key, ends .. ' ' .. event, 'PX', px)
    out[i] = false
  end
end
return out
""")


def owner(entry: Entry) -> str:
    """The entry as a mark names it: ids of the two lanes may be the same."""
    return f"{entry.lane.value}:{entry.id}"


def marks(valkey: Valkey, entries: Sequence[tuple[Entry, Event]], kept_s: int) -> list[Mark]:
    """Takes each event for the first of its entries and tells what is known of it; one round trip."""
    if not entries:
        return []
    answers = valkey.run(
        _MARKS,
        [keys.mark(event.app, event.id) for _, event in entries],
        (kept_s, *(f"#{entry.again.token_id}" if entry.again else owner(entry) for entry, _ in entries)),
    )
    return [
        Mark(True, frozenset())
        if fields is None
        else Mark(False, frozenset(int(name) for name in fields if name.isdigit()))
        for fields in answers
    ]


class ValkeyWindows:
    """Implements Windows: one key a device, which ends by itself."""

    def __init__(self, valkey: Valkey) -> None:
        self._valkey = valkey

    def enter(self, wakes: Sequence[tuple[int, int, str, float]], now: float) -> list[float | None]:
        """For each (app id, token id, event id, interval in s): None = send now, else the window's end in UNIX time."""
        if not wakes:
            return []
        arguments: list[str | int] = [repr(now)]
        for _, _, event_id, interval_s in wakes:
            arguments += (event_id, repr(now + interval_s), max(1, math.ceil(interval_s * 1000)))
        answers = self._valkey.run(_WINDOWS, [keys.quiet(app, token) for app, token, _, _ in wakes], arguments)
        return [None if end is None else float(end) for end in answers]
