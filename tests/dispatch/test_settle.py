from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from values import ANDROID, IPHONE, NOW, PRODUCTION, SANDBOX, app, certificate, event, push

from pushsvc.dispatch.plan import useful_until
from pushsvc.dispatch.ports import Again
from pushsvc.dispatch.settle import Settlement, settle
from pushsvc.domain.device import Environment
from pushsvc.domain.event import Event, Kind
from pushsvc.domain.outcome import Action, Outcome, Row
from pushsvc.domain.push import Fault, Push, PushResponse, PushType, TransportFailure, Verdict
from pushsvc.providers import Apns, Fcm, outcome_rows

APNS, FCM = Apns("apns.test:443", "sandbox.test:443"), Fcm("fcm.test:443", "oauth.test:443")


def apns(
    status: int,
    reason: str = "",
    *,
    of: Push | None = None,
    again: Again | None = None,
    refusals: int = 0,
    jitter: float = 0.5,
    **more: object,
) -> Settlement:
    """What an answer of APNs comes to."""
    its = of or push()
    answer = PushResponse(status, (), json.dumps({"reason": reason, **more}).encode() if reason else b"")
    return settle(its, APNS.read(its, answer), again or first(its), refusals=refusals, now=NOW, jitter=jitter)


def lost(
    fault: Fault,
    detail: str = "",
    *,
    of: Push | None = None,
    again: Again | None = None,
    jitter: float = 0.5,
    refusals: int = 0,
) -> Settlement:
    its = of or push()
    failure = APNS.read(its, TransportFailure(fault, detail))
    return settle(its, failure, again or first(its), refusals=refusals, now=NOW, jitter=jitter)


def fcm(status: int, code: str, retry_after: str = "", *, attempt: int = 1, jitter: float = 0.5) -> Settlement:
    its = push(to=ANDROID, attempt=attempt)
    body = {"error": {"status": "X", "details": [{"@type": "x/google.firebase.fcm.v1.FcmError", "errorCode": code}]}}
    headers = (("retry-after", retry_after),) if retry_after else ()
    verdict = FCM.read(its, PushResponse(status, headers, json.dumps(body).encode()))
    return settle(its, verdict, first(its), refusals=0, now=NOW, jitter=jitter)


def first(of: Push) -> Again:
    return Again(of.route.token.id, of.device.uid, "bob", of.attempt, NOW)


def test_an_accepted_push_is_done_and_clears_the_credential() -> None:
    settled = apns(200, refusals=2)
    assert (settled.outcome, settled.refusals, settled.again, settled.retry_at) == (Outcome.ACCEPTED, 0, None, None)


# status, reason -> code, and what is done
FINAL = [
    (400, "BadTopic", 912, {"tell"}),
    (400, "DeviceTokenNotForTopic", 912, {"tell"}),
    (400, "TopicDisallowed", 912, {"tell"}),
    (413, "PayloadTooLarge", 913, set()),
    (405, "MethodNotAllowed", 405, {"tell"}),
    (400, "MissingTopic", 400, {"tell"}),
    (410, "Unregistered", 911, {"drop_token"}),
    (410, "ExpiredToken", 911, {"drop_token"}),
    (403, "BadCertificateEnvironment", 905, {"tell"}),
    (403, "BadCertificate", 904, set()),
    (400, "NeverHeardOf", 400, {"tell"}),
]


@pytest.mark.parametrize(("status", "reason", "code", "done"), FINAL)
def test_a_final_refusal_has_its_code_and_its_consequence(status: int, reason: str, code: int, done: set[str]) -> None:
    settled = apns(status, reason)
    assert settled.retry_at is None
    assert settled.again is None
    assert (settled.response_code, settled.reason) == (code, reason)
    flags = ("tell", "drop_token", "pause", "renew_bearer", "reconnect")
    assert {flag for flag in flags if getattr(settled, flag)} == done
    assert settled.cause
    assert settled.cure


def test_a_credential_is_paused_after_the_third_refusal_in_a_row_and_not_before() -> None:
    assert [apns(403, "BadCertificate", refusals=n).pause for n in range(4)] == [False, False, True, True]
    assert [apns(403, "BadCertificate", refusals=n).refusals for n in range(3)] == [1, 2, 3]
    assert apns(403, "BadCertificate", refusals=2).tell


@pytest.mark.parametrize("reason", ["Unregistered", "PayloadTooLarge", "BadDeviceToken"])
def test_an_answer_about_the_push_itself_ends_the_row_of_refusals(reason: str) -> None:
    status = {"Unregistered": 410, "PayloadTooLarge": 413, "BadDeviceToken": 400}[reason]
    assert apns(status, reason, refusals=2).refusals == 0


def test_a_lost_connection_neither_counts_nor_clears() -> None:
    assert lost(Fault.CONNECT, refusals=2).refusals == 2


def test_tls_refusals_count_and_pause() -> None:
    settled = lost(Fault.TLS_ALERT, "certificate_expired", refusals=2)
    assert (settled.response_code, settled.pause, settled.outcome) == (903, True, Outcome.CERTIFICATE_EXPIRED)


