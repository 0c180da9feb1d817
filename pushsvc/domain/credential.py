"""Credentials: what an app proves itself to a provider with."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from pushsvc.domain.device import Environment


class CredentialKind(StrEnum):
    APNS_CERTIFICATE = "apns_certificate"  # from a .p12
    APNS_KEY = "apns_key"  # from a .p8
    FCM_SERVICE_ACCOUNT = "fcm_service_account"  # from a .json

    @property
    def provider(self) -> str:
        return "fcm" if self is CredentialKind.FCM_SERVICE_ACCOUNT else "apns"


@dataclass(frozen=True, slots=True)
class Finding:
    """What the inspection of an uploaded file found, from the file itself; nothing here is secret."""

    kind: CredentialKind
    summary: str  # one sentence for a person: what it is and what it serves
    topics: tuple[str, ...] = ()  # APNs topics it may push to; empty: every topic of the team
    environments: frozenset[Environment] = frozenset()  # empty for FCM
    not_before: float | None = None  # UNIX seconds
    not_after: float | None = None
    team_id: str | None = None
    key_id: str | None = None
    project_id: str | None = None
    client_email: str | None = None
    fingerprint: str = ""  # SHA-256 (hex) of the certificate or public key: the same file uploaded twice is one row
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Credential:
    """A stored credential, opened. `secret` is PEM of chain and key, PEM of the .p8, or the service-account JSON."""

    id: int
    app_id: int
    finding: Finding
    secret: bytes = field(repr=False)
    paused: str = ""  # why it is not used for now; "" when it is
    locked: bool = False  # the vault could not open it; `paused` says why, and `secret` is empty

    @property
    def identity(self) -> str:
        """Names this credential's connections and bearers; changes when its content does."""
        return f"{self.id}:{self.finding.fingerprint[:16]}"


class BadCredential(ValueError):
    """An upload that cannot be used: the code an operator knows (903, 904, 905, 912), the cause and the cure."""

    def __init__(self, code: int, cause: str, cure: str) -> None:
        super().__init__(cause)
        self.code = code
        self.cause = cause
        self.cure = cure
