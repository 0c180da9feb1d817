"""What the API tells the one who asked wrongly."""

from __future__ import annotations

import httpx

from pushsvc.bootstrap import Service


def test_the_address_that_up_prints_says_what_this_is(stranger: httpx.Client) -> None:
    told = stranger.get("/").json()
    assert told["service"] == "pushsvc"
    for name in ("description", "schema", "metrics"):
        assert stranger.get(told[name]).status_code == 200


def test_an_unknown_parameter_is_refused_with_those_that_there_are(client: httpx.Client) -> None:
    answer = client.get("/v1/records", params={"count": 2})
    assert answer.status_code == 400
    assert (answer.json()["properties"], answer.json()["action"]) == (["count"], "This path takes limit, outcome.")
    assert client.get("/v1/settings", params={"x": 1}).json()["action"] == "This path takes none."
    assert client.post("/v1/events", params={"dry": 1}, json={"user": "ada"}).status_code == 400


def test_a_body_that_is_not_announced_as_json_is_told_so(client: httpx.Client) -> None:
    answer = client.post("/v1/devices", content=b'{"user":"ada"}')
    assert answer.status_code == 400
    assert "Content-Type: application/json" in answer.json()["action"]


def test_the_token_of_an_app_that_is_off_is_told_so(client: httpx.Client, app_id: int, service: Service) -> None:
    service.apps.set_active(app_id, False)
    answer = client.get("/v1/settings")
    assert (answer.status_code, answer.json()["error"]) == (403, "FORBIDDEN")
    assert f"pushsvc app switch {app_id} on" in answer.json()["action"]
    service.apps.set_active(app_id, True)
    assert client.get("/v1/settings").status_code == 200


def test_an_empty_body_of_events_is_told_so(client: httpx.Client) -> None:
    answer = client.post("/v1/events", content=b" ")
    assert (answer.status_code, answer.json()["cause"]) == (400, "the body is empty")
