"""FCM's error answers, the documented ones and the odd ones that are seen in the field.

https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode
"""

import json
from dataclasses import dataclass
from typing import Any

from .site import Answer

_FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
_APNS_ERROR = "type.googleapis.com/google.firebase.fcm.v1.ApnsError"
_BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
_QUOTA_FAILURE = "type.googleapis.com/google.rpc.QuotaFailure"
_ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
JSON = (b"content-type", b"application/json; charset=UTF-8")
HTML = (b"content-type", b"text/html; charset=UTF-8")
BARE = "Request contains an invalid argument."
_NO_CREDENTIAL = (
    "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or other "
    "valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project."
)


def fcm(code: str) -> dict[str, Any]:
    return {"@type": _FCM_ERROR, "errorCode": code}


def apns(status: int, reason: str) -> dict[str, Any]:
    return {"@type": _APNS_ERROR, "statusCode": status, "reason": reason}


def bad_request(*violations: tuple[str, str]) -> dict[str, Any]:
    found = [{"field": field, "description": text} if field else {"description": text} for field, text in violations]
    return {"@type": _BAD_REQUEST, "fieldViolations": found}


def quota(subject: str, text: str) -> dict[str, Any]:
    return {"@type": _QUOTA_FAILURE, "violations": [{"subject": subject, "description": text}]}


def info(reason: str, **metadata: str) -> dict[str, Any]:
    return {"@type": _ERROR_INFO, "reason": reason, "domain": "googleapis.com", "metadata": metadata}


@dataclass(frozen=True, slots=True)
class Envelope:
    """One error answer; an empty `status` means that the body is HTML."""

    http: int
    status: str
    message: str
    details: tuple[dict[str, Any], ...] = ()

    def answer(self, name: str) -> Answer:
        """The response; `name` is what the journal calls it."""
        if not self.status:
            page = f"<!DOCTYPE html><html lang=en><title>Error {self.http}</title><p>{self.message}</html>"
            return Answer(self.http, (HTML,), page.encode(), name)
        error: dict[str, Any] = {"code": self.http, "message": self.message, "status": self.status}
        if self.details:
            error["details"] = list(self.details)
        return Answer(self.http, (JSON,), json.dumps({"error": error}, indent=2).encode() + b"\n", name)


_NOT_FOUND = "Requested entity was not found."
_DISABLED = "Auth error from APNS or Web Push Service"

# First the error codes of the documentation in its order, then forms that lack what the documentation promises.
ENVELOPES: dict[str, Envelope] = {
    "UNSPECIFIED_ERROR": Envelope(500, "UNKNOWN", "Unknown Error.", (fcm("UNSPECIFIED_ERROR"),)),
    "INVALID_ARGUMENT": Envelope(400, "INVALID_ARGUMENT", BARE, (fcm("INVALID_ARGUMENT"),)),
    "UNREGISTERED": Envelope(404, "NOT_FOUND", _NOT_FOUND, (fcm("UNREGISTERED"),)),
    "SENDER_ID_MISMATCH": Envelope(403, "PERMISSION_DENIED", "SenderId mismatch", (fcm("SENDER_ID_MISMATCH"),)),
    "QUOTA_EXCEEDED": Envelope(
        429,
        "RESOURCE_EXHAUSTED",
        "Quota exceeded.",
        (fcm("QUOTA_EXCEEDED"), quota("messages", "Message sending quota exceeded.")),
    ),
    "UNAVAILABLE": Envelope(503, "UNAVAILABLE", "The service is currently unavailable.", (fcm("UNAVAILABLE"),)),
    "INTERNAL": Envelope(500, "INTERNAL", "Internal error encountered.", (fcm("INTERNAL"),)),
    "THIRD_PARTY_AUTH_ERROR": Envelope(
        401, "UNAUTHENTICATED", _DISABLED, (fcm("THIRD_PARTY_AUTH_ERROR"), apns(403, "InvalidProviderToken"))
    ),
    "APNS_AUTH_ERROR": Envelope(401, "UNAUTHENTICATED", "Auth error from APNS", (fcm("APNS_AUTH_ERROR"),)),
    "third-party-auth-misleading": Envelope(
        401, "UNAUTHENTICATED", _NO_CREDENTIAL, (apns(403, "InvalidProviderToken"), fcm("THIRD_PARTY_AUTH_ERROR"))
    ),
    "third-party-auth-environment": Envelope(
        401, "UNAUTHENTICATED", _DISABLED, (fcm("THIRD_PARTY_AUTH_ERROR"), apns(403, "BadEnvironmentKeyInToken"))
    ),
    "third-party-auth-without-apns": Envelope(401, "UNAUTHENTICATED", _DISABLED, (fcm("THIRD_PARTY_AUTH_ERROR"),)),
    "invalid-token": Envelope(
        400,
        "INVALID_ARGUMENT",
        "The registration token is not a valid FCM registration token",
        (fcm("INVALID_ARGUMENT"), bad_request(("message.token", "Invalid registration token"))),
    ),
    "ios-unregistered": Envelope(404, "NOT_FOUND", _NOT_FOUND, (fcm("UNREGISTERED"), apns(410, "Unregistered"))),
    "ios-unregistered-reversed": Envelope(
        404, "NOT_FOUND", _NOT_FOUND, (apns(410, "Unregistered"), fcm("UNREGISTERED"))
    ),
    "ios-token-disabled": Envelope(
        400,
        "INVALID_ARGUMENT",
        "APNs device token is disabled.",
        (fcm("INVALID_ARGUMENT"), apns(410, "Unregistered")),
    ),
    "bare-invalid-argument": Envelope(400, "INVALID_ARGUMENT", BARE),
    "bare-unavailable": Envelope(503, "UNAVAILABLE", "The service is currently unavailable."),
    "bare-internal": Envelope(500, "INTERNAL", "Internal error encountered."),
    "credential-missing": Envelope(401, "UNAUTHENTICATED", _NO_CREDENTIAL, (info("CREDENTIALS_MISSING"),)),
    "credential-invalid": Envelope(
        401,
        "UNAUTHENTICATED",
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
        "authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
    ),
    "service-disabled": Envelope(
        403,
        "PERMISSION_DENIED",
        "Firebase Cloud Messaging API has not been used in this project before or it is disabled.",
        (info("SERVICE_DISABLED", service="fcm.googleapis.com"),),
    ),
    "permission-denied": Envelope(
        403,
        "PERMISSION_DENIED",
        "Permission 'cloudmessaging.messages.create' denied on resource (or it may not exist).",
        (info("IAM_PERMISSION_DENIED", permission="cloudmessaging.messages.create"),),
    ),
    "project-not-found": Envelope(404, "NOT_FOUND", _NOT_FOUND),
    "html-404": Envelope(404, "", "The requested URL was not found on this server."),
    "html-502": Envelope(502, "", "The server encountered a temporary error. Please try again in 30 seconds."),
    "html-504": Envelope(504, "", "The server did not answer in time."),
}
