"""What the main flow needs of the world, as Protocols; bootstrap gives it the real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from pushsvc.domain.app import App
from pushsvc.domain.device import Device, DeviceToken, Environment
from pushsvc.domain.event import Event
from pushsvc.domain.push import Answer, Identity, PushRequest
from pushsvc.domain.record import Record

SUSPECT_DELIVERIES = 3  # two workers died with the entry: from this delivery on it is taken over, and handled, alone


class Lane(StrEnum):
    """The two streams; calls are always read before messages."""

    CALLS = "calls"
    MESSAGES = "messages"


class Again(Struct, frozen=True, omit_defaults=True):
    """What a push that goes out later carries beside its event (a retry, or the trailing wake-up of a quiet window)."""

    token_id: int
    uid: int
    recipient: str
    attempt: int  # the number that the next attempt will bear, from 1
    enqueued_at: float  # UNIX seconds of the event's first append
    environment: Environment | None = None  # the server to ask, where it is not the token's own
    refused_by: Environment | None = None  # the environment that has refused the token already
    at_once: int = 0  # immediate retries used up
    renewed: bool = False  # the bearer was renewed for this push already
    superseded: bool = False  # a newer wake-up has taken its place: it only has to be recorded


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a stream, as read. `raw` is the event's JSON, `deliveries` counts from 1."""

    id: str
    lane: Lane
    raw: bytes = field(repr=False)
    again: Again | None = None
    deliveries: int = 1

    @property
    def enqueued_at(self) -> float:
        """UNIX seconds of the event's first append: the entry id's milliseconds, or what a retry carries."""
        return self.again.enqueued_at if self.again else int(self.id.partition("-")[0]) / 1000


@dataclass(frozen=True, slots=True)
class Mark:
    """What is known of an entry's event: a repetition of an event taken before, and the tokens it has ended for."""

    repeated: bool
    ended: frozenset[int]


@dataclass(frozen=True, slots=True)
class Due:
    """Something to be put on its lane at `at` (UNIX seconds). The same `id` replaces what waited under it.

    An id that begins with `wake:` names a device's one trailing wake-up, and what it replaces comes back as superseded.
    """

    id: str
    at: float
    lane: Lane
    raw: bytes = field(repr=False)
    again: Again


@dataclass(slots=True)
class Changes:
    """What one settling writes to the stream's side, applied in one atomic round trip."""

    marks: list[tuple[Event, int]] = field(default_factory=list)  # (event, token id) ended for good
    due: list[Due] = field(default_factory=list)
    done: list[Entry] = field(default_factory=list)  # acknowledged and deleted

    def __bool__(self) -> bool:
        return bool(self.marks or self.due or self.done)


class Stream(Protocol):
    """The event stream of one worker (its consumer name is the adapter's affair)."""

    def append(self, events: Sequence[Event]) -> list[bool]:
        """Durable when it returns, one round trip, all or nothing; False where app and id were taken before.

        Raises StreamUnavailable when it is not certain that everything was kept.
        """
        ...

    def read(self, count: int, block_ms: int) -> list[Entry]:
        """New entries, calls first; waits at most `block_ms` (0: does not wait) when there is none."""
        ...

    def read_calls(self, count: int) -> list[Entry]:
        """New calls alone; does not wait."""
        ...

    def held(self, entries: Sequence[Entry]) -> set[Entry]:
        """Those of the entries that are still this worker's; another may have taken over what it had read."""
        ...

    def claim(self, count: int) -> list[Entry]:
        """Entries that a dead worker held, now ours."""
        ...

    def marks(self, entries: Sequence[tuple[Entry, Event]]) -> list[Mark]:
        """One round trip for all; an entry that is the first of its event takes the event for itself."""
        ...

    def apply(self, changes: Changes) -> None:
        """One atomic round trip. A trailing wake-up that another displaces comes back as superseded."""
        ...

    def bury(self, entry: Entry, reason: str) -> None:
        """Moves an entry to the dead-letter stream with the reason."""
        ...

    def release_due(self, now: float, count: int) -> int:
        """Moves what is due to its lane, atomically; returns how many."""
        ...

    def close(self) -> None:
        """Leaves; what this worker still holds is free for the others at once."""
        ...


