from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from values import NOW

from pushsvc.domain.event import (
    MAX_EVENT_BYTES,
    MAX_EXPIRY_S,
    BadEvent,
    Event,
    Kind,
    Message,
    Priority,
    decode,
    encode,
    parse,
    schema,
)

WHOLE = {
    "app": 1,
    "id": "event-1",
    "user": ["bob", 7, "bob"],
    "kind": "call",
    "message": {
        "id": "m-1",
        "from": "alice",
        "name": "Alice",
        "gid": 4,
        "type": -2,
        "title": "t",
        "body": "b",
        "badge": 0,
        "thread": "th",
        "data": {"k": [1, {"x": None}]},
    },
    "expiry": 60,
    "sent_at": NOW - 1,
    "priority": "normal",
    "apns": {"priority": 5},
    "fcm": {"data": {"k": "v"}},
}
SMALL: dict[str, Any] = {"app": 1, "user": "bob"}


def parsed(given_event: Any, app: int | None = None) -> Event:
    return parse(json.dumps(given_event).encode(), now=NOW, app=app, make_id="made-1")


def test_a_whole_event_keeps_everything() -> None:
    event = parsed(WHOLE)
    assert event == Event(
        app=1,
        id="event-1",
        user=["bob", 7, "bob"],
        kind=Kind.CALL,
        message=Message("m-1", "alice", "Alice", 4, -2, "t", "b", 0, "th", {"k": [1, {"x": None}]}),
        expiry=60,
        sent_at=NOW - 1,
        priority=Priority.NORMAL,
        apns={"priority": 5},
        fcm={"data": {"k": "v"}},
    )
    assert event.users == ["bob", 7]
    assert event.deadline == NOW + 59
    assert event.is_call


def test_what_a_door_may_fill_in_is_filled_in() -> None:
    event = parsed({"user": "bob"}, app=9)
    assert (event.app, event.id, event.sent_at, event.kind, event.expiry) == (
        9,
        "made-1",
        NOW,
        Kind.MESSAGE,
        MAX_EXPIRY_S,
    )
    assert event.users == ["bob"]


def test_an_event_is_read_back_as_it_was_written() -> None:
    for whole in (WHOLE, SMALL):
        event = parsed(whole)
        assert decode(encode(event)) == event
        assert parse(encode(event), now=NOW + 500, app=None, make_id="other") == event, (
            "a door that reads it again changes nothing"
        )


BAD = [
    ({"app": 1}, "user", "missing"),
    ({**SMALL, "colour": 1}, "colour", "no such"),
    ({**SMALL, "app": 0}, "app", ""),
    ({**SMALL, "app": "1"}, "app", ""),
    ({**SMALL, "id": ""}, "id", ""),
    ({**SMALL, "id": "x" * 65}, "id", ""),
    ({**SMALL, "id": "a b"}, "id", ""),
    ({**SMALL, "id": "a\n"}, "id", ""),
    ({**SMALL, "user": []}, "user", ""),
    ({**SMALL, "user": [""]}, "user[0]", ""),
    ({**SMALL, "user": "bob\n"}, "user", ""),
    ({**SMALL, "user": "a,b"}, "user", ""),
    ({**SMALL, "user": "x" * 64}, "user", ""),
    ({**SMALL, "user": 0}, "user", ""),
    ({**SMALL, "user": ["u"] * 1001}, "user", ""),
    ({**SMALL, "user": None}, "user", ""),
    ({**SMALL, "kind": "text"}, "kind", ""),
    ({**SMALL, "expiry": -1}, "expiry", ""),
    ({**SMALL, "expiry": MAX_EXPIRY_S + 1}, "expiry", ""),
    ({**SMALL, "expiry": 1.5}, "expiry", ""),
    ({**SMALL, "sent_at": NOW * 1000}, "sent_at", ""),
    ({**SMALL, "sent_at": NOW + 90_000}, "sent_at", "ahead"),
    ({**SMALL, "priority": "urgent"}, "priority", ""),
    ({**SMALL, "message": {"badge": -1}}, "message.badge", ""),
    ({**SMALL, "message": {"gid": "4"}}, "message.gid", ""),
    ({**SMALL, "message": {"text": "x"}}, "message.text", "no such"),
    ({**SMALL, "message": {"data": []}}, "message.data", ""),
    ({**SMALL, "message": {"name": "n" * 1025}}, "message.name", ""),
    ({**SMALL, "apns": []}, "apns", ""),
    ([SMALL], "", ""),
    (7, "", ""),
]


@pytest.mark.parametrize(("bad", "prop", "word"), BAD)
def test_a_bad_event_is_refused_with_its_property_and_a_cure(bad: Any, prop: str, word: str) -> None:
    with pytest.raises(BadEvent) as found:
        parsed(bad)
    assert found.value.prop == prop
    assert word in found.value.cause
    assert found.value.cure


def test_an_event_of_another_app_than_the_doors_is_refused() -> None:
    with pytest.raises(BadEvent, match="app 1, the app token is for app 2"):
        parsed(SMALL, app=2)
    with pytest.raises(BadEvent, match="names no app"):
        parsed({"user": "bob"})


def test_an_event_over_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(BadEvent, match="limit"):
        parsed({**SMALL, "message": {"data": {"k": "x" * MAX_EVENT_BYTES}}})


@given(st.binary(max_size=300))
def test_whatever_the_bytes_are_they_are_an_event_or_refused(raw: bytes) -> None:
    for read in (lambda: parse(raw, now=NOW, app=1, make_id="m"), lambda: decode(raw)):
        with pytest.raises(BadEvent):
            read()


def test_json_nested_too_deeply_is_refused() -> None:
    with pytest.raises(BadEvent):
        parse(b'{"user":"bob","apns":' + b"[" * 16_000, now=NOW, app=1, make_id="m")


@pytest.mark.parametrize("whole", [WHOLE, SMALL])
def test_the_published_schema_takes_what_is_taken(whole: Any) -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(whole, schema())


@pytest.mark.parametrize(("bad", "prop", "word"), [row for row in BAD if row[2] != "ahead"])
def test_the_published_schema_refuses_what_is_refused(bad: Any, prop: str, word: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(bad, schema())


def test_texts_and_names_are_not_in_the_repr() -> None:
    shown = repr(parsed(WHOLE)) + repr(parsed(WHOLE).message)
    for secret in ("alice", "Alice", "'t'", "'b'", "bob"):
        assert secret not in shown


@pytest.mark.parametrize("prop", ["kind", "priority"])
def test_a_refusal_does_not_quote_what_was_given(prop: str) -> None:
    with pytest.raises(BadEvent) as refused:
        parse(json.dumps({"app": 1, "user": "ada", prop: "Are you 'coming'?"}).encode(), now=1.0, app=None, make_id="x")
    assert refused.value.prop == prop
    assert "coming" not in f"{refused.value} {refused.value.cure}"
