"""The event stream on Valkey: append, read, take over, settle. Two lanes, one consumer group, no early acknowledgement.

An entry has the field `event` (an event's JSON) and, where it goes out again, `again` (JSON, ours alone); `superseded`
stands beside it where a newer one has taken its place in the due set.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import redis
from msgspec import structs

from pushsvc.dispatch.ports import SUSPECT_DELIVERIES, Again, Changes, Entry, Lane, Mark, StreamUnavailable
from pushsvc.domain import event as events
from pushsvc.domain.event import Event
from pushsvc.stream import due, keys
from pushsvc.stream.heartbeat import Heartbeat, living
from pushsvc.stream.marks import marks
from pushsvc.stream.valkey import Argument, Script, Valkey

MAX_BLOCK_MS = 3000  # below the client's answer timeout, or a quiet stream would look like a dead server
CONFIRM_DEAD_S = 4.0  # two heartbeats' time: after an outage of Valkey the living have to be able to say so first
DEAD_KEPT = 10_000  # dead letters kept, about; the oldest go first

# The first command that adds decides: out of memory, it fails and nothing is taken; past it, the script ends.
_APPEND = Script("""
local out = {}
for i = 3, #KEYS do
  local lane = ARGV[i * 2 - 4]
  if redis.call('HEXISTS', KEYS[i], 'owner') == 1 then
    out[i - 2] = 0
  else
    local id = redis.call('XADD', lane == 'calls' and KEYS[1] or KEYS[2], '*', 'event', ARGV[i * 2 - 3])
    redis.call('HSET', KEYS[i], 'owner', lane .. ':' .. id)
    redis.call('EXPIRE', KEYS[i], ARGV[1])
    out[i - 2] = 1
  end
end
return out
""")

# Beginning with a deletion, it is carried out even when Valkey is out of memory: settling is what frees it.
_APPLY = Script("""
local at = 3
local function take()
  at = at + 1
  return ARGV[at - 1]
end
for lane = 1, 2 do
  redis.call('XDEL', KEYS[lane], '0-0')
  local left = tonumber(take())
  while left > 0 do
    local ids = {}
    for i = 1, math.min(left, 1000) do ids[i] = take() end
    redis.call('XACK', KEYS[lane], ARGV[1], unpack(ids))
    redis.call('XDEL', KEYS[lane], unpack(ids))
    left = left - #ids
  end
end
for _ = 1, tonumber(take()) do
  local id, when, payload = take(), take(), take()
  local old = redis.call('HGET', KEYS[4], id)
  if old and old ~= payload and string.sub(id, 1, 5) == 'wake:' then
    local a = string.find(old, '\\n', 1, true)
    local b = string.find(old, '\\n', a + 1, true)
    local lane = string.sub(old, 1, a - 1) == 'calls' and KEYS[1] or KEYS[2]
    local again = string.sub(old, a + 1, b - 1)
    redis.call('XADD', lane, '*', 'event', string.sub(old, b + 1), 'again', again, 'superseded', '1')
  end
  redis.call('ZADD', KEYS[3], when, id)
  redis.call('HSET', KEYS[4], id, payload)
end
for i = 5, #KEYS do
  redis.call('HSET', KEYS[i], take(), 1)
  redis.call('EXPIRE', KEYS[i], ARGV[2])
