"""Planning: what an event comes to, for one recipient (`plan`) and for all (`plan_entry`). Pure.

`plan` gives one `Planned` for each of the recipient's devices that takes part: a `Launch` (a push, to be built and
sent) or a `Refused` (its row of the outcome table says why nothing goes out; a row whose action is DROP_TOKEN asks for
the token to be dropped). A recipient for whom there is nothing to send to gets a single `Refused` with token_id 0. Each
carries the `Again` of its push: what a later attempt needs to know. Devices that have ended for the event are left out,
so the list may be empty.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from msgspec import structs

from pushsvc.dispatch.ports import Again, Entry
from pushsvc.domain import event as events
from pushsvc.domain.app import App
from pushsvc.domain.device import Device
from pushsvc.domain.event import MAX_EXPIRY_S, Event
from pushsvc.domain.outcome import Row
from pushsvc.domain.push import Push, Refusal, push_id
from pushsvc.domain.refusals import EXPIRED, NO_DEVICE, ONLINE_ONLY, QUIET_WINDOW, UNKNOWN_APP, USER_DISABLED
from pushsvc.routing import route

CALL_RINGS_S = 60  # a call whose producer gave no expiry: nobody rings longer, and a phone must not ring for nobody


@dataclass(frozen=True, slots=True)
class Launch:
    """A push to be sent."""

    push: Push
    again: Again


@dataclass(frozen=True, slots=True)
class Refused:
    """No push goes out, and why. `again.token_id` is 0 where there is no token."""

    push_id: str
    row: Row
    again: Again


Planned = Launch | Refused


def useful_until(event: Event) -> float:
    """UNIX seconds after which the event is not sent: its deadline, or for a call without an expiry 60 s."""
    if event.is_call and event.expiry == MAX_EXPIRY_S:
        return event.sent_at + CALL_RINGS_S
    return event.deadline


def plan(
    event: Event,
    app: App | None,
    devices: Iterable[Device],
    *,
    again: Again | None = None,
    recipient: str,
    enqueued_at: float,
    ended: Collection[int] = (),
    now: float,
) -> list[Planned]:
    """What the event comes to for a recipient with these devices.

    With `again` (a retry, or a trailing wake-up) only the token that it names takes part.
    """
    whole = again or Again(0, 0, recipient, 1, enqueued_at)
    row = not_to_be_sent(event, app, now)
    if whole.superseded:
        row = QUIET_WINDOW
    if row is not None or app is None:
        return [_refused(event, row or UNKNOWN_APP, whole)]
    out: list[Planned] = []
    took_part = False
    for device in devices:
        if not device.user_active:
            return [_refused(event, USER_DISABLED, whole)]
        if again is not None and all(token.id != again.token_id for token in device.tokens):
            continue
        found = route(
            event,
            device,
            app,
            now,
            refused_by=whole.refused_by,
            environment=whole.environment,
        )
        if found is None:
            continue
        token_id = found.token_id if isinstance(found, Refusal) else found.token.id
        if again is not None and token_id != again.token_id:
            continue
        took_part = True
        if token_id in ended:
            continue
        own = again or Again(token_id, device.uid, recipient, 1, enqueued_at)
        if isinstance(found, Refusal):
            out.append(_refused(event, found.row, own))
            continue
        push = Push(
            id=push_id(event.app, event.id, token_id),
            app=app,
            event=event,
            device=device,
            route=found,
            attempt=own.attempt,
            ttl_s=max(0, int(useful_until(event) - now)),
            now=now,
        )
        out.append(Launch(push, own))
    return out if took_part else [_refused(event, NO_DEVICE, whole)]


def not_to_be_sent(event: Event, app: App | None, now: float) -> Row | None:
    """Why the event goes to nobody at all, if so."""
    if event.expiry == 0:
        return ONLINE_ONLY
    if now >= useful_until(event):
        return EXPIRED
    return UNKNOWN_APP if app is None else None


def _refused(event: Event, row: Row, again: Again) -> Refused:
    return Refused(push_id(event.app, event.id, again.token_id), row, again)


def plan_entry(
    entry: Entry,
    event: Event,
    ended: frozenset[int],
    app: App | None,
    devices: Mapping[tuple[int, int | str], tuple[Device, ...]],
    now: float,
) -> list[Planned]:
    """What the entry's event comes to for all of its recipients; one who is named twice gets it once."""
    found: dict[tuple[int, int | str | None], Planned] = {}
    for user in recipients(entry, event):
        for planned in plan(
            event,
            app,
            devices.get((event.app, user), ()),
            again=entry.again,
            recipient=str(user),
            enqueued_at=entry.enqueued_at,
            ended=ended,
            now=now,
        ):
            token_id = planned.again.token_id
            found.setdefault((token_id, None if token_id else user), planned)
    return list(found.values())


def recipients(entry: Entry, event: Event) -> list[int | str]:
    """Whom an entry is for: all of the event's users, or the one whose push goes out again."""
    return [entry.again.uid or entry.again.recipient] if entry.again else event.users


def for_one(event: Event, again: Again) -> bytes:
    """The event as it waits for one recipient: a list of a thousand is not kept a thousand times."""
    if isinstance(event.user, list):
        event = structs.replace(event, user=again.uid or again.recipient)
    return events.encode(event)
