"""The due set: what goes out later (retries, trailing wake-ups), kept in Valkey so that it survives every restart."""

from __future__ import annotations

import msgspec

from pushsvc.dispatch.ports import Due
from pushsvc.stream import keys
from pushsvc.stream.valkey import Script, Valkey

# Removing first lets the script finish when Valkey is out of memory: what it adds, it has freed.
_RELEASE = Script("""
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, id in ipairs(ids) do
  local payload = redis.call('HGET', KEYS[2], id)
  redis.call('ZREM', KEYS[1], id)
  redis.call('HDEL', KEYS[2], id)
  if payload then
    local a = string.find(payload, '\\n', 1, true)
    local b = string.find(payload, '\\n', a + 1, true)
    local lane = string.sub(payload, 1, a - 1) == 'calls' and KEYS[3] or KEYS[4]
    redis.call('XADD', lane, '*', 'event', string.sub(payload, b + 1), 'again', string.sub(payload, a + 1, b - 1))
  end
end
return #ids
""")


def release(valkey: Valkey, now: float, count: int) -> int:
    """Moves up to `count` that are due at `now` (UNIX seconds) to their lanes, the earliest first; returns how many."""
    done = valkey.run(_RELEASE, (keys.DUE, keys.DUE_ENTRIES, keys.CALLS, keys.MESSAGES), (repr(now), count))
    return int(done)


def payload(due: Due) -> bytes:
    """Three lines: the lane, the Again as JSON, the event's JSON (the last, so it may hold anything)."""
    return b"\n".join((due.lane.value.encode(), msgspec.json.encode(due.again), due.raw))
