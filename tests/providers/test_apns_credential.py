"""Uploads of .p12 and .p8 files. The files in certificates/ were made by OpenSSL 3.0 (RC2-40: -legacy)."""

from __future__ import annotations

import base64
import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    pkcs12,
)
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from values import BOTH, NOW, PRODUCTION, SANDBOX, service_account

from pushsvc.domain.credential import BadCredential, Credential, CredentialKind, Finding
from pushsvc.domain.device import Environment
from pushsvc.domain.push import Bearer
from pushsvc.providers import Apns
from pushsvc.simulator.authority import Authority, PushCertificate

APNS = Apns("apns.test:443", "sandbox.test:443")
FILES = Path(__file__).parent / "certificates"
TODAY = datetime.now(UTC).timestamp()
BUNDLE_ID = "com.example.chat"
TOPICS = (BUNDLE_ID, f"{BUNDLE_ID}.voip", f"{BUNDLE_ID}.complication")


@pytest.fixture(scope="module")
def authority() -> Iterator[Authority]:
    made = Authority()
    yield made
    made.close()


@pytest.fixture(scope="module")
def issue(authority: Authority) -> Callable[..., PushCertificate]:
    made: dict[object, PushCertificate] = {}

    def issued(**options: object) -> PushCertificate:
        key = tuple(sorted(options.items()))
        if key not in made:
            made[key] = authority.issue_push_certificate(BUNDLE_ID, **options)
        return made[key]

    return issued


def inspected(upload: bytes, now: float = TODAY, **options: str) -> tuple[Finding, bytes]:
    return APNS.inspect(upload, now=now, **options)


def refused(upload: bytes, now: float = TODAY, **options: str) -> BadCredential:
    with pytest.raises(BadCredential) as bad:
        APNS.inspect(upload, now=now, **options)
    assert bad.value.cure.endswith(".")
    return bad.value


@pytest.mark.parametrize(
    ("file", "password"),
    [
        ("rc2-40-with-password.p12", "push"),
        ("rc2-40-without-password.p12", ""),
        ("3des-with-password.p12", "push"),
        ("aes-with-password.p12", "push"),
    ],
)
def test_a_p12_of_openssl_is_read_whatever_its_encryption(file: str, password: str) -> None:
    finding, secret = inspected((FILES / file).read_bytes(), password=password)
    assert finding.kind is CredentialKind.APNS_CERTIFICATE
    assert finding.topics == TOPICS
    assert finding.environments == BOTH
    assert finding.team_id == "TEAM000001"
    key = load_pem_private_key(secret[secret.index(b"-----BEGIN PRIVATE KEY-----") :], None)
    leaf = x509.load_pem_x509_certificates(secret)[0]
    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.public_key() == leaf.public_key()
    assert finding.fingerprint == leaf.fingerprint(hashes.SHA256()).hex()
    assert password == "" or password.encode() not in secret


@pytest.mark.parametrize("encryption", ["aes", "3des", "rc2-40"])
@pytest.mark.parametrize("password", ["", "geheim"])
def test_a_p12_with_its_chain_is_read(issue: Callable[..., PushCertificate], encryption: str, password: str) -> None:
    issued = issue(kind="universal")
    finding, secret = inspected(issued.pkcs12(password, encryption, chain=True), password=password)
    chain = x509.load_pem_x509_certificates(secret)
    assert [cert.subject for cert in chain] == [issued.certificate.subject, issued.issuer.subject]
    assert finding.warnings == ()
    assert finding.summary.startswith(
        "Apple push certificate (universal: production and sandbox) for com.example.chat;"
    )


KINDS = [
    ("universal", BOTH, (BUNDLE_ID,), "universal"),
    ("production", {PRODUCTION}, (BUNDLE_ID,), "production"),
    ("development", {SANDBOX}, (BUNDLE_ID,), "development"),
    ("voip", BOTH, (f"{BUNDLE_ID}.voip",), "VoIP"),
    ("multi-topic", BOTH, TOPICS, "universal"),
]


