"""APNs: what each of its reasons comes to, in Apple's own order and words.

https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns
"""

from __future__ import annotations

from typing import Any

import msgspec

from pushsvc.domain.device import Environment
from pushsvc.domain.outcome import Action, Outcome, Row
from pushsvc.domain.push import Answer, Fault, Push, PushResponse, TransportFailure, Verdict
from pushsvc.providers.transport import read_failure

_OUR_BUG = "Report this as a fault of this service, with the record of the push."
_OVERRIDE = "Mend that value in the event's 'apns' override, or leave it out."
_UPLOAD = "Upload the credential again, or a new one; then resume it if it was paused."
_NOT_OURS = "This service sends no such push; look for another sender that shares the credential."

ACCEPTED = Row("apns", 200, "", Outcome.ACCEPTED, Action.NONE, "APNs took the push.", "Nothing to do.")

# Where a reason stands twice, the push decides: see _choose.
REASONS = tuple(
    Row("apns", status, reason, outcome, action, cause, cure)
    for status, reason, outcome, action, cause, cure in (
        (
            400,
            "BadCollapseId",
            Outcome.BAD_PAYLOAD,
            Action.NONE,
            "The collapse id that the event's override asks for is over 64 bytes.",
            _OVERRIDE,
        ),
        (
            400,
            "BadCollapseId",
            Outcome.PROVIDER,
            Action.TELL_OPERATOR,
            "APNs did not accept the collapse id that this service made.",
            _OUR_BUG,
        ),
        (
            400,
            "BadDeviceToken",
            Outcome.BAD_TOKEN,
            Action.OTHER_ENVIRONMENT,
            "The token is malformed, or it belongs to the other environment (sandbox or production).",
            "The app has to register its token again, with the right environment.",
        ),
        (
            400,
            "BadExpirationDate",
            Outcome.BAD_PAYLOAD,
            Action.NONE,
            "The expiration that the event's override asks for is not one.",
            _OVERRIDE,
        ),
        (
            400,
            "BadExpirationDate",
            Outcome.PROVIDER,
            Action.TELL_OPERATOR,
            "APNs did not accept the expiration that this service made.",
            _OUR_BUG,
        ),
        (400, "BadMessageId", Outcome.PROVIDER, Action.TELL_OPERATOR, "APNs did not accept the apns-id.", _OUR_BUG),
        (
            400,
            "BadPriority",
            Outcome.BAD_PAYLOAD,
            Action.NONE,
            "The priority that the event's override asks for does not fit the push type.",
            _OVERRIDE,
        ),
        (
            400,
            "BadPriority",
            Outcome.PROVIDER,
            Action.TELL_OPERATOR,
            "APNs did not accept the priority that this service chose.",
            _OUR_BUG,
        ),
        (
            400,
            "BadTopic",
            Outcome.MISMATCH,
            Action.TELL_OPERATOR,
            "APNs knows no such topic: the app id that the device registered with is not an app's bundle id.",
            "Check the app id in the device's registration, or the topic in the event's override.",
        ),
        (
            400,
            "DeviceTokenNotForTopic",
            Outcome.MISMATCH,
            Action.TELL_OPERATOR,
            "The token belongs to another app, or to another kind of push (a VoIP token registered as a push token).",
            "Check that the app registers its own bundle id, and each token as what it is.",
        ),
        (400, "DuplicateHeaders", Outcome.PROVIDER, Action.TELL_OPERATOR, "A header was sent twice.", _OUR_BUG),
        (
            400,
            "IdleTimeout",
            Outcome.PROVIDER,
            Action.RETRY_AT_ONCE,
            "APNs waited too long for the request to end.",
            "Nothing if it is rare; otherwise look at this machine's load and its network.",
        ),
        (
            400,
            "InvalidPushType",
            Outcome.BAD_PAYLOAD,
            Action.NONE,
            "APNs does not take the push type that the event's override asks for.",
            _OVERRIDE,
        ),
        (
            400,
            "InvalidPushType",
            Outcome.PROVIDER,
            Action.TELL_OPERATOR,
            "APNs does not take the push type that this service chose.",
            _OUR_BUG,
        ),
        (
            400,
            "MissingDeviceToken",
            Outcome.BAD_TOKEN,
            Action.TELL_OPERATOR,
            "The request named no device token.",
            _OUR_BUG,
        ),
        (400, "MissingTopic", Outcome.PROVIDER, Action.TELL_OPERATOR, "The request named no topic.", _OUR_BUG),
        (
            400,
            "PayloadEmpty",
            Outcome.BAD_PAYLOAD,
            Action.NONE,
            "The payload was empty.",
            "Give the event's 'apns' override a payload.",
        ),
        (
            400,
            "TopicDisallowed",
            Outcome.MISMATCH,
            Action.TELL_OPERATOR,
            "The credential may not push to this topic.",
            "Upload the credential of the app id that the device registered with.",
        ),
        (
            403,
            "BadCertificate",
            Outcome.CERTIFICATE_ERROR,
            Action.PAUSE_CREDENTIAL,
            "APNs does not accept the app's certificate.",
            _UPLOAD,
        ),
        (
            403,
            "BadCertificateEnvironment",
            Outcome.PRODUCTION_REQUIRED,
            Action.TELL_OPERATOR,
            "A development certificate was used at the production server.",
            "Upload a production or universal certificate.",
        ),
        (
            403,
            "BadCertificateEnvironment",
            Outcome.CERTIFICATE_ERROR,
            Action.TELL_OPERATOR,
            "A production certificate was used at the sandbox server.",
            "Upload a universal or development certificate.",
        ),
        (
            403,
            "ExpiredProviderToken",
            Outcome.CERTIFICATE_ERROR,
            Action.RENEW_BEARER,
            "APNs takes the token signed with the app's key for older than an hour.",
            "Check this server's clock: a fresh token was refused as well.",
        ),
        (
            403,
            "Forbidden",
            Outcome.CERTIFICATE_ERROR,
            Action.PAUSE_CREDENTIAL,
            "APNs forbids what was asked: the key is revoked, or another team's key used the connection before.",
            _UPLOAD,
        ),
        (
            403,
            "InvalidProviderToken",
            Outcome.CERTIFICATE_ERROR,
            Action.RENEW_BEARER,
            "APNs does not accept the token signed with the app's key: wrong key id or team id, or a revoked key.",
            "Check the key id and the team id in Apple's developer portal and upload the .p8 with the right ones.",
        ),
        (
            403,
            "MissingProviderToken",
            Outcome.CERTIFICATE_ERROR,
            Action.TELL_OPERATOR,
            "The request carried neither a client certificate nor a token.",
            _UPLOAD,
        ),
        (
            403,
            "UnrelatedKeyIdInToken",
            Outcome.CERTIFICATE_ERROR,
            Action.RETRY_AT_ONCE,
            "The key is not related to the one that the connection was opened with.",
            "If it lasts: another process shares the connection through a proxy; let it pass connections through.",
        ),
        (
            403,
            "BadEnvironmentKeyIdInToken",
            Outcome.PRODUCTION_REQUIRED,
            Action.TELL_OPERATOR,
            "A key for the sandbox alone was used at the production server.",
            "Upload a key for production, and give each key its environment.",
        ),
        (
            403,
            "BadEnvironmentKeyIdInToken",
            Outcome.CERTIFICATE_ERROR,
            Action.TELL_OPERATOR,
            "A key for production alone was used at the sandbox server.",
            "Upload a key for the sandbox, and give each key its environment.",
        ),
        (
            403,
            "BadEnvironmentKeyInToken",
            Outcome.PRODUCTION_REQUIRED,
            Action.TELL_OPERATOR,
            "A key for the sandbox alone was used at the production server (the spelling that servers send).",
            "Upload a key for production, and give each key its environment.",
        ),
        (
            403,
            "BadEnvironmentKeyInToken",
            Outcome.CERTIFICATE_ERROR,
            Action.TELL_OPERATOR,
            "A key for production alone was used at the sandbox server (the spelling that servers send).",
            "Upload a key for the sandbox, and give each key its environment.",
        ),
        (404, "BadPath", Outcome.PROVIDER, Action.TELL_OPERATOR, "The request's path is not one of APNs.", _OUR_BUG),
        (405, "MethodNotAllowed", Outcome.PROVIDER, Action.TELL_OPERATOR, "The method was not POST.", _OUR_BUG),
        (
            410,
            "ExpiredToken",
            Outcome.BAD_TOKEN,
            Action.DROP_TOKEN,
            "The device token has expired.",
            "The app has to register its new token; it does so at its next start.",
        ),
        (
            410,
            "Unregistered",
            Outcome.BAD_TOKEN,
            Action.DROP_TOKEN,
            "The token is no longer active for the app, mostly because the app was removed from the device.",
            "Nothing; the app registers again when it is installed again.",
        ),
        (
            413,
            "PayloadTooLarge",
            Outcome.BAD_PAYLOAD,
            Action.NONE,
            "The payload is over 4096 bytes (5120 for VoIP).",
            "Make the event's overrides or the app's templates shorter.",
        ),
        (
            429,
            "TooManyProviderTokenUpdates",
            Outcome.PROVIDER,
            Action.DELAY_CREDENTIAL,
            "The team's tokens were renewed more often than every 20 minutes.",
            "Look for another sender that uses the same team's keys and makes a new token for every push.",
        ),
        (
            429,
            "TooManyRequests",
            Outcome.PROVIDER,
            Action.DELAY_DEVICE,
            "Too many pushes went to this one device in a row.",
            "Send the user fewer events, or set 'min_interval_s' or 'collapse' for the app.",
        ),
        (
            500,
            "InternalServerError",
            Outcome.PROVIDER,
            Action.BACK_OFF,
            "APNs had an internal error.",
            "Nothing; it was tried again until the event's deadline. See Apple's system status page if it lasts.",
        ),
        (
            503,
            "ServiceUnavailable",
            Outcome.PROVIDER,
            Action.BACK_OFF,
            "APNs is not available.",
            "Nothing; it was tried again until the event's deadline. See Apple's system status page if it lasts.",
        ),
        (
            503,
            "Shutdown",
            Outcome.PROVIDER,
            Action.RETRY_AT_ONCE,
            "This server of APNs is shutting down.",
            "Nothing; the push goes out again on another connection.",
        ),
        # Broadcasts and their channels:
        # https://developer.apple.com/documentation/usernotifications/sending-channel-management-requests-to-apns
        (
            400,
            "FeatureNotEnabled",
            Outcome.PROVIDER,
            Action.TELL_OPERATOR,
            "Broadcasts are not enabled for the app.",
            "Enable the broadcast capability for the app id in Apple's developer portal.",
        ),
        (400, "MissingChannelId", Outcome.PROVIDER, Action.TELL_OPERATOR, "The broadcast names no channel.", _NOT_OURS),
        (400, "BadChannelId", Outcome.PROVIDER, Action.TELL_OPERATOR, "The channel id is malformed.", _NOT_OURS),
        (400, "ChannelNotRegistered", Outcome.PROVIDER, Action.TELL_OPERATOR, "There is no such channel.", _NOT_OURS),
        (
            400,
            "BadRequestParams",
            Outcome.BAD_PAYLOAD,
            Action.NONE,
            "APNs did not accept the parameters of the channel request.",
            _OVERRIDE,
        ),
        (
            400,
            "BadRequestPayload",
            Outcome.BAD_PAYLOAD,
            Action.NONE,
            "APNs did not accept the body of the channel request.",
            _OVERRIDE,
        ),
        (400, "MissingPushType", Outcome.PROVIDER, Action.TELL_OPERATOR, "The request named no push type.", _OUR_BUG),
        (
            400,
            "CannotCreateChannelConfig",
            Outcome.PROVIDER,
            Action.TELL_OPERATOR,
            "The app has as many channels as it may have (10 000 in each environment).",
            "Delete channels that are no longer used.",
        ),
        (
            400,
            "MissingChannelQueueSize",
            Outcome.PROVIDER,
            Action.TELL_OPERATOR,
            "The channel request names no storage policy (a reason that Apple does not document).",
            _NOT_OURS,
        ),
        (
            403,
            "TopicMismatch",
            Outcome.MISMATCH,
            Action.TELL_OPERATOR,
            "The credential is not for the app that the broadcast is sent to.",
            "Upload the credential of that app.",
        ),
        (
            503,
            "Service Unavailable",
            Outcome.PROVIDER,
            Action.BACK_OFF,
            "APNs is not available (the spelling of the broadcast servers).",
            "Nothing; it was tried again until the event's deadline. See Apple's system status page if it lasts.",
        ),
    )
)

