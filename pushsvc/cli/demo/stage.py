"""The demo's stage: embedded Valkey, SQLite, API and two Celery workers as processes, told to use the simulators."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import httpx

from pushsvc.cli.children import Child, Children
from pushsvc.cli.failure import Failure
from pushsvc.cli.worker import command
from pushsvc.config import Config
from pushsvc.simulator import Simulator
from pushsvc.store.database import Database
from pushsvc.store.migrate import migrate
from pushsvc.stream.embedded import EmbeddedValkey

WORKERS = 2
READY_S = 60.0
STOP_S = 30.0
SHOWN_LINES = 20  # of the log of a process that did not start


@dataclass(frozen=True, slots=True)
class Stage:
    environ: dict[str, str]
    config: Config
    url: str
    admin_key: str


@contextmanager
def stage(simulator: Simulator, data: Path, tell: Callable[[str], None]) -> Iterator[Stage]:
    """Everything up and ready, and down again afterwards; each process logs into a file of its own in the data folder.

    Raises Failure as soon as a process dies before all are ready, or after READY_S.
    """
    port, admin_key = _free_port(), secrets.token_urlsafe(24)
    ca = data / "simulator-ca.pem"
    ca.write_bytes(simulator.ca_pem)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PUSHSVC_")} | {
        "PUSHSVC_DATA": str(data),
        "PUSHSVC_ADMIN_KEY": admin_key,
        "PUSHSVC_LISTEN": f"127.0.0.1:{port}",
        "PUSHSVC_APNS_PRODUCTION": f"127.0.0.1:{simulator.apns_production.port}",
        "PUSHSVC_APNS_SANDBOX": f"127.0.0.1:{simulator.apns_sandbox.port}",
        "PUSHSVC_FCM": f"127.0.0.1:{simulator.fcm.port}",
        "PUSHSVC_OAUTH": f"127.0.0.1:{simulator.oauth.port}",
        "PUSHSVC_PROVIDER_CA": str(ca),
    }
    config = Config.from_env(environ)
    tell("starting Valkey (append-only file), SQLite, API, two workers and the simulated providers")
    with EmbeddedValkey(data):
        database = Database(config.database_url)
        try:
            migrate(database)
        finally:
            database.close()
        ready = threading.Event()
        children = Children([], lambda line: tell(line) if ready.is_set() else None)
        with ExitStack() as logs:
            for name, argv in _commands():
                log = logs.enter_context(_log(data, name).open("ab"))
                children.children.append(Child(name, argv, environ, STOP_S, log))
            keeper = threading.Thread(target=children.run, name="children")
            keeper.start()
            try:
                url = f"http://127.0.0.1:{port}"
                _wait_until_ready(url, children.children, data)
                ready.set()
                yield Stage(environ, config, url, admin_key)
            finally:
                children.stopping.set()
                keeper.join()


def _commands() -> list[tuple[str, list[str]]]:
    workers = [f"worker{number}" for number in range(1, WORKERS + 1)]
    return [
        ("api", [sys.executable, "-m", "pushsvc", "api"]),
        *((name, command("--hostname", f"{name}@%h", "--loglevel", "INFO")) for name in workers),
    ]


def _log(data: Path, name: str) -> Path:
    return data / f"{name}.log"


def _wait_until_ready(url: str, children: Sequence[Child], data: Path) -> None:
    deadline = time.monotonic() + READY_S
    last = "the API does not answer"
    while time.monotonic() < deadline:
        for child in children:
            if child.deaths:
                _show_end(_log(data, child.name))
                raise Failure("demo", f"{child.name} did not start ({child.ending})", "Above is the end of its log.")
        try:
            answer = httpx.get(f"{url}/readyz", timeout=5)
            if answer.status_code == 200:
                return
            last = "; ".join(f"{part}: {what}" for part, what in answer.json()["checks"].items() if what != "ok")
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    for child in children:
        _show_end(_log(data, child.name))
    raise Failure("demo", f"not ready within {READY_S:.0f} s ({last})", "Above are the ends of the logs.")


def _show_end(log: Path) -> None:
    lines = log.read_text(errors="replace").splitlines()[-SHOWN_LINES:]
    click.echo(f"--- {log.name}\n" + "\n".join(lines), err=True)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    assert isinstance(port, int)
    return port
