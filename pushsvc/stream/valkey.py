"""The connection to Valkey or Redis: one place for timeouts, scripts and the words of its errors."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry

from pushsvc.dispatch.ports import StreamUnavailable

ANSWER_TIMEOUT_S = 5.0  # longer than any blocking read (see events.MAX_BLOCK_MS) and any script
CONNECT_TIMEOUT_S = 2.0
MAX_SOCKET_PATH_BYTES = 103  # sun_path has 104 bytes on macOS and 108 on Linux, one of them ends the string

Argument = str | bytes | int | float


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script; runs atomically in the server."""

    lua: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.lua.encode(), usedforsecurity=False).hexdigest())


class Valkey:
    """A lazily connected, thread-safe client of one server; every failure to serve is a StreamUnavailable.

    Commands are tried once: a repetition could hide that the first try had been carried out.
    """

    def __init__(self, url: str) -> None:
        """`url` is redis://, rediss://, valkey://, valkeys:// or unix://path?db=n."""
        self.client = redis.Redis.from_url(
            client_url(url),
            retry=Retry(NoBackoff(), 0),
            socket_timeout=ANSWER_TIMEOUT_S,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            protocol=2,
            client_name="pushsvc",
        )
        self._execute: Callable[..., Any] = self.client.execute_command

    def call(self, *command: Argument) -> Any:
        """One command, one round trip; the answer as the client library parses it (a container command is one word)."""
        with reported():
            return self._execute(*command)

    def calls(self, *commands: Sequence[Argument]) -> list[Any]:
        """Several commands in one round trip; not atomic; raises the first error."""
        with reported():
            pipeline: Any = self.client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            return list(pipeline.execute())

    def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """A script: one round trip, a second one only when the server does not know it yet."""
        with reported():
            try:
                return self._execute("EVALSHA", script.sha, len(keys), *keys, *arguments)
            except NoScriptError:
                return self._execute("EVAL", script.lua, len(keys), *keys, *arguments)

    def close(self) -> None:
        self.client.close()


def client_url(url: str) -> str:
    """The URL as the client library takes it; a socket path that is too long becomes its short stand-in."""
    if url.startswith("unix://"):
        parts = urlsplit(url)
        query = f"?{parts.query}" if parts.query else ""
        return f"unix://{parts.netloc}{short_socket_path(Path(parts.path))}{query}"
    return "redis" + url.removeprefix("valkey") if url.startswith("valkey") else url


def short_socket_path(path: Path) -> Path:
    """The path itself, or the one in /tmp that stands for it in every process when it does not fit a socket address."""
    if len(str(path).encode()) <= MAX_SOCKET_PATH_BYTES:
        return path
    return Path("/tmp", f"pushsvc-{hashlib.sha256(str(path).encode()).hexdigest()[:16]}", path.name[-40:])


@contextmanager
def reported() -> Iterator[None]:
    """Turns the client's errors into StreamUnavailable; an error that means a bug goes through."""
    try:
        yield
    except redis.RedisError as error:
        known = _unavailable(error)
        if known is None:
            raise
        raise known from error
    except OSError as error:
        raise _unreachable(error) from error


def _unreachable(error: Exception) -> StreamUnavailable:
    return StreamUnavailable(
        f"Valkey cannot be reached: {str(error).rstrip('.')}",
        "Start Valkey (`pushsvc up` starts the embedded one) or correct PUSHSVC_VALKEY_URL.",
    )


# in the server's own words, which lead its message or, from within a script, stand inside it
_ANSWERS = (
    ("OOM ", "Valkey has no memory left", "Raise maxmemory, or add workers so that the backlog shrinks."),
    ("READONLY", "Valkey is a read-only replica", "Point PUSHSVC_VALKEY_URL at the primary."),
    ("MISCONF", "Valkey cannot write its disk and refuses changes", "Free its disk and read its log."),
    ("LOADING", "Valkey is loading its data", "Wait; it answers when its append-only file is read."),
    ("MASTERDOWN", "Valkey is a replica that has lost its primary", "Point PUSHSVC_VALKEY_URL at the primary."),
    ("NOREPLICAS", "Valkey has too few replicas to take a write", "Bring its replicas back (min-replicas-to-write)."),
    ("CLUSTERDOWN", "the Valkey cluster is down", "Bring the cluster back."),
    ("MOVED", "this node of the Valkey cluster does not hold pushsvc's slot", "Connect to the node that holds it."),
    ("BUSY ", "Valkey is busy with a script", "Look for foreign scripts on this server (SCRIPT KILL ends one)."),
    ("WRONGPASS", "Valkey refuses the user and password, or their absence", "Correct them in PUSHSVC_VALKEY_URL."),
    (
        "NOPERM",
        "Valkey's ACL forbids a command or key",
        "Allow this user ~{pushsvc}:* (~* where it is Celery's broker too) and +@all -@dangerous.",
    ),
)
_TYPES = (
    (redis.exceptions.OutOfMemoryError, "OOM "),
    (redis.exceptions.ReadOnlyError, "READONLY"),
    (redis.exceptions.BusyLoadingError, "LOADING"),
    (redis.exceptions.NoPermissionError, "NOPERM"),
    (redis.exceptions.AuthenticationError, "WRONGPASS"),
    (redis.exceptions.AuthenticationWrongNumberOfArgsError, "WRONGPASS"),
    (redis.exceptions.MovedError, "MOVED"),
    (redis.exceptions.ClusterDownError, "CLUSTERDOWN"),
    (redis.exceptions.MasterDownError, "MASTERDOWN"),
)


def _unavailable(error: redis.RedisError) -> StreamUnavailable | None:
    text = str(error)
    word = next((word for kind, word in _TYPES if isinstance(error, kind)), None)
    for known, cause, cure in _ANSWERS:
        if known == word or text.startswith(known) or (known == "OOM " and "-OOM " in text):
            return StreamUnavailable(cause, cure)
    if isinstance(error, redis.ConnectionError | redis.TimeoutError):
        return _unreachable(error)
    return None
