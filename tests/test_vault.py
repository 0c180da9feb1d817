"""The vault: what is sealed opens in its own place with its own key, and nowhere else."""

from __future__ import annotations

import base64
import multiprocessing
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushsvc.directory.ports import VaultError
from pushsvc.vault import Vault, key_file, new_key

OLD = "old:" + base64.b64encode(b"o" * 32).decode()
NEW = "new:" + base64.b64encode(b"n" * 32).decode()


@given(st.binary(max_size=5000), st.text())
def test_what_is_sealed_opens_again(secret: bytes, bound_to: str) -> None:
    vault = Vault(OLD)
    bound_to = bound_to.encode(errors="replace").decode()
    assert vault.open(vault.seal(secret, bound_to), bound_to) == secret


def test_the_same_secret_never_looks_the_same() -> None:
    vault = Vault(OLD)
    sealed = {vault.seal(b"secret", "a") for _ in range(100)}
    assert len(sealed) == 100
    assert not any(b"secret" in one for one in sealed)


def test_it_does_not_open_in_another_place() -> None:
    vault = Vault(OLD)
    with pytest.raises(VaultError, match="cannot be decrypted") as caught:
        vault.open(vault.seal(b"secret", "app 1"), "app 2")
    assert caught.value.cure


@given(st.data())
def test_no_changed_byte_goes_unnoticed(data: st.DataObject) -> None:
    vault = Vault(f"{OLD},{NEW}")
    sealed = bytearray(vault.seal(b"secret", "a"))
    where = data.draw(st.integers(0, len(sealed) - 1))
    sealed[where] ^= data.draw(st.integers(1, 255))
    with pytest.raises(VaultError):
        vault.open(bytes(sealed), "a")


@given(st.integers(0, 40))
def test_what_was_cut_off_is_refused(length: int) -> None:
    vault = Vault(OLD)
    sealed = vault.seal(b"secret", "a")
    assert len(sealed) > 36
    with pytest.raises(VaultError):
        vault.open(sealed[: min(length, len(sealed) - 1)], "a")


def test_the_first_key_encrypts_and_all_decrypt() -> None:
    before = Vault(OLD).seal(b"secret", "a")
    both = Vault(f"{NEW},{OLD}")
    assert both.open(before, "a") == b"secret"
    after = both.rotate(before, "a")
    assert after is not None
    assert Vault(NEW).open(after, "a") == b"secret"
    assert both.rotate(after, "a") is None
    with pytest.raises(VaultError, match="'old'") as caught:
        Vault(NEW).open(before, "a")
    assert "PUSHSVC_VAULT_KEYS" in caught.value.cure


def test_another_key_of_the_same_name_is_said_to_be_one() -> None:
    sealed = Vault(OLD).seal(b"secret", "a")
    with pytest.raises(VaultError, match="another key bears that name"):
        Vault("old:" + NEW.partition(":")[2]).open(sealed, "a")


@pytest.mark.parametrize(
    "keys",
    [
        "",
        "nameless",
        ":" + OLD.partition(":")[2],
        "old:",
        "old:c2hvcnQ=",
        "old:!!!!",
        "old:ä",
        f"{OLD},{OLD}",
        f"{OLD},",
        "a b:" + OLD.partition(":")[2],
        "x" * 33 + ":" + OLD.partition(":")[2],
    ],
)
def test_bad_keys_are_refused_with_the_cure_and_never_shown(keys: str) -> None:
    with pytest.raises(VaultError) as caught:
        Vault(keys)
    assert caught.value.cure
    assert OLD.partition(":")[2] not in f"{caught.value}{caught.value.cure}"


def test_keys_are_not_in_the_repr() -> None:
    assert repr(Vault(f"{NEW},{OLD}")) == "Vault(new, old)"


def test_a_key_file_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "data" / "vault.key"
    path.parent.mkdir()
    keys = key_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key_file(path) == keys
    assert [entry.name for entry in path.parent.iterdir()] == ["vault.key"]
    Vault(keys)


def test_a_key_file_may_hold_keys_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "vault.key"
    path.write_text(f"{NEW}\n{OLD}\n")
    assert repr(Vault(key_file(path))) == "Vault(new, old)"


def _read(path: Path, barrier: object, keys: multiprocessing.Queue[str]) -> None:
    barrier.wait()  # type: ignore[attr-defined]  # the class of a context's barrier has no public name
    keys.put(key_file(path))


def test_processes_that_start_at_once_get_the_same_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, keys = context.Barrier(4), context.Queue()
    processes = [context.Process(target=_read, args=(tmp_path / "k", barrier, keys)) for _ in range(4)]
    for process in processes:
        process.start()
    assert len({keys.get(timeout=60) for _ in processes}) == 1
    for process in processes:
        process.join(60)


def test_a_key_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "vault.key").mkdir()
    with pytest.raises(VaultError, match=r"vault\.key") as caught:
        key_file(tmp_path / "vault.key")
    assert "PUSHSVC_VAULT_KEYS" in caught.value.cure


def test_no_key_is_made_where_there_is_no_data_folder(tmp_path: Path) -> None:
    with pytest.raises(VaultError, match="there is no data folder") as caught:
        key_file(tmp_path / "elsewhere" / "vault.key")
    assert "PUSHSVC_DATA" in caught.value.cure
    assert not list(tmp_path.iterdir())


def test_new_keys_differ() -> None:
    assert len({new_key() for _ in range(10)}) == 10
