"""The FCM v1 request as a table, and the JSON checks that Google's front end makes before FCM itself sees a message.

https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages
"""

import math
import re
from typing import Any

# A type is a scalar, map (string to string), struct (any object), [type], enum:Name or message:Name.
MESSAGES: dict[str, dict[str, str]] = {
    "Request": {"validate_only": "bool", "message": "message:Message"},
    "Message": {
        "name": "string",
        "data": "map",
        "notification": "message:Notification",
        "android": "message:AndroidConfig",
        "android_v2": "message:AndroidConfigV2",
        "webpush": "message:WebpushConfig",
        "apns": "message:ApnsConfig",
        "fcm_options": "message:FcmOptions",
        "token": "string",
        "fid": "string",
        "topic": "string",
        "condition": "string",
    },
    "Notification": {"title": "string", "body": "string", "image": "string"},
    "FcmOptions": {"analytics_label": "string"},
    "AndroidConfig": {
        "collapse_key": "string",
        "priority": "enum:AndroidMessagePriority",
        "ttl": "duration",
        "restricted_package_name": "string",
        "data": "map",
        "notification": "message:AndroidNotification",
        "fcm_options": "message:FcmOptions",
        "direct_boot_ok": "bool",
        "bandwidth_constrained_ok": "bool",
        "restricted_satellite_ok": "bool",
    },
    "AndroidNotification": {
        "title": "string",
        "body": "string",
        "icon": "string",
        "color": "string",
        "sound": "string",
        "tag": "string",
        "click_action": "string",
        "body_loc_key": "string",
        "body_loc_args": "[string]",
        "title_loc_key": "string",
        "title_loc_args": "[string]",
        "channel_id": "string",
        "ticker": "string",
        "sticky": "bool",
        "event_time": "timestamp",
        "local_only": "bool",
        "notification_priority": "enum:NotificationPriority",
        "default_sound": "bool",
        "default_vibrate_timings": "bool",
        "default_light_settings": "bool",
        "vibrate_timings": "[duration]",
        "visibility": "enum:Visibility",
        "notification_count": "int32",
        "light_settings": "message:LightSettings",
        "image": "string",
        "bypass_proxy_notification": "bool",
        "proxy": "enum:Proxy",
    },
    "LightSettings": {
        "color": "message:Color",
        "light_on_duration": "duration",
        "light_off_duration": "duration",
    },
    "Color": {"red": "double", "green": "double", "blue": "double", "alpha": "double"},
    "AndroidConfigV2": {
        "collapse_key": "string",
        "ttl": "duration",
        "restricted_package_name": "string",
        "data": "map",
        "fcm_options": "message:FcmOptions",
        "direct_boot_ok": "bool",
        "bandwidth_constrained_ok": "bool",
        "restricted_satellite_ok": "bool",
        "remote_notification": "message:RemoteNotification",
        "background_sync": "message:BackgroundSync",
    },
    "RemoteNotification": {
        "notification": "message:AndroidNotification",
        "mutable_content": "bool",
        "use_as_v1_data_message": "bool",
    },
    "BackgroundSync": {},
    "WebpushConfig": {
        "headers": "map",
        "data": "map",
        "notification": "struct",
        "fcm_options": "message:WebpushFcmOptions",
    },
    "WebpushFcmOptions": {"link": "string", "analytics_label": "string"},
    "ApnsConfig": {
        "headers": "map",
        "payload": "struct",
        "fcm_options": "message:ApnsFcmOptions",
        "live_activity_token": "string",
    },
    "ApnsFcmOptions": {"analytics_label": "string", "image": "string"},
}

ENUMS: dict[str, tuple[str, ...]] = {
    "AndroidMessagePriority": ("NORMAL", "HIGH"),
    "NotificationPriority": (
        "PRIORITY_UNSPECIFIED",
        "PRIORITY_MIN",
        "PRIORITY_LOW",
        "PRIORITY_DEFAULT",
        "PRIORITY_HIGH",
        "PRIORITY_MAX",
    ),
    "Visibility": ("VISIBILITY_UNSPECIFIED", "PRIVATE", "PUBLIC", "SECRET"),
    "Proxy": ("PROXY_UNSPECIFIED", "ALLOW", "DENY", "IF_PRIORITY_LOWERED"),
}

