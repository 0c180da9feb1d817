"""Credentials: uploaded, encrypted, replaced, paused; and the snapshots that workers see of them."""

from __future__ import annotations

import json
import logging

import pytest
import redis
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pushsvc.directory.credentials import MAX_UPLOAD_BYTES
from pushsvc.directory.refused import NotFound
from pushsvc.directory.snapshot import CHECK_EVERY_S, MAX_AGE_S
from pushsvc.domain.credential import BadCredential, CredentialKind
from pushsvc.stream.valkey import Valkey
from pushsvc.stream.versions import ValkeyVersions
from pushsvc.vault import Vault, new_key
from tests.directory.use_cases import NOW, Directory


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.fixture(scope="module")
def p8() -> bytes:
    return pem(ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture(scope="module")
def service_account() -> bytes:
    return json.dumps(
        {
            "type": "service_account",
            "project_id": "chat-1",
            "private_key_id": "0" * 40,
            "private_key": pem(rsa.generate_private_key(65537, 2048)).decode(),
            "client_email": "push@chat-1.iam.gserviceaccount.com",
            "token_uri": "https://oauth2.googleapis.com/token",
        }
    ).encode()


def test_a_key_s_id_is_taken_from_the_name_that_apple_gave_its_file(
    directory: Directory, app_id: int, p8: bytes
) -> None:
    stored = directory.credentials.upload(app_id, p8, "AuthKey_ABCDE12345.p8", team_id="TEAM123456")
    assert (stored.finding.kind, stored.finding.key_id, stored.finding.team_id) == (
        CredentialKind.APNS_KEY,
        "ABCDE12345",
        "TEAM123456",
    )
    assert stored.uploaded_at == NOW
    given = directory.credentials.upload(app_id, p8, "AuthKey_ABCDE12345.p8", team_id="TEAM123456", key_id="K" * 10)
    assert given.finding.key_id == "K" * 10


def test_a_service_account_is_told_by_its_content_whatever_its_name(
    directory: Directory, app_id: int, service_account: bytes
) -> None:
    for name in ("", "key.p8", "service-account.json"):
        stored = directory.credentials.upload(app_id, service_account, name)
        assert stored.finding.kind is CredentialKind.FCM_SERVICE_ACCOUNT
        assert stored.finding.project_id == "chat-1"
    assert len(directory.credentials.of(app_id)) == 1


def test_several_credentials_are_kept_and_the_same_one_once(
    directory: Directory, app_id: int, p8: bytes, service_account: bytes
) -> None:
    directory.credentials.upload(app_id, service_account)
    first = directory.credentials.upload(app_id, p8, team_id="TEAM123456", key_id="ABCDE12345")
    again = directory.credentials.upload(app_id, p8, team_id="TEAM123456", key_id="ABCDE12345")
    assert [stored.id for stored in directory.credentials.of(app_id)] == [1, again.id]
    assert again.id != first.id
    other = directory.apps.create("other")[0].app.id
    directory.credentials.upload(other, service_account)
    assert len(directory.credentials.all()) == 3


def test_what_is_no_credential_is_refused_and_not_stored(directory: Directory, app_id: int) -> None:
    for bad in (b"", b"{}", b"hello", b"\x30\x82", b"x" * (MAX_UPLOAD_BYTES + 1)):
        with pytest.raises(BadCredential) as caught:
            directory.credentials.upload(app_id, bad, "push.p12")
        assert caught.value.cure
    assert directory.credentials.of(app_id) == []


def test_no_secret_is_stored_in_clear(
    directory: Directory, app_id: int, p8: bytes, service_account: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    stored = [
        directory.credentials.upload(app_id, p8, team_id="TEAM123456", key_id="ABCDE12345"),
        directory.credentials.upload(app_id, service_account),
    ]
    directory.snapshots.get([app_id])
    path = directory.database.path
    assert path is not None
    directory.database.close()
    secret_lines = [line for line in p8.splitlines() if b"-----" not in line]
    private_key = json.loads(service_account)["private_key"].splitlines()[1:-1]
    written = b"".join(file.read_bytes() for file in path.parent.iterdir() if file.is_file())
    shown = "".join(map(repr, stored)) + caplog.text
    for line in [*secret_lines, *(line.encode() for line in private_key)]:
        assert line not in written
        assert line.decode() not in shown


def test_a_sealed_secret_does_not_open_in_another_app_s_row(directory: Directory, app_id: int, p8: bytes) -> None:
    other = directory.apps.create("other")[0].app.id
    mine = directory.credentials.upload(app_id, p8, team_id="TEAM123456", key_id="ABCDE12345")
    directory.stored_credentials.put(other, mine.finding, mine.sealed, NOW)
    (stolen,) = directory.snapshots.get([other])[other].credentials
    assert stolen.secret == b""
    assert "cannot be decrypted" in stolen.paused
    (credential,) = directory.snapshots.get([app_id])[app_id].credentials
    assert (credential.secret, credential.paused) == (p8, "")


def test_keys_are_rotated_over_all_rows_and_then_the_old_one_can_go(
    directory: Directory,
    valkey: Valkey,
    keys: str,
    app_id: int,
    p8: bytes,
    service_account: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    directory.credentials.upload(app_id, p8, team_id="TEAM123456", key_id="ABCDE12345")
    directory.credentials.upload(app_id, service_account)
    new = new_key()
    both = Directory(directory.database, ValkeyVersions(valkey), Vault(f"{new},{keys}"), directory.clock)
    assert both.credentials.rotate_keys() == 2
    assert both.credentials.rotate_keys() == 0
    only_new = Directory(directory.database, ValkeyVersions(valkey), Vault(new), directory.clock)
    opened = [only_new.credentials.opened(stored).secret for stored in only_new.credentials.of(app_id)]
    assert opened[0] == p8
    (lost, _) = directory.snapshots.get([app_id])[app_id].credentials
    assert "PUSHSVC_VAULT_KEYS" in lost.paused
    assert lost.locked
    assert f"credential {lost.id} of app {app_id} cannot be opened: the key" in caplog.text
    (stored, _) = directory.credentials.of(app_id)
    assert "PUSHSVC_VAULT_KEYS" in directory.credentials.locked(stored)
    assert only_new.credentials.locked(stored) == ""


def test_another_process_sees_every_change_at_its_next_look(
    directory: Directory, valkey: Valkey, app_id: int, p8: bytes
) -> None:
    worker = Directory(directory.database, ValkeyVersions(valkey), directory.vault, directory.clock).snapshots

    def seen() -> tuple[bool, bool, list[str]]:
        directory.clock.now += CHECK_EVERY_S
        app = worker.get([app_id])[app_id]
        return app.settings.push, app.active, [credential.paused for credential in app.credentials]

    assert seen() == (True, True, [])
    directory.apps.change_settings(app_id, {"push": False})
    assert seen() == (False, True, [])
    stored = directory.credentials.upload(app_id, p8, team_id="TEAM123456", key_id="ABCDE12345")
    assert seen() == (False, True, [""])
    assert directory.credentials.pause(stored.id, stored.finding.fingerprint, "refused")
    assert seen() == (False, True, ["refused"])
    assert not directory.credentials.pause(stored.id, "0" * 64, "late")
    directory.credentials.resume(app_id, stored.id)
    assert seen() == (False, True, [""])
    directory.credentials.pause_by_hand(app_id, stored.id, " ")
    assert seen() == (False, True, ["paused by the operator"])
    directory.apps.set_active(app_id, False)
    assert seen() == (False, False, ["paused by the operator"])
    directory.credentials.delete(app_id, stored.id)
    assert seen() == (False, False, [])
    directory.apps.delete(app_id)
    directory.clock.now += CHECK_EVERY_S
    assert worker.get([app_id]) == {}
    new = directory.apps.create("new")[0].app.id
    assert worker.get([new, app_id]).keys() == {new}


def test_an_app_that_was_asked_for_before_it_was_made_is_found_once_it_is(directory: Directory) -> None:
    assert directory.snapshots.get([1]) == {}
    directory.apps.create("chat")
    directory.clock.now += CHECK_EVERY_S
    assert directory.snapshots.get([1]).keys() == {1}


def test_nothing_is_asked_while_nothing_is_due_and_only_valkey_while_nothing_changes(
    directory: Directory, app_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = directory.snapshots.get([app_id])[app_id]
    asked: list[str] = []
    real = directory.versions.versions

    def versions(app_ids: list[int]) -> list[int]:
        asked.append("valkey")
        return real(app_ids)

    monkeypatch.setattr(directory.versions, "versions", versions)
    monkeypatch.setattr(directory.snapshots, "_read", lambda _: asked.append("store"))
    for _ in range(100):
        assert directory.snapshots.get([app_id])[app_id] is app
    assert asked == []
    directory.clock.now += CHECK_EVERY_S
    for _ in range(100):
        assert directory.snapshots.get([app_id])[app_id] is app
    assert asked == ["valkey"]


def test_a_change_that_could_not_be_announced_is_stored_and_seen_by_age(
    directory: Directory, app_id: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert directory.snapshots.get([app_id])[app_id].settings.push

    def away(_: int) -> None:
        raise redis.ConnectionError("refused")

    monkeypatch.setattr(directory.versions, "bump", away)
    directory.apps.change_settings(app_id, {"push": False})
    assert "not announced" in caplog.text
    directory.clock.now += MAX_AGE_S - 1
    assert directory.snapshots.get([app_id])[app_id].settings.push
    directory.clock.now += 1
    assert not directory.snapshots.get([app_id])[app_id].settings.push


def test_a_credential_that_is_not_this_app_s_is_not_found(directory: Directory, app_id: int, p8: bytes) -> None:
    stored = directory.credentials.upload(app_id, p8, team_id="TEAM123456", key_id="ABCDE12345")
    other = directory.apps.create("other")[0].app.id
    for refused in (
        lambda: directory.credentials.delete(other, stored.id),
        lambda: directory.credentials.pause_by_hand(other, stored.id, "x"),
        lambda: directory.credentials.resume(other, stored.id),
        lambda: directory.credentials.resume(app_id, 999),
    ):
        with pytest.raises(NotFound):
            refused()
    assert directory.credentials.of(app_id) == [stored]
