"""All servers of one simulator, in one thread with its own event loop."""

import asyncio
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self, cast

from .apns import Apns
from .apns_session import Renewals
from .authority import Authority
from .clock import Clock
from .control import ControlLink
from .devices import Devices
from .faults import Faults
from .fcm import Fcm
from .http1 import Http1
from .http2 import Http2
from .journal import Journal
from .link import Link, SpeakerFactory
from .oauth import OAuth
from .provider_token import TokenReader
from .site import Policy, Site, World

_START_DEADLINE_S = 30.0
_SPEAKERS: dict[str, SpeakerFactory] = {"h2": Http2, "http/1.1": Http1}


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

    def __init__(self, name: str, port: int, make_link: Callable[[], asyncio.Protocol]) -> None:
        if port:
            # Ports are shared among this process's own sockets below; one that another process has must not be.
            _bound(port, shared=False).close()
        # Bound but never listening: it keeps the number while connections are refused.
        self._place = _bound(port)
        self.name = name
        self.port: int = self._place.getsockname()[1]
        self._make_link = make_link
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(self._make_link, sock=_bound(self.port), backlog=512)

    def refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def close(self) -> None:
        self.refuse()
        self._place.close()


def _bound(port: int, shared: bool = True) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        bound.bind(("127.0.0.1", port))
    except OSError as error:
        bound.close()
        raise OSError(error.errno, f"cannot listen on 127.0.0.1:{port}: {error.strerror}") from error
    return bound


class Simulator:
    """APNs production, APNs sandbox, FCM and OAuth on loopback ports; a context manager, or `start` and `stop`."""

    def __init__(self, ports: Ports | None = None, folder: Path | None = None) -> None:
        clock = Clock()
        self._world = World(clock, Authority(folder), Devices(clock), Faults(), Journal(clock))
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
        self.oauth: OAuth = OAuth(self._world)
        self.fcm: Fcm = Fcm(self._world, self.oauth)
        self._sites = (self.apns_production, self.apns_sandbox, self.fcm, self.oauth)
        wanted = ports or Ports()
        self._wanted = wanted
        self._listeners: list[_Listener] = []
        self.control_url = ""
        self.control_transports: set[asyncio.BaseTransport] = set()
        self.started_at = clock.now()
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
    def start(cls, ports: Ports | None = None, folder: Path | None = None) -> Self:
        """Starts all servers and returns when they listen; raises OSError when a port is taken.

        `folder` keeps the issuers of all certificates for the next start.
        """
        simulator = cls(ports, folder)
        simulator._thread.start()
        if not simulator._ready.wait(_START_DEADLINE_S):
            raise TimeoutError("the simulator did not start listening in time")
        if simulator._failure is not None:
            simulator.stop()
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
        self.fcm.reset()

    def endpoints(self) -> dict[str, object]:
        """Where everything is, as JSON."""
        sites = (("apns_production", self.apns_production), ("apns_sandbox", self.apns_sandbox), ("fcm", self.fcm))
        return {name: {"host": site.host, "url": site.url} for name, site in sites} | {
            "oauth": {"host": self.oauth.host, "url": self.oauth.url, "token_uri": self.authority.token_uri},
            "control_url": self.control_url,
            "ca_path": str(self.authority.ca_path),
            "ca_pem": self.ca_pem.decode(),
            "apple_ca_pem": self.authority.apple_ca_pem.decode(),
        }

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
            await self._listen()
        except OSError as error:
            self._failure = error
            self._close()
            self._ready.set()
            return
        self.authority.token_uri = f"{self.oauth.url}/token"
        self.faults.changed = self._faults_changed
        self._ready.set()
        await self._stopping.wait()
        self.faults.changed = lambda: None
        self._close()
        for transport in [t for site in self._sites for t in site.transports] + list(self.control_transports):
            cast(asyncio.Transport, transport).abort()
        while self.control_transports or any(site.transports for site in self._sites):
            await asyncio.sleep(0)

    def _close(self) -> None:
        for listener in self._listeners:
            listener.close()

    async def _listen(self) -> None:
        wanted = self._wanted
        ports = (wanted.apns_production, wanted.apns_sandbox, wanted.fcm, wanted.oauth)
        for site, port in zip(self._sites, ports, strict=True):
            listener = _Listener(site.name, port, partial(Link, site, _SPEAKERS))
            site.port = listener.port
            self._listeners.append(listener)
        control = _Listener("control", wanted.control, partial(ControlLink, self))
        self.control_url = f"http://127.0.0.1:{control.port}"
        self._listeners.append(control)
        for listener in self._listeners:
            await listener.listen()

    def _faults_changed(self) -> None:
        """Applies the faults that concern the listening itself, and returns when that is done."""
        if threading.current_thread() is self._thread:
            self._loop.create_task(self._open_and_close())
        else:
            asyncio.run_coroutine_threadsafe(self._open_and_close(), self._loop).result(_START_DEADLINE_S)

    async def _open_and_close(self) -> None:
        for listener in self._listeners:
            # The control port stays open: it is where the fault is turned off.
            if listener.name != "control" and self.faults.standing("refuse-connections", listener.name) is not None:
                listener.refuse()
            else:
                await listener.listen()
