from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from values import ANDROID, FCM_IPHONE, FCM_TOKEN, NOW, WEB, event, push

from pushsvc.domain.device import Device
from pushsvc.domain.event import Kind, Priority
from pushsvc.domain.push import Push, PushType
from pushsvc.providers import Fcm
from pushsvc.providers.provider import PayloadRefused

FCM = Fcm("fcm.test:443", "oauth.test:443")
FULL = {
    "id": 5,
    "from": "alice",
    "name": "Alice",
    "gid": 42,
    "type": 3,
    "title": "Hello",
    "body": "How are you?",
    "badge": 7,
    "data": {"k": [1, 2]},
}
DATA = {
    "event": "message",
    "event_id": "event-1",
    "id": "5",
    "gid": "42",
    "sender": "alice",
    "name": "Alice",
    "type": "3",
    "data": '{"k":[1,2]}',
}
BACKGROUND, ALERT, VOIP = PushType.BACKGROUND, PushType.ALERT, PushType.VOIP


def sent(of: Push) -> Any:
    body = json.loads(FCM.build(of, "token").body)
    assert set(body) == {"message"}
    message = body["message"]
    assert message.pop("token") == FCM_TOKEN
    for key, value in message.get("data", {}).items():
        assert isinstance(value, str)
        assert key not in ("from", "message_type")
        assert not key.startswith(("google", "gcm"))
    return message


def test_the_request() -> None:
    request = FCM.build(push(to=ANDROID), "token")
    assert (request.authority, request.path) == ("fcm.test:443", "/v1/projects/chat-1/messages:send")
    assert dict(request.headers) == {"content-type": "application/json", "authorization": "Bearer token"}


def test_a_dry_run_asks_fcm_to_validate_only() -> None:
    of = push(to=ANDROID)
    dry = json.loads(FCM.build(replace(of, dry_run=True), "token").body)
    assert dry == {"validate_only": True, **json.loads(FCM.build(of, "token").body)}


def test_a_background_push_is_a_data_message_of_high_priority() -> None:
    assert sent(push(BACKGROUND, event(message=FULL, expiry=3600), ANDROID)) == {
        "data": DATA,
        "android": {"priority": "HIGH", "ttl": "3600s"},
    }


def test_an_alert_is_a_notification() -> None:
    of = push(ALERT, event(message=FULL, expiry=3600), ANDROID, background=False, sound="ping")
    assert sent(of) == {
        "data": DATA,
        "notification": {"title": "Hello", "body": "How are you?"},
        "android": {
            "priority": "HIGH",
            "ttl": "3600s",
            "notification": {"tag": of.id, "sound": "ping", "notification_count": 7},
        },
    }


def test_a_call_is_a_data_message_of_high_priority_that_lives_shortly() -> None:
    call = {"id": "c-1", "from": "alice"}
    assert sent(push(VOIP, event(kind=Kind.CALL, message=call), ANDROID, collapse=True)) == {
        "data": {"event": "call", "event_id": "event-1", "id": "c-1", "sent_at": str(NOW), "sender": "alice"},
        "android": {"priority": "HIGH", "ttl": "30s"},
    }
    assert sent(push(VOIP, event(kind=Kind.CALL, expiry=12), ANDROID))["android"]["ttl"] == "12s"
    assert sent(push(VOIP, event(kind=Kind.CALL_CANCELLED), ANDROID))["data"]["event"] == "call_cancelled"


@pytest.mark.parametrize(
    ("given_event", "expected"),
    [
        ({}, "HIGH"),
        ({"kind": Kind.SILENT}, "NORMAL"),
        ({"kind": Kind.SILENT, "priority": Priority.HIGH}, "HIGH"),
        ({"priority": Priority.NORMAL}, "NORMAL"),
        ({"kind": Kind.CALL, "priority": Priority.NORMAL}, "HIGH"),
    ],
)
def test_the_priority(given_event: dict[str, Any], expected: str) -> None:
    assert sent(push(BACKGROUND, event(**given_event), ANDROID))["android"]["priority"] == expected


def test_the_ttl_is_four_weeks_at_most() -> None:
    assert sent(push(BACKGROUND, event(), ANDROID))["android"]["ttl"] == "2419200s"


def test_collapsed_wake_ups_share_one_key_and_collapsed_alerts_a_tag_for_each_conversation() -> None:
    for gid in (1, 2):
        of = event(message={"gid": gid})
        assert sent(push(BACKGROUND, of, ANDROID, collapse=True))["android"]["collapse_key"] == "wake-up"
        android = sent(push(ALERT, of, ANDROID, collapse=True))["android"]
        assert android["notification"]["tag"] == f"g{gid}"
        assert "collapse_key" not in android
    assert "collapse_key" not in sent(push(BACKGROUND, event(), ANDROID))["android"]


def test_localisation_keys_are_androids_and_stand_in_for_the_text() -> None:
    keys = {"title_loc_key": "FROM", "title_loc_args": ["{name}"], "body_loc_key": "NEW", "body_loc_args": ["{body}"]}
    message = sent(push(ALERT, event(message=FULL), ANDROID, **keys))
    assert "notification" not in message
    assert message["android"]["notification"] | {"tag": ""} == {
        "tag": "",
        "title_loc_key": "FROM",
        "title_loc_args": ["Alice"],
        "body_loc_key": "NEW",
        "body_loc_args": ["How are you?"],
        "notification_count": 7,
    }


