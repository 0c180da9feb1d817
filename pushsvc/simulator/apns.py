"""The Apple Push Notification service, one environment of it."""

import json
import uuid

from .apns_reasons import BROADCAST_REASONS, REASONS
from .apns_rules import CHECKS, Push
from .apns_session import ENVIRONMENT_OF_SITE, ApnsSession, Renewals
from .certificates import ClientIdentity
from .faults import Fault
from .journal import Arrival, Connection
from .provider_token import TokenReader
from .site import Answer, Session, Site, World

_JSON = (b"content-type", b"application/json; charset=utf-8")
_BODIES = {reason: b'{"reason":"%s"}' % reason.encode() for reason in REASONS | BROADCAST_REASONS}


class Apns(Site):
    """`POST /3/device/<token>`, by certificate or by provider token."""

    asks_for_certificate = True

    def __init__(self, world: World, name: str, tokens: TokenReader, renewals: Renewals) -> None:
        super().__init__(world)
        self.name = name
        self.environment = ENVIRONMENT_OF_SITE[name]
        self.tokens = tokens
        self.renewals = renewals

    def open(self, connection: Connection, certificate: bytes | None) -> ApnsSession:
        identity = ClientIdentity.from_der(certificate) if certificate else None
        session = ApnsSession(connection, identity, self.world.policy.streams)
        if identity is not None:
            connection.certificate = identity.common_name
            if not (identity.production if self.environment == "production" else identity.sandbox):
                # TLS succeeds with a certificate of the other environment; what follows is this, and the end.
                session.farewell = _BODIES["BadCertificateEnvironment"]
        return session

    def locate(self, arrival: Arrival) -> None:
        arrival.token = arrival.path.removeprefix("/3/device/") if arrival.path.startswith("/3/device/") else ""
        for name, value in arrival.raw_headers:
            if name == b"apns-topic":
                arrival.topic = value.decode("latin-1")

    def answer(self, session: Session, arrival: Arrival) -> Answer:
        assert isinstance(session, ApnsSession)
        fields = dict(arrival.raw_headers)
        push = Push(self.world, self.environment, self.tokens, self.renewals, session, arrival, fields)
        for check in CHECKS:
            reason = check(push)
            if reason is not None:
                return self._refuse(arrival, reason, push.device.since_ms if push.device is not None else None)
        return Answer(200, self._ids(arrival))

    def accepted(self, arrival: Arrival) -> None:
        device = self.world.devices.apns_tokens[self.environment].get(arrival.token.lower())
        if device is not None and not device.online:
            if arrival.headers.get("apns-expiration") == "0":
                return
            device.stored[arrival.topic] = arrival.number

    def stalled(self, arrival: Arrival) -> Answer:
        return self._refuse(arrival, "IdleTimeout")

    def fault_answer(self, fault: Fault, arrival: Arrival) -> Answer:
        options = fault.options
        if fault.kind.name == "empty-error-body":
            return Answer(int(options["status"]), self._ids(arrival))
        if fault.kind.name == "gone-without-body":
            return Answer(410, self._ids(arrival))
        reason = "Shutdown" if fault.kind.name == "shutdown" else str(options["reason"])
        answer = self._refuse(arrival, reason, options.get("timestamp_ms"), options.get("status"))
        if options.get("retry_after") is not None:
            answer.headers = (*answer.headers, (b"retry-after", str(options["retry_after"]).encode()))
        return answer

    def _refuse(
        self, arrival: Arrival, reason: str, timestamp_ms: int | None = None, status: int | None = None
    ) -> Answer:
        known = status or REASONS.get(reason) or BROADCAST_REASONS.get(reason) or 400
        if known == 410:
            since = int(self.world.clock.now() * 1000) if timestamp_ms is None else timestamp_ms
            body = json.dumps({"reason": reason, "timestamp": since}, separators=(",", ":")).encode()
        else:
            body = _BODIES.get(reason) or json.dumps({"reason": reason}).encode()
        return Answer(known, (*self._ids(arrival), _JSON), body, reason)

    def _ids(self, arrival: Arrival) -> tuple[tuple[bytes, bytes], ...]:
        given = None
        for name, value in arrival.raw_headers:
            if name == b"apns-id":
                given = value
        if given is None:
            given = str(uuid.uuid4()).upper().encode()
        if self.environment == "sandbox":
            return (b"apns-id", given), (b"apns-unique-id", str(uuid.uuid4()).encode())
        return ((b"apns-id", given),)
