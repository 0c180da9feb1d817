"""All use cases over one store, for the tests of this folder."""

from __future__ import annotations

from dataclasses import dataclass

from pushsvc.directory.apps import AppDirectory
from pushsvc.directory.credentials import CredentialDirectory
from pushsvc.directory.devices import DeviceDirectory
from pushsvc.directory.snapshot import Snapshots
from pushsvc.directory.users import UserDirectory
from pushsvc.providers.apns import Apns
from pushsvc.providers.fcm import Fcm
from pushsvc.store.apps import Apps
from pushsvc.store.credentials import Credentials
from pushsvc.store.database import Database
from pushsvc.store.devices import Devices
from pushsvc.store.users import Users
from pushsvc.stream.versions import ValkeyVersions
from pushsvc.vault import Vault

NOW = 1_800_000_000.0


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class Directory:
    """All use cases over one store, as one process has them."""

    database: Database
    versions: ValkeyVersions
    vault: Vault
    clock: Clock

    def __post_init__(self) -> None:
        apps, users = Apps(self.database), Users(self.database)
        self.stored_credentials = Credentials(self.database)
        self.apps = AppDirectory(apps, self.versions, self.clock)
        self.users = UserDirectory(users)
        self.devices = DeviceDirectory(Devices(self.database), users, self.clock)
        self.credentials = CredentialDirectory(
            self.stored_credentials, self.vault, self.versions, {"apns": Apns("a:1", "b:1"), "fcm": Fcm("c:1", "d:1")},
            self.clock,
        )  # fmt: skip
        self.snapshots = Snapshots(apps, self.stored_credentials, self.vault, self.versions, self.clock)
