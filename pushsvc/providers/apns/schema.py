"""The schema of an event's 'apns' override: its headers, and the aps dictionary as Apple prints it.

https://developer.apple.com/documentation/usernotifications/generating-a-remote-notification
"""

from __future__ import annotations

from typing import Any

import msgspec

from pushsvc.domain.event import BadEvent
from pushsvc.domain.push import PushType
from pushsvc.providers.checks import Check, Fields, anything, boolean, list_of, map_of, number, one_of, text

MAX_BYTES = 4096
MAX_VOIP_BYTES = 5120
SUFFIX = {
    PushType.ALERT: "",
    PushType.BACKGROUND: "",
    PushType.COMPLICATION: ".complication",
    PushType.CONTROLS: ".push-type.controls",
    PushType.FILEPROVIDER: ".pushkit.fileprovider",
    PushType.LIVEACTIVITY: ".push-type.liveactivity",
    PushType.LOCATION: ".location-query",
    PushType.MDM: "",  # a topic of its own, com.apple.mgmt.…, from the certificate
    PushType.PUSHTOTALK: ".voip-ptt",
    PushType.VOIP: ".voip",
    PushType.WIDGETS: ".push-type.widgets",
}
_TEXT = text()
_UNIX_S = number(0, 1e11)
ALERT = Fields(
    {
        "title": _TEXT,
        "subtitle": _TEXT,
        "body": _TEXT,
        "launch-image": _TEXT,
        "title-loc-key": _TEXT,
        "title-loc-args": list_of(_TEXT),
        "subtitle-loc-key": _TEXT,
        "subtitle-loc-args": list_of(_TEXT),
        "loc-key": _TEXT,
        "loc-args": list_of(_TEXT),
        "action": _TEXT,
        "action-loc-key": _TEXT,
        "summary-arg": _TEXT,
        "summary-arg-count": number(0, 2**31),
    }
)
SOUND = Fields({"critical": number(0, 1), "name": _TEXT, "volume": number(0, 1, whole=False)})


def _text_or(fields: Fields) -> Check:
    def check(value: Any, path: str) -> None:
        (_TEXT if isinstance(value, str) else fields)(value, path)

    return check


APS = Fields(
    {
        "alert": _text_or(ALERT),
        "badge": number(0, 2**31 - 1),
        "sound": _text_or(SOUND),
        "thread-id": _TEXT,
        "category": _TEXT,
        "content-available": one_of(1),
        "mutable-content": one_of(1),
        "target-content-id": _TEXT,
        "interruption-level": one_of("passive", "active", "time-sensitive", "critical"),
        "relevance-score": number(-1e308, 1e308, whole=False),
        "filter-criteria": _TEXT,
        "content-changed": boolean,
        "stale-date": _UNIX_S,
        "content-state": map_of(anything),
        "timestamp": _UNIX_S,
        "event": one_of("start", "update", "end"),
        "dismissal-date": number(-1e11, 1e11),
        "attributes-type": _TEXT,
        "attributes": map_of(anything),
        "input-push-token": one_of(1),
        "input-push-channel": _TEXT,
        "url-args": list_of(_TEXT),
    },
    unknown_cure="Put keys of your own beside 'aps', not inside: Apple ignores them there.",
)
_LIVE_ONLY = (
    "stale-date",
    "content-state",
    "timestamp",
    "event",
    "dismissal-date",
    "attributes-type",
    "attributes",
    "input-push-token",
    "input-push-channel",
)
_START_ONLY = ("attributes-type", "attributes", "input-push-token", "input-push-channel")
_VISIBLE = ("alert", "badge", "sound")


def _payload(value: Any, path: str) -> None:
    if not isinstance(value, dict):
        raise BadEvent("the payload is not an object", "Give a JSON object with 'aps' in it.", path)
    if isinstance(value.get("aps"), dict):
        APS(value["aps"], f"{path}.aps")
    elif value.get("aps") is not None:
        raise BadEvent("'aps' is not an object", "Give a JSON object.", f"{path}.aps")
    size = len(msgspec.json.encode(value))
    if size > MAX_VOIP_BYTES:
        raise BadEvent(f"the payload has {size} bytes", f"Apple takes {MAX_BYTES}, {MAX_VOIP_BYTES} for VoIP.", path)


