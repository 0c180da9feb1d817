"""Clients of the simulator that share nothing with it: httpx, and h2 on a plain TLS socket."""

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h2.connection
import h2.events
import httpx
import jwt
import pytest
from h2.config import H2Configuration

from pushsvc.simulator import Simulator
from pushsvc.simulator.authority import ApnsKey, PushCertificate, ServiceAccount

BUNDLE = "com.example.chat"
TEAM = "TEAM000001"
ALERT = b'{"aps":{"alert":"Hello"}}'


def provider_token(key: ApnsKey, *, age_s: float = 0, **changes: Any) -> str:
    """A provider token as Apple describes it; `changes` replace claims (iss, iat), the key (sign_with) or the kid."""
    sign_with = changes.pop("sign_with", key)
    kid = changes.pop("kid", key.key_id)
    claims = {"iss": key.team_id, "iat": int(time.time() - age_s)} | changes
    return jwt.encode(claims, sign_with.p8, algorithm="ES256", headers={"kid": kid})


def tls(simulator: Simulator, certificate: PushCertificate | None = None, folder: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=simulator.ca_pem.decode())
    if certificate is not None and folder is not None:
        pem = folder / f"{certificate.serial_number}.pem"
        pem.write_bytes(certificate.certificate_pem + certificate.key_pem)
        context.load_cert_chain(pem)
    return context


@dataclass
class Apns:
    """One APNs connection through httpx."""

    http: httpx.Client
    url: str
    key: ApnsKey | None
    bearer: str | None = None
    defaults: dict[str, str] = field(default_factory=dict)

    def push(
        self, token: str, body: bytes = ALERT, *, method: str = "POST", path: str | None = None, **headers: str | None
    ) -> httpx.Response:
        """Pushes; a header given as None is left out."""
        sent: dict[str, str | None] = {
            "apns-topic": BUNDLE,
            "apns-push-type": "alert",
            "authorization": f"bearer {self.bearer}" if self.bearer else None,
        }
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        kept = [(name, value) for name, value in sent.items() if value is not None]
        return self.http.request(method, self.url + (path or f"/3/device/{token}"), headers=kept, content=body)


@pytest.fixture
def apns(simulator: Simulator, tmp_path: Path) -> Iterator[Callable[..., Apns]]:
    """Opens APNs connections: with a fresh team key (`key`), or with a certificate."""
    opened: list[httpx.Client] = []

    def connect(
        *, key: ApnsKey | None = None, certificate: PushCertificate | None = None, environment: str = "production"
    ) -> Apns:
        if key is None and certificate is None:
            key = simulator.authority.issue_apns_key(TEAM)
        site = simulator.apns_production if environment == "production" else simulator.apns_sandbox
        http = httpx.Client(http2=True, http1=False, verify=tls(simulator, certificate, tmp_path), timeout=20)
        opened.append(http)
        return Apns(http, site.url, key, provider_token(key) if key is not None else None)

    yield connect
    for http in opened:
        http.close()


class PatientH2(h2.connection.H2Connection):
    """An h2 that goes on reading after a GOAWAY: the streams it counts are still to be answered."""

    def _receive_goaway_frame(self, frame: Any) -> Any:
        state = self.state_machine.state
        received = super()._receive_goaway_frame(frame)
        self.state_machine.state = state
        return received


