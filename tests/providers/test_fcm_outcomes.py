from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from values import ANDROID, FCM_IPHONE, NOW, push, service_account

from pushsvc.domain.outcome import Action, Outcome
from pushsvc.domain.push import Fault, PushResponse, PushType, TransportFailure, Verdict
from pushsvc.providers import Fcm

FCM = Fcm("fcm.test:443", "oauth.test:443")
A, R = Action, Outcome
PUSH = push(to=ANDROID)
IOS_PUSH = push(PushType.BACKGROUND, to=FCM_IPHONE)
FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
APNS_ERROR = "type.googleapis.com/google.firebase.fcm.v1.ApnsError"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"


def fcm_error(code: str) -> dict[str, object]:
    return {"@type": FCM_ERROR, "errorCode": code}


def apns_error(status: int, reason: str) -> dict[str, object]:
    return {"@type": APNS_ERROR, "statusCode": status, "reason": reason}


def field(name: str) -> dict[str, object]:
    return {"@type": BAD_REQUEST, "fieldViolations": [{"field": name, "description": "no"}]}


def answer(
    code: int, status: str, *details: object, message: str = "", headers: tuple[tuple[str, str], ...] = ()
) -> PushResponse:
    error = {"code": code, "message": message, "status": status, "details": list(details)}
    if not details:
        del error["details"]
    return PushResponse(code, headers, json.dumps({"error": error}).encode())


TABLE = [
    (answer(400, "INVALID_ARGUMENT", fcm_error("INVALID_ARGUMENT")), "INVALID_ARGUMENT", R.BAD_PAYLOAD, A.NONE),
    (answer(400, "INVALID_ARGUMENT"), "INVALID_ARGUMENT", R.BAD_PAYLOAD, A.NONE),
    (answer(400, "INVALID_ARGUMENT", field("message.data[0].value")), "INVALID_ARGUMENT", R.BAD_PAYLOAD, A.NONE),
    (
        answer(400, "INVALID_ARGUMENT", field("message.token"), fcm_error("INVALID_ARGUMENT")),
        "INVALID_ARGUMENT",
        R.BAD_TOKEN,
        A.DROP_TOKEN,
    ),
    (
        answer(
            400,
            "INVALID_ARGUMENT",
            fcm_error("INVALID_ARGUMENT"),
            message="The registration token is not a valid FCM registration token",
        ),
        "INVALID_ARGUMENT",
        R.BAD_TOKEN,
        A.DROP_TOKEN,
    ),
    (
        answer(
            400, "INVALID_ARGUMENT", field("message.android.restricted_package_name"), fcm_error("INVALID_ARGUMENT")
        ),
        "INVALID_ARGUMENT",
        R.MISMATCH,
        A.TELL_OPERATOR,
    ),
    (answer(404, "NOT_FOUND", fcm_error("UNREGISTERED")), "UNREGISTERED", R.BAD_TOKEN, A.DROP_TOKEN),
    (
        answer(403, "PERMISSION_DENIED", fcm_error("SENDER_ID_MISMATCH")),
        "SENDER_ID_MISMATCH",
        R.MISMATCH,
        A.TELL_OPERATOR,
    ),
    (answer(429, "RESOURCE_EXHAUSTED", fcm_error("QUOTA_EXCEEDED")), "QUOTA_EXCEEDED", R.PROVIDER, A.DELAY_DEVICE),
    (answer(503, "UNAVAILABLE", fcm_error("UNAVAILABLE")), "UNAVAILABLE", R.PROVIDER, A.BACK_OFF),
    (answer(500, "INTERNAL", fcm_error("INTERNAL")), "INTERNAL", R.PROVIDER, A.BACK_OFF),
    (
        answer(401, "UNAUTHENTICATED", fcm_error("THIRD_PARTY_AUTH_ERROR")),
        "THIRD_PARTY_AUTH_ERROR",
        R.CERTIFICATE_ERROR,
        A.TELL_OPERATOR,
    ),
    (
        answer(401, "UNAUTHENTICATED", fcm_error("APNS_AUTH_ERROR")),
        "APNS_AUTH_ERROR",
        R.CERTIFICATE_ERROR,
        A.TELL_OPERATOR,
    ),
    (answer(400, "UNKNOWN", fcm_error("UNSPECIFIED_ERROR")), "UNSPECIFIED_ERROR", R.PROVIDER, A.TELL_OPERATOR),
    (answer(500, "UNKNOWN", fcm_error("UNSPECIFIED_ERROR")), "UNSPECIFIED_ERROR", R.PROVIDER, A.BACK_OFF),
    (answer(401, "UNAUTHENTICATED"), "UNAUTHENTICATED", R.CERTIFICATE_ERROR, A.RENEW_BEARER),
    (answer(403, "PERMISSION_DENIED"), "PERMISSION_DENIED", R.CERTIFICATE_ERROR, A.PAUSE_CREDENTIAL),
    (
        answer(403, "PERMISSION_DENIED", {"@type": ERROR_INFO, "reason": "SERVICE_DISABLED"}),
        "SERVICE_DISABLED",
        R.CERTIFICATE_ERROR,
        A.PAUSE_CREDENTIAL,
    ),
    (answer(404, "NOT_FOUND"), "NOT_FOUND", R.CERTIFICATE_ERROR, A.TELL_OPERATOR),
    (PushResponse(404, (), b"<!DOCTYPE html><title>Error 404</title>"), "", R.CERTIFICATE_ERROR, A.TELL_OPERATOR),
    (PushResponse(502, (), b"<html>Bad Gateway</html>"), "", R.PROVIDER, A.BACK_OFF),
    (PushResponse(504, (), b""), "", R.PROVIDER, A.BACK_OFF),
    (PushResponse(429, (), b""), "", R.PROVIDER, A.DELAY_DEVICE),
    (answer(418, "TEAPOT", fcm_error("NEW_ERROR")), "NEW_ERROR", R.PROVIDER, A.TELL_OPERATOR),
    (answer(599, "TEAPOT", fcm_error("NEW_ERROR")), "NEW_ERROR", R.PROVIDER, A.BACK_OFF),
]