def test_a_refused_bearer_is_renewed_once() -> None:
    renewing = apns(403, "ExpiredProviderToken")
    assert (renewing.outcome, renewing.retry_at, renewing.renew_bearer) == (Outcome.RETRYING, NOW, True)
    assert renewing.again is not None
    assert (renewing.again.renewed, renewing.again.attempt) == (True, 2)
    again = apns(403, "ExpiredProviderToken", of=push(attempt=2), again=renewing.again)
    assert (again.response_code, again.retry_at, again.refusals, again.pause) == (904, None, 1, False)
    assert apns(403, "InvalidProviderToken", of=push(attempt=2), again=renewing.again, refusals=2).pause


def test_at_once_three_times_and_then_with_backoff() -> None:
    again, at_once = first(push()), []
    for attempt in range(1, 6):
        settled = apns(503, "Shutdown", of=push(attempt=attempt), again=again)
        assert settled.again is not None
        assert settled.again.attempt == attempt + 1
        at_once.append(settled.retry_at == NOW)
        again = settled.again
    assert at_once == [True, True, True, False, False]
    assert again.at_once == 3


def test_a_retry_after_shutdown_takes_another_connection_and_one_after_refused_stream_does_not() -> None:
    assert apns(503, "Shutdown").reconnect
    assert apns(400, "IdleTimeout").reconnect
    assert not lost(Fault.UNPROCESSED).reconnect
    assert lost(Fault.UNPROCESSED).retry_at == NOW


def waits(settled: Settlement) -> float:
    assert settled.retry_at is not None
    assert settled.outcome is Outcome.RETRYING
    return settled.retry_at - NOW


def test_apns_is_asked_quickly_three_times_and_then_every_quarter_of_an_hour() -> None:
    tries = [waits(apns(500, "InternalServerError", of=push(attempt=n), jitter=0.999)) for n in range(1, 8)]
    assert tries[:3] == pytest.approx([0.999, 1.998, 3.996])
    assert all(wait >= 900 for wait in tries[3:])
    assert waits(apns(500, "InternalServerError", of=push(attempt=4), jitter=0)) == 900


def test_fcm_is_left_alone_for_ten_seconds_at_least_and_longer_each_time() -> None:
    assert [waits(fcm(503, "UNAVAILABLE", attempt=n, jitter=0)) for n in (1, 2, 9)] == [10, 10, 10]
    longest = [waits(fcm(503, "UNAVAILABLE", attempt=n, jitter=1)) for n in (1, 2, 3, 20)]
    assert longest == [20, 30, 50, 610]


def test_an_unreachable_provider_is_tried_with_full_jitter_doubling_from_a_second() -> None:
    assert [waits(lost(Fault.CONNECT, of=push(attempt=n), jitter=1)) for n in (1, 2, 3, 12)] == [1, 2, 4, 300]
    assert waits(lost(Fault.CONNECT, of=push(attempt=5), jitter=0)) == 0


def test_retries_at_once_do_not_lengthen_the_backoff_after_them() -> None:
    worn_out = Again(1, 7, "bob", 4, NOW, at_once=3)
    assert waits(apns(503, "Shutdown", of=push(attempt=4), again=worn_out, jitter=0.5)) == 0.5


def test_a_retry_exactly_at_the_deadline_is_too_late() -> None:
    for expiry, final in ((10, True), (11, False)):
        its = push(to=ANDROID, of=event(expiry=expiry))
        verdict = FCM.read(its, PushResponse(503, (), b""))
        settled = settle(its, verdict, first(its), refusals=0, now=NOW, jitter=0)
        assert settled.outcome.final is final


def test_retry_after_is_honoured() -> None:
    assert waits(fcm(503, "UNAVAILABLE", retry_after="120", jitter=0)) == 120
    assert 120 < waits(fcm(429, "QUOTA_EXCEEDED", retry_after="120", jitter=0.9)) < 180


def test_a_429_without_retry_after_waits_a_minute_at_least() -> None:
    assert waits(fcm(429, "QUOTA_EXCEEDED", jitter=0)) == 60
    assert waits(apns(429, "TooManyRequests", jitter=0)) == 60
    token_updates = apns(429, "TooManyProviderTokenUpdates", jitter=0)
    assert waits(token_updates) == 60
    assert (token_updates.reconnect, token_updates.renew_bearer, token_updates.tell) == (True, False, True)


SHORT = event(expiry=30)


