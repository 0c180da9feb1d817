"""The demo, played: set up over HTTP, events through the stream, and everything that came of them."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from pushsvc.cli.demo import report
from pushsvc.cli.demo.plot import Plot
from pushsvc.cli.demo.scenario import FCM, Case, Expected
from pushsvc.cli.demo.stage import Stage, stage
from pushsvc.domain.device import redacted
from pushsvc.simulator import Simulator

WIDTH = 160
ENDED_S = 90.0  # the longest wait is APNs' first backoff and the shortest-lived certificate, a few seconds each


def run(*, as_json: bool, keep: str | None) -> bool:
    """Plays the demo; True when what arrived and what was recorded is exactly what was expected."""
    talk = _console(as_json)
    began = time.monotonic()
    with (
        _folder(keep) as data,
        Simulator.start() as simulator,
        stage(simulator, data, lambda line: talk.print(f"[dim]{line}[/]")) as running,
    ):
        plot = Plot(simulator)
        apps, tokens = _set_up(plot, running, talk)
        sent = _send(plot, apps, running, data, talk)
        burst = _until_ended(plot.cases, apps, tokens, running)
        talk.print(f"[dim]sending {len(plot.singles)} more, one by one: POST /v1/events[/]")
        singles = [line for case in plot.singles for line in _send_one(case, apps, tokens, running)]
        arrived = [_arrival(request) for request in simulator.requests() if request.site in report.SITES]
    lines = burst + singles
    judged = report.judge([*plot.cases, *plot.singles], arrived, lines)
    summed = report.summary(burst, singles, len(arrived), sent, time.monotonic() - began)
    if as_json:
        print(json.dumps(report.as_json(lines, summed, judged), indent=2, ensure_ascii=False))
    else:
        report.table(lines, talk)
        report.tell(summed, judged, talk)
        if keep:
            talk.print(f"[dim]data and log are kept in {keep}[/]")
    return judged.passed


def _console(as_json: bool) -> Console:
    """As wide as the terminal, or as the table where there is none; standard output is left to the JSON."""
    console = Console(stderr=as_json, highlight=False)
    return console if console.is_terminal else Console(stderr=as_json, highlight=False, width=WIDTH)


@contextmanager
def _folder(keep: str | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="pushsvc-demo-") as made:
            yield Path(made)
    else:
        folder = Path(keep).absolute()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield folder


def _set_up(plot: Plot, running: Stage, talk: Console) -> tuple[dict[str, tuple[int, str]], dict[int, str]]:
    """Makes apps, uploads credentials, registers devices: app name -> (app id, app token), token id -> token."""
    made: dict[str, tuple[int, str]] = {}
    tokens: dict[int, str] = {}
    with httpx.Client(base_url=running.url, timeout=30) as http:
        for app in plot.apps:
            answer = _ok(http.post("/v1/apps", json={"name": app.name}, headers=_bearer(running.admin_key)))
            token = answer["token"]
            made[app.name] = (answer["id"], token)
            if app.settings:
                _ok(http.patch("/v1/settings", json=app.settings, headers=_bearer(token)))
            for name, content, fields in app.uploads:
                found = _ok(
                    http.post("/v1/credentials", files={"file": (name, content)}, data=fields, headers=_bearer(token))
                )
                talk.print(f"[dim]{app.name}: {name}:[/] {found['summary']}", soft_wrap=True)
                for warning in found["warnings"]:
                    talk.print(f"[yellow]{app.name}: {warning}[/]", soft_wrap=True)
            for device in app.devices:
                registered = _ok(http.post("/v1/devices", json=device, headers=_bearer(token)))
                given = {redacted(value): value for name, value in device.items() if name.endswith("_token")}
                tokens |= {one["id"]: given[one["token"]] for one in registered["tokens"]}
    return made, tokens


def _send(plot: Plot, apps: dict[str, tuple[int, str]], running: Stage, data: Path, talk: Console) -> int:
    """Writes the events as JSON Lines and sends them by the command line, through the stream; returns how many."""
    for prepare in plot.before_sending:
        prepare()
    time.sleep(max(0.0, plot.send_after - time.time()))
    file = data / "events.jsonl"
    lines = [json.dumps({"app": apps[case.app][0], **case.event}, ensure_ascii=False) for case in plot.cases]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    talk.print(f"[dim]sending {len(lines)} events: pushsvc event send --file {file.name}[/]")
    argv = [sys.executable, "-m", "pushsvc", "event", "send", "--file", str(file)]
    ended = subprocess.run(argv, env=running.environ, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"pushsvc event send failed ({ended.returncode}): {ended.stderr.strip()[-2000:]}")
    return len(lines)


def _send_one(
    case: Case, apps: dict[str, tuple[int, str]], tokens: dict[int, str], running: Stage
) -> list[report.Line]:
    with httpx.Client(base_url=running.url, timeout=30, headers=_bearer(apps[case.app][1])) as http:
        _ok(http.post("/v1/events", json={**case.event, "sent_at": time.time()}))
    return _until_ended([case], apps, tokens, running)


def _until_ended(
    cases: Sequence[Case], apps: dict[str, tuple[int, str]], tokens: dict[int, str], running: Stage
) -> list[report.Line]:
    """Waits until every event has the outcomes that the plot says, or ENDED_S have passed; what is recorded then."""
    deadline = time.monotonic() + ENDED_S
    with httpx.Client(base_url=running.url, timeout=30) as http:
        open_cases = {case.event["id"]: case for case in cases if case.ends}
        found: dict[str, list[report.Line]] = {}
        while open_cases and time.monotonic() < deadline:
            for event_id, case in list(open_cases.items()):
                answer = http.get(f"/v1/events/{event_id}", headers=_bearer(apps[case.app][1]))
                if answer.status_code == 404:
                    continue
                found[event_id] = [report.line(case, record, tokens) for record in _ok(answer)["records"]]
                if report.ended(case, found[event_id]):
                    del open_cases[event_id]
            time.sleep(0.02 if len(cases) == 1 else 0.2)
    return [line for lines in found.values() for line in lines]


def _arrival(request: Any) -> Expected:
    """What a simulator recorded, in the plot's words."""
    headers = request.headers
    if request.site != FCM:
        priority, kind = headers.get("apns-priority", ""), headers.get("apns-push-type", "")
        reason = "REFUSED_STREAM" if request.fate == "refused" else request.reason
        return Expected(request.site, request.token, kind, request.topic, priority, request.status, reason)
    message = json.loads(request.body)["message"]
    kind = "notification" if "notification" in message else "data"
    through_apns = message.get("apns", {}).get("headers", {}).get("apns-priority", "")
    priority = message.get("android", {}).get("priority", through_apns).lower()
    return Expected(FCM, message["token"], kind, "", priority, request.status, request.reason)


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _ok(answer: httpx.Response) -> dict[str, Any]:
    if answer.status_code >= 300:
        raise RuntimeError(
            f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text[:1000]}"
        )
    body = answer.json()
    assert isinstance(body, dict)
    return body