@pytest.mark.parametrize(("given_answer", "reason", "outcome", "action"), TABLE)
def test_every_error_of_fcm_has_its_row(
    given_answer: PushResponse, reason: str, outcome: Outcome, action: Action
) -> None:
    verdict = FCM.read(PUSH, given_answer)
    assert (verdict.reason, verdict.row.outcome, verdict.row.action) == (reason, outcome, action)
    assert verdict.status == given_answer.status
    assert verdict.row.provider == "fcm"


APNS_PASSED_ON = [
    (404, "UNREGISTERED", 410, "Unregistered", R.BAD_TOKEN, A.DROP_TOKEN),
    (400, "INVALID_ARGUMENT", 410, "Unregistered", R.BAD_TOKEN, A.DROP_TOKEN),
    (400, "INVALID_ARGUMENT", 400, "BadDeviceToken", R.BAD_TOKEN, A.DROP_TOKEN),
    (400, "INVALID_ARGUMENT", 400, "DeviceTokenNotForTopic", R.MISMATCH, A.TELL_OPERATOR),
    (401, "THIRD_PARTY_AUTH_ERROR", 403, "InvalidProviderToken", R.CERTIFICATE_ERROR, A.TELL_OPERATOR),
    (401, "THIRD_PARTY_AUTH_ERROR", 403, "BadEnvironmentKeyInToken", R.PRODUCTION_REQUIRED, A.TELL_OPERATOR),
    (429, "QUOTA_EXCEEDED", 429, "TooManyRequests", R.PROVIDER, A.DELAY_DEVICE),
    (503, "UNAVAILABLE", 503, "Shutdown", R.PROVIDER, A.BACK_OFF),
    (400, "INVALID_ARGUMENT", 400, "NewReason", R.PROVIDER, A.TELL_OPERATOR),
]


@pytest.mark.parametrize(("status", "code", "apns_status", "reason", "outcome", "action"), APNS_PASSED_ON)
def test_what_apns_said_is_read_first_in_whatever_order(
    status: int, code: str, apns_status: int, reason: str, outcome: Outcome, action: Action
) -> None:
    details = [fcm_error(code), apns_error(apns_status, reason)]
    for order in itertools.permutations(details):
        verdict = FCM.read(IOS_PUSH, answer(status, "ANY", *order))
        assert (verdict.reason, verdict.row.outcome, verdict.row.action) == (reason, outcome, action)
        assert verdict.status == status


