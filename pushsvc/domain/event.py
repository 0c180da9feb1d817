"""An event: "this user is offline and something waits for them"."""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from pushsvc.domain.explained import explained

MAX_EVENT_BYTES = 32_768  # room for long texts, which are shortened, and raw overrides, which are not; 8 APNs payloads
MAX_NESTING = 64  # levels of objects and lists in data and in each override
MAX_USERS = 1000
MAX_EXPIRY_S = 31_536_000  # one year, the documented default of the backend API
MAX_CLOCK_AHEAD_S = 86_400

Text = Annotated[str, Meta(max_length=16_384)]
ShortText = Annotated[str, Meta(max_length=1024)]
Uid = Annotated[int, Meta(ge=1, le=2**63 - 1)]
# A pattern ends in $(?!\n) since a $ alone lets a trailing newline through where regular expressions are Python's.
Address = Annotated[str, Meta(min_length=1, max_length=63, pattern=r"^[^\x00-\x20\x7f,][^\x00-\x1f\x7f,]*$(?!\n)")]
User = Uid | Address
WholeNumber = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class Kind(StrEnum):
    """What waits for the user."""

    MESSAGE = "message"  # shown as an alert, or a background wake-up where the app has background push on
    CALL = "call"  # rings: VoIP push, or a high-priority data message
    CALL_CANCELLED = "call_cancelled"  # follows the call on its route, so that the phone stops ringing
    SILENT = "silent"  # always a background wake-up, whatever the app's settings


class Priority(StrEnum):
    HIGH = "high"
    NORMAL = "normal"


class Message(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, repr_omit_defaults=True):
    """The message or call that waits; every field is optional."""

    id: Annotated[str, Meta(min_length=1, max_length=64)] | WholeNumber | None = None
    sender: User | None = field(name="from", default=None)
    name: ShortText | None = None
    gid: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    type: WholeNumber | None = None
    title: Text | None = None
    body: Text | None = None
    badge: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    thread: Annotated[str, Meta(max_length=1024)] | None = None
    data: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return f"Message(id={self.id!r}, gid={self.gid!r})"  # texts and names are not for logs


class Event(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One offline-user event, as every door takes it and the stream carries it (JSON)."""

    app: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    id: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$(?!\n)")]
    user: User | Annotated[list[User], Meta(min_length=1, max_length=MAX_USERS)]
    kind: Kind = Kind.MESSAGE
    message: Message = Message()
    expiry: Annotated[int, Meta(ge=0, le=MAX_EXPIRY_S)] = MAX_EXPIRY_S
    sent_at: Annotated[float, Meta(ge=0, le=1e11)]
    priority: Priority | None = None
    apns: dict[str, Any] | None = None
    fcm: dict[str, Any] | None = None

    @property
    def users(self) -> list[int | str]:
        """The recipients, in the order given, each once."""
        return list(dict.fromkeys(self.user)) if isinstance(self.user, list) else [self.user]

    @property
    def deadline(self) -> float:
        """UNIX seconds after which nothing may be sent; equal to sent_at when the event is for online users only."""
        return self.sent_at + self.expiry

    @property
    def is_call(self) -> bool:
        return self.kind in (Kind.CALL, Kind.CALL_CANCELLED)

    def __repr__(self) -> str:
        return f"Event(app={self.app}, id={self.id!r}, kind={self.kind.value})"


class Submitted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The published schema: an event as a producer writes it, where the door may fill in app, id and sent_at."""

    app: (
        Annotated[
            int,
            Meta(
                ge=1, le=2**63 - 1, description="App id (aid). May be left out where a token or option names the app."
            ),
        ]
        | UnsetType
    ) = UNSET
    id: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=64,
                pattern=r"^[\x21-\x7e]+$(?!\n)",
                description="Your id of the event. The same id is taken once; it is made for you when left out.",
            ),
        ]
        | UnsetType
    ) = UNSET
    user: User | Annotated[list[User], Meta(min_length=1, max_length=MAX_USERS)]
    kind: Kind = Kind.MESSAGE
    message: Message = Message()
    expiry: Annotated[
        int,
        Meta(ge=0, le=MAX_EXPIRY_S, description="Seconds after sent_at until the event is worthless. 0: never pushed."),
    ] = MAX_EXPIRY_S
    sent_at: (
        Annotated[float, Meta(ge=0, le=1e11, description="UNIX seconds. The time of arrival when left out.")]
        | UnsetType
    ) = UNSET
    priority: Priority | None = None
    apns: dict[str, Any] | None = None
    fcm: dict[str, Any] | None = None


