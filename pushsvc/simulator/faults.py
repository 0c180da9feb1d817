"""The fault switches: one table of what can go wrong, and the list of what is going wrong now."""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

CONNECT, HEADERS, REQUEST, STANDING = "connect", "headers", "request", "standing"


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One thing that can go wrong, when it is decided, and its options with their defaults."""

    name: str
    stage: str
    description: str
    options: dict[str, Any] = field(default_factory=dict)


def _kind(name: str, stage: str, description: str, **options: Any) -> FaultKind:
    return FaultKind(name, stage, description, options)


KINDS = {
    kind.name: kind
    for kind in (
        _kind("refuse-connections", STANDING, "Nothing listens: connecting ends in ECONNREFUSED."),
        _kind("reset-connections", CONNECT, "The connection is accepted and reset at once."),
        _kind("tls-stall", CONNECT, "The connection is accepted, the ClientHello is never answered."),
        _kind("tls-alert", CONNECT, "The ClientHello is answered with a fatal TLS alert of this number.", alert=80),
        _kind("churn-limit", STANDING, "More than so many connections a minute are reset at once.", per_minute=10),
        _kind("idle-close", STANDING, "A connection idle for so long gets GOAWAY and is closed.", idle_s=1.0),
        _kind(
            "close-before-body",
            HEADERS,
            "The connection ends after the headers (how: fin or reset).",
            how="reset",
        ),
        _kind(
            "close-during-body",
            HEADERS,
            "The connection ends within the body (how: fin or reset).",
            how="reset",
        ),
        _kind(
            "close-after-request",
            REQUEST,
            "The connection ends when the request is complete, unanswered; processed says whether the push was taken.",
            how="reset",
            processed=True,
        ),
        _kind(
            "reason",
            REQUEST,
            "This reason (APNs), code or envelope (FCM), error (OAuth); retry_after (seconds or a date): a header.",
            reason="InternalServerError",
            status=None,
            retry_after=None,
            timestamp_ms=None,
        ),
        _kind("empty-error-body", REQUEST, "An error status with no body.", status=500),
        _kind("unknown-reason", REQUEST, "A reason no documentation names.", status=400, reason="BadMoonPhase"),
        _kind("gone-without-body", REQUEST, "410 with no body, so neither reason nor timestamp."),
        _kind("delay", REQUEST, "The answer comes so much later.", delay_s=0.2),
        _kind("silence", REQUEST, "The answer never comes.", processed=True),
        _kind("out-of-order", REQUEST, "So many answers are held back and then given in reverse order.", hold=4),
        _kind(
            "reset-stream",
            REQUEST,
            "RST_STREAM instead of an answer (REFUSED_STREAM, INTERNAL_ERROR, CANCEL); refused ones are not processed.",
            code="REFUSED_STREAM",
        ),
        _kind("settings-drop", STANDING, "After a reject one stream is allowed, the excess refused, until an accept."),
        _kind(
            "goaway",
            REQUEST,
            "GOAWAY; last is this (the request is still answered), previous (it is not processed) or a stream id.",
            last="this",
            code="NO_ERROR",
            data="",
        ),
        _kind("shutdown", REQUEST, "503 Shutdown, then GOAWAY."),
        _kind(
            "disconnect-after-errors",
            STANDING,
            "After so many errors the connection is closed; BadDeviceToken weighs 2, 410 nothing.",
            errors=10,
        ),
    )
}


@dataclass(slots=True, eq=False)
class Fault:
    """A switch that is on; empty filters match all, `times` ends it, `every` takes each nth match, `rate` a share."""

    id: int
    kind: FaultKind
    site: str
    token: str
    topic: str
    times: int | None
    every: int
    rate: float
    options: dict[str, Any]
    seen: int = 0
    hits: int = 0

    def as_json(self) -> dict[str, object]:
        names = ("id", "site", "token", "topic", "times", "every", "rate", "options", "seen", "hits")
        return {"kind": self.kind.name} | {name: getattr(self, name) for name in names}


class Faults:
    """The switches, settable from any thread at run time."""

    def __init__(self) -> None:
        self._ids = count(1)
        self._lock = threading.Lock()
        self._random = random.Random(1)
        self.active: tuple[Fault, ...] = ()
        self.changed: Callable[[], None] = lambda: None

    def add(
        self,
        kind: str,
        *,
        site: str = "",
        token: str = "",
        topic: str = "",
        times: int | None = None,
        every: int = 1,
        rate: float = 1.0,
        **options: Any,
    ) -> Fault:
        """Turns a fault on.

        `site` is apns-production, apns-sandbox, apns (both), fcm or oauth; `topic` an APNs topic or a project.
        """
        if kind not in KINDS:
            raise ValueError(f"unknown fault {kind!r}: use one of {', '.join(KINDS)}")
        allowed = KINDS[kind].options
        if unknown := options.keys() - allowed.keys():
            names = ", ".join(allowed) or "none"
            raise ValueError(f"fault {kind} has no option {sorted(unknown)[0]!r}: its options are {names}")
        fault = Fault(
            next(self._ids), KINDS[kind], site, token.lower(), topic, times, every, rate, {**allowed, **options}
        )
        with self._lock:
            self.active = (*self.active, fault)
        self.changed()
        return fault

    def remove(self, fault: Fault | int) -> None:
        """Turns one fault off, given as itself or by its id."""
        number = fault if isinstance(fault, int) else fault.id
        with self._lock:
            self.active = tuple(kept for kept in self.active if kept.id != number)
        self.changed()

    def reset(self) -> None:
        with self._lock:
            self.active = ()
        self._random = random.Random(1)
        self.changed()

    def take(self, stage: str, site: str, token: str = "", topic: str = "") -> list[Fault]:
        """The faults that strike now; those with a count are used up by it."""
        struck = []
        for fault in self.active:
            if fault.kind.stage != stage or not _matches(fault, site, token, topic):
                continue
            fault.seen += 1
            if fault.seen % fault.every or (fault.rate < 1.0 and self._random.random() >= fault.rate):
                continue
            fault.hits += 1
            struck.append(fault)
            if fault.times is not None and fault.hits >= fault.times:
                self.remove(fault)
        return struck

    def standing(self, kind: str, site: str) -> Fault | None:
        """The standing fault of this kind for a site, if it is on."""
        for fault in self.active:
            if fault.kind.name == kind and site.startswith(fault.site):
                return fault
        return None


def _matches(fault: Fault, site: str, token: str, topic: str) -> bool:
    return (
        site.startswith(fault.site)
        and (not fault.token or fault.token == token.lower())
        and (not fault.topic or fault.topic == topic)
    )
