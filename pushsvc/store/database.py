"""The database of one process: its connections, its transactions, and what is said when it is away."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

BUSY_TIMEOUT_S = 10  # how long a SQLite writer waits for the others; far beyond any transaction of ours
CONNECT_TIMEOUT_S = 5  # PostgreSQL: a server that does not answer is away
POOL_TIMEOUT_S = 10
OLDEST_SQLITE = (3, 35, 0)  # the first with RETURNING


class StoreUnavailable(Exception):
    """The database cannot be reached or used; what was being written is not in it. `cure` is for the operator."""

    def __init__(self, cause: str, cure: str) -> None:
        super().__init__(cause, cure)  # both, so that it can be pickled: Celery does
        self.cause = cause
        self.cure = cure

    def __str__(self) -> str:
        return self.cause


class Database:
    """Connections to SQLite (sqlite:///file) or PostgreSQL (postgresql://…), opened when first used.

    Made by each process for itself, after any fork: connections must not be shared by two processes.
    """

    def __init__(self, url: str) -> None:
        self.path, self.engine = _engine(url)
        self._reading = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._writing = {durable: self.engine.execution_options(durable=durable) for durable in (True, False)}

    @property
    def is_sqlite(self) -> bool:
        return self.path is not None

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection for single statements that change nothing; raises StoreUnavailable."""
        with _explained(), self._reading.connect() as connection:
            yield connection

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[sa.Connection]:
        """One transaction, committed at the end; raises StoreUnavailable.

        All survive the death of a process. A durable one survives a power failure too: a device was told that its
        token is stored, and an event is acknowledged once its outcome is. Without `durable` the last moments may be
        lost with the machine, and no commit waits for the disk: what the next refusal of a provider teaches again.
        """
        with _explained(), self._writing[durable].begin() as connection:
            yield connection

    def insert(self, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
        """An INSERT that can be given ON CONFLICT; both engines spell it alike."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def given(self, parameter: str, **columns: type[int] | type[str]) -> sa.Subquery:
        """A table made of one parameter: a JSON array of arrays, `columns` in their order. Any number, one statement.

        With an index on what it is joined to, both engines walk the given rows and look each of them up.
        """
        bound = sa.bindparam(parameter, type_=sa.Text)
        if self.is_sqlite:
            value: sa.ColumnElement[Any] = sa.func.json_each(bound).table_valued("value").c.value
            fields: list[sa.ColumnElement[Any]] = [sa.func.json_extract(value, f"$[{n}]") for n in range(len(columns))]
            return sa.select(*(f.label(c) for f, c in zip(fields, columns, strict=True))).subquery(parameter)
        value = sa.func.jsonb_array_elements(sa.cast(bound, postgresql.JSONB)).column_valued("value")
        fields = [value.op("->>")(sa.literal_column(str(n))) for n in range(len(columns))]
        types = [sa.BigInteger if kind is int else sa.Text for kind in columns.values()]
        return sa.select(*(sa.cast(f, t).label(c) for f, t, c in zip(fields, types, columns, strict=True))).subquery(
            parameter
        )

    def close(self) -> None:
        self.engine.dispose()


def _engine(url: str) -> tuple[Path | None, sa.Engine]:
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise StoreUnavailable(
            "PUSHSVC_DATABASE_URL is not a database URL", "Use sqlite:///file.db or postgresql://user@host/name."
        ) from None
    pool: dict[str, Any] = {"pool_size": 5, "max_overflow": 10, "pool_timeout": POOL_TIMEOUT_S}
    backend = parsed.drivername.partition("+")[0]
    if backend == "sqlite":
        if parsed.database in (None, "", ":memory:"):
            raise StoreUnavailable(
                "a SQLite database in memory is not shared by the processes and dies with them",
                "Use sqlite:///file.db.",
            )
        path = Path(str(parsed.database)).absolute()
        engine = sa.create_engine(
            "sqlite+pysqlite://",
            creator=lambda: _open(path),
            hide_parameters=True,
            poolclass=sa.QueuePool,
            **pool,
        )
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return path, engine
    if backend not in ("postgresql", "postgres"):
        raise StoreUnavailable(f"{backend} is not a database that pushsvc can use", "Use SQLite or PostgreSQL.")
    engine = sa.create_engine(
        parsed.set(drivername="postgresql+psycopg"),
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "pushsvc"},
        hide_parameters=True,
        pool_pre_ping=True,  # a server that was restarted is noticed before a transaction starts, not in it
        **pool,
    )
    sa.event.listen(engine, "connect", _prepare_postgresql)
    sa.event.listen(engine, "begin", _begin_postgresql)
    return None, engine


def _open(path: Path) -> sqlite3.Connection:
    """Only `migrate` makes the file, for this user alone; opening it must not make an empty one where none is."""
    if not os.path.exists(path):  # noqa: PTH110  # Path.exists raises where a folder may not be entered
        raise StoreUnavailable(
            f"there is no database {path}",
            "Run this where pushsvc up runs, or set PUSHSVC_DATA or PUSHSVC_DATABASE_URL as there; pushsvc migrate "
            "makes a new one.",
        )
    return sqlite3.connect(
        f"file:{quote(str(path))}?mode=rw",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )


def _prepare_sqlite(connection: Any, _: object) -> None:
    """Reads go through the pages that the kernel keeps for all processes: a lookup of a batch takes half the time."""
    for pragma in ("foreign_keys=ON", "mmap_size=268435456", "journal_size_limit=67108864"):  # 256 MiB, 64 MiB
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    """Takes the write lock at once: a transaction that has read before cannot wait for it, SQLite fails it instead."""
    durable = connection.get_execution_options().get("durable")
    if durable is not None:
        connection.exec_driver_sql(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _prepare_postgresql(connection: Any, _: object) -> None:
    """A statement's plan is made for the tables as they are: one kept from when they were empty reads them through."""
    connection.execute("SET plan_cache_mode TO force_custom_plan")
    connection.commit()


def _begin_postgresql(connection: sa.Connection) -> None:
    if connection.get_execution_options().get("durable") is False:
        connection.exec_driver_sql("SET LOCAL synchronous_commit TO OFF")


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except sa.exc.TimeoutError as error:
        raise StoreUnavailable(
            f"no database connection became free in {POOL_TIMEOUT_S} s", "Start more processes, or a faster database."
        ) from error
    except sa.exc.IntegrityError:
        raise
    except sa.exc.DBAPIError as error:
        text = str(error.orig).strip().partition("\n")[0]
        cure = next((cure for part, cure in _CURES if part in text), None)
        if cure is None and not isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError):
            raise
        raise StoreUnavailable(f"the database says: {text}", cure or _CURE) from error


_CURE = "Check that the database of PUSHSVC_DATABASE_URL runs and can be reached; `pushsvc doctor` tries it."
_MIGRATE = "Bring the database to this version: pushsvc migrate."
_CURES = (  # a part of the driver's message, and what helps
    ("no such table", _MIGRATE),
    ("no such column", _MIGRATE),
    ("has no column named", _MIGRATE),
    ("does not exist", f"Create the database. {_MIGRATE}"),
    ("database is locked", f"Find what has been writing to it for more than {BUSY_TIMEOUT_S} s, or use PostgreSQL."),
    ("unable to open database file", "Let this process's user read and write the file and its folder."),
    ("readonly database", "Let this process's user write to the file and its folder."),
    ("disk is full", "Make room on the disk of the database."),
    ("disk I/O error", "Check the disk of the database; it must not be a network share."),
    ("file is not a database", "Name another file in PUSHSVC_DATABASE_URL, or restore this one."),
    ("malformed", "Restore the database from its last copy."),
    ("authentication failed", "Mend the user and password in PUSHSVC_DATABASE_URL."),
    ("too many clients", "Raise max_connections of PostgreSQL, or start fewer processes."),
)
