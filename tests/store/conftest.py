"""Every test of the store runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pushsvc.domain.app import Settings
from pushsvc.store.apps import Apps
from pushsvc.store.database import Database
from pushsvc.store.migrate import migrate
from tests.postgres import new_database, postgres

__all__ = ["postgres"]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/data/store.db"
    return new_database(request.getfixturevalue("postgres"))


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """A database with its tables."""
    database = Database(url)
    migrate(database)
    yield database
    database.close()


@pytest.fixture
def postgres_database(postgres: str) -> Iterator[Database]:
    """A PostgreSQL database without tables."""
    database = Database(new_database(postgres))
    yield database
    database.close()


@pytest.fixture
def app_id(database: Database) -> int:
    return Apps(database).create("shop", b"\x00" * 32, Settings(), 1.0)
