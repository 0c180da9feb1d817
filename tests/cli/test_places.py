"""Where commands look for data: told when it is not there, and never made by a command that only looks."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from pushsvc.cli.main import cli
from pushsvc.simulator import Simulator
from pushsvc.stream.embedded import EmbeddedValkey
from pushsvc.stream.valkey import Valkey
from tests.valkey_fixture import running_valkey, valkey

__all__ = ["running_valkey", "valkey"]
Run = Callable[..., str]


@pytest.fixture
def environ(tmp_path: Path, running_valkey: EmbeddedValkey, valkey: Valkey) -> dict[str, str]:
    return {"PUSHSVC_DATA": str(tmp_path / "data"), "PUSHSVC_VALKEY_URL": running_valkey.url}


@pytest.fixture
def run(environ: dict[str, str]) -> Run:
    def do(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(cli, arguments, env=environ, catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result.output

    return do


@pytest.mark.parametrize(
    "command", ["app list", "app add x", "device list --app 1 --user a", "credential rotate-keys", "health", "doctor"]
)
def test_a_command_in_the_wrong_place_says_where_it_looked_and_makes_nothing(
    command: str, run: Run, tmp_path: Path
) -> None:
    told = run(*command.split(), code=3 if command.partition(" ")[0] in ("app", "device") else 1)
    assert str(tmp_path / "data") in told
    assert not list(tmp_path.iterdir())


def test_the_cure_names_the_variable(run: Run, tmp_path: Path) -> None:
    told = run("app", "list", code=3)
    assert f"error: store: there is no database {tmp_path}/data/pushsvc.db" in told
    assert "PUSHSVC_DATA" in told


def test_migrate_says_which_store_and_what_it_did_and_the_file_is_private(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "data" / "pushsvc.db"
    assert run("migrate").startswith(f"{path}: tables made; they are of version ")
    assert run("migrate").startswith(f"{path}: nothing to do; they are of version ")
    run("app", "list")
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


def test_a_database_that_was_named_is_not_made_in_a_folder_that_is_not_there(
    run: Run, environ: dict[str, str], tmp_path: Path
) -> None:
    environ["PUSHSVC_DATABASE_URL"] = f"sqlite:///{tmp_path}/nope/x.db"
    told = run("migrate", code=3)
    assert f"the folder {tmp_path}/nope of the database is not there" in told
    assert "PUSHSVC_DATABASE_URL" in told
    assert not list(tmp_path.iterdir())


def key(name: str) -> str:
    return f"{name}:{base64.b64encode(name.encode() * 32).decode()}"


def test_the_key_of_the_file_is_rotated_as_the_page_says(
    run: Run, environ: dict[str, str], tmp_path: Path, simulator: Simulator
) -> None:
    run("migrate")
    run("app", "add", "chat")
    p8 = tmp_path / "AuthKey_ABCDE12345.p8"
    p8.write_bytes(simulator.authority.issue_apns_key("TEAM123456", "ABCDE12345").p8)
    file = tmp_path / "data" / "vault.key"
    file.write_text(key("a") + "\n")
    run("credential", "upload", "--app", "1", str(p8), "--team-id", "TEAM123456")
    assert f"put a new key first in {file}" in run("credential", "rotate-keys")

    file.write_text(f"{key('b')}\n{key('a')}\n")
    assert run("credential", "rotate-keys") == "1 credentials encrypted anew with the key 'b'\n"
    assert run("credential", "rotate-keys") == "0 credentials encrypted anew with the key 'b'\n"
    file.write_text(key("b") + "\n")
    findings = json.loads(run("doctor", "--json", code=1))
    assert [one["level"] for one in findings if one["subject"] == "credential 1"] == ["OK"]

    environ["PUSHSVC_VAULT_KEYS"] = f"{key('c')},{key('b')}"
    told = run("credential", "rotate-keys")
    assert f"warning: the key 'c' is in PUSHSVC_VAULT_KEYS alone: what runs with {file}" in told
    assert "1 credentials encrypted anew" in told
