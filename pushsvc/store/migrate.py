"""Brings the database to the version of the code; any number of processes may try at once."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from pushsvc.store.database import OLDEST_SQLITE, Database, StoreUnavailable

_LOCK = 0x70757368737663  # "pushsvc": the key of PostgreSQL's advisory lock


def migrate(database: Database, *, make_folder: bool = True) -> tuple[str | None, str | None]:
    """Creates or upgrades the tables, all or nothing; their version before (None: no tables) and now.

    The first process does it, the others wait and find it done. SQLite: creates the file and, with `make_folder`, its
    folder, readable by this user alone, and switches the file to WAL. Raises StoreUnavailable.
    """
    with _alone(database, make_folder), database.writing() as connection:
        before = MigrationContext.configure(connection).get_current_revision()
        if not database.is_sqlite:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        config = _config()
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise StoreUnavailable(
                f"the database was made by another version of pushsvc: {error}", "Run the newest version of pushsvc."
            ) from error
        return before, MigrationContext.configure(connection).get_current_revision()


def require_tables(database: Database) -> str:
    """The version of the tables; raises StoreUnavailable where there are none, or older ones than this code wants.

    Newer ones serve: in an upgrade the store comes first, and the processes that run still are not to stop for it.
    """
    if database.path is not None and not database.path.exists():  # to look into it would create it
        raise StoreUnavailable(f"{database.path} is not there", "Create it: pushsvc migrate.")
    with database.reading() as connection:
        has = MigrationContext.configure(connection).get_current_revision()
    script = ScriptDirectory.from_config(_config())
    wants = script.get_current_head()
    if has is None:
        raise StoreUnavailable("the database has no tables of pushsvc", "Make them: pushsvc migrate.")
    if has != wants and has in {one.revision for one in script.walk_revisions()}:
        raise StoreUnavailable(
            f"its tables are of version {has}, the code wants {wants}", "Upgrade them: pushsvc migrate."
        )
    return has


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@contextmanager
def _alone(database: Database, make_folder: bool) -> Iterator[None]:
    """SQLite cannot wait while the file is switched to WAL, so processes queue at its folder first."""
    if database.path is None:
        yield
        return
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise StoreUnavailable(
            f"this Python has SQLite {sqlite3.sqlite_version}, and 3.35 is the oldest that will do",
            "Use a newer Python, or PostgreSQL.",
        )
    if not make_folder and not database.path.parent.is_dir():
        raise StoreUnavailable(
            f"the folder {database.path.parent} of the database is not there", "Make it, or mend PUSHSVC_DATABASE_URL."
        )
    try:
        database.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(database.path.parent, os.O_RDONLY)
    except OSError as error:
        raise StoreUnavailable(
            f"the folder of the database cannot be used: {error}", "Let this process's user write there."
        ) from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        try:
            os.close(os.open(database.path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise StoreUnavailable(
                f"the database file cannot be written: {error}", "Let this process's user write to it."
            ) from error
        with database.reading() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        yield
    finally:
        os.close(folder)
