"""Rows of apps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from pushsvc.directory.ports import SettingsChange, StoredApp
from pushsvc.domain.app import App, Settings
from pushsvc.store.database import Database
from pushsvc.store.tables import apps, records


class Apps:
    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, token_hash: bytes, settings: Settings, now: float) -> int:
        with self._database.writing() as connection:
            new = sa.insert(apps).returning(apps.c.id)
            values = {
                "name": name,
                "token_hash": token_hash,
                "active": True,
                "settings": _text(settings),
                "created_at": now,
            }
            return int(connection.execute(new, values).scalar_one())

    def of_token(self, token_hash: bytes, *, active: bool = True) -> int | None:
        with self._database.reading() as connection:
            found = sa.select(apps.c.id).where(apps.c.token_hash == token_hash, apps.c.active == active)
            return connection.execute(found).scalar_one_or_none()

    def get(self, app_ids: Sequence[int]) -> Mapping[int, StoredApp]:
        with self._database.reading() as connection:
            rows = connection.execute(sa.select(apps).where(apps.c.id.in_(app_ids)))
            return {row.id: _stored(row) for row in rows}

    def all(self) -> list[StoredApp]:
        with self._database.reading() as connection:
            return [_stored(row) for row in connection.execute(sa.select(apps).order_by(apps.c.id))]

    def replace_token(self, app_id: int, token_hash: bytes) -> bool:
        return self._set(app_id, token_hash=token_hash)

    def rename(self, app_id: int, name: str) -> bool:
        return self._set(app_id, name=name)

    def set_active(self, app_id: int, active: bool) -> bool:
        return self._set(app_id, active=active)

    def change_settings(self, app_id: int, change: SettingsChange) -> Settings | None:
        with self._database.writing() as connection:
            held = sa.select(apps.c.settings).where(apps.c.id == app_id).with_for_update()
            text = connection.execute(held).scalar_one_or_none()
            if text is None:
                return None
            new = change(_settings(text))
            connection.execute(sa.update(apps).where(apps.c.id == app_id).values(settings=_text(new)))
            return new

    def delete(self, app_id: int) -> bool:
        with self._database.writing() as connection:
            connection.execute(sa.delete(records).where(records.c.app_id == app_id))
            return connection.execute(sa.delete(apps).where(apps.c.id == app_id)).rowcount > 0

    def _set(self, app_id: int, **values: object) -> bool:
        with self._database.writing() as connection:
            return connection.execute(sa.update(apps).where(apps.c.id == app_id).values(**values)).rowcount > 0


def _stored(row: sa.Row[Any]) -> StoredApp:
    app = App(id=row.id, name=row.name, settings=_settings(row.settings), active=row.active)
    return StoredApp(app=app, created_at=row.created_at)


def _settings(text: str) -> Settings:
    """A field that this version does not know was written by a newer one, while machines are upgraded in turn."""
    known = {k: v for k, v in msgspec.json.decode(text, type=dict[str, Any]).items() if k in Settings.__struct_fields__}
    return msgspec.convert(known, Settings)


def _text(settings: Settings) -> str:
    return msgspec.json.encode(settings).decode()
