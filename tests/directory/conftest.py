"""The use cases over the real store, the real vault and a real Valkey."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pushsvc.store.database import Database
from pushsvc.store.migrate import migrate
from pushsvc.stream.valkey import Valkey
from pushsvc.stream.versions import ValkeyVersions
from pushsvc.vault import Vault, new_key
from tests.directory.use_cases import Clock, Directory


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/store.db")
    migrate(database)
    yield database
    database.close()


@pytest.fixture
def keys() -> str:
    return new_key()


@pytest.fixture
def directory(database: Database, valkey: Valkey, keys: str) -> Directory:
    return Directory(database, ValkeyVersions(valkey), Vault(keys), Clock())


@pytest.fixture
def app_id(directory: Directory) -> int:
    return directory.apps.create("chat")[0].app.id
