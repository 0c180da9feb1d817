"""Whether the parts work now: what /readyz, /metrics and `pushsvc health` look at."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from pushsvc.directory.ports import StoredCredential
from pushsvc.dispatch.ports import StreamUnavailable
from pushsvc.store.database import Database, StoreUnavailable
from pushsvc.stream.figures import Figures, figures
from pushsvc.stream.valkey import Valkey
from pushsvc.telemetry import Metrics

LATE_S = 30.0  # retries that are overdue by more: nobody releases them
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

    def checks(self) -> Mapping[str, str]:
        """Name of each part -> "" when it works, else the cause and the cure."""
        seen: dict[str, str] = {}
        try:
            now = figures(self._valkey)
        except StreamUnavailable as error:
            seen["valkey"] = f"{error.cause}. {error.cure}"
            seen["workers"] = "cannot be told while Valkey is away."
        else:
            seen["valkey"] = ""
            seen["workers"] = _workers(now)
        seen["store"] = self.store()
        return seen

    def store(self) -> str:
        """Empty when the store answers, else the cause and the cure."""
        try:
            self._database.ping()
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


def days_left(credentials: Sequence[StoredCredential], now: float) -> dict[tuple[int, int], float]:
    """(app id, credential id) -> days until its certificate expires, below 0 when it has; keys do not expire."""
    return {
        (one.app_id, one.id): (one.finding.not_after - now) / DAY_S
        for one in credentials
        if one.finding.not_after is not None
    }
