"""Firebase Cloud Messaging, HTTP v1."""

from __future__ import annotations

from typing import Any

from pushsvc.domain.credential import Credential, Finding
from pushsvc.domain.device import Environment
from pushsvc.domain.outcome import Row
from pushsvc.domain.push import Answer, Bearer, Identity, Push, PushRequest, Verdict
from pushsvc.providers.fcm import answers, outcomes, payload, schema
from pushsvc.providers.fcm import credential as credentials


class Fcm:
    """FCM as a provider, with Google's OAuth server beside it."""

    name = "fcm"
    validates = True
    rows: tuple[Row, ...] = (*outcomes.ROWS, *outcomes.OAUTH_ROWS)

    def __init__(self, fcm: str, oauth: str) -> None:
        """Takes the host:port of FCM and of Google's token server."""
        self._fcm = fcm
        self._oauth = oauth

    def build(self, push: Push, bearer: str | None) -> PushRequest:
        """The request of a push; raises PayloadRefused where it cannot be made to fit Google's rules."""
        headers: tuple[tuple[str, str], ...] = (("content-type", "application/json"),)
        if bearer is not None:
            headers = (*headers, ("authorization", f"Bearer {bearer}"))
        project = push.route.credential.finding.project_id
        body, priority = payload.body(push)
        return PushRequest(self._fcm, f"/v1/projects/{project}/messages:send", headers, body, priority)

    def read(self, push: Push, answer: Answer) -> Verdict:
        """What an answer means; never raises, whatever the bytes."""
        return answers.read(push, answer)

    def check_overrides(self, overrides: dict[str, Any]) -> None:
        """Raises BadEvent where an event's 'fcm' override breaks its schema."""
        schema.check(overrides)

    def inspect(self, upload: bytes, *, now: float, **options: str) -> tuple[Finding, bytes]:
        """What a service-account JSON is, and its secret; raises BadCredential with code, cause and cure."""
        return credentials.inspect(upload, options)

    def identity(self, credential: Credential, environment: Environment | None) -> Identity:
        """Whose connection: the service account's, so that one app's trouble is not another's."""
        return Identity(f"fcm:{credential.identity}")

    def bearer(self, credential: Credential, now: float) -> Bearer | PushRequest | None:
        """The request that fetches an access token from Google."""
        return credentials.token_request(credential, self._oauth, now)

    def read_bearer(self, credential: Credential, answer: Answer, now: float) -> Bearer | Verdict:
        """The access token that the answer holds, or why there is none."""
        return credentials.read_token(answer, now)
