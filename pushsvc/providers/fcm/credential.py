"""FCM credentials: service accounts, and the access tokens that Google gives for them.

https://developers.google.com/identity/protocols/oauth2/service-account#httprest
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

import msgspec
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from pushsvc.domain.credential import BadCredential, Credential, CredentialKind, Finding
from pushsvc.domain.push import Answer, Bearer, PushRequest, PushResponse, Verdict
from pushsvc.providers.apns.answers import json_object
from pushsvc.providers.fcm.answers import read_oauth

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TOKEN_URI = "https://oauth2.googleapis.com/token"  # what the assertion is addressed to
ASSERTION_LIVES_S = 3600  # the most that Google takes
RENEW_EARLY_S = 300
_NEW_JSON = (
    "In the Firebase console open Project settings, Service accounts, choose Generate new private key, and upload the "
    "JSON file unchanged."
)
_FIELDS = ("project_id", "private_key_id", "private_key", "client_email")


def inspect(upload: bytes, options: dict[str, str]) -> tuple[Finding, bytes]:
    """Reads a service-account JSON; the secret is the same JSON with the fields that are used."""
    if options:
        raise BadCredential(904, f"a service account has no option {min(options)}", "Leave it out.")
    found = _json(upload)
    if found.get("type") not in (None, "service_account"):
        raise BadCredential(904, f"the JSON is of type {str(found['type'])[:40]!r}, not a service account", _NEW_JSON)
    missing = [name for name in _FIELDS if not isinstance(found.get(name), str) or not found[name]]
    if missing:
        raise BadCredential(904, f"the service account has no {', '.join(missing)}", _NEW_JSON)
    if not all(char.isalnum() or char in "-:." for char in found["project_id"]):
        raise BadCredential(904, "the project_id has characters that no project has", _NEW_JSON)
    try:
        key = serialization.load_pem_private_key(found["private_key"].encode(), None)
    except (ValueError, TypeError, UnicodeEncodeError):
        raise BadCredential(904, "the private_key in the JSON cannot be read", _NEW_JSON) from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise BadCredential(904, "the private_key in the JSON is not an RSA key", _NEW_JSON)
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    finding = Finding(
        CredentialKind.FCM_SERVICE_ACCOUNT,
        f"Service account {found['client_email']} of the Firebase project {found['project_id']}: serves Android, the "
        "web, and iOS through FCM.",
        key_id=found["private_key_id"],
        project_id=found["project_id"],
        client_email=found["client_email"],
        fingerprint=hashlib.sha256(public).hexdigest(),
    )
    kept = {name: found[name] for name in _FIELDS}
    kept["token_uri"] = found["token_uri"] if isinstance(found.get("token_uri"), str) else TOKEN_URI
    return finding, msgspec.json.encode(kept)


def token_request(credential: Credential, authority: str, now: float) -> PushRequest:
    """The request that exchanges a signed assertion for an access token."""
    account = msgspec.json.decode(credential.secret)
    header = {"alg": "RS256", "typ": "JWT", "kid": account["private_key_id"]}
    issued = int(now)
    claims = {
        "iss": account["client_email"],
        "scope": SCOPE,
        "aud": account["token_uri"],
        "iat": issued,
        "exp": issued + ASSERTION_LIVES_S,
    }
    signed = f"{_part(header)}.{_part(claims)}"
    signature = _key(account["private_key"]).sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    form = urlencode({"grant_type": GRANT_TYPE, "assertion": f"{signed}.{_base64(signature)}"})
    return PushRequest(authority, "/token", (("content-type", "application/x-www-form-urlencoded"),), form.encode())


def read_token(answer: Answer, now: float) -> Bearer | Verdict:
    """The access token, used until five minutes (or half its life, if that is less) before its end."""
    if isinstance(answer, PushResponse) and answer.status == 200:
        found = json_object(answer.body)
        token, lives_s = found.get("access_token"), found.get("expires_in")
        if isinstance(token, str) and token.isascii() and token.isprintable() and token and isinstance(lives_s, int):
            return Bearer(token, now + lives_s - min(RENEW_EARLY_S, lives_s / 2))
    return read_oauth(answer, now)


@lru_cache(maxsize=64)
def _key(pem: str) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(pem.encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey), "inspected at upload"
    return key


def _json(upload: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(upload)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        text = upload[:400].decode("ascii", "replace").strip()
        if text.startswith(("AAAA", "AIza")):
            raise BadCredential(904, "this is a legacy server key; Google retired those in 2024", _NEW_JSON) from None
        raise BadCredential(904, "the file is not JSON", _NEW_JSON) from None
    if isinstance(found, str) and found.startswith(("AAAA", "AIza")):
        raise BadCredential(904, "this is a legacy server key; Google retired those in 2024", _NEW_JSON)
    if not isinstance(found, dict):
        raise BadCredential(904, "the JSON is not an object", _NEW_JSON)
    if "project_info" in found:
        raise BadCredential(904, "this is google-services.json, which is for building the Android app", _NEW_JSON)
    if "installed" in found or "web" in found:
        raise BadCredential(904, "this is an OAuth client's JSON, not a service account's", _NEW_JSON)
    return found


def _part(value: dict[str, Any]) -> str:
    return _base64(msgspec.json.encode(value))


def _base64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