end
return 1
""")

# KEYS: lane, heartbeat of the other. ARGV: group, from, to, count, from how many deliveries on an entry is taken over
# alone (what kills workers must not count against its neighbours), then entries to leave alone. With from = to it
# finds what was given to us in an answer that never arrived. The heartbeat is looked at again, so that two workers
# never take the same entry, nor anything from one that has come back.
_TAKE_OVER = Script("""
local group, from, to, count, alone = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
if from ~= to and redis.call('GET', KEYS[2]) == 'alive' then return {} end
local skip = {}
for i = 6, #ARGV do skip[ARGV[i]] = true end
local ids, before, out = {}, {}, {}
for _, entry in ipairs(redis.call('XPENDING', KEYS[1], group, '-', '+', count + #ARGV - 5, from)) do
  if not skip[entry[1]] and #ids < count then
    if from ~= to and entry[4] >= alone and #ids > 0 then break end
    ids[#ids + 1] = entry[1]
    before[entry[1]] = entry[4]
    if from ~= to and entry[4] >= alone then break end
  end
end
if #ids > 0 then
  for _, entry in ipairs(redis.call('XCLAIM', KEYS[1], group, to, 0, unpack(ids))) do
    if entry then out[#out + 1] = {entry[1], entry[2], before[entry[1]] + 1} end
  end
end
if from ~= to and #redis.call('XPENDING', KEYS[1], group, '-', '+', 1, from) == 0 then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], group, from)
end
return out
""")

# KEYS: lane. ARGV: group, how many at most, consumer.
_HELD = Script("""
local out = {}
for _, row in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', ARGV[2], ARGV[3])) do out[#out + 1] = row[1] end
return out
""")

# KEYS: lane, dead. ARGV: group, id, how many are kept, the fields of the dead letter. Once only, however often it runs.
_BURY = Script("""
local fields = {unpack(ARGV, 4)}
if ARGV[5] == '' then
  local found = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])[1]
  local names = {}
  for i = 1, found and math.min(#found[2], 20) or 0, 2 do names[#names + 1] = string.sub(found[2][i], 1, 40) end
  fields[#fields + 1] = 'fields'
  fields[#fields + 1] = table.concat(names, ' ')
end
local held = redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
if redis.call('XDEL', KEYS[1], ARGV[2]) + held > 0 then
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', unpack(fields))
end
return held
""")


class ValkeyStream:
    """Implements Stream. Appending is thread-safe; read, claim, apply and bury are for the thread of one loop.

    `worker` names the process to people; the consumer's own name is unique to this object. From the first `read` on
    a heartbeat tells the others that this consumer lives, until `close`.
    """

    def __init__(self, valkey: Valkey, marks_kept_s: int, worker: str) -> None:
        self._valkey = valkey
        self._kept_s = marks_kept_s
        self.consumer = f"{worker}-{secrets.token_hex(4)}"
        self._heartbeat = Heartbeat(valkey, self.consumer)
        self._held: set[tuple[Lane, str]] = set()  # handed out and neither done nor buried
        self._in_doubt = False  # an answer to a read was lost: the server may hold entries for us that nobody works on
        self._missed: dict[str, float] = {}  # consumer without a heartbeat -> when that was first seen (monotonic)

    def append(self, given: Sequence[Event]) -> list[bool]:
        """Durable when it returns, one round trip, all or nothing; False where app and id were taken before."""
        if not given:
            return []
        arguments: list[Argument] = [self._kept_s]
        for event in given:
            arguments += ((Lane.CALLS if event.is_call else Lane.MESSAGES).value, events.encode(event))
        taken = self._valkey.run(
            _APPEND, (keys.CALLS, keys.MESSAGES, *(keys.mark(event.app, event.id) for event in given)), arguments
        )
        return [flag == 1 for flag in taken]

    def read(self, count: int, block_ms: int) -> list[Entry]:
        """New entries, calls first; waits at most `block_ms` (0: does not wait, at most 3 s) when there is none.

        May give one entry more than `count` where both lanes get one at the same moment after a wait.
        """
        self._heartbeat.beat()
        found = self._lost_answers(count) if self._in_doubt else []
        for lane in Lane:
            if len(found) < count:
                found += self._fetch((lane,), count - len(found), 0)
        if not found and block_ms > 0:
            found = self._fetch(tuple(Lane), 1, min(block_ms, MAX_BLOCK_MS))
            for lane in Lane:
                if found and len(found) < count:
                    found += self._fetch((lane,), count - len(found), 0)
            found.sort(key=lambda entry: entry.lane is not Lane.CALLS)
        return found

    def read_calls(self, count: int) -> list[Entry]:
        """New calls alone; does not wait."""
        self._heartbeat.beat()
        return self._fetch((Lane.CALLS,), count, 0)

    def _fetch(self, lanes: Sequence[Lane], count: int, block_ms: int) -> list[Entry]:
        command: list[Argument] = ["XREADGROUP", "GROUP", keys.GROUP, self.consumer, "COUNT", count]
        command += ["BLOCK", block_ms] if block_ms else []
        command += ["STREAMS", *(keys.LANES[lane] for lane in lanes), *(">" for _ in lanes)]
        answer = self._asked(command)
        lane_of = {keys.LANES[lane].encode(): lane for lane in lanes}
        found = [_entry(lane_of[key], entry_id, fields, 1) for key, batch in answer or () for entry_id, fields in batch]
        self._held |= {(entry.lane, entry.id) for entry in found}
        return found

    def _asked(self, command: Sequence[Argument]) -> Any:
        """The command's answer; makes the group where it is missing; remembers an answer that was lost."""
        for attempt in (1, 2):
            try:
                return self._valkey.call(*command)
            except redis.ResponseError as error:
                if attempt == 2 or not str(error).startswith(("NOGROUP", "UNBLOCKED", "no such key")):
                    raise
                self._make_group()
            except StreamUnavailable:
                self._in_doubt = True
                raise
        return None

    def _make_group(self) -> None:
        """From the start of each lane, so that what was appended before the first worker came is read."""
        for key in keys.LANES.values():
            try:
                self._valkey.call("XGROUP CREATE", key, keys.GROUP, "0", "MKSTREAM")
            except redis.ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise

    def _lost_answers(self, count: int) -> list[Entry]:
        found = self._take(self.consumer, count)
        self._in_doubt = bool(found)  # until there is none left
        return found

    def held(self, entries: Sequence[Entry]) -> set[Entry]:
        """Those of the entries that are still ours; one round trip a lane that has any."""
        ours: set[Entry] = set()
        for lane, key in keys.LANES.items():
            asked = {entry.id: entry for entry in entries if entry.lane is lane}
            if asked:
                rows = self._valkey.run(_HELD, (key,), (keys.GROUP, len(self._held) + 1, self.consumer))
                ours |= {asked[found] for row in rows if (found := row.decode()) in asked}
        self._held = {(entry.lane, entry.id) for entry in ours} | {
            one for one in self._held if one not in {(entry.lane, entry.id) for entry in entries}
        }
        return ours

    def claim(self, count: int) -> list[Entry]:
        """Entries that a dead worker held, now ours, calls first; each claim counts as a delivery.

        One that would be delivered for the third time comes as the last, with none of its kind beside it.
        """
        self._heartbeat.beat()
        if self._in_doubt and (found := self._lost_answers(count)):
            return found
        found = []
        for consumer in self._dead():
            if len(found) < count and not (found and found[-1].deliveries >= SUSPECT_DELIVERIES):
                found += self._take(consumer, count - len(found))
        return sorted(found, key=lambda entry: entry.lane is not Lane.CALLS)

    def _dead(self) -> list[str]:
        """Consumers that have left, or that showed no heartbeat at two looks CONFIRM_DEAD_S apart."""
        others: set[str] = set()
        for key in keys.LANES.values():
            others |= {row["name"].decode() for row in self._asked(("XINFO CONSUMERS", key, keys.GROUP))}
        others.discard(self.consumer)
        state = living(self._valkey, sorted(others))
        now = time.monotonic()
        self._missed = {name: self._missed.get(name, now) for name, value in state.items() if value != "alive"}
        return [name for name, since in self._missed.items() if state[name] == "left" or now - since >= CONFIRM_DEAD_S]

    def _take(self, consumer: str, count: int) -> list[Entry]:
        found: list[Entry] = []
        for lane, key in keys.LANES.items():
            if len(found) == count or (
                found and found[-1].deliveries >= SUSPECT_DELIVERIES and consumer != self.consumer
            ):
                break
            ours = [entry_id for of, entry_id in self._held if of is lane] if consumer == self.consumer else []
            arguments: list[Argument] = [
                keys.GROUP,
                consumer,
                self.consumer,
                count - len(found),
                SUSPECT_DELIVERIES - 1,
                *ours,
            ]
            try:
                rows = self._valkey.run(_TAKE_OVER, (key, keys.worker(consumer)), arguments)
            except StreamUnavailable:
                self._in_doubt = True
                raise
            found += [_entry(lane, row[0], _pairs(row[1]), int(row[2])) for row in rows]
        self._held |= {(entry.lane, entry.id) for entry in found}
        return found

    def marks(self, entries: Sequence[tuple[Entry, Event]]) -> list[Mark]:
        """One round trip for all; an entry that is the first of its event takes the event for itself."""
        self._heartbeat.beat()
        return marks(self._valkey, entries, self._kept_s)

    def apply(self, changes: Changes) -> None:
        """One atomic round trip; repeating it does no harm. A Due displaced by another comes back as superseded."""
        self._heartbeat.beat()
        if not changes:
            return
        arguments: list[Argument] = [keys.GROUP, self._kept_s]
        for lane in Lane:
            ids = [entry.id for entry in changes.done if entry.lane is lane]
            arguments += (len(ids), *ids)
        arguments.append(len(changes.due))
        for one in changes.due:
            arguments += (one.id, repr(one.at), due.payload(one))
        arguments += (token_id for _, token_id in changes.marks)
        names = (keys.CALLS, keys.MESSAGES, keys.DUE, keys.DUE_ENTRIES)
        self._valkey.run(_APPLY, (*names, *(keys.mark(event.app, event.id) for event, _ in changes.marks)), arguments)
        self._held -= {(entry.lane, entry.id) for entry in changes.done}

    def bury(self, entry: Entry, reason: str) -> None:
        """Moves an entry to the dead-letter stream with the reason (about 10 000 are kept)."""
        fields: list[Argument] = ["event", entry.raw, "reason", reason[:1000], "lane", entry.lane.value]
        fields += ["entry", entry.id, "at", repr(time.time()), "deliveries", entry.deliveries]
        fields += ["again", msgspec.json.encode(entry.again)] if entry.again else []
        self._valkey.run(_BURY, (keys.LANES[entry.lane], keys.DEAD), (keys.GROUP, entry.id, DEAD_KEPT, *fields))
        self._held.discard((entry.lane, entry.id))

    def release_due(self, now: float, count: int) -> int:
        """Moves what is due to its lane, atomically; returns how many."""
        self._heartbeat.beat()
        return due.release(self._valkey, now, count)

    def close(self) -> None:
        """Leaves: what this consumer still holds is free for the others at once."""
        self._heartbeat.stop()


def _pairs(flat: Sequence[bytes]) -> Mapping[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _entry(lane: Lane, entry_id: bytes, fields: Mapping[bytes, bytes], deliveries: int) -> Entry:
    """An entry whose fields are not ours comes out with an empty `raw`, which no decoder takes."""
    raw = fields.get(b"event", b"")
    again = None
    if b"again" in fields:
        try:
            again = msgspec.json.decode(fields[b"again"], type=Again)
        except (msgspec.MsgspecError, UnicodeError):
            raw = b""
    if again is not None and b"superseded" in fields:
        again = structs.replace(again, superseded=True)
    return Entry(entry_id.decode(), lane, raw, again, deliveries)
