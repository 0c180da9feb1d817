"""Provider tokens (JWT, ES256) as APNs checks them.

https://developer.apple.com/documentation/usernotifications/establishing-a-token-based-connection-to-apns
"""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from .authority import ApnsKey, Authority

_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class ProviderToken:
    """A token whose form, key and signature are right; its age is another matter."""

    key: ApnsKey
    issued_at: float


class TokenReader:
    """Reads provider tokens, remembering those it has verified: clients send the same one with each push."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._known: dict[bytes, ProviderToken | None] = {}

    def read(self, authorization: bytes) -> ProviderToken | None:
        """The token of an authorization header; None when it is malformed, unknown or wrongly signed."""
        if authorization in self._known:
            return self._known[authorization]
        found = self._verify(authorization)
        if found is not None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[authorization] = found
        return found

    def _verify(self, authorization: bytes) -> ProviderToken | None:
        scheme, _, token = authorization.partition(b" ")
        parts = token.split(b".")
        if scheme.lower() != b"bearer" or len(parts) != 3:
            return None
        try:
            header, claims = decode_json(parts[0]), decode_json(parts[1])
            signature = decode_segment(parts[2])
        except ValueError:
            return None
        key = self._authority.apns_keys.get(str(header.get("kid")))
        issued_at = claims.get("iat")
        if key is None or header.get("alg") != "ES256" or claims.get("iss") != key.team_id:
            return None
        if isinstance(issued_at, bool) or not isinstance(issued_at, int | float) or len(signature) != 64:
            return None
        der = encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
        try:
            key.key.public_key().verify(der, parts[0] + b"." + parts[1], ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return None
        return ProviderToken(key, float(issued_at))


def decode_segment(segment: bytes) -> bytes:
    """One base64url segment without padding; raises ValueError."""
    try:
        return base64.b64decode(segment + b"=" * (-len(segment) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("not base64url") from error


def decode_json(segment: bytes) -> dict[str, Any]:
    """One base64url segment that is a JSON object; raises ValueError."""
    value = json.loads(decode_segment(segment))
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value
