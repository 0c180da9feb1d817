"""Credentials uploaded and test pushes sent over HTTP, against the simulator."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest

from pushsvc.simulator import Simulator

TOPIC = "com.example.chat"


@pytest.fixture
def device(client: httpx.Client, simulator: Simulator) -> Any:
    made = simulator.devices.apns("production", TOPIC)
    answer = client.post(
        "/v1/devices",
        json={
            "user": "alice",
            "platform": "ios",
            "appid": TOPIC,
            "environment": "production",
            "push_token": made.token,
        },
    )
    assert answer.status_code == 200, answer.text
    return made


def upload(client: httpx.Client, name: str, content: bytes, **fields: str) -> httpx.Response:
    return client.post("/v1/credentials", files={"file": (name, content)}, data=fields)


def test_a_p12_is_inspected_kept_listed_and_deleted(client: httpx.Client, simulator: Simulator) -> None:
    content = simulator.authority.issue_push_certificate(TOPIC).pkcs12("s3cret-password")
    wrong = upload(client, "chat.p12", content, password="wrong")
    assert wrong.status_code == 400
    assert (wrong.json()["error"], wrong.json()["response_code"]) == ("BADCREDENTIAL", 904)
    answer = upload(client, "chat.p12", content, password="s3cret-password")
    assert answer.status_code == 201, answer.text
    found = answer.json()
    assert found["kind"] == "apns_certificate"
    assert TOPIC in found["topics"]
    assert found["summary"]
    assert client.get("/v1/credentials").json() == {"credentials": [found]}
    for text in (answer.text, client.get("/v1/credentials").text):
        assert "PRIVATE KEY" not in text
        assert "s3cret-password" not in text
    assert client.delete(f"/v1/credentials/{found['id']}").status_code == 204
    assert client.get("/v1/credentials").json() == {"credentials": []}
    assert client.delete(f"/v1/credentials/{found['id']}").status_code == 404


def test_an_apns_key_takes_its_key_id_from_the_file_name(client: httpx.Client, simulator: Simulator) -> None:
    key = simulator.authority.issue_apns_key("TEAM123456")
    answer = upload(client, f"AuthKey_{key.key_id}.p8", key.p8, team_id="TEAM123456")
    assert answer.status_code == 201, answer.text
    assert answer.json()["key_id"] == key.key_id


def test_a_test_push_shows_what_was_sent_and_answered_without_secrets(
    client: httpx.Client, simulator: Simulator, device: Any
) -> None:
    before = client.post("/v1/test-pushes", json={"user": "alice"}).json()["pushes"]
    assert [(one["outcome"], one["code"], one["sent"]) for one in before] == [("not_configured", 901, False)]
    key = simulator.authority.issue_apns_key("TEAM123456")
    upload(client, f"AuthKey_{key.key_id}.p8", key.p8, team_id="TEAM123456")
    deadline = time.monotonic() + 2  # in force within 2 s
    while (dry := rehearsed(client))["outcome"] == "not_configured":
        assert time.monotonic() < deadline, "the upload is not in force after 2 s"
    assert (dry["outcome"], dry["sent"], dry["answer"]) == ("dry_run", False, None)
    assert dry["request"]["headers"]["apns-topic"] == TOPIC
    assert simulator.requests() == []
    answer = client.post("/v1/test-pushes", json={"token": device.token.upper(), "message": {"body": "Hi"}})
    assert answer.status_code == 200, answer.text
    (one,) = answer.json()["pushes"]
    assert (one["outcome"], one["answer"]["status"]) == ("accepted", 200)
    assert one["request"]["headers"]["apns-topic"] == TOPIC
    assert device.token not in json.dumps(one)
    assert key.p8.decode()[40:80] not in json.dumps(one)
    assert [request.token for request in simulator.requests()] == [device.token]


def rehearsed(client: httpx.Client) -> Any:
    (one,) = client.post("/v1/test-pushes", json={"user": "alice", "dry_run": True}).json()["pushes"]
    return one


def test_a_refusal_of_the_provider_is_the_result_of_a_test_push(
    client: httpx.Client, simulator: Simulator, device: Any
) -> None:
    key = simulator.authority.issue_apns_key("TEAM123456")
    upload(client, f"AuthKey_{key.key_id}.p8", key.p8, team_id="TEAM123456")
    simulator.devices.unregister(device.token)
    (one,) = client.post("/v1/test-pushes", json={"user": "alice"}).json()["pushes"]
    assert (one["outcome"], one["code"], one["reason"]) == ("bad_token", 911, "Unregistered")
    assert one["cure"]


def test_a_test_push_goes_to_a_token_that_nobody_has_registered_and_stores_nothing(
    client: httpx.Client, simulator: Simulator
) -> None:
    key = simulator.authority.issue_apns_key("TEAM123456")
    upload(client, f"AuthKey_{key.key_id}.p8", key.p8, team_id="TEAM123456")
    account = simulator.authority.issue_service_account("chat")
    upload(client, "chat.json", json.dumps(account.as_json()).encode())
    apns = simulator.devices.apns("sandbox", TOPIC).token
    voip = simulator.devices.apns("sandbox", f"{TOPIC}.voip").token
    fcm = simulator.devices.fcm("chat", TOPIC).token
    iphone = {"platform": "ios", "appid": TOPIC, "environment": "sandbox"}
    for body, path, push_type in (
        ({"token": apns.upper(), **iphone}, "/3/device/", "background"),
        ({"token": voip, "voip": True, **iphone}, "/3/device/", "voip"),
        ({"token": fcm, "platform": "ios", "appid": TOPIC}, "/v1/projects/chat/", None),
        ({"token": fcm, "platform": "android", "appid": TOPIC}, "/v1/projects/chat/", None),
    ):
        answer = client.post("/v1/test-pushes", json=body)
        assert answer.status_code == 200, answer.text
        (one,) = answer.json()["pushes"]
        assert (one["outcome"], one["sent"]) == ("accepted", True), one
        assert path in one["request"]["url"]
        assert one["request"]["headers"].get("apns-push-type") == push_type
    assert client.post("/v1/test-pushes", json={"token": apns}).status_code == 404
    assert client.get("/v1/records").json()["records"] == []


@pytest.mark.parametrize(
    ("more", "prop", "says"),
    [
        ({"platform": "ios"}, "appid", "appid is missing"),
        ({"appid": TOPIC, "environment": "sandbox"}, "platform", "platform is missing"),
        ({"voip": True}, "platform", "platform and appid are missing"),
        ({"platform": "ios", "appid": TOPIC}, "environment", "no default"),
        ({"platform": "ios", "appid": TOPIC, "voip": True}, "environment", "no default"),
        ({"platform": "ios", "appid": TOPIC, "environment": "prod"}, "environment", "no such environment"),
        ({"platform": "android", "appid": TOPIC}, "token", "an APNs token on the platform android"),
        ({"platform": "phone", "appid": TOPIC}, "platform", "no such platform"),
        ({"token": "short", "platform": "ios", "appid": TOPIC, "environment": "sandbox"}, "token", "64 to 200"),
    ],
)
def test_what_is_missing_of_a_token_that_is_not_registered_is_named(
    client: httpx.Client, more: dict[str, Any], prop: str, says: str
) -> None:
    answer = client.post("/v1/test-pushes", json={"token": "ab" * 32, **more})
    assert answer.status_code == 400, answer.text
    assert answer.json()["properties"] == [prop]
    assert says in answer.json()["cause"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"user": "alice", "token": "x"}, 400),
        ({"user": "nobody"}, 404),
        ({"token": "ab" * 32}, 404),
        ({"user": "alice", "kind": "shout"}, 400),
        ({"user": "alice", "platform": "ios", "appid": TOPIC}, 400),
        ({"user": "alice", "message": {"bdy": "x"}}, 400),
        ({"user": "alice", "dryrun": True}, 400),
    ],
    ids=str,
)
def test_a_bad_test_push_is_refused(client: httpx.Client, device: Any, body: dict[str, Any], status: int) -> None:
    answer = client.post("/v1/test-pushes", json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["action"]
