from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from values import NOW

from pushsvc.dispatch.admit import admit
from pushsvc.domain.event import BadEvent
from pushsvc.domain.push import PushType
from pushsvc.providers import Apns, Fcm

PROVIDERS = {"apns": Apns("apns.test:443", "sandbox.test:443"), "fcm": Fcm("fcm.test:443", "oauth.test:443")}


def aps(**keys: Any) -> dict[str, Any]:
    return {"payload": {"aps": {key.replace("_", "-"): value for key, value in keys.items()}}}


def live(**keys: Any) -> dict[str, Any]:
    return {"push_type": "liveactivity", **aps(**keys)}


EVERY_APS_KEY = aps(
    alert={
        "title": "t",
        "subtitle": "s",
        "body": "b",
        "launch-image": "l",
        "title-loc-key": "k",
        "title-loc-args": ["a"],
        "subtitle-loc-key": "k",
        "subtitle-loc-args": ["a"],
        "loc-key": "k",
        "loc-args": ["a"],
    },
    badge=0,
    sound={"critical": 1, "name": "default", "volume": 0.5},
    thread_id="t",
    category="c",
    content_available=1,
    mutable_content=1,
    target_content_id="w",
    interruption_level="critical",
    relevance_score=0.5,
    filter_criteria="f",
    url_args=["a"],
)
GOOD_APNS = [
    {},
    {"push_type": None, "payload": None, "priority": None},
    EVERY_APS_KEY,
    {"priority": 1, "expiration": 0, "collapse_id": "x" * 64, "topic": "com.example.chat"},
    {"push_type": "voip", "topic": "com.example.chat.voip", "payload": {"anything": {"a": [1, None]}}},
    {"push_type": "background", "priority": 5, "payload": {"aps": {"alert": None}}},
    {"push_type": "mdm", "topic": "com.apple.mgmt.External.1", "payload": {"mdm": "magic"}},
    {"push_type": "widgets", **aps(content_changed=True)},
    {"push_type": "location", "topic": "com.example.chat.location-query"},
    live(event="update", timestamp=1, content_state={"a": 1}, stale_date=2, relevance_score=75),
    live(event="end", dismissal_date=1),
    live(
        event="start",
        content_state={},
        attributes_type="T",
        attributes={},
        alert={"title": "t", "body": "b"},
        input_push_token=1,
    ),
    aps(alert="boo", sound="default"),
]
BAD_APNS = [
    ({"pushtype": "alert"}, "apns.pushtype"),
    ({"push_type": "loud"}, "apns.push_type"),
    ({"priority": 7}, "apns.priority"),
    ({"priority": "5"}, "apns.priority"),
    ({"priority": True}, "apns.priority"),
    ({"expiration": -1}, "apns.expiration"),
    ({"expiration": 1.5}, "apns.expiration"),
    ({"collapse_id": "x" * 65}, "apns.collapse_id"),
    ({"collapse_id": "ü" * 33}, "apns.collapse_id"),
    ({"collapse_id": "a\r\nx: y"}, "apns.collapse_id"),
    ({"collapse_id": ""}, "apns.collapse_id"),
    ({"topic": "com.example\r\nx"}, "apns.topic"),
    ({"topic": ""}, "apns.topic"),
    ({"payload": []}, "apns.payload"),
    ({"payload": {"aps": "x"}}, "apns.payload.aps"),
    ({"payload": {"x": "y" * 5200}}, "apns.payload"),
    (aps(colour="red"), "apns.payload.aps.colour"),
    (aps(badge=-1), "apns.payload.aps.badge"),
    (aps(badge="1"), "apns.payload.aps.badge"),
    (aps(sound=7), "apns.payload.aps.sound"),
    (aps(sound={"volume": 1.5}), "apns.payload.aps.sound.volume"),
    (aps(alert=7), "apns.payload.aps.alert"),
    (aps(alert={"text": "x"}), "apns.payload.aps.alert.text"),
    (aps(alert={"loc-args": "x"}), "apns.payload.aps.alert.loc-args"),
    (aps(alert={"loc-args": [1]}), "apns.payload.aps.alert.loc-args[0]"),
    (aps(interruption_level="urgent"), "apns.payload.aps.interruption-level"),
    (aps(content_available=0), "apns.payload.aps.content-available"),
    (aps(mutable_content=True), "apns.payload.aps.mutable-content"),
    (aps(event="update"), "apns.payload.aps.event"),
    ({"push_type": "alert", **aps(content_state={})}, "apns.payload.aps.content-state"),
    ({"push_type": "background", "priority": 10}, "apns.priority"),
    ({"push_type": "background", **aps(alert="x")}, "apns.payload.aps.alert"),
    ({"push_type": "voip", "topic": "com.example.chat"}, "apns.topic"),
    ({"push_type": "location", "topic": "com.example.chat"}, "apns.topic"),
    ({"push_type": "mdm", "payload": {"mdm": "x"}}, "apns.topic"),
    ({"push_type": "mdm", "topic": "com.example.chat", "payload": {"mdm": "x"}}, "apns.topic"),
    ({"push_type": "mdm", "topic": "com.apple.mgmt.x"}, "apns.payload.mdm"),
    (live(content_state={}), "apns.payload.aps.event"),
    (live(event="update"), "apns.payload.aps.content-state"),
    (live(event="update", content_state={}, attributes={}), "apns.payload.aps.attributes"),
    (live(event="update", content_state={}, dismissal_date=1), "apns.payload.aps.dismissal-date"),
    (live(event="start", content_state={}, alert="x", attributes={}), "apns.payload.aps.attributes-type"),
    (live(event="start", content_state={}, attributes_type="T", attributes={}), "apns.payload.aps.alert"),
    ({**live(event="end"), "priority": 1}, "apns.priority"),
]

