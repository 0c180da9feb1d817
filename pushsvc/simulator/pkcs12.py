"""PKCS#12 files in every encryption that is met in the field, also the ones that today's libraries no longer write.

Old macOS exports keep the certificate under RC2-40 and the key under 3DES; OpenSSL 3 needs its legacy provider for it.
"""

import hashlib
import hmac
import os

from asn1crypto import algos, cms, core, keys, pkcs12, x509
from cryptography import x509 as cx509
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import PBES, serialize_key_and_certificates

from .rc2 import rc2_cbc_encrypt

ENCRYPTIONS = ("aes", "3des", "rc2-40")
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

# RFC 7292 appendix B.3: the three uses of its key derivation.
_KEY, _IV, _MAC = 1, 2, 3
_ROUNDS = 2048


def export(
    key: PrivateKey,
    certificate: cx509.Certificate,
    chain: tuple[cx509.Certificate, ...],
    password: str,
    encryption: str,
) -> bytes:
    """A `.p12` with key, leaf and chain; without a password only RC2-40 encrypts."""
    if encryption not in ENCRYPTIONS:
        raise ValueError(f"unknown PKCS#12 encryption {encryption!r}: use one of {', '.join(ENCRYPTIONS)}")
    if encryption == "rc2-40":
        return _export_rc2_40(key, certificate, chain, password)
    protection: KeySerializationEncryption = NoEncryption()
    if password and encryption == "aes":
        protection = BestAvailableEncryption(password.encode())
    elif password:
        protection = (
            PrivateFormat.PKCS12.encryption_builder()
            .key_cert_algorithm(PBES.PBESv1SHA1And3KeyTripleDESCBC)
            .hmac_hash(hashes.SHA1())  # what the old files really have
            .kdf_rounds(_ROUNDS)
            .build(password.encode())
        )
    return serialize_key_and_certificates(certificate_name(certificate), key, certificate, chain, protection)


def certificate_name(certificate: cx509.Certificate) -> bytes:
    """The friendly name that Keychain gives: the certificate's CN."""
    return str(certificate.subject.get_attributes_for_oid(cx509.NameOID.COMMON_NAME)[0].value).encode()


def _export_rc2_40(
    key: PrivateKey, certificate: cx509.Certificate, chain: tuple[cx509.Certificate, ...], password: str
) -> bytes:
    secret = password.encode("utf-16-be") + b"\0\0"
    key_id = hashlib.sha1(certificate.public_bytes(Encoding.DER)).digest()  # a name, not a protection
    name = certificate_name(certificate).decode()
    bags = [_certificate_bag(certificate, key_id, name), *(_certificate_bag(link, None, None) for link in chain)]
    salt = os.urandom(8)
    encrypted_certificates = rc2_cbc_encrypt(
        _derive(secret, salt, _KEY, 5),
        _derive(secret, salt, _IV, 8),
        pkcs12.SafeContents(bags).dump(),
        effective_bits=40,
    )
    authenticated = pkcs12.AuthenticatedSafe(
        [
            {
                "content_type": "encrypted_data",
                "content": {
                    "version": "v0",
                    "encrypted_content_info": {
                        "content_type": "data",
                        "content_encryption_algorithm": _algorithm("pkcs12_sha1_rc2_40", salt),
                        "encrypted_content": encrypted_certificates,
                    },
                },
            },
            {"content_type": "data", "content": pkcs12.SafeContents([_key_bag(key, secret, key_id, name)]).dump()},
        ]
    )
    content = authenticated.dump()
    mac_salt = os.urandom(8)
    mac = hmac.new(_derive(secret, mac_salt, _MAC, 20), content, hashlib.sha1).digest()
    return bytes(
        pkcs12.Pfx(
            {
                "version": "v3",
                "auth_safe": {"content_type": "data", "content": cms.OctetString(content)},
                "mac_data": {
                    "mac": {"digest_algorithm": {"algorithm": "sha1"}, "digest": mac},
                    "mac_salt": mac_salt,
                    "iterations": _ROUNDS,
                },
            }
        ).dump()
    )


def _algorithm(name: str, salt: bytes) -> algos.EncryptionAlgorithm:
    return algos.EncryptionAlgorithm({"algorithm": name, "parameters": {"salt": salt, "iterations": _ROUNDS}})


def _certificate_bag(certificate: cx509.Certificate, key_id: bytes | None, name: str | None) -> pkcs12.SafeBag:
    parsed = x509.Certificate.load(certificate.public_bytes(Encoding.DER))
    bag = {
        "bag_id": "cert_bag",
        "bag_value": pkcs12.CertBag({"cert_id": "x509", "cert_value": core.ParsableOctetString(parsed.dump())}),
    }
    if key_id is not None and name is not None:
        bag["bag_attributes"] = _attributes(key_id, name)
    return pkcs12.SafeBag(bag)


def _key_bag(key: PrivateKey, secret: bytes, key_id: bytes, name: str) -> pkcs12.SafeBag:
    salt = os.urandom(8)
    clear = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    padding = 8 - len(clear) % 8
    cipher = Cipher(TripleDES(_derive(secret, salt, _KEY, 24)), CBC(_derive(secret, salt, _IV, 8))).encryptor()
    encrypted = cipher.update(clear + bytes([padding]) * padding) + cipher.finalize()
    return pkcs12.SafeBag(
        {
            "bag_id": "pkcs8_shrouded_key_bag",
            "bag_value": keys.EncryptedPrivateKeyInfo(
                {
                    "encryption_algorithm": _algorithm("pkcs12_sha1_tripledes_3key", salt),
                    "encrypted_data": encrypted,
                }
            ),
            "bag_attributes": _attributes(key_id, name),
        }
    )


def _attributes(key_id: bytes, name: str) -> pkcs12.Attributes:
    return pkcs12.Attributes(
        [
            {"type": "local_key_id", "values": [core.OctetString(key_id)]},
            {"type": "friendly_name", "values": [core.BMPString(name)]},
        ]
    )


def _derive(secret: bytes, salt: bytes, use: int, length: int) -> bytes:
    """RFC 7292 appendix B.2 with SHA-1 (u = 20, v = 64)."""

    def fill(data: bytes) -> bytes:
        return (data * (64 // len(data) + 1) * -(-len(data) // 64))[: 64 * -(-len(data) // 64)]

    block = fill(salt) + fill(secret)
    derived = b""
    while True:
        a = bytes([use]) * 64 + block
        for _ in range(_ROUNDS):
            a = hashlib.sha1(a).digest()  # the algorithm of the old files
        derived += a
        if len(derived) >= length:
            return derived[:length]
        b = int.from_bytes((a * 4)[:64]) + 1
        block = b"".join(
            ((int.from_bytes(block[i : i + 64]) + b) % (1 << 512)).to_bytes(64) for i in range(0, len(block), 64)
        )
