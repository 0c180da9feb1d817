"""What must not happen between two steps: the wrong user, the wrong time, twice, or for ever."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from world import BUNDLE, World, built

from pushsvc.dispatch import inbox
from pushsvc.dispatch.ports import Changes, StreamUnavailable
from pushsvc.domain.event import Event
from pushsvc.domain.outcome import Outcome
from pushsvc.domain.record import Record
from pushsvc.simulator import Simulator
from pushsvc.stream.embedded import EmbeddedValkey
from pushsvc.stream.valkey import Valkey


def ended(world: World, event: Event) -> Record:
    world.run(lambda: bool(world.records(event)) and not world.flow.in_flight)
    (record,) = world.records(event)
    return record


def run_for(world: World, seconds: float) -> None:
    end = time.monotonic() + seconds
    world.run(lambda: time.monotonic() > end)


def test_a_user_named_by_uid_and_by_address_in_one_event_gets_it_once(world: World) -> None:
    token = world.iphone("ada")
    uid = world.service.devices.of_user(world.app, "ada")[0].uid
    event = world.event([uid, "ada"])
    world.send(event)
    ended(world, event)
    assert len(world.arrived(token)) == 1


def test_one_answer_of_the_oauth_server_does_not_pause_a_credential_however_many_pushes_it_fails(world: World) -> None:
    world.simulator.faults.add("reason", site="oauth", times=1, reason="invalid_grant")
    for number in range(3):
        world.android(f"user{number}")
        event = world.event(f"user{number}")
        world.send(event)
        assert ended(world, event).response_code == 904
        run_for(world, 1.1)  # beyond the time within which refusals count as one
    assert len([request for request in world.simulator.requests() if request.site == "oauth"]) == 1
    assert not any(stored.paused for stored in world.service.credentials.of(world.app))


@pytest.mark.parametrize("kind", ["message", "call"])
def test_an_event_that_expires_while_its_bearer_is_fetched_is_not_sent(world: World, kind: str) -> None:
    token = world.android("ada")
    world.simulator.faults.add("delay", site="oauth", delay_s=2.0, times=1)
    event = world.event("ada", kind=kind, expiry=1)
    world.send(event)
    assert ended(world, event).outcome is Outcome.EXPIRED
    assert not world.arrived(token)


def test_a_token_that_moves_to_another_user_while_a_bearer_is_fetched_gets_nothing(world: World) -> None:
    token = world.android("ada")
    world.simulator.faults.add("delay", site="oauth", delay_s=2.0, times=1)
    event = world.event("ada", message={"body": "for ada alone"})
    world.send(event)
    run_for(world, 0.5)
    world.service.devices.register(world.app, user="eve", platform="android", appid=BUNDLE, fcm_token=token)
    assert ended(world, event).outcome is Outcome.NO_DEVICE
    assert not world.arrived(token)


def test_a_token_that_moves_to_another_user_is_not_tried_in_the_other_environment(world: World) -> None:
    token = world.iphone("ada", home="sandbox", registered="production")
    world.simulator.faults.add("delay", site="apns-production", token=token, delay_s=1.0, times=1)
    event = world.event("ada", message={"body": "for ada alone"})
    world.send(event)
    run_for(world, 0.5)
    world.service.devices.register(
        world.app, user="eve", platform="ios", appid=BUNDLE, environment="sandbox", push_token=token
    )
    assert ended(world, event).outcome is Outcome.NO_DEVICE
    assert [request.status for request in world.arrived(token)] == [400]


@pytest.mark.parametrize("answer", ["lost", "never"])
def test_a_displaced_wake_up_has_its_record_though_the_worker_dies_or_an_answer_is_lost(
    world: World, answer: str
) -> None:
    world.iphone("ada")
    world.settings(min_interval_s=2)
    first, second, third = (world.event("ada") for _ in range(3))
    for event in (first, second):
        world.send(event)
        ended(world, event)
    stream = world.flow._ledger._stream
    real, calls = stream.apply, []

    def apply(changes: Changes) -> None:
        real(changes)
        if changes.due and not calls:
            calls.append(1)
            raise StreamUnavailable("the answer is lost", "") if answer == "lost" else KeyboardInterrupt

    stream.apply = apply  # type: ignore[method-assign]  # the one place where the worker can die in between
    world.send(third)
    with pytest.raises((StreamUnavailable, KeyboardInterrupt)):
        world.run(lambda: False)
    if answer == "never":
        world.flow.close()
        world.flow = world.service.flow("next")
    world.run(lambda: world.records(second)[0].outcome is Outcome.SUPPRESSED)
    world.run(lambda: world.records(third)[0].outcome is Outcome.ACCEPTED)


def test_a_clock_that_is_put_back_stops_neither_retries_nor_take_over(world: World) -> None:
    token = world.iphone("ada")
    first = world.event("ada")
    world.send(first)
    ended(world, first)
    world.flow._clock = lambda: time.time() - 3600
    world.simulator.faults.add("reason", token=token, times=1, reason="ServiceUnavailable")
    event = world.event("ada")
    world.send(event)
    world.run(lambda: bool(world.records(event)) and world.records(event)[0].outcome is Outcome.ACCEPTED)


def test_a_worker_that_stood_still_does_not_begin_what_another_has_taken_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "SLICE_USERS", 1)
    token = world.iphone("ada")
    events = [world.event("ada") for _ in range(3)]
    world.send(*events)
    sleeper = world.flow
    sleeper.step(20)  # reads all three, begins one
    sleeper._stream._heartbeat.stop()  # as if it had left: the others take over at once
    world.flow = world.service.flow("awake")
    world.run(lambda: all(world.records(event) for event in events), within_s=30)
    sleeper._inbox._turned_at -= 60  # it stood still for a minute
    deadline = time.monotonic() + 5
    while sleeper.in_flight and time.monotonic() < deadline:
        sleeper.step(5)
    sleeper.close()
    arrived = [request.apns_id for request in world.arrived(token)]
    begun = {world.records(events[0])[0].push_id}  # was in flight when it fell asleep
    assert len(arrived) == len(set(arrived)) + (arrived.count(next(iter(begun))) - 1)
    assert set(arrived) == {world.records(event)[0].push_id for event in events}


@pytest.fixture
def narrow(simulator: Simulator, running_valkey: EmbeddedValkey, valkey: Valkey, tmp_path: Path) -> Iterator[World]:
    """A worker that has no more than 50 pushes in flight."""
    with built(simulator, running_valkey.url, tmp_path, PUSHSVC_IN_FLIGHT="50") as made:
        yield made


def test_a_call_passes_messages_that_were_read_before_it(narrow: World) -> None:
    world, users = narrow, [f"user{number}" for number in range(100)]
    for user in users:
        world.android(user)
    world.iphone("ada", voip=True)
    world.send(*(world.event(users) for _ in range(20)))
    world.run(lambda: len(world.arrived()) > 20)
    call = world.event("ada", kind="call")
    before = len(world.arrived())
    world.send(call)
    world.run(lambda: bool(world.records(call)))
    assert world.records(call)[0].topic == f"{BUNDLE}.voip"
    assert len(world.arrived()) - before < 600, "of some 2000 messages that were ahead"


def test_a_provider_that_is_silent_to_messages_does_not_hold_up_a_call(narrow: World) -> None:
    world = narrow
    silent = world.android("ada")
    world.iphone("bob", voip=True)
    world.simulator.faults.add("silence", token=silent)
    world.send(*(world.event("ada") for _ in range(200)))
    world.run(lambda: len(world.arrived(silent)) >= 30)
    call = world.event("bob", kind="call")
    began = time.monotonic()
    world.send(call)
    world.run(lambda: bool(world.records(call)))
    assert world.records(call)[0].outcome is Outcome.ACCEPTED
    assert time.monotonic() - began < 2.5, "the answers of the others time out after 3 s"


def test_a_test_push_obeys_the_event_s_expiry(world: World) -> None:
    token = world.iphone("ada")
    device = world.service.devices.of_user(world.app, "ada")[0]
    for fields, outcome in (({"expiry": 0}, Outcome.SUPPRESSED), ({"sent_at": 1000.0, "expiry": 5}, Outcome.EXPIRED)):
        trial = world.service.test_push(world.event("ada", **fields), device, dry_run=False)
        assert (trial.outcome, trial.sent) == (outcome, False)
    assert not world.arrived(token)


def test_a_fresh_registration_survives_a_gone_that_comes_with_a_time_ahead_of_ours(world: World) -> None:
    token = world.iphone("ada")
    world.simulator.faults.add("delay", token=token, delay_s=1.0, times=1)
    soon_ms = int((time.time() + 60) * 1000)
    world.simulator.faults.add("reason", token=token, reason="Unregistered", timestamp_ms=soon_ms, times=1)
    event = world.event("ada")
    world.send(event)
    run_for(world, 0.4)
    world.service.devices.register(
        world.app, user="eve", platform="ios", appid=BUNDLE, environment="production", push_token=token
    )
    assert ended(world, event).outcome is Outcome.BAD_TOKEN
    assert len(world.service.devices.of_user(world.app, "eve")) == 1


def test_a_silent_event_does_not_take_the_place_of_an_alert_that_waits(world: World) -> None:
    token = world.iphone("ada")
    world.settings(background=False, min_interval_s=1)
    first, alert, silent = world.event("ada"), world.event("ada"), world.event("ada", kind="silent")
    for event in (first, alert, silent):
        world.send(event)
        ended(world, event)
    world.run(lambda: all(world.records(e)[0].outcome is Outcome.ACCEPTED for e in (alert, silent)))
    assert sorted(r.headers["apns-push-type"] for r in world.arrived(token)) == ["alert", "alert", "background"]


def test_a_reason_with_control_characters_is_recorded_without_them(world: World) -> None:
    token = world.iphone("ada")
    world.simulator.faults.add("unknown-reason", token=token, reason="Bad\x00Moon\x1b[31m")
    event = world.event("ada")
    world.send(event)
    assert ended(world, event).reason == "BadMoon[31m"
