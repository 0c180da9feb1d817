"""Logs, metrics, and the small HTTP door that shows them; implements the Telemetry port."""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TextIO

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from pushsvc.dispatch.ports import Reach
from pushsvc.domain.device import redacted
from pushsvc.domain.record import Record

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
TOLD_AGAIN_AFTER_S = 3600.0

GAUGES = {
    "in_flight": "Requests to providers that wait for their answer, in this process.",
    "stream_lag": "Events appended and not yet read by any worker.",
    "pending": "Events read by a worker and not settled yet.",
    "oldest_pending_s": "Age in seconds of the oldest event that is not settled.",
    "dead_letters": "Entries of the dead-letter stream.",
    "retries_waiting": "Pushes that wait for their due time (retries, quiet windows).",
    "workers_alive": "Workers whose heartbeat is there.",
}
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0, 3600.0)

_PEM = re.compile(r"-----BEGIN [A-Z0-9 ]+-----.*?(?:-----END [A-Z0-9 ]+-----|\Z)", re.DOTALL)
_AUTHORIZATION = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=:-]{8,}")
_URL_PASSWORD = re.compile(r"(://[^\s/:@]*:)[^\s/@]+@")
_JWT = re.compile(r"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?")
# 40 hex digits and more: device tokens; 60 token characters and more: FCM tokens, access tokens
_TOKEN = re.compile(r"\b[0-9A-Fa-f]{40,}\b|[A-Za-z0-9_:.%-]{60,}")


def without_secrets(text: str) -> str:
    """The text with device tokens, bearers, passwords in URLs and PEM blocks cut out."""
    text = _PEM.sub("[PEM]", text)
    text = _URL_PASSWORD.sub(r"\1…@", text)
    text = _AUTHORIZATION.sub(r"\1 …", text)
    text = _JWT.sub("[JWT]", text)
    return _TOKEN.sub(lambda match: redacted(match.group()), text)


_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD and not key.startswith("_")}


