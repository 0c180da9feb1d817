"""build(config) -> Service: the only module that sees every adapter."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from functools import cached_property

from pushsvc.config import Config
from pushsvc.directory.apps import AppDirectory
from pushsvc.directory.credentials import CredentialDirectory
from pushsvc.directory.devices import DeviceDirectory
from pushsvc.directory.ports import VaultError
from pushsvc.directory.snapshot import Snapshots
from pushsvc.directory.users import UserDirectory
from pushsvc.dispatch.courier import Courier
from pushsvc.dispatch.flow import Flow
from pushsvc.dispatch.ledger import Ledger
from pushsvc.dispatch.ports import Sender
from pushsvc.dispatch.trial import Trial, try_out
from pushsvc.domain.device import Device
from pushsvc.domain.event import Event
from pushsvc.health import Health, days_left
from pushsvc.providers import PROVIDERS
from pushsvc.providers.apns import Apns
from pushsvc.providers.fcm import Fcm
from pushsvc.providers.provider import Provider
from pushsvc.senders import make_sender
from pushsvc.store.apps import Apps
from pushsvc.store.credentials import Credentials
from pushsvc.store.database import Database
from pushsvc.store.devices import Devices
from pushsvc.store.journal import Journal
from pushsvc.store.users import Users
from pushsvc.stream.board import ValkeyBoard
from pushsvc.stream.events import ValkeyStream
from pushsvc.stream.marks import ValkeyWindows
from pushsvc.stream.shelf import ValkeyShelf
from pushsvc.stream.valkey import Valkey
from pushsvc.stream.versions import ValkeyVersions
from pushsvc.telemetry import Metrics
from pushsvc.vault import Vault, key_file

DAY_S = 86_400.0
WARN_DAYS = (30, 14, 7, 1)  # before a certificate expires
CONTROL_CAPACITY = 16  # OAuth exchanges under way at one time


class Service:
    """The parts of one process, each made when it is first used; nothing is opened before."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.telemetry = Metrics()
        self.providers: Mapping[str, Provider] = {
            Apns.name: Apns(config.apns_production, config.apns_sandbox),
            Fcm.name: Fcm(config.fcm, config.oauth),
        }
        assert self.providers.keys() == PROVIDERS.keys()
        self.database = Database(config.database_url)
        self.valkey = Valkey(config.valkey_url)
        versions = ValkeyVersions(self.valkey)
        self._stores = (Apps(self.database), Credentials(self.database), Devices(self.database))
        apps, _, devices = self._stores
        users = Users(self.database)
        self.journal = Journal(self.database)
        self.apps = AppDirectory(apps, versions)
        self.users = UserDirectory(users)
        self.devices = DeviceDirectory(devices, users)
        self._versions = versions
        self.stream = ValkeyStream(self.valkey, config.marks_kept_s, socket.gethostname())

    @cached_property
    def vault(self) -> Vault:
        """Raises VaultError where the keys cannot be used."""
        return Vault(self.config.vault_keys or key_file(self.config.data / "vault.key"))

    @cached_property
    def credentials(self) -> CredentialDirectory:
        return CredentialDirectory(self._stores[1], self.vault, self._versions, self.providers)

    @cached_property
    def snapshots(self) -> Snapshots:
        apps, credentials, _ = self._stores
        return Snapshots(apps, credentials, self.vault, self._versions)

    @cached_property
    def health(self) -> Health:
        return Health(self.valkey, self.database, self.telemetry, self._stores[1].all)

    def flow(self, worker: str) -> Flow:
        """The main flow of one worker loop, with a consumer, a sender and connections of its own."""
        devices = self._stores[2]
        stream = ValkeyStream(self.valkey, self.config.marks_kept_s, worker)
        return Flow(
            stream=stream,
            windows=ValkeyWindows(self.valkey),
            apps=self.snapshots,
            devices=devices,
            ledger=Ledger(stream, self.journal, devices, self.credentials, self.telemetry),
            courier=self._courier(self.config.in_flight),
            board=ValkeyBoard(self.valkey, stream.consumer),
            telemetry=self.telemetry,
            providers=self.providers,
            capacity=self.config.in_flight,
        )

    def test_push(self, event: Event, device: Device, *, dry_run: bool) -> Trial:
        """Sends one event to one device now, outside the stream; raises NotFound where there is no such app."""
        self.apps.get(event.app)
        return try_out(
            event,
            device,
            self.snapshots.get([event.app])[event.app],
            providers=self.providers,
            courier=lambda: self._courier(1),
            dry_run=dry_run,
            timeout_s=self.config.connect_timeout_s + self.config.answer_timeout_s,
        )

    def upkeep(self) -> None:
        """What is done once an hour by one worker: old records go, certificates that run out are told."""
        now = time.time()
        self.journal.purge(now - self.config.records_kept_days * DAY_S)
        for (app_id, credential_id), left in days_left(self._stores[1].all(), now).items():
            if left < WARN_DAYS[0]:
                within = min(day for day in (*WARN_DAYS, 0) if left <= day) if left > 0 else 0
                what = f"expires within {within} days" if within else "has expired"
                cure = "Make a new certificate and upload it; pushes that need this one end as 903."
                self.telemetry.tell_operator(
                    app_id, f"certificate {credential_id} {what}", f"{left:.1f} days left", cure
                )

    def close(self) -> None:
        """Closes what was opened; flows are closed by those who run them."""
        self.stream.close()
        self.valkey.close()
        self.database.close()

    def _courier(self, capacity: int) -> Courier:
        return Courier(
            self.providers,
            self._sender(self.config.sender, capacity),
            self._sender("httpx", CONTROL_CAPACITY),
            ValkeyShelf(self.valkey, self._seal, self._unseal),
            capacity=capacity,
        )

    def _sender(self, name: str, capacity: int) -> Sender:
        ca = self.config.provider_ca
        return make_sender(
            name,
            capacity=capacity,
            connect_timeout_s=self.config.connect_timeout_s,
            answer_timeout_s=self.config.answer_timeout_s,
            provider_ca_pem=ca.read_bytes() if ca else None,
            proxy=self.config.proxy,
        )

    def _seal(self, blob: bytes) -> bytes:
        return self.vault.seal(blob, "shelf")

    def _unseal(self, blob: bytes) -> bytes:
        try:
            return self.vault.open(blob, "shelf")
        except VaultError as error:
            raise ValueError(str(error)) from None


def build(config: Config) -> Service:
    """The service of this config; opens nothing yet."""
    return Service(config)