@pytest.mark.parametrize(("kind", "environments", "topics", "word"), KINDS)
def test_what_a_certificate_serves_is_read_from_its_extensions(
    issue: Callable[..., PushCertificate],
    kind: str,
    environments: set[Environment],
    topics: tuple[str, ...],
    word: str,
) -> None:
    finding, _ = inspected(issue(kind=kind).pkcs12())
    assert finding.environments == environments
    assert finding.topics == topics
    assert word in finding.summary
    assert bool(finding.warnings) == (kind == "development")
    assert finding.not_before is not None
    assert finding.not_after is not None
    assert finding.not_before < TODAY < finding.not_after


def test_a_certificate_that_is_not_apples_or_expires_soon_is_taken_with_a_warning(
    issue: Callable[..., PushCertificate],
) -> None:
    (warning,) = inspected(issue(kind="universal", issuer="other").pkcs12())[0].warnings
    assert "not issued by Apple" in warning
    (warning,) = inspected(issue(kind="universal", valid_for_s=29 * 86_400).pkcs12())[0].warnings
    assert "expires on" in warning


def test_a_certificate_out_of_its_days_is_refused(issue: Callable[..., PushCertificate]) -> None:
    late = refused(issue(kind="universal", validity="expired").pkcs12())
    assert (late.code, "expired on" in late.cause) == (903, True)
    early = refused(issue(kind="universal", validity="not-yet-valid").pkcs12())
    assert (early.code, "not valid before" in early.cause) == (904, True)


WITH_PASSWORD = (FILES / "aes-with-password.p12").read_bytes()


@pytest.mark.parametrize(
    ("upload", "options", "cause"),
    [
        (WITH_PASSWORD, {"password": "wrong"}, "does not open with this password"),
        (WITH_PASSWORD, {}, "has a password"),
        ((FILES / "rc2-40-with-password.p12").read_bytes(), {"password": "wrong"}, "does not open"),
        (b"hello", {"password": "push"}, "not a .p12"),
        (b"", {}, "not a .p12"),
        (WITH_PASSWORD[:500], {"password": "push"}, "not a .p12"),
        ((FILES / "without-key.p12").read_bytes(), {"password": "push"}, "no private key"),
        ((FILES / "without-certificate.p12").read_bytes(), {"password": "push"}, "no certificate"),
        (b"-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n", {}, "PEM file"),
        (b' {"type":"service_account"}', {}, "JSON"),
        (WITH_PASSWORD, {"password": "push", "team_id": "TEAM000001"}, "no option team_id"),
    ],
)
def test_an_upload_that_is_no_usable_p12_is_told_apart(upload: bytes, options: dict[str, str], cause: str) -> None:
    bad = refused(upload, **options)
    assert bad.code == 904
    assert cause in bad.cause


def self_signed(
    name: x509.Name, key: ec.EllipticCurvePrivateKey, *oids: str, issuer: str = "Apple Inc."
) -> x509.Certificate:
    start = datetime.now(UTC) - timedelta(days=1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=300))
    )
    for oid in oids:
        builder = builder.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), b"\x05\x00"), False)
    return builder.sign(key, hashes.SHA256())


