"""A push: one event to one device by one route, and the bytes that go out and come back."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum

from pushsvc.domain.app import App
from pushsvc.domain.credential import Credential
from pushsvc.domain.device import Device, DeviceToken, Environment
from pushsvc.domain.event import Event
from pushsvc.domain.outcome import Outcome, Row


class PushType(StrEnum):
    """Apple's 11 values of apns-push-type; FCM routes use ALERT, BACKGROUND and VOIP for their nearest kin."""

    ALERT = "alert"
    BACKGROUND = "background"
    COMPLICATION = "complication"
    CONTROLS = "controls"
    FILEPROVIDER = "fileprovider"
    LIVEACTIVITY = "liveactivity"
    LOCATION = "location"
    MDM = "mdm"
    PUSHTOTALK = "pushtotalk"
    VOIP = "voip"
    WIDGETS = "widgets"


@dataclass(frozen=True, slots=True)
class Route:
    """How a push reaches its device."""

    provider: str
    token: DeviceToken
    push_type: PushType
    topic: str  # apns-topic, or the package name / bundle id for FCM
    environment: Environment | None  # whose server is asked; None for FCM
    credential: Credential


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why no push goes out, decided here before anything is sent. `token_id` is 0 where there is no token."""

    row: Row
    token_id: int = 0


@dataclass(frozen=True, slots=True)
class Push:
    """`attempt` counts from 1; `ttl_s` is what is left of the expiry when it is built.

    `dry_run` asks a provider that can do so to validate the push and not to deliver it.
    """

    id: str  # canonical lower-case UUID: the apns-id, the same on every attempt
    app: App
    event: Event
    device: Device
    route: Route
    attempt: int
    ttl_s: int
    now: float
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class PushRequest:
    """An HTTP/2 POST: `authority` is host:port, header names are lower case."""

    authority: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)
    priority: str = ""  # in the provider's words: 10, 5, 1; high, normal; "" for what is no push

    def __repr__(self) -> str:
        return (
            f"PushRequest(authority={self.authority!r}, body={len(self.body)} bytes)"  # path and headers hold secrets
        )


@dataclass(frozen=True, slots=True)
class PushResponse:
    """What the provider answered; header names are lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


class Fault(StrEnum):
    """How a request can end without an answer."""

    DNS = "dns"  # the name did not resolve
    CONNECT = "connect"  # refused or unreachable
    CONNECT_TIMEOUT = "connect_timeout"
    ANSWER_TIMEOUT = "answer_timeout"  # the request went out and nothing came back in time
    LOST = "lost"  # the connection died under the request; a retry is safe only with the same apns-id
    UNPROCESSED = "unprocessed"  # the provider says that it did not look at it (REFUSED_STREAM, GOAWAY)
    TLS_ALERT = "tls_alert"  # the provider's TLS refused us; detail = the alert's name
    GOAWAY = "goaway"  # the provider closed with a reason; detail = that reason
    UNTRUSTED = "untrusted"  # the server's certificate is not trusted by our store
    PROTOCOL = "protocol"  # no HTTP/2, or broken HTTP/2


@dataclass(frozen=True, slots=True)
class TransportFailure:
    """No answer: the fault, and `detail` as far as it could be found out."""

    fault: Fault
    detail: str = ""


Answer = PushResponse | TransportFailure


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose connection: pushes of one identity to one authority share connections, no others do."""

    key: str
    certificate_pem: bytes | None = field(default=None, repr=False)  # chain, leaf first; None: bearer in a header
    private_key_pem: bytes | None = field(default=None, repr=False)
    one_first: bool = False  # send one request and wait for its answer before the others (APNs with JWT)


@dataclass(frozen=True, slots=True)
class Bearer:
    """An authorization header's token; a push may use it until `use_until` (UNIX seconds)."""

    token: str = field(repr=False)
    use_until: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer means: the row of the table, with what the provider said beside it."""

    row: Row
    status: int | None = None
    reason: str = ""  # the provider's own word, kept even where the table has no row for it
    unregistered_at: float | None = None  # UNIX seconds: when the provider last knew the token dead
    retry_after_s: float | None = None

    @property
    def accepted(self) -> bool:
        return self.row.outcome is Outcome.ACCEPTED


def push_id(app_id: int, event_id: str, token_id: int) -> str:
    """A UUID made of what the push is about, so that a push sent again after a crash bears the same apns-id."""
    digest = hashlib.blake2b(f"{app_id}\0{event_id}\0{token_id}".encode(), digest_size=16).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-a{digest[17:20]}-{digest[20:]}"
