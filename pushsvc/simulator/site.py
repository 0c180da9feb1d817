"""What a simulated server is to the connections that speak for it."""

import asyncio
import ssl
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields

from .authority import Authority
from .clock import Clock
from .devices import Devices
from .faults import Fault, Faults
from .journal import Arrival, Connection, Journal


@dataclass(slots=True)
class Policy:
    """Figures a server goes by; the defaults are the providers' own, or what is seen where they publish none."""

    # APNs: seen as 500, 1000 and 1500; Apple asks not to assume any.
    streams: int = 1000
    # How long a request may stall before 400 IdleTimeout; Apple publishes no figure.
    request_idle_s: float = 10.0
    # https://developer.apple.com/documentation/usernotifications/establishing-a-token-based-connection-to-apns
    token_age_s: float = 3600.0
    token_renewal_s: float = 1200.0
    # "connection": only a connection's own renewals count; "team": a team's renewals over all connections.
    renewals_counted: str = "connection"
    # https://developers.google.com/identity/protocols/oauth2/service-account
    access_token_ttl_s: int = 3599
    clock_skew_s: float = 300.0
    # https://firebase.google.com/docs/cloud-messaging/throttling-and-quotas
    project_per_minute: int = 600_000
    device_per_hour: int = 5000

    def reset(self) -> None:
        for each in fields(self):
            setattr(self, each.name, each.default)

    def set(self, name: str, value: float | str) -> None:
        """Changes one figure; raises ValueError for a name that does not exist."""
        if name not in {each.name for each in fields(self)}:
            raise ValueError(f"unknown policy {name!r}: use one of {', '.join(each.name for each in fields(self))}")
        setattr(self, name, value)


@dataclass(slots=True)
class World:
    """All that the servers of one simulator share."""

    clock: Clock
    authority: Authority
    devices: Devices
    faults: Faults
    journal: Journal
    policy: Policy = field(default_factory=Policy)


@dataclass(slots=True)
class Answer:
    """A response; `reason` is the provider's word for it, empty on success."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    reason: str = ""


class Session:
    """A server's memory of one connection; `stream_limit` is what it allows now, `farewell` a GOAWAY to begin with."""

    __slots__ = ("connection", "errors", "farewell", "stream_limit")

    def __init__(self, connection: Connection, stream_limit: int) -> None:
        self.connection = connection
        self.stream_limit = stream_limit
        self.farewell: bytes | None = None
        self.errors = 0


class Site(ABC):
    """A simulated server: its TLS, and its answers. Subclasses say what an answer is."""

    name: str
    alpn: tuple[str, ...] = ("h2",)
    asks_for_certificate = False

    def __init__(self, world: World) -> None:
        self.world = world
        self.port = 0
        self.transports: set[asyncio.BaseTransport] = set()
        self._context: ssl.SSLContext | None = None
        self._context_revision = -1

    @property
    def host(self) -> str:
        """The authority to connect to, `localhost:port`."""
        return f"localhost:{self.port}"

    @property
    def url(self) -> str:
        return f"https://{self.host}"

    def context(self) -> ssl.SSLContext:
        """The TLS context, made anew after each revocation so that OpenSSL itself refuses a revoked certificate."""
        authority = self.world.authority
        if self._context is None or (self.asks_for_certificate and self._context_revision != authority.revision):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            # A resumed session would skip the client certificate's checks.
            context.options |= ssl.OP_NO_TICKET
            context.num_tickets = 0
            context.set_alpn_protocols(list(self.alpn))
            context.load_cert_chain(authority.server_chain_path)
            if self.asks_for_certificate:
                self._context_revision = authority.revision
                context.load_verify_locations(authority.client_trust_path)
                context.verify_mode = ssl.CERT_OPTIONAL
                context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
            self._context = context
        return self._context

    def open(self, connection: Connection, certificate: bytes | None) -> Session:
        """Begins a session; `certificate` is the DER of the client's, which TLS has verified."""
        return Session(connection, self.world.policy.streams)

    @abstractmethod
    def locate(self, arrival: Arrival) -> None:
        """Fills in the token and topic (or project) that faults and filters go by."""

    @abstractmethod
    def answer(self, session: Session, arrival: Arrival) -> Answer:
        """Judges a complete request."""

    @abstractmethod
    def fault_answer(self, fault: Fault, arrival: Arrival) -> Answer:
        """The answer that a fault of the request stage asks for."""

    @abstractmethod
    def stalled(self, arrival: Arrival) -> Answer:
        """The answer to a request whose body never ended."""

    @abstractmethod
    def accepted(self, arrival: Arrival) -> None:
        """Called once for every push that was taken, also when its answer is lost."""
