from __future__ import annotations

import json
import tracemalloc
from typing import Any

import httpx
import jsonschema
import pytest

from pushsvc.api.answers import Refused
from pushsvc.api.events import read_events
from pushsvc.bootstrap import Service
from pushsvc.dispatch.ports import StreamUnavailable
from pushsvc.domain.event import decode
from pushsvc.store.database import StoreUnavailable
from pushsvc.stream import keys
from pushsvc.stream.valkey import Valkey

REFUSAL = {"error", "code", "cause", "action", "properties"}


def waiting(valkey: Valkey) -> list[Any]:
    """The events in both lanes, calls first."""
    rows = [*valkey.call("XRANGE", keys.CALLS, "-", "+"), *valkey.call("XRANGE", keys.MESSAGES, "-", "+")]
    return [decode(fields[b"event"]) for _, fields in rows]


def post(client: httpx.Client, body: object) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post("/v1/events", content=content, headers={"Content-Type": "application/json"})


def test_one_event_is_kept_before_the_answer_comes(client: httpx.Client, app_id: int, valkey: Valkey) -> None:
    answer = post(client, {"id": "m-1", "user": "alice", "message": {"body": "Hi"}})
    assert answer.status_code == 202
    assert answer.json() == {"accepted": [{"id": "m-1", "repeated": False}]}
    (event,) = waiting(valkey)
    assert (event.app, event.id, event.user, event.message.body) == (app_id, "m-1", "alice", "Hi")


@pytest.mark.parametrize("wrap", [lambda events: events, lambda events: {"events": events}], ids=["array", "wrapped"])
def test_several_events_are_taken_in_both_forms_and_calls_go_to_their_lane(
    client: httpx.Client, valkey: Valkey, wrap: Any
) -> None:
    events = [{"id": "m-1", "user": "alice"}, {"id": "c-1", "user": 7, "kind": "call"}, {"user": ["bob", 9]}]
    answer = post(client, wrap(events))
    assert answer.status_code == 202
    ids = [one["id"] for one in answer.json()["accepted"]]
    assert ids[:2] == ["m-1", "c-1"]
    assert len(ids[2]) == 36
    assert [event.id for event in waiting(valkey)] == ["c-1", "m-1", ids[2]]


@pytest.mark.parametrize("wrap", [b"[%s]", b'{"events": [%s]}'], ids=["array", "wrapped"])
def test_millions_of_tiny_elements_are_refused_without_a_list_of_them(wrap: bytes) -> None:
    body = wrap % (b"1," * 4_000_000 + b"1")
    tracemalloc.start()
    try:
        with pytest.raises(Refused) as refused:
            read_events(body, 1, 0.0, {})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert refused.value.code == 400
    assert "more events than the limit, 1000" in refused.value.body["cause"]
    assert peak < len(body) + 2**20  # of which the look at the first character may take a copy of the body


def test_a_repeated_id_is_answered_as_such_and_not_appended_again(client: httpx.Client, valkey: Valkey) -> None:
    body = [{"id": "m-1", "user": "alice"}, {"id": "m-2", "user": "alice"}]
    post(client, body[:1])
    answer = post(client, body)
    assert answer.status_code == 202
    assert answer.json()["accepted"] == [{"id": "m-1", "repeated": True}, {"id": "m-2", "repeated": False}]
    assert len(waiting(valkey)) == 2


def test_an_id_that_is_twice_in_one_request_is_taken_once(client: httpx.Client, valkey: Valkey) -> None:
    answer = post(client, [{"id": "m-1", "user": "alice"}, {"id": "m-1", "user": "bob"}])
    assert [one["repeated"] for one in answer.json()["accepted"]] == [False, True]
    assert [event.user for event in waiting(valkey)] == ["alice"]


def test_1000_events_are_taken_and_1001_are_not(client: httpx.Client, valkey: Valkey) -> None:
    events = [{"id": f"m-{n}", "user": "alice"} for n in range(1001)]
    answer = post(client, events)
    assert answer.status_code == 400
    assert "more events than the limit, 1000" in answer.json()["cause"]
    assert waiting(valkey) == []
    assert post(client, events[:1000]).status_code == 202
    assert len(waiting(valkey)) == 1000


def test_one_bad_event_refuses_the_whole_request_and_every_bad_one_is_named(
    client: httpx.Client, valkey: Valkey
) -> None:
    answer = post(
        client,
        [
            {"id": "good", "user": "alice"},
            {"id": "bad-kind", "user": "alice", "kind": "shout"},
            {"id": "no-user"},
            {"id": "overrides", "user": "alice", "apns": {"headers": {"apns-priority": "11"}}},
            17,
        ],
    )
    assert answer.status_code == 400
    told = answer.json()
    assert set(told) == REFUSAL | {"refused"}
    assert told["error"] == "BADEVENT"
    assert [bad["index"] for bad in told["refused"]] == [1, 2, 3, 4]
    assert [bad["id"] for bad in told["refused"]] == ["bad-kind", "no-user", "overrides", None]
    assert told["refused"][0]["property"] == "kind"
    assert told["properties"][0] == "events[1].kind"
    assert all(bad["cause"] and bad["cure"] for bad in told["refused"])
    assert waiting(valkey) == []


