"""Device tokens: registration and lookup in one statement each, and what survives what."""

from __future__ import annotations

import multiprocessing
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pushsvc.directory.ports import Registration
from pushsvc.domain.app import Settings
from pushsvc.domain.device import Device, DeviceToken, Environment, Platform, TokenKind
from pushsvc.store.apps import Apps
from pushsvc.store.database import Database
from pushsvc.store.devices import Devices
from pushsvc.store.users import Users

PUSH, VOIP, OTHER = "a1" * 32, "b2" * 32, "c3" * 32
FCM = "f" * 22 + ":APA91b" + "x" * 134


def phone(
    app_id: int,
    user: int | str,
    *tokens: tuple[TokenKind, str],
    name: str = "",
    environment: Environment | None = Environment.PRODUCTION,
    appid: str = "com.example.chat",
    platform: Platform = Platform.IOS,
) -> Registration:
    return Registration(app_id, user, platform, appid, name, environment, tokens)


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """The statements that reach the database meanwhile, without BEGIN and the pragmas."""
    seen: list[str] = []

    def note(_c: object, _k: object, statement: str, *_: object) -> None:
        if not statement.startswith(("BEGIN", "PRAGMA", "SET")):
            seen.append(statement)

    sa.event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        sa.event.remove(database.engine, "before_cursor_execute", note)


@pytest.fixture
def devices(database: Database) -> Devices:
    return Devices(database)


def only(devices: tuple[Device, ...]) -> Device:
    (device,) = devices
    return device


def test_a_phone_is_found_by_address_and_by_uid_with_all_it_was_registered_with(devices: Devices, app_id: int) -> None:
    (registered,) = devices.register([phone(app_id, "alice", (TokenKind.APNS, PUSH), (TokenKind.VOIP, VOIP))], 100.5)
    assert registered is not None
    found = devices.of([(app_id, "alice"), (app_id, registered.uid), (app_id, "nobody"), (app_id, 999)])
    assert found == {(app_id, "alice"): (registered,), (app_id, registered.uid): (registered,)}
    assert registered.push_token == DeviceToken(
        registered.push_token.id if registered.push_token else 0, TokenKind.APNS, PUSH, Environment.PRODUCTION, 100.5
    )
    assert registered.voip_token is not None
    assert registered.fcm_token is None


def test_an_fcm_token_has_no_environment(devices: Devices, app_id: int) -> None:
    devices.register([phone(app_id, "a", (TokenKind.FCM, FCM), (TokenKind.APNS, PUSH))], 1.0)
    device = only(devices.of([(app_id, "a")])[app_id, "a"])
    assert device.fcm_token is not None
    assert device.push_token is not None
    assert (device.fcm_token.environment, device.push_token.environment) == (None, Environment.PRODUCTION)


def test_registering_again_keeps_the_row_and_refreshes_it(devices: Devices, app_id: int) -> None:
    first = devices.register([phone(app_id, "alice", (TokenKind.APNS, PUSH))], 1.0)[0]
    again = devices.register(
        [phone(app_id, "alice", (TokenKind.APNS, PUSH), environment=Environment.SANDBOX, name="phone-1")], 2.0
    )[0]
    assert first is not None
    assert again is not None
    assert first.push_token is not None
    assert again.push_token is not None
    assert again.push_token.id == first.push_token.id
    assert devices.of([(app_id, "alice")]) == {(app_id, "alice"): (again,)}
    assert (again.name, again.push_token.environment, again.push_token.registered_at) == (
        "phone-1",
        Environment.SANDBOX,
        2.0,
    )


def test_a_token_moves_from_the_user_who_had_it_within_the_app_alone(
    database: Database, devices: Devices, app_id: int
) -> None:
    other_app = Apps(database).create("other", b"\x01" * 32, Settings(), 1.0)
    devices.register([phone(app_id, "alice", (TokenKind.APNS, PUSH))], 1.0)
    devices.register([phone(other_app, "alice", (TokenKind.APNS, PUSH))], 1.0)
    devices.register([phone(app_id, "bob", (TokenKind.APNS, PUSH))], 2.0)
    assert devices.of([(app_id, "alice"), (app_id, "bob"), (other_app, "alice")]).keys() == {
        (app_id, "bob"),
        (other_app, "alice"),
    }


