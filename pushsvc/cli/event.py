"""pushsvc event: send events, show what became of them, print the schema."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import click

from pushsvc.cli.session import at, json_option, print_json, print_table, read_secret, service, user, without_empty

if TYPE_CHECKING:
    import httpx

    from pushsvc.bootstrap import Service
    from pushsvc.domain.event import BadEvent, Event
    from pushsvc.domain.record import Record

BATCH = 500
SHOWN_BAD = 100
KEPT_IN_MEMORY_BYTES = 64 * 1024 * 1024  # of what --strict reads before it sends

Line = tuple[bytes, "Event"]  # as written, and as understood
Read = Callable[[bytes], "Event"]  # raises BadEvent
Append = Callable[[list[Line]], list[dict[str, Any]]]  # tells for each its id, and whether it was taken before


@click.group()
def event() -> None:
    """Events: send, show, schema."""


@event.command()
@click.option("--app", "app_id", type=int, help="The app's id, for events that do not name one.")
@click.option("--user", "users", multiple=True, help="Address or uid; give it several times for several users.")
@click.option("--kind", type=click.Choice(["message", "call", "call_cancelled", "silent"]), default="message")
@click.option("--id", "event_id", help="Your id of the event; taken once.")
@click.option("--message-id", help="The message's id.")
@click.option("--from", "sender", help="Who it is from: address or uid.")
@click.option("--name", help="The sender's name, as shown.")
@click.option("--gid", type=int, help="Group id.")
@click.option("--title", help="Title of the alert.")
@click.option("--body", help="Text of the alert.")
@click.option("--badge", type=int, help="Number on the app's icon.")
@click.option("--data", help="JSON object for the app.")
@click.option("--expiry", type=int, help="Seconds until it is worthless; 0: never pushed.")
@click.option("--priority", type=click.Choice(["high", "normal"]))
@click.option("--file", "file", type=click.File("rb"), help="JSON Lines, one event a line; - is standard input.")
@click.option("--strict", is_flag=True, help="Send nothing unless every line is good.")
@click.option("--url", help="Send through this API instead of straight to the stream.")
@click.option("--token", help="App token for --url, or @file.")
@json_option
def send(
    app_id: int | None,
    users: tuple[str, ...],
    file: IO[bytes] | None,
    strict: bool,
    url: str | None,
    token: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Send one event made of options, or a file of events.

    Every line of a file is checked; bad lines are named with line number, cause and cure, and the good ones are sent.
    An event with an `id` is taken once, so an interrupted run is resumed by running it again.

    Exit code 0 when every event was taken, 1 when some were bad, 3 when the stream or the API was away: run it again.
    """
    if users and file is not None:
        raise click.UsageError("--user is for one event and --file for many: both were given.")
    if not users and file is None:
        raise click.UsageError("give --user for one event, or --file for many.")
    if users and app_id is None and url is None:
        raise click.UsageError("give --app, the id of the event's app (pushsvc app list).")
    if (url is None) != (token is None):
        raise click.UsageError("--url and --token belong together.")
    lines: IO[bytes] = file if file is not None else _one_line(users, given)
    import tempfile

    with _door(url, token, app_id) as (read, append), tempfile.SpooledTemporaryFile(KEPT_IN_MEMORY_BYTES) as kept:
        if strict:
            bad = _check(lines, read, kept)
            if bad:
                _tell(_done(bad), as_json, of_file=file is not None)
            lines = kept
        done = _run(lines, read, append, progress=file is not None)
    _tell(done, as_json, of_file=file is not None)


def _done(bad: list[dict[str, object]]) -> dict[str, Any]:
    return {"sent": 0, "repeated": 0, "accepted": [], "bad": bad}


