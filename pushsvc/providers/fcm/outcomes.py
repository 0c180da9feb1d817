"""FCM: what each of its errors comes to, in Google's own order and words; and those of Google's OAuth server.

https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode
"""

from __future__ import annotations

from dataclasses import replace

from pushsvc.domain.outcome import Action, Outcome, Row

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