def test_the_misleading_oauth_message_of_a_bad_apns_key_renews_nothing() -> None:
    message = "Request is missing required authentication credential. Expected OAuth 2 access token"
    verdict = FCM.read(IOS_PUSH, answer(401, "UNAUTHENTICATED", fcm_error("THIRD_PARTY_AUTH_ERROR"), message=message))
    assert verdict.row.action is Action.TELL_OPERATOR


def test_accepted_and_retry_after() -> None:
    assert FCM.read(PUSH, PushResponse(200, (), b'{"name":"projects/p/messages/1"}')).accepted
    assert FCM.read(PUSH, answer(429, "RESOURCE_EXHAUSTED", headers=(("retry-after", "7"),))).retry_after_s == 7
    assert FCM.read(PUSH, TransportFailure(Fault.LOST)).row.provider == "transport"


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.text()
    | st.sampled_from([FCM_ERROR, APNS_ERROR, BAD_REQUEST]),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(
                ["error", "details", "@type", "errorCode", "reason", "fieldViolations", "field", "status", "message"]
            ),
            inner,
        )
    ),
    max_leaves=30,
)


@given(st.integers(100, 999), st.binary(max_size=200) | _json.map(lambda value: json.dumps({"error": value}).encode()))
def test_reading_never_raises(status: int, body: bytes) -> None:
    assert FCM.read(PUSH, PushResponse(status, (), body)).status == status
    FCM.read_bearer(service_account(), PushResponse(status, (), body), NOW)


@pytest.mark.parametrize(
    ("status", "body", "reason", "outcome", "action"),
    [
        (
            400,
            {"error": "invalid_grant", "error_description": "Invalid JWT Signature."},
            "invalid_grant",
            R.CERTIFICATE_ERROR,
            A.PAUSE_CREDENTIAL,
        ),
        (401, {"error": "invalid_client"}, "invalid_client", R.CERTIFICATE_ERROR, A.PAUSE_CREDENTIAL),
        (401, {"error": "unauthorized_client"}, "unauthorized_client", R.CERTIFICATE_ERROR, A.PAUSE_CREDENTIAL),
        (400, {"error": "invalid_scope"}, "invalid_scope", R.CERTIFICATE_ERROR, A.PAUSE_CREDENTIAL),
        (403, {"error": "access_denied"}, "access_denied", R.CERTIFICATE_ERROR, A.PAUSE_CREDENTIAL),
        (400, {"error": "invalid_request"}, "invalid_request", R.CERTIFICATE_ERROR, A.PAUSE_CREDENTIAL),
        (400, {"error": "unsupported_grant_type"}, "unsupported_grant_type", R.CERTIFICATE_ERROR, A.PAUSE_CREDENTIAL),
        (400, {"error": "new_error"}, "new_error", R.CERTIFICATE_ERROR, A.PAUSE_CREDENTIAL),
        (500, {"error": "server_error"}, "server_error", R.PROVIDER, A.BACK_OFF),
        (503, {}, "unknown, 5xx", R.PROVIDER, A.BACK_OFF),
        (429, {"error": "slow_down"}, "slow_down", R.PROVIDER, A.BACK_OFF),
        (200, {"token_type": "Bearer"}, "no access_token", R.PROVIDER, A.BACK_OFF_AND_TELL),
        (200, {"access_token": "a\nb", "expires_in": 9}, "no access_token", R.PROVIDER, A.BACK_OFF_AND_TELL),
    ],
)
def test_every_error_of_oauth_has_its_row(
    status: int, body: object, reason: str, outcome: Outcome, action: Action
) -> None:
    verdict = FCM.read_bearer(service_account(), PushResponse(status, (), json.dumps(body).encode()), NOW)
    assert isinstance(verdict, Verdict)
    assert (verdict.reason, verdict.row.outcome, verdict.row.action) == (reason, outcome, action)


def test_oauth_that_cannot_be_reached_is_the_networks() -> None:
    verdict = FCM.read_bearer(service_account(), TransportFailure(Fault.CONNECT), NOW)
    assert isinstance(verdict, Verdict)
    assert verdict.row.provider == "transport"
