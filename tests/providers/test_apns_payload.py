from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from values import APNS_TOKEN, BUNDLE_ID, IPHONE, NOW, SANDBOX, VOIP_TOKEN, device, event, push

from pushsvc.domain.event import Event, Kind, Priority
from pushsvc.domain.push import Push, PushType
from pushsvc.providers import Apns
from pushsvc.providers.provider import PayloadRefused

APNS = Apns("apns.test:443", "sandbox.test:443")
FULL = {
    "id": "m-5",
    "from": "alice",
    "name": "Alice",
    "gid": 42,
    "type": 3,
    "title": "Hello",
    "body": "How are you?",
    "badge": 7,
    "data": {"k": [1, 2]},
}
TOLD = {
    "event": "message",
    "event_id": "event-1",
    "id": "m-5",
    "gid": 42,
    "sender": "alice",
    "name": "Alice",
    "type": 3,
    "data": {"k": [1, 2]},
}


def sent(of: Push) -> tuple[dict[str, str], Any]:
    request = APNS.build(of, "jwt")
    names = [name for name, _ in request.headers]
    assert len(set(names)) == len(names), "APNs answers DuplicateHeaders"
    assert all(name == name.lower() for name in names)
    return dict(request.headers), json.loads(request.body)


def alert(of: Event, **app_settings: Any) -> Any:
    return sent(push(PushType.ALERT, of, background=False, **app_settings))[1]["aps"]


def test_a_background_push() -> None:
    headers, body = sent(push(PushType.BACKGROUND, event(message=FULL, expiry=3600)))
    assert body == {"aps": {"content-available": 1}, **TOLD}
    assert headers == {
        "apns-topic": BUNDLE_ID,
        "apns-id": push().id,
        "apns-push-type": "background",
        "apns-priority": "5",
        "apns-expiration": str(int(NOW) + 3600),
        "content-type": "application/json",
        "authorization": "bearer jwt",
    }


def test_a_request_goes_to_the_server_of_the_environment_and_the_path_of_the_token() -> None:
    request = APNS.build(push(), None)
    assert (request.authority, request.path) == ("apns.test:443", f"/3/device/{APNS_TOKEN}")
    assert "authorization" not in dict(request.headers), "a certificate needs none"
    assert APNS.build(push(environment=SANDBOX), None).authority == "sandbox.test:443"


def test_an_alert() -> None:
    of = push(PushType.ALERT, event(message=FULL), background=False, sound="ping.caf")
    headers, body = sent(of)
    assert body == {
        "aps": {
            "alert": {"title": "Hello", "body": "How are you?"},
            "sound": "ping.caf",
            "badge": 7,
            "thread-id": "g42",
        },
        **TOLD,
    }
    assert (headers["apns-push-type"], headers["apns-priority"]) == ("alert", "10")
    assert "apns-collapse-id" not in headers


def test_a_call_rings_by_voip() -> None:
    of = event(kind=Kind.CALL, message={"id": "c-1", "from": "alice", "name": "Alice", "type": 1})
    headers, body = sent(push(PushType.VOIP, of))
    assert APNS.build(push(PushType.VOIP, of), None).path == f"/3/device/{VOIP_TOKEN}"
    assert headers["apns-topic"] == f"{BUNDLE_ID}.voip"
    assert (headers["apns-push-type"], headers["apns-priority"], headers["apns-expiration"]) == ("voip", "10", "0")
    assert "apns-collapse-id" not in headers
    assert body == {
        "aps": {},
        "event": "call",
        "event_id": "event-1",
        "id": "c-1",
        "sent_at": NOW,
        "sender": "alice",
        "name": "Alice",
        "type": 1,
    }


def test_a_call_without_a_voip_token_is_a_time_sensitive_alert_that_its_cancellation_replaces() -> None:
    caller = {"id": "c-1", "from": "alice", "name": "Alice"}
    to = device(push=APNS_TOKEN)
    headers, body = sent(push(PushType.ALERT, event(kind=Kind.CALL, message=caller), to))
    assert body["aps"] == {
        "alert": {"title": "Alice", "body": "Incoming call"},
        "interruption-level": "time-sensitive",
        "sound": "default",
        "thread-id": "ualice",
    }
    assert (headers["apns-priority"], headers["apns-expiration"]) == ("10", "0")
    of = event(id="event-2", kind=Kind.CALL_CANCELLED, message=caller)
    cancelled_headers, cancelled = sent(push(PushType.ALERT, of, to))
    assert cancelled["aps"]["alert"] == {"title": "Alice", "body": "Missed call"}
    assert "sound" not in cancelled["aps"]
    assert cancelled_headers["apns-collapse-id"] == headers["apns-collapse-id"] == "cc-1"