def test_the_registration_of_a_known_user_is_one_statement(database: Database, devices: Devices, app_id: int) -> None:
    tokens = ((TokenKind.APNS, PUSH), (TokenKind.VOIP, VOIP), (TokenKind.FCM, FCM))
    Users(database).add(app_id, "alice")
    with statements(database) as seen:
        devices.register([phone(app_id, "alice", *tokens)], 1.0)
    assert len(seen) == 1
    with statements(database) as seen:
        devices.register([phone(app_id, "alice", *tokens), phone(app_id, "alice", (TokenKind.APNS, OTHER))], 2.0)
    assert len(seen) == 1


def test_the_devices_of_a_batch_are_found_by_one_statement_through_the_indexes(
    database: Database, devices: Devices, app_id: int
) -> None:
    with database.writing() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO users (app_id, address, active) "
                "WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < 20000) "
                "SELECT :a, 'user' || i, TRUE FROM g"
            ),
            {"a": app_id},
        )
        connection.execute(
            sa.text(
                "INSERT INTO device_tokens (app_id, uid, name, platform, appid, kind, token, registered_at) "
                "SELECT app_id, uid, '', 'android', 'com.example', 'fcm', 'token' || uid, 1.0 FROM users"
            )
        )
        connection.execute(sa.text("ANALYZE"))
    with statements(database) as seen:
        found = devices.of([(app_id, f"user{n}") for n in range(1, 500)] + [(app_id, uid) for uid in range(1, 500)])
    assert len(found) == 998
    (statement,) = seen
    with database.reading() as connection:
        if not database.is_sqlite:  # which finds so few users cheaper to read through than to look up
            connection.execute(sa.text("SET enable_seqscan TO off"))
        plan = _plan(connection, "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN", devices)
    if database.is_sqlite:
        assert "SCAN users" not in plan
        assert "SCAN device_tokens" not in plan
        assert plan.count("SEARCH device_tokens USING INDEX ix_device_tokens_uid") == 2
        assert "SEARCH users USING INDEX sqlite_autoindex_users_1 (app_id=? AND address=?)" in plan
    else:
        assert "Seq Scan" not in plan
        assert plan.count("Index Scan using ix_device_tokens_uid") == 2
        assert "Index Scan using uq_users_app_id_address" in plan
    assert "UNION ALL" in statement


def test_no_plan_is_kept_from_when_the_tables_were_empty(postgres_database: Database) -> None:
    with postgres_database.reading() as connection:
        assert connection.exec_driver_sql("SHOW plan_cache_mode").scalar_one() == "force_custom_plan"


def _plan(connection: sa.Connection, explain: str, devices: Devices) -> str:
    def explained(_c: object, _k: object, statement: str, parameters: object, *_: object) -> tuple[str, object]:
        return f"{explain} {statement}", parameters

    sa.event.listen(connection, "before_cursor_execute", explained, retval=True)
    rows = connection.execute(devices._lookup, {"uids": "[]", "addresses": "[]"}).cursor
    assert rows is not None
    return "\n".join(str(row[-1]) for row in rows.fetchall())


def test_the_devices_of_a_user_who_is_not_active_are_kept_and_say_so(
    database: Database, devices: Devices, app_id: int
) -> None:
    device = devices.register([phone(app_id, "alice", (TokenKind.APNS, PUSH))], 1.0)[0]
    assert device is not None
    Users(database).set_active(app_id, device.uid, False)
    off = (replace(device, user_active=False),)
    assert devices.of([(app_id, "alice"), (app_id, device.uid)]) == {(app_id, "alice"): off, (app_id, device.uid): off}
    assert devices.of_user(app_id, "alice") == off
    Users(database).set_active(app_id, device.uid, True)
    assert devices.of([(app_id, device.uid)]) == {(app_id, device.uid): (device,)}