EVERY_FCM_FIELD = {
    "data": {"k": "v", "collapse_key": "x"},
    "notification": {"title": "t", "body": "b", "image": "https://example.com/i.png"},
    "android": {
        "collapse_key": "c",
        "priority": "high",
        "ttl": "3.5s",
        "restricted_package_name": "com.example.chat",
        "data": {"k": "v"},
        "notification": {
            "title": "t",
            "body": "b",
            "icon": "i",
            "color": "#a1B2c3",
            "sound": "s",
            "tag": "t",
            "click_action": "c",
            "body_loc_key": "k",
            "body_loc_args": ["a"],
            "title_loc_key": "k",
            "title_loc_args": ["a"],
            "channel_id": "c",
            "ticker": "t",
            "sticky": True,
            "event_time": "2026-01-02T03:04:05.678Z",
            "local_only": False,
            "notification_priority": "PRIORITY_HIGH",
            "default_sound": True,
            "default_vibrate_timings": True,
            "default_light_settings": False,
            "vibrate_timings": ["0.5s", "1s"],
            "visibility": "PRIVATE",
            "notification_count": 3,
            "light_settings": {
                "color": {"red": 1, "green": 0.5, "blue": 0, "alpha": 1},
                "light_on_duration": "1s",
                "light_off_duration": "2.5s",
            },
            "image": "https://example.com/i.png",
            "bypass_proxy_notification": True,
            "proxy": "DENY",
        },
        "fcm_options": {"analytics_label": "a-1"},
        "direct_boot_ok": True,
        "bandwidth_constrained_ok": True,
        "restricted_satellite_ok": False,
    },
    "webpush": {
        "headers": {"TTL": "5", "Urgency": "high"},
        "data": {"k": "v"},
        "notification": {"requireInteraction": True, "actions": [{"action": "a"}]},
        "fcm_options": {"link": "https://example.com", "analytics_label": "a"},
    },
    "apns": {
        "headers": {"apns-priority": "5"},
        "payload": {"aps": {"badge": 1}, "own": 1},
        "fcm_options": {"analytics_label": "a", "image": "https://example.com/i.png"},
        "live_activity_token": "t",
    },
    "fcm_options": {"analytics_label": "a"},
}


def camel(value: Any, above: str = "") -> Any:
    """The same message in camelCase; maps with keys of the producer's own stay as they are."""
    if (
        not isinstance(value, dict)
        or above in ("data", "headers", "payload")
        or (above == "notification" and "actions" in value)
    ):
        return value
    return {
        "".join(word.title() if at else word for at, word in enumerate(key.split("_"))): camel(item, key)
        for key, item in value.items()
    }


def android(**keys: Any) -> dict[str, Any]:
    return {"android": {"notification": keys}}


