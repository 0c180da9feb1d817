"""The main path on the other store and with the other sender: the same events, the same ends."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from world import World, built

from pushsvc.domain.outcome import Outcome
from pushsvc.simulator import Simulator
from pushsvc.stream.embedded import EmbeddedValkey
from pushsvc.stream.valkey import Valkey
from tests.postgres import new_database, postgres

__all__ = ["postgres"]


@pytest.fixture(params=["postgresql", "httpx"])
def elsewhere(
    request: pytest.FixtureRequest,
    simulator: Simulator,
    running_valkey: EmbeddedValkey,
    valkey: Valkey,
    tmp_path: Path,
) -> Iterator[World]:
    environ = {"PUSHSVC_SENDER": "httpx"}
    if request.param == "postgresql":
        environ = {"PUSHSVC_DATABASE_URL": new_database(request.getfixturevalue("postgres"))}
    with built(simulator, running_valkey.url, tmp_path, **environ) as made:
        yield made


def test_every_way_an_event_can_end_is_the_same(elsewhere: World) -> None:
    world = elsewhere
    live, dead = world.iphone("ada", voip=True), world.iphone("bob")
    android = world.android("cyd")
    moved = world.iphone("dan", home="sandbox", registered="production")
    world.simulator.devices.unregister(dead)
    world.simulator.faults.add("reason", token=android, times=1, reason="UNAVAILABLE", retry_after=1)
    sent = [world.event(user) for user in ("ada", "bob", "cyd", "dan", "nobody")]
    sent.append(world.event("ada", kind="call", expiry=30))
    world.send(*sent, sent[0])
    ends = [
        Outcome.ACCEPTED,
        Outcome.BAD_TOKEN,
        Outcome.ACCEPTED,
        Outcome.ACCEPTED,
        Outcome.NO_DEVICE,
        Outcome.ACCEPTED,
    ]
    world.run(lambda: [r.outcome for event in sent for r in world.records(event)] == ends)
    assert [request.status for request in world.arrived(android)] == [503, 200]
    assert [request.site for request in world.arrived(moved)] == ["apns-production", "apns-sandbox"]
    assert len(world.arrived(live)) == 1
    assert world.service.devices.of_user(world.app, "bob") == ()
