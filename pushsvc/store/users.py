"""Rows of users."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from pushsvc.directory.ports import StoredUser
from pushsvc.store.database import Database
from pushsvc.store.tables import apps, users


class Users:
    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, app_id: int, address: str) -> StoredUser | None:
        new = (
            self._database.insert(users)
            .from_select(
                ["app_id", "address", "active"],
                sa.select(apps.c.id, sa.literal(address), sa.true()).where(apps.c.id == app_id),
            )
            .on_conflict_do_nothing(index_elements=["app_id", "address"])
        )
        with self._database.writing() as connection:
            connection.execute(new)
            return _one(connection, app_id, address)

    def get(self, app_id: int, user: int | str) -> StoredUser | None:
        with self._database.reading() as connection:
            return _one(connection, app_id, user)

    def page(self, app_id: int, after_uid: int, limit: int) -> list[StoredUser]:
        rows = (
            sa.select(users).where(users.c.app_id == app_id, users.c.uid > after_uid).order_by(users.c.uid).limit(limit)
        )
        with self._database.reading() as connection:
            return [_stored(row) for row in connection.execute(rows)]

    def set_active(self, app_id: int, uid: int, active: bool) -> bool:
        change = sa.update(users).where(users.c.app_id == app_id, users.c.uid == uid).values(active=active)
        with self._database.writing() as connection:
            return connection.execute(change).rowcount > 0

    def delete(self, app_id: int, uid: int) -> bool:
        with self._database.writing() as connection:
            gone = connection.execute(sa.delete(users).where(users.c.app_id == app_id, users.c.uid == uid))
            return gone.rowcount > 0


def _one(connection: sa.Connection, app_id: int, user: int | str) -> StoredUser | None:
    named = users.c.uid == user if isinstance(user, int) else users.c.address == user
    row = connection.execute(sa.select(users).where(users.c.app_id == app_id, named)).one_or_none()
    return None if row is None else _stored(row)


def _stored(row: sa.Row[Any]) -> StoredUser:
    return StoredUser(app_id=row.app_id, uid=row.uid, address=row.address, active=row.active)
