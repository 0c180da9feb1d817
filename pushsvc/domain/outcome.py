"""What can become of a push: one closed list, and the row that every refusal of a provider maps into it by."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Outcome(Enum):
    """name = (code shown as response.code or None, final, cause, cure)."""

    ACCEPTED = (None, True, "The provider took the push.", "Nothing to do.")
    RETRYING = (None, False, "The push is tried again later.", "Nothing to do; the due time is recorded.")
    EXPIRED = (
        None,
        True,
        "The event's expiry passed before the push could be sent.",
        "Give events a longer expiry, or find why the queue or the provider was slow.",
    )
    SUPPRESSED = (None, True, "The push was not needed.", "Nothing to do; the reason is recorded.")
    NO_DEVICE = (
        None,
        True,
        "The user has no device token that this event may use.",
        "Register the device token of the user's app.",
    )
    NOT_CONFIGURED = (
        901,
        True,
        "Push service for the app is not configured.",
        "Upload the app's credential for this provider.",
    )
    DISABLED = (
        902,
        True,
        "Push service for the app is temporarily disabled.",
        "Switch push on again, or replace or resume the paused credential.",
    )
    CERTIFICATE_EXPIRED = (903, True, "Push certificate expired.", "Make a new certificate and upload it.")
    CERTIFICATE_ERROR = (
        904,
        True,
        "Push certificate error.",
        "Upload a valid credential for this app and environment.",
    )
    PRODUCTION_REQUIRED = (
        905,
        True,
        "Production certificate is required for this push.",
        "Upload a production or universal credential.",
    )
    BAD_TOKEN = (911, True, "Bad push token.", "The app has to register its new token.")
    MISMATCH = (
        912,
        True,
        "Mismatch in APN certificate and the push token app id.",
        "Upload the credential of the app that the token belongs to.",
    )
    BAD_PAYLOAD = (913, True, "Bad payload.", "Mend the event's texts, data or overrides.")
    PROVIDER = (None, True, "The provider refused, and no 90x code fits.", "See the provider's status and reason.")

    def __init__(self, code: int | None, final: bool, cause: str, cure: str) -> None:
        self.code = code
        self.final = final
        self.cause = cause
        self.cure = cure


class Action(Enum):
    """What is done about a refusal, decided by `dispatch.settle` from the row."""

    NONE = "nothing more"
    RETRY_AT_ONCE = "retry at once on another stream or connection, 3 times at most, then back off"
    RENEW_BEARER = "renew the bearer and retry once on a new connection"
    BACK_OFF = "retry with exponential backoff and full jitter, Retry-After honoured, until the event's expiry"
    BACK_OFF_AND_TELL = "retry as with backoff; tell the operator"
    DELAY_DEVICE = "retry this device after 60 s or more"
    DELAY_CREDENTIAL = "retry on another connection later, keeping the bearer; tell the operator"
    DROP_TOKEN = "drop the token if it is unchanged and was registered before the provider's timestamp"
    OTHER_ENVIRONMENT = "try the other environment once and remember what it says; drop the token when both refuse it"
    PAUSE_CREDENTIAL = "pause the credential after 3 refusals in a row; tell the operator"
    TELL_OPERATOR = "tell the operator"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the outcome table: what a provider (or the transport) said, and what it comes to."""

    provider: str  # apns, fcm, oauth, tls, transport, local
    status: int | None  # HTTP status, None where there was none
    reason: str  # the provider's own word
    outcome: Outcome  # the final outcome, or what it becomes once retries are used up
    action: Action
    cause: str
    cure: str
