"""A test push: one event to one device, now, with everything that was sent and answered shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import msgspec

from pushsvc.dispatch.courier import Courier, Delivery
from pushsvc.dispatch.plan import not_to_be_sent, useful_until
from pushsvc.domain.app import App
from pushsvc.domain.device import Device, redacted
from pushsvc.domain.event import Event
from pushsvc.domain.outcome import Outcome
from pushsvc.domain.push import (
    Answer,
    Bearer,
    Push,
    PushRequest,
    PushType,
    Refusal,
    TransportFailure,
    Verdict,
    push_id,
)
from pushsvc.providers.provider import PayloadRefused, Provider
from pushsvc.routing import route

_UNSEEN = (
    "A background push: it wakes the app, and the phone shows nothing. "
    "Messages are shown where the app's setting 'background' is false."
)
SHOWN_BYTES = 16_384  # of a request's or an answer's body


@dataclass(frozen=True, slots=True)
class Trial:
    """What a test push did; `request` and `answer` are as sent and received, secrets redacted."""

    device: str
    outcome: Outcome | None  # None: nothing was asked of the provider, so that it has taken and refused nothing
    code: int | None  # the 90x, or the provider's status
    reason: str
    cause: str
    cure: str
    sent: bool  # False for a dry run that stopped short of sending, and for a refusal before sending
    request: dict[str, object] | None = None
    answer: dict[str, object] | None = None
    took_ms: float = 0
    note: str = ""  # what the one who looks at the phone has to know

    @property
    def word(self) -> str:
        """The outcome's word; `dry_run` where the push was built and not sent."""
        return self.outcome.name.lower() if self.outcome else "dry_run"


def try_out(
    event: Event,
    device: Device,
    app: App,
    *,
    providers: Mapping[str, Provider],
    courier: Callable[[], Courier],
    dry_run: bool,
    timeout_s: float,
    clock: Callable[[], float] = time.time,
) -> Trial:
    """Routes, builds, sends and reads one push; a dry run asks FCM to validate only and stops before APNs is asked."""
    now = clock()
    row = not_to_be_sent(event, app, now)
    chosen = Refusal(row) if row else route(event, device, app, now)
    if not isinstance(chosen, Refusal) and chosen is not None:
        push = Push(
            id=push_id(event.app, event.id, chosen.token.id),
            app=app,
            event=event,
            device=device,
            route=chosen,
            attempt=1,
            ttl_s=max(0, int(useful_until(event) - now)),
            now=now,
            dry_run=dry_run,
        )
        provider = providers[chosen.provider]
        rehearsed = dry_run and not provider.validates
        trial = _rehearsed(push, provider) if rehearsed else _sent(push, courier, timeout_s, clock)
        return replace(trial, note=_UNSEEN if chosen.push_type is PushType.BACKGROUND else "")
    name = redacted(device.tokens[0].token)
    if chosen is None:
        cure = "Test a call for a VoIP token, a message for a push or FCM token."
        cause = "This device has no token that such an event may use."
        return Trial(name, Outcome.NO_DEVICE, None, "", cause, cure, sent=False)
    row = chosen.row
    return Trial(name, row.outcome, row.outcome.code, row.reason, row.cause, row.cure, sent=False)


def _rehearsed(push: Push, provider: Provider) -> Trial:
    name = redacted(push.route.token.token)
    bearer = provider.bearer(push.route.credential, push.now)
    try:
        request = provider.build(push, bearer.token if isinstance(bearer, Bearer) else None)
    except PayloadRefused as refused:
        return _told(name, Verdict(refused.row, reason=refused.cause), None, None, sent=False, took_ms=0)
    cause = "The push was built and its credential chosen; this provider has no way to validate without delivering."
    shown = _shown_request(request, push.route.token.token)
    return Trial(name, None, None, "DryRun", cause, "Nothing to do.", sent=False, request=shown)


def _sent(push: Push, courier: Callable[[], Courier], timeout_s: float, clock: Callable[[], float]) -> Trial:
    token = push.route.token.token
    carrier = courier()
    try:
        started = clock()
        carrier.hand_over(None, push)
        done: list[Delivery] = []
        while not done and clock() - started < timeout_s:
            done = carrier.poll(0.1)
            if done and done[0].verdict is None:  # its bearer took its time
                carrier.hand_over(None, replace(push, now=clock()))
                done = []
        took_ms = (clock() - started) * 1000
    finally:
        carrier.close()
    end, verdict = (done[0], done[0].verdict) if done else (None, None)
    if end is None or verdict is None:
        raise TimeoutError(f"no answer within {timeout_s:g} s")
    asked = _shown_request(end.request, token) if end.request else None
    answered = _shown_answer(end.answer, token) if end.answer else None
    return _told(redacted(token), verdict, asked, answered, sent=end.answer is not None, took_ms=took_ms)


def _told(
    device: str,
    verdict: Verdict,
    request: dict[str, object] | None,
    answer: dict[str, object] | None,
    *,
    sent: bool,
    took_ms: float,
) -> Trial:
    row = verdict.row
    code = row.outcome.code or verdict.status or row.status
    return Trial(
        device,
        row.outcome,
        code,
        verdict.reason or row.reason,
        row.cause,
        row.cure,
        sent,
        request,
        answer,
        round(took_ms, 1),
    )


def _shown_request(request: PushRequest, token: str) -> dict[str, object]:
    headers = {name: "…" if name == "authorization" else value for name, value in request.headers}
    return {
        "method": "POST",
        "url": f"https://{request.authority}{request.path.replace(token, redacted(token))}",
        "headers": headers,
        "body": _shown_body(request.body, token),
    }


def _shown_answer(answer: Answer, token: str) -> dict[str, object]:
    if isinstance(answer, TransportFailure):
        return {"fault": answer.fault.value, "detail": answer.detail}
    return {"status": answer.status, "headers": dict(answer.headers), "body": _shown_body(answer.body, token)}


def _shown_body(body: bytes, token: str) -> object:
    """JSON where it is JSON, else its text, so that a provider's HTML page is seen too."""
    text = body[:SHOWN_BYTES].decode(errors="replace").replace(token, redacted(token))
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
