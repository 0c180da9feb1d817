"""How the command line ends when something is wrong: one line, a cause, a cure, an exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import click

REFUSED = 1
MISUSED = 2
UNREACHABLE = 3


class Failure(click.ClickException):
    """Ends the command with `error: thing: cause. cure.` on standard error."""

    def __init__(self, thing: str, cause: str, cure: str = "", exit_code: int = REFUSED) -> None:
        super().__init__(f"{thing}: {_sentence(cause)}{' ' + _sentence(cure) if cure else ''}")
        self.__dict__["exit_code"] = exit_code  # click types it as a constant of the class

    def show(self, file: IO[str] | None = None) -> None:
        click.echo(f"error: {self.message}", err=True)


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if text.endswith((".", "?", "!")) else f"{text}."


@contextmanager
def told() -> Iterator[None]:
    """Turns the errors that an operator can act on into a Failure; any other is a defect and keeps its traceback."""
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:
        failure = _failure(error)
        if failure is None:
            raise
        raise failure from None


def _failure(error: Exception) -> Failure | None:
    from pushsvc.config import BadConfig

    if isinstance(error, BadConfig):
        return Failure("config", str(error), exit_code=MISUSED)
    cause, cure = getattr(error, "cause", None), getattr(error, "cure", None)
    kind = type(error).__name__
    if isinstance(cause, str) and isinstance(cure, str):  # the service's own errors carry both
        away = kind.endswith("Unavailable")
        thing = kind.removesuffix("Unavailable").lower() if away else _thing(error)
        return Failure(thing, cause, cure, UNREACHABLE if away else REFUSED)
    module = type(error).__module__
    if module.startswith("redis."):
        return Failure("valkey", str(error), "Start it (pushsvc up), or mend PUSHSVC_VALKEY_URL.", UNREACHABLE)
    if module.startswith("sqlalchemy.") and kind in ("OperationalError", "ProgrammingError"):
        cause = str(getattr(error, "orig", error))
        return Failure("store", cause, "See pushsvc doctor.", UNREACHABLE)
    if module.startswith("httpx.") or (module == "httpx" and hasattr(error, "request")):
        return Failure("api", str(error) or kind, "Check --url, and that pushsvc api runs.", UNREACHABLE)
    if isinstance(error, BrokenPipeError):
        sys.stderr.close()
        return Failure("output", "closed by the reader")
    return None


def _thing(error: Exception) -> str:
    prop = getattr(error, "prop", "")
    if prop:
        return str(prop)
    words = {"BadEvent": "event", "BadCredential": f"credential ({getattr(error, 'code', '')})", "VaultError": "vault"}
    return words.get(type(error).__name__, type(error).__name__)