class StreamUnavailable(Exception):
    """The stream cannot be reached, or cannot keep more; nothing was taken. `cure` is for the operator."""

    def __init__(self, cause: str, cure: str) -> None:
        super().__init__(cause, cure)  # both, so that it can be pickled: Celery does
        self.cause = cause
        self.cure = cure

    def __str__(self) -> str:
        return self.cause


class Windows(Protocol):
    """Quiet windows: the minimum interval between two wake-ups of one device."""

    def enter(self, wakes: Sequence[tuple[int, int, str, float]], now: float) -> list[float | None]:
        """For each (app id, token id, event id, interval in s): None = send now, else UNIX seconds of the window's end.

        The event that opened a window is let through again (a redelivery); one round trip for all.
        """
        ...


class Apps(Protocol):
    """Snapshots of apps, cached in the process and renewed when their version moves."""

    def get(self, app_ids: Sequence[int]) -> Mapping[int, App]:
        """The apps that exist; a change made anywhere is seen within 2 s."""
        ...


class Devices(Protocol):
    """Devices and what is learnt of them."""

    def of(self, users: Sequence[tuple[int, int | str]]) -> Mapping[tuple[int, int | str], tuple[Device, ...]]:
        """The devices of (app id, uid or address), in one query; a user without any is absent or empty."""
        ...

    def drop(self, app_id: int, token: DeviceToken, unregistered_at: float | None) -> bool:
        """Deletes the token if it is unchanged and was registered before `unregistered_at` (None: if unchanged)."""
        ...

    def remember_environment(self, app_id: int, token: DeviceToken, environment: Environment) -> None: ...


class Journal(Protocol):
    def record(self, records: Sequence[Record]) -> None:
        """Writes the newest state of each (app, event, recipient, token); one transaction."""
        ...


class Credentials(Protocol):
    def pause(self, credential_id: int, fingerprint: str, reason: str) -> bool:
        """Stops the credential's use in every worker if it is still the same; False when it is not."""
        ...


class Shelf(Protocol):
    """Where workers share bearers that have to be fetched, encrypted, so that one fetch serves all."""

    def take(self, key: str) -> tuple[str, float] | None:
        """(token, use_until) if one lies there."""
        ...

    def put(self, key: str, token: str, use_until: float) -> None: ...

    def may_fetch(self, key: str, for_s: float) -> bool:
        """True for one worker at a time: it fetches, the others look again."""
        ...

    def forget(self, key: str) -> None: ...


class Reach(Struct, frozen=True):
    """How a sender reaches one authority (host:port): its connections that stand, and what the last request came to.

    A server that refuses one credential in TLS or by GOAWAY is reached. Times are UNIX seconds.
    """

    connections: int
    fault: str  # "" where the last request was answered, else a Fault
    since: float  # since when it has been answered, or has not been
    at: float  # of the last answer or fault


class Sender(Protocol):
    """Moves bytes. Single-threaded use; tries once; every submitted request comes back from `poll` exactly once."""

    @property
    def in_flight(self) -> int: ...

    @property
    def reach(self) -> Mapping[str, Reach]:
        """Each authority that a request has come back from, or failed to reach."""
        ...

    def submit(self, tag: object, request: PushRequest, identity: Identity) -> None:
        """Starts or queues a request; returns at once."""
        ...

    def poll(self, timeout_s: float) -> list[tuple[object, Answer]]:
        """What has been answered or has failed, as soon as there is any, or nothing after `timeout_s`."""
        ...

    def renew(self, identity: Identity) -> None:
        """Lets no further request of this identity use the connections open now."""
        ...

    def close(self) -> None: ...


class Board(Protocol):
    """Where the workers show all processes how they reach the providers."""

    def show(self, reach: Mapping[str, Reach]) -> None:
        """Replaces what this worker has shown; it may be called every few seconds and writes only what is news."""
        ...


class Telemetry(Protocol):
    """Counts and log lines; never drives a decision."""

    def settled(self, record: Record) -> None: ...

    def exchanged(self, fields: Mapping[str, str | int | None]) -> None:
        """One request and its answer, of an app that has 'print push logs' on; nothing secret is in them."""
        ...

    def tell_operator(self, app_id: int, subject: str, cause: str, cure: str) -> None:
        """Something that a person has to look at; repeated news of one subject is told once an hour."""
        ...

    def reached(self, reach: Mapping[str, Reach]) -> None:
        """How this process reaches the providers now."""
        ...

    def gauge(self, name: str, value: float) -> None: ...
