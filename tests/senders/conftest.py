"""Both senders, and what it takes to push to the simulator with each kind of credential."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from pushsvc.dispatch.ports import Sender
from pushsvc.domain.push import Answer, Fault, Identity, PushRequest, PushResponse, TransportFailure
from pushsvc.senders import make_sender
from pushsvc.simulator import Simulator
from pushsvc.simulator.authority import ApnsKey, PushCertificate

TOPIC = "com.example.chat"
NEVER_S = 20.0  # no test waits so long unless it fails

MakeSender = Callable[..., Sender]


@pytest.fixture(params=["curl", "httpx"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make(kind: str, simulator: Simulator) -> Iterator[MakeSender]:
    made: list[Sender] = []

    def make_one(**options: object) -> Sender:
        settings: dict[str, object] = {
            "capacity": 1000,
            "connect_timeout_s": 5.0,
            "answer_timeout_s": 5.0,
            "provider_ca_pem": simulator.ca_pem,
            "proxy": "",
        }
        made.append(make_sender(kind, **(settings | options)))  # type: ignore[arg-type]  # a test's keywords
        return made[-1]

    yield make_one
    for sender in made:
        sender.close()


@pytest.fixture(scope="session")
def certificate(running_simulator: Simulator) -> PushCertificate:
    return running_simulator.authority.issue_push_certificate(TOPIC)


@pytest.fixture(scope="session")
def key(running_simulator: Simulator) -> ApnsKey:
    return running_simulator.authority.issue_apns_key()


@dataclass
class Apns:
    """Pushes to one site of the simulator, and the account of them."""

    simulator: Simulator
    sender: Sender
    authority: str
    token: str
    answers: dict[str, list[Answer]] = field(default_factory=dict)

    def request(self, bearer: str | None = None, token: str | None = None, apns_id: str | None = None) -> PushRequest:
        headers = [
            ("apns-id", apns_id or str(uuid.uuid4())),
            ("apns-topic", TOPIC),
            ("apns-push-type", "alert"),
            ("apns-priority", "10"),
        ]
        if bearer:
            headers.append(("authorization", f"bearer {bearer}"))
        return PushRequest(
            self.authority, f"/3/device/{token or self.token}", tuple(headers), b'{"aps":{"alert":"Hello"}}'
        )

    def submit(self, count: int, identity: Identity, bearer: str | None = None, token: str | None = None) -> list[str]:
        """Submits pushes; returns their apns-ids, which are their tags too."""
        requests = [self.request(bearer, token) for _ in range(count)]
        ids = [request.headers[0][1] for request in requests]
        for apns_id, request in zip(ids, requests, strict=True):
            self.answers[apns_id] = []
            self.sender.submit(apns_id, request, identity)
        return ids

    def collect(self, until: int = 0, deadline_s: float = NEVER_S) -> None:
        """Polls until so many are left in flight; every answer is kept under its tag."""
        ends = time.monotonic() + deadline_s
        while self.sender.in_flight > until:
            assert time.monotonic() < ends, f"{self.sender.in_flight} still in flight"
            for tag, answer in self.sender.poll(0.5):
                self.answers[str(tag)].append(answer)

    def push(self, count: int, identity: Identity, bearer: str | None = None, token: str | None = None) -> list[Answer]:
        """Submits, 500 in flight, and waits; checks that each came back exactly once; the answers are in order."""
        ids: list[str] = []
        while len(ids) < count:
            ids += self.submit(min(100, count - len(ids)), identity, bearer, token)
            self.collect(until=400)
        self.collect()
        return [self.one(apns_id) for apns_id in ids]

    def one(self, apns_id: str) -> Answer:
        assert len(self.answers[apns_id]) == 1, f"{apns_id} came back {len(self.answers[apns_id])} times"
        return self.answers[apns_id][0]

    def connections(self) -> int:
        """Connections that carried a request since the last reset."""
        return len({arrival.connection.id for arrival in self.simulator.requests()})


@pytest.fixture
def apns(make: MakeSender, simulator: Simulator) -> Apns:
    return apns_of(simulator, make())


def apns_of(simulator: Simulator, sender: Sender) -> Apns:
    device = simulator.devices.apns("production", TOPIC)
    return Apns(simulator, sender, simulator.apns_production.host, device.token)


def identity_of(certificate: PushCertificate, key: str = "certificate") -> Identity:
    return Identity(key, certificate.certificate_pem, certificate.key_pem)


def jwt(key: ApnsKey, age_s: float = 0) -> str:
    header = _segment(json.dumps({"alg": "ES256", "kid": key.key_id}).encode())
    claims = _segment(json.dumps({"iss": key.team_id, "iat": int(time.time() - age_s)}).encode())
    r, s = decode_dss_signature(key.key.sign(f"{header}.{claims}".encode(), ec.ECDSA(hashes.SHA256())))
    return f"{header}.{claims}.{_segment(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _segment(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def statuses(answers: list[Answer]) -> list[int]:
    """Statuses; fails with the fault where there was no answer."""
    assert not (failed := [answer for answer in answers if isinstance(answer, TransportFailure)]), failed[:3]
    return [answer.status for answer in answers if isinstance(answer, PushResponse)]


def faults(answers: list[Answer]) -> list[Fault]:
    return [answer.fault for answer in answers if isinstance(answer, TransportFailure)]
