"""The whole path as processes, accepted and failing, with everything secret unique: then all that was written is read.

Kept by design, and so left out, are exactly these: the device tokens in the table `device_tokens`; events, with texts
and without tokens, in Valkey's append-only file; the keys of the vault in `vault.key`.
"""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from celery import Celery

from pushsvc import bootstrap
from pushsvc.config import Config
from pushsvc.simulator import Simulator
from pushsvc.store.migrate import migrate
from pushsvc.stream import keys
from pushsvc.stream.embedded import EmbeddedValkey
from tests.workers.celery_process import Worker, until
from workers.app import broker_url

BUNDLE, PROJECT = "com.example.chat", "chat-project"
ADMIN_KEY = "admin-key-3f9a1c77"
PASSWORD, WRONG_PASSWORD = "password-of-p12-81c2", "wrong-password-77ab"
TEXTS = {
    part: f"marked-{part}-5d2e"
    for part in ("title", "body", "name", "thread", "key", "value", "apns", "fcm", "bad", "half", "cli", "task")
}
MESSAGE: dict[str, Any] = {
    "from": "bob", "name": TEXTS["name"], "title": TEXTS["title"], "body": TEXTS["body"], "thread": TEXTS["thread"],
    "data": {TEXTS["key"]: TEXTS["value"]},
}  # fmt: skip
BAD: tuple[dict[str, Any], ...] = (  # each has a text where it must not be
    {"user": "ada", "message": {"body": [TEXTS["bad"]]}},
    {"user": "ada", "message": TEXTS["bad"]},
    {"user": "ada", "kind": TEXTS["bad"]},
    {"user": "ada", "priority": TEXTS["bad"]},
    {"user": "ada", "colour": TEXTS["bad"]},
    {"user": ["ada", f"{TEXTS['bad']},"]},
    {"user": "ada", "expiry": TEXTS["bad"]},
    {"user": "ada", "apns": {"payload": TEXTS["bad"]}},
    {"user": "ada", "apns": {"push_type": TEXTS["bad"]}},
    {"user": "ada", "apns": {"payload": {"aps": {"badge": TEXTS["bad"]}}}},
    {"user": "ada", "fcm": {"notification": TEXTS["bad"]}},
    {"user": "ada", "fcm": {"notification": {"title": [TEXTS["bad"]]}}},
    {"user": "ada", "fcm": {"android": {"priority": TEXTS["bad"]}}},
    {"user": "ada", "fcm": {"data": {"x": [TEXTS["bad"]]}}},
)
# A worker in which planning an event for the user 'defect' fails, with the event's text in the exception.
DEFECT = """
from pushsvc.dispatch import plan
from workers.app import app as app

planned = plan.plan

def fails(event, *args, **kwargs):
    if "defect" in event.users:
        raise ValueError(f"cannot plan {event.message.body!r} for {args[1][0].tokens[0].token}")
    return planned(event, *args, **kwargs)

plan.plan = fails
"""


