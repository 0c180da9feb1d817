"""Apps: tokens and settings."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from pushsvc.directory.refused import BadValue, NotFound
from pushsvc.domain.app import Settings
from tests.directory.use_cases import NOW, Directory


def test_an_app_is_made_with_a_token_that_opens_it(directory: Directory) -> None:
    stored, token = directory.apps.create("  chat ")
    assert (stored.app.name, stored.app.settings, stored.created_at) == ("chat", Settings(), NOW)
    assert len(token) >= 43
    assert directory.apps.authenticate(token) == stored.app.id
    assert directory.apps.get(stored.app.id) == stored
    assert directory.apps.all() == [stored]
    for wrong in ("", token[:-1], token + "x", token.swapcase(), "\ud800"):
        assert directory.apps.authenticate(wrong) is None


def test_no_token_is_stored(directory: Directory) -> None:
    _, token = directory.apps.create("chat")
    path = directory.database.path
    assert path is not None
    directory.database.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    assert token.encode() not in path.read_bytes()


def test_a_rotated_token_replaces_the_old_one_at_once(directory: Directory) -> None:
    stored, old = directory.apps.create("chat")
    new = directory.apps.rotate_token(stored.app.id)
    assert (directory.apps.authenticate(old), directory.apps.authenticate(new)) == (None, stored.app.id)


def test_an_app_that_is_switched_off_opens_nothing(directory: Directory) -> None:
    stored, token = directory.apps.create("chat")
    directory.apps.set_active(stored.app.id, False)
    assert directory.apps.authenticate(token) is None
    assert not directory.apps.get(stored.app.id).app.active


def test_an_app_that_does_not_exist_is_said_not_to(directory: Directory) -> None:
    for refused in (
        lambda: directory.apps.get(9),
        lambda: directory.apps.delete(9),
        lambda: directory.apps.rename(9, "x"),
        lambda: directory.apps.rotate_token(9),
        lambda: directory.apps.set_active(9, True),
        lambda: directory.apps.change_settings(9, {}),
        lambda: directory.credentials.upload(9, b"{}"),
        lambda: directory.devices.register(9, user="a", platform="android", appid="x", fcm_token="f" * 40),
        lambda: directory.users.add(9, "a"),
    ):
        with pytest.raises((NotFound, ValueError)) as caught:
            refused()
        assert caught.value.cure  # type: ignore[attr-defined]  # all of the directory's refusals have one


def test_an_app_is_renamed(directory: Directory, app_id: int) -> None:
    directory.apps.rename(app_id, "mail")
    assert directory.apps.get(app_id).app.name == "mail"
    for bad in ("", "  ", "x" * 129, "a\nb"):
        with pytest.raises(BadValue):
            directory.apps.rename(app_id, bad)


def test_only_the_settings_that_are_named_change(directory: Directory, app_id: int) -> None:
    directory.apps.change_settings(app_id, {"background": False, "sound": "ping.caf"})
    settings = directory.apps.change_settings(app_id, {"min_interval_s": 30, "title_loc_args": ["{name}"]})
    assert settings == Settings(background=False, sound="ping.caf", min_interval_s=30, title_loc_args=["{name}"])
    assert directory.apps.get(app_id).app.settings == settings


def test_none_takes_a_setting_back_to_its_default(directory: Directory, app_id: int) -> None:
    directory.apps.change_settings(app_id, {"background": False, "sound": "ping.caf", "min_interval_s": 30})
    assert directory.apps.change_settings(app_id, {"sound": None, "background": None}) == Settings(min_interval_s=30)


@pytest.mark.parametrize(
    ("change", "cure"),
    [
        ({"backgroud": False}, "background"),
        ({"background": "no"}, "true or false"),
        ({"push": 1}, "true or false"),
        ({"sound": 5}, "128 characters"),
        ({"sound": "x" * 129}, "128 characters"),
        ({"min_interval_s": -1}, "0 to 86400"),
        ({"min_interval_s": 1.5}, "0 to 86400"),
        ({"title_loc_args": "x"}, "list of at most 10"),
        ({"title_loc_args": ["x"] * 11}, "list of at most 10"),
        ({"body_template": {}}, "1024 characters"),
        ({"sound": "ok", "title_loc_key": ""}, "256 characters"),
    ],
)
def test_a_bad_setting_is_refused_with_its_name_and_changes_nothing(
    directory: Directory, app_id: int, change: dict[str, Any], cure: str
) -> None:
    with pytest.raises(BadValue) as caught:
        directory.apps.change_settings(app_id, change)
    assert caught.value.prop == list(change)[-1]
    assert cure in caught.value.cure
    assert directory.apps.get(app_id).app.settings == Settings()


@pytest.mark.parametrize("name", Settings.__struct_fields__)
def test_every_setting_says_what_it_may_be(directory: Directory, app_id: int, name: str) -> None:
    with pytest.raises(BadValue) as caught:
        directory.apps.change_settings(app_id, {name: object})
    assert caught.value.cure


def test_users_are_added_listed_switched_off_and_deleted(directory: Directory, app_id: int) -> None:
    alice = directory.users.add(app_id, "alice")
    assert directory.users.get(app_id, "alice") == directory.users.get(app_id, alice.uid) == alice
    assert not directory.users.set_active(app_id, "alice", False).active
    assert [user.active for user in directory.users.page(app_id)] == [False]
    directory.users.delete(app_id, alice.uid)
    for gone in (directory.users.get, directory.users.delete):
        with pytest.raises(NotFound):
            gone(app_id, "alice")
    for bad in ("", "a,b", " a", "x" * 64, 0, -1, True, None, "\ud800"):
        with pytest.raises(BadValue):
            directory.users.get(app_id, bad)  # type: ignore[arg-type]  # what a careless caller may send
