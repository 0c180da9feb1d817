"""The ordinary tasks. Events that come as a task go to the same stream as all others."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from celery import shared_task
from celery.exceptions import Reject
from celery.worker import state

from pushsvc.dispatch.admit import admit
from pushsvc.dispatch.ports import StreamUnavailable
from pushsvc.domain.event import MAX_EVENT_BYTES, BadEvent, Event, too_deep
from pushsvc.store.database import StoreUnavailable
from pushsvc.stream.dead import DeadLetters

APPEND_COUNT = 1000  # events in one append, as at the HTTP door
PATIENCE_S = 10.0  # how long a task waits for the stream before it goes back to the queue
PAUSE_S = 0.5

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger("pushsvc.tasks")


@shared_task(bind=True, name="pushsvc.dispatch")
def dispatch(self: Any, *args: Any, **kwargs: Any) -> None:
    """Takes one argument: an event or a list of events (docs/events.md).

    A bad one becomes a dead letter with the reason; the others are appended. While the stream cannot take them the
    task waits and then goes back to its queue: it is acknowledged only when the stream has the events. Events without
    an id get one made of the task's id, so that a second delivery of the task is recognised.
    """
    service, task = self.app.pushsvc, self.request.id
    good: list[Event] = []
    bad: list[tuple[bytes, str]] = []
    for number, one in enumerate(_events(args, kwargs, bad)):
        raw = b""
        try:
            raw = _json(one)
            event = admit(raw, now=time.time(), app=None, make_id=f"{task}.{number}", providers=service.providers)
        except BadEvent as error:
            bad.append((raw[:MAX_EVENT_BYTES], f"{error} ({error.cure})"))
        else:
            good.append(event)
    new = sum(
        sum(_patiently(service.stream.append, good[start : start + APPEND_COUNT]))
        for start in range(0, len(good), APPEND_COUNT)
    )
    dead = DeadLetters(service.valkey, service.config.marks_kept_s)
    for raw, reason in bad:
        _patiently(dead.add, raw, reason)
    log.info("events taken", extra={"new": new, "repeated": len(good) - new, "bad": len(bad)})


@shared_task(bind=True, name="pushsvc.upkeep")
def upkeep(self: Any) -> None:
    """Purges old records and warns of certificates that expire; the event consumers send it once an hour."""
    try:
        self.app.pushsvc.upkeep()
    except (StreamUnavailable, StoreUnavailable) as error:
        log.warning("upkeep is left to the next time: %s", error.cause, extra={"cure": error.cure})


def _events(args: tuple[Any, ...], kwargs: dict[str, Any], bad: list[tuple[bytes, str]]) -> list[Any]:
    """The events in a task's arguments; those of no use are bad as a whole."""
    if len(args) == 1 and not kwargs:
        events = args[0]
    elif not args and kwargs.keys() == {"events"}:
        events = kwargs["events"]
    else:
        cause = f"the task has {len(args)} arguments and {len(kwargs)} named ones; it takes one"
        bad.append((_json([*args, kwargs])[:MAX_EVENT_BYTES], f"{cause} (Give an event, or a list of events.)"))
        return []
    return events if isinstance(events, list) else [events]


def _json(value: object) -> bytes:
    """The event as a producer in another language would have written it, its faults included; raises BadEvent."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass")
    except RecursionError:
        raise too_deep() from None


def _patiently(act: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """What `act` returns, once the stream takes it; gives the task back to its queue when that takes too long."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return act(*args, **kwargs)
        except StreamUnavailable as error:
            if time.monotonic() > deadline or state.should_stop is not None:
                log.warning("events of a task wait in its queue: %s", error.cause, extra={"cure": error.cure})
                raise Reject(error, requeue=True) from error
            time.sleep(PAUSE_S)