class Stage:
    """Valkey, the API and a Celery worker as processes that log all they can, and what each of them wrote."""

    def __init__(self, folder: Path, simulator: Simulator) -> None:
        self.data, self.simulator = folder / "data", simulator
        self.data.mkdir(mode=0o700)
        ca = folder / "ca.pem"
        ca.write_bytes(simulator.ca_pem)
        (folder / "worker_with_a_defect.py").write_text(DEFECT)
        api, metrics = _free_port(), _free_port()
        self.environ = {
            "PUSHSVC_DATA": str(self.data),
            "PUSHSVC_ADMIN_KEY": ADMIN_KEY,
            "PUSHSVC_LISTEN": f"127.0.0.1:{api}",
            "PUSHSVC_APNS_PRODUCTION": f"127.0.0.1:{simulator.apns_production.port}",
            "PUSHSVC_APNS_SANDBOX": f"127.0.0.1:{simulator.apns_sandbox.port}",
            "PUSHSVC_FCM": f"127.0.0.1:{simulator.fcm.port}",
            "PUSHSVC_OAUTH": f"127.0.0.1:{simulator.oauth.port}",
            "PUSHSVC_PROVIDER_CA": str(ca),
            "PUSHSVC_ANSWER_TIMEOUT_S": "2",
            "PUSHSVC_LOG_LEVEL": "debug",
        }
        self.valkey = EmbeddedValkey(self.data)
        self.valkey.start()
        self.service = bootstrap.build(Config.from_env(self.environ))
        migrate(self.service.database)
        self.api_log = folder / "api.log"
        with self.api_log.open("wb") as out:
            self.api = subprocess.Popen(
                [sys.executable, "-m", "pushsvc", "api"],
                env=_plain() | self.environ,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self.worker = Worker(
            "worker_with_a_defect",
            folder / "worker.log",
            ("--loglevel", "DEBUG"),
            {
                **self.environ,
                "PUSHSVC_LOG_FORMAT": "json",
                "PUSHSVC_METRICS_LISTEN": f"127.0.0.1:{metrics}",
                "PYTHONPATH": str(folder),
            },
        )
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{api}", timeout=30)
        self.metrics_url = f"http://127.0.0.1:{metrics}/metrics"
        self.refusals: list[str] = []  # error answers of the API, as received
        self.commands: list[str] = []  # what the command line wrote
        until(lambda: self._ready(), within_s=40)

    def _ready(self) -> bool:
        try:
            return self.http.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def ask(self, method: str, path: str, bearer: str, status: int, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {bearer}", **more.pop("headers", {})}
        answer = self.http.request(method, path, headers=headers, **more)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        if status >= 400:
            self.refusals.append(answer.text)
        return answer.json() if answer.content else None

    def cli(self, *arguments: str, code: int, stdin: bytes = b"") -> None:
        ended = subprocess.run(
            [sys.executable, "-m", "pushsvc", *arguments],
            env=_plain() | self.environ,
            input=stdin,
            capture_output=True,
            check=False,
        )
        assert ended.returncode == code, ended
        self.commands.append((ended.stdout + ended.stderr).decode())

    def close(self) -> None:
        self.worker.process.terminate()
        self.api.terminate()
        self.worker.wait(30)
        self.api.wait(30)
        self.http.close()
        self.service.close()
        self.valkey.stop()


def _plain() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PUSHSVC_")}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
def stage(tmp_path: Path, simulator: Simulator) -> Iterator[Stage]:
    made = Stage(tmp_path, simulator)
    try:
        yield made
    finally:
        if made.api.poll() is None:
            made.close()


def parts(key: str | bytes) -> set[str]:
    """Lines of a PEM's base64, any of which gives the key away in part."""
    text = key.decode() if isinstance(key, bytes) else key
    return {line for line in text.replace("\\n", "\n").splitlines() if len(line) > 40 and "-----" not in line}


def test_nothing_secret_is_written_anywhere(stage: Stage) -> None:
    simulator = stage.simulator
    certificate = simulator.authority.issue_push_certificate(BUNDLE, "TEAM000001", "multi-topic")
    p12 = certificate.pkcs12(PASSWORD)
    p8 = simulator.authority.issue_apns_key("TEAM000002")
    account = simulator.authority.issue_service_account(PROJECT).as_json()
    app = stage.ask("POST", "/v1/apps", ADMIN_KEY, 201, json={"name": "chat"})
    stage.ask("POST", "/v1/apps", ADMIN_KEY + "x", 401, json={"name": "chat"})
    app_id, token = app["id"], app["token"]

    def ask(method: str, path: str, status: int, **more: Any) -> Any:
        return stage.ask(method, path, token, status, **more)

    def upload(status: int, name: str, content: bytes, **fields: str) -> None:
        ask("POST", "/v1/credentials", status, files={"file": (name, content)}, data=fields)

    # settings and credentials, good and bad
    ask("PATCH", "/v1/settings", 200, json={"background": False, "print_push_logs": True})
    ask("PATCH", "/v1/settings", 400, json={"sound": [token]})
    upload(400, "chat.p12", p12, password=WRONG_PASSWORD)
    upload(400, "chat.p12", p12[:-40], password=PASSWORD)
    upload(400, "chat.p12", p12)
    upload(201, "chat.p12", p12, password=PASSWORD)
    upload(400, "AuthKey_ABC1234567.p8", p8.p8.replace(b"M", b"!"), team_id=p8.team_id)
    upload(400, "AuthKey_ABC1234567.p8", p8.p8, team_id=p8.p8.decode())
    upload(201, f"AuthKey_{p8.key_id}.p8", p8.p8, team_id=p8.team_id, topics="com.example.other")
    upload(400, "chat.json", json.dumps(account).encode()[:-200])
    upload(400, "chat.json", json.dumps({**account, "private_key": account["private_key"][:-300]}).encode())
    upload(400, "chat.json", json.dumps({**account, "type": account["private_key"]}).encode())
    upload(201, "chat.json", json.dumps(account).encode())
    ask("POST", "/v1/credentials", 400, content=p12 + PASSWORD.encode(), headers={"content-type": "text/plain"})

    # devices, good and bad, and tokens that providers refuse
    def apns(home: str = "production", topic: str = BUNDLE) -> str:
        return str(simulator.devices.apns(home, topic).token)

    device_tokens: list[str] = []

    def register(user: str, status: int = 200, **fields: str) -> str:
        given = [value for name, value in fields.items() if name.endswith("_token")]
        device_tokens.extend(given)
        ask("POST", "/v1/devices", status, json={"user": user, "appid": BUNDLE, **fields})
        return given[0]

    ios = {"platform": "ios", "environment": "production"}
    register("ada", **ios, push_token=apns().upper(), voip_token=apns(topic=f"{BUNDLE}.voip"))
    fcm = register("ada", platform="android", fcm_token=str(simulator.devices.fcm(PROJECT, BUNDLE).token))
    register("defect", **ios, push_token=apns())
    register("sandbox", **ios, push_token=apns("sandbox"))
    register("stranger", **ios, push_token="ab" * 28 + "00c0ffee")
    register("gone", **ios, push_token=apns())
    simulator.devices.unregister(device_tokens[-1])
    register("gone", platform="android", fcm_token=str(simulator.devices.fcm(PROJECT, BUNDLE).token))
    simulator.devices.unregister(device_tokens[-1])
    register("other", **{**ios, "appid": "com.example.other"}, push_token=apns(topic="com.example.other"))
    retried = register("retried", **ios, push_token=apns())
    silent = register("silent", **ios, push_token=apns())
    register("ada", 400, platform="ios", environment=fcm, push_token=apns())
    register("ada", 400, platform="ios", push_token=apns())
    register("ada", 400, platform="toaster", push_token=apns())
    ask("POST", "/v1/devices", 400, json={"user": "ada", "tokn": device_tokens[0]})
    ask("POST", "/v1/devices", 400, content=f'{{"user": "ada", "push_token": "{device_tokens[0]}", '.encode())
    ask("POST", "/v1/test-pushes", 400, json={"token": device_tokens[0], "message": TEXTS["bad"]})
    stage.cli("device", "register", "--app", str(app_id), "--user", "ada", "--platform", "ios", "--appid", BUNDLE,
              "--push-token", device_tokens[0], code=1)  # fmt: skip

    # pushes that are accepted, refused, retried, lost
    simulator.faults.add("reason", token=retried, times=1, reason="InternalServerError")
    simulator.faults.add("silence", token=silent)
    users = ["ada", "sandbox", "stranger", "gone", "other", "retried", "silent"]
    over = {"apns": {"payload": {"x": TEXTS["apns"]}}, "fcm": {"data": {"x": TEXTS["fcm"]}}}
    event = {"user": users, "message": MESSAGE, "expiry": 6}
    ask("POST", "/v1/events", 202, json=[{"id": "http", **event, **over}, {"id": "call", **event, "kind": "call"}])
    ask("POST", "/v1/events", 202, json={"id": "defect", "user": "defect", "message": MESSAGE})
    for bad in BAD:
        ask("POST", "/v1/events", 400, json=bad)
        ask("POST", "/v1/events", 400, json=[bad, {"user": "ada"}])
    half = json.dumps({"user": "ada", "message": {"body": TEXTS["half"]}})[:-4]
    ask("POST", "/v1/events", 400, content=half.encode())
    for raw in (*(json.dumps({"app": app_id, **bad}) for bad in BAD), half):
        stage.service.valkey.call("XADD", keys.MESSAGES, "*", "event", raw)
    celery = Celery("elsewhere", broker=broker_url(stage.service.config), set_as_current=False)
    task_event = {"app": app_id, "id": "task", "user": "ada", "message": {**MESSAGE, "body": TEXTS["task"]}}
    celery.send_task("pushsvc.dispatch", args=[[task_event, *({"app": app_id, **bad} for bad in BAD)]], queue="pushsvc")
    celery.send_task("pushsvc.dispach", args=[task_event], queue="pushsvc")
    celery.send_task("pushsvc.dispatch", kwargs={"event": task_event}, queue="pushsvc")
    celery.close()
    cli_event = json.dumps({"id": "cli", "user": "ada", "message": {"body": TEXTS["cli"]}})
    lines = "\n".join([*map(json.dumps, BAD), half, cli_event])
    stage.cli("event", "send", "--app", str(app_id), "--file", "-", code=1, stdin=lines.encode())
    final = ("http", "call", "task", "cli")
    until(lambda: all(_all_final(stage, app_id, event_id) for event_id in final), within_s=40)

    # a provider that is away, and Valkey that is away
    simulator.faults.add("refuse-connections")
    simulator.faults.add("close-after-request", processed=False)  # those that are open
    ask("POST", "/v1/events", 202, json={"id": "away", "user": "ada", "message": MESSAGE, "expiry": 2})
    until(lambda: _all_final(stage, app_id, "away"), within_s=30)
    until(lambda: "defect" in stage.worker.log)
    written = [httpx.get(stage.metrics_url).text, stage.http.get("/metrics").text, stage.http.get("/readyz").text]
    records = [stage.service.journal.of_event(app_id, event_id) for event_id in (*final, "away")]
    stage.valkey.stop()
    ask("POST", "/v1/events", 503, json={"id": "lost", "user": "ada", "message": MESSAGE})
    stage.cli("event", "send", "--app", str(app_id), "--file", "-", code=3, stdin=cli_event.encode())
    until(lambda: "events wait" in stage.worker.log)
    stage.close()

    ends = {(record.outcome.name, record.reason) for found in records for record in found}
    assert {outcome for outcome, _ in ends} >= {"ACCEPTED", "BAD_TOKEN", "PROVIDER"}, ends
    bearers = {
        request.headers["authorization"].split()[1]
        for request in simulator.requests()
        if "authorization" in request.headers
    }
    assert len(bearers) >= 2
    vault_key = next(line for line in (stage.data / "vault.key").read_text().split() if len(line) > 20)
    secrets = {
        "app token": {token},
        "admin key": {ADMIN_KEY},
        "password": {PASSWORD, WRONG_PASSWORD},
        "private key": parts(p8.p8) | parts(account["private_key"]) | {base64.b64encode(p12)[100:160].decode()},
        "bearer": {bearer.removeprefix("Bearer ") for bearer in bearers},
        "vault key": {vault_key.partition(":")[2] or vault_key},
    }
    tokens = {"device token": {form for one in device_tokens for form in (one, one.lower())}}
    texts = {"text": set(TEXTS.values())}
    told = {
        "API's log": stage.api_log.read_text(),
        "worker's log": stage.worker.log,
        "command line": "\n".join(stage.commands),
        "error answers": "\n".join(stage.refusals),
        "metrics and health": "\n".join(written),
        "records": repr(records),
    }
    found = [
        f"{kind} in {place}: …{text[max(0, at - 150) : at + 50]}"
        for place, text in told.items()
        for kind, marks in (secrets | tokens | texts).items()
        for mark in marks
        if (at := text.find(mark)) >= 0
    ]
    found += [f"{kind} in {file}" for file, kind in _in_files(stage.data, secrets, tokens, texts)]
    assert not found, "\n".join(found)
    log = stage.worker.log
    for happened in ("dead letter", "push log", "a push could not be handled", "push bad_token", "refused"):
        assert happened in log, f"the worker's log has no {happened!r}: the test did not take that path"


def _all_final(stage: Stage, app_id: int, event_id: str) -> bool:
    records = stage.service.journal.of_event(app_id, event_id)
    return bool(records) and all(record.outcome.final for record in records)


def _in_files(data: Path, secrets: Any, tokens: Any, texts: Any) -> Iterator[tuple[str, str]]:
    """What lies where it must not, of the files of the data folder, and of the rows of the database."""
    files = [file for file in data.rglob("*") if file.is_file()]
    assert any("appendonly" in str(file) for file in files)
    for file in files:
        content = file.read_bytes()
        looked_for = dict(secrets)
        if file.name == "vault.key":
            del looked_for["vault key"]
        if "appendonlydir" not in file.parts:
            looked_for |= texts
        if not file.name.startswith("pushsvc.db"):
            looked_for |= tokens
        for kind, marks in looked_for.items():
            if any(mark.encode() in content for mark in marks):
                yield str(file.relative_to(data)), kind
    with closing(sqlite3.connect(data / "pushsvc.db")) as database:
        statements = [line for line in database.iterdump() if line.startswith("INSERT INTO")]
    written_to = {statement.split('"')[1] for statement in statements}
    assert {"device_tokens", "credentials", "records", "apps"} <= written_to
    for statement in statements:
        table, text = statement.split('"')[1], re.sub(r"\s", "", statement)
        for kind, marks in (secrets | texts | ({} if table == "device_tokens" else tokens)).items():
            if any(mark in text for mark in marks):
                yield f"table {table}", kind
