"""Clients that others wrote find the servers to be what the contracts say: nghttp, h2load, firebase-admin, node-apn."""

import asyncio
import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import firebase_admin
import pytest
from conftest import ALERT, BUNDLE, PROJECT, TEAM, provider_token
from firebase_admin import credentials, exceptions, messaging
from google.auth.exceptions import RefreshError

from pushsvc.simulator import Simulator
from pushsvc.simulator.authority import ServiceAccount
from pushsvc.simulator.devices import make_fcm_token

# The library asks for installation ids, and most of the world still has tokens.
pytestmark = pytest.mark.filterwarnings("ignore:Message.token is deprecated:DeprecationWarning")

NODE_APN = "@parse/node-apn@7.1.0"


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    return found


# -- nghttp2 ---------------------------------------------------------------------------------------------------------


def test_nghttp_sees_a_correct_http_2_server(simulator: Simulator, tmp_path: Path) -> None:
    token = simulator.devices.apns("production", BUNDLE).token
    body = tmp_path / "body"
    body.write_bytes(ALERT)
    certificate = simulator.authority.issue_push_certificate(BUNDLE)
    (tmp_path / "cert.pem").write_bytes(certificate.certificate_pem)
    (tmp_path / "key.pem").write_bytes(certificate.key_pem)
    identity = [f"--cert={tmp_path}/cert.pem", f"--key={tmp_path}/key.pem"]
    url = f"{simulator.apns_production.url}/3/device/{token}"
    command = [tool("nghttp"), "-vn", "--no-dep", "-m3", "-d", str(body), *identity, "-H", f"apns-topic: {BUNDLE}", url]
    seen = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert seen.returncode == 0
    assert "The negotiated protocol: h2" in seen.stdout
    limits = re.findall(r"recv SETTINGS frame.*?MAX_CONCURRENT_STREAMS\(0x03\):(\d+)", seen.stdout, re.DOTALL)
    assert limits == ["1000"]
    assert seen.stdout.count(":status: 200") == 3
    assert not re.search("RST_STREAM|_ERROR\\(0x0[1-9]|recv GOAWAY", seen.stdout)


@pytest.mark.parametrize("streams", [1, 100])
def test_h2load_gets_every_answer(streams: int, simulator: Simulator, tmp_path: Path) -> None:
    token = simulator.devices.apns("production", BUNDLE).token
    body = tmp_path / "body"
    body.write_bytes(ALERT)
    simulator.policy.set("streams", streams)
    bearer = provider_token(simulator.authority.issue_apns_key(TEAM))
    headers = ["-H", f"apns-topic: {BUNDLE}", "-H", f"authorization: bearer {bearer}", "-H", "apns-push-type: alert"]
    url = f"{simulator.apns_production.url}/3/device/{token}"
    command = [tool("h2load"), "-n", "2000", "-c", "2", "-m", str(streams), "-d", str(body), *headers, url]
    seen = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
    # What a client sends before it knows the first limit is refused, and may be sent again; nothing else is.
    refused = len(simulator.requests(fate="refused"))
    assert refused <= 2 * (streams - 1)
    assert f"{2000 - refused} succeeded, {refused} failed" in seen
    assert f"status codes: {2000 - refused} 2xx, 0 3xx, 0 4xx, 0 5xx" in seen
    assert len(simulator.requests(status=200)) == 2000 - refused


