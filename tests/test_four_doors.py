"""The same event by HTTP, Celery task, XADD and command line: one meaning, one check, one memory of ids."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import uvicorn
from celery import Celery
from click.testing import CliRunner, Result

from pushsvc.api.app import create
from pushsvc.cli.main import cli
from pushsvc.domain.event import MAX_EVENT_BYTES, MAX_NESTING
from pushsvc.domain.outcome import Outcome
from pushsvc.stream import keys
from pushsvc.stream.dead import DeadLetter, DeadLetters
from tests.workers.celery_process import Worker, until
from tests.world import World, world
from workers.app import broker_url

__all__ = ["world"]

MESSAGE: dict[str, Any] = {
    "id": "m1", "from": "bob", "name": "Bob", "gid": 7, "title": "Hey", "body": "Coming? ☕", "badge": 3,
    "data": {"k": [1, "é", None]},
}  # fmt: skip
SENT = {"user": "ada", "kind": "message", "message": MESSAGE, "expiry": 86_400, "priority": "high"}


def nested(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


def holding(data: str, **more: str) -> str:
    """The JSON of an event for ada with this JSON as its data."""
    given = "".join(f'"{name}": "{value}", ' for name, value in more.items())
    return "{" + given + '"user": "ada", "message": {"data": ' + data + "}}"


# what is wrong -> the JSON of an event that every door has to refuse, and a word of the cause
BAD: dict[str, tuple[str, str]] = {
    "wrong type": ('{"user": "ada", "expiry": "soon"}', "expiry"),
    "unknown property": ('{"user": "ada", "colour": "red"}', "colour"),
    "no user": ('{"kind": "message"}', "user"),
    "no such kind": ('{"user": "ada", "kind": "shout"}', "kind"),
    "bad APNs override": ('{"user": "ada", "apns": {"push_type": "shout"}}', "apns"),
    "bad FCM override": ('{"user": "ada", "fcm": {"android": {"priority": 7}}}', "fcm"),
    "too large": (holding(json.dumps({"x": "x" * MAX_EVENT_BYTES})), "bytes"),
    "nested too deep": (holding(nested(300)), "nested"),
    "override nested too deep": ('{"user": "ada", "apns": {"payload": ' + nested(300) + "}}", "nested"),
    "NUL in an address": ('{"user": "a\\u0000b"}', "user"),
    "half a surrogate pair": ('{"user": "ada", "message": {"body": "\\ud800"}}', ""),
    "no number": ('{"user": "ada", "message": {"data": {"x": NaN}}}', ""),
    "milliseconds": ('{"user": "ada", "sent_at": 1764500000000}', "sent_at"),
    "no object": ('["ada"]', ""),
}  # fmt: skip


@dataclass
class Doors:
    """One app, its API, and one real Celery worker that works off whatever comes in by any door."""

    world: World
    http: httpx.Client
    celery: Celery
    worker: Worker

    def post(self, *raws: str) -> httpx.Response:
        content = raws[0] if len(raws) == 1 else f"[{','.join(raws)}]"
        return self.http.post("/v1/events", content=content.encode(), headers={"content-type": "application/json"})

    def task(self, *events: Any) -> None:
        one = events[0] if len(events) == 1 else list(events)
        self.celery.send_task("pushsvc.dispatch", args=[one], queue="pushsvc")

    def xadd(self, raw: str | bytes) -> None:
        self.world.service.valkey.call("XADD", keys.MESSAGES, "*", "event", raw)

    def cli(self, *arguments: str, stdin: bytes | None = None) -> Result:
        argv = ["event", "send", "--app", str(self.world.app), *arguments]
        return CliRunner().invoke(cli, argv, env=self.world.environ, input=stdin, catch_exceptions=False)

    def named(self, raw: str) -> str:
        """The event with its app, as a foreign producer has to give it."""
        return raw.replace("{", f'{{"app": {self.world.app}, ', 1) if raw.startswith("{") else raw

    def ended(self, event_id: str) -> list[Any]:
        """The records of an event for ada, as soon as it has ended at both of her devices."""

        def records() -> list[Any]:
            found = self.world.service.journal.of_event(self.world.app, event_id)
            return found if len(found) == 2 and all(record.outcome.final for record in found) else []

        found = until(records)
        assert isinstance(found, list)
        return found

    def letters(self, count: int) -> Sequence[DeadLetter]:
        dead = DeadLetters(self.world.service.valkey, 60)
        until(lambda: len(dead.list()) >= count)
        return dead.list()


@pytest.fixture
def doors(world: World, tmp_path: Path) -> Iterator[Doors]:
    world.iphone("ada")
    world.android("ada")
    world.settings(background=False)
    token = world.service.apps.rotate_token(world.app)
    worker = Worker("workers.app", tmp_path / "worker.log", (), world.environ)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(create(world.service), log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        celery = Celery("elsewhere", broker=broker_url(world.service.config), set_as_current=False)
        try:
            with httpx.Client(
                base_url=f"http://127.0.0.1:{listening.getsockname()[1]}",
                headers={"Authorization": f"Bearer {token}"},
                timeout=30,
            ) as http:
                yield Doors(world, http, celery, worker)
        finally:
            celery.close()
            server.should_exit = True
            thread.join(20)
            worker.process.kill()
            worker.wait()
            print(worker.log)


def wire(request: Any) -> tuple[Any, ...]:
    """What arrived, without what differs from event to event and from second to second."""
    own = ("apns-id", "apns-expiration", "content-length")
    headers = {name: value for name, value in request.headers.items() if name not in own}
    body = json.loads(request.body)
    for place in (body, body.get("message", {}).get("data", {})):
        place.pop("event_id", None)
    if "message" in body:
        body["message"]["android"].pop("ttl")
        body["message"]["android"]["notification"].pop("tag")
    return request.site, request.path, headers, body


def meaning(record: Any) -> dict[str, Any]:
    own = ("event_id", "push_id", "enqueued_at", "answered_at")
    return {name: value for name, value in msgspec.to_builtins(record).items() if name not in own}


def test_the_same_event_arrives_and_is_recorded_alike_by_whatever_door_it_came(doors: Doors, tmp_path: Path) -> None:
    app = doors.world.app

    def named(event_id: str) -> dict[str, Any]:
        return {"id": event_id, **SENT}

    def by_options(event_id: str) -> Result:
        told = {name: str(MESSAGE[name]) for name in ("from", "name", "gid", "title", "body", "badge")}
        options = {"id": event_id, "user": "ada", "message-id": "m1", "expiry": "86400", "priority": "high", **told}
        options["data"] = json.dumps(MESSAGE["data"])
        return doors.cli(*(word for name, value in options.items() for word in (f"--{name}", value)))

    def by_file(event_id: str) -> Result:
        file = tmp_path / "events.jsonl"
        file.write_text(json.dumps(named(event_id)) + "\n\n")
        return doors.cli("--file", str(file))

    ways: Mapping[str, Callable[[str], Any]] = {
        "http": lambda one: doors.post(json.dumps(named(one))),
        "http-array": lambda one: doors.post(json.dumps([named(one)])),
        "http-wrapped": lambda one: doors.post(json.dumps({"events": [named(one)]})),
        "task": lambda one: doors.task({"app": app, **named(one)}),
        "task-list": lambda one: doors.task([{"app": app, **named(one)}]),
        "xadd": lambda one: doors.xadd(json.dumps({"app": app, **named(one)})),
        "options": by_options,
        "file": by_file,
        "stdin": lambda one: doors.cli("--file", "-", stdin=json.dumps(named(one), ensure_ascii=False).encode()),
    }
    for name, send in ways.items():
        answer = send(name)
        if isinstance(answer, httpx.Response):
            assert (answer.status_code, answer.json()) == (202, {"accepted": [{"id": name, "repeated": False}]})
        elif isinstance(answer, Result):
            assert (answer.exit_code, answer.stdout.splitlines()[0]) == (0, "1 sent"), answer.output
    records = {name: [meaning(record) for record in doors.ended(name)] for name in ways}
    assert [record["outcome"] for record in records["http"]] == [msgspec.to_builtins(Outcome.ACCEPTED)] * 2
    arrived: dict[str, list[Any]] = {name: [] for name in ways}
    for request in doors.world.arrived():
        body = json.loads(request.body)
        arrived[(body.get("message", {}).get("data") or body)["event_id"]].append(wire(request))
    for name in ways:
        assert records[name] == records["http"], name
        assert sorted(arrived[name], key=str) == sorted(arrived["http"], key=str), name
        assert len(arrived[name]) == 2


def test_an_id_sent_by_one_door_and_repeated_by_the_others_is_taken_once(doors: Doors) -> None:
    app, event = doors.world.app, {"id": "once", "user": "ada"}
    assert doors.post(json.dumps(event)).json()["accepted"][0]["repeated"] is False
    assert doors.post(json.dumps(event)).json()["accepted"][0]["repeated"] is True
    assert doors.cli("--user", "ada", "--id", "once").stdout.startswith("0 sent, 1 taken before\n")
    doors.task({"app": app, **event})
    doors.xadd(json.dumps({"app": app, **event}))
    until(lambda: "'repeated': 1" in doors.worker.log or "repeated=1" in doors.worker.log)
    doors.xadd(json.dumps({"app": app, "id": "foreign-first", "user": "ada"}))
    doors.ended("foreign-first")
    assert doors.post('{"id": "foreign-first", "user": "ada"}').json()["accepted"][0]["repeated"] is True
    doors.post('{"id": "last", "user": "ada"}')
    assert len(doors.ended("last")) == 2
    assert len(doors.ended("once")) == 2
    assert len(doors.world.arrived()) == 3 * 2


def test_every_bad_event_is_refused_at_every_door_and_blocks_no_good_one(doors: Doors, tmp_path: Path) -> None:
    app = doors.world.app
    for what, (raw, word) in BAD.items():
        answer = doors.post(raw)
        told = answer.json()
        assert answer.status_code == 400, what
        assert word in told["cause"] + str(told["properties"]), (what, told)
        assert told["action"], what
        together = doors.post('{"id": "not-taken", "user": "ada"}', raw)
        assert together.status_code == 400, what

    file = tmp_path / "events.jsonl"
    lines = ['{"id": "cli-1", "user": "ada"}', *(raw for raw, _ in BAD.values()), '{"id": "cli-2", "user": "ada"}']
    file.write_text("\n".join(lines))
    ended = doors.cli("--file", str(file), "--json")
    told = json.loads(ended.stdout)
    assert (ended.exit_code, told["sent"]) == (1, 2)
    assert [bad["line"] for bad in told["bad"]] == list(range(2, 2 + len(BAD)))
    for bad, (what, (_, word)) in zip(told["bad"], BAD.items(), strict=True):
        assert word in bad["cause"] + bad["property"], what
        assert bad["cure"], what

    doors.task(
        {"app": app, "id": "task-1", "user": "ada"},
        *(json.loads(doors.named(raw)) for raw, _ in BAD.values()),
        {"app": app, "id": "task-2", "user": "ada"},
    )
    check_letters(doors.letters(len(BAD)))
    doors.world.service.valkey.call("DEL", keys.DEAD)

    doors.xadd(json.dumps({"app": app, "id": "xadd-1", "user": "ada"}))
    for raw, _ in BAD.values():
        doors.xadd(doors.named(raw))
    doors.xadd(json.dumps({"app": app, "id": "xadd-2", "user": "ada"}))
    check_letters(doors.letters(len(BAD)))

    for good in ("cli-1", "cli-2", "task-1", "task-2", "xadd-1", "xadd-2"):
        assert [record.outcome for record in doors.ended(good)] == [Outcome.ACCEPTED] * 2
    assert doors.world.service.journal.of_event(app, "not-taken") == []
    assert "Traceback" not in doors.worker.log


def check_letters(letters: Sequence[DeadLetter]) -> None:
    """One for each bad event, each with cause and cure."""
    reasons = [letter.reason for letter in letters]
    assert len(reasons) == len(BAD)
    for what, (_, word) in BAD.items():
        assert any(word in reason for reason in reasons), (what, reasons)
    assert all("(" in reason and reason.endswith(")") for reason in reasons), reasons


def test_what_no_decoder_can_walk_is_refused_too(doors: Doors, tmp_path: Path) -> None:
    """Nested far deeper than the interpreter's own limit, and bytes that are no UTF-8."""
    deep = holding(nested(4000))
    assert len(deep) < MAX_EVENT_BYTES
    answer = doors.post(deep)
    assert (answer.status_code, answer.json()["error"]) in ((400, "BADEVENT"), (400, "BADVALUE"))
    answer = doors.http.post("/v1/events", content=b'{"user": "\xff\xfe"}')
    assert answer.status_code == 400
    ended = doors.cli("--file", "-", "--json", stdin=deep.encode() + b'\n{"user": "\xff"}\n{"id":"good","user":"ada"}')
    assert [bad["line"] for bad in json.loads(ended.stdout)["bad"]] == [1, 2]
    assert json.loads(ended.stdout)["sent"] == 1
    ended = doors.cli("--user", "ada", "--data", nested(4000))
    assert ended.exit_code == 2
    assert ended.stderr.startswith("error: --data: ")

    doors.xadd(doors.named(deep))
    doors.xadd(b'{"app": 1, "user": "\xff"}')
    with doors.celery.connection_for_write() as connection:  # as a producer in another language may
        producer = connection.Producer()
        headers = {"task": "pushsvc.dispatch", "id": "t", "lang": "xx"}
        deep = {depth: doors.named(holding(nested(depth))) for depth in (4000, 970, 960, 950, 900, 850)}
        bodies = [f"[[{event}], {{}}, {{}}]" for event in deep.values()]
        bodies += [f'[[], {{"event": {deep[depth]}}}, {{}}]' for depth in (970, 960, 950)]
        for number, body in enumerate(bodies):
            producer.publish(
                body,
                routing_key="pushsvc",
                exchange="",
                serializer=None,
                content_type="application/json",
                content_encoding="utf-8",
                headers={**headers, "id": f"t{number}"},
            )
    doors.task({"app": doors.world.app, "id": "task-good", "user": "ada"})
    for good in ("good", "task-good"):
        assert [record.outcome for record in doors.ended(good)] == [Outcome.ACCEPTED] * 2
    refused = doors.worker.log.count("a message that is no task was refused")  # what Celery itself cannot read
    assert 1 <= refused < len(bodies)
    assert len(doors.letters(2 + len(bodies) - refused)) == 2 + len(bodies) - refused


