"""What an app and its user are told, before it takes a provider's shape: ids, names, and the words of an alert.

Beside what the platform itself asks for, every push carries the same keys on every platform: `event` (the kind),
`event_id`, and where the event has them `id`, `gid`, `sender` (the event's `from`, a word that FCM reserves), `name`,
`type` and `data`; calls carry `sent_at` too, so that an app can tell a late one. Title and body are in alerts alone: an
app that is woken in the background fetches them itself.

Privacy mode keeps `event`, `event_id`, `id`, `gid` and `sent_at`. Its alerts show a localisation key without arguments
or a template without placeholders where the app has one, and otherwise the default words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any, TypeVar

from msgspec.structs import replace

from pushsvc.domain.event import Kind, Message
from pushsvc.domain.push import Push

T = TypeVar("T")

MAX_COLLAPSE_ID_BYTES = 64  # APNs; see handling of apns-collapse-id in "Sending notification requests to APNs"
DEFAULT_BODY = {
    Kind.MESSAGE: "New message",
    Kind.SILENT: "New message",
    Kind.CALL: "Incoming call",
    Kind.CALL_CANCELLED: "Missed call",
}
_PLACEHOLDER = re.compile(r"\{(name|from|title|body|gid)\}")
_ELLIPSIS = "…"
_MIN_BODY_CHARS = 100  # a body is cut down to this before anything else of the event is left out
_MIN_TITLE_CHARS = 40
_JOINER = "\u200d"


@dataclass(frozen=True, slots=True)
class Words:
    """An alert's words; where there is a key, the text beside it is empty: the app has it."""

    title: str = ""
    body: str = ""
    title_loc_key: str | None = None
    title_loc_args: tuple[str, ...] = ()
    body_loc_key: str | None = None
    body_loc_args: tuple[str, ...] = ()


def told(push: Push, message: Message) -> dict[str, Any]:
    """The keys that every push carries, as JSON values."""
    event = push.event
    out: dict[str, Any] = {"event": event.kind.value, "event_id": event.id}
    if message.id is not None:
        out["id"] = message.id
    if message.gid:
        out["gid"] = message.gid
    if event.is_call:
        out["sent_at"] = event.sent_at
    if push.app.settings.privacy:
        return out
    if message.sender is not None:
        out["sender"] = message.sender
    if message.name is not None:
        out["name"] = message.name
    if message.type is not None:
        out["type"] = message.type
    if message.data:
        out["data"] = message.data
    return out


def words(push: Push, message: Message, *, localised: bool = True) -> Words:
    """The words of the alert, from the app's templates and (where `localised`) its localisation keys."""
    settings = push.app.settings
    title_key = settings.title_loc_key if localised else None
    body_key = settings.body_loc_key if localised else None
    default = DEFAULT_BODY[push.event.kind]
    if settings.privacy:
        title_key = None if settings.title_loc_args else title_key
        body_key = None if settings.body_loc_args else body_key
        return Words(
            title="" if title_key else _plain(settings.title_template) or "",
            body="" if body_key else _plain(settings.body_template) or default,
            title_loc_key=title_key,
            body_loc_key=body_key,
        )
    sender = str(message.sender) if isinstance(message.sender, str) else ""
    name = message.name or sender
    values = {
        "name": name,
        "from": str(message.sender or ""),
        "title": message.title or name,
        "body": message.body or default,
        "gid": str(message.gid or ""),
    }
    title = fill(settings.title_template, values) if settings.title_template else values["title"]
    body = fill(settings.body_template, values) if settings.body_template else values["body"]
    return Words(
        title="" if title_key else title,
        body="" if body_key else body,
        title_loc_key=title_key,
        title_loc_args=tuple(fill(arg, values) for arg in settings.title_loc_args) if title_key else (),
        body_loc_key=body_key,
        body_loc_args=tuple(fill(arg, values) for arg in settings.body_loc_args) if body_key else (),
    )


def fill(template: str, values: Mapping[str, str]) -> str:
    """The template with {name} {from} {title} {body} {gid} filled in; any other braces stay as they are."""
    return "".join(values[part] if odd % 2 else part for odd, part in enumerate(_parts(template)))


