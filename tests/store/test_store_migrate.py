"""Migration: the tables of the code, whoever starts first, and what is said where it cannot be done."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sqlite3
import stat
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from pushsvc.dispatch.ports import StreamUnavailable
from pushsvc.store.apps import Apps
from pushsvc.store.database import Database, StoreUnavailable
from pushsvc.store.migrate import migrate, require_tables
from pushsvc.store.tables import metadata


def test_the_migrations_make_the_tables_that_the_code_uses(database: Database) -> None:
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_migrating_again_changes_nothing(database: Database) -> None:
    migrate(database)
    assert Apps(database).all() == []


def test_a_store_serves_only_with_tables_and_not_with_older_ones(url: str) -> None:
    database = Database(url)
    if database.path is not None:
        with pytest.raises(StoreUnavailable, match="is not there") as caught:
            require_tables(database)
        assert not database.path.exists(), "a look creates nothing"
        database.path.parent.mkdir()
        database.path.touch()
    with pytest.raises(StoreUnavailable, match="no tables") as caught:
        require_tables(database)
    assert "pushsvc migrate" in caught.value.cure
    migrate(database)
    assert require_tables(database)
    with database.writing() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = 'one that is newer'"))
    assert require_tables(database) == "one that is newer", "what runs still is not to stop in an upgrade"
    database.close()


def test_what_says_that_a_store_is_away_can_be_pickled() -> None:
    for error in (StoreUnavailable("cause", "cure"), StreamUnavailable("cause", "cure")):
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy), copy.cause, copy.cure) == (type(error), "cause", "cause", "cure")


def _start(url: str, barrier: object, failures: multiprocessing.Queue[str]) -> None:
    barrier.wait()  # type: ignore[attr-defined]  # the class of a context's barrier has no public name
    database = Database(url)
    try:
        migrate(database)
        Apps(database).all()
    except Exception as error:
        failures.put(repr(error))
    finally:
        database.close()


def test_four_processes_that_start_at_once_all_find_the_tables(url: str) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, failures = context.Barrier(4), context.Queue()
    processes = [context.Process(target=_start, args=(url, barrier, failures)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert failures.empty(), failures.get()


def test_the_file_is_in_wal_mode_and_its_owner_s_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "store.db"
    database = Database(f"sqlite:///{path}")
    migrate(database)
    database.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_database_of_a_newer_version_is_left_alone(database: Database) -> None:
    with database.writing() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreUnavailable, match="another version") as caught:
        migrate(database)
    assert "newest version" in caught.value.cure


def test_a_store_that_was_not_migrated_says_so(url: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    database = Database(url)
    with pytest.raises(StoreUnavailable) as caught:
        Apps(database).all()
    assert "pushsvc migrate" in caught.value.cure
    database.close()


def test_a_folder_that_cannot_be_made_is_named_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    database = Database(f"sqlite:///{tmp_path}/file/store.db")
    with pytest.raises(StoreUnavailable, match="folder of the database") as caught:
        migrate(database)
    assert caught.value.cure
    database.close()


def test_a_server_that_is_away_is_a_cause_and_a_cure_without_the_password() -> None:
    database = Database("postgresql://pusher:opensesame@127.0.0.1:1/none")
    with pytest.raises(StoreUnavailable) as caught:
        require_tables(database)
    assert "refused" in caught.value.cause
    assert "PUSHSVC_DATABASE_URL" in caught.value.cure
    assert "opensesame" not in f"{caught.value.cause}{caught.value.__cause__}{database.engine}"
    database.close()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://x/y", "no url"])
def test_a_url_that_is_no_store_is_refused_at_once(url: str) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        Database(url)
    assert caught.value.cure


def test_a_locked_database_waits_and_then_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pushsvc.store.database.BUSY_TIMEOUT_S", 0.2)
    database = Database(f"sqlite:///{tmp_path}/store.db")
    migrate(database)
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        Apps(database).rename(1, "x")
    assert Apps(database).all() == []  # readers do not wait for writers
    other.execute("ROLLBACK")
    assert not Apps(database).rename(1, "x")
    other.close()
    database.close()


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(os.urandom(4096))
    database = Database(f"sqlite:///{tmp_path}/store.db")
    with pytest.raises(StoreUnavailable, match="not a database"):
        migrate(database)
    database.close()
