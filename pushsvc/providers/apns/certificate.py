"""APNs certificates: what an uploaded .p12 is, from the certificate's own extensions, never from its name.

https://developer.apple.com/documentation/usernotifications/establishing-a-certificate-based-connection-to-apns
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from asn1crypto import parser
from asn1crypto.pkcs12 import Pfx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs12,
)
from cryptography.x509.oid import NameOID

from pushsvc.domain.credential import BadCredential, CredentialKind, Finding
from pushsvc.domain.device import Environment

WARN_BEFORE_S = 30 * 86_400
_SANDBOX = x509.ObjectIdentifier("1.2.840.113635.100.6.3.1")
_PRODUCTION = x509.ObjectIdentifier("1.2.840.113635.100.6.3.2")
_VOIP = x509.ObjectIdentifier("1.2.840.113635.100.6.3.4")
_TOPICS = x509.ObjectIdentifier("1.2.840.113635.100.6.3.6")
_BOTH = frozenset(Environment)
_UTF8_STRING = 12
_EXPORT = "Export the certificate together with its private key (Keychain Access: select both, export as .p12)."


def inspect(upload: bytes, now: float, password: str) -> tuple[Finding, bytes]:
    """The finding, and chain (leaf first) and unencrypted PKCS#8 key as PEM; raises BadCredential."""
    key, found = _opened(upload, password)
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    leaves = [
        c for c in found if c.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == public
    ]
    if not leaves:
        raise BadCredential(904, "the private key in the .p12 does not belong to its certificate", _EXPORT)
    leaf = max(leaves, key=lambda cert: cert.not_valid_after_utc)
    finding = _finding(leaf, now)
    chain = b"".join(cert.public_bytes(Encoding.PEM) for cert in _chain(leaf, found))
    return finding, chain + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _opened(upload: bytes, password: str) -> tuple[PrivateKeyTypes, list[x509.Certificate]]:
    try:
        bundle = pkcs12.load_pkcs12(upload, password.encode() or None)
    except (ValueError, TypeError):
        if not _is_p12(upload):
            raise BadCredential(904, "the file is not a .p12, or it is damaged", _EXPORT) from None
        if password:
            raise BadCredential(
                904, "the .p12 does not open with this password", "Give the password it was exported with."
            ) from None
        raise BadCredential(
            904, "the .p12 has a password", "Give the password with the upload, or export it without one."
        ) from None
    found = [bundle.cert.certificate] if bundle.cert else []
    found += [extra.certificate for extra in bundle.additional_certs]
    if bundle.key is None:
        raise BadCredential(904, "the .p12 holds no private key", _EXPORT)
    if not found:
        raise BadCredential(904, "the .p12 holds no certificate", _EXPORT)
    return bundle.key, found


def _is_p12(upload: bytes) -> bool:
    try:
        return bool(Pfx.load(upload, strict=True)["version"].native == "v3")
    except (ValueError, TypeError, KeyError):
        return False


