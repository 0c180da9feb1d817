"""What the servers saw and said, kept for assertions and for the page; bounded, so that a bench may run for hours."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice

from .clock import Clock

KEEP_REQUESTS = 100_000
KEEP_CONNECTIONS = 10_000
# The reason of an answer that found a message good and did not deliver it.
VALIDATED = "validate_only"


@dataclass(slots=True, eq=False)
class Connection:
    """One connection as accepted; times in seconds since the epoch, `jwts` the provider tokens as first seen."""

    id: int
    site: str
    opened_at: float
    peer: str
    closed_at: float | None = None
    closed_because: str = ""
    tls_version: str = ""
    alpn: str = ""
    certificate: str = ""
    jwts: list[dict[str, object]] = field(default_factory=list)
    requests: int = 0
    max_concurrent_streams: int = 0
    pings: int = 0
    streams_cancelled: int = 0
    stream_limits: list[int] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True, eq=False)
class Arrival:
    """One request and what became of it.

    `fate` is pending, answered, refused (REFUSED_STREAM), reset, unprocessed (above a GOAWAY's last stream), silent,
    closed or cancelled.
    """

    number: int
    at: float
    site: str
    connection: Connection
    stream_id: int
    method: str
    path: str
    raw_headers: list[tuple[bytes, bytes]] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    token: str = field(default="", repr=False)
    topic: str = ""
    fate: str = "pending"
    status: int = 0
    reason: str = ""
    answer_headers: tuple[tuple[bytes, bytes], ...] = ()
    answer_body: bytes = b""
    answered_at: float = 0.0

    @property
    def headers(self) -> dict[str, str]:
        """The request headers, lower-case names; the last one wins when a name came twice."""
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self.raw_headers}

    @property
    def accepted(self) -> bool:
        """Whether a push was taken and the client was told so."""
        return self.fate == "answered" and 200 <= self.status < 300 and self.reason != VALIDATED

    @property
    def apns_id(self) -> str:
        """The apns-id of the request, or else of the answer; lower case."""
        for headers in (self.raw_headers, self.answer_headers):
            for name, value in headers:
                if name == b"apns-id":
                    return value.decode("latin-1").lower()
        return ""

    def as_json(self) -> dict[str, object]:
        """Everything but the credential, which is cut to its first characters."""
        headers = self.headers
        if "authorization" in headers:
            headers["authorization"] = headers["authorization"][:16] + "…"
        return {
            "number": self.number,
            "at": self.at,
            "site": self.site,
            "connection": self.connection.id,
            "stream_id": self.stream_id,
            "method": self.method,
            "path": self.path,
            "headers": headers,
            "body": self.body.decode("utf-8", "replace"),
            "token": self.token,
            "topic": self.topic,
            "fate": self.fate,
            "status": self.status,
            "reason": self.reason,
            "answer_headers": {n.decode("latin-1"): v.decode("latin-1") for n, v in self.answer_headers},
            "answer_body": self.answer_body.decode("utf-8", "replace"),
            "answered_at": self.answered_at,
        }


class Journal:
    """Rings of requests and connections, and counters that never forget until `reset`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting = 0
        self._numbers = 0
        self._connections = 0
        self._forgotten = 0, 0
        self.counters_only = False
        self.arrivals: deque[Arrival] = deque(maxlen=KEEP_REQUESTS)
        self.connections: deque[Connection] = deque(maxlen=KEEP_CONNECTIONS)
        self.answers: Counter[tuple[str, int, str]] = Counter()
        self.fates: Counter[tuple[str, str]] = Counter()

    def opened(self, site: str, peer: str) -> Connection:
        self._connections += 1
        connection = Connection(self._connections, site, self._clock.now(), peer)
        self.connections.append(connection)
        return connection

    def arrived(
        self,
        site: str,
        connection: Connection,
        stream_id: int,
        method: str,
        path: str,
        raw_headers: list[tuple[bytes, bytes]],
    ) -> Arrival:
        self._numbers += 1
        connection.requests += 1
        arrival = Arrival(self._numbers, self._clock.now(), site, connection, stream_id, method, path, raw_headers)
        if not self.counters_only:
            self.arrivals.append(arrival)
        return arrival

    def settled(self, arrival: Arrival, fate: str) -> None:
        """Notes what became of a request, once."""
        if arrival.fate != "pending":
            return
        arrival.fate = fate
        arrival.answered_at = self._clock.now()
        self.fates[arrival.site, fate] += 1
        if fate == "answered":
            self.answers[arrival.site, arrival.status, arrival.reason] += 1
        if self._waiting:
            with self._changed:
                self._changed.notify_all()

    def requests(
        self,
        site: str | None = None,
        *,
        token: str | None = None,
        topic: str | None = None,
        status: int | None = None,
        reason: str | None = None,
        fate: str | None = None,
        apns_id: str | None = None,
    ) -> list[Arrival]:
        """The kept requests that match, as they arrived; `site` may be a prefix (apns matches both environments)."""
        return [
            arrival
            for arrival in list(self.arrivals)
            if (site is None or arrival.site.startswith(site))
            and (token is None or arrival.token.lower() == token.lower())
            and (topic is None or arrival.topic == topic)
            and (status is None or arrival.status == status)
            and (reason is None or arrival.reason == reason)
            and (fate is None or arrival.fate == fate)
            and (apns_id is None or arrival.apns_id == apns_id.lower())
        ]

    def since(self, number: int, limit: int = 200) -> list[Arrival]:
        """The last `limit` requests numbered above `number`."""
        newer = (arrival for arrival in reversed(list(self.arrivals)) if arrival.number > number)
        return list(islice(newer, limit))[::-1]

    def wait(self, satisfied: Callable[[], bool], deadline_s: float = 10.0) -> bool:
        """Blocks until `satisfied()`, asked again after each settled request; False when the deadline passes first."""
        ends = time.monotonic() + deadline_s
        with self._changed:
            self._waiting += 1
            try:
                while not satisfied():
                    left = ends - time.monotonic()
                    if left <= 0:
                        return False
                    # Connections also change the state, and they do not notify.
                    self._changed.wait(min(left, 0.05))
            finally:
                self._waiting -= 1
        return True

    def duplicates(self) -> dict[str, int]:
        """apns-ids that were accepted more than once, with how often."""
        seen = Counter(arrival.apns_id for arrival in list(self.arrivals) if arrival.accepted and arrival.apns_id)
        return {apns_id: times for apns_id, times in seen.items() if times > 1}

    def summary(self) -> dict[str, object]:
        """Counts by site, status and reason, and by fate, as JSON."""
        return {
            "requests": self._numbers - self._forgotten[0],
            "connections": self._connections - self._forgotten[1],
            "answers": [
                {"site": site, "status": status, "reason": reason, "count": count}
                for (site, status, reason), count in sorted(self.answers.items())
            ],
            "fates": [{"site": s, "fate": fate, "count": count} for (s, fate), count in sorted(self.fates.items())],
        }

    def reset(self) -> None:
        """Forgets requests, closed connections and counts; numbering goes on."""
        self.counters_only = False
        self.arrivals.clear()
        still_open = [kept for kept in list(self.connections) if kept.closed_at is None]
        self.connections.clear()
        self.connections.extend(still_open)
        self._forgotten = self._numbers, self._connections
        self.answers.clear()
        self.fates.clear()
