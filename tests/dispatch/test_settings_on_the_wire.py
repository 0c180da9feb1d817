"""Each setting of an app changes what providers receive, or what is written down; all on real parts."""

import json
import logging
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from world import BUNDLE, PROJECT, World

from pushsvc.domain.outcome import Outcome
from pushsvc.domain.record import Record
from pushsvc.telemetry import JsonFormatter

Sent = Callable[..., dict[str, Any]]


def outcomes(records: list[Record]) -> list[Outcome]:
    return [record.outcome for record in records]


def body(request: Any) -> dict[str, Any]:
    found = json.loads(request.body)
    assert isinstance(found, dict)
    return found


def last(world: World, token: str) -> Any:
    return world.arrived(token)[-1]


def message_of(world: World, token: str) -> dict[str, Any]:
    """The FCM message that arrived last at a token."""
    found = body(last(world, token))["message"]
    assert isinstance(found, dict)
    return found


def iphone_with_fcm(world: World, user: str) -> tuple[str, str]:
    """A device with an APNs token and an FCM token."""
    push_token = str(world.simulator.devices.apns("production", BUNDLE).token)
    fcm_token = str(world.simulator.devices.fcm(PROJECT, BUNDLE).token)
    world.service.devices.register(
        world.app,
        user=user,
        platform="ios",
        appid=BUNDLE,
        environment="production",
        push_token=push_token,
        fcm_token=fcm_token,
    )
    return push_token, fcm_token


def test_push_off_sends_nothing_and_says_902_and_push_on_sends_again(world: World) -> None:
    world.iphone("ada")
    world.settings(push=False)
    assert [(record.outcome, record.response_code) for record in world.push("ada")] == [(Outcome.DISABLED, 902)]
    assert not world.arrived()
    world.settings(push=True)
    assert outcomes(world.push("ada")) == [Outcome.ACCEPTED]
    assert len(world.arrived()) == 1


def test_background_decides_between_a_silent_wake_up_and_an_alert(world: World) -> None:
    iphone, android = world.iphone("ada"), world.android("ada")
    world.push("ada", message={"title": "Bob", "body": "Are you coming?"})
    request = last(world, iphone)
    assert (request.headers["apns-push-type"], request.headers["apns-priority"]) == ("background", "5")
    assert body(request)["aps"] == {"content-available": 1}
    assert "notification" not in message_of(world, android)

    world.settings(background=False)
    world.push("ada", message={"title": "Bob", "body": "Are you coming?"})
    request = last(world, iphone)
    assert (request.headers["apns-push-type"], request.headers["apns-priority"]) == ("alert", "10")
    assert body(request)["aps"]["alert"] == {"title": "Bob", "body": "Are you coming?"}
    assert message_of(world, android)["notification"] == {"title": "Bob", "body": "Are you coming?"}


def test_sound_is_played_with_background_push_off_alone(world: World) -> None:
    iphone, android = world.iphone("ada"), world.android("ada")
    world.settings(sound="ping.caf")
    world.push("ada")
    assert b"ping.caf" not in last(world, iphone).body + last(world, android).body

    world.settings(background=False)
    world.push("ada")
    assert body(last(world, iphone))["aps"]["sound"] == "ping.caf"
    assert message_of(world, android)["android"]["notification"]["sound"] == "ping.caf"


def test_collapse_makes_alerts_of_one_conversation_replace_each_other(world: World) -> None:
    iphone, android = world.iphone("ada"), world.android("ada")
    world.settings(background=False)
    world.push("ada", message={"from": "bob"})
    assert "apns-collapse-id" not in last(world, iphone).headers
    separate = message_of(world, android)["android"]["notification"]["tag"]

    world.settings(collapse=True)
    seen = []
    for message in ({"from": "bob"}, {"from": "bob"}, {"from": "eve"}, {"from": "bob", "gid": 7}):
        world.push("ada", message=message)
        tag = message_of(world, android)["android"]["notification"]["tag"]
        assert last(world, iphone).headers["apns-collapse-id"] == tag
        seen.append(tag)
    assert seen[0] == seen[1]
    assert len({separate, *seen}) == 4


