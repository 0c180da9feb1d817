"""The ways to the providers: told by the flow, shown by its worker, and by every other process."""

import json

import pytest
from click.testing import CliRunner
from world import World

from pushsvc.cli.main import cli
from pushsvc.dispatch import flow
from pushsvc.dispatch.ports import Reach
from pushsvc.health import LATELY_S, providers
from pushsvc.stream import board
from pushsvc.stream.board import ValkeyBoard, shown
from pushsvc.stream.valkey import Valkey

NOW = 1_764_497_600.0  # 2025-11-30T10:13:20Z
OK = Reach(2, "", NOW - 60, NOW)
DOWN = Reach(0, "connect_timeout", NOW, NOW)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "SHOW_EVERY_S", 0.0)


def authority(world: World, name: str) -> str:
    return world.environ[f"PUSHSVC_{name}"]


def test_a_worker_and_every_other_process_show_the_connections_that_stand(world: World) -> None:
    world.iphone("ada")
    world.android("ada")
    world.push("ada")
    world.flow.step(0)
    expected = {authority(world, name): "ok (1 connection)" for name in ("APNS_PRODUCTION", "FCM", "OAUTH")}
    own = world.service.health.look_of_worker("")
    assert (own.ready, dict(own.providers)) == (True, expected)
    seen = world.service.health.look()
    assert (seen.ready, dict(seen.providers)) == (True, expected)
    said = CliRunner().invoke(cli, ("health", "--json"), env=world.environ, catch_exceptions=False)
    assert json.loads(said.stdout)["providers"] == expected
    said = CliRunner().invoke(cli, ("health",), env=world.environ, catch_exceptions=False)
    assert f"{authority(world, 'FCM')}: ok (1 connection)" in said.stdout
    labels = {"authority": authority(world, "APNS_PRODUCTION")}
    assert world.service.telemetry.registry.get_sample_value("pushsvc_provider_connections", labels) == 1


def test_no_provider_reached_makes_worker_and_api_unready_with_a_cure_until_one_is(world: World) -> None:
    world.iphone("ada")
    world.simulator.faults.add("refuse-connections", site="apns-production")
    event = world.event("ada")
    world.send(event)
    world.run(lambda: bool(world.records(event)))
    world.run(lambda: not world.service.health.look_of_worker("").ready)
    own = world.service.health.look_of_worker("")
    (state,) = own.providers.values()
    assert state.startswith("unreachable since 20")
    assert state.endswith(": connect")
    assert "pushsvc doctor --network" in own.checks["providers"]
    seen = world.service.health.look()
    assert (seen.ready, seen.providers) == (False, own.providers)
    world.android("bob")
    world.push("bob")
    world.run(lambda: world.service.health.look_of_worker("").ready)
    assert world.service.health.look().ready


@pytest.mark.parametrize(
    ("views", "ready", "states"),
    [
        ([], True, {}),
        ([{"a:1": OK}, {}], True, {"a:1": "ok (2 connections)"}),
        ([{"a:1": OK}, {"a:1": OK}], True, {"a:1": "ok (4 connections)"}),
        ([{"a:1": DOWN}], False, {"a:1": "unreachable since 2025-11-30T10:13:20+00:00: connect_timeout"}),
        (
            [{"a:1": DOWN}, {"a:1": OK}],
            True,
            {
                "a:1": "ok (2 connections); "
                "unreachable from 1 of 2 workers since 2025-11-30T10:13:20+00:00: connect_timeout"
            },
        ),
        (
            [{"a:1": DOWN, "b:1": OK}],
            True,
            {"a:1": "unreachable since 2025-11-30T10:13:20+00:00: connect_timeout", "b:1": "ok (2 connections)"},
        ),
        (
            [{"a:1": DOWN, "b:1": Reach(0, "", 0, NOW - LATELY_S)}],
            False,
            {"a:1": "unreachable since 2025-11-30T10:13:20+00:00: connect_timeout", "b:1": "ok (0 connections)"},
        ),
        (
            [{"a:1": Reach(0, "dns", NOW - LATELY_S, NOW - LATELY_S)}],
            True,
            {"a:1": "unreachable since 2025-11-30T10:08:20+00:00: dns"},
        ),
    ],
)
def test_it_is_unready_only_where_all_that_was_asked_lately_fails(views, ready, states) -> None:
    cause, told = providers(views, NOW)
    assert (cause == "", told) == (ready, states)


def test_a_worker_writes_its_board_when_something_changes_or_to_refresh_it(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = ValkeyBoard(valkey, "w")

    def writes() -> int:
        stats = valkey.call("INFO", "commandstats")
        return stats.get("cmdstat_set", {}).get("calls", 0)

    mine.show({})
    assert writes() == 0
    mine.show({"a:1": OK})
    mine.show({"a:1": Reach(2, "", OK.since, NOW + 5)})
    assert writes() == 1, "traffic alone is no news"
    assert shown(valkey, ["w", "other"]) == [{"a:1": OK}]
    mine.show({"a:1": DOWN})
    assert writes() == 2
    assert shown(valkey, ["w"]) == [{"a:1": DOWN}]
    assert 0 < valkey.call("TTL", "{pushsvc}:reach:w") <= board.LIVES_S
    monkeypatch.setattr(mine, "_write_at", 0.0)
    mine.show({"a:1": DOWN})
    assert writes() == 3
