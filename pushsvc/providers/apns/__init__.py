"""Apple Push Notification service."""

from __future__ import annotations

from typing import Any

from pushsvc.domain.credential import Credential, CredentialKind, Finding
from pushsvc.domain.device import Environment
from pushsvc.domain.outcome import Row
from pushsvc.domain.push import Answer, Bearer, Identity, Push, PushRequest, Verdict
from pushsvc.providers.apns import answers, outcomes, payload, schema
from pushsvc.providers.apns import credential as credentials


class Apns:
    """APNs as a provider: certificates and keys, production and sandbox."""

    name = "apns"
    validates = False
    rows: tuple[Row, ...] = outcomes.ROWS

    def __init__(self, production: str, sandbox: str) -> None:
        """Takes the host:port of Apple's two servers."""
        self._authorities = {Environment.PRODUCTION: production, Environment.SANDBOX: sandbox}

    def build(self, push: Push, bearer: str | None) -> PushRequest:
        """The request of a push; raises PayloadRefused where it cannot be made to fit Apple's rules."""
        route = push.route
        assert route.environment is not None, "an APNs route names its environment"
        treated = payload.headers(push)
        headers = [
            ("apns-topic", route.topic),
            ("apns-id", push.id),
            *treated,
            ("content-type", "application/json"),
        ]
        if bearer is not None:
            headers.append(("authorization", f"bearer {bearer}"))
        return PushRequest(
            self._authorities[route.environment],
            f"/3/device/{route.token.token}",
            tuple(headers),
            payload.body(push),
            dict(treated)["apns-priority"],
        )

    def read(self, push: Push, answer: Answer) -> Verdict:
        """What an answer means; never raises, whatever the bytes."""
        return answers.read(push, answer)

    def check_overrides(self, overrides: dict[str, Any]) -> None:
        """Raises BadEvent where an event's 'apns' override breaks its schema."""
        schema.check(overrides)

    def inspect(self, upload: bytes, *, now: float, **options: str) -> tuple[Finding, bytes]:
        """What a .p12 (option password) or .p8 (options team_id, key_id, environment, topics) is, and its secret.

        Raises BadCredential with code, cause and cure.
        """
        return credentials.inspect(upload, now, options)

    def identity(self, credential: Credential, environment: Environment | None) -> Identity:
        """Whose connection: a certificate's own, or a key's, which opens with a single request."""
        return credentials.identity(credential)

    def bearer(self, credential: Credential, now: float) -> Bearer | PushRequest | None:
        """The JWT of a key, the same in every worker; None for a certificate."""
        if credential.finding.kind is not CredentialKind.APNS_KEY:
            return None
        return credentials.token(credential, now)

    def read_bearer(self, credential: Credential, answer: Answer, now: float) -> Bearer | Verdict:
        """APNs fetches no bearers."""
        raise TypeError("APNs bearers are made here, none is fetched")
