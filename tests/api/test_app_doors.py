"""Devices, credentials, settings, records, health: what an app's token opens."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from pushsvc.bootstrap import Service
from pushsvc.dispatch.ports import Reach
from pushsvc.domain.outcome import Outcome
from pushsvc.domain.record import Record
from pushsvc.stream.board import ValkeyBoard
from pushsvc.stream.embedded import EmbeddedValkey
from pushsvc.stream.events import ValkeyStream
from pushsvc.stream.valkey import Valkey
from tests.api.conftest import ADMIN_KEY

IPHONE: dict[str, Any] = {
    "user": "alice",
    "platform": "ios",
    "appid": "com.example.chat",
    "environment": "production",
    "push_token": "AB" * 32,
    "voip_token": "cd" * 32,
}


def other_app(client: httpx.Client) -> dict[str, str]:
    """The headers of a second app."""
    made = client.post("/v1/apps", json={"name": "other"}, headers={"Authorization": f"Bearer {ADMIN_KEY}"})
    return {"Authorization": f"Bearer {made.json()['token']}"}


def test_a_device_is_registered_listed_and_forgotten(client: httpx.Client) -> None:
    answer = client.post("/v1/devices", json=IPHONE)
    assert answer.status_code == 200, answer.text
    device = answer.json()
    assert [(one["kind"], one["token"]) for one in device["tokens"]] == [("apns", "ababab…ab"), ("voip", "cdcdcd…cd")]
    assert client.get("/v1/devices", params={"user": "alice"}).json()["devices"] == [device]
    assert client.get("/v1/devices", params={"uid": device["uid"]}).json()["devices"] == [device]
    one = client.request("DELETE", "/v1/devices", json={"user": "alice", "token": "aB" * 32})
    assert one.json() == {"removed": 1}
    assert client.request("DELETE", "/v1/devices", json={"user": device["uid"]}).json() == {"removed": 1}
    assert client.get("/v1/devices", params={"user": "alice"}).json() == {"devices": []}


def test_registering_again_keeps_the_ids_of_the_tokens(client: httpx.Client) -> None:
    first, again = (client.post("/v1/devices", json=IPHONE).json() for _ in range(2))
    assert [one["id"] for one in first["tokens"]] == [one["id"] for one in again["tokens"]]


@pytest.mark.parametrize(
    ("change", "prop"),
    [
        ({"environment": None}, "environment"),
        ({"environment": "staging"}, "environment"),
        ({"platform": "toaster"}, "platform"),
        ({"push_token": "not a token", "voip_token": None}, "push_token"),
        ({"push_token": None, "voip_token": None}, ""),
        ({"user": ""}, "user"),
        ({"user": None}, "user"),
        ({"user": 1.5}, "user"),
        ({"user": True}, "user"),
        ({"tokn": "x"}, "tokn"),
        ({"push_token": 5}, "push_token"),
        ({"appid": ""}, "appid"),
    ],
    ids=str,
)
def test_a_bad_device_is_refused_with_its_property(client: httpx.Client, change: dict[str, Any], prop: str) -> None:
    answer = client.post("/v1/devices", json=IPHONE | change)
    assert answer.status_code == 400, answer.text
    told = answer.json()
    assert told["cause"]
    assert told["action"]
    assert not prop or any(prop in one for one in told["properties"]), told
    assert "AB" * 32 not in answer.text


def test_an_app_sees_nothing_of_another(client: httpx.Client) -> None:
    uid = client.post("/v1/devices", json=IPHONE).json()["uid"]
    theirs = other_app(client)
    assert client.get("/v1/devices", params={"user": "alice"}, headers=theirs).json() == {"devices": []}
    assert client.get("/v1/devices", params={"uid": uid}, headers=theirs).json() == {"devices": []}
    stolen = client.request("DELETE", "/v1/devices", json={"user": uid}, headers=theirs)
    assert stolen.status_code == 404 or stolen.json() == {"removed": 0}
    assert len(client.get("/v1/devices", params={"user": "alice"}).json()["devices"]) == 1


def test_settings_are_shown_changed_and_kept(client: httpx.Client) -> None:
    assert client.get("/v1/settings").json()["background"] is True
    changed = client.patch("/v1/settings", json={"background": False, "sound": "ping.caf"})
    assert changed.status_code == 200, changed.text
    assert client.patch("/v1/settings", json={"min_interval_s": 30}).status_code == 200
    now = client.get("/v1/settings").json()
    assert (now["background"], now["sound"], now["min_interval_s"]) == (False, "ping.caf", 30)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"7", b'{"sond": "x"}', b'{"push": "yes"}', b'{"min_interval_s": -1}', b'{"min_interval_s": 1e99}'],
)
def test_bad_settings_are_refused_and_change_nothing(client: httpx.Client, body: bytes) -> None:
    before = client.get("/v1/settings").json()
    answer = client.patch("/v1/settings", content=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["action"]
    assert client.get("/v1/settings").json() == before


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"files": {"file": ("x.p12", b"not a credential")}}, 400),
        ({"files": {"file": ("x.json", b"{}")}}, 400),
        ({"files": {"file": ("empty", b"")}}, 400),
        ({"data": {"password": "x"}}, 400),
        ({"files": {"fil": ("x.p12", b"x")}}, 400),
        ({"files": {"file": ("x.p12", b"x")}, "data": {"pasword": "x"}}, 400),
        ({"files": {"file": ("x.p12", b"x" * (1024 * 1024 + 1))}}, 413),
        ({"content": b"raw"}, 400),
    ],
    ids=["no p12", "empty JSON", "empty file", "no file", "other field", "unknown option", "too large", "no form"],
)
def test_a_bad_upload_is_refused_with_cause_and_cure(client: httpx.Client, form: dict[str, Any], status: int) -> None:
    answer = client.post("/v1/credentials", **form)
    assert answer.status_code == status, answer.text
    told = answer.json()
    assert told["cause"]
    assert told["action"]
    assert client.get("/v1/credentials").json() == {"credentials": []}


def record(app_id: int, event_id: str, outcome: Outcome, at: float) -> Record:
    return Record(
        app_id=app_id, event_id=event_id, recipient="alice", token_id=3, push_id="p-1", outcome=outcome,
        response_code=outcome.code, reason="Unregistered", cause=outcome.cause, cure=outcome.cure, provider="apns",
        authority="api.push.apple.com:443", push_type="alert", priority="10", topic="com.example.chat", attempts=1,
        enqueued_at=at - 0.1, answered_at=at,
    )  # fmt: skip


def test_records_are_found_by_event_and_newest_first(client: httpx.Client, service: Service, app_id: int) -> None:
    service.journal.record(
        [record(app_id, "m-1", Outcome.ACCEPTED, 100.0), record(app_id, "a/b?c", Outcome.BAD_TOKEN, 200.0)]
    )
    (one,) = client.get("/v1/events/m-1").json()["records"]
    assert (one["outcome"], one["recipient"], one["provider"]) == ("accepted", "alice", "apns")
    (odd,) = client.get("/v1/events/a%2Fb%3Fc").json()["records"]
    assert odd["response_code"] == 911
    newest = client.get("/v1/records").json()["records"]
    assert [one["event_id"] for one in newest] == ["a/b?c", "m-1"]
    bad = client.get("/v1/records", params={"outcome": "bad_token", "limit": 1}).json()["records"]
    assert [one["event_id"] for one in bad] == ["a/b?c"]
    assert client.get("/v1/events/m-1", headers=other_app(client)).status_code == 404


def test_it_is_ready_only_while_a_worker_reads_the_stream(stranger: httpx.Client, valkey: Valkey) -> None:
    before = stranger.get("/readyz")
    assert before.status_code == 503
    assert before.json()["checks"]["valkey"] == "ok"
    assert "no worker" in before.json()["checks"]["workers"]
    worker = ValkeyStream(valkey, 60, "w")
    worker.read(1, 0)
    try:
        ready = stranger.get("/readyz")
        assert (ready.status_code, ready.json()["ready"]) == (200, True)
    finally:
        worker.close()
    assert stranger.get("/readyz").status_code == 503


def test_it_shows_the_providers_as_the_workers_see_them(stranger: httpx.Client, valkey: Valkey) -> None:
    worker = ValkeyStream(valkey, 60, "w")
    worker.read(1, 0)
    board = ValkeyBoard(valkey, worker.consumer)
    try:
        board.show({"fcm:443": Reach(1, "", time.time(), time.time())})
        ready = stranger.get("/readyz")
        assert (ready.status_code, ready.json()["checks"]["providers"]) == (200, "ok")
        assert ready.json()["providers"] == {"fcm:443": "ok (1 connection)"}
        board.show({"fcm:443": Reach(0, "dns", time.time(), time.time())})
        unready = stranger.get("/readyz")
        assert unready.status_code == 503
        assert "pushsvc doctor" in unready.json()["checks"]["providers"]
        assert unready.json()["providers"]["fcm:443"].endswith(": dns")
    finally:
        worker.close()
    assert stranger.get("/readyz").json()["providers"] == {}, "a worker that has left sees nothing"


def test_it_is_alive_and_not_ready_when_valkey_or_the_store_is_away(
    stranger: httpx.Client, service: Service, running_valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Valkey("redis://127.0.0.1:1/0")
    monkeypatch.setattr(service.health, "_valkey", away)
    answer = stranger.get("/readyz")
    away.close()
    assert answer.status_code == 503
    assert "Valkey cannot be reached" in answer.json()["checks"]["valkey"]
    assert stranger.get("/healthz").json() == {"alive": True}
    assert stranger.get("/metrics").status_code == 200
    with service.database.writing() as connection:
        connection.exec_driver_sql("DROP TABLE alembic_version")
    assert "pushsvc migrate" in stranger.get("/readyz").json()["checks"]["store"]


def test_metrics_tell_what_waits(client: httpx.Client) -> None:
    client.post("/v1/events", json=[{"user": "alice"}, {"user": "bob"}])
    text = client.get("/metrics").text
    assert "\npushsvc_stream_lag 2.0\n" in text
    assert "\npushsvc_workers_alive 0.0\n" in text