BAD_BODIES: dict[str, bytes] = {
    "nothing": b"",
    "spaces": b"  \n ",
    "no JSON": b"hello",
    "a number": b"17",
    "null": b"null",
    "text": b'"alice"',
    "an empty array": b"[]",
    "an empty object": b"{}",
    "no events in the wrapper": b'{"events": []}',
    "the wrapper's events are no array": b'{"events": 3}',
    "an array of arrays": b"[[{}]]",
    "cut off": b'{"user": "ali',
    "two objects": b'{"user":"a"}{"user":"b"}',
    "invalid UTF-8": b'{"user": "\xff\xfe"}',
    "a NUL in the address": b'{"user": "a\\u0000b"}',
    "a raw NUL": b'{"user": "a\x00b"}',
    "a lone surrogate": b'{"user": "\\ud800"}',
    "a lone surrogate in the text": b'{"user": "alice", "message": {"body": "\\udfff"}}',
    "deep nesting": b'{"user":"a","message":{"data":' + b'{"a":' * 3000 + b"1" + b"}" * 3000 + b"}}",
    "deep arrays": b"[" * 50_000,
    "an unknown property": b'{"user": "alice", "usr": 1}',
    "a negative uid": b'{"user": -1}',
    "a uid beyond 63 bits": b'{"user": 9223372036854775808}',
    "a fraction as uid": b'{"user": 1.5}',
    "no users": b'{"user": []}',
    "too many users": json.dumps({"user": list(range(1, 1002))}).encode(),
    "an empty address": b'{"user": ""}',
    "an id with a space": b'{"user": "alice", "id": "a b"}',
    "an id too long": b'{"user": "alice", "id": "%s"}' % (b"x" * 65),
    "a negative expiry": b'{"user": "alice", "expiry": -1}',
    "milliseconds": b'{"user": "alice", "sent_at": 1764500000000}',
    "NaN": b'{"user": "alice", "sent_at": NaN}',
    "the app of another token": b'{"user": "alice", "app": 999999}',
    "an event too large": b'{"user": "alice", "message": {"data": {"x": "%s"}}}' % (b"y" * 33_000),
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_a_bad_body_is_refused_in_the_one_shape_and_nothing_is_taken(
    client: httpx.Client, valkey: Valkey, body: bytes
) -> None:
    answer = post(client, body)
    assert answer.status_code == 400, answer.text
    told = answer.json()
    assert set(told) >= REFUSAL
    assert told["code"] == 400
    assert told["cause"]
    assert told["action"]
    assert waiting(valkey) == []


def test_a_body_over_8_mib_is_refused_by_its_header_and_by_its_length(client: httpx.Client) -> None:
    large = b" " * (8 * 1024 * 1024 + 1)
    announced = post(client, large)
    chunked = client.post("/v1/events", content=iter([large[:-1], b" "]))
    for answer in (announced, chunked):
        assert answer.status_code == 413
        assert answer.json()["error"] == "TOOLARGE"


def test_a_body_of_just_8_mib_is_read(client: httpx.Client) -> None:
    answer = post(client, b" " * (8 * 1024 * 1024 - 20) + b'{"user": "alice"}')
    assert answer.status_code == 202, answer.text


class Gone:
    def __init__(self, error: Exception) -> None:
        self._error = error

    def append(self, events: object) -> list[bool]:
        raise self._error


@pytest.mark.parametrize("error", [StreamUnavailable("Valkey is full", "Wait"), StoreUnavailable("gone", "Start it")])
def test_a_stream_that_is_away_is_503_with_retry_after(
    client: httpx.Client, service: Service, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(service, "stream", Gone(error))
    answer = post(client, {"user": "alice"})
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.json()["error"] == "UNAVAILABLE"
    assert set(answer.json()) == REFUSAL


def test_a_valkey_out_of_memory_is_503_and_nothing_is_half_taken(client: httpx.Client, valkey: Valkey) -> None:
    post(client, {"id": "before", "user": "alice"})
    valkey.call("CONFIG SET", "maxmemory", 1)
    answer = post(client, [{"id": "a", "user": "alice"}, {"id": "b", "user": "alice"}])
    assert answer.status_code == 503
    valkey.call("CONFIG SET", "maxmemory", 0)
    assert [event.id for event in waiting(valkey)] == ["before"]
    assert post(client, [{"id": "a", "user": "alice"}]).json()["accepted"][0]["repeated"] is False


def test_a_defect_is_answered_in_the_one_shape_without_its_inside(
    client: httpx.Client, service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(service, "stream", Gone(ZeroDivisionError("inside")))
    answer = post(client, {"user": "alice"})
    assert answer.status_code == 500
    assert set(answer.json()) == REFUSAL
    assert "inside" not in answer.text
    assert "inside" in caplog.text


def test_the_schema_is_public_and_holds_for_what_is_taken(stranger: httpx.Client) -> None:
    answer = stranger.get("/v1/events/schema")
    assert answer.status_code == 200
    schema = answer.json()
    jsonschema.Draft202012Validator.check_schema(schema)
    valid = jsonschema.Draft202012Validator(schema)
    assert valid.is_valid({"user": "alice"})
    assert not valid.is_valid({"user": "alice", "kind": "shout"})
