"""Rows of records: what became of every push, its newest state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from pushsvc.domain.outcome import Outcome
from pushsvc.domain.record import Record
from pushsvc.store.database import Database
from pushsvc.store.tables import records

PURGE_CHUNK = 5000  # rows a transaction: writers wait for it no longer than for a batch of records
_KEY = ("app_id", "event_id", "recipient", "token_id")
_FIELDS = tuple(column.name for column in records.columns)
_OPEN: list[sa.ColumnClause[str]] = [sa.literal_column(f"'{outcome.name}'") for outcome in Outcome if not outcome.final]


class Journal:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._upsert = _upsert(database)

    def record(self, records: Sequence[Record]) -> None:
        """Writes the newest state of each (app, event, recipient, token); one transaction.

        What is written twice or late changes nothing: a final outcome stays, and so does a newer state.
        """
        if not records:
            return
        rows = sorted(map(_row, records), key=_key)  # one order, so that two batches cannot deadlock
        with self._database.writing() as connection:
            connection.execute(self._upsert, rows)

    def of_event(self, app_id: int, event_id: str) -> list[Record]:
        """What became of an event, by recipient and token."""
        if not event_id.isprintable():  # no event has such an id, and PostgreSQL refuses to look for a NUL
            return []
        which = sa.select(records).where(records.c.app_id == app_id, records.c.event_id == event_id)
        return self._read(which.order_by(records.c.recipient, records.c.token_id))

    def newest(self, app_id: int, limit: int, outcome: Outcome | None = None) -> list[Record]:
        """The newest records of an app, newest first; only those of one outcome where it is given."""
        which = sa.select(records).where(records.c.app_id == app_id)
        if outcome is not None:
            which = which.where(records.c.outcome == outcome.name)
        return self._read(which.order_by(records.c.answered_at.desc()).limit(limit))

    def counts(self, app_id: int, since: float) -> Mapping[Outcome, int]:
        """How many records of an app have each outcome, of those that changed at `since` (UNIX seconds) or later."""
        tally = (
            sa.select(records.c.outcome, sa.func.count())
            .where(records.c.app_id == app_id, records.c.answered_at >= since)
            .group_by(records.c.outcome)
        )
        with self._database.reading() as connection:
            return {Outcome[name]: number for name, number in connection.execute(tally)}

    def purge(self, before: float) -> int:
        """Deletes what has not changed since `before` (UNIX seconds), some at a time; returns how many."""
        gone, app_id = 0, self._next_app(0)
        while app_id is not None:
            last = PURGE_CHUNK
            while last == PURGE_CHUNK:
                last = self._purge_chunk(app_id, before)
                gone += last
            app_id = self._next_app(app_id)
        return gone

    def _purge_chunk(self, app_id: int, before: float) -> int:
        key = [records.c[name] for name in _KEY]
        old = (
            sa.select(*key)
            .where(records.c.app_id == app_id, records.c.answered_at < before)
            .order_by(records.c.answered_at)
            .limit(PURGE_CHUNK)
        )
        with self._database.writing(durable=False) as connection:
            return connection.execute(sa.delete(records).where(sa.tuple_(*key).in_(old))).rowcount

    def _next_app(self, after: int) -> int | None:
        with self._database.reading() as connection:
            found = sa.select(sa.func.min(records.c.app_id)).where(records.c.app_id > after)
            app_id: int | None = connection.execute(found).scalar_one()
            return app_id

    def _read(self, which: sa.Select[Any]) -> list[Record]:
        with self._database.reading() as connection:
            return [_record(row) for row in connection.execute(which).mappings()]


def _row(record: Record) -> dict[str, object]:
    row: dict[str, object] = {name: getattr(record, name) for name in _FIELDS}
    row["outcome"] = record.outcome.name
    return row


def _record(row: sa.RowMapping) -> Record:
    return Record(**{**row, "outcome": Outcome[row["outcome"]]})


def _key(row: dict[str, object]) -> tuple[object, ...]:
    return tuple(row[name] for name in _KEY)


def _upsert(database: Database) -> sa.Insert:
    insert = database.insert(records)
    new = insert.excluded
    was_open, is_open = records.c.outcome.in_(_OPEN), new.outcome.in_(_OPEN)
    newer = new.answered_at >= records.c.answered_at
    return insert.on_conflict_do_update(
        index_elements=_KEY,
        set_={name: new[name] for name in _FIELDS if name not in _KEY},
        where=sa.or_(sa.and_(was_open, ~is_open), sa.and_(was_open == is_open, newer)),
    )