def test_collapse_gives_all_wake_ups_of_an_android_phone_one_key(world: World) -> None:
    android = world.android("ada")
    world.push("ada", message={"from": "bob"})
    assert "collapse_key" not in message_of(world, android)["android"]
    world.settings(collapse=True)
    keys = []
    for sender in ("bob", "eve"):
        world.push("ada", message={"from": sender})
        keys.append(message_of(world, android)["android"]["collapse_key"])
    assert keys[0] == keys[1]
    world.push("ada", kind="call", message={"from": "bob"})
    assert "collapse_key" not in message_of(world, android)["android"]


def test_sandbox_to_production_sends_sandbox_tokens_to_the_production_server(world: World) -> None:
    token = world.iphone("ada", home="sandbox")
    world.push("ada")
    assert [request.site for request in world.arrived(token)] == ["apns-sandbox"]
    # such a token that production knows: what a re-signed build of an app looks like
    other = world.iphone("bob", home="production", registered="sandbox")
    world.settings(sandbox_to_production=True)
    world.push("bob")
    assert [request.site for request in world.arrived(other)] == ["apns-production"]


def test_autoroute_takes_an_iphone_with_both_tokens_through_fcm(world: World) -> None:
    push_token, fcm_token = iphone_with_fcm(world, "ada")
    world.push("ada")
    assert [request.token for request in world.arrived()] == [push_token]
    world.settings(autoroute=True)
    world.push("ada")
    assert [request.token for request in world.arrived()] == [push_token, fcm_token]
    headers = message_of(world, fcm_token)["apns"]["headers"]
    assert headers["apns-push-type"] == "background"


def test_autoroute_stays_with_apns_where_the_app_has_no_service_account(world: World) -> None:
    push_token, _ = iphone_with_fcm(world, "ada")
    for stored in world.service.credentials.of(world.app):
        if stored.finding.kind.provider == "fcm":
            world.service.credentials.delete(world.app, stored.id)
    world.settings(autoroute=True)
    assert outcomes(world.push("ada")) == [Outcome.ACCEPTED]
    assert [request.token for request in world.arrived()] == [push_token]


def test_templates_say_the_words_of_alerts(world: World) -> None:
    iphone, android = world.iphone("ada"), world.android("ada")
    world.settings(background=False, title_template="{name} in {gid}", body_template="({from}) {title}: {body} {x}")
    world.push("ada", message={"from": "bob", "name": "Bob", "gid": 7, "title": "Hey", "body": "Coming?"})
    said = {"title": "Bob in 7", "body": "(bob) Hey: Coming? {x}"}
    assert body(last(world, iphone))["aps"]["alert"] == said
    assert message_of(world, android)["notification"] == said


def test_localisation_keys_name_texts_that_the_app_has(world: World) -> None:
    iphone, android = world.iphone("ada"), world.android("ada")
    world.settings(
        background=False,
        title_loc_key="NEW_FROM",
        title_loc_args=["{name}"],
        body_loc_key="NEW_IN",
        body_loc_args=["{gid}", "{body}"],
    )
    world.push("ada", message={"name": "Bob", "gid": 7, "body": "Coming?"})
    assert body(last(world, iphone))["aps"]["alert"] == {
        "title-loc-key": "NEW_FROM",
        "title-loc-args": ["Bob"],
        "loc-key": "NEW_IN",
        "loc-args": ["7", "Coming?"],
    }
    message = message_of(world, android)
    assert "notification" not in message
    shown = message["android"]["notification"]
    assert (shown["title_loc_key"], shown["title_loc_args"]) == ("NEW_FROM", ["Bob"])
    assert (shown["body_loc_key"], shown["body_loc_args"]) == ("NEW_IN", ["7", "Coming?"])


