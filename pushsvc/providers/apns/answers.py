"""APNs: an answer's bytes read into a verdict."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from pushsvc.domain.device import Environment
from pushsvc.domain.outcome import Row
from pushsvc.domain.push import Answer, Fault, Push, PushResponse, TransportFailure, Verdict
from pushsvc.providers.apns.outcomes import ACCEPTED, REASONS, UNKNOWN_FAULT, UNKNOWN_REFUSAL
from pushsvc.providers.transport import read_failure

_BY_REASON: dict[str, tuple[Row, ...]] = {
    reason: tuple(row for row in REASONS if row.reason == reason) for reason in {row.reason for row in REASONS}
}
# Answers without a readable body, where the status alone says enough.
_BY_STATUS = {410: "Unregistered", 413: "PayloadTooLarge", 429: "TooManyRequests"}
# The reasons that speak of a header, and the key of an event's override that may have set it.
_OVERRIDE_KEY = {
    "BadCollapseId": "collapse_id",
    "BadExpirationDate": "expiration",
    "BadPriority": "priority",
    "InvalidPushType": "push_type",
}
_ACCEPTED = Verdict(ACCEPTED, 200)


def read(push: Push, answer: Answer) -> Verdict:
    """The verdict on an answer of APNs; never raises, whatever the bytes."""
    if isinstance(answer, TransportFailure):
        if answer.fault is Fault.GOAWAY:
            reason = _reason_of_goaway(answer.detail)
            if reason in _BY_REASON:
                row = row_of(reason, push)
                return Verdict(row, row.status, reason)
        return read_failure(answer)
    if answer.status == 200:
        return _ACCEPTED
    reason, timestamp = _body(answer)
    if not reason:
        known = _BY_STATUS.get(answer.status)
        row = row_of(known, push) if known else _unknown(answer.status)
    else:
        row = row_of(reason, push) if reason in _BY_REASON else _unknown(answer.status)
    return Verdict(row, answer.status, reason, timestamp, retry_after_s(answer, push.now))


def row_of(reason: str, push: Push) -> Row:
    """The row of a reason in the table; where there are two, the one that this push is a case of."""
    rows = _BY_REASON[reason]
    if len(rows) == 1:
        return rows[0]
    if reason in _OVERRIDE_KEY:
        return rows[0] if _OVERRIDE_KEY[reason] in (push.event.apns or {}) else rows[1]
    return rows[1] if push.route.environment is Environment.SANDBOX else rows[0]


def retry_after_s(answer: PushResponse, now: float) -> float | None:
    """The seconds to wait that a Retry-After header asks for; None where there is none that can be read.

    A date counts from the answer's own Date, so that the two clocks need not agree, or else from `now`, our own.
    https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
    """
    value = (answer.header("retry-after") or "").strip()
    if value.isascii() and value.isdigit():
        return float(value) if len(value) <= 9 else None
    at = _http_date(value)
    if at is None:
        return None
    asked_at = _http_date(answer.header("date") or "")
    return max(0.0, at - (now if asked_at is None else asked_at))


def _http_date(value: str) -> float | None:
    """UNIX seconds of any of the three forms of RFC 9110 (5.6.7); all are in UTC, whether they say so or not."""
    try:
        found = parsedate_to_datetime(value)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body, or an empty one where there is none (HTML, nothing, rubbish)."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _unknown(status: int) -> Row:
    return UNKNOWN_FAULT if status >= 500 else UNKNOWN_REFUSAL


def _body(answer: PushResponse) -> tuple[str, float | None]:
    found = json_object(answer.body)
    reason = found.get("reason")
    timestamp = found.get("timestamp")  # milliseconds, with 410 alone
    at = None
    if isinstance(timestamp, int | float) and 0 < timestamp < 1e15:
        at = timestamp / 1000
    return (reason[:200] if isinstance(reason, str) else ""), at


def _reason_of_goaway(detail: str) -> str:
    reason = json_object(detail.encode(errors="replace")).get("reason", detail)
    return reason if isinstance(reason, str) else ""
