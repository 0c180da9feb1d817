"""The commands as an operator types them, over a real Valkey, SQLite and the simulator."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pushsvc.cli.main import cli
from pushsvc.simulator import Simulator
from pushsvc.stream.embedded import EmbeddedValkey
from pushsvc.stream.valkey import Valkey
from tests.valkey_fixture import running_valkey, valkey

__all__ = ["running_valkey", "valkey"]
Run = Callable[..., Any]


@pytest.fixture
def environ(tmp_path: Path, running_valkey: EmbeddedValkey, valkey: Valkey, simulator: Simulator) -> dict[str, str]:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(simulator.ca_pem)
    return {
        "PUSHSVC_DATA": str(tmp_path / "data"),
        "PUSHSVC_VALKEY_URL": running_valkey.url,
        "PUSHSVC_PROVIDER_CA": str(ca),
        "PUSHSVC_APNS_PRODUCTION": f"localhost:{simulator.apns_production.port}",
        "PUSHSVC_APNS_SANDBOX": f"localhost:{simulator.apns_sandbox.port}",
        "PUSHSVC_FCM": f"localhost:{simulator.fcm.port}",
        "PUSHSVC_OAUTH": f"localhost:{simulator.oauth.port}",
    }


@pytest.fixture
def run(environ: dict[str, str]) -> Run:
    """Runs a command; JSON where it was asked for; the exit code has to be `code`."""

    def do(*arguments: str, code: int = 0, stdin: bytes | None = None) -> Any:
        result = CliRunner().invoke(cli, arguments, env=environ, input=stdin, catch_exceptions=False)
        assert result.exit_code == code, result.output
        return json.loads(result.stdout) if "--json" in arguments and not code else result.stdout + result.stderr

    do("migrate")
    return do


@pytest.fixture
def app_id(run: Run) -> str:
    return str(run("app", "add", "chat", "--json")["id"])


@pytest.fixture
def p8(tmp_path: Path, simulator: Simulator) -> Path:
    key = simulator.authority.issue_apns_key("TEAM123456")
    file = tmp_path / f"AuthKey_{key.key_id}.p8"
    file.write_bytes(key.p8)
    return file
