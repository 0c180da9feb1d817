"""FCM: a push as the HTTP v1 request that Google documents.

https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages
"""

from __future__ import annotations

from typing import Any

import msgspec

from pushsvc.domain.device import Platform
from pushsvc.domain.event import Kind, Message, Priority
from pushsvc.domain.push import Push, PushType
from pushsvc.domain.refusals import PAYLOAD_TOO_LARGE
from pushsvc.providers.apns import payload as apns
from pushsvc.providers.apns.schema import MAX_BYTES as MAX_APNS_BYTES
from pushsvc.providers.checks import merged
from pushsvc.providers.fcm.schema import MESSAGE
from pushsvc.providers.provider import PayloadRefused
from pushsvc.providers.wording import Words, collapse_id, fit, told, words

MAX_BYTES = 4096
MAX_TTL_S = 2_419_200  # four weeks
CALL_TTL_S = 30  # a phone that comes back later than this has stopped ringing
# FCM keeps at most four different collapse keys for a device and drops any others it likes, so wake-ups, of which one
# serves all conversations, share one key. Alerts have none: their notification tag replaces them on the screen, for any
# number of conversations.
WAKE_UP_KEY = "wake-up"
_encode = msgspec.json.Encoder().encode
_COUNTED = ("data", "notification", "webpush")


def body(push: Push) -> tuple[bytes, str]:
    """The request's body, {"message": …} as JSON, and the priority in it, within FCM's limit.

    Raises PayloadRefused where it cannot be made to fit.
    """
    found = _message(push, push.event.message)
    raw = _request(push, found)
    if len(raw) <= MAX_BYTES or _fits(found):
        return raw, _said_priority(found)
    fitted = fit(push.event.message, lambda less: _message(push, less), _fits)
    if fitted is None:
        raise PayloadRefused(PAYLOAD_TOO_LARGE, f"the message is over {MAX_BYTES} bytes")
    return _request(push, fitted), _said_priority(fitted)


def _said_priority(message: dict[str, Any]) -> str:
    """What the message says to the network of its platform: high, normal; 10, 5 for an iPhone."""
    if "android" in message:
        return str(message["android"].get("priority", "")).lower()
    headers = message.get("apns", message.get("webpush", {})).get("headers", {})
    return str(headers.get("apns-priority", headers.get("Urgency", "")))


def _request(push: Push, message: dict[str, Any]) -> bytes:
    return _encode({"validate_only": True, "message": message} if push.dry_run else {"message": message})


def _fits(message: dict[str, Any]) -> bool:
    """Google counts keys and values; their JSON is a little longer, so this errs on the safe side."""
    android = message.get("android", {})
    counted = [message[part] for part in _COUNTED if part in message]
    counted += [android[part] for part in ("data", "notification") if part in android]
    if sum(len(_encode(part)) for part in counted) > MAX_BYTES:
        return False
    payload = message.get("apns", {}).get("payload")
    return payload is None or len(_encode(payload)) <= MAX_APNS_BYTES


def _message(push: Push, message: Message) -> dict[str, Any]:
    out: dict[str, Any] = {"token": push.route.token.token}
    platform = push.device.platform
    if platform is Platform.IOS:
        out["apns"] = {"headers": dict(apns.headers(push)), "payload": apns.payload(push, message)}
    else:
        out["data"] = _data(push, message)
        alert = None
        if push.route.push_type is PushType.ALERT:
            alert = words(push, message, localised=platform is Platform.ANDROID)  # browsers know no keys
            shown = {"title": alert.title, "body": alert.body}
            notification = {key: value for key, value in shown.items() if value}
            if notification:
                out["notification"] = notification
        if platform is Platform.ANDROID:
            out["android"] = _android(push, message, alert)
        else:
            out["webpush"] = _webpush(push)
    over = push.event.fcm
    if over and not push.app.settings.privacy:  # the override is the producer's own text and data
        canonical = MESSAGE.canonical(over)
        if canonical.get("android_v2") is not None:
            out.pop("android", None)  # it takes the place of android, and FCM refuses both
        out = merged(out, canonical)
    return out


def _data(push: Push, message: Message) -> dict[str, str]:
    """FCM's data are strings alone: numbers in decimals, the event's data as one JSON text."""
    out = {}
    for key, value in told(push, message).items():
        out[key] = value if isinstance(value, str) else _encode(value).decode()
    return out


def _priority(push: Push) -> Priority:
    """High for what the user is to see: a wake-up for a message ends in a notification that the app shows itself.

    Normal waits until the phone leaves Doze, which would be hours; Google lowers the priority of apps whose high
    messages show nothing, so silent events are normal. An event may say otherwise, a call may not.
    https://firebase.google.com/docs/cloud-messaging/android-message-priority
    """
    if push.event.is_call:
        return Priority.HIGH
    return push.event.priority or (Priority.NORMAL if push.event.kind is Kind.SILENT else Priority.HIGH)


def _ttl_s(push: Push) -> int:
    return min(push.ttl_s, CALL_TTL_S if push.event.is_call else MAX_TTL_S)


def _android(push: Push, message: Message, alert: Words | None) -> dict[str, Any]:
    out: dict[str, Any] = {"priority": _priority(push).value.upper(), "ttl": f"{_ttl_s(push)}s"}
    settings = push.app.settings
    if alert is None:
        if settings.collapse and not push.event.is_call:
            out["collapse_key"] = WAKE_UP_KEY
        return out
    # Without collapsing, the push's own id: what FCM delivers twice after a lost answer is shown once.
    notification: dict[str, Any] = {"tag": collapse_id(push) or push.id}
    if alert.title_loc_key:
        notification["title_loc_key"] = alert.title_loc_key
        if alert.title_loc_args:
            notification["title_loc_args"] = alert.title_loc_args
    if alert.body_loc_key:
        notification["body_loc_key"] = alert.body_loc_key
        if alert.body_loc_args:
            notification["body_loc_args"] = alert.body_loc_args
    if settings.sound and not settings.background:
        notification["sound"] = settings.sound
    if message.badge is not None and not settings.privacy:
        notification["notification_count"] = message.badge
    out["notification"] = notification
    return out


def _webpush(push: Push) -> dict[str, Any]:
    headers = {"TTL": str(_ttl_s(push)), "Urgency": _priority(push).value}
    if push.route.push_type is not PushType.ALERT:
        return {"headers": headers}
    return {"headers": headers, "notification": {"tag": collapse_id(push) or push.id}}
