"""FCM: what each of its errors comes to, in Google's own order and words; and those of Google's OAuth server.

https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from pushsvc.domain.outcome import Action, Outcome, Row
from pushsvc.domain.push import Answer, Push, PushResponse, TransportFailure, Verdict
from pushsvc.providers.apns import outcomes as apns
from pushsvc.providers.transport import read_failure

_OUTAGE = "Nothing; it was tried again until the event's deadline. See the Firebase status page if it lasts."
_NEW_JSON = "Make a new key for the service account in the Google Cloud console and upload its JSON."
_FIREBASE = "Mend the APNs key or certificate in the Firebase console: Project settings, Cloud Messaging."

ACCEPTED = Row("fcm", 200, "", Outcome.ACCEPTED, Action.NONE, "FCM took the push.", "Nothing to do.")
UNSPECIFIED = Row(
    "fcm",
    None,
    "UNSPECIFIED_ERROR",
    Outcome.PROVIDER,
    Action.TELL_OPERATOR,
    "FCM says nothing more about this error; with a status of 500 or above it is tried again.",
    "Look at the status and the message in the record.",
)
UNSPECIFIED_FAULT = replace(
    UNSPECIFIED,
    action=Action.BACK_OFF,
    cause="FCM had a fault that it says nothing more about.",
    cure=_OUTAGE,
)
BAD_TOKEN = Row(
    "fcm",
    400,
    "INVALID_ARGUMENT (message.token)",
    Outcome.BAD_TOKEN,
    Action.DROP_TOKEN,
    "FCM does not take the token for a registration token.",
    "The app has to register its FCM token again; an APNs token does not do here.",
)
WRONG_PACKAGE = Row(
    "fcm",
    400,
    "INVALID_ARGUMENT (restricted_package_name)",
    Outcome.MISMATCH,
    Action.TELL_OPERATOR,
    "The token belongs to another package than the event's override names.",
    "Mend 'restricted_package_name' in the event's 'fcm' override, or leave it out.",
)
INVALID_ARGUMENT = Row(
    "fcm",
    400,
    "INVALID_ARGUMENT",
    Outcome.BAD_PAYLOAD,
    Action.NONE,
    "FCM does not accept a part of the message (or all of it is too large, which FCM does not say).",
    "Look at the field named in the record; mend the event's texts, data or 'fcm' override.",
)
UNREGISTERED = Row(
    "fcm",
    404,
    "UNREGISTERED",
    Outcome.BAD_TOKEN,
    Action.DROP_TOKEN,
    "The token is no longer valid: the app was removed, its data cleared, or it was away for 270 days.",
    "Nothing; the app registers again at its next start.",
)
THIRD_PARTY_AUTH_ERROR = Row(
    "fcm",
    401,
    "THIRD_PARTY_AUTH_ERROR",
    Outcome.CERTIFICATE_ERROR,
    Action.TELL_OPERATOR,
    "APNs (or the web push service) refused the credential that lies in the Firebase project.",
    _FIREBASE,
)
TOKEN_REFUSED = Row(
    "fcm",
    401,
    "UNAUTHENTICATED",
    Outcome.CERTIFICATE_ERROR,
    Action.RENEW_BEARER,
    "FCM does not accept the access token that Google gave out for the service account.",
    _NEW_JSON,
)
PERMISSION_DENIED = Row(
    "fcm",
    403,
    "PERMISSION_DENIED",
    Outcome.CERTIFICATE_ERROR,
    Action.PAUSE_CREDENTIAL,
    "The service account may not send in this project, or the FCM API is switched off there.",
    "Enable the Firebase Cloud Messaging API (V1) and give the account the permission cloudmessaging.messages.create.",
)
NO_PROJECT = Row(
    "fcm",
    404,
    "NOT_FOUND",
    Outcome.CERTIFICATE_ERROR,
    Action.TELL_OPERATOR,
    "FCM knows no such project, or the address is not FCM's; the token is not at fault.",
    "Check the project_id in the service-account JSON and the configured FCM host.",
)
ERRORS = (
    UNSPECIFIED,
    BAD_TOKEN,
    WRONG_PACKAGE,
    INVALID_ARGUMENT,
    UNREGISTERED,
    Row(
        "fcm",
        403,
        "SENDER_ID_MISMATCH",
        Outcome.MISMATCH,
        Action.TELL_OPERATOR,
        "The token was made for another Firebase project than the uploaded service account's.",
        "Upload the service-account JSON of the project that the app is built with.",
    ),
    Row(
        "fcm",
        429,
        "QUOTA_EXCEEDED",
        Outcome.PROVIDER,
        Action.DELAY_DEVICE,
        "Too many pushes for the project, or for this one device.",
        "Send the user fewer events or set 'min_interval_s'; ask Google for more quota if the project is at fault.",
    ),
    Row("fcm", 503, "UNAVAILABLE", Outcome.PROVIDER, Action.BACK_OFF, "FCM is overloaded or down.", _OUTAGE),
    Row("fcm", 500, "INTERNAL", Outcome.PROVIDER, Action.BACK_OFF, "FCM had an internal error.", _OUTAGE),
    THIRD_PARTY_AUTH_ERROR,
    replace(THIRD_PARTY_AUTH_ERROR, reason="APNS_AUTH_ERROR"),  # the older spelling
)
WITHOUT_CODE = (
    TOKEN_REFUSED,
    PERMISSION_DENIED,
    replace(
        PERMISSION_DENIED,
        reason="SERVICE_DISABLED",
        cause="The FCM API is switched off in the service account's project.",
        cure="Enable the Firebase Cloud Messaging API (V1) in the Google Cloud console.",
    ),
    NO_PROJECT,
    Row("fcm", 502, "", Outcome.PROVIDER, Action.BACK_OFF, "Google's front end had a fault (an HTML answer).", _OUTAGE),
    Row("fcm", 504, "", Outcome.PROVIDER, Action.BACK_OFF, "Google's front end got no answer from FCM.", _OUTAGE),
)
UNKNOWN_REFUSAL = Row(
    "fcm",
    None,
    "unknown, 4xx",
    Outcome.PROVIDER,
    Action.TELL_OPERATOR,
    "FCM refused the push for a reason that is not in this table.",
    "Look its error up in Google's documentation, and report it so that the table gets a row.",
)
UNKNOWN_FAULT = Row(
    "fcm",
    None,
    "unknown, 5xx",
    Outcome.PROVIDER,
    Action.BACK_OFF,
    "FCM had a fault that is not in this table.",
    _OUTAGE,
)
ROWS = (ACCEPTED, *ERRORS, *WITHOUT_CODE, UNKNOWN_REFUSAL, UNKNOWN_FAULT)

OAUTH_ERRORS = tuple(
    Row("oauth", status, error, Outcome.CERTIFICATE_ERROR, Action.PAUSE_CREDENTIAL, cause, cure)
    for status, error, cause, cure in (
        (
            400,
            "invalid_grant",
            "Google does not accept the service account's signature: its key or the account was deleted, or this "
            "server's clock is wrong.",
            f"Check this server's clock first. {_NEW_JSON}",
        ),
        (401, "invalid_client", "Google does not know the service account.", _NEW_JSON),
        (
            401,
            "unauthorized_client",
            "The service account may not ask for this kind of token.",
            "Upload the JSON of a service account of the Firebase project, not of another Google service.",
        ),
        (
            400,
            "invalid_scope",
            "The service account may not have the scope firebase.messaging.",
            "Give the service account the role Firebase Cloud Messaging API Admin.",
        ),
        (
            403,
            "access_denied",
            "A policy of the Google organisation forbids this service account's keys.",
            "Ask the organisation's administrator to allow the key, or upload one of another project.",
        ),
        (400, "invalid_request", "Google found the token request malformed.", _NEW_JSON),
        (400, "unsupported_grant_type", "Google does not take this kind of token request.", _NEW_JSON),
    )
)
OAUTH_FAULT = Row(
    "oauth",
    None,
    "unknown, 5xx",
    Outcome.PROVIDER,
    Action.BACK_OFF,
    "Google's token server had a fault, or asks to be left alone for a while.",
    "Nothing; it is tried again until the event's deadline. See Google Cloud's status page if it lasts.",
)
OAUTH_REFUSAL = Row(
    "oauth",
    None,
    "unknown, 4xx",
    Outcome.CERTIFICATE_ERROR,
    Action.PAUSE_CREDENTIAL,
    "Google's token server refused the service account for a reason that is not in this table.",
    _NEW_JSON,
)
OAUTH_UNREADABLE = Row(
    "oauth",
    200,
    "no access_token",
    Outcome.PROVIDER,
    Action.BACK_OFF_AND_TELL,
    "The answer of the token server holds no access token.",
    "Check that the configured OAuth host is Google's, and that no proxy on the way answers in its place.",
)
OAUTH_ROWS = (*OAUTH_ERRORS, OAUTH_FAULT, OAUTH_REFUSAL, OAUTH_UNREADABLE)

_BY_CODE = {row.reason: row for row in (*ERRORS, *WITHOUT_CODE) if row.reason}
_BY_OAUTH_ERROR = {row.reason: row for row in OAUTH_ERRORS}
_BY_HTTP_STATUS = {
    400: INVALID_ARGUMENT,
    401: TOKEN_REFUSED,
    403: PERMISSION_DENIED,
    404: NO_PROJECT,
    429: _BY_CODE["QUOTA_EXCEEDED"],
    500: _BY_CODE["INTERNAL"],
    502: WITHOUT_CODE[-2],
    503: _BY_CODE["UNAVAILABLE"],
    504: WITHOUT_CODE[-1],
}
# What APNs' refusals come to when FCM passes them on: its token and its credential lie with Firebase, not here.
_PASSED_ON = {
    Action.OTHER_ENVIRONMENT: Action.DROP_TOKEN,
    Action.PAUSE_CREDENTIAL: Action.TELL_OPERATOR,
    Action.RENEW_BEARER: Action.TELL_OPERATOR,
    Action.RETRY_AT_ONCE: Action.BACK_OFF,
    Action.DELAY_CREDENTIAL: Action.BACK_OFF_AND_TELL,
}
_ACCEPTED = Verdict(ACCEPTED, 200)


@dataclass(frozen=True, slots=True)
class _Error:
    """The parts of a google.rpc.Status that decide."""

    status: str = ""
    message: str = ""
    code: str = ""
    apns_reason: str = ""
    info: str = ""
    fields: tuple[str, ...] = ()


def read(push: Push, answer: Answer) -> Verdict:
    """The verdict on an answer of FCM; never raises, whatever the bytes."""
    if isinstance(answer, TransportFailure):
        return read_failure(answer)
    if answer.status == 200:
        return _ACCEPTED
    error = _error(answer)
    row, reason = _row(push, answer.status, error)
    return Verdict(row, answer.status, reason, None, apns.retry_after_s(answer))


def read_oauth(answer: Answer) -> Verdict:
    """The verdict on an answer of the token server that gave no token."""
    if isinstance(answer, TransportFailure):
        return read_failure(answer)
    found = apns.json_object(answer.body)
    error = found.get("error")
    reason = error[:200] if isinstance(error, str) else ""
    if answer.status == 200:
        row = OAUTH_UNREADABLE
    elif answer.status >= 500 or answer.status == 429:
        row = OAUTH_FAULT
    else:
        row = _BY_OAUTH_ERROR.get(reason, OAUTH_REFUSAL)
    return Verdict(row, answer.status, reason or row.reason, None, apns.retry_after_s(answer))


def _row(push: Push, status: int, error: _Error) -> tuple[Row, str]:
    """The row, and the provider's own word. What APNs said comes first: FCM's own code beside it often misleads."""
    if error.apns_reason:
        try:
            row = apns.row_of(error.apns_reason, push)
        except KeyError:
            row = UNKNOWN_FAULT if status >= 500 else UNKNOWN_REFUSAL
        else:
            action = _PASSED_ON.get(row.action, row.action)
            cure = _FIREBASE if row.outcome is Outcome.CERTIFICATE_ERROR else row.cure
            row = replace(row, provider="fcm", status=status, action=action, cure=cure)
        return row, error.apns_reason
    if error.code == "UNSPECIFIED_ERROR" or (not error.code and error.status == "UNKNOWN"):
        return (UNSPECIFIED_FAULT if status >= 500 else UNSPECIFIED), error.code or error.status
    if error.code == "INVALID_ARGUMENT" or (not error.code and error.status == "INVALID_ARGUMENT"):
        return _invalid_argument(error), "INVALID_ARGUMENT"
    if error.code:
        known = _BY_CODE.get(error.code)
        return known or (UNKNOWN_FAULT if status >= 500 else UNKNOWN_REFUSAL), error.code
    if error.info in _BY_CODE:
        return _BY_CODE[error.info], error.info
    row = _BY_HTTP_STATUS.get(status) or (UNKNOWN_FAULT if status >= 500 else UNKNOWN_REFUSAL)
    return row, error.status


def _invalid_argument(error: _Error) -> Row:
    text = error.message.lower()
    if any(name in ("message.token", "message.fid") for name in error.fields) or "registration token" in text:
        return BAD_TOKEN
    if any("restricted_package_name" in name for name in error.fields) or "package name" in text:
        return WRONG_PACKAGE
    return INVALID_ARGUMENT


def _error(answer: PushResponse) -> _Error:
    found = apns.json_object(answer.body).get("error")
    if not isinstance(found, dict):
        return _Error()
    code = reason = info = ""
    fields: list[str] = []
    for kind, detail in _details(found):
        if kind.endswith("FcmError"):
            code = _word(detail.get("errorCode"))
        elif kind.endswith("ApnsError"):
            reason = _word(detail.get("reason"))
        elif kind.endswith("ErrorInfo"):
            info = _word(detail.get("reason"))
        elif kind.endswith("BadRequest"):
            violations = detail.get("fieldViolations")
            for violation in violations if isinstance(violations, list) else ():
                if isinstance(violation, dict):
                    fields.append(_word(violation.get("field")))
    return _Error(_word(found.get("status")), _word(found.get("message")), code, reason, info, tuple(fields))


def _details(error: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict):
            yield _word(detail.get("@type")), detail


def _word(value: object) -> str:
    return value[:200] if isinstance(value, str) else ""
