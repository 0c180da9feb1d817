"""What the setting 'print push logs' writes of one request and its answer; pure, and without anything secret."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from pushsvc.dispatch.courier import Delivery
from pushsvc.domain.device import redacted
from pushsvc.domain.push import PushRequest, PushResponse, Verdict

# What is looked into; below anything else, as `data`, the very names of properties are the producer's.
_INNER = ("message", "apns", "android", "webpush", "notification", "headers", "payload", "aps", "alert")


def printed(delivery: Delivery, request: PushRequest, verdict: Verdict) -> Mapping[str, str | int | None]:
    """The fields of the line: the token redacted, no authorization, and of the body its size and property names.

    `status` is None and `answer` names the fault where there was no answer.
    """
    push, answer = delivery.push, delivery.answer
    token = push.route.token.token
    return {
        "app": push.event.app,
        "event": push.event.id,
        "push": push.id,
        "attempt": push.attempt,
        "token": redacted(token),
        "url": f"https://{request.authority}{request.path.replace(token, redacted(token))}",
        "headers": ", ".join(f"{name}: {value}" for name, value in request.headers if name != "authorization"),
        "body_bytes": len(request.body),
        "body_keys": " ".join(_keys(msgspec.json.decode(request.body))),
        "status": answer.status if isinstance(answer, PushResponse) else None,
        "answer": verdict.reason or verdict.row.reason,
    }


def _keys(value: object, path: str = "") -> Iterator[str]:
    """Names of properties, with dots between."""
    if not isinstance(value, dict):
        return
    for name, inner in value.items():
        where = f"{path}.{name}" if path else name
        if isinstance(inner, dict) and name in _INNER:
            yield from _keys(inner, where)
        else:
            yield where