def _run(lines: IO[bytes], read: Read, append: Append, *, progress: bool) -> dict[str, Any]:
    import sys

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from pushsvc.domain.event import BadEvent

    done = _done([])
    batch: list[Line] = []

    def flush() -> None:
        accepted = append(batch) if batch else []
        done["accepted"] += accepted
        repeated = sum(one["repeated"] for one in accepted)
        done["repeated"] += repeated
        done["sent"] += len(accepted) - repeated
        batch.clear()

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    shown = progress and sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), disable=not shown, transient=True) as bar:
        task = bar.add_task("events", total=_count(lines) if shown else None)
        try:
            for number, raw in _numbered(lines):
                try:
                    batch.append((raw, read(raw)))
                except BadEvent as bad:
                    done["bad"].append(_bad(number, bad))
                if len(batch) == BATCH:
                    flush()
                bar.update(task, completed=number)
            flush()
        except Exception:
            click.echo(f"{len(done['accepted'])} events are kept; run the same again to go on.", err=True)
            raise
    return done


def _numbered(lines: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(lines, 1):
        if raw := line.strip():
            yield number, raw


def _count(lines: IO[bytes]) -> int | None:
    """The number of lines, where the file can be read twice."""
    if not lines.seekable():
        return None
    total = sum(1 for _ in lines)
    lines.seek(0)
    return total


def _check(lines: IO[bytes], read: Read, kept: IO[bytes]) -> list[dict[str, object]]:
    """Reads all lines before any is sent, into `kept`, from where they can be read again; returns the bad ones."""
    from pushsvc.domain.event import BadEvent

    bad = []
    for number, line in enumerate(lines, 1):
        kept.write(line)
        if raw := line.strip():
            try:
                read(raw)
            except BadEvent as error:
                bad.append(_bad(number, error))
    kept.seek(0)
    return bad


def _one_line(users: tuple[str, ...], given: dict[str, Any]) -> IO[bytes]:
    import io
    import json

    from pushsvc.cli.failure import MISUSED, Failure

    data = given["data"]
    if data is not None:
        try:
            data = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise Failure("--data", f"cannot be read as JSON ({error})", "Give a JSON object.", MISUSED) from error
    message = without_empty(
        {
            "id": given["message_id"],
            "from": user(given["sender"]) if given["sender"] is not None else None,
            **{name: given[name] for name in ("name", "gid", "title", "body", "badge")},
            "data": data,
        }
    )
    one = {
        "id": given["event_id"],
        "user": user(users[0]) if len(users) == 1 else [user(one) for one in users],
        "kind": given["kind"],
        "message": message or None,
        "expiry": given["expiry"],
        "priority": given["priority"],
    }
    return io.BytesIO(json.dumps(without_empty(one)).encode())


@contextmanager
def _door(url: str | None, token: str | None, app_id: int | None) -> Iterator[tuple[Read, Append]]:
    """How a line is checked and a batch sent: straight to the stream, or through the API at `url`."""
    import time
    import uuid

    if url is None:
        from pushsvc.dispatch.admit import admit

        with service() as built:
            known: set[int] = set()

            def read(raw: bytes) -> Event:
                event = admit(raw, now=time.time(), app=app_id, make_id=str(uuid.uuid4()), providers=built.providers)
                if event.app not in known:
                    _require_app(built, event.app)
                    known.add(event.app)
                return event

            def append(batch: list[Line]) -> list[dict[str, Any]]:
                new = built.stream.append([event for _, event in batch])
                return [{"id": event.id, "repeated": not first} for (_, event), first in zip(batch, new, strict=True)]

            yield read, append
        return
    import httpx

    assert token is not None
    with httpx.Client(headers={"Authorization": f"Bearer {read_secret(token)}"}, timeout=60) as client:
        address = f"{url.rstrip('/')}/v1/events"
        yield lambda raw: _foreseen(raw, app_id), lambda batch: _post(client, address, [raw for raw, _ in batch])


def _require_app(built: Service, app_id: int) -> None:
    """Raises BadEvent where there is no such app; without the store nobody can tell, and the stream takes events."""
    from pushsvc.directory.refused import NotFound
    from pushsvc.domain.event import BadEvent
    from pushsvc.store.database import StoreUnavailable

    try:
        built.apps.get(app_id)
    except NotFound as error:
        raise BadEvent(error.cause, error.cure, "app") from None
    except StoreUnavailable:
        pass


def _foreseen(raw: bytes, app_id: int | None) -> Event:
    """Checks a line as far as it can be done here; the token may name the app, and the server has the last word."""
    import time

    from pushsvc.domain.event import BadEvent, parse

    try:
        return parse(raw, now=time.time(), app=app_id, make_id="made-by-the-server")
    except BadEvent as bad:
        if app_id is not None or bad.prop != "app":
            raise
        return parse(raw, now=time.time(), app=1, make_id="made-by-the-server")


def _post(client: httpx.Client, url: str, lines: list[bytes]) -> list[dict[str, Any]]:
    from pushsvc.cli.failure import REFUSED, UNREACHABLE, Failure

    answer = client.post(url, content=b"[%b]" % b",".join(lines), headers={"Content-Type": "application/json"})
    if answer.status_code == 202:
        return list(answer.json()["accepted"])
    try:
        told = answer.json()
        cause, cure = str(told["cause"]), str(told["action"])
    except (ValueError, KeyError, TypeError):
        cause, cure = f"it answered {answer.status_code}", "Check --url: is it the API of pushsvc?"
    raise Failure("api", cause, cure, UNREACHABLE if answer.status_code >= 500 else REFUSED)


def _bad(number: int, bad: BadEvent) -> dict[str, object]:
    return {"line": number, "property": bad.prop, "cause": bad.cause, "cure": bad.cure}


def _tell(done: dict[str, Any], as_json: bool, *, of_file: bool) -> None:
    from pushsvc.cli.failure import REFUSED

    if as_json:
        print_json(done)
    else:
        for bad in done["bad"][:SHOWN_BAD]:
            where = (
                f"line {bad['line']}{': ' * bool(bad['property'])}{bad['property']}"
                if of_file
                else _option(str(bad["property"]))
            )
            click.echo(f"error: {where}: {bad['cause']}. {bad['cure']}", err=True)
        if of_file and not done["accepted"] and not done["bad"]:
            click.echo("note: the file holds no event; it has one JSON object a line", err=True)
        if len(done["bad"]) > SHOWN_BAD:
            click.echo(f"error: {len(done['bad']) - SHOWN_BAD} more lines are bad", err=True)
        repeated = f", {done['repeated']} taken before" if done["repeated"] else ""
        click.echo(f"{done['sent']} sent{repeated}" + (f", {len(done['bad'])} bad" if done["bad"] else ""))
        if not of_file:
            for one in done["accepted"]:
                click.echo(f"event {one['id']}")
    if done["bad"]:
        raise SystemExit(REFUSED)


def _option(prop: str) -> str:
    """The option that a property of the event came from."""
    name = prop.partition("[")[0]
    return "--message-id" if name == "message.id" else f"--{name.removeprefix('message.') or 'user'}"


@event.command()
@click.argument("event_id")
@click.option("--app", "app_id", type=int, required=True, help="The app's id.")
@json_option
def show(event_id: str, app_id: int, as_json: bool) -> None:
    """Show what became of an event at each device. Exit code 1 when nothing is recorded of it."""
    from pushsvc.cli.failure import Failure

    with service() as built:
        records = built.journal.of_event(app_id, event_id)
        if not records:
            built.apps.get(app_id)
    if not records:
        raise Failure(
            f"event {event_id}",
            "nothing is recorded of it",
            "It may wait still (pushsvc health), or be of another app.",
        )
    if as_json:
        print_json([as_dict(record) for record in records])
        return
    print_table(
        ("user", "provider", "type", "outcome", "code", "reason", "tries", "at", "due"),
        [
            (
                r.recipient, r.provider, r.push_type, r.outcome.name.lower(), r.response_code, r.reason, r.attempts,
                at(r.answered_at), at(r.due_at),
            )
            for r in records
        ],
    )  # fmt: skip
    for reason, cause, cure in dict.fromkeys((r.reason, r.cause, r.cure) for r in records if r.reason):
        click.echo(f"\n{reason}\n  cause  {cause}\n  cure   {cure}")


def as_dict(record: Record) -> dict[str, Any]:
    """A record for programs; the outcome by its word."""
    from dataclasses import asdict

    return {**asdict(record), "outcome": record.outcome.name.lower()}


@event.command()
def schema() -> None:
    """Print the JSON Schema of an event."""
    from pushsvc.domain.event import schema as made

    print_json(made())
