"""The demo where its stage cannot be set up: one line, the end of the log, exit code 1, and nothing left running."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pushsvc.cli.demo import stage
from pushsvc.cli.main import cli


def demo_with_workers_that(does: str, keep: Path, monkeypatch: pytest.MonkeyPatch) -> Result:
    monkeypatch.setattr(stage, "command", lambda *_: [sys.executable, "-c", does])
    return CliRunner().invoke(cli, ("demo", "--keep", str(keep)), catch_exceptions=False)


def test_a_process_that_dies_at_its_start_ends_the_demo_at_once_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = time.monotonic()
    says = "import sys; [print('line', n) for n in range(100)]; sys.exit('no luck today')"
    ended = demo_with_workers_that(says, tmp_path, monkeypatch)
    assert ended.exit_code == 1
    assert time.monotonic() - began < stage.READY_S / 2
    *log, error = ended.stderr.splitlines()
    assert error == "error: demo: worker1 did not start (exit code 1). Above is the end of its log."
    assert (log[0], log[-1]) == ("--- worker1.log", "no luck today")
    assert len(log) == 1 + stage.SHOWN_LINES
    assert "starts again" not in ended.output


def test_a_stage_that_is_not_ready_in_time_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "READY_S", 6.0)
    monkeypatch.setattr(stage, "STOP_S", 0.2)
    says = "import time; print('I rest', flush=True); time.sleep(60)"
    ended = demo_with_workers_that(says, tmp_path, monkeypatch)
    assert ended.exit_code == 1
    error = ended.stderr.splitlines()[-1]
    assert error.startswith("error: demo: not ready within 6 s (workers: no worker reads the stream.")
    assert "I rest" in ended.stderr
