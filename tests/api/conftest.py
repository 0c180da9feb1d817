"""The API over a real service: the bundled Valkey, SQLite in a folder of its own, simulated providers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn

from pushsvc import bootstrap
from pushsvc.api.app import create
from pushsvc.bootstrap import Service
from pushsvc.config import Config
from pushsvc.simulator import Simulator
from pushsvc.store.migrate import migrate
from pushsvc.stream.embedded import EmbeddedValkey
from pushsvc.stream.valkey import Valkey
from tests.valkey_fixture import running_valkey, valkey

__all__ = ["running_valkey", "valkey"]
ADMIN_KEY = "the-admin-key-of-the-tests"


@pytest.fixture
def service(tmp_path: Path, running_valkey: EmbeddedValkey, valkey: Valkey, simulator: Simulator) -> Iterator[Service]:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(simulator.ca_pem)
    built = bootstrap.build(
        Config.from_env(
            {
                "PUSHSVC_DATA": str(tmp_path / "data"),
                "PUSHSVC_VALKEY_URL": running_valkey.url,
                "PUSHSVC_ADMIN_KEY": ADMIN_KEY,
                "PUSHSVC_PROVIDER_CA": str(ca),
                "PUSHSVC_APNS_PRODUCTION": f"localhost:{simulator.apns_production.port}",
                "PUSHSVC_APNS_SANDBOX": f"localhost:{simulator.apns_sandbox.port}",
                "PUSHSVC_FCM": f"localhost:{simulator.fcm.port}",
                "PUSHSVC_OAUTH": f"localhost:{simulator.oauth.port}",
            }
        )
    )
    migrate(built.database)
    yield built
    built.close()


@pytest.fixture
def stranger(service: Service) -> Iterator[httpx.Client]:
    """A client without a token, of a real server."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(create(service), log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=30) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join(20)


@pytest.fixture
def app_id(stranger: httpx.Client) -> int:
    answer = stranger.post("/v1/apps", json={"name": "chat"}, headers={"Authorization": f"Bearer {ADMIN_KEY}"})
    assert answer.status_code == 201, answer.text
    stranger.headers["x-token-of-tests"] = answer.json()["token"]
    return int(answer.json()["id"])


@pytest.fixture
def client(stranger: httpx.Client, app_id: int) -> httpx.Client:
    """A client with the app's token."""
    token = stranger.headers.pop("x-token-of-tests")
    stranger.headers["Authorization"] = f"Bearer {token}"
    return stranger
