from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from values import PRODUCTION, SANDBOX, event, push

from pushsvc.domain.outcome import Action, Outcome
from pushsvc.domain.push import Fault, PushResponse, TransportFailure
from pushsvc.providers import Apns

APNS = Apns("apns.test:443", "sandbox.test:443")
A, R = Action, Outcome

# Apple's table of device pushes, with the code and the action that our contract gives each reason.
DEVICE = [
    (400, "BadCollapseId", R.PROVIDER, A.TELL_OPERATOR),
    (400, "BadDeviceToken", R.BAD_TOKEN, A.OTHER_ENVIRONMENT),
    (400, "BadExpirationDate", R.PROVIDER, A.TELL_OPERATOR),
    (400, "BadMessageId", R.PROVIDER, A.TELL_OPERATOR),
    (400, "BadPriority", R.PROVIDER, A.TELL_OPERATOR),
    (400, "BadTopic", R.MISMATCH, A.TELL_OPERATOR),
    (400, "DeviceTokenNotForTopic", R.MISMATCH, A.TELL_OPERATOR),
    (400, "DuplicateHeaders", R.PROVIDER, A.TELL_OPERATOR),
    (400, "IdleTimeout", R.PROVIDER, A.RETRY_AT_ONCE),
    (400, "InvalidPushType", R.PROVIDER, A.TELL_OPERATOR),
    (400, "MissingDeviceToken", R.BAD_TOKEN, A.TELL_OPERATOR),
    (400, "MissingTopic", R.PROVIDER, A.TELL_OPERATOR),
    (400, "PayloadEmpty", R.BAD_PAYLOAD, A.NONE),
    (400, "TopicDisallowed", R.MISMATCH, A.TELL_OPERATOR),
    (403, "BadCertificate", R.CERTIFICATE_ERROR, A.PAUSE_CREDENTIAL),
    (403, "BadCertificateEnvironment", R.PRODUCTION_REQUIRED, A.TELL_OPERATOR),
    (403, "ExpiredProviderToken", R.CERTIFICATE_ERROR, A.RENEW_BEARER),
    (403, "Forbidden", R.CERTIFICATE_ERROR, A.PAUSE_CREDENTIAL),
    (403, "InvalidProviderToken", R.CERTIFICATE_ERROR, A.RENEW_BEARER),
    (403, "MissingProviderToken", R.CERTIFICATE_ERROR, A.TELL_OPERATOR),
    (403, "UnrelatedKeyIdInToken", R.CERTIFICATE_ERROR, A.RETRY_AT_ONCE),
    (403, "BadEnvironmentKeyIdInToken", R.PRODUCTION_REQUIRED, A.TELL_OPERATOR),
    (403, "BadEnvironmentKeyInToken", R.PRODUCTION_REQUIRED, A.TELL_OPERATOR),
    (404, "BadPath", R.PROVIDER, A.TELL_OPERATOR),
    (405, "MethodNotAllowed", R.PROVIDER, A.TELL_OPERATOR),
    (410, "ExpiredToken", R.BAD_TOKEN, A.DROP_TOKEN),
    (410, "Unregistered", R.BAD_TOKEN, A.DROP_TOKEN),
    (413, "PayloadTooLarge", R.BAD_PAYLOAD, A.NONE),
    (429, "TooManyProviderTokenUpdates", R.PROVIDER, A.DELAY_CREDENTIAL),
    (429, "TooManyRequests", R.PROVIDER, A.DELAY_DEVICE),
    (500, "InternalServerError", R.PROVIDER, A.BACK_OFF),
    (503, "ServiceUnavailable", R.PROVIDER, A.BACK_OFF),
    (503, "Shutdown", R.PROVIDER, A.RETRY_AT_ONCE),
]
BROADCAST = [
    (400, "FeatureNotEnabled", R.PROVIDER, A.TELL_OPERATOR),
    (400, "MissingChannelId", R.PROVIDER, A.TELL_OPERATOR),
    (400, "BadChannelId", R.PROVIDER, A.TELL_OPERATOR),
    (400, "ChannelNotRegistered", R.PROVIDER, A.TELL_OPERATOR),
    (400, "BadRequestParams", R.BAD_PAYLOAD, A.NONE),
    (400, "BadRequestPayload", R.BAD_PAYLOAD, A.NONE),
    (400, "MissingPushType", R.PROVIDER, A.TELL_OPERATOR),
    (400, "CannotCreateChannelConfig", R.PROVIDER, A.TELL_OPERATOR),
    (400, "MissingChannelQueueSize", R.PROVIDER, A.TELL_OPERATOR),
    (403, "TopicMismatch", R.MISMATCH, A.TELL_OPERATOR),
    (503, "Service Unavailable", R.PROVIDER, A.BACK_OFF),
]


def answer(status: int, reason: object, **more: object) -> PushResponse:
    return PushResponse(status, (), json.dumps({"reason": reason, **more}).encode())


@pytest.mark.parametrize(("status", "reason", "outcome", "action"), DEVICE + BROADCAST)
def test_every_reason_that_apple_prints_has_its_row(status: int, reason: str, outcome: Outcome, action: Action) -> None:
    verdict = APNS.read(push(), answer(status, reason))
    assert (verdict.row.reason, verdict.row.status) == (reason, status)
    assert (verdict.row.outcome, verdict.row.action) == (outcome, action)
    assert (verdict.reason, verdict.status) == (reason, status)


