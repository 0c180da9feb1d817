"""The commands over a real Valkey, SQLite and the simulator, as an operator types them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from pushsvc import bootstrap
from pushsvc.api.app import create
from pushsvc.config import Config
from pushsvc.simulator import Simulator
from pushsvc.stream.events import ValkeyStream
from pushsvc.stream.valkey import Valkey

Run = Callable[..., Any]


def test_an_app_is_made_listed_set_switched_and_deleted(run: Run) -> None:
    made = run("app", "add", "chat", "--json")
    name = str(made["id"])
    assert run("app", "list", "--json") == [{"id": made["id"], "name": "chat", "active": True}]
    assert run("app", "settings", "set", name, "background=false", "sound=ping.caf", "--json")["sound"] == "ping.caf"
    assert run("app", "settings", "show", name, "--json")["background"] is False
    assert "error: sond:" in run("app", "settings", "set", name, "sond=x", code=1)
    assert made["token"] not in run("app", "rotate", name)
    run("app", "switch", name, "off")
    assert "off" in run("app", "list")
    run("app", "delete", name, "--yes")
    assert run("app", "list", "--json") == []
    assert "error: app: there is no app" in run("app", "rotate", name, code=1)


def test_a_credential_is_uploaded_paused_resumed_and_deleted(run: Run, app_id: str, p8: Path) -> None:
    upload = ("credential", "upload", "--app", app_id, str(p8))
    assert re.search(r"error: credential \(904\): .*team", run(*upload, code=1))
    stored = run(*upload, "--team-id", "TEAM123456", "--json")
    assert stored["kind"] == "apns_key"
    assert "secret" not in stored
    name = str(stored["id"])
    run("credential", "pause", "--app", app_id, name, "--reason", "holidays")
    assert run("credential", "list", "--app", app_id, "--json")[0]["paused"] == "holidays"
    run("credential", "resume", "--app", app_id, name)
    assert "0 credentials" in run("credential", "rotate-keys")
    run("credential", "delete", "--app", app_id, name)
    assert "has no credential" in run("credential", "list", "--app", app_id)


def test_a_device_is_registered_from_a_file_and_a_test_push_shows_everything(
    run: Run, app_id: str, p8: Path, tmp_path: Path, simulator: Simulator
) -> None:
    device = simulator.devices.apns("production", "com.example.chat")
    file = tmp_path / "token"
    file.write_text(device.token + "\n")
    register = ("device", "register", "--app", app_id, "--user", "alice", "--platform", "ios")
    register += ("--appid", "com.example.chat", "--push-token", f"@{file}")
    assert "error: environment:" in run(*register, code=1)
    (stored,) = run(*register, "--environment", "production", "--json")
    token_id = str(stored["tokens"][0]["id"])

    push = ("push", "test", "--app", app_id, "--token-id", token_id)
    assert "not_configured 901" in run(*push, code=1)
    run("credential", "upload", "--app", app_id, str(p8), "--team-id", "TEAM123456")
    shown = run(*push, "--dry-run")
    assert "(not sent)" in shown
    assert simulator.requests() == []
    (done,) = run(*push, "--json")
    assert (done["outcome"], done["answer"]["status"], done["sent"]) == ("accepted", 200, True)
    assert done["request"]["headers"]["apns-topic"] == "com.example.chat"
    assert done["request"]["headers"]["authorization"] == "…"
    assert device.token not in json.dumps(done) + shown
    assert [request.token for request in simulator.requests()] == [device.token]

    assert "1 removed" in run("device", "remove", "--app", app_id, "--user", "alice", "--token", device.token)
    assert "no device" in run("device", "list", "--app", app_id, "--user", "alice")
    assert "error: user:" in run("push", "test", "--app", app_id, "--user", "alice", code=1)


def test_a_token_that_is_not_registered_is_tested_with_what_has_to_be_known_of_it(
    run: Run, app_id: str, p8: Path, simulator: Simulator
) -> None:
    run("credential", "upload", "--app", app_id, str(p8), "--team-id", "TEAM123456")
    device = simulator.devices.apns("sandbox", "com.example.chat.voip")
    push = ("push", "test", "--app", app_id, "--token", device.token)
    assert "platform and appid" in run(*push, code=1)
    push += ("--platform", "ios", "--appid", "com.example.chat", "--voip")
    assert "error: environment: it is missing, and has no default" in run(*push, code=1)
    (done,) = run(*push, "--environment", "sandbox", "--json")
    assert (done["outcome"], done["request"]["headers"]["apns-push-type"]) == ("accepted", "voip")
    assert "platform and appid" in run(*push[:6], code=1), "nothing was stored"


def test_users_are_added_switched_listed_and_deleted(run: Run, app_id: str) -> None:
    (alice,) = run("user", "add", "--app", app_id, "alice", "--json")
    run("user", "switch", "--app", app_id, "alice", "off")
    assert run("user", "list", "--app", app_id, "--json") == [{**alice, "active": False}]
    run("user", "delete", "--app", app_id, str(alice["uid"]))
    assert "error: user:" in run("user", "delete", "--app", app_id, "alice", code=1)


LINES = (
    b'{"id": "m-1", "user": "alice"}\n\nnonsense\n{"id": "m-2", "user": 7, "kind": "shout"}\n{"id": "m-3", "user": 7}\n'
)


def length(valkey: Valkey) -> int:
    return int(valkey.call("XLEN", "{pushsvc}:messages"))


def test_bad_lines_are_named_and_the_good_ones_are_sent(run: Run, app_id: str, valkey: Valkey) -> None:
    told = run("event", "send", "--app", app_id, "--file", "-", stdin=LINES, code=1)
    assert "error: line 3: it is no JSON" in told
    assert "error: line 4: kind: " in told
    assert "2 sent, 2 bad" in told
    assert length(valkey) == 2
    again = run("event", "send", "--app", app_id, "--file", "-", stdin=LINES, code=1)
    assert "0 sent, 2 taken before, 2 bad" in again
    assert length(valkey) == 2


def test_with_strict_nothing_is_sent_where_a_line_is_bad(run: Run, app_id: str, valkey: Valkey) -> None:
    told = run("event", "send", "--app", app_id, "--file", "-", "--strict", stdin=LINES, code=1)
    assert "0 sent, 2 bad" in told
    assert length(valkey) == 0
    good = b"\n".join(line for line in LINES.splitlines() if b"m-1" in line or b"m-3" in line)
    assert "2 sent" in run("event", "send", "--app", app_id, "--file", "-", "--strict", stdin=good)


def test_a_large_file_goes_in_batches(run: Run, app_id: str, valkey: Valkey, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text("".join(f'{{"id": "m-{n}", "user": {n + 1}}}\n' for n in range(1203)))
    done = run("event", "send", "--app", app_id, "--file", str(file), "--json")
    assert [one["id"] for one in done.pop("accepted")] == [f"m-{n}" for n in range(1203)]
    assert done == {"sent": 1203, "repeated": 0, "bad": []}
    assert length(valkey) == 1203


def test_one_event_is_made_of_options(run: Run, app_id: str, valkey: Valkey) -> None:
    run(
        "event", "send", "--app", app_id, "--user", "alice", "--user", "7", "--from", "bob", "--body", "Hi", "--id", "x"
    )
    ((_, fields),) = valkey.call("XRANGE", "{pushsvc}:messages", "-", "+")
    event = json.loads(fields[b"event"])
    assert (event["user"], event["message"]) == (["alice", 7], {"from": "bob", "body": "Hi"})
    assert "nothing is recorded" in run("event", "show", "x", "--app", app_id, code=1)
    assert "--user" in run("event", "send", "--app", app_id, code=2)


@pytest.fixture
def api(environ: dict[str, str], run: Run) -> Iterator[str]:
    service = bootstrap.build(Config.from_env(environ))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(create(service), log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(20)
    service.close()


def test_events_go_over_http_with_a_token_that_names_the_app(
    run: Run, api: str, valkey: Valkey, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text(run("app", "add", "chat", "--json")["token"])
    send = ("event", "send", "--url", api, "--file", "-")
    assert "2 sent, 2 bad" in run(*send, "--token", f"@{token}", stdin=LINES, code=1)
    assert length(valkey) == 2
    assert "error: api: the app token is unknown." in run(*send, "--token", "wrong", stdin=LINES, code=1)
    away = ("event", "send", "--url", "http://127.0.0.1:1", "--token", "x", "--user", "alice")
    assert "error: api:" in run(*away, code=3)


def test_dead_letters_are_listed_shown_retried_and_dropped(run: Run, app_id: str, valkey: Valkey) -> None:
    event = json.dumps({"app": int(app_id), "id": "m-1", "user": "alice", "sent_at": 1.0})
    for raw in (event, "nonsense"):
        valkey.call("XADD", "{pushsvc}:messages", "*", "event", raw)
    worker = ValkeyStream(valkey, 60, "w")
    for entry in worker.read(10, 0):
        worker.bury(entry, "the worker died of it")
    worker.close()
    bad, good = run("dead", "list", "--json")
    assert bad["reason"] == "the worker died of it"
    assert "nonsense" in run("dead", "show", bad["id"])
    assert "0 on their way" in run("dead", "retry", bad["id"], code=1)
    assert "1 on their way" in run("dead", "retry", good["id"])
    assert length(valkey) == 1
    assert "1 dropped" in run("dead", "drop", "--all")
    assert "no dead letters" in run("dead", "list")
    assert "there is none of this id" in run("dead", "drop", "1-1", code=1)


def findings(run: Run, *more: str, code: int) -> list[dict[str, str]]:
    told: list[dict[str, str]] = json.loads(run("doctor", "--json", *more, code=code))
    return told


def test_the_doctor_finds_what_is_missing_and_nothing_when_all_is_there(
    run: Run, app_id: str, p8: Path, valkey: Valkey
) -> None:
    sick = {one["subject"]: one for one in findings(run, code=1)}
    assert sick["workers"]["level"] == "FAIL"
    assert sick[f"app {app_id}"]["level"] == "WARN"
    assert all(one["cure"] for one in sick.values() if one["level"] != "OK")
    run("credential", "upload", "--app", app_id, str(p8), "--team-id", "TEAM123456")
    worker = ValkeyStream(valkey, 60, "w")
    worker.read(1, 0)
    try:
        told = run("doctor", "--network")
    finally:
        worker.close()
    assert "0 warnings, 0 failures" in told, told
    assert told.count("HTTP/2") >= 4


def test_the_doctor_finds_a_paused_credential_another_vault_key_and_an_evicting_valkey(
    run: Run, app_id: str, p8: Path, valkey: Valkey, environ: dict[str, str]
) -> None:
    stored = run("credential", "upload", "--app", app_id, str(p8), "--team-id", "TEAM123456", "--json")
    run("credential", "pause", "--app", app_id, str(stored["id"]), "--reason", "holidays")
    valkey.call("CONFIG SET", "maxmemory-policy", "allkeys-lru")
    try:
        told = run("doctor", code=1)
    finally:
        valkey.call("CONFIG SET", "maxmemory-policy", "noeviction")
    assert "is paused: holidays" in told
    assert "maxmemory-policy is allkeys-lru" in told
    environ["PUSHSVC_VAULT_KEYS"] = "other:" + "A" * 43 + "="
    name = f"credential {stored['id']}"
    assert {one["subject"]: one for one in findings(run, code=1)}[name]["level"] == "FAIL"


def test_the_doctor_goes_on_where_valkey_store_and_config_are_away(run: Run, environ: dict[str, str]) -> None:
    environ["PUSHSVC_VALKEY_URL"] = "redis://127.0.0.1:1"
    environ["PUSHSVC_DATABASE_URL"] = f"sqlite:///{environ['PUSHSVC_DATA']}/none.db"
    failed = {one["subject"] for one in findings(run, code=1) if one["level"] == "FAIL"}
    assert failed >= {"valkey", "store"}
    assert "valkey" in run("health", code=1)
    environ["PUSHSVC_SENDER"] = "pigeon"
    assert findings(run, code=1)[0]["subject"] == "config"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_up_runs_everything_says_the_token_once_and_leaves_nothing_behind(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{(port := free_port())}"
    environ = {**os.environ, "PUSHSVC_DATA": str(tmp_path / "data"), "PUSHSVC_LISTEN": f"127.0.0.1:{port}"}

    def start() -> tuple[subprocess.Popen[str], str]:
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "pushsvc", "up", "--workers", "1"],
                env=environ, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        assert process.stdout is not None
        said = ""
        while "Ctrl-C stops all" not in said:
            line = process.stdout.readline()
            assert line, (tmp_path / "log").read_text()
            said += line
        deadline = time.monotonic() + 60
        while True:
            try:
                if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                    return process, said
            except httpx.TransportError:
                pass
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.1)

    process, said = start()
    try:
        token = re.search(r"app token (\S+)", said)
        assert token
        headers = {"Authorization": f"Bearer {token[1]}"}
        assert httpx.post(f"{url}/v1/events", json={"id": "m-1", "user": "alice"}, headers=headers).status_code == 202
        deadline = time.monotonic() + 30
        while httpx.get(f"{url}/v1/events/m-1", headers=headers).status_code == 404:
            assert time.monotonic() < deadline, "the worker did not take the event"
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 0
        assert not of_folder(tmp_path)
        assert token[1] not in (tmp_path / "log").read_text()
        process, said = start()
        assert "app token" not in said
        assert "pushsvc app rotate 1" in said
        assert httpx.get(f"{url}/v1/events/m-1", headers=headers).status_code == 200
        process.kill()
        process.communicate()
        deadline = time.monotonic() + 60
        while of_folder(tmp_path):
            assert time.monotonic() < deadline, "children outlived pushsvc up"
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()


def of_folder(folder: Path) -> list[str]:
    """Processes whose environment or command line names the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                told = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
                alive = (entry / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
            except OSError:
                continue
            if alive and str(folder).encode() in told:
                found.append(entry.name)
    return found
