"""Apps, users and credentials: rows to values and back."""

from __future__ import annotations

import sqlite3
import threading

import pytest
import sqlalchemy as sa

from pushsvc.directory.ports import Registration
from pushsvc.domain.app import Settings
from pushsvc.domain.credential import CredentialKind, Finding
from pushsvc.domain.device import Environment, Platform, TokenKind
from pushsvc.store import tables
from pushsvc.store.apps import Apps
from pushsvc.store.credentials import Credentials
from pushsvc.store.database import Database
from pushsvc.store.devices import Devices
from pushsvc.store.users import Users

FINDING = Finding(
    CredentialKind.APNS_CERTIFICATE,
    "A certificate.",
    topics=("com.x", "com.x.voip"),
    environments=frozenset(Environment),
    not_before=1.5,
    not_after=2.5,
    team_id="TEAM",
    fingerprint="f" * 64,
    warnings=("soon",),
)


def test_an_app_is_found_by_its_token_while_it_is_active(database: Database, app_id: int) -> None:
    apps = Apps(database)
    assert apps.of_token(b"\x00" * 32) == app_id
    assert apps.of_token(b"\x01" * 32) is None
    apps.set_active(app_id, False)
    assert apps.of_token(b"\x00" * 32) is None
    assert not apps.get([app_id])[app_id].app.active
    apps.set_active(app_id, True)
    apps.replace_token(app_id, b"\x02" * 32)
    assert (apps.of_token(b"\x00" * 32), apps.of_token(b"\x02" * 32)) == (None, app_id)


def test_settings_are_read_as_they_were_written(database: Database, app_id: int) -> None:
    apps = Apps(database)
    settings = Settings(background=False, sound="ping 🔔.caf", title_loc_args=["{name}"], min_interval_s=30)
    assert apps.change_settings(app_id, lambda _: settings) == settings
    assert apps.get([app_id])[app_id].app.settings == settings
    assert apps.change_settings(app_id + 1, lambda _: settings) is None


def test_a_setting_that_a_newer_version_wrote_is_left_out(database: Database, app_id: int) -> None:
    with database.writing() as connection:
        connection.execute(sa.update(tables.apps).values(settings='{"push":false,"hologram":true}'))
    assert Apps(database).all()[0].app.settings == Settings(push=False)