UNKNOWN_REFUSAL = Row(
    "apns",
    None,
    "unknown, 4xx",
    Outcome.PROVIDER,
    Action.TELL_OPERATOR,
    "APNs refused the push for a reason that is not in this table.",
    "Look its reason up in Apple's documentation, and report it so that the table gets a row.",
)
UNKNOWN_FAULT = Row(
    "apns",
    None,
    "unknown, 5xx",
    Outcome.PROVIDER,
    Action.BACK_OFF,
    "APNs had a fault that is not in this table.",
    "Nothing; it was tried again until the event's deadline. See Apple's system status page if it lasts.",
)

ROWS = (ACCEPTED, *REASONS, UNKNOWN_REFUSAL, UNKNOWN_FAULT)

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
    return Verdict(row, answer.status, reason, timestamp, retry_after_s(answer))


def row_of(reason: str, push: Push) -> Row:
    """The row of a reason in the table; where there are two, the one that this push is a case of."""
    rows = _BY_REASON[reason]
    if len(rows) == 1:
        return rows[0]
    if reason in _OVERRIDE_KEY:
        return rows[0] if _OVERRIDE_KEY[reason] in (push.event.apns or {}) else rows[1]
    return rows[1] if push.route.environment is Environment.SANDBOX else rows[0]


def retry_after_s(answer: PushResponse) -> float | None:
    """The seconds of a Retry-After header; a date is not read, since that needs a clock and nobody sends one here."""
    value = (answer.header("retry-after") or "").strip()
    return float(value) if value.isascii() and value.isdigit() and len(value) <= 9 else None


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
