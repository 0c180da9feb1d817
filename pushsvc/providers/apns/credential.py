"""APNs credentials: what an upload is, the identity of a connection, and the JWT of a key.

https://developer.apple.com/documentation/usernotifications/establishing-a-token-based-connection-to-apns
"""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64encode
from functools import lru_cache

import msgspec
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from pushsvc.domain.credential import BadCredential, Credential, CredentialKind, Finding
from pushsvc.domain.device import Environment
from pushsvc.domain.push import Bearer, Identity
from pushsvc.providers.apns import certificate

GRID_S = 2400  # Apple: renew a token no more often than every 20 minutes, and use none that is over 60 minutes old
BEHIND_S = 300  # how far this server's clock may run ahead of Apple's before a new token comes from the future


_ID = re.compile(r"[A-Z0-9]{10}")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,255}")
_DOWNLOAD = "Upload the AuthKey_….p8 file as Apple gave it out."
_KEY_OPTIONS = ("team_id", "key_id", "environment", "topics")


def inspect(upload: bytes, now: float, options: dict[str, str]) -> tuple[Finding, bytes]:
    """What a .p12 or .p8 is, and its canonical secret; raises BadCredential with code, cause and cure."""
    given = {name: value for name, value in options.items() if value}
    text = upload.lstrip()[:4096]
    if text.startswith(b"{"):
        raise BadCredential(904, "this is a JSON file, not one of Apple's", "Upload it as the app's FCM credential.")
    if b"-----BEGIN CERTIFICATE-----" in upload:
        raise BadCredential(
            904,
            "this is a PEM file with a certificate",
            "Make a .p12 of both: openssl pkcs12 -export -inkey key.pem -in cert.pem -out push.p12, and upload that.",
        )
    if text.startswith(b"-----BEGIN"):
        _only(given, _KEY_OPTIONS, "a .p8 key")
        return _inspect_key(upload, given)
    _only(given, ("password",), "a .p12")
    return certificate.inspect(upload, now, given.get("password", ""))


def _only(given: dict[str, str], known: tuple[str, ...], what: str) -> None:
    extra = sorted(set(given) - set(known))
    if extra:
        raise BadCredential(904, f"{what} has no option {', '.join(extra)}", f"Its options are {', '.join(known)}.")


def _inspect_key(upload: bytes, given: dict[str, str]) -> tuple[Finding, bytes]:
    team_id, key_id = given.get("team_id", "").strip(), given.get("key_id", "").strip()
    for name, value in (("team_id", team_id), ("key_id", key_id)):
        if not _ID.fullmatch(value):
            raise BadCredential(
                904,
                f"{name} is missing or not one: it has 10 capital letters and digits",
                "Give --team-id (Apple's developer portal, Membership); --key-id is in the file's name, "
                "AuthKey_<key id>.p8. Over HTTP: team_id and key_id.",
            )
    try:
        key = serialization.load_pem_private_key(upload, None)
    except TypeError:
        raise BadCredential(904, "the key is encrypted with a password", _DOWNLOAD) from None
    except ValueError:
        raise BadCredential(904, "the .p8 key cannot be read", _DOWNLOAD) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise BadCredential(904, "the key is not an elliptic-curve key on P-256, as Apple's are", _DOWNLOAD)
    environment = given.get("environment", "")
    if environment not in ("", *Environment):
        raise BadCredential(
            904, f"there is no environment {environment!r}", "Use production, sandbox, or leave it out."
        )
    topics = tuple(topic for part in given.get("topics", "").split(",") if (topic := part.strip()))
    for topic in topics:
        if not _TOPIC.fullmatch(topic):
            raise BadCredential(904, f"{topic[:60]!r} is not a topic", "Give bundle ids, separated by commas.")
    environments = frozenset({Environment(environment)}) if environment else frozenset(Environment)
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    summary = (
        f"Apple push key {key_id} of team {team_id} for {', '.join(topics) or 'every topic of the team'}, "
        f"{environment or 'production and sandbox'}; does not expire."
    )
    finding = Finding(
        CredentialKind.APNS_KEY,
        summary,
        topics=topics,
        environments=environments,
        team_id=team_id,
        key_id=key_id,
        # With the ids: a key uploaded again with another id makes other tokens, so it is another credential.
        fingerprint=hashlib.sha256(public + team_id.encode() + key_id.encode()).hexdigest(),
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return finding, pem


def token(credential: Credential, now: float) -> Bearer:
    """The JWT of a key: issued on a grid of 40 minutes and signed deterministically, so the same in every worker.

    Its age is 5 to 45 minutes.
    """
    finding = credential.finding
    issued = (int(now) - BEHIND_S) // GRID_S * GRID_S
    jwt = _jwt(credential.secret, finding.team_id or "", finding.key_id or "", issued)
    return Bearer(jwt, float(issued + GRID_S + BEHIND_S))


@lru_cache(maxsize=256)
def _jwt(pem: bytes, team_id: str, key_id: str, issued: int) -> str:
    key = serialization.load_pem_private_key(pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey), "inspected at upload"
    header = _base64(msgspec.json.encode({"alg": "ES256", "kid": key_id, "typ": "JWT"}))
    claims = _base64(msgspec.json.encode({"iss": team_id, "iat": issued}))
    signed = f"{header}.{claims}"
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256(), deterministic_signing=True)))
    return f"{signed}.{_base64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _base64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def identity(credential: Credential) -> Identity:
    """Whose connection carries the credential's pushes."""
    key = f"apns:{credential.identity}"
    if credential.finding.kind is CredentialKind.APNS_KEY:
        return Identity(key, one_first=True)  # APNs opens with a single stream until it has taken the first token
    chain, marker, private_key = credential.secret.partition(b"-----BEGIN PRIVATE KEY-----")
    return Identity(key, chain, marker + private_key)