def test_changes_of_settings_made_at_once_are_all_kept(database: Database, app_id: int) -> None:
    apps = Apps(database)

    def more(old: Settings) -> Settings:
        return Settings(min_interval_s=old.min_interval_s + 1)

    threads = [
        threading.Thread(target=lambda: [apps.change_settings(app_id, more) for _ in range(10)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert apps.get([app_id])[app_id].app.settings.min_interval_s == 40


def test_a_deleted_app_takes_all_that_is_its_own_with_it(database: Database, app_id: int) -> None:
    apps, users, credentials = Apps(database), Users(database), Credentials(database)
    other = apps.create("other", b"\x01" * 32, Settings(), 1.0)
    for one in (app_id, other):
        Devices(database).register(
            [Registration(one, "alice", Platform.ANDROID, "com.x", "", None, ((TokenKind.FCM, "f" * 40),))], 1.0
        )
        credentials.put(one, FINDING, b"sealed", 1.0)
    assert apps.delete(app_id)
    assert not apps.delete(app_id)
    assert [stored.app.id for stored in apps.all()] == [other]
    assert users.get(app_id, "alice") is None
    assert [stored.app_id for stored in credentials.all()] == [other]
    with database.reading() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM device_tokens")).scalar_one() == 1


def test_users_are_added_once_and_listed_in_pages(database: Database, app_id: int) -> None:
    users = Users(database)
    alice = users.add(app_id, "alice")
    assert alice is not None
    assert users.add(app_id, "alice") == alice
    assert users.add(app_id + 1, "alice") is None
    uids = [alice.uid, *(user.uid for n in range(4) if (user := users.add(app_id, f"u{n}")) is not None)]
    assert [user.uid for user in users.page(app_id, 0, 3)] == uids[:3]
    assert [user.uid for user in users.page(app_id, uids[2], 3)] == uids[3:]
    assert users.get(app_id, alice.uid) == users.get(app_id, "alice") == alice
    assert users.get(app_id + 1, alice.uid) is None


def test_a_uid_is_not_given_again_after_its_user_is_deleted(database: Database, app_id: int) -> None:
    users = Users(database)
    first = users.add(app_id, "alice")
    assert first is not None
    assert users.delete(app_id, first.uid)
    assert not users.delete(app_id, first.uid)
    second = users.add(app_id, "alice")
    assert second is not None
    assert second.uid > first.uid


def test_a_credential_is_read_as_it_was_written(database: Database, app_id: int) -> None:
    credentials = Credentials(database)
    credential_id = credentials.put(app_id, FINDING, b"\x00sealed\xff", 5.0)
    assert credential_id is not None
    (stored,) = credentials.of([app_id])
    assert (stored.id, stored.finding, stored.sealed, stored.paused, stored.uploaded_at) == (
        credential_id,
        FINDING,
        b"\x00sealed\xff",
        "",
        5.0,
    )
    assert credentials.get(credential_id) == stored
    assert credentials.put(app_id + 1, FINDING, b"x", 5.0) is None
    assert "sealed" not in repr(stored)


def test_the_same_certificate_again_takes_the_old_one_s_place_under_a_new_id(database: Database, app_id: int) -> None:
    credentials = Credentials(database)
    first = credentials.put(app_id, FINDING, b"one", 5.0)
    assert first is not None
    assert credentials.pause(first, FINDING.fingerprint, "refused 3 times") == app_id
    second = credentials.put(app_id, FINDING, b"two", 6.0)
    (stored,) = credentials.of([app_id])
    assert (stored.id, stored.sealed, stored.paused) == (second, b"two", "")
    assert second != first
    assert credentials.pause(first, FINDING.fingerprint, "late") is None


def test_a_credential_is_paused_only_while_it_is_still_the_same(database: Database, app_id: int) -> None:
    credentials = Credentials(database)
    credential_id = credentials.put(app_id, FINDING, b"one", 5.0)
    assert credential_id is not None
    assert credentials.pause(credential_id, "0" * 64, "why") is None
    assert credentials.pause(credential_id, FINDING.fingerprint, "why") == app_id
    (stored,) = credentials.of([app_id])
    assert stored.paused == "why"


def test_a_secret_is_sealed_anew_only_over_what_was_read(database: Database, app_id: int) -> None:
    credentials = Credentials(database)
    credential_id = credentials.put(app_id, FINDING, b"one", 5.0)
    assert credential_id is not None
    assert not credentials.reseal(credential_id, b"other", b"two")
    assert credentials.reseal(credential_id, b"one", b"two")
    assert credentials.of([app_id])[0].sealed == b"two"
    assert not credentials.delete(app_id + 1, credential_id)
    assert credentials.delete(app_id, credential_id)
    assert credentials.all() == []


def test_an_error_shows_no_value_of_a_row(database: Database, app_id: int) -> None:
    with pytest.raises(sa.exc.IntegrityError) as caught:
        Apps(database).create("name", b"\x00" * 32, Settings(sound="private"), 1.0)
    assert "private" not in str(caught.value)


def test_a_registration_is_on_the_disk_before_it_is_answered(database: Database) -> None:
    """What the two kinds of transaction promise about a power failure."""
    ask = "PRAGMA synchronous" if database.is_sqlite else "SHOW synchronous_commit"
    with database.writing() as connection:
        durable = connection.exec_driver_sql(ask).scalar_one()
    with database.writing(durable=False) as connection:
        quick = connection.exec_driver_sql(ask).scalar_one()
    assert (durable, quick) == ((2, 1) if database.is_sqlite else ("on", "off"))
    if database.is_sqlite:
        assert sqlite3.threadsafety  # connections of the pool move between threads