def test_a_uid_of_another_app_is_nobody_here(database: Database, devices: Devices, app_id: int) -> None:
    other_app = Apps(database).create("other", b"\x01" * 32, Settings(), 1.0)
    device = devices.register([phone(app_id, "alice", (TokenKind.APNS, PUSH))], 1.0)[0]
    assert device is not None
    assert devices.of([(other_app, device.uid)]) == {}
    assert devices.of_user(other_app, device.uid) == ()
    assert devices.register([phone(other_app, device.uid, (TokenKind.APNS, OTHER))], 1.0) == [None]


def test_who_does_not_exist_is_named_and_the_others_are_stored(devices: Devices, app_id: int) -> None:
    stored = devices.register(
        [
            phone(app_id, 999, (TokenKind.APNS, PUSH)),
            phone(app_id, "alice", (TokenKind.APNS, OTHER)),
            phone(app_id + 1, "x", (TokenKind.APNS, VOIP)),
        ],
        1.0,
    )
    assert [device is not None for device in stored] == [False, True, False]
    assert devices.of([(app_id, "alice")]) == {(app_id, "alice"): (stored[1],)}


def test_a_token_that_occurs_twice_in_a_batch_belongs_to_the_last(devices: Devices, app_id: int) -> None:
    devices.register(
        [phone(app_id, "alice", (TokenKind.APNS, PUSH)), phone(app_id, "bob", (TokenKind.APNS, PUSH))], 1.0
    )
    assert devices.of([(app_id, "alice"), (app_id, "bob")]).keys() == {(app_id, "bob")}


# -- dropping


@pytest.mark.parametrize(("unregistered_at", "dropped"), [(101.0, True), (100.0, False), (99.0, False), (None, True)])
def test_a_token_is_dropped_if_it_was_registered_before_the_provider_lost_it(
    devices: Devices, app_id: int, unregistered_at: float | None, dropped: bool
) -> None:
    device = devices.register([phone(app_id, "a", (TokenKind.APNS, PUSH), (TokenKind.VOIP, VOIP))], 100.0)[0]
    assert device is not None
    assert device.push_token is not None
    assert devices.drop(app_id, device.push_token, unregistered_at) is dropped
    left = only(devices.of_user(app_id, "a"))
    assert (left.push_token is None) is dropped
    assert left.voip_token == device.voip_token


@pytest.mark.parametrize("unregistered_at", [101.0, None])
def test_a_token_registered_again_while_its_push_was_under_way_survives(
    devices: Devices, app_id: int, unregistered_at: float | None
) -> None:
    sent_with = devices.register([phone(app_id, "alice", (TokenKind.APNS, PUSH))], 100.0)[0]
    assert sent_with is not None
    assert sent_with.push_token is not None
    devices.register([phone(app_id, "bob", (TokenKind.APNS, PUSH))], 102.0)
    assert not devices.drop(app_id, sent_with.push_token, unregistered_at)
    devices.remember_environment(app_id, sent_with.push_token, Environment.SANDBOX)
    (kept,) = devices.of_user(app_id, "bob")
    assert kept.push_token is not None
    assert kept.push_token.environment is Environment.PRODUCTION


def test_dropping_twice_or_in_another_app_does_nothing(devices: Devices, app_id: int) -> None:
    device = devices.register([phone(app_id, "alice", (TokenKind.APNS, PUSH))], 100.0)[0]
    assert device is not None
    assert device.push_token is not None
    assert not devices.drop(app_id + 1, device.push_token, None)
    assert devices.drop(app_id, device.push_token, None)
    assert not devices.drop(app_id, device.push_token, None)
    assert devices.of([(app_id, "alice")]) == {}


def test_the_environment_that_took_a_token_is_remembered(devices: Devices, app_id: int) -> None:
    device = devices.register([phone(app_id, "alice", (TokenKind.APNS, PUSH))], 100.0)[0]
    assert device is not None
    assert device.push_token is not None
    devices.remember_environment(app_id, device.push_token, Environment.SANDBOX)
    token = only(devices.of_user(app_id, "alice")).push_token
    assert token is not None
    assert (token.environment, token.registered_at) == (Environment.SANDBOX, 100.0)


