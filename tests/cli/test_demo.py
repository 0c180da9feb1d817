"""The demo as anyone runs it: one command, and its own judgement of what arrived."""

import json
import os
import subprocess
import sys

import pytest

from pushsvc.domain.outcome import Outcome


@pytest.mark.timeout(180)
def test_the_demo_passes_and_shows_every_outcome_and_every_code() -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PUSHSVC_")}
    ended = subprocess.run(
        [sys.executable, "-m", "pushsvc", "demo", "--json"], env=environ, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout[:4000] + ended.stderr[-4000:]
    shown = json.loads(ended.stdout)
    assert shown["passed"] is True
    assert not any(shown["judgement"].values())
    records = shown["records"]
    assert {record["outcome"] for record in records} == {outcome.name.lower() for outcome in Outcome}
    assert {record["code"] for record in records} >= {901, 902, 903, 904, 905, 911, 912, 913}
    assert len(records) >= shown["summary"]["events_sent"] >= 100
    assert not any(len(record["token"] or "") > 16 for record in records), "tokens are redacted"
