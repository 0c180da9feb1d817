"""FCM and Google's OAuth server: an answer's bytes read into a verdict."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from pushsvc.domain.outcome import Action, Outcome, Row
from pushsvc.domain.push import Answer, Push, PushResponse, TransportFailure, Verdict
from pushsvc.providers.apns import answers as apns
from pushsvc.providers.fcm.outcomes import (
    ACCEPTED,
    BAD_TOKEN,
    ERRORS,
    INVALID_ARGUMENT,
    NO_PROJECT,
    OAUTH_ERRORS,
    OAUTH_FAULT,
    OAUTH_REFUSAL,
    OAUTH_UNREADABLE,
    PERMISSION_DENIED,
    THIRD_PARTY_AUTH_ERROR,
    TOKEN_REFUSED,
    UNKNOWN_FAULT,
    UNKNOWN_REFUSAL,
    UNSPECIFIED,
    UNSPECIFIED_FAULT,
    WITHOUT_CODE,
    WRONG_PACKAGE,
)
from pushsvc.providers.transport import read_failure

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
_THEIR_CREDENTIAL = (Outcome.CERTIFICATE_ERROR, Outcome.PRODUCTION_REQUIRED)
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
    return Verdict(row, answer.status, reason, None, apns.retry_after_s(answer, push.now))


def read_oauth(answer: Answer, now: float) -> Verdict:
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
    return Verdict(row, answer.status, reason or row.reason, None, apns.retry_after_s(answer, now))


def _row(push: Push, status: int, error: _Error) -> tuple[Row, str]:
    """The row, and the provider's own word. What APNs said comes first: FCM's own code beside it often misleads."""
    if error.apns_reason:
        try:
            row = apns.row_of(error.apns_reason, push)
        except KeyError:
            row = UNKNOWN_FAULT if status >= 500 else UNKNOWN_REFUSAL
        else:
            action = _PASSED_ON.get(row.action, row.action)
            cure = THIRD_PARTY_AUTH_ERROR.cure if row.outcome in _THEIR_CREDENTIAL else row.cure
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