@pytest.mark.parametrize(
    ("kind", "priority", "expected"),
    [
        (PushType.ALERT, None, "10"),
        (PushType.ALERT, Priority.HIGH, "10"),
        (PushType.ALERT, Priority.NORMAL, "5"),
        (PushType.BACKGROUND, Priority.HIGH, "5"),
        (PushType.WIDGETS, None, "10"),
    ],
)
def test_the_priority_follows_from_type_and_event(kind: PushType, priority: Priority | None, expected: str) -> None:
    assert sent(push(kind, event(priority=priority)))[0]["apns-priority"] == expected


@pytest.mark.parametrize(("expiry", "stored_s"), [(60, 60), (2_592_000, 2_592_000), (31_536_000, 2_592_000)])
def test_the_expiration_is_the_events_and_thirty_days_at_most(expiry: int, stored_s: int) -> None:
    assert sent(push(of=event(expiry=expiry)))[0]["apns-expiration"] == str(int(NOW) + stored_s)


@pytest.mark.parametrize(
    ("message", "collapse_id"),
    [
        ({"gid": 42, "from": "alice"}, "g42"),
        ({"from": "alice"}, "ualice"),
        ({"from": 12345, "gid": 0}, "u12345"),
        ({}, "m"),
    ],
)
def test_collapsing_is_by_conversation(message: dict[str, Any], collapse_id: str) -> None:
    for kind in (PushType.ALERT, PushType.BACKGROUND):
        assert sent(push(kind, event(message=message), collapse=True))[0]["apns-collapse-id"] == collapse_id
        assert "apns-collapse-id" not in sent(push(kind, event(message=message)))[0]


def test_a_collapse_id_over_64_bytes_is_hashed_and_stays_apart_from_others() -> None:
    first, second = (
        sent(push(of=event(message={"from": sender}), collapse=True))[0]["apns-collapse-id"]
        for sender in ("ü" * 40, "ü" * 41)
    )
    assert len(first) == len(second) == 32
    assert first != second


@pytest.mark.parametrize(
    ("app_settings", "expected"),
    [
        ({}, {"title": "Hello", "body": "How are you?"}),
        ({"title_template": "{name} in {gid}"}, {"title": "Alice in 42", "body": "How are you?"}),
        (
            {"title_template": "{from}", "body_template": "{title}: {body}"},
            {"title": "alice", "body": "Hello: How are you?"},
        ),
        ({"body_template": "{unknown} {{body} {"}, {"title": "Hello", "body": "{unknown} {How are you? {"}),
        (
            {
                "title_loc_key": "FROM",
                "title_loc_args": ["{name}"],
                "body_loc_key": "NEW",
                "body_loc_args": ["{body}", "x"],
            },
            {"title-loc-key": "FROM", "title-loc-args": ["Alice"], "loc-key": "NEW", "loc-args": ["How are you?", "x"]},
        ),
        ({"body_loc_key": "NEW"}, {"title": "Hello", "loc-key": "NEW"}),
    ],
)
def test_an_alert_says_what_the_apps_templates_make_of_it(
    app_settings: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert alert(event(message=FULL), **app_settings)["alert"] == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({}, {"body": "New message"}),
        ({"from": "alice"}, {"title": "alice", "body": "New message"}),
        ({"from": 17, "body": "x"}, {"body": "x"}),
        ({"name": "Alice", "body": "{name}"}, {"title": "Alice", "body": "{name}"}),
    ],
)
def test_an_alert_without_templates_has_sensible_words(message: dict[str, Any], expected: dict[str, str]) -> None:
    assert alert(event(message=message))["alert"] == expected


def test_a_badge_of_nought_is_sent_and_none_is_not() -> None:
    assert alert(event(message={"badge": 0}))["badge"] == 0
    assert "badge" not in alert(event())


