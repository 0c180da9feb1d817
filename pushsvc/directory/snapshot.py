"""Snapshots of apps for those who send: settings and opened credentials, kept in the process until they change."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pushsvc.directory.credentials import opened
from pushsvc.directory.ports import AppStore, CredentialStore, StoredCredential, Vault, VaultError, Versions
from pushsvc.domain.app import App
from pushsvc.domain.credential import Credential

log = logging.getLogger("pushsvc.directory")

CHECK_EVERY_S = 0.25  # how long a change may go unseen; one small round trip to Valkey
MAX_AGE_S = 9.5  # when a snapshot is read again though no change was announced: an announcement can be lost


@dataclass(frozen=True, slots=True)
class _Kept:
    app: App | None  # None: there is no such app, which is remembered as well
    version: int
    read_at: float


class Snapshots:
    """Thread-safe. While nothing changes, `get` costs a dict lookup an app."""

    def __init__(
        self,
        apps: AppStore,
        credentials: CredentialStore,
        vault: Vault,
        versions: Versions,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._apps = apps
        self._credentials = credentials
        self._vault = vault
        self._versions = versions
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[int, _Kept] = {}
        self._check_at = 0.0

    def get(self, app_ids: Sequence[int]) -> Mapping[int, App]:
        """The apps that exist; a change made anywhere is seen within 0.25 s, within 10 s where Valkey missed it.

        Raises what the store or the versions raise when they are away.
        """
        now = self._clock()
        kept = self._kept
        if now >= self._check_at or not kept.keys() >= set(app_ids):
            with self._lock:
                self._renew(set(app_ids), now)
                kept = self._kept
        return {app_id: app for app_id in app_ids if (app := kept[app_id].app) is not None}

    def _renew(self, wanted: set[int], now: float) -> None:
        """Versions are read before rows: a change between the two is seen as one more change at the next look."""
        young = {app_id: kept for app_id, kept in self._kept.items() if now - kept.read_at < MAX_AGE_S}
        ids = sorted(young.keys() | wanted)
        versions = dict(zip(ids, self._versions.versions(ids), strict=True))
        fresh = {app_id: kept for app_id, kept in young.items() if kept.version == versions[app_id]}
        missing = sorted(wanted - fresh.keys())
        if missing:
            found = self._read(missing)
            fresh |= {app_id: _Kept(found.get(app_id), versions[app_id], now) for app_id in missing}
        self._kept = fresh
        self._check_at = now + CHECK_EVERY_S

    def _read(self, app_ids: Sequence[int]) -> dict[int, App]:
        apps = {app_id: stored.app for app_id, stored in self._apps.get(app_ids).items()}
        credentials: dict[int, list[Credential]] = {}
        for stored in self._credentials.of(list(apps)) if apps else ():
            credentials.setdefault(stored.app_id, []).append(self._opened(stored))
        return {app_id: replace(app, credentials=tuple(credentials.get(app_id, ()))) for app_id, app in apps.items()}

    def _opened(self, stored: StoredCredential) -> Credential:
        """One that cannot be decrypted counts as paused for that reason: its pushes say so, those of others go out."""
        try:
            return opened(self._vault, stored)
        except VaultError as error:
            why = f"{error}. {error.cure}"
            log.warning("credential %d of app %d cannot be opened: %s", stored.id, stored.app_id, why)
            locked = not stored.paused
            return Credential(stored.id, stored.app_id, stored.finding, b"", stored.paused or why, locked)
