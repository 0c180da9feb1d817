"""Settling: what a verdict on one attempt comes to. Pure.

`settle` gives a `Settlement`, whose every field is an order to the flow: write the outcome down; when `retry_at` is set
send the push again then (at once where it is not later than now) with what `again` carries; renew, reconnect, drop,
remember, pause and tell as the fields of these names say.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from pushsvc.dispatch.plan import useful_until
from pushsvc.dispatch.ports import Again
from pushsvc.domain.credential import Credential
from pushsvc.domain.device import Environment
from pushsvc.domain.outcome import Action, Outcome
from pushsvc.domain.push import Push, Verdict
from pushsvc.providers.transport import status_at_deadline
from pushsvc.routing import choose_credential

AT_ONCE = 3  # immediate retries of one push
PAUSE_AFTER = 3  # refusals of a credential in a row
SHORT_TRIES = 3  # quick tries at an APNs that answers 5xx
APNS_SPACING_S = 900.0  # then Apple asks for 15 minutes: "handling-notification-responses-from-apns"
FCM_SPACING_S = 10.0  # Google asks for 10 s at least: https://firebase.google.com/docs/cloud-messaging/scale-fcm
FCM_LONGEST_S = 600.0
QUOTA_SPACING_S = 60.0  # and for a minute after a 429 without Retry-After
QUOTA_LONGEST_S = 900.0
NETWORK_LONGEST_S = 300.0  # between tries at a provider that cannot be reached


@dataclass(frozen=True, slots=True)
class Settlement:
    """What one attempt comes to, and what is to be done."""

    outcome: Outcome  # RETRYING exactly when retry_at is set
    response_code: int | None  # the 90x, or the status that is passed through
    reason: str
    cause: str
    cure: str
    refusals: int  # of this credential in a row, now
    retry_at: float | None = None  # UNIX seconds; not later than now: at once
    again: Again | None = None  # what the retry carries
    renew_bearer: bool = False  # and send the retry on a new connection
    reconnect: bool = False  # send the retry on a new connection
    drop_token: bool = False  # if unchanged, and registered before the verdict's unregistered_at
    remember: Environment | None = None  # the token's environment, found out
    pause: bool = False  # the credential
    tell: bool = False  # the operator


def settle(push: Push, verdict: Verdict, again: Again, *, refusals: int, now: float, jitter: float) -> Settlement:
    """What the verdict on an attempt comes to.

    `again` is what this attempt carried, `refusals` how often in a row its credential had been refused before, `jitter`
    a random number from 0 up to 1.
    """
    action = verdict.row.action
    if verdict.accepted:
        return _final(verdict, refusals=0, remember=_found_out(push, again))
    answered = verdict.status is not None and verdict.row.provider != "oauth"
    kept = 0 if answered else refusals  # the provider looked at the push, so it takes the credential
    if action is Action.OTHER_ENVIRONMENT:
        if again.refused_by is not None:
            return _final(verdict, refusals=kept, drop_token=True)
        if _other_can_be_asked(push, now):
            carried = replace(_next(push, again), refused_by=push.route.environment, environment=None)
            return _retry(push, verdict, carried, now, 0.0, refusals=kept)
        return _final(verdict, refusals=kept, tell=True)
    if action is Action.DROP_TOKEN:
        return _final(verdict, refusals=kept, drop_token=True)
    if action is Action.RENEW_BEARER and not again.renewed:
        carried = replace(_next(push, again), renewed=True)
        return _retry(push, verdict, carried, now, 0.0, refusals=refusals, renew_bearer=True)
    if action in (Action.RENEW_BEARER, Action.PAUSE_CREDENTIAL):
        pause = refusals + 1 >= PAUSE_AFTER
        return _final(verdict, refusals=refusals + 1, pause=pause, tell=pause)
    if action is Action.RETRY_AT_ONCE and again.at_once < AT_ONCE:
        carried = replace(_next(push, again), at_once=again.at_once + 1)
        reconnect = verdict.row.provider != "transport"  # there the connection is gone, or only the stream was refused
        return _retry(push, verdict, carried, now, 0.0, refusals=refusals, reconnect=reconnect)
    if action in (Action.NONE, Action.TELL_OPERATOR):
        return _final(verdict, refusals=kept, tell=action is Action.TELL_OPERATOR)
    tell = action in (Action.BACK_OFF_AND_TELL, Action.DELAY_CREDENTIAL)
    reconnect = action is Action.DELAY_CREDENTIAL
    delay_s = _delay_s(push, verdict, again, jitter)
    return _retry(push, verdict, _next(push, again), now, delay_s, refusals=refusals, tell=tell, reconnect=reconnect)


def _next(push: Push, again: Again) -> Again:
    return replace(again, attempt=push.attempt + 1)


def _found_out(push: Push, again: Again) -> Environment | None:
    """The environment that took a token which the other one had refused."""
    environment = push.route.environment
    return environment if again.refused_by is not None and environment is not push.route.token.environment else None


def _other_can_be_asked(push: Push, now: float) -> bool:
    route = push.route
    if route.environment is None:
        return False
    found = choose_credential(
        push.app.credentials, route.provider, route.topic, route.environment.other, route.push_type, now
    )
    return isinstance(found, Credential)


def _delay_s(push: Push, verdict: Verdict, again: Again, jitter: float) -> float:
    """Seconds to the next try: what the provider asks for, or exponential backoff with full jitter."""
    if verdict.retry_after_s is not None:
        return verdict.retry_after_s + jitter * max(1.0, verdict.retry_after_s / 2)
    tries = push.attempt - again.at_once - again.renewed - (again.refused_by is not None)  # at-once ones do not count
    doubled = 2.0 ** min(max(tries - 1, 0), 20)
    if verdict.row.action in (Action.DELAY_DEVICE, Action.DELAY_CREDENTIAL):
        return QUOTA_SPACING_S + jitter * min(QUOTA_SPACING_S * doubled, QUOTA_LONGEST_S)
    provider = verdict.row.provider
    if provider == "apns":
        return jitter * doubled if tries <= SHORT_TRIES else APNS_SPACING_S * (1 + jitter)
    if provider in ("fcm", "oauth"):
        return FCM_SPACING_S + jitter * min(FCM_SPACING_S * doubled, FCM_LONGEST_S)
    return jitter * min(doubled, NETWORK_LONGEST_S)


def _retry(
    push: Push,
    verdict: Verdict,
    carried: Again,
    now: float,
    delay_s: float,
    *,
    refusals: int,
    renew_bearer: bool = False,
    reconnect: bool = False,
    tell: bool = False,
) -> Settlement:
    """The next try, or the end where it would come after the deadline."""
    at = now + delay_s
    if at >= useful_until(push.event):
        return _final(verdict, refusals=refusals, tell=tell)
    row = verdict.row
    return Settlement(
        Outcome.RETRYING,
        verdict.status,
        verdict.reason or row.reason,
        row.cause,
        Outcome.RETRYING.cure,
        refusals,
        retry_at=at,
        again=carried,
        renew_bearer=renew_bearer,
        reconnect=reconnect,
        tell=tell,
    )


def _final(
    verdict: Verdict,
    *,
    refusals: int,
    drop_token: bool = False,
    remember: Environment | None = None,
    pause: bool = False,
    tell: bool = False,
) -> Settlement:
    row = verdict.row
    reason = verdict.reason or row.reason
    code = row.outcome.code or verdict.status
    if code is None and row.outcome is Outcome.PROVIDER:
        code, reason_at_deadline = status_at_deadline(row)
        reason = reason_at_deadline if row.provider == "transport" else reason
    return Settlement(
        row.outcome,
        code,
        reason,
        row.cause,
        row.cure,
        refusals,
        drop_token=drop_token,
        remember=remember,
        pause=pause,
        tell=tell,
    )