def test_sound_is_for_apps_with_background_push_off() -> None:
    assert "sound" not in sent(push(PushType.ALERT, sound="ping.caf", background=True))[1]["aps"]


def test_a_thread_of_the_events_own_groups_its_alerts() -> None:
    assert alert(event(message={"thread": "t-9", "gid": 4}))["thread-id"] == "t-9"
    assert "thread-id" not in alert(event())


SECRETS = {
    "from": "alice-phone",
    "name": "Alice-name",
    "title": "Title-text",
    "body": "Body-text",
    "data": {"k": "Data-text"},
    "thread": "Thread-text",
    "type": 77,
}
FIVE = {"id": 5, "gid": 6, **SECRETS}


@pytest.mark.parametrize("kind", [PushType.ALERT, PushType.BACKGROUND, PushType.VOIP])
@pytest.mark.parametrize(
    "app_settings", [{}, {"title_template": "{name}", "body_template": "{body}", "collapse": True}]
)
def test_privacy_mode_sends_ids_only(kind: PushType, app_settings: dict[str, Any]) -> None:
    of = event(message=FIVE, apns={"payload": {"aps": {}, "x": "Override-text"}})
    headers, body = sent(push(kind, of, privacy=True, background=False, **app_settings))
    text = json.dumps([headers, body])
    for secret in (
        "alice-phone",
        "Alice-name",
        "Title-text",
        "Body-text",
        "Data-text",
        "Thread-text",
        "Override-text",
        "77",
    ):
        assert secret not in text.replace(push().id, "")
    assert {key: value for key, value in body.items() if key != "aps"} == {
        "event": "message",
        "event_id": "event-1",
        "id": 5,
        "gid": 6,
    }


def test_privacy_mode_shows_what_says_nothing() -> None:
    shown = {"privacy": True, "title_template": "Chat", "body_template": "{body}", "body_loc_key": "NEW"}
    assert alert(event(message=FIVE), **shown)["alert"] == {"title": "Chat", "loc-key": "NEW"}
    assert alert(event(message=FIVE), privacy=True, body_loc_key="FROM", body_loc_args=["{name}"])["alert"] == {
        "body": "New message"
    }


def test_privacy_mode_hides_who_the_conversation_is_with() -> None:
    of = event(message={"from": "alice-phone"})
    headers, body = sent(push(PushType.ALERT, of, privacy=True, background=False, collapse=True))
    assert len(headers["apns-collapse-id"]) == 32
    assert body["aps"]["thread-id"] == headers["apns-collapse-id"]


# What does not fit


def size(of: Push) -> tuple[int, Any]:
    body = APNS.build(of, None).body
    return len(body), json.loads(body)


def test_a_long_body_is_shortened_to_the_limit_and_all_else_is_kept() -> None:
    bytes_sent, body = size(push(PushType.ALERT, event(message={**FULL, "body": "x" * 9000}), background=False))
    assert 4090 <= bytes_sent <= 4096
    assert body["aps"]["alert"]["body"].endswith("x…")
    assert body["aps"]["alert"]["title"] == "Hello"
    assert body["data"] == {"k": [1, 2]}


def test_then_the_title_is_shortened() -> None:
    long = {**FULL, "title": "t" * 5000, "body": "b" * 5000}
    bytes_sent, body = size(push(PushType.ALERT, event(message=long), background=False))
    shown = body["aps"]["alert"]
    assert 4090 <= bytes_sent <= 4096
    assert shown["title"].endswith("t…")
    assert shown["body"].endswith("b…")
    assert len(shown["body"]) == 100
    assert "data" in body


def test_then_data_are_left_out_and_the_texts_get_the_room() -> None:
    big = {**FULL, "data": {"k": "d" * 4000}, "body": "b" * 1000}
    bytes_sent, body = size(push(PushType.ALERT, event(message=big), background=False))
    assert "data" not in body
    assert body["aps"]["alert"]["body"] == "b" * 1000
    assert bytes_sent < 4096


def test_then_the_thread_and_the_name() -> None:
    big = {"name": "n" * 1024, "thread": "\u0001" * 800, "body": "b", "data": {"k": "d"}}
    _, body = size(push(PushType.ALERT, event(message=big), background=False))
    assert "thread-id" not in body["aps"]
    assert body["name"] == "n" * 1024
    _, body = size(push(PushType.BACKGROUND, event(message={"name": "\u0001" * 1000})))
    assert body == {"aps": {"content-available": 1}, "event": "message", "event_id": "event-1"}


