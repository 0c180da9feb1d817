"""The schema of an event's 'fcm' override: the Message of FCM's HTTP v1 API, without its target.

https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from pushsvc.domain.event import BadEvent
from pushsvc.providers.apns.schema import APS, MAX_BYTES
from pushsvc.providers.checks import Check, Fields, anything, boolean, list_of, map_of, number, one_of, text

_TARGETS = ("token", "fid", "topic", "condition", "name")
_TTL = re.compile(r"(\d{1,9})(\.\d{1,9})?s")
_MAX_TTL_S = 2_419_200
_TEXT = text()


def _data_key(name: Any, path: str) -> None:
    if name in ("from", "message_type") or name.startswith(("google", "gcm")):
        raise BadEvent(f"FCM reserves the data key '{name}'", "Use another name.", path)


def _ttl(value: Any, path: str) -> None:
    found = _TTL.fullmatch(value) if isinstance(value, str) else None
    if found is None or float(value[:-1]) > _MAX_TTL_S:
        raise BadEvent(f"{value!r} is not a ttl", f"Give seconds with an s, from '0s' to '{_MAX_TTL_S}s'.", path)


def _https(value: Any, path: str) -> None:
    if not isinstance(value, str) or not value.startswith("https://"):
        raise BadEvent("the link is not an https URL", "Give an https:// URL.", path)


def _apns_payload(value: Any, path: str) -> None:
    if not isinstance(value, dict):
        raise BadEvent("the payload is not an object", "Give a JSON object with 'aps' in it.", path)
    if value.get("aps") is not None:
        APS(value["aps"], f"{path}.aps")
    size = len(msgspec.json.encode(value))
    if size > MAX_BYTES:
        raise BadEvent(f"the payload has {size} bytes", f"Apple takes {MAX_BYTES}.", path)


_DATA = map_of(_TEXT, _data_key)
_HEADERS = map_of(_TEXT, text(128, r"[A-Za-z0-9-]+", "a header name"))
_LABEL = text(50, r"[a-zA-Z0-9\-_.~%]{1,50}", "an analytics label")
_OPTIONS = Fields({"analytics_label": _LABEL}, camel=True)
_DURATION = text(32, r"\d{1,9}(\.\d{1,9})?s", "a duration such as 3.5s")
_COLOR = Fields({name: number(0, 1, whole=False) for name in ("red", "green", "blue", "alpha")})
ANDROID_NOTIFICATION = Fields(
    {
        "title": _TEXT,
        "body": _TEXT,
        "icon": _TEXT,
        "color": text(7, r"#[0-9a-fA-F]{6}", "a colour such as #aabbcc"),
        "sound": _TEXT,
        "tag": _TEXT,
        "click_action": _TEXT,
        "body_loc_key": _TEXT,
        "body_loc_args": list_of(_TEXT),
        "title_loc_key": _TEXT,
        "title_loc_args": list_of(_TEXT),
        "channel_id": _TEXT,
        "ticker": _TEXT,
        "sticky": boolean,
        "event_time": text(40, r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", "an RFC 3339 time"),
        "local_only": boolean,
        "notification_priority": one_of(
            "PRIORITY_UNSPECIFIED", "PRIORITY_MIN", "PRIORITY_LOW", "PRIORITY_DEFAULT", "PRIORITY_HIGH", "PRIORITY_MAX"
        ),
        "default_sound": boolean,
        "default_vibrate_timings": boolean,
        "default_light_settings": boolean,
        "vibrate_timings": list_of(_DURATION),
        "visibility": one_of("VISIBILITY_UNSPECIFIED", "PRIVATE", "PUBLIC", "SECRET"),
        "notification_count": number(0, 2**31 - 1),
        "light_settings": Fields(
            {"color": _COLOR, "light_on_duration": _DURATION, "light_off_duration": _DURATION}, camel=True
        ),
        "image": _TEXT,
        "bypass_proxy_notification": boolean,
        "proxy": one_of("PROXY_UNSPECIFIED", "ALLOW", "DENY", "IF_PRIORITY_LOWERED"),
    },
    camel=True,
)
_ANDROID_COMMON: dict[str, Check | Fields] = {
    "collapse_key": _TEXT,
    "ttl": _ttl,
    "restricted_package_name": _TEXT,
    "data": _DATA,
    "fcm_options": _OPTIONS,
    "direct_boot_ok": boolean,
    "bandwidth_constrained_ok": boolean,
    "restricted_satellite_ok": boolean,
}
ANDROID = Fields(
    {**_ANDROID_COMMON, "priority": one_of("NORMAL", "HIGH", any_case=True), "notification": ANDROID_NOTIFICATION},
    camel=True,
)
ANDROID_V2 = Fields(
    {
        **_ANDROID_COMMON,
        "remote_notification": Fields(
            {
                "notification": ANDROID_NOTIFICATION,
                "mutable_content": boolean,
                "use_as_v1_data_message": boolean,
            },
            camel=True,
        ),
        "background_sync": Fields({}),
    },
    "Its priority follows from remote_notification or background_sync.",
    camel=True,
)
WEBPUSH = Fields(
    {
        "headers": _HEADERS,
        "data": _DATA,
        "notification": map_of(anything),  # the fields of the W3C's Notification, and others that browsers take
        "fcm_options": Fields({"link": _https, "analytics_label": _LABEL}, camel=True),
    },
    camel=True,
)
APNS = Fields(
    {
        "headers": _HEADERS,
        "payload": _apns_payload,
        "fcm_options": Fields({"analytics_label": _LABEL, "image": _TEXT}, camel=True),
        "live_activity_token": _TEXT,
    },
    camel=True,
)
MESSAGE = Fields(
    {
        "data": _DATA,
        "notification": Fields({"title": _TEXT, "body": _TEXT, "image": _TEXT}),
        "android": ANDROID,
        "android_v2": ANDROID_V2,
        "webpush": WEBPUSH,
        "apns": APNS,
        "fcm_options": _OPTIONS,
    },
    "The fields are those of a Message of FCM's HTTP v1 API.",
    camel=True,
)
_LOC_ARGS = (("title_loc_args", "title_loc_key"), ("body_loc_args", "body_loc_key"))


def check(overrides: dict[str, Any]) -> None:
    """Raises BadEvent where an 'fcm' override is no (partial) Message, or names a target of its own."""
    for name in _TARGETS:
        if name in overrides:
            raise BadEvent(
                f"an override may not set '{name}'",
                "Leave it out: the push goes to the user's registered devices.",
                f"fcm.{name}",
            )
    MESSAGE(overrides, "fcm")
    found = MESSAGE.canonical(overrides)
    android = found.get("android") or {}
    notification = android.get("notification") or {}
    for args, key in _LOC_ARGS:
        if notification.get(args) is not None and notification.get(key) is None:
            raise BadEvent(f"{args} needs {key} beside it", f"Give {key} too.", f"fcm.android.notification.{args}")
    lights = notification.get("light_settings")
    if lights is not None and len(lights) < 3:
        raise BadEvent(
            "light settings need color, light_on_duration and light_off_duration",
            "Give all three.",
            "fcm.android.notification.light_settings",
        )
    if found.get("android_v2") is not None:
        union = [part for part in ("remote_notification", "background_sync") if part in found["android_v2"]]
        if len(union) != 1:
            raise BadEvent(
                "android_v2 holds exactly one of remote_notification and background_sync",
                "Give one of the two.",
                "fcm.android_v2",
            )
        if found.get("android") is not None:
            raise BadEvent("android and android_v2 do not go together", "Give one of them.", "fcm.android_v2")
