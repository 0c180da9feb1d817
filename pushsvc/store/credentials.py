"""Rows of credentials; their secrets are sealed before they come here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from pushsvc.directory.ports import StoredCredential
from pushsvc.domain.credential import Finding
from pushsvc.store.database import Database
from pushsvc.store.tables import apps, credentials


class Credentials:
    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, app_id: int, finding: Finding, sealed: bytes, now: float) -> int | None:
        """A new id is a new identity: connections and bearers of what it replaces are used no more."""
        mine = sa.and_(credentials.c.app_id == app_id, credentials.c.fingerprint == finding.fingerprint)
        values = {
            "app_id": app_id,
            "kind": finding.kind.value,
            "finding": msgspec.json.encode(finding).decode(),
            "fingerprint": finding.fingerprint,
            "sealed": sealed,
            "paused": "",
            "uploaded_at": now,
        }
        with self._database.writing() as connection:
            held = sa.select(apps.c.id).where(apps.c.id == app_id).with_for_update()
            if connection.execute(held).first() is None:
                return None
            connection.execute(sa.delete(credentials).where(mine))
            return int(connection.execute(sa.insert(credentials).returning(credentials.c.id), values).scalar_one())

    def of(self, app_ids: Sequence[int]) -> list[StoredCredential]:
        return self._select(credentials.c.app_id.in_(app_ids))

    def all(self) -> list[StoredCredential]:
        return self._select(sa.true())

    def get(self, credential_id: int) -> StoredCredential | None:
        return next(iter(self._select(credentials.c.id == credential_id)), None)

    def pause(self, credential_id: int, fingerprint: str, reason: str) -> int | None:
        change = (
            sa.update(credentials)
            .where(credentials.c.id == credential_id, credentials.c.fingerprint == fingerprint)
            .values(paused=reason)
            .returning(credentials.c.app_id)
        )
        with self._database.writing() as connection:
            return connection.execute(change).scalar_one_or_none()

    def reseal(self, credential_id: int, old: bytes, new: bytes) -> bool:
        change = (
            sa.update(credentials)
            .where(credentials.c.id == credential_id, credentials.c.sealed == old)
            .values(sealed=new)
        )
        with self._database.writing() as connection:
            return connection.execute(change).rowcount > 0

    def delete(self, app_id: int, credential_id: int) -> bool:
        gone = sa.delete(credentials).where(credentials.c.app_id == app_id, credentials.c.id == credential_id)
        with self._database.writing() as connection:
            return connection.execute(gone).rowcount > 0

    def _select(self, which: sa.ColumnElement[bool]) -> list[StoredCredential]:
        with self._database.reading() as connection:
            rows = connection.execute(sa.select(credentials).where(which).order_by(credentials.c.id))
            return [_stored(row) for row in rows]


def _stored(row: sa.Row[Any]) -> StoredCredential:
    return StoredCredential(
        id=row.id,
        app_id=row.app_id,
        finding=msgspec.json.decode(row.finding, type=Finding),
        sealed=row.sealed,
        paused=row.paused,
        uploaded_at=row.uploaded_at,
    )