@pytest.mark.parametrize("background", [True, False], ids=["background", "alert"])
def test_privacy_lets_no_text_name_or_data_leave(world: World, background: bool) -> None:
    world.iphone("ada", voip=True)
    world.iphone("bob")  # whose calls come as alerts
    world.android("ada")
    iphone_with_fcm(world, "carl")
    web = str(world.simulator.devices.fcm(PROJECT, BUNDLE).token)
    world.service.devices.register(world.app, user="ada", platform="web", appid=BUNDLE, fcm_token=web)
    world.settings(
        background=background,
        privacy=True,
        autoroute=True,
        collapse=True,
        title_template="{name} says",
        body_template="{body}",
        title_loc_key="FROM",
        title_loc_args=["{name}"],
    )
    marks = {
        part: f"unique-{part}-of-this-test"
        for part in ("from", "name", "title", "body", "thread", "key", "value", "apns", "fcm")
    }
    message = {part: marks[part] for part in ("from", "name", "title", "body", "thread")}
    for kind in ("message", "call", "call_cancelled", "silent"):
        records = world.push(
            ["ada", "bob", "carl"],
            kind=kind,
            message={"id": "m1", "gid": 7, "type": 987654321, **message, "data": {marks["key"]: marks["value"]}},
            apns={"payload": {"extra": marks["apns"]}},
            fcm={"data": {"extra": marks["fcm"]}},
        )
        assert set(outcomes(records)) == {Outcome.ACCEPTED}
    world.push("bob", message=message)  # without a group, so that conversation and thread are the sender's
    requests = world.arrived()
    assert len(requests) == 5 * 4 + 1
    for request in requests:
        wire = b"\n".join([request.path.encode(), *(name + b": " + value for name, value in request.raw_headers)])
        wire += request.body
        for mark in (*marks.values(), "987654321"):
            assert mark.encode() not in wire, f"{mark} went to {request.site}"
        assert b"event_id" in request.body


