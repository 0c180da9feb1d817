"""What a push would look like on a phone, for the page."""

import json
from typing import Any

from .devices import Devices
from .journal import Arrival

_KINDS_OF_CALL = ("call", "incoming_call")


def notice(arrival: Arrival, devices: Devices) -> dict[str, object]:
    """One request as the page draws it; `look` is alert, call or silent."""
    device = devices.find(arrival.token)
    shown: dict[str, object] = {
        "number": arrival.number,
        "at": arrival.at,
        "site": arrival.site,
        "app": arrival.topic,
        "token": arrival.token,
        "platform": device.platform if device is not None else ("android" if arrival.site == "fcm" else "ios"),
        "fate": arrival.fate,
        "status": arrival.status,
        "reason": arrival.reason,
        "accepted": arrival.accepted,
    }
    try:
        body = json.loads(arrival.body or b"{}")
    except ValueError:
        body = {}
    if not isinstance(body, dict):
        body = {}
    if arrival.site == "fcm":
        shown["app"] = device.topics[0] if device is not None else arrival.topic
        return shown | _fcm(body.get("message"))
    headers = arrival.headers
    shown |= _aps(body, headers.get("apns-push-type", ""))
    return shown | {
        "push_type": headers.get("apns-push-type", ""),
        "priority": headers.get("apns-priority", "10"),
        "collapse": headers.get("apns-collapse-id", ""),
    }


def _aps(body: dict[str, Any], push_type: str) -> dict[str, object]:
    aps = body.get("aps")
    aps = aps if isinstance(aps, dict) else {}
    alert = aps.get("alert")
    alert = alert if isinstance(alert, dict) else {"body": alert} if alert else {}
    custom = {name: value for name, value in body.items() if name != "aps"}
    look = "call" if push_type == "voip" else "alert" if alert else "silent"
    return {
        "look": look,
        "title": _text(alert, "title"),
        "subtitle": _text(alert, "subtitle"),
        "body": _text(alert, "body"),
        "badge": aps.get("badge"),
        "sound": aps.get("sound"),
        "level": aps.get("interruption-level", ""),
        "thread": aps.get("thread-id", ""),
        "data": custom,
    }


def _text(alert: dict[str, Any], part: str) -> str:
    """The text of one part of an alert; a localisation key is shown with its arguments, as no app resolves it."""
    if alert.get(part):
        return str(alert[part])
    prefix = "" if part == "body" else f"{part}-"
    key = alert.get(f"{prefix}loc-key")
    if not key:
        return ""
    arguments = alert.get(f"{prefix}loc-args") or []
    return f"{key} ({', '.join(map(str, arguments))})" if arguments else str(key)


def _fcm(message: object) -> dict[str, object]:
    if not isinstance(message, dict):
        return {"look": "silent", "push_type": "", "data": {}}
    android = _dict(message, "android")
    notification = _dict(message, "notification") | _dict(android, "notification")
    data = _dict(android, "data") or _dict(message, "data")
    apns = _dict(message, "apns")
    if apns:
        shown = _aps(_dict(apns, "payload"), _dict(apns, "headers").get("apns-push-type", ""))
        shown["title"] = shown["title"] or notification.get("title", "")
        shown["body"] = shown["body"] or notification.get("body", "")
        if shown["look"] == "silent" and notification:
            shown["look"] = "alert"
        shown["data"] = data or shown["data"]
    else:
        rings = any(data.get(name) in _KINDS_OF_CALL for name in ("kind", "type"))
        shown = {
            "look": "alert" if notification else "call" if rings else "silent",
            "title": notification.get("title") or notification.get("title_loc_key", ""),
            "body": notification.get("body") or notification.get("body_loc_key", ""),
            "badge": notification.get("notification_count"),
            "data": data,
        }
    return shown | {
        "push_type": "notification" if notification else "data",
        "priority": android.get("priority", ""),
        "collapse": android.get("collapse_key") or android.get("collapseKey", ""),
    }


def _dict(holder: dict[str, Any], name: str) -> dict[str, Any]:
    found = holder.get(name)
    return found if isinstance(found, dict) else {}