def _collapse_id(value: Any, path: str) -> None:
    text(64, r"[^\x00-\x1f\x7f]+", "a collapse id")(value, path)
    if len(value.encode(errors="replace")) > 64:
        raise BadEvent("the collapse id is over 64 bytes", "Give one of 64 bytes of UTF-8 at most.", path)


OVERRIDE = Fields(
    {
        "push_type": one_of(*(kind.value for kind in PushType)),
        "topic": text(255, r"[A-Za-z0-9._-]+", "a topic"),
        "priority": one_of(1, 5, 10),
        "expiration": _UNIX_S,
        "collapse_id": _collapse_id,
        "payload": _payload,
    },
    unknown_cure="The keys are push_type, topic, priority, expiration, collapse_id and payload.",
)


def check(overrides: dict[str, Any]) -> None:
    """Raises BadEvent where an 'apns' override breaks the schema, or a rule that its push type alone decides."""
    OVERRIDE(overrides, "apns")
    payload = overrides.get("payload") or {}
    aps = payload.get("aps") or {}
    given = overrides.get("push_type")
    kind = PushType(given) if given is not None else None
    if kind is not PushType.LIVEACTIVITY:
        for key in _LIVE_ONLY:
            if aps.get(key) is not None:
                raise BadEvent(
                    f"'{key}' is for Live Activities alone",
                    "Set push_type to 'liveactivity', or leave the key out.",
                    f"apns.payload.aps.{key}",
                )
    if kind is not None:
        _check_topic(kind, overrides.get("topic"))
    if kind is PushType.BACKGROUND:
        if overrides.get("priority") not in (None, 5):
            raise BadEvent("a background push has priority 5", "Leave the priority out.", "apns.priority")
        for key in _VISIBLE:
            if aps.get(key) is not None:
                raise BadEvent(
                    f"a background push has no '{key}'", "Use push_type 'alert' to show it.", f"apns.payload.aps.{key}"
                )
    elif kind is PushType.LIVEACTIVITY:
        _check_live_activity(aps, overrides.get("priority"))
    elif kind is PushType.MDM and not isinstance(payload.get("mdm"), str):
        raise BadEvent("an MDM push needs its PushMagic", "Give it as payload {'mdm': …}.", "apns.payload.mdm")


def _check_topic(kind: PushType, topic: str | None) -> None:
    if kind is PushType.MDM:
        if topic is None or not topic.startswith("com.apple.mgmt."):
            raise BadEvent(
                "an MDM push goes to the topic of the MDM certificate",
                "Give the topic com.apple.mgmt.… that stands in the certificate's UID.",
                "apns.topic",
            )
    elif topic is not None and not topic.endswith(SUFFIX[kind]):
        raise BadEvent(
            f"a topic for {kind.value} pushes ends in {SUFFIX[kind]}",
            f"Give the bundle id followed by {SUFFIX[kind]}, or leave the topic out.",
            "apns.topic",
        )


def _check_live_activity(aps: dict[str, Any], priority: int | None) -> None:
    path = "apns.payload.aps"
    if priority == 1:
        raise BadEvent("a Live Activity push to a device has priority 10 or 5", "Use 10 or 5.", "apns.priority")
    event = aps.get("event")
    if event is None:
        raise BadEvent("a Live Activity push needs an 'event'", "Give start, update or end.", f"{path}.event")
    if event != "end" and not isinstance(aps.get("content-state"), dict):
        raise BadEvent("there is no content state", "Give the activity's content state.", f"{path}.content-state")
    if event == "start":
        for key, kind in (("attributes-type", str), ("attributes", dict)):
            if not isinstance(aps.get(key), kind):
                raise BadEvent(f"a start needs '{key}'", "Give the activity's attributes.", f"{path}.{key}")
        if aps.get("alert") is None:
            raise BadEvent("a start needs an alert", "Give a title and a body in 'alert'.", f"{path}.alert")
    else:
        for key in _START_ONLY:
            if aps.get(key) is not None:
                raise BadEvent(f"'{key}' is for start alone", "Leave it out, or use event start.", f"{path}.{key}")
    if event != "end" and aps.get("dismissal-date") is not None:
        raise BadEvent("'dismissal-date' is for end alone", "Leave it out.", f"{path}.dismissal-date")