class Raw:
    """One HTTP/2 connection with every frame in hand."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext, alpn: tuple[str, ...] = ("h2",)) -> None:
        context.set_alpn_protocols(list(alpn))
        plain = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket = context.wrap_socket(plain, server_hostname=host)
        self.h2 = PatientH2(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.events: list[h2.events.Event] = []
        self.ended = False
        self.flush_quietly()

    def flush(self) -> None:
        self.socket.sendall(self.h2.data_to_send())

    def request(self, path: str, body: bytes | None, *headers: tuple[str, str], method: str = "POST") -> int:
        """Sends a request without waiting; a body of None leaves the stream open."""
        stream = self.h2.get_next_available_stream_id()
        pseudo = [(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", path)]
        self.h2.send_headers(stream, [*pseudo, *headers])
        if body is not None:
            self.h2.send_data(stream, body, end_stream=True)
        return stream

    def until(self, satisfied: Callable[["Raw"], bool], deadline_s: float = 10.0) -> None:
        """Reads frames until it holds; fails when the deadline passes."""
        ends = time.monotonic() + deadline_s
        self.flush()
        while not satisfied(self):
            left = ends - time.monotonic()
            assert left > 0, f"not in {deadline_s} s; seen: {self.events}"
            assert not self.ended, f"the connection ended; seen: {self.events}"
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(65536)
            except ConnectionError:
                data = b""
            self.ended = not data
            if data:
                self.events += self.h2.receive_data(data)
            self.flush_quietly()

    def flush_quietly(self) -> None:
        try:
            self.flush()
        except OSError:
            self.ended = True

    def of(self, kind: type[h2.events.Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def status(self, stream: int) -> int | None:
        for event in self.of(h2.events.ResponseReceived):
            if event.stream_id == stream:
                return int(dict(event.headers)[":status"])
        return None

    def body(self, stream: int) -> bytes:
        return b"".join(event.data for event in self.of(h2.events.DataReceived) if event.stream_id == stream)

    def finished(self, *streams: int) -> bool:
        done = {event.stream_id for event in self.of(h2.events.StreamEnded) + self.of(h2.events.StreamReset)}
        return done >= set(streams)

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
def raw(simulator: Simulator, tmp_path: Path) -> Iterator[Callable[..., Raw]]:
    """Opens raw HTTP/2 connections to a site."""
    opened: list[Raw] = []

    def connect(
        port: int | None = None,
        *,
        certificate: PushCertificate | None = None,
        alpn: tuple[str, ...] = ("h2",),
        version: ssl.TLSVersion | None = None,
    ) -> Raw:
        context = tls(simulator, certificate, tmp_path)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        connection = Raw("localhost", port or simulator.apns_production.port, context, alpn)
        opened.append(connection)
        return connection

    yield connect
    for connection in opened:
        connection.close()


@dataclass
class Firebase:
    """FCM and OAuth through httpx."""

    http: httpx.Client
    simulator: Simulator
    account: ServiceAccount

    def assertion(self, *, sign_with: ServiceAccount | None = None, kid: str | None = None, **changes: Any) -> str:
        now = int(time.time())
        claims = {
            "iss": self.account.client_email,
            "scope": "https://www.googleapis.com/auth/firebase.messaging",
            "aud": self.account.token_uri,
            "iat": now,
            "exp": now + 3600,
        } | changes
        key = (sign_with or self.account).as_json()["private_key"]
        return jwt.encode(claims, key, algorithm="RS256", headers={"kid": kid or self.account.private_key_id})

    def grant(self, assertion: str | None = None, **form: str) -> httpx.Response:
        fields = {
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "assertion": assertion or self.assertion(),
        } | form
        return self.http.post(f"{self.simulator.oauth.url}/token", data=fields)

    def bearer(self) -> str:
        return str(self.grant().json()["access_token"])

    def send(
        self,
        message: object,
        *,
        bearer: str | None = None,
        project: str | None = None,
        path: str | None = None,
        headers: dict[str, str] | None = None,
        content: bytes | None = None,
        **request: object,
    ) -> httpx.Response:
        at = path or f"/v1/projects/{project or self.account.project_id}/messages:send"
        credential = {"authorization": f"Bearer {bearer or self.bearer()}"} if headers is None else headers
        body = content if content is not None else json.dumps({"message": message} | request).encode()
        return self.http.post(self.simulator.fcm.url + at, content=body, headers=credential)


PROJECT = "example-chat"


@pytest.fixture(scope="session")
def account(running_simulator: Simulator) -> ServiceAccount:
    return running_simulator.authority.issue_service_account(PROJECT)


@pytest.fixture
def firebase(simulator: Simulator, account: ServiceAccount) -> Iterator[Firebase]:
    with httpx.Client(http2=True, http1=False, verify=tls(simulator), timeout=20) as http:
        yield Firebase(http, simulator, account)
