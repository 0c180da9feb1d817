"""APNs: a push as the HTTP/2 request that Apple documents.

https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns
"""

from __future__ import annotations

from typing import Any

import msgspec

from pushsvc.domain.event import Kind, Message, Priority
from pushsvc.domain.push import Push, PushType
from pushsvc.domain.refusals import BAD_PAYLOAD, PAYLOAD_TOO_LARGE
from pushsvc.providers.apns.schema import MAX_BYTES, MAX_VOIP_BYTES
from pushsvc.providers.checks import merged
from pushsvc.providers.provider import PayloadRefused
from pushsvc.providers.wording import collapse_id, fit, thread, told, words

MAX_STORED_S = 2_592_000  # APNs keeps a push for 30 days at most
_encode = msgspec.json.Encoder().encode
_OURS = (PushType.ALERT, PushType.BACKGROUND, PushType.VOIP)  # the types that this service fills itself
_AT_ONCE = (PushType.VOIP, PushType.PUSHTOTALK)  # worth nothing later: expiration 0


def headers(push: Push) -> list[tuple[str, str]]:
    """The apns-* headers that say how the push is treated; topic, id and authorization are not among them."""
    over = push.event.apns or {}
    kind = push.route.push_type
    event = push.event
    out = [("apns-push-type", kind.value)]
    priority = over.get("priority")
    if priority is None:
        if kind is PushType.BACKGROUND:
            priority = 5  # 10 is an error for background pushes
        else:
            priority = 5 if event.priority is Priority.NORMAL and not event.is_call else 10
    out.append(("apns-priority", str(priority)))
    expiration = over.get("expiration")
    if expiration is None:
        at_once = kind in _AT_ONCE or event.kind is Kind.CALL
        expiration = 0 if at_once else int(push.now) + min(push.ttl_s, MAX_STORED_S)
    out.append(("apns-expiration", str(expiration)))
    given = None if push.app.settings.privacy else over.get("collapse_id")
    collapse = given or (collapse_id(push) if kind is not PushType.VOIP else "")
    if collapse:
        out.append(("apns-collapse-id", collapse))
    return out


def body(push: Push) -> bytes:
    """The payload as JSON, within Apple's limit; raises PayloadRefused where it cannot be."""
    max_bytes = MAX_VOIP_BYTES if push.route.push_type is PushType.VOIP else MAX_BYTES
    found = _encode(payload(push, push.event.message))
    if len(found) <= max_bytes:
        return found
    fitted = fit(push.event.message, lambda less: _encode(payload(push, less)), lambda raw: len(raw) <= max_bytes)
    if fitted is None:
        raise PayloadRefused(PAYLOAD_TOO_LARGE, f"{len(found)} bytes, the limit is {max_bytes}")
    return fitted


def payload(push: Push, message: Message) -> dict[str, Any]:
    """The payload with as much of the event's message as is given, and the event's override laid over it."""
    kind = push.route.push_type
    if kind is PushType.BACKGROUND:
        out: dict[str, Any] = {"aps": {"content-available": 1}, **told(push, message)}
    elif kind is PushType.ALERT:
        out = {"aps": _alert(push, message), **told(push, message)}
    elif kind is PushType.VOIP:
        out = {"aps": {}, **told(push, message)}
    elif kind is PushType.LIVEACTIVITY:
        out = {"aps": {"timestamp": int(push.event.sent_at)}}
    elif kind is PushType.MDM:
        out = {}
    else:
        out = {"aps": {}}
    over = (push.event.apns or {}).get("payload")
    if not over:
        return out
    if push.app.settings.privacy:
        # An override's payload is the producer's own text and data, which privacy mode keeps back.
        if kind in _OURS:
            return out
        raise PayloadRefused(BAD_PAYLOAD, f"a {kind.value} push is all override, and the app is in privacy mode")
    out = merged(out, over)
    if kind is PushType.BACKGROUND:
        visible = [key for key in ("alert", "badge", "sound") if key in out.get("aps", {})]
        if visible:
            raise PayloadRefused(BAD_PAYLOAD, f"the override puts {', '.join(visible)} into a background push")
    return out


def _alert(push: Push, message: Message) -> dict[str, Any]:
    said = words(push, message)
    alert: dict[str, Any] = {}
    if said.title_loc_key:
        alert["title-loc-key"] = said.title_loc_key
        if said.title_loc_args:
            alert["title-loc-args"] = said.title_loc_args
    elif said.title:
        alert["title"] = said.title
    if said.body_loc_key:
        alert["loc-key"] = said.body_loc_key
        if said.body_loc_args:
            alert["loc-args"] = said.body_loc_args
    else:
        alert["body"] = said.body
    aps: dict[str, Any] = {"alert": alert}
    settings = push.app.settings
    sound = None if settings.background else settings.sound
    if push.event.kind is Kind.CALL:
        sound = sound or "default"  # a call that comes as an alert has to be heard
        aps["interruption-level"] = "time-sensitive"
    if sound:
        aps["sound"] = sound
    if message.badge is not None and not settings.privacy:
        aps["badge"] = message.badge
    group = thread(push, message)
    if group:
        aps["thread-id"] = group
    return aps
