"""The paths that the documents print, run as they are printed but for the ports: simulator, service, first push."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.test_children import until

ROOT = Path(__file__).parents[2]
OPERATIONS = (ROOT / "docs/operations.md").read_text()
SIMULATOR, API, METRICS = "9440", "8080", "9401"


def blocks(document: str, heading: str) -> list[str]:
    text = (ROOT / document).read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"```(?:sh)?\n(.*?)```", text, re.DOTALL)


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return str(probe.getsockname()[1])


@contextmanager
def running(script: str, folder: Path, environ: dict[str, str], ready: str) -> Iterator[str]:
    """A script in a shell of its own, until it has said `ready`; what it had printed until then."""
    log = folder / f"{len(list(folder.glob('*.log')))}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["bash", "-euc", script], cwd=folder, env=environ, stdout=output, stderr=subprocess.STDOUT, process_group=0
        )
    try:
        until(lambda: ready in log.read_text() or process.poll() is not None, 60)
        assert process.poll() is None, log.read_text()
        yield log.read_text()
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


@dataclass(frozen=True, slots=True)
class Stand:
    """What the first two terminals run, and the third one."""

    folder: Path
    environ: dict[str, str]
    ports: dict[str, str]
    said: str
    token: str

    def run(self, script: str) -> str:
        for name, port in self.ports.items():
            script = script.replace(name, port)
        done = subprocess.run(
            ["bash", "-euc", script.replace("TOKEN=…", f"TOKEN={self.token}")],
            cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def get(self, name: str, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.ports[name]}{path}", timeout=10)


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    """Simulator and service, started with the blocks of operations.md."""
    ports = {name: free_port() for name in (SIMULATOR, API, METRICS)}
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PUSHSVC_")} | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PUSHSVC_LISTEN": f"127.0.0.1:{ports[API]}",
        "PUSHSVC_METRICS_LISTEN": f"127.0.0.1:{ports[METRICS]}",
    }
    first, second, _ = blocks("docs/operations.md", "Without Apple and Google")
    any_port = "".join(f" --{name}-port 0" for name in ("apns-production", "apns-sandbox", "fcm", "oauth"))
    control = f" --control-port {ports[SIMULATOR]}"
    first = first.replace("pushsvc simulate", f"exec pushsvc simulate{any_port}{control}")
    second = second.replace("simulate --env", f"simulate --env{control}")
    second = second.replace("pushsvc up", "exec pushsvc up --workers 1")
    with (
        running(first, tmp_path, environ, "Ctrl-C stops."),
        running(second, tmp_path, environ, "Ctrl-C stops all") as said,
    ):
        token = re.search(r"app token (\S+)", said)
        assert token
        one = Stand(tmp_path, environ, ports, said, token[1])
        until(lambda: ready(one), 60)
        yield one


def ready(stand: Stand) -> bool:
    try:
        return stand.get(API, "/readyz").status_code == 200
    except httpx.TransportError:
        return False


def answers(printed: str) -> list[dict[str, Any]]:
    """The JSON objects that stand one after the other in what curl printed."""
    found, decoder = [], json.JSONDecoder()
    while printed := printed.lstrip():
        value, end = decoder.raw_decode(printed)
        found.append(value)
        printed = printed[end:]
    return found


def test_the_way_without_apple_and_google_ends_with_three_pushes_on_the_page(stand: Stand) -> None:
    *uploads, alice, bob, _, alert, call, android = answers(
        stand.run(blocks("docs/operations.md", "Without Apple and Google")[2])
    )
    assert [one["kind"] for one in uploads] == ["apns_certificate", "fcm_service_account"]
    assert [one["platform"] for one in (alice, bob)] == ["ios", "android"]
    for told in (alert, call, android):
        assert [push["outcome"] for push in told["pushes"]] == ["accepted"]
    notices = stand.get(SIMULATOR, "/live").json()["notices"]
    assert [notice["look"] for notice in notices[:2]] == ["alert", "call"]
    assert (notices[0]["title"], notices[0]["body"]) == ("Bob", "Are you coming?")
    assert [notice["site"] for notice in notices] == ["apns-production", "apns-production", "fcm"]
    assert f"valkey    unix://{stand.folder}/pushsvc-data/valkey.sock" in stand.said
    assert f"http://127.0.0.1:{stand.ports[METRICS]}/metrics" in stand.said


def test_the_five_minutes_of_the_readme_end_with_a_push_and_metrics_stand_where_the_table_says(stand: Stand) -> None:
    _, script = blocks("README.md", "Your first app, in five minutes")
    script = script.replace("@chat.p12", "@simulator/chat.p12").replace(
        '"push_token": "…"', f'"push_token": "{(stand.folder / "simulator/push.token").read_text()}"'
    )
    first, last = script.split("# 5.")
    credential, device, push, event = answers(stand.run(first))
    assert "valid until" in credential["summary"]
    assert device["tokens"][0]["environment"] == "production"
    assert push["pushes"][0]["outcome"] == "accepted"
    assert event == {"accepted": [{"id": "m-81723", "repeated": False}]}
    head = first.partition("\n\n")[0]
    until(lambda: "records" in stand.run(f"{head}\n#{last}"))
    (told,) = answers(stand.run(f"{head}\n#{last}"))
    assert [record["outcome"] for record in told["records"]] == ["accepted"]

    table = re.findall(r"^\| `(pushsvc_\w+)` \|.*\| ([\w ]+) \|$", OPERATIONS, re.MULTILINE)
    assert {where for _, where in table} == {"workers", "API and workers"}
    shown = {name: stand.get(name, "/metrics").text for name in (API, METRICS)}
    assert re.search(r'^pushsvc_pushes_total\{.*outcome="accepted".*\} 1.0$', shown[METRICS], re.MULTILINE)
    assert "pushsvc_pushes_total{" not in shown[API]
    for name, where in table:
        if where == "API and workers" and name != "pushsvc_certificate_days_left":
            for text in shown.values():
                assert re.search(rf"^{name} \d", text, re.MULTILINE), name


def test_the_curls_of_the_simulators_page_do_what_they_say(stand: Stand) -> None:
    (script,) = blocks("docs/simulator.md", "The control port")
    apns, fcm, dead, certificate, fault, second, listed, off, arrived = answers(stand.run(script))
    assert (apns["state"], fcm["home"], dead["state"]) == ("active", "example-chat", "unregistered")
    assert certificate["p12"]
    assert [fault["kind"], second["kind"]] == [one["kind"] for one in listed["active"]]
    assert (off, arrived["total"]) == ({}, 0)
    assert stand.get(SIMULATOR, "/faults").json()["active"] == []
