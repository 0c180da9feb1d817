"""Plays Apple's developer portal and Google's console: issues every credential, and may take it back."""

import datetime as dt
import os
import secrets
import string
import tempfile
import threading
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from . import pkcs12
from .certificates import ASN1_NULL, KINDS, encode_topics

# The providers' own host names are in the server certificate too: name resolution alone may point a client here.
HOSTS = (
    "localhost",
    "api.push.apple.com",
    "api.sandbox.push.apple.com",
    "api.development.push.apple.com",
    "fcm.googleapis.com",
    "oauth2.googleapis.com",
)
VALIDITIES = ("valid", "expired", "not-yet-valid")
ISSUERS = ("apple", "other")
THIRTEEN_MONTHS_S = 396 * 86_400
_DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class PushCertificate:
    """An issued push certificate with its key; `pkcs12` makes the file that Keychain would export."""

    bundle_id: str
    team_id: str
    kind: str
    certificate: x509.Certificate = field(repr=False)
    key: rsa.RSAPrivateKey = field(repr=False)
    issuer: x509.Certificate = field(repr=False)

    @property
    def serial_number(self) -> int:
        return self.certificate.serial_number

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return _key_pem(self.key)

    def pkcs12(self, password: str = "", encryption: str = "aes", chain: bool = False) -> bytes:
        """The `.p12` bytes; `encryption` is one of aes, 3des, rc2-40; `chain` adds the issuer's certificate."""
        links = (self.issuer,) if chain else ()
        return pkcs12.export(self.key, self.certificate, links, password, encryption)


@dataclass(slots=True)
class ApnsKey:
    """An APNs auth key; `environment` None serves both, `topics` None serves every topic of the team."""

    team_id: str
    key_id: str
    environment: str | None
    topics: tuple[str, ...] | None
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    revoked: bool = False

    @property
    def p8(self) -> bytes:
        return _key_pem(self.key)


@dataclass(slots=True)
class ServiceAccount:
    """A Google service account; `token_uri` is filled in by the running simulator."""

    project_id: str
    client_email: str
    private_key_id: str
    token_uri: str
    key: rsa.RSAPrivateKey = field(repr=False)
    may_send: bool = True
    revoked: bool = False

    def as_json(self) -> dict[str, str]:
        """The service-account file that the Firebase console hands out."""
        return {
            "type": "service_account",
            "project_id": self.project_id,
            "private_key_id": self.private_key_id,
            "private_key": _key_pem(self.key).decode(),
            "client_email": self.client_email,
            "client_id": str(int(self.private_key_id[:16], 16)),
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": self.token_uri,
            "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
            "universe_domain": "googleapis.com",
        }


@dataclass(frozen=True, slots=True)
class _Issuer:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


