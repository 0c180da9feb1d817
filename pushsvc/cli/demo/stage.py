"""The demo's stage: embedded Valkey, SQLite, API and two Celery workers as processes, told to use the simulators."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from pushsvc.cli.children import Child, Children
from pushsvc.cli.worker import command
from pushsvc.config import Config
from pushsvc.simulator import Simulator
from pushsvc.store.database import Database
from pushsvc.store.migrate import migrate
from pushsvc.stream.embedded import EmbeddedValkey

WORKERS = 2
READY_S = 60.0


@dataclass(frozen=True, slots=True)
class Stage:
    environ: dict[str, str]
    config: Config
    url: str
    admin_key: str


@contextmanager
def stage(simulator: Simulator, data: Path, tell: Callable[[str], None]) -> Iterator[Stage]:
    """Everything up and ready within READY_S, and down again afterwards; the processes log into the data folder."""
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
        log = (data / "demo.log").open("ab")
        children = Children([_child("api", [sys.executable, "-m", "pushsvc", "api"], environ)], tell)
        children.children += [
            _child(f"worker{number}", command("--hostname", f"worker{number}@%h", "--loglevel", "INFO"), environ)
            for number in range(1, WORKERS + 1)
        ]
        for child in children.children:
            child.output = log
        keeper = threading.Thread(target=children.run, name="children")
        keeper.start()
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_ready(url)
            yield Stage(environ, config, url, admin_key)
        finally:
            children.stopping.set()
            keeper.join()
            log.close()


def _child(name: str, argv: list[str], environ: dict[str, str]) -> Child:
    return Child(name, argv, environ, stop_s=30.0)


def _wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + READY_S
    last = "no answer"
    while time.monotonic() < deadline:
        try:
            answer = httpx.get(f"{url}/readyz", timeout=5)
            if answer.status_code == 200:
                return
            last = answer.text
        except httpx.TransportError as error:
            last = str(error)
        time.sleep(0.05)
    raise TimeoutError(f"the demo's processes were not ready within {READY_S:.0f} s: {last[:500]}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    assert isinstance(port, int)
    return port