def _finding(leaf: x509.Certificate, now: float) -> Finding:
    starts, ends = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    day = f"{datetime.fromtimestamp(ends, UTC):%Y-%m-%d}"
    if now >= ends:
        raise BadCredential(903, f"the certificate expired on {day}", "Make a new one in Apple's developer portal.")
    if now < starts:
        raise BadCredential(
            904,
            f"the certificate is not valid before {datetime.fromtimestamp(starts, UTC):%Y-%m-%d %H:%M} UTC",
            "Check this server's clock, or wait.",
        )
    try:
        extensions = {extension.oid: extension.value for extension in leaf.extensions}
    except ValueError:
        raise BadCredential(904, "the certificate's extensions cannot be read", _EXPORT) from None
    uid, name, unit = (_attribute(leaf.subject, oid) for oid in _SUBJECT)
    topics = _topics(extensions, uid)
    if not topics:
        raise BadCredential(
            904,
            "the certificate names no app: it is not one for push notifications",
            "Make a certificate of the type Apple Push Notification service SSL in Apple's developer portal.",
        )
    environments, kind, warnings = _environments(extensions, name)
    apples = _attribute(leaf.issuer, NameOID.ORGANIZATION_NAME) == "Apple Inc."
    if not apples and not extensions.keys() & {_SANDBOX, _PRODUCTION, _VOIP, _TOPICS}:
        raise BadCredential(
            904,
            "it is no push certificate: Apple did not issue it, and it has none of Apple's push extensions",
            "Make a certificate of the type Apple Push Notification service SSL in Apple's developer portal.",
        )
    if not apples:
        warnings.append("It was not issued by Apple: Apple's servers will not take it.")
    if ends - now < WARN_BEFORE_S:
        warnings.append(f"It expires on {day}.")
    if all(topic.endswith(".voip") for topic in topics):
        kind = f"VoIP certificate ({kind})"
    elif any(topic.startswith("com.apple.mgmt.") for topic in topics):
        kind = f"MDM certificate ({kind})"
    else:
        kind = f"push certificate ({kind})"
    return Finding(
        CredentialKind.APNS_CERTIFICATE,
        f"{'Apple ' if apples else ''}{kind} for {', '.join(topics)}; valid until {day}.",
        topics=topics,
        environments=environments,
        not_before=starts,
        not_after=ends,
        team_id=unit,
        fingerprint=leaf.fingerprint(hashes.SHA256()).hex(),
        warnings=tuple(warnings),
    )


_SUBJECT = (NameOID.USER_ID, NameOID.COMMON_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME)


def _attribute(name: x509.Name, oid: x509.ObjectIdentifier) -> str | None:
    found = name.get_attributes_for_oid(oid)
    return str(found[0].value) if found else None


def _environments(
    extensions: dict[x509.ObjectIdentifier, x509.ExtensionType], name: str | None
) -> tuple[frozenset[Environment], str, list[str]]:
    """Which servers take the certificate: the extensions say it; only old VoIP certificates have to be told by name."""
    sandbox, production = _SANDBOX in extensions, _PRODUCTION in extensions
    if sandbox and production:
        return _BOTH, "universal: production and sandbox", []
    if production:
        return frozenset({Environment.PRODUCTION}), "production", []
    if sandbox:
        warning = (
            "It is a development certificate: it serves sandbox devices alone; use a production one for the store."
        )
        return frozenset({Environment.SANDBOX}), "development", [warning]
    if name is not None and name.startswith("VoIP Services"):
        return _BOTH, "production and sandbox", []
    return _BOTH, "of unknown environment", ["It does not say which environment it is for; both will be tried."]


def _topics(extensions: dict[x509.ObjectIdentifier, x509.ExtensionType], uid: str | None) -> tuple[str, ...]:
    found = list(_listed(extensions.get(_TOPICS)))
    if not found and uid:
        found = [uid]
    if _VOIP in extensions:  # older VoIP certificates: the topic stands there, or follows from the UID
        found += list(_listed(extensions[_VOIP])) or ([f"{uid.removesuffix('.voip')}.voip"] if uid else [])
    return tuple(dict.fromkeys(found))


def _listed(extension: x509.ExtensionType | None) -> Iterator[str]:
    """The topics of SEQUENCE { UTF8String topic, SEQUENCE { UTF8String kind … }, … }."""
    if not isinstance(extension, x509.UnrecognizedExtension):
        return
    try:
        rest = parser.parse(extension.value, strict=True)[4]
        while rest:
            _, _, tag, head, content, trailer = parser.parse(rest)
            if tag == _UTF8_STRING:
                yield content.decode()
            rest = rest[len(head) + len(content) + len(trailer) :]
    except ValueError:
        return


def _chain(leaf: x509.Certificate, found: list[x509.Certificate]) -> Iterator[x509.Certificate]:
    """The leaf and, in order, those of its issuers that came with it."""
    cert, left = leaf, [other for other in found if other != leaf]
    yield cert
    while True:
        issuer = next((other for other in left if other.subject == cert.issuer), None)
        if issuer is None:
            return
        yield issuer
        left.remove(issuer)
        cert = issuer