def test_h2load_gets_every_error_body(simulator: Simulator, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(ALERT)
    url = f"{simulator.fcm.url}/v1/projects/{PROJECT}/messages:send"
    command = [tool("h2load"), "-n", "3000", "-c", "2", "-m", "50", "-d", str(body), url]
    seen = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
    assert "status codes: 0 2xx, 0 3xx, 3000 4xx, 0 5xx" in seen
    assert "0 errored, 0 timeout" in seen


# -- firebase-admin --------------------------------------------------------------------------------------------------


@pytest.fixture
def firebase_app(
    simulator: Simulator, account: ServiceAccount, monkeypatch: pytest.MonkeyPatch
) -> Iterator[firebase_admin.App]:
    """Google's own library, told only where the servers are and whom to trust."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(simulator.authority.ca_path))
    monkeypatch.setenv("SSL_CERT_FILE", str(simulator.authority.ca_path))
    url = simulator.fcm.url + "/v1/projects/{0}/messages:send"
    monkeypatch.setattr(messaging._MessagingService, "FCM_URL", url)
    app = firebase_admin.initialize_app(credentials.Certificate(account.as_json()), name="witness")
    yield app
    firebase_admin.delete_app(app)


def test_firebase_admin_sends(firebase_app: firebase_admin.App, simulator: Simulator) -> None:
    token = simulator.devices.fcm(PROJECT).token
    message = messaging.Message(
        token=token,
        data={"id": "1"},
        notification=messaging.Notification(title="Alice", body="Hello"),
        android=messaging.AndroidConfig(priority="high", ttl=30, collapse_key="talk"),
        apns=messaging.APNSConfig(
            headers={"apns-priority": "10"},
            payload=messaging.APNSPayload(aps=messaging.Aps(alert="Hello", badge=1, thread_id="talk")),
        ),
    )
    name = messaging.send(message, app=firebase_app)
    assert re.fullmatch(rf"projects/{PROJECT}/messages/0:\d+%[0-9a-f]+", name)
    assert messaging.send(message, dry_run=True, app=firebase_app).endswith("/fake_message_id")
    assert [arrival.accepted for arrival in simulator.requests("fcm")] == [True, False]
    assert len(simulator.requests("oauth")) == 1


def test_firebase_admin_recognises_the_refusals(firebase_app: firebase_admin.App, simulator: Simulator) -> None:
    devices = simulator.devices
    gone = devices.fcm(PROJECT).token
    devices.unregister(gone)
    simulator.fcm.set_apns_credential(PROJECT, "invalid")
    busy = devices.fcm(PROJECT, per_minute=0).token
    cases: list[tuple[str, dict[str, str], type[Exception]]] = [
        (gone, {}, messaging.UnregisteredError),
        (make_fcm_token(), {}, messaging.UnregisteredError),
        ("short", {}, exceptions.InvalidArgumentError),
        (devices.fcm(PROJECT).token, {"from": "x"}, exceptions.InvalidArgumentError),
        (devices.fcm(PROJECT).token, {"k": "x" * 5000}, exceptions.InvalidArgumentError),
        (devices.fcm("another").token, {}, messaging.SenderIdMismatchError),
        (devices.fcm(PROJECT, platform="ios").token, {}, messaging.ThirdPartyAuthError),
        (busy, {}, messaging.QuotaExceededError),
    ]
    for token, data, expected in cases:
        with pytest.raises(expected):
            messaging.send(messaging.Message(token=token, data=data), app=firebase_app)


def test_firebase_admin_renews_its_access_token(firebase_app: firebase_admin.App, simulator: Simulator) -> None:
    message = messaging.Message(token=simulator.devices.fcm(PROJECT).token)
    messaging.send(message, app=firebase_app)
    simulator.oauth.revoke_access_tokens()
    messaging.send(message, app=firebase_app)
    assert len(simulator.requests("oauth")) == 2
    assert [arrival.status for arrival in simulator.requests("fcm")] == [200, 401, 200]


def test_firebase_admin_sends_many_over_http_2(firebase_app: firebase_admin.App, simulator: Simulator) -> None:
    good, gone = simulator.devices.fcm(PROJECT).token, make_fcm_token()
    messages = [messaging.Message(token=token) for token in (good, gone) * 10]

    async def send() -> messaging.BatchResponse:
        try:
            return await messaging.send_each_async(messages, app=firebase_app)
        finally:
            # The library keeps its connection for a loop that ends here.
            await messaging._get_messaging_service(firebase_app)._async_client.aclose()

    batch = asyncio.run(send())
    assert (batch.success_count, batch.failure_count) == (10, 10)
    assert {arrival.connection.alpn for arrival in simulator.requests("fcm")} == {"h2"}


def test_firebase_admin_is_refused_by_oauth_when_its_account_is_revoked(
    firebase_app: firebase_admin.App, simulator: Simulator
) -> None:
    simulator.faults.add("reason", site="oauth", reason="invalid_grant", times=1)
    with pytest.raises(RefreshError, match="invalid_grant"):
        messaging.send(messaging.Message(token=simulator.devices.fcm(PROJECT).token), app=firebase_app)


# -- node-apn --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def node_apn(request: pytest.FixtureRequest) -> Path:
    """The library's folder; installed once and kept in pytest's cache."""
    npm = tool("npm")
    tool("node")
    folder = request.config.cache.mkdir("node-apn")
    library = folder / "node_modules" / "@parse" / "node-apn"
    if not library.is_dir():
        command = [npm, "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(folder), NODE_APN]
        installed = subprocess.run(command, capture_output=True, text=True, timeout=100)
        if installed.returncode != 0:
            if os.environ.get("CI") == "true":
                pytest.fail(f"npm could not install {NODE_APN}: {installed.stderr}")
            pytest.skip(f"npm could not install {NODE_APN}")
    return library


def run_node_apn(library: Path, simulator: Simulator, work: list[dict[str, Any]]) -> list[dict[str, Any]]:
    script = Path(__file__).with_name("node_apn.cjs")
    environment = os.environ | {"NODE_EXTRA_CA_CERTS": str(simulator.authority.ca_path)}
    command = [tool("node"), str(script), str(library)]
    done = subprocess.run(command, input=json.dumps(work), capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 0, done.stderr
    results: list[dict[str, Any]] = json.loads(done.stdout)
    return results


def where(simulator: Simulator, environment: str = "production") -> dict[str, Any]:
    site = simulator.apns_production if environment == "production" else simulator.apns_sandbox
    return {"address": "localhost", "port": site.port, "requestTimeout": 5000, "connectionRetryLimit": 1}


def push(token: str, times: int = 1, **note: Any) -> dict[str, Any]:
    return {"token": token, "times": times, "note": {"topic": BUNDLE, "pushType": "alert", "alert": "Hello"} | note}


def test_node_apn_sends_with_a_key_and_reads_the_refusals(simulator: Simulator, node_apn: Path) -> None:
    key, devices = simulator.authority.issue_apns_key(TEAM), simulator.devices
    good, gone, other = (devices.apns("production", BUNDLE).token for _ in range(3))
    sandbox = devices.apns("sandbox", BUNDLE).token
    voip = devices.apns("production", f"{BUNDLE}.voip").token
    devices.unregister(gone, since_ms=1_700_000_000_000)
    simulator.faults.add("reason", token=other, reason="TooManyRequests")
    provider = where(simulator) | {"token": {"key": key.p8.decode(), "keyId": key.key_id, "teamId": TEAM}}
    pushes = [
        push(good),
        push(good, 50),
        push(voip, topic=f"{BUNDLE}.voip", pushType="voip"),
        push(gone),
        push(sandbox),
        push(good, topic="com.example.other"),
        push(good, body="x" * 5000),
        push(good, collapseId="c" * 65),
        push(other),
    ]
    results = run_node_apn(node_apn, simulator, [{"provider": provider, "pushes": pushes}])
    assert [result["sent"] for result in results] == [1, 50, 1, 0, 0, 0, 0, 0, 0]
    failed = [result["failed"][0] for result in results[3:]]
    assert [(one["status"], one["response"]["reason"]) for one in failed] == [
        (410, "Unregistered"),
        (400, "BadDeviceToken"),
        (400, "DeviceTokenNotForTopic"),
        (413, "PayloadTooLarge"),
        (400, "BadCollapseId"),
        (429, "TooManyRequests"),
    ]
    assert failed[0]["response"]["timestamp"] == 1_700_000_000_000
    assert len(simulator.requests(status=200)) == 52


@pytest.mark.parametrize("encryption", ["aes", "3des"])
def test_node_apn_sends_with_a_p12(encryption: str, simulator: Simulator, node_apn: Path) -> None:
    certificate = simulator.authority.issue_push_certificate(BUNDLE, kind="multi-topic")
    p12 = certificate.pkcs12("secret", encryption)
    token = simulator.devices.apns("sandbox", BUNDLE).token
    provider = where(simulator, "sandbox") | {"pfxData": base64.b64encode(p12).decode(), "passphrase": "secret"}
    (result,) = run_node_apn(node_apn, simulator, [{"provider": provider, "pushes": [push(token)]}])
    assert result == {"sent": 1, "failed": []}
    assert simulator.requests()[0].connection.certificate == f"Apple Push Services: {BUNDLE}"


def test_node_apn_with_bad_credentials(simulator: Simulator, node_apn: Path) -> None:
    token = simulator.devices.apns("production", BUNDLE).token
    key, other = simulator.authority.issue_apns_key(TEAM), simulator.authority.issue_apns_key(TEAM)
    wrong_key = where(simulator) | {"token": {"key": other.p8.decode(), "keyId": key.key_id, "teamId": TEAM}}
    revoked = simulator.authority.issue_push_certificate(BUNDLE)
    simulator.authority.revoke(revoked)
    development = simulator.authority.issue_push_certificate(BUNDLE, kind="development")
    work = [{"provider": wrong_key, "pushes": [push(token)]}]
    for certificate in (revoked, development):
        pem = {"cert": certificate.certificate_pem.decode(), "key": certificate.key_pem.decode()}
        work.append({"provider": where(simulator) | pem, "pushes": [push(token)]})
    results = run_node_apn(node_apn, simulator, work)
    assert [result["sent"] for result in results] == [0, 0, 0]
    assert results[0]["failed"][0]["response"]["reason"] == "InvalidProviderToken"
    assert results[1]["failed"][0]["error"]
    assert simulator.requests(status=200) == []
