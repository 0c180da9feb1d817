"""What the authority issues, read by OpenSSL's own tool and by other libraries."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key, pkcs12

from pushsvc.simulator.authority import Authority
from pushsvc.simulator.certificates import KINDS, ClientIdentity
from pushsvc.simulator.pkcs12 import ENCRYPTIONS
from pushsvc.simulator.rc2 import rc2_cbc_encrypt

APPLE = "1.2.840.113635.100.6.3."


@pytest.fixture(scope="module")
def authority() -> Iterator[Authority]:
    authority = Authority()
    yield authority
    authority.close()


@pytest.mark.parametrize(
    ("kind", "uid", "name", "extensions"),
    [
        ("universal", "com.example.chat", "Apple Push Services: com.example.chat", {"1", "2"}),
        ("production", "com.example.chat", "Apple Production IOS Push Services: com.example.chat", {"2"}),
        ("development", "com.example.chat", "Apple Development IOS Push Services: com.example.chat", {"1"}),
        ("voip", "com.example.chat.voip", "VoIP Services: com.example.chat", {"4"}),
        ("multi-topic", "com.example.chat", "Apple Push Services: com.example.chat", {"1", "2", "6"}),
    ],
)
def test_each_kind_says_what_apple_s_says(
    kind: str, uid: str, name: str, extensions: set[str], authority: Authority
) -> None:
    issued = authority.issue_push_certificate("com.example.chat", "TEAM000001", kind)
    subject = {attribute.oid.dotted_string: attribute.value for attribute in issued.certificate.subject}
    assert subject["0.9.2342.19200300.100.1.1"] == uid
    assert (subject["2.5.4.3"], subject["2.5.4.11"]) == (name, "TEAM000001")
    found = {e.oid.dotted_string.removeprefix(APPLE): e.value for e in issued.certificate.extensions}
    assert {number for number in found if number.isdigit()} == extensions
    for number in {"1", "2"} & extensions:
        value = found[number]
        assert isinstance(value, x509.UnrecognizedExtension)
        assert value.value == b"\x05\x00"
    assert KINDS.keys() == {"universal", "production", "development", "voip", "multi-topic"}


def test_the_topic_list_is_the_asn_1_that_clients_parse(authority: Authority, tmp_path: Path) -> None:
    issued = authority.issue_push_certificate("com.example.chat", kind="multi-topic")
    value = issued.certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier(APPLE + "6")).value
    assert isinstance(value, x509.UnrecognizedExtension)
    (tmp_path / "topics.der").write_bytes(value.value)
    command = ["openssl", "asn1parse", "-inform", "DER", "-in", str(tmp_path / "topics.der")]
    parsed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    words = [line.split(":")[-1].strip() if "UTF8STRING" in line else "SEQUENCE" for line in parsed.splitlines()]
    assert words == [
        "SEQUENCE",
        "com.example.chat",
        "SEQUENCE",
        "app",
        "com.example.chat.voip",
        "SEQUENCE",
        "voip",
        "com.example.chat.complication",
        "SEQUENCE",
        "complication",
    ]


def test_the_servers_read_their_own_certificates_by_oid(authority: Authority) -> None:
    issued = authority.issue_push_certificate("com.example.chat", "TEAM000002", "multi-topic")
    der = x509.load_pem_x509_certificate(issued.certificate_pem).public_bytes(Encoding.DER)
    identity = ClientIdentity.from_der(der)
    assert (identity.team_id, identity.default_topic) == ("TEAM000002", "com.example.chat")
    assert identity.topics == ("com.example.chat", "com.example.chat.voip", "com.example.chat.complication")
    assert (identity.production, identity.sandbox, identity.lists_topics) == (True, True, True)


@pytest.mark.parametrize("password", ["", "secret", "pässwörd"])
@pytest.mark.parametrize("encryption", ENCRYPTIONS)
@pytest.mark.parametrize("chain", [False, True])
def test_openssl_reads_the_p12(
    encryption: str, password: str, chain: bool, authority: Authority, tmp_path: Path
) -> None:
    issued = authority.issue_push_certificate("com.example.chat")
    file = tmp_path / "push.p12"
    file.write_bytes(issued.pkcs12(password, encryption, chain))
    command = ["openssl", "pkcs12", "-legacy", "-info", "-nodes", "-in", str(file), "-passin", f"pass:{password}"]
    read = subprocess.run(command, capture_output=True, text=True)
    if password == "pässwörd" and encryption != "rc2-40":
        # The tool takes the password in another encoding than the library that wrote these.
        key, certificate, _ = pkcs12.load_key_and_certificates(file.read_bytes(), password.encode())
        assert key is not None and certificate is not None
        return
    assert read.returncode == 0, read.stderr
    assert read.stdout.count("BEGIN CERTIFICATE") == 1 + chain
    assert read.stdout.count("BEGIN PRIVATE KEY") == 1
    expected = {
        "aes": "AES-256-CBC",
        "3des": "pbeWithSHA1And3-KeyTripleDES-CBC",
        "rc2-40": "pbeWithSHA1And40BitRC2-CBC",
    }
    if password or encryption == "rc2-40":
        assert expected[encryption] in read.stderr
    wrong = subprocess.run([*command[:-1], "pass:wrong"], capture_output=True, text=True)
    assert wrong.returncode != 0


@pytest.mark.parametrize(
    ("key", "bits", "clear", "encrypted"),
    [
        ("0000000000000000", 63, "0000000000000000", "ebb773f993278eff"),
        ("ffffffffffffffff", 64, "ffffffffffffffff", "278b27e42e2f0d49"),
        ("3000000000000000", 64, "1000000000000001", "30649edf9be7d2c2"),
        ("88", 64, "0000000000000000", "61a8a244adacccf0"),
        ("88bca90e90875a", 64, "0000000000000000", "6ccf4308974c267f"),
        ("88bca90e90875a7f0f79c384627bafb2", 64, "0000000000000000", "1a807d272bbe5db1"),
        ("88bca90e90875a7f0f79c384627bafb2", 128, "0000000000000000", "2269552ab0f85ca6"),
    ],
)
def test_rc2_gives_the_vectors_of_rfc_2268(key: str, bits: int, clear: str, encrypted: str) -> None:
    result = rc2_cbc_encrypt(bytes.fromhex(key), bytes(8), bytes.fromhex(clear), bits)
    assert result[:8].hex() == encrypted


def test_an_auth_key_is_a_pkcs8_p_256_key(authority: Authority) -> None:
    key = authority.issue_apns_key("TEAM000001", environment="sandbox", topics=("com.example.chat",))
    assert len(key.key_id) == 10
    assert load_pem_private_key(key.p8, None).curve.name == "secp256r1"  # type: ignore[union-attr]
    assert "PRIVATE" not in repr(key)


def test_a_wrong_word_names_the_right_ones(authority: Authority) -> None:
    with pytest.raises(ValueError, match="unknown kind 'adhoc': use one of universal"):
        authority.issue_push_certificate("com.example.chat", kind="adhoc")
    with pytest.raises(ValueError, match="use one of production, sandbox"):
        authority.issue_apns_key(environment="staging")
