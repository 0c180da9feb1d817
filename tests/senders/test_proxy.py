"""All provider traffic, the diagnosis too, goes through the proxy when one is set."""

from __future__ import annotations

import contextlib
import socket
import threading
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from pushsvc.domain.push import Fault, TransportFailure
from pushsvc.simulator import Simulator
from pushsvc.simulator.authority import PushCertificate
from tests.senders.conftest import TOPIC, MakeSender, apns_of, faults, identity_of, statuses


@dataclass
class Proxy:
    """An HTTP proxy that knows CONNECT; `tunnels` are the request heads that it saw."""

    password: str = ""
    tunnels: list[str] = field(default_factory=list)

    def __enter__(self) -> Proxy:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._serve, args=(client,), daemon=True))
            self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(4096)
            self.tunnels.append(head.decode())
            wanted = f"proxy-authorization: basic {b64encode(self.password.encode()).decode()}".lower()
            if self.password and wanted not in head.decode().lower():
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
                return
            host, _, port = head.split(b" ")[1].decode().rpartition(":")
            with socket.create_connection((host, int(port))) as server:
                client.sendall(b"HTTP/1.1 200 Connection established\r\nvia: proxy\r\n\r\n")
                back = threading.Thread(target=_pump, args=(server, client), daemon=True)
                back.start()
                _pump(client, server)
                back.join(5)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as running:
        yield running


def test_pushes_go_through_the_proxy(
    make: MakeSender, simulator: Simulator, certificate: PushCertificate, proxy: Proxy
) -> None:
    apns = apns_of(simulator, make(proxy=f"http://127.0.0.1:{proxy.port}"))
    answers = apns.push(50, identity_of(certificate))
    assert statuses(answers) == [200] * 50
    assert len(proxy.tunnels) == 1
    assert proxy.tunnels[0].startswith(f"CONNECT {simulator.apns_production.host} ")
    assert all(answer.header("via") is None for answer in answers), "the proxy's headers are not APNs's"


def test_the_proxy_s_password_is_used(make: MakeSender, simulator: Simulator, certificate: PushCertificate) -> None:
    with Proxy(password="user:pa:ss") as proxy:
        apns = apns_of(simulator, make(proxy=f"http://user:pa%3Ass@127.0.0.1:{proxy.port}"))
        assert statuses(apns.push(2, identity_of(certificate))) == [200] * 2
        refused = apns_of(simulator, make(proxy=f"http://user:wrong@127.0.0.1:{proxy.port}"))
        answers = refused.push(2, identity_of(certificate))
        assert faults(answers) == [Fault.CONNECT] * 2
        assert all(isinstance(a, TransportFailure) and "407" in a.detail and "wrong" not in a.detail for a in answers)
        for sender in (apns.sender, refused.sender):
            sender.close()


def test_a_proxy_that_is_down_is_told(make: MakeSender, simulator: Simulator, certificate: PushCertificate) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        apns = apns_of(simulator, make(proxy=f"http://127.0.0.1:{taken.getsockname()[1]}"))
        assert faults(apns.push(2, identity_of(certificate))) == [Fault.CONNECT] * 2


def test_the_environment_s_proxies_are_not_used(
    make: MakeSender, simulator: Simulator, certificate: PushCertificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    apns = apns_of(simulator, make())
    assert statuses(apns.push(1, identity_of(certificate))) == [200]


def test_a_diagnosis_goes_through_the_proxy(make: MakeSender, simulator: Simulator, proxy: Proxy) -> None:
    development = simulator.authority.issue_push_certificate(TOPIC, kind="development")
    apns = apns_of(simulator, make(proxy=f"http://127.0.0.1:{proxy.port}"))
    found = apns.push(3, identity_of(development))
    assert found == [TransportFailure(Fault.GOAWAY, "BadCertificateEnvironment")] * 3
    assert len(proxy.tunnels) == len(simulator.journal.connections)
