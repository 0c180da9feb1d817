"""Valkey goes and comes back, the store is locked, a worker leaves in the middle: nothing is lost, nothing doubled."""

import os
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from world import World

from pushsvc import bootstrap
from pushsvc.config import Config
from pushsvc.dispatch.ports import StreamUnavailable
from pushsvc.domain.event import Event
from pushsvc.domain.outcome import Outcome
from pushsvc.store import database
from pushsvc.store.database import StoreUnavailable
from pushsvc.store.devices import Devices
from pushsvc.stream.embedded import EmbeddedValkey
from pushsvc.stream.figures import figures
from pushsvc.stream.valkey import Valkey


@pytest.fixture
def running_valkey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedValkey]:
    """A server of the test's own, so that it may be stopped; and a store that gives up waiting for a lock at once."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.1)
    with EmbeddedValkey(tmp_path / "own") as server:
        yield server


@pytest.fixture
def valkey(running_valkey: EmbeddedValkey) -> Iterator[Valkey]:
    connection = Valkey(running_valkey.url)
    yield connection
    connection.close()


def accepted(world: World, events: list[Event]) -> bool:
    return all([record.outcome for record in world.records(event)] == [Outcome.ACCEPTED] for event in events)


def sent_times(world: World, token: str) -> Counter[str]:
    """How often each push arrived, by its apns-id."""
    return Counter(request.apns_id for request in world.arrived(token))


def ids(world: World, events: list[Event]) -> set[str]:
    return {world.records(event)[0].push_id for event in events}


def under_way(world: World, token: str) -> list[Event]:
    """Thirty events whose pushes have arrived and are not answered yet."""
    world.simulator.faults.add("delay", token=token, delay_s=0.6)
    sent = [world.event("ada") for _ in range(30)]
    world.send(*sent)
    world.run(lambda: len(world.arrived(token)) == 30)
    assert world.flow.in_flight == 30
    return sent


def stays_away(world: World, error: type[Exception], for_s: float, until: Callable[[], bool] = lambda: True) -> int:
    """Steps the flow while something is away, for so long and until it has got there; how often it said so."""
    told, ends, last = 0, time.monotonic() + for_s, time.monotonic() + for_s + 20
    while time.monotonic() < ends or (not until() and time.monotonic() < last):
        try:
            world.flow.step(20)
        except error:
            told += 1
        time.sleep(0.01)
    return told


def nothing_is_left(world: World) -> bool:
    now = figures(world.service.valkey)
    return not (now.waiting or now.in_flight or world.flow.in_flight)


def test_a_flow_outlives_valkey_and_sends_nothing_twice(world: World, running_valkey: EmbeddedValkey) -> None:
    token = world.iphone("ada")
    sent = under_way(world, token)
    later = [world.event("ada") for _ in range(5)]
    world.send(*later)  # kept, and not read yet
    running_valkey.stop()
    with pytest.raises(StreamUnavailable):
        world.run(lambda: False, within_s=10)
    assert stays_away(world, StreamUnavailable, 1.2) > 5  # the answers come in meanwhile
    with pytest.raises(StreamUnavailable):
        world.send(world.event("ada"))
    assert world.flow.in_flight

    running_valkey.start()
    world.run(lambda: accepted(world, sent + later) and nothing_is_left(world))
    assert sent_times(world, token) == dict.fromkeys(ids(world, sent + later), 1)
    assert {record.attempts for event in sent + later for record in world.records(event)} == {1}


def test_a_flow_outlives_the_crash_of_valkey_and_loses_nothing(world: World, running_valkey: EmbeddedValkey) -> None:
    token = world.iphone("ada")
    sent = under_way(world, token)
    later = [world.event("ada") for _ in range(5)]
    world.send(*later)
    os.kill(running_valkey.pid, signal.SIGKILL)
    with pytest.raises(StreamUnavailable):
        world.run(lambda: False, within_s=10)
    running_valkey.stop()
    running_valkey.start()
    world.run(lambda: accepted(world, sent + later) and nothing_is_left(world))
    assert sent_times(world, token) == dict.fromkeys(ids(world, sent + later), 1)


def test_retries_and_trailing_wake_ups_outlive_valkey_and_their_worker(
    world: World, running_valkey: EmbeddedValkey
) -> None:
    token, other = world.iphone("ada"), world.iphone("bob")
    world.simulator.faults.add("reason", token=token, times=1, reason="ServiceUnavailable", retry_after=2)
    retried = world.event("ada")
    world.send(retried)
    world.run(lambda: [record.outcome for record in world.records(retried)] == [Outcome.RETRYING])
    world.settings(min_interval_s=2)
    trailing = [world.event("bob") for _ in range(3)]
    world.send(*trailing)
    world.run(lambda: bool(world.records(trailing[-1])) and nothing_is_left(world))
    assert len(world.arrived(other)) == 1
    world.flow.close()
    running_valkey.stop()
    running_valkey.start()

    world.flow = world.service.flow("the next one")
    world.run(lambda: accepted(world, [retried, trailing[0], trailing[-1]]))
    assert [request.status for request in world.arrived(token)] == [503, 200]
    assert len(sent_times(world, token)) == 1
    assert world.records(retried)[0].attempts == 2
    assert len(world.arrived(other)) == 2
    world.run(lambda: world.records(trailing[1])[0].outcome is Outcome.SUPPRESSED)


def test_pushes_answered_while_the_store_is_locked_are_not_sent_again_and_are_recorded_afterwards(
    world: World, tmp_path: Path
) -> None:
    token = world.iphone("ada")
    sent = under_way(world, token)
    locker = sqlite3.connect(tmp_path / "pushsvc.db", isolation_level=None)
    locker.execute("BEGIN EXCLUSIVE")
    assert stays_away(world, StoreUnavailable, 2.0, lambda: world.flow.in_flight == 60) > 2
    assert not any(world.records(event) for event in sent)
    assert len(world.arrived(token)) == 30
    assert world.flow.in_flight == 60  # thirty entries whose end is not written, and thirty records
    locker.execute("ROLLBACK")
    locker.close()
    world.run(lambda: accepted(world, sent) and nothing_is_left(world))
    assert sent_times(world, token) == dict.fromkeys(ids(world, sent), 1)


def test_events_read_while_the_store_cannot_be_asked_wait_and_are_sent_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = world.iphone("ada")
    ask = Devices.of

    def away(*_: object) -> None:
        raise StoreUnavailable("the database is away", "Start it.")

    monkeypatch.setattr(Devices, "of", away)
    sent = [world.event("ada") for _ in range(20)]
    world.send(*sent)
    assert stays_away(world, StoreUnavailable, 0.5) > 2
    assert not world.arrived()
    monkeypatch.setattr(Devices, "of", ask)
    world.run(lambda: accepted(world, sent) and nothing_is_left(world))
    assert sent_times(world, token) == dict.fromkeys(ids(world, sent), 1)


def test_a_flow_that_drains_ends_what_is_under_way_and_leaves_the_rest_to_another(world: World) -> None:
    token = world.iphone("ada")
    sent = under_way(world, token)
    later = [world.event("ada") for _ in range(20)]
    world.send(*later)
    world.flow.draining = True
    world.run(lambda: not world.flow.in_flight)
    assert accepted(world, sent)
    assert not any(world.records(event) for event in later)
    world.flow.close()
    world.flow = world.service.flow("the next one")
    world.run(lambda: accepted(world, later) and nothing_is_left(world))
    assert sent_times(world, token) == dict.fromkeys(ids(world, sent + later), 1)


def test_a_flow_that_is_closed_in_the_middle_leaves_what_it_held_to_another_at_once(world: World) -> None:
    token = world.iphone("ada")
    sent = under_way(world, token)
    world.flow.close()
    world.flow = world.service.flow("the next one")
    world.run(lambda: accepted(world, sent) and nothing_is_left(world), within_s=6)
    # sent again, since nobody can know, and under the same apns-id, by which a phone tells a repetition
    assert sent_times(world, token) == dict.fromkeys(ids(world, sent), 2)


@pytest.mark.parametrize("sender", ["curl", "httpx"])
def test_no_more_requests_than_the_config_allows_wait_for_their_answer(world: World, sender: str) -> None:
    users = [f"user{number}" for number in range(40)]
    for user in users:
        world.iphone(user)
    world.android("user0")
    world.simulator.faults.add("delay", delay_s=0.05)
    bounded = bootstrap.build(Config.from_env(world.environ | {"PUSHSVC_IN_FLIGHT": "8", "PUSHSVC_SENDER": sender}))
    world.flow.close()
    world.flow = bounded.flow("bounded")
    sent = [world.event(users), world.event("user0"), *(world.event(user) for user in users)]
    world.send(*sent)
    world.run(lambda: all(world.records(event) for event in sent) and nothing_is_left(world))
    requests = world.arrived()
    assert len(requests) == 41 + 2 + 41
    assert all(request.accepted for request in requests)
    moments = sorted(
        moment
        for request in requests
        for moment in ((request.at, 1), (request.answered_at, -1))
        if request.answered_at is not None
    )
    waiting = most = 0
    for _, change in moments:
        waiting += change
        most = max(most, waiting)
    assert 4 < most <= 8
    world.flow.close()
    bounded.close()
    world.flow = world.service.flow("test")
