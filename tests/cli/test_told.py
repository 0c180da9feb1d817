"""What the commands tell the person who typed them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from pushsvc.cli.main import cli
from pushsvc.simulator import Simulator
from pushsvc.stream.valkey import Valkey

Run = Callable[..., Any]


def test_the_list_of_credentials_tells_one_that_cannot_be_opened_and_an_app_that_is_not_there(
    run: Run, app_id: str, p8: Path, environ: dict[str, str]
) -> None:
    run("credential", "upload", "--app", app_id, str(p8), "--team-id", "TEAM123456")
    assert "in use" in run("credential", "list", "--app", app_id)
    environ["PUSHSVC_VAULT_KEYS"] = "other:" + "A" * 43 + "="
    (one,) = run("credential", "list", "--app", app_id, "--json")
    assert "is not among the vault's keys" in one["locked"]
    assert "cannot be opened" in run("credential", "list", "--app", app_id)
    assert "error: app: there is no app 77" in run("credential", "list", "--app", "77", code=1)


def test_an_event_s_id_is_told_and_what_became_of_it_with_cause_and_cure(run: Run, app_id: str, valkey: Valkey) -> None:
    told = run("event", "send", "--app", app_id, "--user", "ada")
    assert re.search(r"1 sent\nevent [0-9a-f-]{36}\n", told)
    sent = run("event", "send", "--app", app_id, "--user", "ada", "--id", "m-1", "--json")
    assert sent["accepted"] == [{"id": "m-1", "repeated": False}]
    lines = b'{"id":"m-1","user":"ada"}\n{"id":"m-2","user":"ada"}\n'
    sent = run("event", "send", "--app", app_id, "--file", "-", "--json", stdin=lines)
    assert sent["accepted"] == [{"id": "m-1", "repeated": True}, {"id": "m-2", "repeated": False}]
    assert (sent["sent"], sent["repeated"]) == (1, 1)


def test_an_app_or_user_that_is_not_there_is_told(run: Run, app_id: str, valkey: Valkey) -> None:
    for command in (
        ("event", "send", "--app", "77", "--user", "ada"),
        ("event", "show", "--app", "77", "m-1"),
        ("device", "list", "--app", "77", "--user", "ada"),
        ("device", "remove", "--app", "77", "--user", "ada"),
        ("user", "list", "--app", "77"),
    ):
        assert "there is no app 77" in run(*command, code=1)
    told = run("event", "send", "--file", "-", stdin=b'{"app":77,"user":"ada"}\n', code=1)
    assert "error: line 1: app: there is no app 77" in told
    assert valkey.call("XLEN", "{pushsvc}:messages") == 0
    for command in (("device", "list"), ("device", "remove"), ("push", "test")):
        assert "the app has no user with this address" in run(*command, "--app", app_id, "--user", "ada", code=1)


def test_options_are_named_as_options_and_a_file_without_events_is_told(run: Run, app_id: str) -> None:
    send = ("event", "send", "--app", app_id)
    assert "error: --expiry: it is too small" in run(*send, "--user", "ada", "--expiry", "-1", code=1)
    assert "error: --message-id: it is too long" in run(*send, "--user", "ada", "--message-id", "m" * 65, code=1)
    assert "give --app" in run("event", "send", "--user", "ada", code=2)
    assert "both were given" in run(*send, "--user", "ada", "--file", "-", stdin=b"", code=2)
    told = run(*send, "--file", "-", stdin=b"\n  \n")
    assert "holds no event" in told
    told = run(*send, "--file", "-", stdin=b"\xff\n" * 1000, code=1)
    assert told.count("it is no JSON") == 100
    assert "900 more lines are bad" in told


def test_a_test_push_tells_that_nothing_is_shown_and_a_dry_run_is_not_accepted(
    run: Run, app_id: str, p8: Path, simulator: Simulator
) -> None:
    run("credential", "upload", "--app", app_id, str(p8), "--team-id", "TEAM123456")
    token = simulator.devices.apns("production", "com.example.chat").token
    register = ("device", "register", "--app", app_id, "--user", "ada", "--platform", "ios", "--push-token", token)
    run(*register, "--appid", "com.example.chat", "--environment", "production")
    test = ("push", "test", "--app", app_id, "--user", "ada")
    told = run(*test, "--dry-run")
    assert "outcome  dry_run (DryRun)" in told
    assert "accepted" not in told
    assert run(*test, "--dry-run", "--json")[0]["outcome"] == "dry_run"
    told = run(*test)
    assert "the phone shows nothing" in told
    assert not told.endswith("\n\n")
    run("app", "settings", "set", app_id, "background=false")
    assert "note" not in run(*test)


def test_a_token_stands_alone_on_standard_output(environ: dict[str, str], run: Run) -> None:
    def printed(*command: str) -> tuple[str, str]:
        result = CliRunner().invoke(cli, command, env=environ, catch_exceptions=False)
        return result.stdout, result.stderr

    first, about = printed("app", "add", "chat")
    assert re.fullmatch(r"[\w-]{43}\n", first)
    assert "app 1 (chat)" in about
    second, about = printed("app", "rotate", "1")
    assert re.fullmatch(r"[\w-]{43}\n", second)
    assert second != first
    assert "app 1" in about
    assert run("app", "rotate", "1", "--json").keys() == {"id", "token"}


def test_what_a_command_has_done_is_json_where_asked_for(run: Run, app_id: str, p8: Path) -> None:
    stored = run("credential", "upload", "--app", app_id, str(p8), "--team-id", "TEAM123456", "--json")
    name = str(stored["id"])
    pause = ("credential", "pause", "--app", app_id, name, "--reason", "leaked", "--json")
    assert run(*pause) == {"id": stored["id"], "paused": "leaked"}
    assert run("credential", "resume", "--app", app_id, name, "--json") == {"id": stored["id"], "paused": ""}
    assert run("credential", "rotate-keys", "--json")["encrypted_anew"] == 0
    assert run("credential", "delete", "--app", app_id, name, "--json") == {"id": stored["id"], "deleted": True}
    run("user", "add", "--app", app_id, "ada")
    assert run("user", "switch", "--app", app_id, "ada", "off", "--json") == {"user": "ada", "active": False}
    assert "the user has no token" in run("device", "remove", "--app", app_id, "--user", "ada", code=1)
    assert run("dead", "drop", "--all", "--json") == {"done": 0, "failed": 0}
    assert run("user", "delete", "--app", app_id, "ada", "--json") == {"user": "ada", "deleted": True}
    store = run("migrate", "--json")
    assert store["before"] == store["now"]
    assert run("app", "switch", app_id, "off", "--json") == {"id": 1, "active": False}
    assert run("app", "delete", app_id, "--yes", "--json") == {"id": 1, "deleted": True}


def test_a_table_fits_a_narrow_page(run: Run, app_id: str, p8: Path, environ: dict[str, str]) -> None:
    run("credential", "upload", "--app", app_id, str(p8), "--team-id", "TEAM123456")
    for columns, width in (("", 120), ("70", 70)):
        environ |= {"COLUMNS": columns} if columns else {}
        for command in (("credential", "list", "--app", app_id), ("config",)):
            assert max(len(line.rstrip()) for line in run(*command).splitlines()) <= width


def test_the_same_file_again_says_which_credential_it_replaces(run: Run, app_id: str, p8: Path) -> None:
    upload = ("credential", "upload", "--app", app_id, str(p8), "--team-id", "TEAM123456")
    first = run(*upload, "--json")
    assert first["replaces"] is None
    assert f"takes the place of credential {first['id']}" in run(*upload)


def test_the_doctor_s_cures_can_be_pasted(run: Run, app_id: str, p8: Path, environ: dict[str, str]) -> None:
    assert f"pushsvc credential upload --app {app_id} FILE" in run("doctor", code=1)
    stored = run("credential", "upload", "--app", app_id, str(p8), "--team-id", "TEAM123456", "--json")
    run("credential", "pause", "--app", app_id, str(stored["id"]))
    cure = re.search(r"pushsvc (credential resume .*?)\.?\s*$", run("doctor", code=1), re.MULTILINE)
    assert cure
    run(*cure[1].rstrip(".").split())
    assert run("credential", "list", "--app", app_id, "--json")[0]["paused"] == ""
    environ["PUSHSVC_FCM"] = "localhost:1"
    assert "Does it run, and on this port?" in run("doctor", "--network", code=1)
