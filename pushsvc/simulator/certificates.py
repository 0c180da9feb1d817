"""Push certificates as Apple prints them: subject, extensions, and how a server reads them back."""

from dataclasses import dataclass

from asn1crypto import core
from cryptography import x509
from cryptography.x509.oid import NameOID

# Apple's certificate extensions, 1.2.840.113635.100.6.3.*
DEVELOPMENT = x509.ObjectIdentifier("1.2.840.113635.100.6.3.1")
PRODUCTION = x509.ObjectIdentifier("1.2.840.113635.100.6.3.2")
VOIP = x509.ObjectIdentifier("1.2.840.113635.100.6.3.4")
TOPICS = x509.ObjectIdentifier("1.2.840.113635.100.6.3.6")

ASN1_NULL = b"\x05\x00"


@dataclass(frozen=True, slots=True)
class CertificateKind:
    """One kind of push certificate; the bundle id completes `common_name`, `topics` are (suffix, kind) pairs."""

    name: str
    common_name: str
    uid_suffix: str
    environments: tuple[x509.ObjectIdentifier, ...]
    topics_in: x509.ObjectIdentifier | None
    topics: tuple[tuple[str, str], ...]


KINDS = {
    kind.name: kind
    for kind in (
        CertificateKind("universal", "Apple Push Services: ", "", (DEVELOPMENT, PRODUCTION), None, ()),
        CertificateKind("production", "Apple Production IOS Push Services: ", "", (PRODUCTION,), None, ()),
        CertificateKind("development", "Apple Development IOS Push Services: ", "", (DEVELOPMENT,), None, ()),
        CertificateKind("voip", "VoIP Services: ", ".voip", (), VOIP, ((".voip", "voip"),)),
        CertificateKind(
            "multi-topic",
            "Apple Push Services: ",
            "",
            (DEVELOPMENT, PRODUCTION),
            TOPICS,
            (("", "app"), (".voip", "voip"), (".complication", "complication")),
        ),
    )
}


class _TopicKinds(core.SequenceOf):  # type: ignore[misc]  # asn1crypto ships no types
    _child_spec = core.UTF8String


class _Topics(core.SequenceOf):  # type: ignore[misc]  # asn1crypto ships no types
    _child_spec = core.Any


def encode_topics(topics: tuple[tuple[str, str], ...]) -> bytes:
    """A topic list's extension value: SEQUENCE of alternating UTF8String topic, SEQUENCE { UTF8String kind }."""
    members: list[core.Asn1Value] = []
    for topic, kind in topics:
        members += [core.Any(core.UTF8String(topic)), core.Any(_TopicKinds([kind]))]
    return bytes(_Topics(members).dump())


def decode_topics(value: bytes) -> tuple[str, ...]:
    """The topics of such an extension value, in their order; raises ValueError when it is no such list."""
    members = [member.parse() for member in _Topics.load(value)]
    return tuple(str(member.native) for member in members if isinstance(member, core.UTF8String))


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """What APNs learns from a client certificate once TLS has accepted it."""

    serial_number: int
    common_name: str
    team_id: str
    default_topic: str
    topics: tuple[str, ...]
    lists_topics: bool
    production: bool
    sandbox: bool

    @classmethod
    def from_der(cls, der: bytes) -> "ClientIdentity":
        """Reads a DER certificate by its extensions; the old VoIP kind names no environment and serves both."""
        certificate = x509.load_der_x509_certificate(der)
        extensions = {extension.oid: extension.value for extension in certificate.extensions}
        uid = _subject(certificate, NameOID.USER_ID)
        listed = extensions.get(TOPICS)
        topics = decode_topics(listed.value) if isinstance(listed, x509.UnrecognizedExtension) else (uid,)
        old_voip = VOIP in extensions and not {DEVELOPMENT, PRODUCTION} & extensions.keys()
        return cls(
            serial_number=certificate.serial_number,
            common_name=_subject(certificate, NameOID.COMMON_NAME),
            team_id=_subject(certificate, NameOID.ORGANIZATIONAL_UNIT_NAME),
            default_topic=uid,
            topics=topics,
            lists_topics=listed is not None,
            production=PRODUCTION in extensions or old_voip,
            sandbox=DEVELOPMENT in extensions or old_voip,
        )


def _subject(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> str:
    found = certificate.subject.get_attributes_for_oid(oid)
    return str(found[0].value) if found else ""