def test_a_call_has_more_room() -> None:
    call = event(kind=Kind.CALL, message={"data": {"sdp": "s" * 4800}})
    bytes_sent, body = size(push(PushType.VOIP, call))
    assert 4096 < bytes_sent <= 5120
    assert "data" in body
    assert "data" not in size(push(PushType.VOIP, event(kind=Kind.CALL, message={"data": {"sdp": "s" * 5200}})))[1]


def test_what_cannot_be_made_to_fit_is_refused_as_913() -> None:
    of = event(apns={"payload": {"x": "y" * 4200}})
    with pytest.raises(PayloadRefused) as refused:
        APNS.build(push(of=of), None)
    assert (refused.value.row.outcome.code, refused.value.row.reason) == (913, "PayloadTooLarge")


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=6000), st.text(max_size=6000), st.text(max_size=900), st.booleans())
def test_whatever_the_texts_are_the_payload_is_json_within_the_limit(
    title: str, body: str, name: str, templated: bool
) -> None:
    templates = {"title_template": "{title}{body}", "body_template": "{body} {body}"} if templated else {}
    message = {"title": title, "body": body, "name": name}
    bytes_sent, found = size(push(PushType.ALERT, event(message=message), background=False, **templates))
    assert bytes_sent <= 4096
    assert found["event"] == "message"


# Overrides


def test_the_override_sets_the_headers() -> None:
    over = {"priority": 1, "expiration": 123, "collapse_id": "mine"}
    headers, _ = sent(push(PushType.ALERT, event(apns=over), collapse=True))
    assert (headers["apns-priority"], headers["apns-expiration"], headers["apns-collapse-id"]) == ("1", "123", "mine")
    assert sent(push(PushType.ALERT, event(apns={"expiration": 0})))[0]["apns-expiration"] == "0"


def test_the_overrides_payload_is_laid_over_ours_and_null_removes() -> None:
    over = {
        "payload": {
            "aps": {"mutable-content": 1, "badge": None, "alert": {"subtitle": "s"}},
            "name": None,
            "own": {"a": 1},
        }
    }
    body = sent(push(PushType.ALERT, event(message=FULL, apns=over), background=False))[1]
    assert body["aps"]["mutable-content"] == 1
    assert "badge" not in body["aps"]
    assert body["aps"]["alert"] == {"title": "Hello", "body": "How are you?", "subtitle": "s"}
    assert "name" not in body
    assert body["own"] == {"a": 1}


def test_an_override_may_not_make_a_background_push_visible() -> None:
    of = event(apns={"payload": {"aps": {"alert": "boo"}}})
    with pytest.raises(PayloadRefused) as refused:
        APNS.build(push(of=of), None)
    assert (refused.value.row.outcome.code, refused.value.row.reason) == (913, "BadPayload")


@pytest.mark.parametrize(
    ("kind", "over", "expected"),
    [
        (
            "liveactivity",
            {"aps": {"event": "update", "content-state": {"s": 1}}},
            {"aps": {"timestamp": int(NOW), "event": "update", "content-state": {"s": 1}}},
        ),
        ("mdm", {"mdm": "magic"}, {"mdm": "magic"}),
        ("widgets", {"aps": {"content-changed": True}}, {"aps": {"content-changed": True}}),
        ("location", None, {"aps": {}}),
        ("complication", {"v": 1}, {"aps": {}, "v": 1}),
    ],
)
def test_the_other_push_types_carry_what_the_event_gives_them(kind: str, over: Any, expected: Any) -> None:
    of = event(message=FULL, apns={"push_type": kind, "payload": over})
    assert sent(push(PushType(kind), of))[1] == expected


def test_a_push_that_is_all_override_does_not_go_out_in_privacy_mode() -> None:
    of = event(apns={"push_type": "widgets", "payload": {"aps": {"content-changed": True}}})
    with pytest.raises(PayloadRefused) as refused:
        APNS.build(push(PushType.WIDGETS, of, IPHONE, privacy=True), None)
    assert refused.value.row.outcome.code == 913
