"""Google's token endpoint for service accounts.

https://developers.google.com/identity/protocols/oauth2/service-account
"""

import json
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

from .authority import ServiceAccount
from .faults import Fault
from .journal import Arrival
from .provider_token import decode_json, decode_segment
from .site import Answer, Session, Site, World

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
GOOGLE = "https://oauth2.googleapis.com/token"
SCOPES = {
    "https://www.googleapis.com/auth/firebase.messaging",
    "https://www.googleapis.com/auth/cloud-platform",
}
LONGEST_S = 3600
_JSON = (b"content-type", b"application/json; charset=utf-8")
_TIMEFRAME = (
    "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
    "Check your iat and exp values in the JWT claim."
)
# error -> status and its usual description
ERRORS: dict[str, tuple[int, str]] = {
    "invalid_grant": (400, "Invalid JWT Signature."),
    "invalid_scope": (400, "Invalid OAuth scope or ID token audience provided."),
    "unsupported_grant_type": (400, "Invalid grant_type."),
    "invalid_request": (400, "Missing required parameter: assertion"),
    "invalid_client": (401, "The OAuth client was not found."),
    "unauthorized_client": (401, "Client is unauthorized to retrieve access tokens using this method."),
    "internal_failure": (500, "Backend Error"),
    "temporarily_unavailable": (503, "Backend Error"),
}


@dataclass(frozen=True, slots=True)
class Access:
    """What an access token stands for; `expires_at` in seconds since the epoch."""

    account: ServiceAccount
    expires_at: float


class _Refused(Exception):
    def __init__(self, error: str, description: str | None = None) -> None:
        super().__init__(error)
        self.error = error
        self.description = description


class OAuth(Site):
    """`POST /token` with a signed JWT, against an access token that lives `access_token_ttl_s`."""

    name = "oauth"
    alpn = ("h2", "http/1.1")

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._accesses: dict[str, Access] = {}

    def access(self, authorization: str) -> Access | None:
        """What a Bearer header stands for; None when it is unknown, expired or its account is gone."""
        scheme, _, token = authorization.partition(" ")
        access = self._accesses.get(token)
        if scheme.lower() != "bearer" or access is None or access.account.revoked:
            return None
        return access if self.world.clock.now() < access.expires_at else None

    def revoke_access_tokens(self) -> None:
        """Makes every access token invalid now, before its time."""
        self._accesses.clear()

    def accepted(self, arrival: Arrival) -> None:
        """Nothing is kept of it."""

    def locate(self, arrival: Arrival) -> None:
        arrival.topic = ""

    def answer(self, session: Session, arrival: Arrival) -> Answer:
        try:
            granted = self._grant(arrival)
        except _Refused as refused:
            return _error(refused.error, refused.description)
        return Answer(200, (_JSON, (b"cache-control", b"no-store")), json.dumps(granted).encode())

    def fault_answer(self, fault: Fault, arrival: Arrival) -> Answer:
        options = fault.options
        if fault.kind.name in ("empty-error-body", "gone-without-body"):
            return Answer(int(options.get("status", 410)), (_JSON,))
        name = "temporarily_unavailable" if fault.kind.name == "shutdown" else str(options["reason"])
        answer = _error("internal_failure" if name == "InternalServerError" else name, None)
        if options.get("status") and name not in ERRORS:
            answer.status = int(options["status"])
        if options.get("retry_after") is not None:
            answer.headers = (*answer.headers, (b"retry-after", str(options["retry_after"]).encode()))
        return answer

    def stalled(self, arrival: Arrival) -> Answer:
        return _error("invalid_request", "The request was not sent in time.")

    def _grant(self, arrival: Arrival) -> dict[str, Any]:
        if arrival.path != "/token" or arrival.method != "POST":
            raise _Refused("invalid_request", "Not found.")
        form = {name: values[0] for name, values in parse_qs(arrival.body.decode("latin-1")).items()}
        if form.get("grant_type") != GRANT_TYPE:
            raise _Refused("unsupported_grant_type", f"Invalid grant_type: {form.get('grant_type', '')}")
        if "assertion" not in form:
            raise _Refused("invalid_request")
        account = self._verify(form["assertion"].encode())
        lifetime_s = self.world.policy.access_token_ttl_s
        token = "ya29." + secrets.token_urlsafe(96)
        self._accesses[token] = Access(account, self.world.clock.now() + lifetime_s)
        return {"access_token": token, "expires_in": lifetime_s, "token_type": "Bearer"}

    def _verify(self, assertion: bytes) -> ServiceAccount:
        parts = assertion.split(b".")
        try:
            header, claims, signature = decode_json(parts[0]), decode_json(parts[1]), decode_segment(parts[2])
        except (ValueError, IndexError):
            raise _Refused("invalid_grant", "Invalid JWT: the assertion is malformed.") from None
        account = self.world.authority.service_accounts.get(str(claims.get("iss")))
        if account is None:
            raise _Refused("invalid_grant", "Invalid grant: account not found")
        signed = parts[0] + b"." + parts[1]
        if header.get("alg") != "RS256" or header.get("kid", account.private_key_id) != account.private_key_id:
            raise _Refused("invalid_grant")
        try:
            account.key.public_key().verify(signature, signed, PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            raise _Refused("invalid_grant") from None
        if account.revoked:
            raise _Refused("invalid_grant")
        if claims.get("aud") not in (account.token_uri, GOOGLE):
            raise _Refused("invalid_grant", "Invalid JWT: Failed audience check.")
        self._check_times(claims.get("iat"), claims.get("exp"))
        scopes = set(str(claims.get("scope", "")).split())
        if not scopes & SCOPES:
            raise _Refused("invalid_scope")
        return account

    def _check_times(self, issued_at: object, expires_at: object) -> None:
        now, skew = self.world.clock.now(), self.world.policy.clock_skew_s
        if not isinstance(issued_at, int | float) or not isinstance(expires_at, int | float):
            raise _Refused("invalid_grant", _TIMEFRAME)
        if not (issued_at - skew <= now <= expires_at + skew and expires_at <= issued_at + LONGEST_S):
            raise _Refused("invalid_grant", _TIMEFRAME)


def _error(error: str, description: str | None) -> Answer:
    status, usual = ERRORS.get(error, (400, "Bad Request"))
    body = {"error": error, "error_description": description or usual}
    return Answer(status, (_JSON,), json.dumps(body).encode(), error)
