from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pushsvc.cli.failure import Failure, told
from pushsvc.cli.main import COMMANDS, cli
from pushsvc.config import VARIABLES, BadConfig, Config
from pushsvc.domain.outcome import Outcome
from pushsvc.providers import outcome_rows
from pushsvc.simulator import Simulator


def run(*arguments: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli, arguments, env=env, catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "demo"])
def test_a_command_loads_has_help_and_is_listed_under_what_it_does(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.name == name
    assert command.help
    code, out, _ = run(name, "--help")
    assert code == 0
    assert "Usage:" in out
    if isinstance(command, click.Group):
        for sub in command.commands.values():
            assert sub.help, f"{name} {sub.name} has no help"


def test_the_help_lists_every_command_and_the_exit_codes() -> None:
    code, out, _ = run("--help")
    assert code == 0
    for name, (_, text) in COMMANDS.items():
        assert f"  {name}" in out
        assert text.split()[0] in out
    assert "Exit codes" in out


def test_the_help_imports_nothing_heavy() -> None:
    listing = (
        "import sys; from pushsvc.cli.main import cli; cli(['--help'], standalone_mode=False); print(*sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True).stdout
    loaded = set(out.splitlines()[-1].split())
    assert "click" in loaded
    heavy = {
        "celery",
        "cryptography",
        "fastapi",
        "httpx",
        "msgspec",
        "pycurl",
        "redis",
        "rich",
        "sqlalchemy",
        "uvicorn",
    }
    assert not loaded & heavy


def test_a_command_that_does_not_exist_is_answered_with_the_nearest() -> None:
    code, _, err = run("credentials")
    assert code == 2
    assert "Did you mean credential?" in err


def test_an_unknown_variable_ends_every_command_in_one_line() -> None:
    environ = {**os.environ, "PUSHSVC_LISTN": "x"}
    done = subprocess.run(
        [sys.executable, "-m", "pushsvc", "worker"], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith(
        "error: config: PUSHSVC_LISTN is not a variable of pushsvc; did you mean PUSHSVC_LISTEN?"
    )
    assert len(done.stderr.splitlines()) == 1


def test_the_config_is_printed_without_secrets() -> None:
    env = {"PUSHSVC_ADMIN_KEY": "geheim-1234", "PUSHSVC_VALKEY_URL": "redis://u:hunter2@h/0", "PUSHSVC_DRAIN_S": "7"}
    code, out, _ = run("config", "--json", env=env)
    assert code == 0
    rows = {row["name"]: row for row in json.loads(out)}
    assert set(rows) == {variable.name for variable in VARIABLES}
    assert rows["PUSHSVC_DRAIN_S"]["value"] == "7"
    assert rows["PUSHSVC_DRAIN_S"]["source"] == "environment"
    assert rows["PUSHSVC_ADMIN_KEY"]["value"] == "(set)"
    for shown in (out, run("config", env=env)[1]):
        assert "geheim" not in shown
        assert "hunter2" not in shown


def test_a_value_that_cannot_hold_is_named_with_exit_code_2() -> None:
    code, _, err = run("config", env={"PUSHSVC_IN_FLIGHT": "many"})
    assert code == 2
    assert "PUSHSVC_IN_FLIGHT" in err


def test_outcomes_are_printed_as_table_and_as_json() -> None:
    code, out, _ = run("outcomes")
    assert code == 0
    assert "BadDeviceToken" in out
    told = json.loads(run("outcomes", "--json")[1])
    assert {row["outcome"] for row in told["outcomes"]} == {outcome.name.lower() for outcome in Outcome}
    assert len(told["reasons"]) == len(outcome_rows())


def test_the_schema_is_printed_as_json() -> None:
    assert json.loads(run("event", "schema")[1])["title"] == "pushsvc event"


def test_a_defect_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), told():
        raise ZeroDivisionError


def test_an_error_with_cause_and_cure_becomes_one_line() -> None:
    class StoreUnavailable(Exception):
        cause, cure = "the disk is\nfull", "Make room"

    with pytest.raises(Failure) as caught, told():
        raise StoreUnavailable
    assert caught.value.message == "store: the disk is full. Make room."
    assert caught.value.exit_code == 3


def test_a_valkey_that_is_away_is_told_with_exit_code_3(tmp_path: Path) -> None:
    environ = {**os.environ, "PUSHSVC_DATA": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "pushsvc", "dead", "list"], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert done.stderr.startswith("error: stream: Valkey cannot be reached")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("push.example.org", "push.example.org:443"),
        ("https://localhost:40079", "localhost:40079"),
        ("https://localhost:40079/", "localhost:40079"),
        ("https://push.example.org", "push.example.org:443"),
        ("https://[::1]:2197", "[::1]:2197"),
    ],
)
def test_a_provider_may_be_given_as_the_url_that_simulate_prints(given: str, taken: str) -> None:
    for name in ("APNS_PRODUCTION", "APNS_SANDBOX", "FCM", "OAUTH"):
        assert getattr(Config.from_env({f"PUSHSVC_{name}": given}), name.lower()) == taken


@pytest.mark.parametrize("given", ["https://localhost:4/token", "http://localhost:4", "localhost/x", "u:p@localhost:4"])
def test_a_provider_with_a_path_or_another_scheme_is_refused_by_its_name(given: str) -> None:
    with pytest.raises(BadConfig, match=r"PUSHSVC_OAUTH=.*host:port"):
        Config.from_env({"PUSHSVC_OAUTH": given})


def test_the_simulators_variables_are_printed_for_a_shell_and_a_taken_port_is_told() -> None:
    with Simulator.start() as simulator:
        port = simulator.control_url.rpartition(":")[2]
        code, out, _ = run("simulate", "--env", "--control-port", port)
        taken = run("simulate", "--apns-production-port", port)
    assert code == 0
    environ = dict(line.removeprefix("export ").split("=", 1) for line in out.splitlines())
    assert environ["PUSHSVC_FCM"] == simulator.fcm.host
    assert set(environ) < {variable.name for variable in VARIABLES}
    assert taken[0] == 2
    assert taken[2].startswith(f"error: simulator: cannot listen on 127.0.0.1:{port}: Address already in use.")
    code, _, err = run("simulate", "--env", "--control-port", port)
    assert (code, err.startswith(f"error: simulator: none runs at http://127.0.0.1:{port}.")) == (3, True)