class BadEvent(ValueError):
    """An event that no door takes: the property at fault, the cause and the cure."""

    def __init__(self, cause: str, cure: str, prop: str = "") -> None:
        super().__init__(f"{prop}: {cause}" if prop else cause)
        self.cause = cause
        self.cure = cure
        self.prop = prop


@cache
def _submitted_decoder() -> msgspec.json.Decoder[Submitted]:
    return msgspec.json.Decoder(Submitted)


@cache
def _event_decoder() -> msgspec.json.Decoder[Event]:
    return msgspec.json.Decoder(Event)


_encoder = msgspec.json.Encoder()


def encode(event: Event) -> bytes:
    """The event as the stream carries it: JSON that `decode` reads back to an equal value."""
    return _encoder.encode(event)


def decode(raw: bytes) -> Event:
    """Reads an event that `encode` wrote; raises BadEvent on anything else."""
    try:
        return _event_decoder().decode(raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise _explained(error, raw) from None


def parse(raw: bytes, *, now: float, app: int | None, make_id: str) -> Event:
    """Takes a producer's JSON object, fills in what a door may fill in, and raises BadEvent with cause and cure.

    `app` is the app that the door knows already (from the app token, say): an event that names another is refused.
    """
    _check_size(len(raw))
    try:
        given = _submitted_decoder().decode(raw)
    except RecursionError:
        raise too_deep() from None
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise _explained(error, raw) from None
    for prop, value in (("message.data", given.message.data), ("apns", given.apns), ("fcm", given.fcm)):
        if _deeper(value, MAX_NESTING):
            raise too_deep(prop)
    event = completed(given, now=now, app=app, make_id=make_id)
    _check_size(len(encode(event)))  # as the stream carries it, or a door would take what no worker takes
    return event


def _check_size(count: int) -> None:
    if count > MAX_EVENT_BYTES:
        raise BadEvent(f"the event has {count} bytes, the limit is {MAX_EVENT_BYTES}", "Send ids and short texts.")


def too_deep(prop: str = "") -> BadEvent:
    """An event nested deeper than any door takes, or than can be read at all."""
    return BadEvent(f"nested in more than {MAX_NESTING} levels", "Send flat data: a few objects within objects.", prop)


def _deeper(value: object, levels: int) -> bool:
    """Whether objects and lists go deeper; looks no further than one level below."""
    if isinstance(value, dict):
        value = list(value.values())
    return isinstance(value, list) and (not levels or any(_deeper(inner, levels - 1) for inner in value))


def completed(given: Submitted, *, now: float, app: int | None, make_id: str) -> Event:
    """The event that a submitted one stands for; raises BadEvent where its parts do not agree."""
    named = given.app if given.app is not UNSET else app
    if named is None:
        raise BadEvent("the event names no app", "Give the app id (aid) in 'app'.", "app")
    if app is not None and named != app:
        raise BadEvent(
            f"the event is for app {named}, the app token is for app {app}", "Use the token of that app.", "app"
        )
    sent_at = given.sent_at if given.sent_at is not UNSET else now
    if sent_at > now + MAX_CLOCK_AHEAD_S:
        raise BadEvent(
            "sent_at is more than a day ahead of this server's clock",
            "Give UNIX time in seconds (not milliseconds) and check both clocks.",
            "sent_at",
        )
    return Event(
        app=named,
        id=given.id if given.id is not UNSET else make_id,
        user=given.user,
        kind=given.kind,
        message=given.message,
        expiry=given.expiry,
        sent_at=sent_at,
        priority=given.priority,
        apns=given.apns,
        fcm=given.fcm,
    )


def _explained(error: Exception, raw: bytes) -> BadEvent:
    prop, cause, cure = explained(error, raw)
    return BadEvent(cause, cure, prop)


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a submitted event."""
    out = msgspec.json.schema(Submitted)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "pushsvc event", **out}