def _trace(record: logging.LogRecord) -> str:
    """Frames and types of an exception and its causes.

    What an exception says stands there only where it cannot be a quotation from an event: of the operating system, or
    of our own errors that carry a cure.
    """
    error = record.exc_info[1] if record.exc_info else None
    told: list[str] = []
    while error is not None:
        says = f": {error}" if isinstance(error, OSError) or hasattr(error, "cure") else ""
        frames = "".join(traceback.format_tb(error.__traceback__))
        told.insert(0, f"Traceback (most recent call last):\n{frames}{type(error).__qualname__}{says}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n\n".join(told)


def _clean(value: object) -> object:
    return value if value is None or isinstance(value, bool | int | float) else without_secrets(str(value))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ts, level, logger, message, and every field given as `extra`; secrets cut out."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = _trace(record)
        return json.dumps({key: _clean(value) for key, value in line.items()}, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """A line for a person: time, level, message, fields as key=value; secrets cut out."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).strftime("%H:%M:%S.%f")[:-3]
        fields = "".join(f" {key}={value}" for key, value in _fields(record).items() if value not in ("", None))
        trace = f"\n{_trace(record)}" if record.exc_info else ""
        return without_secrets(f"{at} {record.levelname.lower():7} {record.getMessage()}{fields}{trace}")


def configure_logging(level: str, form: str, stream: TextIO | None = None) -> None:
    """Sends every logger of the process to `stream` (standard error when None).

    `form` is json or text; "": text where the stream is a terminal, else json.
    """
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    as_text = form == "text" or (not form and stream.isatty())
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every URL at info, and APNs paths hold tokens
    logging.getLogger("httpcore").setLevel(logging.WARNING)
    logging.getLogger("hpack").setLevel(logging.WARNING)  # logs header values at debug
    logging.getLogger("alembic").setLevel(logging.WARNING)  # a line for each plugin at every start


class Metrics:
    """Counts and log lines of one process, with its own registry. `clock` gives UNIX seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.registry = CollectorRegistry()
        self._clock = clock
        self._log = logging.getLogger("pushsvc")
        self._told: dict[tuple[int, str], float] = {}
        self._lock = threading.Lock()
        self._pushes = Counter(
            "pushsvc_pushes",
            "Pushes by what became of an attempt; code is the 90x or the provider's own status.",
            ("provider", "outcome", "code"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "pushsvc_push_seconds",
            "Seconds from the event's append to the provider's answer.",
            ("provider", "outcome"),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._notices = Counter(
            "pushsvc_operator_notices", "News that a person has to look at.", ("app",), registry=self.registry
        )
        self._days_left = Gauge(
            "pushsvc_certificate_days_left",
            "Days until a credential's certificate expires.",
            ("app", "credential"),
            registry=self.registry,
        )
        self._connections = Gauge(
            "pushsvc_provider_connections",
            "Connections to a provider that stand, in this worker.",
            ("authority",),
            registry=self.registry,
        )
        self.reach: Mapping[str, Reach] = {}  # how this process reaches the providers, as last told
        self._gauges = {name: Gauge(f"pushsvc_{name}", text, registry=self.registry) for name, text in GAUGES.items()}

    def settled(self, record: Record) -> None:
        """Counts one settled attempt and writes its line."""
        outcome = record.outcome.name.lower()
        code = "" if record.response_code is None else str(record.response_code)
        self._pushes.labels(record.provider, outcome, code).inc()
        if record.authority:  # a push that never went out has no latency
            self._seconds.labels(record.provider, outcome).observe(max(0.0, record.answered_at - record.enqueued_at))
        self._log.info(
            "push %s",
            outcome,
            extra={
                "event": record.event_id,
                "push": record.push_id,
                "app": record.app_id,
                "provider": record.provider,
                "push_type": record.push_type,
                "code": record.response_code,
                "reason": record.reason,
                "attempts": record.attempts,
                "latency_ms": round((record.answered_at - record.enqueued_at) * 1000),
            },
        )

    def exchanged(self, fields: Mapping[str, str | int | None]) -> None:
        """Writes the line of one request and its answer."""
        self._log.info("push log", extra=dict(fields))

    def tell_operator(self, app_id: int, subject: str, cause: str, cure: str) -> None:
        """Writes a warning for a person, once an hour for a subject of an app."""
        now = self._clock()
        with self._lock:
            if now - self._told.get((app_id, subject), float("-inf")) < TOLD_AGAIN_AFTER_S:
                return
            if len(self._told) > 10_000:
                self._told = {key: at for key, at in self._told.items() if now - at < TOLD_AGAIN_AFTER_S}
            self._told[(app_id, subject)] = now
        self._notices.labels(str(app_id)).inc()
        self._log.warning("%s", subject, extra={"app": app_id, "cause": cause, "cure": cure})

    def reached(self, reach: Mapping[str, Reach]) -> None:
        """Keeps how this process reaches the providers, and counts its connections."""
        self.reach = reach
        self._connections.clear()
        for authority, one in reach.items():
            self._connections.labels(authority).set(one.connections)

    def gauge(self, name: str, value: float) -> None:
        """Sets one of GAUGES."""
        self._gauges[name].set(value)

    def certificate_days_left(self, days: Mapping[tuple[int, int], float]) -> None:
        """Replaces the days left of all certificates, by (app id, credential id)."""
        self._days_left.clear()
        for (app_id, credential_id), left in days.items():
            self._days_left.labels(str(app_id), str(credential_id)).set(round(left, 2))

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at the parts has found."""

    checks: Mapping[str, str]  # name of what was checked -> "" when it is fine, else the cause and the cure
    providers: Mapping[str, str] = field(default_factory=dict)  # authority -> its state, for people

    @property
    def ready(self) -> bool:
        return not any(self.checks.values())


def readiness(look: Look) -> tuple[int, dict[str, Any]]:
    """HTTP status and body of /readyz."""
    checks = {name: what or "ok" for name, what in look.checks.items()}
    return (200 if look.ready else 503), {"ready": look.ready, "checks": checks, "providers": dict(look.providers)}


class MetricsServer:
    """Serves /metrics, /healthz and /readyz of a worker process from a thread of its own.

    `ready` is asked per request; `refresh` runs before the metrics are written. Port 0: the system picks one.
    """

    def __init__(
        self,
        listen: tuple[str, int],
        metrics: Metrics,
        ready: Callable[[], Look],
        refresh: Callable[[], None] | None = None,
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                status, kind, body = _answer(self.path.partition("?")[0], metrics, ready, refresh)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """A scrape every few seconds is not worth a line."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

        self._server = Server(listen, Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _answer(
    path: str, metrics: Metrics, ready: Callable[[], Look], refresh: Callable[[], None] | None
) -> tuple[int, str, bytes]:
    if path == "/healthz":
        return 200, "application/json", b'{"alive":true}'
    if path == "/readyz":
        try:
            status, body = readiness(ready())
        except Exception as error:  # a check that fails is an answer, not a dropped connection
            status, body = readiness(Look({"checks": f"{type(error).__name__}: {error}"}))
        return status, "application/json", without_secrets(json.dumps(body)).encode()
    if path == "/metrics":
        if refresh is not None:
            try:
                refresh()
            except Exception as error:  # old gauges are better than no metrics
                logging.getLogger("pushsvc").warning("metrics could not be refreshed: %s", error)
        return 200, METRICS_TYPE, metrics.exposition()
    return 404, "application/json", b'{"error":"NOTFOUND"}'
