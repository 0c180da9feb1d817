"""Every test of the store runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pushsvc.domain.app import Settings
from pushsvc.store import Database, migrate
from pushsvc.store.apps import Apps
from tests.postgres import NoPostgres, cluster

_names = itertools.count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a running cluster's first database; skips where there is none, unless in CI."""
    try:
        with cluster() as url:
            yield url
    except NoPostgres as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


def new_database(postgres: str) -> str:
    name = f"test{next(_names)}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return postgres.replace("/postgres?", f"/{name}?")


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
