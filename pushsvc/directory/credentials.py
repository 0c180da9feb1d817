"""Use cases over credentials: uploaded at run time, encrypted at rest, opened only for the snapshots of workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Protocol

from pushsvc.directory.announce import announce
from pushsvc.directory.ports import CredentialStore, StoredCredential, Vault, VaultError, Versions
from pushsvc.directory.refused import NotFound, no_app
from pushsvc.domain.credential import BadCredential, Credential, Finding

MAX_UPLOAD_BYTES = 1_048_576


class Inspector(Protocol):
    """The part of a provider that is needed here."""

    def inspect(self, upload: bytes, *, now: float, **options: str) -> tuple[Finding, bytes]: ...


class CredentialDirectory:
    def __init__(
        self,
        store: CredentialStore,
        vault: Vault,
        versions: Versions,
        providers: Mapping[str, Inspector],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._vault = vault
        self._versions = versions
        self._providers = providers
        self._clock = clock

    def upload(self, app_id: int, content: bytes, filename: str = "", **options: str) -> StoredCredential:
        """Inspects a .p12, .p8 or service-account JSON, and stores it encrypted; several may be used by one app.

        The same certificate or key uploaded again takes the old one's place. `options` are those of the provider's
        `inspect` (password, team_id, key_id, environment, topics). Raises BadCredential, NotFound.
        """
        if len(content) > MAX_UPLOAD_BYTES:
            raise BadCredential(
                904, f"the file has {len(content)} bytes, and no credential has over 1 MiB", "Give the right file."
            )
        now = self._clock()
        given = _options(filename, options)
        finding, secret = self._providers[_provider(content, filename)].inspect(content, now=now, **given)
        sealed = self._vault.seal(secret, _bound_to(app_id, finding.fingerprint))
        credential_id = self._store.put(app_id, finding, sealed, now)
        if credential_id is None:
            raise no_app(app_id)
        announce(self._versions, app_id)
        return StoredCredential(credential_id, app_id, finding, sealed, "", now)

    def of(self, app_id: int) -> list[StoredCredential]:
        """The app's credentials, oldest first."""
        return self._store.of([app_id])

    def all(self) -> list[StoredCredential]:
        """The credentials of all apps."""
        return self._store.all()

    def opened(self, stored: StoredCredential) -> Credential:
        """The credential with its secret; raises VaultError."""
        return opened(self._vault, stored)

    def locked(self, stored: StoredCredential) -> str:
        """Why the vault of this process cannot open it; empty where it can."""
        try:
            opened(self._vault, stored)
        except VaultError as error:
            return f"{error}. {error.cure}"
        return ""

    def delete(self, app_id: int, credential_id: int) -> None:
        """Raises NotFound."""
        if not self._store.delete(app_id, credential_id):
            raise _none(credential_id)
        announce(self._versions, app_id)

    def pause(self, credential_id: int, fingerprint: str, reason: str) -> bool:
        """Stops the credential's use in every worker if it is still the same; False when it is not."""
        app_id = self._store.pause(credential_id, fingerprint, reason)
        if app_id is None:
            return False
        announce(self._versions, app_id)
        return True

    def pause_by_hand(self, app_id: int, credential_id: int, reason: str) -> None:
        """Stops its use; the reason is told with every push that ends as 902. Raises NotFound."""
        self._set_paused(app_id, credential_id, reason.strip() or "paused by the operator")

    def resume(self, app_id: int, credential_id: int) -> None:
        """Raises NotFound."""
        self._set_paused(app_id, credential_id, "")

    def rotate_keys(self) -> int:
        """Encrypts every secret with the vault's first key; returns how many were not. Raises VaultError.

        Safe to repeat, and while workers run: afterwards the other keys are needed no more.
        """
        done = 0
        for stored in self._store.all():
            new = self._vault.rotate(stored.sealed, _bound_to(stored.app_id, stored.finding.fingerprint))
            if new is not None:
                done += self._store.reseal(stored.id, stored.sealed, new)
        return done

    def _set_paused(self, app_id: int, credential_id: int, reason: str) -> None:
        stored = self._store.get(credential_id)
        if stored is None or stored.app_id != app_id:
            raise _none(credential_id)
        if not self.pause(credential_id, stored.finding.fingerprint, reason):
            raise _none(credential_id)


def opened(vault: Vault, stored: StoredCredential) -> Credential:
    """The credential with its secret; raises VaultError."""
    secret = vault.open(stored.sealed, _bound_to(stored.app_id, stored.finding.fingerprint))
    return Credential(stored.id, stored.app_id, stored.finding, secret, stored.paused)


def _bound_to(app_id: int, fingerprint: str) -> str:
    """What a sealed secret belongs to: it cannot be opened in another app's row, or in another row of the app."""
    return f"credential of app {app_id}: {fingerprint}"


def _provider(content: bytes, filename: str) -> str:
    """Google's files are JSON, Apple's (.p12, .p8) are not; the content decides, the name where it cannot."""
    if content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
        return "fcm"
    return "fcm" if PurePath(filename).suffix.lower() == ".json" else "apns"


def _options(filename: str, options: Mapping[str, str]) -> dict[str, str]:
    """Apple names a key's file AuthKey_<key id>.p8; that is the key id where none is given."""
    given = {name: value for name, value in options.items() if value}
    stem, _, suffix = PurePath(filename).name.rpartition(".")
    key_id = stem.partition("_")[2]
    if "key_id" not in given and suffix.lower() == "p8" and stem.startswith("AuthKey_") and key_id:
        given["key_id"] = key_id
    return given


def _none(credential_id: int) -> NotFound:
    return NotFound("credential", f"the app has no credential {credential_id}", "List the app's credentials.")
