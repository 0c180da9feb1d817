"""What a worker has read and not begun: entries in the order of the stream, then the slice that is begun next."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace

from pushsvc.dispatch.admit import admit
from pushsvc.dispatch.ports import SUSPECT_DELIVERIES, Entry, Lane, Stream
from pushsvc.domain import event as events
from pushsvc.domain.event import BadEvent, Event
from pushsvc.providers.provider import Provider

log = logging.getLogger("pushsvc.flow")

BATCH = 500  # entries a read: past this, one read costs more than it saves
SLICE_USERS = 2000  # recipients looked up in one query, so that memory and latency stay bounded
RELEASE_EVERY_S = 0.2  # how late a retry may be
CLAIM_EVERY_S = 2.0
CALLS_EVERY_S = 0.01  # how long a call may wait behind messages that were read before it
SUSPENDED_S = 6.0  # a loop that stood still for longer may have been taken for dead: what it had read may be another's
MAX_DELIVERIES = 5  # an entry delivered more often goes to the dead letters


class Inbox:
    """Reads ahead by one batch; `slice` holds decoded events until `begun`, so that an outage loses none.

    `pulse` is a clock that nobody sets: intervals must not grow when the machine's time is put back.
    """

    def __init__(
        self, stream: Stream, providers: Mapping[str, Provider], pulse: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._providers = providers
        self._pulse = pulse
        self._turned_at = pulse()
        self._calls: deque[Entry] = deque()
        self._entries: deque[Entry] = deque()
        self.slice: list[tuple[Entry, Event]] = []
        self._alone = False  # the slice that was begun last holds an entry that may kill workers
        self._release_at = 0.0
        self._claim_at = 0.0
        self._calls_at = 0.0

    def fill(self, now: float, room: int, room_for_calls: int, under_way: int, block_ms: int) -> None:
        """Reads where nothing waits here, calls at every turn, and makes the next slice: calls, then the others.

        `room` and `room_for_calls` say for about how many pushes; `under_way` counts the entries begun and not ended.
        Waits for at most `block_ms` where there is nothing to read.
        """
        pulse = self._pulse()
        if pulse - self._turned_at > SUSPENDED_S:
            self._keep_ours()
        self._turned_at = pulse
        if pulse >= self._release_at:
            self._stream.release_due(now, BATCH)
            self._release_at = pulse + RELEASE_EVERY_S
        if self._alone and not under_way:
            self._alone = False
        if self._alone:
            return
        if room > 0 and not (self._calls or self._entries or self.slice):
            self._read(pulse, min(room, BATCH), block_ms)
        elif room_for_calls > 0 and not self._calls and pulse >= self._calls_at:
            self._calls += self._stream.read_calls(min(room_for_calls, BATCH))
            self._calls_at = pulse + CALLS_EVERY_S
        if room_for_calls > 0:
            self._decode(self._calls, under_way)
        if room > 0:
            self._decode(self._entries, under_way)

    def begun(self) -> None:
        """The slice is under way."""
        self._alone = any(entry.deliveries >= SUSPECT_DELIVERIES for entry, _ in self.slice)
        self.slice = []

    def _keep_ours(self) -> None:
        """Lets go of what another worker has taken over meanwhile."""
        waiting = [*(entry for entry, _ in self.slice), *self._calls, *self._entries]
        ours = self._stream.held(waiting) if waiting else set()
        self.slice = [(entry, event) for entry, event in self.slice if entry in ours]
        self._calls = deque(entry for entry in self._calls if entry in ours)
        self._entries = deque(entry for entry in self._entries if entry in ours)

    def _read(self, pulse: float, count: int, block_ms: int) -> None:
        found: list[Entry] = []
        if pulse >= self._claim_at:
            found = self._stream.claim(count)
            self._claim_at = pulse if found else pulse + CLAIM_EVERY_S
        for entry in found or self._stream.read(count, block_ms):
            (self._calls if entry.lane is Lane.CALLS else self._entries).append(entry)

    def _decode(self, entries: deque[Entry], under_way: int) -> None:
        """What is no event goes to the dead letters and blocks nobody; a suspect waits until it can go alone."""
        users = sum(_users(event) for _, event in self.slice)
        while entries and users < SLICE_USERS:
            entry = entries[0]
            suspect = entry.deliveries >= SUSPECT_DELIVERIES
            if suspect and (under_way or self.slice):
                return
            try:
                if not entry.raw:
                    raise BadEvent("the entry has no field `event`", "Write one field, event: the JSON object.")
                event = admit(entry.raw, now=entry.enqueued_at, app=None, make_id=entry.id, providers=self._providers)
            except BadEvent as bad:
                self._bury(entry, f"{bad} ({bad.cure})")
                entries.popleft()
                continue
            if entry.deliveries > MAX_DELIVERIES:
                whole = replace(entry, raw=events.encode(event))
                self._bury(whole, f"delivered {entry.deliveries} times without coming to an end")
                entries.popleft()
                continue
            self.slice.append((entry, event))
            entries.popleft()
            users += _users(event)
            if suspect:
                return

    def _bury(self, entry: Entry, reason: str) -> None:
        self._stream.bury(entry, reason)
        log.warning("dead letter", extra={"entry": entry.id, "reason": reason})


def _users(event: Event) -> int:
    return len(event.user) if isinstance(event.user, list) else 1
