"""What an operator asks of the stream: how much waits, how old it is, who works, and whether the server keeps it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis

from pushsvc.dispatch.ports import Lane, StreamUnavailable
from pushsvc.stream import keys
from pushsvc.stream.heartbeat import living
from pushsvc.stream.valkey import Valkey


@dataclass(frozen=True, slots=True)
class LaneFigures:
    waiting: int  # not read by any worker
    in_flight: int  # read and not settled
    oldest_s: float  # age of the oldest entry that is not settled; 0 when there is none


@dataclass(frozen=True, slots=True)
class Figures:
    lanes: Mapping[Lane, LaneFigures]
    due: int
    due_late_s: float  # by how much the earliest is late; 0 when nothing is
    dead: int
    workers: tuple[str, ...]  # consumers with a heartbeat

    @property
    def consumed(self) -> bool:
        """Some worker reads the stream."""
        return bool(self.workers)

    @property
    def waiting(self) -> int:
        return sum(lane.waiting for lane in self.lanes.values())

    @property
    def in_flight(self) -> int:
        return sum(lane.in_flight for lane in self.lanes.values())

    @property
    def oldest_s(self) -> float:
        return max(lane.oldest_s for lane in self.lanes.values())


def figures(valkey: Valkey, now: float | None = None) -> Figures:
    """Two or three round trips, none of them longer the longer the stream; raises StreamUnavailable."""
    at = time.time() if now is None else now
    asked: list[tuple[str | int, ...]] = []
    for key in keys.LANES.values():
        asked += [("XLEN", key), ("XRANGE", key, "-", "+", "COUNT", 1)]
    asked += [("ZCARD", keys.DUE), ("ZRANGE", keys.DUE, 0, 0, "WITHSCORES"), ("XLEN", keys.DEAD)]
    answers = valkey.calls(*asked)
    lanes, consumers = {}, set[str]()
    for place, (lane, key) in enumerate(keys.LANES.items()):
        length, first = answers[2 * place : 2 * place + 2]
        rows = _consumers(valkey, key)
        consumers |= {str(row["name"]) for row in rows}
        pending = min(length, sum(int(row["pending"]) for row in rows))
        lanes[lane] = LaneFigures(
            waiting=length - pending,
            in_flight=pending,
            oldest_s=max(0.0, at - int(first[0][0].partition(b"-")[0]) / 1000) if first else 0.0,
        )
    due, earliest, dead = answers[-3:]
    alive = living(valkey, sorted(consumers))
    return Figures(
        lanes=lanes,
        due=int(due),
        due_late_s=max(0.0, at - float(earliest[1])) if earliest else 0.0,
        dead=int(dead),
        workers=tuple(name for name, value in alive.items() if value == "alive"),
    )


def _consumers(valkey: Valkey, key: str) -> list[dict[str, Any]]:
    try:
        rows = valkey.call("XINFO CONSUMERS", key, keys.GROUP)
    except redis.ResponseError:  # no stream yet, or no group: nobody has read
        return []
    return [
        {name: value.decode() if isinstance(value, bytes) else value for name, value in row.items()} for row in rows
    ]


@dataclass(frozen=True, slots=True)
class Durability:
    """What the server says of itself, in its own words; "" where it does not let us ask."""

    version: str
    appendonly: str
    appendfsync: str
    maxmemory_policy: str

    @property
    def faults(self) -> list[tuple[str, str]]:
        """(cause, cure) of everything by which an event that was answered with 202 could be lost."""
        found = []
        if self.appendonly == "no":
            found.append(("appendonly is no: a restart of Valkey loses every event.", "Set appendonly yes."))
        elif self.appendfsync not in ("", "always"):
            found.append(
                (
                    f"appendfsync is {self.appendfsync}: a power failure loses the last second or more.",
                    "Set appendfsync always, or accept it.",
                )
            )
        if self.maxmemory_policy not in ("", "noeviction"):
            found.append(
                (
                    f"maxmemory-policy is {self.maxmemory_policy}: a full Valkey throws away marks and windows.",
                    "Set maxmemory-policy noeviction.",
                )
            )
        return found


def durability(valkey: Valkey) -> Durability:
    """Reads the server's config as far as its ACL allows; raises StreamUnavailable when it does not answer."""
    valkey.call("PING")
    version = str(_allowed(valkey, "INFO", "server").get("redis_version", ""))
    words = [
        str(_allowed(valkey, "CONFIG GET", name).get(name, ""))
        for name in ("appendonly", "appendfsync", "maxmemory-policy")
    ]
    return Durability(version, *words)


def _allowed(valkey: Valkey, *command: str) -> Mapping[str, Any]:
    """The answer, or nothing from a server that keeps it to itself, as managed ones do."""
    try:
        answer: Mapping[str, Any] = valkey.call(*command)
    except (StreamUnavailable, redis.ResponseError):
        return {}
    return answer