@lru_cache(maxsize=1024)
def _parts(template: str) -> tuple[str, ...]:
    return tuple(_PLACEHOLDER.split(template))


def _plain(template: str | None) -> str | None:
    return template if template and len(_parts(template)) == 1 else None


def conversation(push: Push) -> str:
    """Names the group or the sender that the event is of, "" where it names neither; opaque in privacy mode."""
    message = push.event.message
    if message.gid:
        return f"g{message.gid}"
    if message.sender is None:
        return ""
    return _digest(f"u{message.sender}") if push.app.settings.privacy else f"u{message.sender}"


def thread(push: Push, message: Message) -> str:
    """How notifications are grouped on the screen: the event's own thread, or its conversation."""
    if message.thread is None:
        return conversation(push)
    return _digest(message.thread) if push.app.settings.privacy else message.thread


def collapse_id(push: Push) -> str:
    """Which waiting notification this push replaces, at most 64 bytes, "" for none.

    With the setting `collapse`, those of the same conversation (events without one share one). A call shown as an alert
    always has one, so that its cancellation replaces it.
    """
    event = push.event
    if event.is_call:
        found = f"c{conversation(push) if event.message.id is None else event.message.id}"
    elif push.app.settings.collapse:
        found = conversation(push) or "m"
    else:
        return ""
    return found if len(found.encode()) <= MAX_COLLAPSE_ID_BYTES and found.isprintable() else _digest(found)


def _digest(text: str) -> str:
    return blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def fit(message: Message, render: Callable[[Message], T], fits: Callable[[T], bool]) -> T | None:
    """The most of a message that fits, rendered; None where even its ids do not.

    The body is shortened first, then the title. Where that does not do, these are left out one after the other, and the
    texts get the room they leave: data, thread, name, body, title.
    """
    for field in ("", "data", "thread", "name"):
        if field:
            if getattr(message, field) is None:
                continue
            message = replace(message, **{field: None})
        title, body = message.title or "", message.body or ""
        low = replace(message, title=cut(title, _MIN_TITLE_CHARS) or None, body=cut(body, _MIN_BODY_CHARS) or None)
        if not fits(render(low)):
            continue
        message = _stretched(replace(low, title=message.title), low, "body", body, _MIN_BODY_CHARS, render, fits)
        if message.title == low.title and title != low.title:
            message = _stretched(message, message, "title", title, _MIN_TITLE_CHARS, render, fits)
        return render(message)
    for field in ("body", "title"):
        message = replace(message, **{field: None})
        found = render(message)
        if fits(found):
            return found
    return None


def _stretched(
    wanted: Message,
    low: Message,
    field: str,
    text: str,
    min_chars: int,
    render: Callable[[Message], T],
    fits: Callable[[T], bool],
) -> Message:
    """`wanted` with as much of `text` as fits beside the rest of it; `low` where not even the least of it does."""
    if not fits(render(replace(wanted, **{field: cut(text, min_chars) or None}))):
        return low
    least, most = min_chars, max(min_chars, len(text))
    while least < most:
        middle = (least + most + 1) // 2
        if fits(render(replace(wanted, **{field: cut(text, middle) or None}))):
            least = middle
        else:
            most = middle - 1
    return replace(wanted, **{field: cut(text, least) or None})


def cut(text: str, chars: int) -> str:
    """At most so many characters of a text, ending in … where it is cut, never inside what is seen as one character."""
    if len(text) <= chars:
        return text
    end = max(0, chars - 1)
    while end and _inside(text, end):
        end -= 1
    return text[:end].rstrip() + _ELLIPSIS


def _inside(text: str, at: int) -> bool:
    """Whether a cut before text[at] would split a combining sequence, an emoji or a flag."""
    after = text[at]
    if text[at - 1] == _JOINER or after == _JOINER or "\U0001f3fb" <= after <= "\U0001f3ff":
        return True
    if "\U000e0020" <= after <= "\U000e007f" or "\u1160" <= after <= "\u11ff":  # a flag's tags, a syllable's later jamo
        return True
    if unicodedata.category(after) in ("Mn", "Mc", "Me"):
        return True
    if not _regional(after):
        return False
    start = at
    while start and _regional(text[start - 1]):
        start -= 1
    return (at - start) % 2 == 1


def _regional(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"