class Authority:
    """Issues and revokes; the servers ask it what is still good.

    It lives in memory and in a temporary folder, or in the `folder` that is given: there the issuers stay, so that
    what trusts them, and what they have issued, is good after the next start too.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="push-simulator-") if folder is None else None
        self.folder = folder or Path(self._temporary.name if self._temporary else "")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._server_ca = self._issuer("server", "Push Simulator Server CA", "Push Simulator")
        # The names a client finds in the issuer field of a real push certificate.
        self._apple = self._issuer("apple", "Apple Worldwide Developer Relations Certification Authority", "Apple Inc.")
        self._other = self._issuer("other", "Example Certification Authority", "Example Ltd.")
        self._revoked: dict[int, dt.datetime] = {}
        self.apns_keys: dict[str, ApnsKey] = {}
        self.service_accounts: dict[str, ServiceAccount] = {}
        self.token_uri = ""
        self.ca_path = self.folder / "ca.pem"
        self.ca_path.write_bytes(self.ca_pem)
        self.server_chain_path = self.folder / "server.pem"
        write_private(self.server_chain_path, self._issue_server())
        self.client_trust_path = self.folder / "clients.pem"
        self.revision = 0
        self._write_client_trust()

    @property
    def ca_pem(self) -> bytes:
        """What a client must trust to reach the simulated servers."""
        return self._server_ca.certificate.public_bytes(Encoding.PEM)

    @property
    def apple_ca_pem(self) -> bytes:
        """The issuer of the push certificates."""
        return self._apple.certificate.public_bytes(Encoding.PEM)

    def issue_push_certificate(
        self,
        bundle_id: str,
        team_id: str = "TEAM000001",
        kind: str = "universal",
        *,
        validity: str = "valid",
        valid_for_s: float = THIRTEEN_MONTHS_S,
        topics: tuple[tuple[str, str], ...] | None = None,
        issuer: str = "apple",
    ) -> PushCertificate:
        """Issues a certificate; `topics` (topic, kind) replaces the kind's list, `valid_for_s` counts from now."""
        _one_of("kind", kind, tuple(KINDS))
        _one_of("validity", validity, VALIDITIES)
        _one_of("issuer", issuer, ISSUERS)
        template, signer = KINDS[kind], self._apple if issuer == "apple" else self._other
        now = dt.datetime.now(dt.UTC)
        start = {"valid": now - _DAY, "expired": now - 400 * _DAY, "not-yet-valid": now + _DAY}[validity]
        end = {"expired": now - _DAY, "not-yet-valid": start + 396 * _DAY}.get(
            validity, now + dt.timedelta(seconds=valid_for_s)
        )
        key = rsa.generate_private_key(65537, 2048)
        uid = bundle_id + template.uid_suffix
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.USER_ID, uid),
                x509.NameAttribute(NameOID.COMMON_NAME, template.common_name + bundle_id),
                x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, team_id),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example Ltd."),
                x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
            ]
        )
        builder = _leaf(subject, key.public_key(), signer, start, end, ExtendedKeyUsageOID.CLIENT_AUTH)
        for oid in template.environments:
            builder = builder.add_extension(x509.UnrecognizedExtension(oid, ASN1_NULL), critical=False)
        listed = topics if topics is not None else tuple((bundle_id + tail, word) for tail, word in template.topics)
        if template.topics_in is not None:
            value = x509.UnrecognizedExtension(template.topics_in, encode_topics(listed))
            builder = builder.add_extension(value, critical=False)
        certificate = builder.sign(signer.key, hashes.SHA256())
        return PushCertificate(bundle_id, team_id, kind, certificate, key, signer.certificate)

    def issue_apns_key(
        self,
        team_id: str = "TEAM000001",
        key_id: str | None = None,
        *,
        environment: str | None = None,
        topics: tuple[str, ...] | None = None,
    ) -> ApnsKey:
        """Issues an auth key; `environment` (production, sandbox) and `topics` restrict it."""
        if environment is not None:
            _one_of("environment", environment, ("production", "sandbox"))
        name = key_id or "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(10))
        key = ApnsKey(team_id, name, environment, topics, ec.generate_private_key(ec.SECP256R1()))
        self.apns_keys[name] = key
        return key

    def adopt_apns_key(self, team_id: str, key_id: str, p8: bytes) -> None:
        """Takes a key for issued that an earlier start of the simulator has issued."""
        key = load_pem_private_key(p8, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self.apns_keys[key_id] = ApnsKey(team_id, key_id, None, None, key)

    def adopt_service_account(self, file: dict[str, str]) -> None:
        """Takes an account for issued that an earlier start of the simulator has issued."""
        key = load_pem_private_key(file["private_key"].encode(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        email, token_uri = file["client_email"], file["token_uri"]
        account = ServiceAccount(file["project_id"], email, file["private_key_id"], token_uri, key)
        self.service_accounts[email] = account

    def issue_service_account(self, project_id: str, *, may_send: bool = True) -> ServiceAccount:
        """Makes an account, and its project when that is new; `may_send` False leaves out the messaging permission."""
        email = f"firebase-adminsdk-{secrets.token_hex(3)}@{project_id}.iam.gserviceaccount.com"
        key = rsa.generate_private_key(65537, 2048)
        account = ServiceAccount(project_id, email, secrets.token_hex(20), self.token_uri, key, may_send)
        self.service_accounts[email] = account
        return account

    def revoke(self, credential: PushCertificate | ApnsKey | ServiceAccount) -> None:
        """Takes a credential back; new connections and requests see it at once."""
        if isinstance(credential, PushCertificate):
            self.revoke_serial_number(credential.serial_number)
        else:
            credential.revoked = True

    def revoke_serial_number(self, serial_number: int) -> None:
        """Puts a certificate on the revocation list."""
        with self._lock:
            self._revoked[serial_number] = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1)
            self._write_client_trust()

    def is_revoked(self, serial_number: int) -> bool:
        return serial_number in self._revoked

    def close(self) -> None:
        if self._temporary is not None:
            self._temporary.cleanup()

    def _issuer(self, name: str, common_name: str, organization: str) -> _Issuer:
        path = self.folder / f"issuer-{name}.pem"
        if path.exists():
            pem = path.read_bytes()
            key = load_pem_private_key(pem, None)
            assert isinstance(key, ec.EllipticCurvePrivateKey)
            return _Issuer(x509.load_pem_x509_certificate(pem), key)
        made = _make_ca(common_name, organization)
        write_private(path, made.certificate.public_bytes(Encoding.PEM) + _key_pem(made.key))
        return made

    def _write_client_trust(self) -> None:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._apple.certificate.subject)
            .last_update(now - _DAY)
            .next_update(now + 3650 * _DAY)
        )
        for serial_number, when in self._revoked.items():
            entry = x509.RevokedCertificateBuilder().serial_number(serial_number).revocation_date(when).build()
            builder = builder.add_revoked_certificate(entry)
        crl = builder.sign(self._apple.key, hashes.SHA256())
        self.client_trust_path.write_bytes(self.apple_ca_pem + crl.public_bytes(Encoding.PEM))
        self.revision += 1

    def _issue_server(self) -> bytes:
        key = ec.generate_private_key(ec.SECP256R1())
        now, purpose = dt.datetime.now(dt.UTC), ExtendedKeyUsageOID.SERVER_AUTH
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        names = [*map(x509.DNSName, HOSTS), x509.IPAddress(ip_address("127.0.0.1")), x509.IPAddress(ip_address("::1"))]
        certificate = (
            _leaf(subject, key.public_key(), self._server_ca, now - _DAY, now + 365 * _DAY, purpose)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._server_ca.key, hashes.SHA256())
        )
        return certificate.public_bytes(Encoding.PEM) + _key_pem(key)


def _make_ca(common_name: str, organization: str) -> _Issuer:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
        ]
    )
    now = dt.datetime.now(dt.UTC)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 800 * _DAY)
        .not_valid_after(now + 3650 * _DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _Issuer(certificate, key)


def _leaf(
    subject: x509.Name,
    public_key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
    signer: _Issuer,
    start: dt.datetime,
    end: dt.datetime,
    purpose: x509.ObjectIdentifier,
) -> x509.CertificateBuilder:
    signer_id = x509.SubjectKeyIdentifier.from_public_key(signer.key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer.certificate.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(signer_id), critical=False)
    )


def _key_usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def write_private(path: Path, content: bytes) -> None:
    """Writes a file that this user alone may read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)


def _key_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _one_of(what: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"unknown {what} {value!r}: use one of {', '.join(allowed)}")