@pytest.mark.parametrize("levels", [MAX_NESTING, MAX_NESTING + 1])
def test_the_limit_of_nesting_is_the_same_for_the_door_and_the_worker(doors: Doors, levels: int) -> None:
    raw = holding(nested(levels), id="deep")
    if levels > MAX_NESTING:
        assert doors.post(raw).status_code == 400
        return
    assert doors.post(raw).status_code == 202
    assert [record.outcome for record in doors.ended("deep")] == [Outcome.ACCEPTED] * 2


@pytest.mark.parametrize("filling", ["text", "numbers that grow when they are written again"])
def test_an_event_that_a_door_takes_is_not_too_large_for_the_worker(doors: Doors, filling: str) -> None:
    """The door fills in app, id and sent_at, which must not carry the event over the limit behind its back."""
    empty = len(holding('{"x": ""}', id="large"))

    def of(count: int) -> str:
        if filling == "text":
            return holding(json.dumps({"x": "x" * count}), id="large")
        return holding('{"x": [' + ",".join(["1e15"] * (count // len("1e15,"))) + "]}", id="large")

    answer = doors.post(of(MAX_EVENT_BYTES - empty))
    assert answer.status_code == 400
    assert "bytes" in answer.json()["cause"]
    room = MAX_EVENT_BYTES - empty
    while doors.post(of(room)).status_code == 400:
        room -= 1 if filling == "text" else 1000
    assert doors.ended("large")
    assert not DeadLetters(doors.world.service.valkey, 60).list()
