"""pushsvc dead: events that nobody could work off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from pushsvc.cli.session import at, json_option, print_done, print_json, print_table

if TYPE_CHECKING:
    from pushsvc.stream.dead import DeadLetter, DeadLetters


@click.group()
def dead() -> None:
    """Dead letters: list, show, retry, drop."""


@contextmanager
def _letters() -> Iterator[DeadLetters]:
    import os

    from pushsvc.config import Config
    from pushsvc.stream.dead import DeadLetters
    from pushsvc.stream.valkey import Valkey

    config = Config.from_env(os.environ)
    valkey = Valkey(config.valkey_url)
    try:
        yield DeadLetters(valkey, config.marks_kept_s)
    finally:
        valkey.close()


@dead.command("list")
@click.option("--count", default=100, show_default=True, type=click.IntRange(1, 10_000), help="The newest so many.")
@json_option
def list_(count: int, as_json: bool) -> None:
    """List dead letters, newest first, with the reason of each."""
    with _letters() as letters:
        found = letters.list(count)
    if as_json:
        print_json([_dict(letter) for letter in found])
        return
    rows: list[tuple[object, ...]] = [
        (one.id, at(one.at), one.lane.value, one.deliveries, len(one.raw), one.reason) for one in found
    ]
    print_table(("id", "at", "lane", "deliveries", "bytes", "reason"), rows, "there are no dead letters")


def _dict(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "entry": letter.entry,
        "lane": letter.lane.value,
        "reason": letter.reason,
        "at": letter.at,
        "deliveries": letter.deliveries,
        "fields": letter.fields,
        "bytes": len(letter.raw),
    }


@dead.command()
@click.argument("letter_id")
@json_option
def show(letter_id: str, as_json: bool) -> None:
    """Show one dead letter with the event as it came, texts and all."""
    with _letters() as letters:
        letter = letters.get(letter_id)
    if letter is None:
        raise _gone(letter_id)
    event = letter.raw.decode(errors="replace")
    if as_json:
        print_json({**_dict(letter), "event": event})
        return
    for name, value in {**_dict(letter), "at": at(letter.at)}.items():
        if value != "":
            click.echo(f"{name:11} {value}")
    click.echo(event)


@dead.command()
@click.argument("letter_ids", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All of them.")
@json_option
def retry(letter_ids: tuple[str, ...], every: bool, as_json: bool) -> None:
    """Put dead letters on their lane again. Exit code 1 when one is gone or is no event."""
    _each(letter_ids, every, "retry", as_json)


@dead.command()
@click.argument("letter_ids", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All of them.")
@json_option
def drop(letter_ids: tuple[str, ...], every: bool, as_json: bool) -> None:
    """Throw dead letters away. Exit code 1 when one is gone already."""
    _each(letter_ids, every, "drop", as_json)


def _each(letter_ids: tuple[str, ...], every: bool, what: str, as_json: bool) -> None:
    from pushsvc.cli.failure import REFUSED
    from pushsvc.domain.event import BadEvent

    if every == bool(letter_ids):
        raise click.UsageError("name dead letters, or give --all.")
    done = failed = 0
    with _letters() as letters:
        chosen = [one.id for one in letters.list(letters.count() or 1)] if every else letter_ids
        for letter_id in chosen:
            try:
                worked = letters.retry(letter_id) if what == "retry" else letters.drop(letter_id)
            except BadEvent as bad:
                click.echo(f"error: dead letter {letter_id}: {bad.cause}. {bad.cure}", err=True)
                failed += 1
                continue
            if not worked:
                click.echo(f"error: {_gone(letter_id).message}", err=True)
            done, failed = done + worked, failed + (not worked)
    word = "on their way again" if what == "retry" else "dropped"
    print_done({"done": done, "failed": failed}, f"{done} {word}", as_json)
    if failed:
        raise SystemExit(REFUSED)


def _gone(letter_id: str) -> click.ClickException:
    from pushsvc.cli.failure import Failure

    return Failure(f"dead letter {letter_id}", "there is none of this id", "See pushsvc dead list.")
