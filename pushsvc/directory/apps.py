"""Use cases over apps: their tokens and their settings."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from pushsvc.directory.announce import announce
from pushsvc.directory.ports import AppStore, StoredApp, Versions
from pushsvc.directory.refused import BadValue, no_app
from pushsvc.domain.app import App, Settings

TOKEN_BYTES = 32  # 256 random bits: no salt or slow hash is needed to store it as SHA-256
MAX_NAME = 128


class AppDirectory:
    def __init__(self, store: AppStore, versions: Versions, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._versions = versions
        self._clock = clock

    def create(self, name: str) -> tuple[StoredApp, str]:
        """Returns the new app and its app token, which is stored as a hash and shown this once."""
        name, token, now = _name(name), secrets.token_urlsafe(TOKEN_BYTES), self._clock()
        settings = Settings()
        app_id = self._store.create(name, _hash(token), settings, now)
        announce(self._versions, app_id)  # workers may remember that there was no such app
        return StoredApp(App(id=app_id, name=name, settings=settings), now), token

    def authenticate(self, token: str) -> int | None:
        """The id of the active app with this app token, or None.

        The lookup is by hash: how long it takes tells nothing about a token that is nearly right.
        """
        return self._store.of_token(_hash(token))

    def switched_off(self, token: str) -> int | None:
        """The id of the app with this app token where it is not active."""
        return self._store.of_token(_hash(token), active=False)

    def get(self, app_id: int) -> StoredApp:
        """Raises NotFound."""
        stored = self._store.get([app_id]).get(app_id)
        if stored is None:
            raise no_app(app_id)
        return stored

    def all(self) -> list[StoredApp]:
        """Every app, oldest first."""
        return self._store.all()

    def rename(self, app_id: int, name: str) -> None:
        """Raises NotFound, BadValue."""
        self._changed(app_id, self._store.rename(app_id, _name(name)))

    def rotate_token(self, app_id: int) -> str:
        """Returns a new app token; the old one is good for nothing from now on. Raises NotFound."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        self._changed(app_id, self._store.replace_token(app_id, _hash(token)))
        return token

    def set_active(self, app_id: int, active: bool) -> None:
        """An app that is not active has no token that opens anything, and its events end as 902. Raises NotFound."""
        self._changed(app_id, self._store.set_active(app_id, active))

    def change_settings(self, app_id: int, changes: Mapping[str, Any]) -> Settings:
        """Changes those that are named, None takes one back to its default; returns all. Raises NotFound, BadValue."""

        def change(old: Settings) -> Settings:
            return changed(old, changes)

        settings = self._store.change_settings(app_id, change)
        if settings is None:
            raise no_app(app_id)
        announce(self._versions, app_id)
        return settings

    def delete(self, app_id: int) -> None:
        """Deletes the app with its users, devices, credentials and records. Raises NotFound."""
        self._changed(app_id, self._store.delete(app_id))

    def _changed(self, app_id: int, done: bool) -> None:
        if not done:
            raise no_app(app_id)
        announce(self._versions, app_id)


def changed(old: Settings, changes: Mapping[str, Any]) -> Settings:
    """The settings after a change, pure; raises BadValue on a name that is none, or a value that it cannot have."""
    new: dict[str, Any] = msgspec.to_builtins(old)
    for name, value in changes.items():
        if name not in new:
            raise BadValue(name[:64], "there is no such setting", f"The settings are {', '.join(new)}.")
        if value is None:
            del new[name]
            continue
        try:
            msgspec.convert({name: value}, Settings)
        except msgspec.ValidationError as error:
            raise BadValue(name, str(error).partition(" - at `")[0], f"It is {_meant(name)}.") from None
        new[name] = value
    return msgspec.convert(new, Settings)


def _meant(name: str) -> str:
    """What a setting may be, from its JSON Schema."""
    field = msgspec.json.schema(Settings)["$defs"]["Settings"]["properties"][name]
    kinds = [kind for kind in field.get("anyOf", [field]) if kind["type"] != "null"]
    kind = kinds[0]
    if kind["type"] == "boolean":
        return "true or false"
    if kind["type"] == "integer":
        return f"a whole number from {kind['minimum']} to {kind['maximum']}"
    if kind["type"] == "array":
        return f"a list of at most {kind['maxItems']} texts of at most {kind['items']['maxLength']} characters"
    return f"a text of at most {kind['maxLength']} characters, or null"


def _name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise BadValue("name", "an app's name is 1 to 128 printable characters", "Give such a name.")
    return name


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