def test_print_push_logs_writes_one_line_for_each_request_and_its_answer(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def printed() -> list[dict[str, Any]]:
        lines = [JsonFormatter().format(record) for record in caplog.records if record.message == "push log"]
        return [json.loads(line) for line in lines]

    iphone, android = world.iphone("ada"), world.android("ada")
    told = {"from": "bob", "name": "secret-name", "body": "secret-body", "data": {"secret-key": "secret-value"}}
    with caplog.at_level(logging.INFO, logger="pushsvc"):
        world.push("ada", message=told)
        assert not printed()

        world.settings(print_push_logs=True, background=False)
        world.simulator.faults.add("reason", token=iphone, times=1, reason="InternalServerError")
        event = world.event("ada", message=told)
        world.send(event)
        world.run(lambda: outcomes(world.records(event)) == [Outcome.ACCEPTED] * 2)
    lines = sorted(printed(), key=lambda line: (line["url"], line["attempt"]))
    answers = [(line["status"], line["answer"], line["attempt"]) for line in lines]
    assert sorted(answers) == [(200, "", 1), (200, "", 2), (500, "InternalServerError", 1)]
    by_push = {record.push_id: record for record in world.records(event)}
    for line in lines:
        assert line["event"] == event.id
        assert by_push[line["push"]].app_id == line["app"]
    through_apns = next(line for line in lines if "/3/device/" in line["url"] and line["status"] == 500)
    assert "apns-push-type: alert" in through_apns["headers"]
    assert f"apns-id: {through_apns['push']}" in through_apns["headers"]
    assert "aps.alert.body" in through_apns["body_keys"].split()
    assert through_apns["body_bytes"] == len(world.arrived(iphone)[-1].body)
    through_fcm = next(line for line in lines if "messages:send" in line["url"])
    assert "message.notification.body" in through_fcm["body_keys"].split()
    text = "\n".join(JsonFormatter().format(record) for record in caplog.records)
    for secret in (iphone, android, "secret-", "bearer", "authorization"):
        assert secret.lower() not in text.lower()

    caplog.clear()
    world.settings(print_push_logs=False)
    with caplog.at_level(logging.INFO, logger="pushsvc"):
        world.push("ada", message=told)
    assert not printed()


def test_notify_failed_pushes_is_kept_and_read_back_and_changes_no_push(world: World) -> None:
    token = world.iphone("ada")
    world.push("ada")
    world.settings(notify_failed_pushes=True)
    assert world.service.apps.get(world.app).app.settings.notify_failed_pushes is True
    assert world.service.snapshots.get([world.app])[world.app].settings.notify_failed_pushes is True
    world.push("ada")
    assert len({request.headers["apns-push-type"] for request in world.arrived(token)}) == 1


def test_a_setting_taken_back_is_at_its_default_again(world: World) -> None:
    before = msgspec.to_builtins(world.service.apps.get(world.app).app.settings)
    world.settings(sound="ping.caf", min_interval_s=30, background=False)
    world.settings(sound=None, min_interval_s=None, background=None)
    assert msgspec.to_builtins(world.service.apps.get(world.app).app.settings) == before


def test_within_the_minimum_interval_one_wake_up_goes_now_and_the_newest_at_the_end(world: World) -> None:
    token = world.iphone("ada")
    other_flow = world.service.flow("another")
    world.settings(min_interval_s=2)
    flows = [world.flow, other_flow]
    sent = []
    for number in range(4):  # by turns: the window is one for all workers
        event = world.event("ada")
        world.send(event)
        sent.append(event)
        deadline = time.monotonic() + 10
        while not world.records(event) or flows[number % 2].in_flight:
            assert time.monotonic() < deadline
            flows[number % 2].step(20)
    assert event_ids(world, token) == [sent[0].id]
    waiting = world.records(sent[-1])[0]
    assert (waiting.outcome, waiting.reason, waiting.attempts) == (Outcome.RETRYING, "QuietWindow", 0)
    assert waiting.due_at is not None
    end = waiting.due_at

    world.run(lambda: outcomes(world.records(sent[-1])) == [Outcome.ACCEPTED])
    other_flow.close()
    assert event_ids(world, token) == [sent[0].id, sent[-1].id]
    first, trailing = world.arrived(token)
    assert trailing.at >= end - 0.01
    assert first.at + 2 - 0.5 <= trailing.at <= end + 1
    for event in sent[1:-1]:
        record = world.records(event)[0]
        assert (record.outcome, record.reason, record.attempts) == (Outcome.SUPPRESSED, "QuietWindow", 0)
        assert record.due_at is None
    # the trailing wake-up opens a window of its own
    assert outcomes(world.push("ada")) == [Outcome.RETRYING]


def event_ids(world: World, token: str) -> list[str]:
    return [body(request)["event_id"] for request in world.arrived(token)]


def test_calls_are_exempt_from_the_minimum_interval_and_other_devices_have_their_own(world: World) -> None:
    token, other = world.iphone("ada"), world.iphone("bob")
    world.settings(min_interval_s=60)
    world.push("ada")
    for kind in ("call", "call_cancelled"):
        assert outcomes(world.push("ada", kind=kind)) == [Outcome.ACCEPTED]
    assert len(world.arrived(token)) == 3
    assert outcomes(world.push("bob")) == [Outcome.ACCEPTED]
    assert len(world.arrived(other)) == 1


def test_a_retry_is_not_held_by_the_window_that_its_first_attempt_opened(world: World) -> None:
    token = world.iphone("ada")
    world.settings(min_interval_s=60)
    world.simulator.faults.add("reason", token=token, times=2, reason="InternalServerError")
    event = world.event("ada")
    world.send(event)
    world.run(lambda: outcomes(world.records(event)) == [Outcome.ACCEPTED])
    assert [request.status for request in world.arrived(token)] == [500, 500, 200]


def test_a_trailing_wake_up_that_would_come_too_late_is_suppressed(world: World) -> None:
    token = world.iphone("ada")
    world.settings(min_interval_s=60)
    world.push("ada")
    records = world.push("ada", expiry=30)
    assert [(record.outcome, record.reason) for record in records] == [(Outcome.SUPPRESSED, "QuietWindow")]
    assert len(world.arrived(token)) == 1