@pytest.mark.parametrize(
    ("settled", "code", "reason"),
    [
        (apns(503, "ServiceUnavailable", of=push(of=SHORT, attempt=4)), 503, "ServiceUnavailable"),
        (apns(429, "TooManyRequests", of=push(of=SHORT)), 429, "TooManyRequests"),
        (apns(500, of=push(of=SHORT, attempt=4)), 500, "unknown, 5xx"),
        (lost(Fault.CONNECT, "refused", of=push(of=SHORT, attempt=9)), 503, "Unreachable"),
        (lost(Fault.DNS, of=push(of=SHORT, attempt=9)), 503, "Unreachable"),
        (lost(Fault.CONNECT_TIMEOUT, of=push(of=SHORT, attempt=9)), 504, "Timeout"),
        (lost(Fault.ANSWER_TIMEOUT, of=push(of=SHORT, attempt=9)), 504, "Timeout"),
        (
            lost(Fault.LOST, of=push(of=SHORT, attempt=12), again=Again(1, 7, "bob", 9, NOW, at_once=3)),
            503,
            "Unreachable",
        ),
        (lost(Fault.TLS_ALERT, "handshake_failure", of=push(of=SHORT, attempt=9)), 904, "handshake_failure"),
        (lost(Fault.TLS_ALERT, "strange", of=push(of=SHORT, attempt=9)), 503, "strange"),
        (lost(Fault.CONNECT, of=push(of=event(kind=Kind.CALL), attempt=9)), 503, "Unreachable"),
    ],
)
def test_when_the_next_try_would_be_too_late_the_push_ends_now(settled: Settlement, code: int, reason: str) -> None:
    assert settled.outcome.final
    assert (settled.response_code, settled.reason, settled.retry_at) == (code, reason, None)


def test_a_token_refused_by_one_environment_is_tried_once_in_the_other() -> None:
    settled = apns(400, "BadDeviceToken")
    assert (settled.outcome, settled.retry_at, settled.drop_token) == (Outcome.RETRYING, NOW, False)
    assert settled.again is not None
    assert settled.again.refused_by is PRODUCTION
    taken = apns(200, of=push(environment=SANDBOX, attempt=2), again=settled.again)
    assert taken.remember is SANDBOX
    refused = apns(400, "BadDeviceToken", of=push(environment=SANDBOX, attempt=2), again=settled.again)
    assert (refused.drop_token, refused.response_code, refused.retry_at, refused.remember) == (True, 911, None, None)


def test_a_token_is_kept_when_no_credential_can_ask_the_other_environment() -> None:
    by = app(certificate(environments=frozenset({PRODUCTION})))
    settled = apns(400, "BadDeviceToken", of=push(by=by))
    assert (settled.response_code, settled.drop_token, settled.retry_at, settled.tell) == (911, False, None, True)


def test_nothing_is_remembered_of_a_token_that_was_taken_where_it_belongs() -> None:
    assert apns(200).remember is None
    by_setting = Again(1, 7, "bob", 2, NOW, refused_by=SANDBOX)
    assert apns(200, of=push(environment=PRODUCTION, attempt=2), again=by_setting).remember is None


def test_a_trouble_on_the_way_to_the_other_environment_does_not_forget_where_it_was_going() -> None:
    on_the_way = Again(1, 7, "bob", 2, NOW, refused_by=PRODUCTION)
    settled = apns(503, "ServiceUnavailable", of=push(environment=SANDBOX, attempt=2), again=on_the_way)
    assert settled.again is not None
    assert settled.again.refused_by is PRODUCTION


@given(
    row=st.sampled_from(outcome_rows()),
    status=st.sampled_from([None, 200, 400, 403, 410, 429, 500, 503]),
    retry_after_s=st.none() | st.floats(0, 1e9),
    attempt=st.integers(1, 200),
    at_once=st.integers(0, 3),
    renewed=st.booleans(),
    refused_by=st.none() | st.sampled_from(Environment),
    age_s=st.floats(0, 100),
    jitter=st.floats(0, 1, exclude_max=True),
    of=st.sampled_from([event(expiry=50), event(), event(kind=Kind.CALL)]),
)
def test_whatever_is_said_nothing_is_retried_past_the_deadline_or_without_end(
    row: Row,
    status: int | None,
    retry_after_s: float | None,
    attempt: int,
    at_once: int,
    renewed: bool,
    refused_by: Environment | None,
    age_s: float,
    jitter: float,
    of: Event,
) -> None:
    its = push(PushType.BACKGROUND, of=of, to=IPHONE, attempt=attempt)
    again = Again(1, 7, "bob", attempt, NOW, refused_by=refused_by, at_once=at_once, renewed=renewed)
    verdict = Verdict(row, status, "", None, retry_after_s)
    settled = settle(its, verdict, again, refusals=0, now=NOW + age_s, jitter=jitter)
    assert (settled.outcome is Outcome.RETRYING) == (settled.retry_at is not None) == (settled.again is not None)
    if settled.retry_at is not None and settled.again is not None:
        assert NOW + age_s <= settled.retry_at < useful_until(of)
        spent = (settled.again.at_once, settled.again.renewed, settled.again.refused_by is not None)
        if settled.retry_at == NOW + age_s and jitter > 0.01 and retry_after_s != 0:
            assert spent != (at_once, renewed, refused_by is not None), "an immediate retry has to use something up"
    if settled.drop_token:
        assert row.action in (Action.DROP_TOKEN, Action.OTHER_ENVIRONMENT)
    assert not settled.pause, "one answer never pauses a credential"
