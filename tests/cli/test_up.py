"""What keeps `pushsvc up` and `pushsvc api` from starting is told before anything is started."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def taken() -> Iterator[str]:
    """An address that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def ended(*arguments: str, **environ: str) -> tuple[int, str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PUSHSVC_")}
    done = subprocess.run(
        [sys.executable, "-m", "pushsvc", *arguments],
        env=kept | environ, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("command", ["up", "api"])
def test_a_port_in_use_is_told_with_its_variable_and_nothing_is_begun(command: str, taken: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    code, out, err = ended(command, PUSHSVC_DATA=str(data), PUSHSVC_LISTEN=taken)
    assert (code, out) == (2, "")
    assert err == (
        f"error: api: {taken} is in use. Stop what listens there (another pushsvc?), or set PUSHSVC_LISTEN to another "
        "host:port.\n"
    )
    assert not data.exists()


def test_a_metrics_port_that_was_asked_for_and_is_in_use_is_told(taken: str, tmp_path: Path) -> None:
    code, _, err = ended(
        "up", PUSHSVC_DATA=str(tmp_path / "data"), PUSHSVC_LISTEN="127.0.0.1:0", PUSHSVC_METRICS_LISTEN=taken
    )
    assert code == 2
    assert err.startswith(f"error: metrics: {taken} is in use.")
    assert "PUSHSVC_METRICS_LISTEN" in err


def test_an_address_of_another_machine_is_no_place_to_listen_on(tmp_path: Path) -> None:
    code, _, err = ended("api", PUSHSVC_DATA=str(tmp_path / "data"), PUSHSVC_LISTEN="192.0.2.1:8080")
    assert code == 2
    assert err.startswith("error: api: 192.0.2.1:8080 cannot be listened on")


def test_up_does_not_start_on_a_valkey_that_nobody_answers_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    url = f"redis://user:geheim@127.0.0.1:{port}/0"
    code, out, err = ended(
        "up", PUSHSVC_DATA=str(tmp_path / "data"), PUSHSVC_LISTEN="127.0.0.1:0", PUSHSVC_VALKEY_URL=url
    )
    assert (code, out) == (3, "")
    assert err.startswith("error: stream: Valkey cannot be reached")
    assert len(err.splitlines()) == 1
    assert "geheim" not in err