_DURATION = re.compile(r"-?\d{1,12}(\.\d{1,9})?s")
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_TYPE_URL = "type.googleapis.com/google.protobuf."


class SchemaError(Exception):
    """What the front end refuses: (field path, description) for each violation."""

    def __init__(self, violations: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(description for _, description in violations))
        self.violations = violations


def read(body: Any) -> dict[str, Any]:
    """The request with snake_case names and nulls left out; raises SchemaError with every violation."""
    violations: list[tuple[str, str]] = []
    request = _message("Request", body, "", violations)
    if violations:
        raise SchemaError(violations)
    return request


def _snake(name: str) -> str:
    return re.sub(r"([A-Z])", lambda found: "_" + found.group(1).lower(), name)


def _message(kind: str, value: Any, path: str, violations: list[tuple[str, str]]) -> dict[str, Any]:
    fields, read_fields = MESSAGES[kind], dict[str, Any]()
    if not isinstance(value, dict):
        _wrong(violations, path, f"{_TYPE_URL}{kind}", value)
        return {}
    for given, inner in value.items():
        name = given if given in fields else _snake(given)
        if name not in fields:
            where = f" at '{path}'" if path else ""
            text = f'Invalid JSON payload received. Unknown name "{given}"{where}: Cannot find field.'
            violations.append((path, text))
        elif inner is not None:
            at = f"{path}.{name}" if path else name
            read_fields[name] = _value(fields[name], inner, at, violations)
    return read_fields


def _value(kind: str, value: Any, path: str, violations: list[tuple[str, str]]) -> Any:
    family, _, name = kind.partition(":")
    if family == "message":
        return _message(name, value, path, violations)
    if family == "enum":
        return _enum(name, value, path, violations)
    if kind.startswith("["):
        items = value if isinstance(value, list) else [value]
        return [_value(kind[1:-1], item, f"{path}[{i}]", violations) for i, item in enumerate(items)]
    if kind == "map":
        return _map(value, path, violations)
    expected, fits = _SCALARS[kind]
    if not fits(value):
        _wrong(violations, path, expected, value)
    return value


def _enum(name: str, value: Any, path: str, violations: list[tuple[str, str]]) -> Any:
    members = ENUMS[name]
    if isinstance(value, str) and value.upper() in members:
        return value.upper()
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(members):
        return members[value]
    _wrong(violations, path, f"type.googleapis.com/google.firebase.fcm.v1.{name}", value)
    return value


def _map(value: Any, path: str, violations: list[tuple[str, str]]) -> dict[str, Any]:
    if not isinstance(value, dict):
        _wrong(violations, path, "Map", value)
        return {}
    for position, inner in enumerate(value.values()):
        if not isinstance(inner, str):
            _wrong(violations, f"{path}[{position}].value", "TYPE_STRING", inner)
    return value


def _wrong(violations: list[tuple[str, str]], path: str, expected: str, value: Any) -> None:
    shown = f'"{value}"' if isinstance(value, str) else value
    violations.append((path, f"Invalid value at '{path}' ({expected}), {shown}"))


def _is_int32(value: Any) -> bool:
    if isinstance(value, str):
        return bool(re.fullmatch(r"-?\d{1,10}", value))
    return isinstance(value, int) and not isinstance(value, bool) and -(2**31) <= value < 2**31


def _is_double(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_SCALARS: dict[str, tuple[str, Any]] = {
    "string": ("TYPE_STRING", lambda value: isinstance(value, str)),
    "bool": ("TYPE_BOOL", lambda value: isinstance(value, bool)),
    "int32": ("TYPE_INT32", _is_int32),
    "double": ("TYPE_DOUBLE", _is_double),
    "duration": (_TYPE_URL + "Duration", lambda value: isinstance(value, str) and bool(_DURATION.fullmatch(value))),
    "timestamp": (_TYPE_URL + "Timestamp", lambda value: isinstance(value, str) and bool(_TIMESTAMP.fullmatch(value))),
    "struct": (_TYPE_URL + "Struct", lambda value: isinstance(value, dict)),
}
