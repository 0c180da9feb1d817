"""The control port, its client, and the simulator as a process of its own."""

import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import httpx
import jwt
import pytest
from conftest import ALERT, BUNDLE, PROJECT
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12

from pushsvc.simulator import ControlClient, ControlError, Ports, Simulator
from pushsvc.simulator.control import OPERATIONS
from pushsvc.simulator.faults import KINDS
from pushsvc.simulator.starter import lay_out


@pytest.fixture
def control(simulator: Simulator) -> Iterator[ControlClient]:
    with ControlClient(simulator.control_url) as client:
        yield client


def push(control: ControlClient, token: str, body: bytes = ALERT, **headers: str) -> httpx.Response:
    endpoints = control.endpoints()
    key = control.apns_key(team_id="TEAM000001")
    bearer = jwt.encode(
        {"iss": key["team_id"], "iat": int(control.post("/clock", advance_s=0)["now"])},
        key["p8"],
        algorithm="ES256",
        headers={"kid": key["key_id"]},
    )
    sent = {"authorization": f"bearer {bearer}", "apns-topic": BUNDLE, "apns-push-type": "alert"} | headers
    with httpx.Client(http2=True, verify=ssl.create_default_context(cadata=endpoints["ca_pem"])) as http:
        return http.post(f"{endpoints['apns_production']['url']}/3/device/{token}", headers=sent, content=body)


def test_another_process_can_drive_everything(control: ControlClient) -> None:
    token = control.apns_device("production", BUNDLE)
    assert push(control, token).status_code == 200
    fault = control.add_fault("reason", token=token, reason="TooManyRequests", retry_after=5)
    assert push(control, token).json() == {"reason": "TooManyRequests"}
    control.delete("/faults", id=fault)
    assert control.get("/faults")["active"] == []
    control.post("/devices/state", token=token, state="unregistered", since_ms=5)
    assert push(control, token).json() == {"reason": "Unregistered", "timestamp": 5}
    statuses = [request["status"] for request in control.requests(site="apns")]
    assert statuses == [200, 429, 410]
    assert [request["token"] for request in control.requests(status=410)] == [token]
    (device,) = control.get("/devices")["devices"]
    assert device["state"] == "unregistered"
    summary = control.get("/summary")
    assert {"site": "apns-production", "status": 429, "reason": "TooManyRequests", "count": 1} in summary["answers"]
    assert control.get("/connections")["connections"][-1]["jwts"][0]["team_id"] == "TEAM000001"
    control.reset()
    assert (control.requests(), control.get("/devices")["devices"]) == ([], [])


def test_credentials_are_issued_and_revoked(control: ControlClient, simulator: Simulator) -> None:
    p12, serial_number = control.push_certificate(BUNDLE, kind="voip", password="x", encryption="rc2-40")
    assert p12[0] == 0x30
    control.post("/revoke", serial_number=serial_number)
    assert simulator.authority.is_revoked(int(serial_number))
    key = control.apns_key(environment="sandbox", topics=[BUNDLE])
    control.post("/revoke", key_id=key["key_id"])
    assert simulator.authority.apns_keys[key["key_id"]].revoked
    account = control.service_account(PROJECT)
    assert account["token_uri"] == simulator.authority.token_uri
    control.post("/revoke", client_email=account["client_email"])
    assert simulator.authority.service_accounts[account["client_email"]].revoked


def test_figures_projects_and_clock_are_set(control: ControlClient, simulator: Simulator) -> None:
    assert control.post("/policy", streams=7)["streams"] == 7
    control.post("/projects", project_id=PROJECT, apns_credential="invalid", disabled=True)
    assert (simulator.fcm.apns_credentials, simulator.fcm.disabled_projects) == ({PROJECT: "invalid"}, {PROJECT})
    control.post("/projects", project_id=PROJECT, apns_credential=None, disabled=False)
    assert (simulator.fcm.apns_credentials, simulator.fcm.disabled_projects) == ({}, set())
    before = control.post("/clock", advance_s=0)["now"]
    assert control.post("/clock", advance_s=1000)["now"] >= before + 1000
    assert control.post("/journal", counters_only=True) == {"counters_only": True}
    token = control.fcm_device(PROJECT, "com.example.chat", platform="ios")
    assert token in simulator.devices.fcm_tokens
    control.post("/access-tokens/revoke")


def test_a_mistake_is_answered_with_its_cause(control: ControlClient) -> None:
    with pytest.raises(ControlError, match="unknown fault 'explode': use one of"):
        control.add_fault("explode")
    with pytest.raises(ControlError, match="no operation GET /nothing"):
        control.get("/nothing")
    with pytest.raises(ControlError, match="the field 'topics' is missing"):
        control.post("/devices/apns", environment="production")
    with pytest.raises(ControlError, match="the field 'project_id' is missing"):
        control.post("/devices/fcm")
    with pytest.raises(ControlError, match="no field 'projectid': the fields are project_id, package"):
        control.post("/devices/fcm", projectid="x")
    with pytest.raises(ControlError, match="the field 'since' has to be a whole number"):
        control.get("/requests", since="yesterday")
    with pytest.raises(ControlError, match="the field 'token' has to be text"):
        control.post("/devices/state", token=5)
    with pytest.raises(ControlError, match="fault tls-alert has no option 'status': its options are alert"):
        control.add_fault("tls-alert", status=5)
    for body, cause in ((b"[]", "has to be a JSON object"), (b"{", "the body is no JSON")):
        answer = httpx.post(f"{control.endpoints()['control_url']}/reset", content=body)
        assert (answer.status_code, cause in answer.json()["error"]) == (400, True)
    with pytest.raises(ControlError, match="say what to revoke"):
        control.post("/revoke")
    with pytest.raises(ControlError, match="no device has this token"):
        control.post("/devices/state", token="00", state="expired")


