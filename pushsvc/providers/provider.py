"""The seam: what a provider is to the rest of the service. Pure: no I/O, no clock, no randomness."""

from __future__ import annotations

from typing import Any, Protocol

from pushsvc.domain.credential import Credential, Finding
from pushsvc.domain.device import Environment
from pushsvc.domain.outcome import Row
from pushsvc.domain.push import Answer, Bearer, Identity, Push, PushRequest, PushResponse, Verdict


class Provider(Protocol):
    """A provider is a codec: bytes out for a push, a verdict for what came back, and the same for its credentials."""

    name: str
    validates: bool  # whether it answers a dry run (FCM's validate_only)
    rows: tuple[Row, ...]  # its part of the outcome table, in the provider's own order and words

    def build(self, push: Push, bearer: str | None) -> PushRequest:
        """The request of a push; raises PayloadRefused where it cannot be made to fit the provider's rules."""
        ...

    def read(self, push: Push, answer: Answer) -> Verdict:
        """What an answer to `build`'s request means; never raises, whatever the bytes."""
        ...

    def check_overrides(self, overrides: dict[str, Any]) -> None:
        """Raises BadEvent where an event's raw overrides for this provider break its schema."""
        ...

    def inspect(self, upload: bytes, *, now: float, **options: str) -> tuple[Finding, bytes]:
        """What an uploaded file is, and its canonical secret; raises BadCredential with code, cause and cure."""
        ...

    def identity(self, credential: Credential, environment: Environment | None) -> Identity:
        """Whose connection carries this credential's pushes."""
        ...

    def bearer(self, credential: Credential, now: float) -> Bearer | PushRequest | None:
        """The bearer where it is made here (JWT), the request that fetches it (OAuth), None where none is used."""
        ...

    def read_bearer(self, credential: Credential, answer: Answer, now: float) -> Bearer | Verdict:
        """The bearer that the answer to `bearer`'s request holds, or why there is none."""
        ...


class PayloadRefused(ValueError):
    """A push that cannot be built within the provider's rules: its row of the outcome table."""

    def __init__(self, row: Row, cause: str) -> None:
        super().__init__(cause)
        self.row = row
        self.cause = cause


__all__ = ["PayloadRefused", "Provider", "PushResponse"]
