"""What is written down of a push; pure."""

from __future__ import annotations

from pushsvc.dispatch.plan import Refused
from pushsvc.dispatch.ports import Again
from pushsvc.dispatch.settle import Settlement
from pushsvc.domain.event import Event
from pushsvc.domain.outcome import Outcome, Row
from pushsvc.domain.push import Push, PushRequest
from pushsvc.domain.record import Record


def of_refused(event: Event, refused: Refused, now: float) -> Record:
    """A push that was decided against before anything was sent."""
    return _unsent(event, refused.again, refused.push_id, refused.row, now)


def of_superseded(event: Event, again: Again, push_id: str, row: Row, now: float) -> Record:
    """A wake-up that waited for the end of a quiet window and was not needed in the end."""
    return _unsent(event, again, push_id, row, now)


def of_waiting(push: Push, again: Again, until: float, now: float) -> Record:
    """A wake-up that waits for the end of its device's quiet window."""
    return Record(
        app_id=push.event.app,
        event_id=push.event.id,
        recipient=again.recipient,
        token_id=push.route.token.id,
        push_id=push.id,
        outcome=Outcome.RETRYING,
        response_code=None,
        reason="QuietWindow",
        cause="The device was woken within the app's minimum interval; this wake-up goes out at its end.",
        cure=Outcome.RETRYING.cure,
        provider=push.route.provider,
        authority="",
        push_type=push.route.push_type.value,
        priority="",
        topic=push.route.topic,
        attempts=0,
        enqueued_at=again.enqueued_at,
        answered_at=now,
        due_at=until,
    )


def of_settled(
    push: Push, again: Again, request: PushRequest | None, status: int | None, settled: Settlement, now: float
) -> Record:
    """A push that was handed to a sender, or that could not be built (`request` is None).

    `status` is what the provider answered with, None where it did not.
    """
    route = push.route
    return Record(
        app_id=push.event.app,
        event_id=push.event.id,
        recipient=again.recipient,
        token_id=route.token.id,
        push_id=push.id,
        outcome=settled.outcome,
        response_code=settled.response_code,
        reason=_printable(settled.reason),
        cause=settled.cause,
        cure=settled.cure,
        provider=route.provider,
        authority=request.authority if request else "",
        push_type=route.push_type.value,
        priority=request.priority if request else "",
        topic=route.topic,
        attempts=push.attempt if request else push.attempt - 1,
        enqueued_at=again.enqueued_at,
        answered_at=now,
        status=status if request else None,
        due_at=settled.retry_at,
    )


def _printable(reason: str) -> str:
    """A provider's word without what no database, terminal or log should be given: NUL, controls, lone surrogates."""
    return reason if reason.isprintable() else "".join(char for char in reason if char.isprintable())


def _unsent(event: Event, again: Again, push_id: str, row: Row, now: float) -> Record:
    return Record(
        app_id=event.app,
        event_id=event.id,
        recipient=again.recipient,
        token_id=again.token_id,
        push_id=push_id,
        outcome=row.outcome,
        response_code=row.outcome.code,
        reason=row.reason,
        cause=row.cause,
        cure=row.cure,
        provider="",
        authority="",
        push_type="",
        priority="",
        topic="",
        attempts=again.attempt - 1,
        enqueued_at=again.enqueued_at,
        answered_at=now,
    )
