from __future__ import annotations

import base64
import json
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from values import NOW

from pushsvc.domain.credential import BadCredential, Credential, CredentialKind
from pushsvc.domain.push import Bearer, PushRequest, PushResponse
from pushsvc.providers import Fcm

FCM = Fcm("fcm.test:443", "oauth.test:8443")
KEY = rsa.generate_private_key(65537, 2048)
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
EC_PEM = (
    ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
)
ACCOUNT = {
    "type": "service_account",
    "project_id": "chat-1",
    "private_key_id": "ab" * 20,
    "private_key": PEM,
    "client_email": "push@chat-1.iam.gserviceaccount.com",
    "token_uri": "https://oauth2.googleapis.com/token",
    "client_id": "1",
}


def without(*names: str, **changed: object) -> bytes:
    return json.dumps({**{k: v for k, v in ACCOUNT.items() if k not in names}, **changed}).encode()


def opened() -> Credential:
    finding, secret = FCM.inspect(without(), now=NOW)
    return Credential(4, 1, finding, secret)


def test_a_service_account_is_inspected() -> None:
    finding, secret = FCM.inspect(without(), now=NOW)
    assert finding.kind is CredentialKind.FCM_SERVICE_ACCOUNT
    assert (finding.project_id, finding.client_email) == ("chat-1", ACCOUNT["client_email"])
    assert "chat-1" in finding.summary
    assert len(finding.fingerprint) == 64
    assert set(json.loads(secret)) == {"project_id", "private_key_id", "private_key", "client_email", "token_uri"}
    assert PEM not in repr(Credential(4, 1, finding, secret))


@pytest.mark.parametrize(
    ("upload", "cause"),
    [
        (b"AAAAxyz1234:APA91bFoo", "legacy server key"),
        (b'"AIzaSyFoo"', "legacy server key"),
        (b"hello", "not JSON"),
        (b"[]", "not an object"),
        (json.dumps({"project_info": {"project_id": "x"}, "client": []}).encode(), "google-services.json"),
        (json.dumps({"installed": {}}).encode(), "OAuth client"),
        (without(type="authorized_user"), "authorized_user"),
        (without("project_id"), "no project_id"),
        (without("private_key", "client_email"), "no private_key, client_email"),
        (without(project_id=5), "no project_id"),
        (without(project_id="a/../b"), "project_id"),
        (without(private_key="-----BEGIN PRIVATE KEY-----"), "cannot be read"),
        (without(private_key=EC_PEM), "not an RSA key"),
    ],
)
def test_an_upload_that_is_no_service_account_is_told_apart(upload: bytes, cause: str) -> None:
    with pytest.raises(BadCredential) as bad:
        FCM.inspect(upload, now=NOW)
    assert bad.value.code == 904
    assert cause in bad.value.cause
    assert "upload" in bad.value.cure


@given(
    st.binary(max_size=300)
    | st.dictionaries(st.sampled_from(sorted(ACCOUNT)), st.text() | st.none() | st.integers()).map(
        lambda v: json.dumps(v).encode()
    )
)
def test_whatever_is_uploaded_is_refused_and_nothing_else(upload: bytes) -> None:
    with pytest.raises(BadCredential):
        FCM.inspect(upload, now=NOW)


def test_the_assertion_is_signed_as_google_asks() -> None:
    request = FCM.bearer(opened(), NOW + 0.7)
    assert isinstance(request, PushRequest)
    assert (request.authority, request.path) == ("oauth.test:8443", "/token")
    assert dict(request.headers) == {"content-type": "application/x-www-form-urlencoded"}
    form = parse_qs(request.body.decode())
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    head, claims, signature = form["assertion"][0].split(".")

    def part(text: str) -> bytes:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

    assert json.loads(part(head)) == {"alg": "RS256", "typ": "JWT", "kid": "ab" * 20}
    assert json.loads(part(claims)) == {
        "iss": ACCOUNT["client_email"],
        "scope": "https://www.googleapis.com/auth/firebase.messaging",
        "aud": ACCOUNT["token_uri"],
        "iat": int(NOW),
        "exp": int(NOW) + 3600,
    }
    KEY.public_key().verify(part(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
    assert "assertion" not in repr(request)


@pytest.mark.parametrize(("expires_in", "used_s"), [(3599, 3299), (600, 300), (60, 30), (2, 1)])
def test_an_access_token_is_used_until_shortly_before_its_end(expires_in: int, used_s: float) -> None:
    body = json.dumps({"access_token": "ya29.x", "expires_in": expires_in, "token_type": "Bearer"}).encode()
    assert FCM.read_bearer(opened(), PushResponse(200, (), body), NOW) == Bearer("ya29.x", NOW + used_s)


def test_each_service_account_has_its_own_connections() -> None:
    credential = opened()
    other = Credential(5, 1, credential.finding, credential.secret)
    assert FCM.identity(credential, None).key != FCM.identity(other, None).key
    assert FCM.identity(credential, None).certificate_pem is None
