"""The vault: encrypts credentials at rest with AES-256-GCM, with keys that can be changed."""

from __future__ import annotations

import base64
import os
import re
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pushsvc.directory.ports import VaultError

KEY_BYTES = 32  # AES-256
NONCE_BYTES = 12  # random; good for 2**32 secrets a key (NIST SP 800-38D, 8.3)
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,32}\Z")
_FORM = 1  # first byte of what is sealed: form, length of the key's name, the name, nonce, ciphertext with tag


class Vault:
    """`keys`: "name:base64 of 32 bytes", separated by commas or line ends; the first encrypts, all decrypt."""

    def __init__(self, keys: str) -> None:
        self._keys: dict[str, AESGCM] = {}
        for number, part in enumerate(re.split(r"[,\s]+", keys.strip()), 1):
            name, _, text = part.partition(":")
            if not _NAME.match(name) or name in self._keys:
                raise VaultError(
                    f"vault key {number} has no name of its own",
                    "Write name:base64 with a name of letters, digits, '_', '.' and '-', each name once.",
                )
            try:
                key = base64.b64decode(text, validate=True)
            except ValueError:
                key = b""
            if len(key) != KEY_BYTES:
                raise VaultError(
                    f"vault key {name!r} is not base64 of {KEY_BYTES} bytes",
                    f"Make one: openssl rand -base64 {KEY_BYTES}",
                )
            self._keys[name] = AESGCM(key)
        self._first = next(iter(self._keys))

    @property
    def key_names(self) -> tuple[str, ...]:
        """The first is the one that encrypts."""
        return tuple(self._keys)

    def __repr__(self) -> str:
        return f"Vault({', '.join(self._keys)})"

    def seal(self, secret: bytes, bound_to: str) -> bytes:
        """Encrypts; only `open` with the same `bound_to` (what the secret belongs to) gives it back."""
        name = self._first.encode()
        head = bytes((_FORM, len(name))) + name
        nonce = secrets.token_bytes(NONCE_BYTES)
        return head + nonce + self._keys[self._first].encrypt(nonce, secret, head + bound_to.encode())

    def open(self, sealed: bytes, bound_to: str) -> bytes:
        """Raises VaultError where the key is missing, or what is sealed was changed or belongs to something else."""
        head, name = _head(sealed)
        if name not in self._keys:
            raise VaultError(
                f"the key {name!r} that encrypted it is not among the vault's keys",
                "Add that key to PUSHSVC_VAULT_KEYS (or vault.key), or upload the credential again.",
            )
        nonce, text = sealed[len(head) : len(head) + NONCE_BYTES], sealed[len(head) + NONCE_BYTES :]
        try:
            return self._keys[name].decrypt(nonce, text, head + bound_to.encode())
        except (InvalidTag, ValueError):
            raise VaultError(
                f"it cannot be decrypted with the key {name!r}: another key bears that name, or the row was changed",
                "Restore the key of that name, or upload the credential again.",
            ) from None

    def rotate(self, sealed: bytes, bound_to: str) -> bytes | None:
        """The same secret encrypted with the first key; None where it is so already. Raises as `open` does."""
        secret = self.open(sealed, bound_to)
        return None if _head(sealed)[1] == self._first else self.seal(secret, bound_to)


def _head(sealed: bytes) -> tuple[bytes, str]:
    if len(sealed) < 2 or sealed[0] != _FORM or len(sealed) < 2 + sealed[1] + NONCE_BYTES:
        raise VaultError("what is stored is not what a vault wrote", "Upload the credential again.")
    head = sealed[: 2 + sealed[1]]
    return head, head[2:].decode("ascii", "replace")


def key_names(keys: str) -> tuple[str, ...]:
    """The names of the keys in a text as `Vault` takes it, good or not."""
    return tuple(part.partition(":")[0] for part in re.split(r"[,\s]+", keys.strip()))


def new_key() -> str:
    """A fresh key, as the config and the key file hold it."""
    return f"key-{secrets.token_hex(4)}:{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}"


def key_file(path: Path) -> str:
    """The keys in the file, which is made with one new key, for this user alone, where there is none.

    Of many processes that start at once, all get the key that one of them made. The data folder is not made here: what
    finds none was started in the wrong place. Raises VaultError.
    """
    try:
        if not path.parent.is_dir():
            raise VaultError(
                f"there is no data folder {path.parent}",
                "Run this where pushsvc up runs, or set PUSHSVC_DATA as there; without a data folder give the keys in "
                "PUSHSVC_VAULT_KEYS.",
            )
        if not path.exists():
            _create(path)
        return path.read_text("ascii")
    except (OSError, UnicodeError) as error:
        raise VaultError(
            f"the vault's key file {path} cannot be used: {error}",
            "Let this process's user read it, or give the keys in PUSHSVC_VAULT_KEYS.",
        ) from error


def _create(path: Path) -> None:
    """Written whole under another name, then linked: the file is there with its key or not at all, and made once."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(new_key() + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        draft.unlink(missing_ok=True)
