"""Whether the parts work now: what /readyz, /metrics and `pushsvc health` look at."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from pushsvc.directory.ports import StoredCredential
from pushsvc.dispatch.ports import Reach, StreamUnavailable
from pushsvc.store.database import Database, StoreUnavailable
from pushsvc.stream.board import shown
from pushsvc.stream.figures import Figures, figures
from pushsvc.stream.valkey import Valkey
from pushsvc.telemetry import Look, Metrics

LATE_S = 30.0  # retries that are overdue by more: nobody releases them
LATELY_S = 300.0
DAY_S = 86_400.0


class Health:
    """Looks at Valkey, the store and the workers; each look is a few round trips."""

    def __init__(
        self,
        valkey: Valkey,
        database: Database,
        metrics: Metrics,
        credentials: Callable[[], Sequence[StoredCredential]],
    ) -> None:
        self._valkey = valkey
        self._database = database
        self._metrics = metrics
        self._credentials = credentials

    def look(self) -> Look:
        """At Valkey, the store, the workers, and the providers as all workers see them."""
        seen: dict[str, str] = {}
        views: Sequence[Mapping[str, Reach]] = ()
        try:
            now = figures(self._valkey)
            views = shown(self._valkey, now.workers)
        except StreamUnavailable as error:
            seen["valkey"] = f"{error.cause}. {error.cure}"
            seen["workers"] = "cannot be told while Valkey is away."
        else:
            seen["valkey"] = ""
            seen["workers"] = _workers(now)
        seen["store"] = self.store()
        seen["providers"], states = providers(views, time.time())
        return Look(seen, states)

    def look_of_worker(self, stuck: str) -> Look:
        """At what this worker needs, and the providers as it sees them; `stuck` is empty while its loop turns."""
        seen = {"loop": stuck, "valkey": "", "store": self.store()}
        try:
            self._valkey.call("PING")
        except StreamUnavailable as error:
            seen["valkey"] = f"{error.cause}. {error.cure}"
        seen["providers"], states = providers([self._metrics.reach], time.time())
        return Look(seen, states)

    def store(self) -> str:
        """Empty when the store answers and has its tables, else the cause and the cure."""
        from pushsvc.store.migrate import require_tables  # here: alembic is slow to load, and few commands need it

        try:
            require_tables(self._database)
        except StoreUnavailable as error:
            return f"{error.cause}. {error.cure}"
        return ""

    def refresh(self) -> None:
        """Brings the gauges of stream and certificates up to date; raises StreamUnavailable or StoreUnavailable."""
        now = figures(self._valkey)
        for name, value in (
            ("stream_lag", now.waiting),
            ("pending", now.in_flight),
            ("oldest_pending_s", now.oldest_s),
            ("dead_letters", now.dead),
            ("retries_waiting", now.due),
            ("workers_alive", len(now.workers)),
        ):
            self._metrics.gauge(name, value)
        self._metrics.certificate_days_left(days_left(self._credentials(), time.time()))


def _workers(now: Figures) -> str:
    if not now.consumed:
        return "no worker reads the stream. Start one: pushsvc worker (or pushsvc up)."
    if now.due_late_s > LATE_S:
        return f"retries are {now.due_late_s:.0f} s late. See the workers' logs, or start more workers."
    return ""


def providers(views: Sequence[Mapping[str, Reach]], now: float) -> tuple[str, dict[str, str]]:
    """Why nothing goes out ("" where something does), and the state of each authority; `views` has one for a worker.

    An authority that nobody asked for LATELY_S decides nothing: what a quiet night left behind is no outage.
    """
    by_authority: dict[str, list[Reach]] = {}
    for view in views:
        for authority, one in view.items():
            by_authority.setdefault(authority, []).append(one)
    states = {authority: _state(by_authority[authority]) for authority in sorted(by_authority)}
    lately = [one for seen in by_authority.values() for one in seen if now - one.at < LATELY_S]
    if lately and all(one.fault for one in lately):
        cause = "no provider that was asked in the last minutes can be reached"
        return f"{cause}. Check DNS, firewall and PUSHSVC_PROXY; pushsvc doctor --network tries each.", states
    return "", states


def _state(seen: Sequence[Reach]) -> str:
    """`ok (2 connections)`, `unreachable since …: connect_timeout`, or both where workers differ."""
    failing = [one for one in seen if one.fault]
    words = []
    if len(failing) < len(seen):
        connections = sum(one.connections for one in seen)
        words.append(f"ok ({connections} connection{'' if connections == 1 else 's'})")
    if failing:
        since = datetime.fromtimestamp(min(one.since for one in failing), UTC).isoformat(timespec="seconds")
        newest = max(failing, key=lambda one: one.at)
        whom = f" from {len(failing)} of {len(seen)} workers" if words else ""
        words.append(f"unreachable{whom} since {since}: {newest.fault}")
    return "; ".join(words)


def days_left(credentials: Sequence[StoredCredential], now: float) -> dict[tuple[int, int], float]:
    """(app id, credential id) -> days until its certificate expires, below 0 when it has; keys do not expire."""
    return {
        (one.app_id, one.id): (one.finding.not_after - now) / DAY_S
        for one in credentials
        if one.finding.not_after is not None
    }