def test_the_table_holds_no_reason_that_the_contract_does_not_know() -> None:
    known = {reason for _, reason, _, _ in DEVICE + BROADCAST} | {"", "unknown, 4xx", "unknown, 5xx"}
    assert {row.reason for row in APNS.rows} == known


@pytest.mark.parametrize(
    "reason", ["BadCertificateEnvironment", "BadEnvironmentKeyIdInToken", "BadEnvironmentKeyInToken"]
)
def test_a_credential_of_the_other_environment_is_905_on_production_and_904_on_sandbox(reason: str) -> None:
    assert APNS.read(push(environment=PRODUCTION), answer(403, reason)).row.outcome.code == 905
    assert APNS.read(push(environment=SANDBOX), answer(403, reason)).row.outcome.code == 904


@pytest.mark.parametrize(
    ("reason", "override"),
    [
        ("BadCollapseId", {"collapse_id": "x"}),
        ("BadExpirationDate", {"expiration": 1}),
        ("BadPriority", {"priority": 10}),
        ("InvalidPushType", {"push_type": "widgets"}),
    ],
)
def test_a_header_that_came_from_the_override_is_913_and_otherwise_our_bug(
    reason: str, override: dict[str, object]
) -> None:
    theirs = APNS.read(push(of=event(apns=override)), answer(400, reason))
    ours = APNS.read(push(of=event(apns={"topic": "com.example.chat"})), answer(400, reason))
    assert (theirs.row.outcome, theirs.row.action) == (Outcome.BAD_PAYLOAD, Action.NONE)
    assert (ours.row.outcome, ours.row.action) == (Outcome.PROVIDER, Action.TELL_OPERATOR)


def test_the_timestamp_of_a_410_is_milliseconds() -> None:
    assert (
        APNS.read(push(), answer(410, "Unregistered", timestamp=1_700_000_000_123)).unregistered_at == 1_700_000_000.123
    )
    assert APNS.read(push(), answer(410, "Unregistered")).unregistered_at is None


@pytest.mark.parametrize("timestamp", ["soon", None, -1, 10**400, [], {}])
def test_a_timestamp_that_is_none_is_left_out(timestamp: object) -> None:
    assert APNS.read(push(), answer(410, "Unregistered", timestamp=timestamp)).unregistered_at is None


@pytest.mark.parametrize(
    ("status", "reason", "outcome", "action"),
    [
        (400, "SomethingNew", Outcome.PROVIDER, Action.TELL_OPERATOR),
        (503, "SomethingNew", Outcome.PROVIDER, Action.BACK_OFF),
        (302, "", Outcome.PROVIDER, Action.TELL_OPERATOR),
    ],
)
def test_an_unknown_reason_is_kept(status: int, reason: str, outcome: Outcome, action: Action) -> None:
    verdict = APNS.read(push(), answer(status, reason))
    assert (verdict.row.outcome, verdict.row.action) == (outcome, action)
    assert (verdict.status, verdict.reason) == (status, reason)


@pytest.mark.parametrize(
    ("status", "reason"), [(410, "Unregistered"), (413, "PayloadTooLarge"), (429, "TooManyRequests")]
)
def test_an_answer_without_a_body_is_read_by_its_status(status: int, reason: str) -> None:
    assert APNS.read(push(), PushResponse(status, (), b"")).row.reason == reason


def test_a_200_is_accepted_and_retry_after_is_read() -> None:
    assert APNS.read(push(), PushResponse(200, (), b"")).accepted
    later = PushResponse(429, (("retry-after", "17"),), b'{"reason":"TooManyRequests"}')
    assert APNS.read(push(), later).retry_after_s == 17


@pytest.mark.parametrize("detail", ["BadCertificateEnvironment", '{"reason":"BadCertificateEnvironment"}'])
def test_the_reason_of_a_goaway_is_read_like_an_answer(detail: str) -> None:
    verdict = APNS.read(push(), TransportFailure(Fault.GOAWAY, detail))
    assert (verdict.row.outcome.code, verdict.reason, verdict.status) == (905, "BadCertificateEnvironment", 403)


def test_a_goaway_in_plain_text_is_the_networks() -> None:
    verdict = APNS.read(push(), TransportFailure(Fault.GOAWAY, "Maximum active streams violated for this endpoint."))
    assert (verdict.row.provider, verdict.row.action) == ("transport", Action.BACK_OFF_AND_TELL)
    assert "Maximum active streams" in verdict.reason


@given(
    st.integers(100, 999),
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["reason", "timestamp", "x"]), inner),
    ).map(lambda value: json.dumps(value).encode()),
)
def test_reading_never_raises(status: int, body: bytes) -> None:
    verdict = APNS.read(push(), PushResponse(status, (("retry-after", body[:9].decode("latin1")),), body))
    assert verdict.status == status


@given(st.sampled_from(Fault), st.text())
def test_reading_a_failure_never_raises(fault: Fault, detail: str) -> None:
    assert not APNS.read(push(), TransportFailure(fault, detail)).accepted