def bundle(key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> bytes:
    return pkcs12.serialize_key_and_certificates(b"", key, certificate, None, NoEncryption())


def named(**parts: str) -> x509.Name:
    oids = {"uid": NameOID.USER_ID, "cn": NameOID.COMMON_NAME}
    return x509.Name([x509.NameAttribute(oids[part], value) for part, value in parts.items()])


def test_the_name_decides_nothing() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    misleading = named(uid="com.example.x", cn="Apple Development IOS Push Services: com.example.y")
    finding, _ = inspected(bundle(key, self_signed(misleading, key, "1.2.840.113635.100.6.3.2")))
    assert (finding.topics, finding.environments) == (("com.example.x",), {PRODUCTION})


def test_a_certificate_without_environments_is_taken_for_both_with_a_warning() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    finding, _ = inspected(bundle(key, self_signed(named(uid="com.example.x", cn="x"), key)))
    assert finding.environments == BOTH
    assert any("which environment" in warning for warning in finding.warnings)


def test_a_certificate_that_neither_apple_issued_nor_its_extensions_mark_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    web = self_signed(named(uid="com.example.x", cn="x"), key, issuer="Apple pie bakery")
    with pytest.raises(BadCredential, match="no push certificate") as caught:
        inspected(bundle(key, web))
    assert caught.value.code == 904


def test_another_authority_s_certificate_with_apple_s_extensions_is_taken_with_a_warning() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    ours = self_signed(named(uid="com.example.x", cn="x"), key, "1.2.840.113635.100.6.3.2", issuer="Example Ltd.")
    finding, _ = inspected(bundle(key, ours))
    assert not finding.summary.startswith("Apple")
    assert any("not issued by Apple" in warning for warning in finding.warnings)


def test_an_mdm_certificate_is_called_so() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    finding, _ = inspected(bundle(key, self_signed(named(uid="com.apple.mgmt.External.1", cn="APSP:1"), key)))
    assert finding.topics == ("com.apple.mgmt.External.1",)
    assert "MDM" in finding.summary


def test_a_certificate_for_something_else_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    assert "names no app" in refused(bundle(key, self_signed(named(cn="www.example.com"), key))).cause


def test_a_key_of_another_certificate_is_refused() -> None:
    key, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    stranger = self_signed(named(uid="com.example.x"), other)
    upload = pkcs12.serialize_key_and_certificates(b"", key, None, [stranger], NoEncryption())
    bad = refused(upload)
    assert (bad.code, "does not belong" in bad.cause) == (904, True)


@given(st.binary(max_size=400), st.text(max_size=10))
def test_whatever_is_uploaded_is_refused_and_nothing_else(upload: bytes, password: str) -> None:
    with pytest.raises(BadCredential):
        APNS.inspect(upload, now=NOW, password=password)


@given(st.integers(0, len(WITH_PASSWORD) - 1), st.integers(1, 255))
def test_a_damaged_p12_is_read_or_refused_and_nothing_else(at: int, by: int) -> None:
    damaged = bytearray(WITH_PASSWORD)
    damaged[at] ^= by
    try:
        APNS.inspect(bytes(damaged), now=TODAY, password="push")
    except BadCredential as bad:
        assert bad.code == 904


# Keys

P256 = ec.derive_private_key(0xA5A5A5A5A5A5A5A5A5A5, ec.SECP256R1())
P8 = P256.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
IDS = {"team_id": "TEAM000001", "key_id": "KEY0000001"}


def test_a_p8_serves_every_topic_of_the_team_in_both_environments() -> None:
    finding, secret = inspected(P8, **IDS)
    assert finding.kind is CredentialKind.APNS_KEY
    assert (finding.topics, finding.environments) == ((), BOTH)
    assert (finding.team_id, finding.key_id, finding.not_after) == ("TEAM000001", "KEY0000001", None)
    assert secret == P8
    assert len(finding.fingerprint) == 64


def test_a_p8_may_be_for_one_environment_and_some_topics() -> None:
    finding, _ = inspected(P8, **IDS, environment="sandbox", topics="com.a, com.b ,")
    assert (finding.topics, finding.environments) == (("com.a", "com.b"), {SANDBOX})


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, password: bytes = b"") -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