GOOD_FCM = [
    {},
    EVERY_FCM_FIELD,
    camel(EVERY_FCM_FIELD),
    {"android_v2": {"remote_notification": {"notification": {"title": "t"}, "mutable_content": True}, "ttl": "0s"}},
    {"androidV2": {"backgroundSync": {}}},
    {"notification": None, "android": {"ttl": None}},
]
BAD_FCM = [
    ({"token": "x"}, "fcm.token"),
    ({"fid": "x"}, "fcm.fid"),
    ({"topic": "news"}, "fcm.topic"),
    ({"condition": "'a' in topics"}, "fcm.condition"),
    ({"name": "projects/p/messages/1"}, "fcm.name"),
    ({"to": "x"}, "fcm.to"),
    ({"data": {"k": 1}}, "fcm.data.k"),
    ({"data": {"from": "x"}}, "fcm.data.from"),
    ({"data": {"message_type": "x"}}, "fcm.data.message_type"),
    ({"data": {"google.x": "x"}}, "fcm.data.google.x"),
    ({"data": {"gcm.notification.title": "x"}}, "fcm.data.gcm.notification.title"),
    ({"data": ["x"]}, "fcm.data"),
    ({"notification": {"text": "x"}}, "fcm.notification.text"),
    ({"android": {"priority": "urgent"}}, "fcm.android.priority"),
    ({"android": {"ttl": 5}}, "fcm.android.ttl"),
    ({"android": {"ttl": "5"}}, "fcm.android.ttl"),
    ({"android": {"ttl": "2419201s"}}, "fcm.android.ttl"),
    ({"android": {"collapseKey": "a", "collapse_key": "b"}}, "fcm.android.collapse_key"),
    (android(color="red"), "fcm.android.notification.color"),
    (android(body_loc_args=["a"]), "fcm.android.notification.body_loc_args"),
    (android(titleLocArgs=["a"]), "fcm.android.notification.title_loc_args"),
    (android(visibility="HIDDEN"), "fcm.android.notification.visibility"),
    (android(sticky=1), "fcm.android.notification.sticky"),
    (android(light_settings={"light_on_duration": "1s"}), "fcm.android.notification.light_settings"),
    (android(event_time="yesterday"), "fcm.android.notification.event_time"),
    (android(vibrate_timings=[1]), "fcm.android.notification.vibrate_timings[0]"),
    ({"webpush": {"fcm_options": {"link": "http://example.com"}}}, "fcm.webpush.fcm_options.link"),
    ({"webpush": {"headers": {"TTL": 5}}}, "fcm.webpush.headers.TTL"),
    ({"webpush": {"headers": {"a b": "x"}}}, "fcm.webpush.headers.a b"),
    ({"apns": {"payload": {"aps": {"colour": 1}}}}, "fcm.apns.payload.aps.colour"),
    ({"apns": {"payload": {"x": "y" * 5000}}}, "fcm.apns.payload"),
    ({"fcm_options": {"analytics_label": "a b"}}, "fcm.fcm_options.analytics_label"),
    ({"android_v2": {}}, "fcm.android_v2"),
    ({"android_v2": {"priority": "HIGH", "background_sync": {}}}, "fcm.android_v2.priority"),
    ({"android_v2": {"background_sync": {}}, "android": {}}, "fcm.android_v2"),
]


@pytest.mark.parametrize("over", GOOD_APNS)
def test_an_apns_override_that_apple_would_take_is_taken(over: dict[str, Any]) -> None:
    PROVIDERS["apns"].check_overrides(over)


@pytest.mark.parametrize(("over", "prop"), BAD_APNS)
def test_an_apns_override_that_apple_would_not_take_is_refused_by_its_property(over: dict[str, Any], prop: str) -> None:
    with pytest.raises(BadEvent) as bad:
        PROVIDERS["apns"].check_overrides(over)
    assert bad.value.prop == prop
    assert bad.value.cause
    assert bad.value.cure


@pytest.mark.parametrize("push_type", list(PushType))
def test_every_push_type_of_apples_is_known(push_type: PushType) -> None:
    needs = {
        PushType.MDM: {"topic": "com.apple.mgmt.x", "payload": {"mdm": "m"}},
        PushType.LIVEACTIVITY: aps(event="end"),
    }
    PROVIDERS["apns"].check_overrides({"push_type": push_type.value, **needs.get(push_type, {})})


@pytest.mark.parametrize("over", GOOD_FCM)
def test_an_fcm_override_that_google_would_take_is_taken(over: dict[str, Any]) -> None:
    PROVIDERS["fcm"].check_overrides(over)


@pytest.mark.parametrize(("over", "prop"), BAD_FCM)
def test_an_fcm_override_that_google_would_not_take_is_refused_by_its_property(over: dict[str, Any], prop: str) -> None:
    with pytest.raises(BadEvent) as bad:
        PROVIDERS["fcm"].check_overrides(over)
    assert bad.value.prop == prop


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
_keys = st.sampled_from(
    [
        "payload",
        "aps",
        "alert",
        "push_type",
        "priority",
        "data",
        "android",
        "notification",
        "ttl",
        "apns",
        "headers",
        "webpush",
    ]
)


@given(
    st.sampled_from(["apns", "fcm"]),
    st.dictionaries(_keys, st.dictionaries(_keys, st.dictionaries(_keys, _json)) | _json),
)
def test_whatever_an_override_is_it_is_taken_or_refused_and_nothing_else(name: str, over: dict[str, Any]) -> None:
    try:
        PROVIDERS[name].check_overrides(over)
    except BadEvent as bad:
        assert bad.prop.startswith(name)


def test_every_door_checks_the_overrides() -> None:
    good = {"app": 1, "user": "bob", "apns": {"priority": 5}, "fcm": {"android": {"ttl": "5s"}}}
    found = admit(json.dumps(good).encode(), now=NOW, app=None, make_id="made-1", providers=PROVIDERS)
    assert (found.id, found.sent_at, found.apns) == ("made-1", NOW, {"priority": 5})
    for name, over in (("apns", {"priority": 3}), ("fcm", {"token": "x"})):
        with pytest.raises(BadEvent, match=name):
            raw = json.dumps({"app": 1, "user": "bob", name: over}).encode()
            admit(raw, now=NOW, app=None, make_id="made-1", providers=PROVIDERS)
