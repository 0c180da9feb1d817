"""The main flow with everything real but the network: Valkey, SQLite, the simulator, one flow stepped by the test."""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pushsvc import bootstrap
from pushsvc.bootstrap import Service
from pushsvc.config import Config
from pushsvc.dispatch.flow import Flow
from pushsvc.domain.event import Event, parse
from pushsvc.domain.record import Record
from pushsvc.simulator import Simulator
from pushsvc.store.migrate import migrate
from pushsvc.stream.embedded import EmbeddedValkey
from pushsvc.stream.valkey import Valkey

BUNDLE, PROJECT = "com.example.chat", "chat-project"


@dataclass
class World:
    """One app with a universal certificate and a service account; `arrived` is what the simulators saw."""

    service: Service
    simulator: Simulator
    flow: Flow
    app: int
    environ: dict[str, str]
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def event(self, user: Any, **fields: Any) -> Event:
        given = {"id": f"e{next(self.numbers)}", "user": user, **fields}
        return parse(json.dumps(given).encode(), now=time.time(), app=self.app, make_id="")

    def send(self, *given: Event) -> None:
        self.service.stream.append(given)

    def push(self, user: Any, **fields: Any) -> list[Record]:
        """Sends an event, lets the flow work it off, and gives its records."""
        event = self.event(user, **fields)
        self.send(event)
        self.run(lambda: bool(self.records(event)) and not self.flow.in_flight)
        return self.records(event)

    def run(self, until: Callable[[], bool], within_s: float = 15.0) -> None:
        deadline = time.monotonic() + within_s
        while not until():
            assert time.monotonic() < deadline, "the flow did not get there in time"
            self.flow.step(20)

    def records(self, event: Event) -> list[Record]:
        return self.service.journal.of_event(self.app, event.id)

    def settings(self, **changes: Any) -> None:
        self.service.apps.change_settings(self.app, changes)
        time.sleep(0.3)  # snapshots look for changes every 0.25 s

    def iphone(self, user: str, *, home: str = "production", registered: str | None = None, voip: bool = False) -> str:
        token = str(self.simulator.devices.apns(home, BUNDLE).token)
        voip_token = str(self.simulator.devices.apns(home, f"{BUNDLE}.voip").token) if voip else None
        self.service.devices.register(
            self.app,
            user=user,
            platform="ios",
            appid=BUNDLE,
            environment=registered or home,
            push_token=token,
            voip_token=voip_token,
        )
        return token

    def android(self, user: str) -> str:
        token = str(self.simulator.devices.fcm(PROJECT, BUNDLE).token)
        self.service.devices.register(self.app, user=user, platform="android", appid=BUNDLE, fcm_token=token)
        return token

    def arrived(self, token: str | None = None) -> list[Any]:
        sites = ("apns-production", "apns-sandbox", "fcm")
        return [request for request in self.simulator.requests(token=token) if request.site in sites]


@contextmanager
def built(simulator: Simulator, valkey_url: str, folder: Path, **environ: str) -> Iterator[World]:
    """A world with its data in `folder`; `environ` changes its config."""
    ca = folder / "ca.pem"
    ca.write_bytes(simulator.ca_pem)
    environ = {
        "PUSHSVC_DATA": str(folder),
        "PUSHSVC_VALKEY_URL": valkey_url,
        "PUSHSVC_APNS_PRODUCTION": f"127.0.0.1:{simulator.apns_production.port}",
        "PUSHSVC_APNS_SANDBOX": f"127.0.0.1:{simulator.apns_sandbox.port}",
        "PUSHSVC_FCM": f"127.0.0.1:{simulator.fcm.port}",
        "PUSHSVC_OAUTH": f"127.0.0.1:{simulator.oauth.port}",
        "PUSHSVC_PROVIDER_CA": str(ca),
        "PUSHSVC_ANSWER_TIMEOUT_S": "3",
    } | environ
    service = bootstrap.build(Config.from_env(environ))
    migrate(service.database)
    app = service.apps.create("chat")[0].app.id
    certificate = simulator.authority.issue_push_certificate(BUNDLE, "TEAM000001", "multi-topic")
    service.credentials.upload(app, certificate.pkcs12(), "chat.p12")
    account = simulator.authority.issue_service_account(PROJECT)
    service.credentials.upload(app, json.dumps(account.as_json()).encode(), "chat.json")
    made = World(service, simulator, service.flow("test"), app, environ)
    try:
        yield made
    finally:
        made.flow.close()
        service.close()


@pytest.fixture
def world(simulator: Simulator, running_valkey: EmbeddedValkey, valkey: Valkey, tmp_path: Path) -> Iterator[World]:
    with built(simulator, running_valkey.url, tmp_path) as made:
        yield made
