"""The service of the environment's config, open for the length of a command."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pushsvc.bootstrap import Service

PIPED_WIDTH = 120  # columns of a table that goes into a file or another program, where COLUMNS does not say

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
app_option = click.option("--app", "app_id", type=click.IntRange(1, 2**63 - 1), required=True, help="The app's id.")


@contextmanager
def service() -> Iterator[Service]:
    """Builds the service and closes it; raises BadConfig, StoreUnavailable, StreamUnavailable."""
    from pushsvc import bootstrap
    from pushsvc.config import Config

    built = bootstrap.build(Config.from_env(os.environ))
    try:
        yield built
    finally:
        built.close()


def print_json(value: object) -> None:
    """JSON for programs: one value, two spaces deep."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_done(what: Mapping[str, object], sentence: str, as_json: bool) -> None:
    """What a command has done: JSON for programs, a sentence for a person."""
    if as_json:
        print_json(what)
    else:
        click.echo(sentence)


def print_table(columns: tuple[str, ...], rows: Sequence[tuple[object, ...]], empty: str = "") -> None:
    """A table for a person; `empty` is said where there is no row."""
    if not rows:
        click.echo(empty)
        return
    from rich.console import Console
    from rich.table import Table

    shown = [["" if cell is None else str(cell) for cell in row] for row in rows]
    table = Table(box=None, pad_edge=False)
    for name, cells in zip(columns, zip(*shown, strict=True), strict=True):
        names = sum(" " not in cell for cell in cells) > len(cells) / 2
        table.add_column(name, no_wrap=names)  # a column of sentences is folded, one of names and numbers is not
    for row in shown:
        table.add_row(*row)
    console = Console(markup=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPED_WIDTH
    console.print(table)


def read_secret(value: str) -> str:
    """The value itself, or the content of the file behind an @, so that it need not stand on the command line."""
    if not value.startswith("@"):
        return value
    from pathlib import Path

    from pushsvc.cli.failure import MISUSED, Failure

    try:
        return Path(value[1:]).read_text().strip()
    except OSError as error:
        raise Failure(value[1:], error.strerror or "cannot be read", "Give the path of a file.", MISUSED) from error


def at(seconds: float | None) -> str:
    """UNIX seconds as local time for a person."""
    from datetime import datetime

    return "" if seconds is None else datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")


def without_empty(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in given.items() if value is not None and value != ()}


def user(text: str) -> int | str:
    """A uid where it is a number, else an address."""
    return int(text) if text.isascii() and text.isdigit() else text