def test_help_lists_every_operation_with_its_fields(control: ControlClient) -> None:
    told = {(one["method"], one["path"]): one for one in control.get("/help")["operations"]}
    assert told.keys() == {(operation.method, operation.path) for operation in OPERATIONS}
    fcm = told["POST", "/devices/fcm"]["fields"]
    assert fcm[0] == {"name": "project_id", "kind": "text", "required": True}
    faults = {field["name"] for field in told["POST", "/faults"]["fields"]}
    assert {option for kind in KINDS.values() for option in kind.options} < faults


def test_every_operation_is_described_once() -> None:
    assert len({(operation.method, operation.path) for operation in OPERATIONS}) == len(OPERATIONS)
    assert all(operation.description.endswith(".") for operation in OPERATIONS)


def test_the_page_tells_what_a_phone_would_show(control: ControlClient, simulator: Simulator) -> None:
    token = control.apns_device("production", BUNDLE)
    voip = control.apns_device("production", f"{BUNDLE}.voip")
    alert = {"aps": {"alert": {"title": "Alice", "loc-key": "NEW", "loc-args": ["2"]}, "badge": 3}}
    push(control, token, json.dumps(alert).encode())
    push(control, token, b'{"aps":{"content-available":1}}', **{"apns-push-type": "background", "apns-priority": "5"})
    push(control, voip, b'{"from":"Bob"}', **{"apns-push-type": "voip", "apns-topic": f"{BUNDLE}.voip"})
    push(control, "00" * 32)
    live = control.get("/live")
    shown = [(notice["look"], notice["accepted"], notice["reason"]) for notice in live["notices"]]
    assert shown == [
        ("alert", True, ""),
        ("silent", True, ""),
        ("call", True, ""),
        ("alert", False, "BadDeviceToken"),
    ]
    first = live["notices"][0]
    assert (first["title"], first["body"], first["badge"]) == ("Alice", "NEW (2)", 3)
    assert live["notices"][2]["data"] == {"from": "Bob"}
    assert control.get("/live", since=live["last"])["notices"] == []
    page = httpx.get(f"{simulator.control_url}/")
    assert page.headers["content-type"].startswith("text/html")
    assert "http://" not in page.text.replace("http://www.w3.org", "")
    assert "https://" not in page.text


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_it_runs_as_a_process_until_it_is_told_to_stop(stop: signal.Signals) -> None:
    command = [sys.executable, "-m", "pushsvc.simulator", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
    assert process.stdout is not None
    with process.stdout as out:
        endpoints = json.loads(out.readline())
        with urllib.request.urlopen(endpoints["control_url"] + "/endpoints") as answer:
            assert json.load(answer) == endpoints
        assert Path(endpoints["ca_path"]).read_text() == endpoints["ca_pem"]
        process.send_signal(stop)
        assert process.wait(20) == 0
    assert not Path(endpoints["ca_path"]).exists()


def test_a_port_that_is_taken_is_an_error(simulator: Simulator) -> None:
    taken = Ports(apns_production=int(simulator.control_url.rpartition(":")[2]))
    assert all(field.default == 0 for field in fields(Ports))
    with pytest.raises(OSError, match="in use"):
        Simulator.start(taken)


def test_what_a_folder_keeps_is_good_at_the_next_start(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "simulator"
    names = ("ca.pem", "chat.p12", "AuthKey_SIMULATOR1.p8", "service-account.json", "push.token", "fcm.token")
    kept: list[dict[str, bytes]] = []
    for _ in range(2):
        with Simulator.start(folder=folder) as simulator:
            lay_out(simulator)
            kept.append({name: (folder / name).read_bytes() for name in names})
            first = kept[0]
            assert simulator.devices.find((folder / "voip.token").read_text()) is not None
            key, certificate, _ = pkcs12.load_key_and_certificates(first["chat.p12"], b"secret")
            assert key is not None
            assert certificate is not None
            pem = tmp_path / "client.pem"
            pem.write_bytes(
                certificate.public_bytes(Encoding.PEM)
                + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            )
            by_certificate = ssl.create_default_context(cadata=first["ca.pem"].decode())
            by_certificate.load_cert_chain(pem)
            claims = {"iss": "TEAM000001", "iat": int(time.time())}
            bearer = jwt.encode(
                claims, first["AuthKey_SIMULATOR1.p8"], algorithm="ES256", headers={"kid": "SIMULATOR1"}
            )
            by_key = ssl.create_default_context(cadata=first["ca.pem"].decode())
            url = f"{simulator.apns_production.url}/3/device/{first['push.token'].decode()}"
            sent = {"apns-topic": BUNDLE, "apns-push-type": "alert"}
            with httpx.Client(http2=True, http1=False, verify=by_certificate) as http:
                assert http.post(url, headers=sent, content=ALERT).status_code == 200
            with httpx.Client(http2=True, http1=False, verify=by_key) as http:
                signed = {"authorization": f"bearer {bearer}"}
                assert http.post(url, headers=sent | signed, content=ALERT).status_code == 200
            account = json.loads(first["service-account.json"])
            assert account["client_email"] in simulator.authority.service_accounts
    assert kept[0] == kept[1]
    secret = [path for path in folder.iterdir() if path.name not in ("ca.pem", "clients.pem")]
    assert not [path.name for path in secret if path.stat().st_mode & 0o077]