@pytest.mark.parametrize(
    ("upload", "options", "cause"),
    [
        (P8, {}, "team_id"),
        (P8, {"team_id": "TEAM000001"}, "key_id"),
        (P8, {**IDS, "key_id": "short"}, "key_id"),
        (P8, {**IDS, "team_id": "team000001"}, "team_id"),
        (P8, {**IDS, "environment": "staging"}, "environment"),
        (P8, {**IDS, "topics": "com.a,b c"}, "not a topic"),
        (P8, {**IDS, "password": "x"}, "no option password"),
        (pem(ec.generate_private_key(ec.SECP384R1())), IDS, "P-256"),
        (pem(P256, b"x"), IDS, "encrypted"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", IDS, "cannot be read"),
    ],
)
def test_a_p8_that_cannot_be_used_is_refused(upload: bytes, options: dict[str, str], cause: str) -> None:
    bad = refused(upload, **options)
    assert bad.code == 904
    assert cause in bad.cause


def test_a_key_uploaded_with_another_id_is_another_credential() -> None:
    first, second = (inspected(P8, **{**IDS, "key_id": key_id})[0] for key_id in ("KEY0000001", "KEY0000002"))
    assert first.fingerprint != second.fingerprint
    assert first.fingerprint == inspected(P8, **IDS, environment="sandbox")[0].fingerprint


# In use


def opened(upload: bytes, **options: str) -> Credential:
    finding, secret = inspected(upload, **options)
    return Credential(5, 1, finding, secret)


def unpacked(token: str) -> tuple[dict[str, object], dict[str, object], bytes, bytes]:
    def part(text: str) -> bytes:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

    head, claims, signature = token.split(".")
    return json.loads(part(head)), json.loads(part(claims)), part(signature), f"{head}.{claims}".encode()


@pytest.mark.parametrize("now", [NOW, NOW + 1, NOW + 299.9, NOW + 2399, NOW + 2400, NOW + 123_456.7])
def test_a_token_is_apples_jwt_and_neither_from_the_future_nor_too_old(now: float) -> None:
    credential = opened(P8, **IDS)
    bearer = APNS.bearer(credential, now)
    assert isinstance(bearer, Bearer)
    head, claims, signature, signed = unpacked(bearer.token)
    assert head == {"alg": "ES256", "kid": "KEY0000001", "typ": "JWT"}
    assert claims["iss"] == "TEAM000001"
    issued = claims["iat"]
    assert isinstance(issued, int)
    assert issued % 2400 == 0
    assert 300 <= now - issued <= 2700
    assert now < bearer.use_until <= issued + 2700
    assert len(signature) == 64
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    P256.public_key().verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))


def test_a_token_changes_no_more_often_than_every_forty_minutes() -> None:
    credential = opened(P8, **IDS)
    tokens = []
    for second in range(0, 86_400, 60):
        bearer = APNS.bearer(credential, NOW + second)
        assert isinstance(bearer, Bearer)
        tokens.append(bearer.token)
    assert len(set(tokens)) in (36, 37)
    renewed = [at for at in range(1, len(tokens)) if tokens[at] != tokens[at - 1]]
    assert {later - earlier for earlier, later in itertools.pairwise(renewed)} == {40}


def test_a_token_is_byte_for_byte_the_same_in_another_process() -> None:
    script = (
        "import sys\n"
        "from pushsvc.domain.credential import Credential\n"
        "from pushsvc.providers import Apns\n"
        "apns, upload = Apns('a:1', 'b:1'), sys.stdin.buffer.read()\n"
        "finding, secret = apns.inspect(upload, now=0, team_id='TEAM000001', key_id='KEY0000001')\n"
        f"print(apns.bearer(Credential(9, 2, finding, secret), {NOW + 77}).token)\n"
    )
    there = subprocess.run([sys.executable, "-c", script], input=P8, capture_output=True, check=True)
    here = APNS.bearer(opened(P8, **IDS), NOW)
    assert isinstance(here, Bearer)
    assert there.stdout.decode().strip() == here.token


def test_a_certificate_needs_no_bearer_and_a_key_no_certificate() -> None:
    certificate = opened(WITH_PASSWORD, password="push")
    assert APNS.bearer(certificate, NOW) is None
    identity = APNS.identity(certificate, PRODUCTION)
    assert identity.certificate_pem is not None
    assert identity.private_key_pem is not None
    assert identity.certificate_pem + identity.private_key_pem == certificate.secret
    assert not identity.one_first
    leaf = x509.load_pem_x509_certificates(identity.certificate_pem)[0]
    public = load_pem_private_key(identity.private_key_pem, None).public_key()
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert public.public_bytes(*form) == leaf.public_key().public_bytes(*form)

    key = APNS.identity(opened(P8, **IDS), PRODUCTION)
    assert (key.certificate_pem, key.private_key_pem, key.one_first) == (None, None, True)
    assert key.key != identity.key


def test_apns_fetches_no_bearers() -> None:
    with pytest.raises(TypeError):
        APNS.read_bearer(service_account(), None, NOW)  # type: ignore[arg-type]
