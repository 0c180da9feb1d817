"""Rows of device tokens: registration and lookup of any number in one statement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from pushsvc.directory.ports import Registration
from pushsvc.domain.device import Device, DeviceToken, Environment, Platform, TokenKind
from pushsvc.store.assembly import TokenOfUser, device_of, devices_of
from pushsvc.store.database import Database
from pushsvc.store.tables import apps, device_tokens, users

_KINDS = {kind.value: kind for kind in TokenKind}
_PLATFORMS = {platform.value: platform for platform in Platform}
_ENVIRONMENTS: dict[str | None, Environment | None] = {None: None, **{e.value: e for e in Environment}}
_COLUMNS = (
    device_tokens.c.app_id,
    device_tokens.c.uid,
    device_tokens.c.name,
    device_tokens.c.platform,
    device_tokens.c.appid,
    device_tokens.c.id,
    device_tokens.c.kind,
    device_tokens.c.token,
    device_tokens.c.environment,
    device_tokens.c.registered_at,
    users.c.active,
)

_Tokens = dict[tuple[int, str, str], Registration]  # by app id, kind and token
_Stored = dict[tuple[int, str, str], tuple[int, int]]  # to uid and token id


class Devices:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._lookup = _lookup(database)
        self._add_users = _add_users(database)
        self._add_tokens = {kind: _add_tokens(database, kind) for kind in (int, str)}

    # -- lookup

    def of(self, users: Sequence[tuple[int, int | str]]) -> Mapping[tuple[int, int | str], tuple[Device, ...]]:
        """The devices of (app id, uid or address), in one query; a user who has none is absent."""
        asked = list(dict.fromkeys(users))
        by_uid = [(n, app_id, user) for n, (app_id, user) in enumerate(asked) if isinstance(user, int)]
        by_address = [(n, app_id, user) for n, (app_id, user) in enumerate(asked) if isinstance(user, str)]
        found: dict[int, list[TokenOfUser]] = {}
        with self._database.reading() as connection:
            rows = connection.execute(self._lookup, {"uids": _json(by_uid), "addresses": _json(by_address)}).all()
        for n, *row in rows:
            found.setdefault(n, []).append(_token(*row))
        return {asked[n]: devices_of(tokens) for n, tokens in found.items()}

    def of_user(self, app_id: int, user: int | str) -> tuple[Device, ...]:
        """The user's devices, of an inactive user too."""
        named = users.c.uid == user if isinstance(user, int) else users.c.address == user
        rows: sa.Select[Any] = sa.select(*_COLUMNS).join(users, users.c.uid == device_tokens.c.uid)
        with self._database.reading() as connection:
            found = connection.execute(rows.where(users.c.app_id == app_id, named).order_by(device_tokens.c.id))
            return devices_of([_token(*row) for row in found])

    def with_token(self, app_id: int, token: int | str) -> Device | None:
        """The device that a token id, or a token, belongs to."""
        wanted = device_tokens.c.id == token
        if isinstance(token, str):
            wanted = sa.and_(device_tokens.c.kind.in_(_KINDS), device_tokens.c.token == token)
        with self._database.reading() as connection:
            row = connection.execute(
                sa.select(device_tokens.c.id, device_tokens.c.uid).where(device_tokens.c.app_id == app_id, wanted)
            ).first()
        if row is None:
            return None
        devices = self.of_user(app_id, int(row.uid))
        return next((d for d in devices if any(t.id == row.id for t in d.tokens)), None)

    def known_as(self, app_id: int, kind: TokenKind, tokens: Sequence[str]) -> set[str]:
        """Those of the tokens that the app has registered as this kind."""
        given = self._database.given("tokens", token=str)
        c = device_tokens.c
        same = sa.and_(c.app_id == app_id, c.kind == kind.value, c.token == given.c.token)
        with self._database.reading() as connection:
            found = connection.execute(
                sa.select(given.c.token).join(device_tokens, same), {"tokens": _json([(token,) for token in tokens])}
            )
            return set(found.scalars())

    # -- registration

    def register(self, registrations: Sequence[Registration], now: float) -> list[Device | None]:
        """Stores all of them in one transaction, the tokens in one statement; None where the app or uid is not there.

        A token that the app knows already keeps its row, moves to this user and device, and counts as registered now.
        Where a token occurs twice, its last registration holds.
        """
        left: _Tokens = {(r.app_id, kind.value, token): r for r in registrations for kind, token in r.tokens}
        stored: _Stored = {}
        with self._database.writing() as connection:
            self._register(connection, left, stored, now)
            addresses = {(r.app_id, r.user) for r in left.values() if isinstance(r.user, str)}
            if addresses:
                connection.execute(self._add_users, {"users": _json(sorted(addresses, key=str))})
                self._register(connection, left, stored, now)
        return [_registered(r, stored, now) for r in registrations]

    def _register(self, connection: sa.Connection, left: _Tokens, stored: _Stored, now: float) -> None:
        """Moves what has a user from `left` to `stored`. Rows go in one order, so that two batches cannot deadlock."""
        for by, statement in self._add_tokens.items():
            rows = [
                (app_id, r.user, r.name, r.platform, r.appid, kind, token, _environment(kind, r))
                for (app_id, kind, token), r in sorted(left.items(), key=_token_key)
                if isinstance(r.user, by)
            ]
            if rows:
                for uid, token_id, app_id, kind, token in connection.execute(
                    statement, {"tokens": _json(rows), "now": now}
                ):
                    stored[app_id, kind, token] = (uid, token_id)
                    del left[app_id, kind, token]

    # -- what is learnt of a token

    def drop(self, app_id: int, token: DeviceToken, unregistered_at: float | None) -> bool:
        """Deletes the token if it is unchanged, and was registered before `unregistered_at` where that is known."""
        if unregistered_at is not None and token.registered_at >= unregistered_at:
            return False
        still = device_tokens.c.registered_at == token.registered_at
        with self._database.writing(durable=False) as connection:
            return connection.execute(sa.delete(device_tokens).where(_same(app_id, token), still)).rowcount > 0

    def remember_environment(self, app_id: int, token: DeviceToken, environment: Environment) -> None:
        """Unless the token was registered again meanwhile: the client knows better."""
        still = device_tokens.c.registered_at == token.registered_at
        change = sa.update(device_tokens).where(_same(app_id, token), still).values(environment=environment.value)
        with self._database.writing(durable=False) as connection:
            connection.execute(change)

    def remove(self, app_id: int, uid: int, token: str | None) -> int:
        """Deletes one token of the user, or all (None); returns how many."""
        which = [device_tokens.c.app_id == app_id, device_tokens.c.uid == uid]
        if token is not None:
            which.append(device_tokens.c.token == token)
        with self._database.writing() as connection:
            return connection.execute(sa.delete(device_tokens).where(*which)).rowcount


