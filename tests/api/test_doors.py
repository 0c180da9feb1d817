"""Who is let in, and what every refusal looks like."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest

from pushsvc.api.auth import FREE_FAILURES, WINDOW_S, Throttle
from pushsvc.bootstrap import Service
from tests.api.conftest import ADMIN_KEY

REFUSAL = {"error", "code", "cause", "action", "properties"}
OF_AN_APP = [
    ("POST", "/v1/events"),
    ("GET", "/v1/events/m-1"),
    ("GET", "/v1/records"),
    ("POST", "/v1/devices"),
    ("GET", "/v1/devices?user=alice"),
    ("DELETE", "/v1/devices"),
    ("POST", "/v1/credentials"),
    ("GET", "/v1/credentials"),
    ("DELETE", "/v1/credentials/1"),
    ("POST", "/v1/credentials/1/resume"),
    ("GET", "/v1/settings"),
    ("PATCH", "/v1/settings"),
    ("POST", "/v1/test-pushes"),
]
OF_THE_ADMINISTRATOR = [("POST", "/v1/apps"), ("GET", "/v1/apps"), ("DELETE", "/v1/apps/1")]


@pytest.mark.parametrize(("method", "path"), OF_AN_APP + OF_THE_ADMINISTRATOR)
@pytest.mark.parametrize("header", [None, "Bearer wrong", "Basic YTpi", "Bearer", "Bearer \xe4\xf6"])
def test_no_door_opens_without_its_token(stranger: httpx.Client, method: str, path: str, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}
    answer = stranger.request(method, path, headers=headers, content=b"{}")
    assert answer.status_code == 401
    assert set(answer.json()) == REFUSAL
    assert answer.json()["error"] == "UNAUTHORIZED"
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "path"), OF_THE_ADMINISTRATOR)
def test_an_app_token_does_not_open_the_administrators_doors(client: httpx.Client, method: str, path: str) -> None:
    assert client.request(method, path, content=b"{}").status_code == 401


@pytest.mark.parametrize(("method", "path"), OF_AN_APP)
def test_the_admin_key_does_not_open_the_apps_doors(stranger: httpx.Client, method: str, path: str) -> None:
    answer = stranger.request(method, path, headers={"Authorization": f"Bearer {ADMIN_KEY}"}, content=b"{}")
    assert answer.status_code == 401


def test_every_path_of_the_description_is_behind_a_door_of_these_lists(stranger: httpx.Client) -> None:
    described = {
        (method.upper(), path)
        for path, operations in stranger.get("/openapi.json").json()["paths"].items()
        for method in operations
    }
    open_to_all = {("GET", path) for path in ("/", "/healthz", "/readyz", "/metrics", "/v1/events/schema")}
    tested = {(method, path.partition("?")[0]) for method, path in OF_AN_APP + OF_THE_ADMINISTRATOR}
    patterns = {
        (m, p.replace("{event_id}", "m-1").replace("{app_id}", "1").replace("{credential_id}", "1"))
        for m, p in described
    }
    assert patterns - open_to_all == tested


def test_without_an_admin_key_the_administrators_doors_are_shut(
    stranger: httpx.Client, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    monkeypatch.setattr(service, "config", replace(service.config, admin_key=""))
    answer = stranger.get("/v1/apps", headers={"Authorization": "Bearer"})
    assert answer.status_code == 403
    assert "PUSHSVC_ADMIN_KEY" in answer.json()["action"]


def test_wrong_tokens_are_throttled_and_the_right_one_is_not(client: httpx.Client) -> None:
    wrong = {"Authorization": "Bearer guess"}
    assert client.get("/v1/settings").status_code == 200
    statuses = [client.get("/v1/settings", headers=wrong).status_code for _ in range(FREE_FAILURES + 1)]
    assert statuses == [401] * FREE_FAILURES + [429]
    answer = client.get("/v1/settings", headers=wrong)
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.json()["error"] == "THROTTLED"
    assert client.get("/v1/settings").status_code == 200


def test_the_throttle_forgets_after_its_window_and_tells_addresses_apart() -> None:
    now = [0.0]
    throttle = Throttle(lambda: now[0])
    for _ in range(FREE_FAILURES):
        assert throttle.wait_s("a") == 0
        throttle.failed("a")
    assert throttle.wait_s("a") == WINDOW_S
    assert throttle.wait_s("b") == 0
    now[0] = WINDOW_S
    assert throttle.wait_s("a") == 0


def test_a_deleted_app_has_a_token_no_more(client: httpx.Client, app_id: int) -> None:
    gone = client.delete(f"/v1/apps/{app_id}", headers={"Authorization": f"Bearer {ADMIN_KEY}"})
    assert gone.status_code == 204
    assert client.get("/v1/settings").status_code == 401
    again = client.delete(f"/v1/apps/{app_id}", headers={"Authorization": f"Bearer {ADMIN_KEY}"})
    assert again.status_code == 404
    assert set(again.json()) == REFUSAL


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "/nothing", 404, "NOTFOUND"),
        ("GET", "/docs", 404, "NOTFOUND"),
        ("PUT", "/v1/events", 405, "BADMETHOD"),
        ("GET", "/v1/devices", 400, "BADVALUE"),
        ("GET", "/v1/devices?user=a&uid=1", 400, "BADVALUE"),
        ("GET", "/v1/devices?uid=zero", 400, "BADVALUE"),
        ("GET", "/v1/records?limit=0", 400, "BADVALUE"),
        ("GET", "/v1/records?outcome=lost", 400, "BADVALUE"),
        ("GET", "/v1/events/nothing", 404, "NOTFOUND"),
        ("DELETE", "/v1/credentials/1", 404, "NOTFOUND"),
        ("DELETE", "/v1/credentials/x", 400, "BADVALUE"),
        ("POST", "/v1/credentials/1/resume", 404, "NOTFOUND"),
    ],
)
def test_refusals_of_every_kind_have_one_shape(
    client: httpx.Client, method: str, path: str, status: int, error: str
) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert set(answer.json()) == REFUSAL
    assert answer.json()["code"] == status


def test_the_description_is_whole(stranger: httpx.Client) -> None:
    """Every reference leads somewhere, every operation has a summary and the refusals it can give."""
    described = stranger.get("/openapi.json").json()

    def references(part: Any) -> set[str]:
        if isinstance(part, dict):
            own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
            return own.union(*(references(value) for value in part.values()))
        return set().union(*(references(value) for value in part)) if isinstance(part, list) else set()

    for reference in references(described):
        at = described
        for key in reference.removeprefix("#/").split("/"):
            assert key in at, f"{reference} leads nowhere"
            at = at[key]
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], path
            assert "422" not in operation["responses"]
            if path.startswith("/v1/") and path != "/v1/events/schema":
                assert "401" in operation["responses"], f"{method} {path}"
                assert operation["security"]


def test_the_examples_of_the_description_are_taken(client: httpx.Client) -> None:
    described = client.get("/openapi.json").json()
    examples = described["paths"]["/v1/events"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    for example in examples.values():
        assert client.post("/v1/events", json=example["value"]).status_code == 202
    for example in described["components"]["schemas"]["NewDevice"]["examples"]:
        assert client.post("/v1/devices", json=example).status_code == 200
    settings = described["paths"]["/v1/settings"]["patch"]["requestBody"]["content"]["application/json"]["example"]
    assert client.patch("/v1/settings", json=settings).status_code == 200


def test_no_token_gets_into_the_logs(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    token = client.headers["Authorization"].removeprefix("Bearer ")
    device = "c3" * 32
    with caplog.at_level(logging.DEBUG):
        client.post(
            "/v1/devices",
            json={
                "user": "alice", "platform": "ios", "appid": "com.x", "environment": "production", "push_token": device,
            },
        )  # fmt: skip
        client.post("/v1/devices", json={"user": "alice", "platform": "toaster", "appid": "x", "push_token": device})
        client.get("/v1/settings", headers={"Authorization": f"Bearer {token}x"})
    ours = [record for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    assert not any(token in record.getMessage() or device in record.getMessage() for record in ours)


@pytest.mark.parametrize("number", [0, 2**63, 2**64, 10**30, "9" * 5000], ids=lambda number: str(number)[:20])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/v1/credentials/{}"),
        ("POST", "/v1/credentials/{}/resume"),
        ("DELETE", "/v1/apps/{}"),
        ("GET", "/v1/devices?uid={}"),
        ("GET", "/v1/records?limit={}"),
    ],
)
def test_a_number_that_no_row_can_have_is_refused_in_the_one_shape(
    client: httpx.Client, method: str, path: str, number: int | str
) -> None:
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"} if "apps" in path else None
    answer = client.request(method, path.format(number), headers=headers)
    assert 400 <= answer.status_code < 500, answer.text
    assert {"error", "code", "cause", "action", "properties"} <= answer.json().keys()


@pytest.mark.parametrize("path", ["/v1/devices", "/v1/test-pushes", "/v1/events"])
def test_a_uid_in_a_body_that_no_user_can_have_is_refused(client: httpx.Client, path: str) -> None:
    more = {"platform": "ios", "appid": "com.x", "fcm_token": "c" * 22 + ":APA91b" + "D" * 134}
    answer = client.post(path, json={"user": 2**63, **(more if path == "/v1/devices" else {})})
    assert answer.status_code == 400, answer.text
    assert answer.json()["action"]