def test_removal_takes_one_token_or_all_of_that_user_s(devices: Devices, app_id: int) -> None:
    alice = devices.register([phone(app_id, "alice", (TokenKind.APNS, PUSH), (TokenKind.VOIP, VOIP))], 1.0)[0]
    devices.register([phone(app_id, "bob", (TokenKind.APNS, OTHER))], 1.0)
    assert alice is not None
    assert devices.remove(app_id, alice.uid, OTHER) == 0
    assert devices.remove(app_id, alice.uid, VOIP) == 1
    assert devices.remove(app_id, alice.uid, None) == 1
    assert devices.of([(app_id, "alice"), (app_id, "bob")]).keys() == {(app_id, "bob")}


def test_a_device_is_found_by_its_token_and_by_the_token_s_id(devices: Devices, app_id: int) -> None:
    alice = devices.register([phone(app_id, "alice", (TokenKind.APNS, PUSH), (TokenKind.VOIP, VOIP))], 1.0)[0]
    assert alice is not None
    assert alice.voip_token is not None
    assert devices.with_token(app_id, VOIP) == alice
    assert devices.with_token(app_id, alice.voip_token.id) == alice
    assert devices.with_token(app_id, OTHER) is None
    assert devices.with_token(app_id + 1, PUSH) is None


# -- many at once


def _register(url: str, app_id: int, user: str, barrier: object, failures: multiprocessing.Queue[str]) -> None:
    database = Database(url)
    devices = Devices(database)
    shuffled = random.Random(user)
    tokens = [f"{n:064x}" for n in range(40)]
    barrier.wait()  # type: ignore[attr-defined]  # the class of a context's barrier has no public name
    try:
        for round_ in range(15):
            shuffled.shuffle(tokens)
            devices.register([phone(app_id, user, (TokenKind.APNS, token)) for token in tokens], float(round_))
            devices.register([phone(app_id, f"new{round_}", (TokenKind.VOIP, tokens[0]))], float(round_))
    except Exception as error:
        failures.put(repr(error))
    finally:
        database.close()


def test_processes_that_register_the_same_tokens_for_two_users_end_with_each_token_once(
    url: str, database: Database, app_id: int, devices: Devices
) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, failures = context.Barrier(3), context.Queue()
    processes = [
        context.Process(target=_register, args=(url, app_id, user, barrier, failures)) for user in ("a", "b", "c")
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert failures.empty(), failures.get()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    found = devices.of([(app_id, user) for user in ("a", "b", "c")])
    tokens = [t.token for of_user in found.values() for device in of_user for t in device.tokens]
    assert sorted(tokens) == [f"{n:064x}" for n in range(40)]


def _register_and_tell(url: str, app_id: int, told: multiprocessing.Queue[bool]) -> None:
    devices = Devices(Database(url))
    told.put(devices.register([phone(app_id, "alice", (TokenKind.APNS, PUSH))], 1.0) != [None])
    threading.Event().wait()


def test_what_was_answered_survives_the_kill_of_the_process_that_answered(
    url: str, app_id: int, devices: Devices
) -> None:
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    process = context.Process(target=_register_and_tell, args=(url, app_id, told))
    process.start()
    assert told.get(timeout=60)
    process.kill()
    process.join(60)
    assert devices.of([(app_id, "alice")]).keys() == {(app_id, "alice")}


hexadecimal = st.binary(min_size=32, max_size=100).map(bytes.hex)
registration_token = st.from_regex(r"[A-Za-z0-9_:-]{32,200}", fullmatch=True)
address = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters=",\x7f "), min_size=1, max_size=63)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(user=address, push=hexadecimal, fcm=registration_token, appid=address, now=st.floats(0, 4e9))
def test_what_is_registered_is_what_is_found(
    devices: Devices, app_id: int, user: str, push: str, fcm: str, appid: str, now: float
) -> None:
    registration = phone(app_id, user, (TokenKind.APNS, push), (TokenKind.FCM, fcm), appid=appid, name="n")
    (device,) = devices.register([registration], now)
    assert device is not None
    assert device in devices.of([(app_id, user)])[app_id, user]
    assert device in devices.of([(app_id, device.uid)])[app_id, device.uid]
    assert device.push_token is not None
    assert (device.push_token.token, device.push_token.registered_at, device.appid) == (push, now, appid)
    assert devices.drop(app_id, device.push_token, None)
    assert devices.remove(app_id, device.uid, None) == 1  # the next example starts without it