def _same(app_id: int, token: DeviceToken) -> sa.ColumnElement[bool]:
    c = device_tokens.c
    return sa.and_(c.id == token.id, c.app_id == app_id, c.kind == token.kind.value, c.token == token.token)


def _token_key(item: tuple[tuple[int, str, str], Registration]) -> tuple[int, str, str]:
    return item[0]


def _registered(registration: Registration, stored: _Stored, now: float) -> Device | None:
    tokens = []
    for kind, token in registration.tokens:
        found = stored.get((registration.app_id, kind.value, token))
        if found is None:
            return None
        uid, token_id = found
        row = DeviceToken(token_id, kind, token, _environment(kind.value, registration), now)
        tokens.append(
            TokenOfUser(registration.app_id, uid, registration.name, registration.platform, registration.appid, row)
        )
    return device_of(tokens)


def _environment(kind: str, registration: Registration) -> Environment | None:
    return None if kind == TokenKind.FCM.value else registration.environment


def _token(
    app_id: int,
    uid: int,
    name: str,
    platform: str,
    appid: str,
    token_id: int,
    kind: str,
    token: str,
    environment: str | None,
    registered_at: float,
    active: bool,
) -> TokenOfUser:
    stored = DeviceToken(token_id, _KINDS[kind], token, _ENVIRONMENTS[environment], registered_at)
    return TokenOfUser(app_id, uid, name, _PLATFORMS[platform], appid, stored, bool(active))


def _json(rows: Iterable[object]) -> str:
    return msgspec.json.encode(rows).decode()


def _lookup(database: Database) -> sa.CompoundSelect[Any]:
    uids = database.given("uids", n=int, app_id=int, uid=int)
    addresses = database.given("addresses", n=int, app_id=int, address=str)
    by_uid = sa.select(uids.c.n, *_COLUMNS).select_from(
        uids.join(users, sa.and_(users.c.uid == uids.c.uid, users.c.app_id == uids.c.app_id)).join(
            device_tokens, device_tokens.c.uid == users.c.uid
        )
    )
    by_address = sa.select(addresses.c.n, *_COLUMNS).select_from(
        addresses.join(
            users, sa.and_(users.c.app_id == addresses.c.app_id, users.c.address == addresses.c.address)
        ).join(device_tokens, device_tokens.c.uid == users.c.uid)
    )
    return sa.union_all(by_uid, by_address)


def _add_users(database: Database) -> sa.Insert:
    given = database.given("users", app_id=int, address=str)
    rows = sa.select(apps.c.id, given.c.address, sa.true()).select_from(given.join(apps, apps.c.id == given.c.app_id))
    return (
        database.insert(users)
        .from_select(["app_id", "address", "active"], rows.where(sa.true()))
        .on_conflict_do_nothing(index_elements=["app_id", "address"])
    )


def _add_tokens(database: Database, by: type[int] | type[str]) -> sa.Executable:
    given = database.given(
        "tokens", app_id=int, user=by, name=str, platform=str, appid=str, kind=str, token=str, environment=str
    )
    named = users.c.uid == given.c.user if by is int else users.c.address == given.c.user
    rows = sa.select(
        given.c.app_id,
        users.c.uid,
        given.c.name,
        given.c.platform,
        given.c.appid,
        given.c.kind,
        given.c.token,
        given.c.environment,
        sa.bindparam("now", type_=sa.Double),
    ).select_from(given.join(users, sa.and_(users.c.app_id == given.c.app_id, named)))
    moved = ("uid", "name", "platform", "appid", "environment", "registered_at")
    insert = database.insert(device_tokens).from_select(
        ["app_id", "uid", "name", "platform", "appid", "kind", "token", "environment", "registered_at"],
        rows.where(sa.true()),  # tells SQLite that the ON of ON CONFLICT is not a join's
    )
    return insert.on_conflict_do_update(
        index_elements=["app_id", "kind", "token"], set_={name: insert.excluded[name] for name in moved}
    ).returning(
        device_tokens.c.uid, device_tokens.c.id, device_tokens.c.app_id, device_tokens.c.kind, device_tokens.c.token
    )