def test_an_iphone_gets_apns_headers_and_payload_through_fcm() -> None:
    of = push(BACKGROUND, event(message={"id": 5, "gid": 42}, expiry=3600), FCM_IPHONE, collapse=True)
    assert sent(of) == {
        "apns": {
            "headers": {
                "apns-push-type": "background",
                "apns-priority": "5",
                "apns-expiration": str(int(NOW) + 3600),
                "apns-collapse-id": "g42",
            },
            "payload": {"aps": {"content-available": 1}, "event": "message", "event_id": "event-1", "id": 5, "gid": 42},
        }
    }


def test_an_iphone_without_a_voip_token_is_called_by_a_time_sensitive_alert_through_fcm() -> None:
    apns = sent(push(ALERT, event(kind=Kind.CALL, message={"name": "Alice"}), FCM_IPHONE))["apns"]
    assert apns["payload"]["aps"]["interruption-level"] == "time-sensitive"
    assert (apns["headers"]["apns-priority"], apns["headers"]["apns-expiration"]) == ("10", "0")


def test_a_browser_gets_web_push_headers() -> None:
    message = sent(push(ALERT, event(message={"gid": 4, "body": "b"}, expiry=60), WEB, collapse=True))
    assert message["notification"] == {"body": "b"}
    assert message["webpush"] == {"headers": {"TTL": "60", "Urgency": "high"}, "notification": {"tag": "g4"}}
    assert sent(push(ALERT, event(message={"body": "b"}), WEB, body_loc_key="NEW"))["notification"] == {"body": "b"}
    silent = sent(push(BACKGROUND, event(kind=Kind.SILENT, expiry=60), WEB))
    assert silent["webpush"] == {"headers": {"TTL": "60", "Urgency": "normal"}}


@pytest.mark.parametrize("to", [ANDROID, WEB, FCM_IPHONE], ids=["android", "web", "ios"])
@pytest.mark.parametrize("kind", [BACKGROUND, ALERT])
def test_privacy_mode_sends_ids_only(to: Device, kind: PushType) -> None:
    secret = {"from": "alice-phone", "name": "Alice-name", "title": "Title-text", "body": "Body-text", "type": 7777}
    of = event(
        message={"id": 5, "data": {"k": "Data-text"}, "thread": "Thread-text", **secret},
        fcm={"data": {"x": "Over-text"}},
    )
    text = json.dumps(sent(push(kind, of, to, privacy=True, background=False, collapse=True, body_template="{body}")))
    for word in (
        "alice-phone",
        "Alice-name",
        "Title-text",
        "Body-text",
        "Data-text",
        "Thread-text",
        "Over-text",
        "7777",
    ):
        assert word not in text
    assert "event-1" in text


def counted(message: Any) -> int:
    """Google's own count: the keys and values of data and notification."""
    android = message.get("android", {})
    parts = [message.get("data", {}), message.get("notification", {}), android.get("notification", {})]
    return sum(len(str(key).encode()) + len(str(value).encode()) for part in parts for key, value in part.items())


def test_a_long_text_is_shortened_to_the_limit() -> None:
    message = sent(push(ALERT, event(message={**FULL, "body": "x" * 9000}), ANDROID))
    assert 3900 < counted(message) <= 4096
    assert message["notification"]["body"].endswith("x…")
    assert message["notification"]["title"] == "Hello"
    assert message["data"] == DATA


def test_what_is_optional_is_left_out_before_anything_is_refused() -> None:
    message = sent(push(BACKGROUND, event(message={**FULL, "data": {"k": "d" * 5000}}), ANDROID))
    assert message["data"] == {key: value for key, value in DATA.items() if key != "data"}
    with pytest.raises(PayloadRefused) as refused:
        FCM.build(push(BACKGROUND, event(fcm={"data": {"k": "d" * 4096}}), ANDROID), None)
    assert refused.value.row.outcome.code == 913


def test_an_iphones_payload_is_kept_within_apples_limit() -> None:
    message = sent(push(ALERT, event(message={"body": "ü" * 9000}), FCM_IPHONE, background=False))
    assert len(json.dumps(message["apns"]["payload"], ensure_ascii=False, separators=(",", ":")).encode()) <= 4096


@settings(max_examples=60, deadline=None)
@given(
    st.text(max_size=6000), st.text(max_size=6000), st.text(max_size=900), st.sampled_from([ANDROID, WEB, FCM_IPHONE])
)
def test_whatever_the_texts_are_the_message_is_within_the_limit(title: str, body: str, name: str, to: Device) -> None:
    message = sent(push(ALERT, event(message={"title": title, "body": body, "name": name}), to, background=False))
    assert counted(message) <= 4096


def test_the_override_is_laid_over_the_message_in_either_spelling() -> None:
    over = {
        "fcmOptions": {"analyticsLabel": "campaign"},
        "android": {"directBootOk": True, "ttl": "5s", "notification": {"channel_id": "chat", "tag": None}},
        "data": {"own": "x", "name": None},
    }
    message = sent(push(ALERT, event(message=FULL, fcm=over), ANDROID, background=False))
    assert message["fcm_options"] == {"analytics_label": "campaign"}
    assert message["android"]["direct_boot_ok"] is True
    assert message["android"]["ttl"] == "5s"
    assert message["android"]["notification"] == {"channel_id": "chat", "notification_count": 7}
    assert message["data"]["own"] == "x"
    assert "name" not in message["data"]
    assert message["android"]["priority"] == "HIGH"


def test_an_apns_override_reaches_an_iphone_through_fcm_too() -> None:
    over = {"priority": 5, "payload": {"aps": {"category": "CHAT"}}}
    apns = sent(push(ALERT, event(apns=over), FCM_IPHONE))["apns"]
    assert apns["headers"]["apns-priority"] == "5"
    assert apns["payload"]["aps"]["category"] == "CHAT"
