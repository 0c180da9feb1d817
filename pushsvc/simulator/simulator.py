"""All servers of one simulator, in one thread with its own event loop."""

import asyncio
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from .apns import Apns
from .apns_session import Renewals
from .authority import Authority
from .clock import Clock
from .devices import Devices
from .faults import Faults
from .http2 import Http2
from .journal import Journal
from .link import Link, SpeakerFactory
from .provider_token import TokenReader
from .site import Policy, Site, World

_START_DEADLINE_S = 30.0
_SPEAKERS: dict[str, SpeakerFactory] = {"h2": Http2}


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports to listen on; 0 lets the system choose."""

    apns_production: int = 0
    apns_sandbox: int = 0
    fcm: int = 0
    oauth: int = 0
    control: int = 0


class _Listener:
    """One listening port that can truly refuse connections and come back on the same number."""

    def __init__(self, site: Site, port: int) -> None:
        # Bound but never listening: it keeps the number while connections are refused.
        self._place = _bound(port)
        site.port = self._place.getsockname()[1]
        self._site = site
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        if self._server is None:
            loop = asyncio.get_running_loop()
            listening = _bound(self._site.port)
            self._server = await loop.create_server(lambda: Link(self._site, _SPEAKERS), sock=listening, backlog=512)

    def refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def close(self) -> None:
        self.refuse()
        self._place.close()


def _bound(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind(("127.0.0.1", port))
    return bound


class Simulator:
    """APNs production, APNs sandbox, FCM and OAuth on loopback ports; a context manager, or `start` and `stop`."""

    def __init__(self, ports: Ports | None = None) -> None:
        clock = Clock()
        self._world = World(clock, Authority(), Devices(clock), Faults(), Journal(clock))
        self.clock: Clock = clock
        self.authority: Authority = self._world.authority
        self.devices: Devices = self._world.devices
        self.faults: Faults = self._world.faults
        self.journal: Journal = self._world.journal
        self.policy: Policy = self._world.policy
        self.requests = self._world.journal.requests
        tokens, self._renewals = TokenReader(self.authority), Renewals()
        self.apns_production: Site = Apns(self._world, "apns-production", tokens, self._renewals)
        self.apns_sandbox: Site = Apns(self._world, "apns-sandbox", tokens, self._renewals)
        self._sites = (self.apns_production, self.apns_sandbox)
        wanted = ports or Ports()
        self._wanted = (wanted.apns_production, wanted.apns_sandbox)
        self._listeners: list[tuple[Site, _Listener]] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="simulator", daemon=True)
        self._stopping: asyncio.Event | None = None
        self._ready = threading.Event()
        self._failure: Exception | None = None

    @property
    def ca_pem(self) -> bytes:
        """The certificate that clients must trust."""
        return self.authority.ca_pem

    @classmethod
    def start(cls, ports: Ports | None = None) -> Self:
        """Starts all servers and returns when they listen; raises OSError when a port is taken."""
        simulator = cls(ports)
        simulator._thread.start()
        if not simulator._ready.wait(_START_DEADLINE_S):
            raise TimeoutError("the simulator did not start listening in time")
        if simulator._failure is not None:
            raise simulator._failure
        return simulator

    def stop(self) -> None:
        """Closes everything; safe to call twice."""
        if self._thread.is_alive() and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(_START_DEADLINE_S)
        self.authority.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def reset(self) -> None:
        """Forgets requests, devices, faults, policies and the moved clock; issued credentials stay good."""
        self.clock.reset()
        self.devices.reset()
        self.faults.reset()
        self.policy.reset()
        self.journal.reset()
        self._renewals.reset()

    def wait(self, satisfied: Callable[[], bool], deadline_s: float = 10.0) -> bool:
        """Blocks until `satisfied()` holds; False when the deadline passes first."""
        return self.journal.wait(satisfied, deadline_s)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        self._stopping = asyncio.Event()
        try:
            for site, port in zip(self._sites, self._wanted, strict=True):
                listener = _Listener(site, port)
                self._listeners.append((site, listener))
                await listener.listen()
        except OSError as error:
            self._failure = error
            self._ready.set()
            return
        self.faults.changed = self._faults_changed
        self._ready.set()
        await self._stopping.wait()
        self.faults.changed = lambda: None
        for _, listener in self._listeners:
            listener.close()

    def _faults_changed(self) -> None:
        """Applies the faults that concern the listening itself, and returns when that is done."""
        if threading.current_thread() is self._thread:
            self._loop.create_task(self._open_and_close())
        else:
            asyncio.run_coroutine_threadsafe(self._open_and_close(), self._loop).result(_START_DEADLINE_S)

    async def _open_and_close(self) -> None:
        for site, listener in self._listeners:
            if self.faults.standing("refuse-connections", site.name) is not None:
                listener.refuse()
            else:
                await listener.listen()
