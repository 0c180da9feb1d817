"""What APNs remembers of one connection: who authenticated on it, how often, and what that allows."""

from collections.abc import Callable

from .certificates import ClientIdentity
from .clock import Clock
from .journal import Connection
from .provider_token import ProviderToken
from .site import Policy, Session

ENVIRONMENT_OF_SITE = {"apns-production": "production", "apns-sandbox": "sandbox"}


class ApnsSession(Session):
    """A connection by certificate (`identity`), or by provider tokens."""

    __slots__ = ("authorization", "blocked_until", "expired", "first", "identity", "renewed_at", "token")

    def __init__(self, connection: Connection, identity: ClientIdentity | None, streams: int) -> None:
        # Without a certificate one stream is allowed until the first provider token was accepted.
        super().__init__(connection, streams if identity is not None else 1)
        self.identity = identity
        self.authorization = b""
        self.token: ProviderToken | None = None
        self.first: ProviderToken | None = None
        self.expired = False
        self.blocked_until = 0.0
        # Team id -> when this connection last saw a new token of it.
        self.renewed_at: dict[str, float] = {}


class Renewals:
    """Counts token renewals by team over all connections, for `renewals_counted` = team."""

    def __init__(self) -> None:
        # (team id, key id) -> the newest token's time of issue, and when it was first seen.
        self._newest: dict[tuple[str, str], tuple[float, float]] = {}

    def too_early(self, token: ProviderToken, now: float, apart_s: float) -> bool:
        name = token.key.team_id, token.key.key_id
        newest = self._newest.get(name)
        if newest is not None and token.issued_at <= newest[0]:
            return False
        if newest is not None and now - newest[1] < apart_s:
            return True
        self._newest[name] = token.issued_at, now
        return False

    def reset(self) -> None:
        self._newest.clear()


def authenticate(
    session: ApnsSession,
    authorization: bytes | None,
    read: Callable[[bytes], ProviderToken | None],
    clock: Clock,
    policy: Policy,
    renewals: Renewals,
) -> str | None:
    """The reason to refuse the provider token of a request, None when it is good."""
    if authorization is None:
        return "MissingProviderToken"
    if session.expired:
        # The connection stays wedged; the client has to open another.
        return "ExpiredProviderToken"
    now = clock.now()
    if session.blocked_until > now:
        return "TooManyProviderTokenUpdates"
    token = read(authorization)
    if token is None or token.issued_at > now + policy.token_age_s:
        return "InvalidProviderToken"
    if token.issued_at < now - policy.token_age_s:
        session.expired = True
        return "ExpiredProviderToken"
    if authorization == session.authorization:
        return None
    team = token.key.team_id
    renewed_at = session.renewed_at.get(team)
    early = renewed_at is not None and now - renewed_at < policy.token_renewal_s and _related(session.token, token)
    if policy.renewals_counted == "team":
        early = early or renewals.too_early(token, now, policy.token_renewal_s)
    if early:
        session.blocked_until = (renewed_at or now) + policy.token_renewal_s
        return "TooManyProviderTokenUpdates"
    session.renewed_at[team] = now
    session.authorization, session.token = authorization, token
    session.connection.jwts.append({"team_id": team, "kid": token.key.key_id, "iat": token.issued_at, "at": now})
    return None


def bind(session: ApnsSession, environment: str) -> str | None:
    """The reason to refuse a good token here: another team, an unrelated key, another environment's key."""
    token = session.token
    if token is None:
        return "MissingProviderToken"
    key, first = token.key, session.first
    if key.revoked or (first is not None and first.key.team_id != key.team_id):
        return "Forbidden"
    if key.environment not in (None, environment):
        return "BadEnvironmentKeyInToken"
    if first is not None and not _related(first, token):
        return "UnrelatedKeyIdInToken"
    if first is None:
        session.first = token
    return None


def _related(first: ProviderToken | None, other: ProviderToken) -> bool:
    """Keys go together when they are the same, or both of one team and for all its topics."""
    return first is None or first.key is other.key or (first.key.topics is None and other.key.topics is None)
