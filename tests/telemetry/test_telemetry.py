from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from pushsvc.domain.outcome import Outcome
from pushsvc.domain.record import Record
from pushsvc.telemetry import (
    GAUGES,
    JsonFormatter,
    Look,
    Metrics,
    MetricsServer,
    TextFormatter,
    configure_logging,
    without_secrets,
)

HEX_TOKEN = "A1" * 32
FCM_TOKEN = "dQw4w9WgXcQ:APA91b" + "Hk_-9" * 28
JWT = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJURUFNIn0.c2lnbmF0dXJlLXRoYXQtaXMtbG9uZw"
ACCESS_TOKEN = "ya29." + "a0AfH6SM" * 20
PEM = "-----BEGIN PRIVATE KEY-----\nMIGTAgEAMBMGByqGSM49\n-----END PRIVATE KEY-----"
SECRETS = {
    "a device token": (f"no answer for {HEX_TOKEN}", HEX_TOKEN),
    "a device token in lower case in a path": (f"POST /3/device/{HEX_TOKEN.lower()} died", HEX_TOKEN.lower()),
    "an FCM token": (f"token={FCM_TOKEN}", FCM_TOKEN[20:]),
    "a bearer header": ("authorization: bearer abcdefgh12345678", "abcdefgh12345678"),
    "a JWT": (f"sent {JWT} away", JWT[30:]),
    "an access token": (f'{{"access_token":"{ACCESS_TOKEN}"}}', ACCESS_TOKEN[10:]),
    "a private key": (f"key {PEM}", "MIGTAgEAMBMGByqGSM49"),
    "a private key cut short": (PEM[:48], "MIGTAgEAMBMGBy"),
    "a private key with escaped newlines": (json.dumps(PEM), "MIGTAgEAMBMGByqGSM49"),
    "a password in a URL": ("redis://user:hunter2@valkey:6379/0 is gone", "hunter2"),
}


def record(**changes: object) -> Record:
    given: dict[str, object] = {
        "app_id": 7, "event_id": "e-1", "recipient": "alice", "token_id": 3, "push_id": "p-1",
        "outcome": Outcome.BAD_TOKEN, "response_code": 911, "reason": "BadDeviceToken", "cause": "c", "cure": "u",
        "provider": "apns", "authority": "api.push.apple.com:443", "push_type": "alert", "priority": "10",
        "topic": "com.example", "attempts": 2, "enqueued_at": 100.0, "answered_at": 100.25,
    }  # fmt: skip
    return Record(**(given | changes))  # type: ignore[arg-type]  # one literal, varied


@pytest.fixture
def logs() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    out = io.StringIO()
    yield out
    root.handlers[:] = before
    root.setLevel(level)


@pytest.mark.parametrize(("text", "secret"), SECRETS.values(), ids=SECRETS.keys())
@pytest.mark.parametrize("form", ["json", "text"])
def test_no_secret_reaches_a_log_line(logs: io.StringIO, form: str, text: str, secret: str) -> None:
    configure_logging("debug", form, logs)
    log = logging.getLogger("pushsvc.anything")
    log.info("%s", text)
    log.info("a field", extra={"detail": text, "nested": {"deep": [text]}})
    try:
        raise RuntimeError(text)
    except RuntimeError:
        log.exception("a traceback")
    written = logs.getvalue()
    assert written.count("RuntimeError") >= 1
    assert secret not in written
    assert secret not in json.dumps(written)


def test_what_a_person_needs_survives_the_redaction() -> None:
    text = "event 0c6e5a0e-7a1d-4e0c-9a55-0d6a4a3f9a11 to com.example.chat.voip at api.push.apple.com:443: 410"
    assert without_secrets(text) == text
    assert without_secrets(HEX_TOKEN) == "A1A1A1…A1"


def test_a_settled_push_is_one_line_with_event_and_push_id(logs: io.StringIO) -> None:
    configure_logging("info", "json", logs)
    Metrics().settled(record())
    line = json.loads(logs.getvalue())
    assert (line["event"], line["push"], line["app"], line["code"]) == ("e-1", "p-1", 7, 911)
    assert line["latency_ms"] == 250
    assert line["level"] == "info"
    assert line["ts"].endswith("+00:00")


def test_pushes_are_counted_by_provider_outcome_and_code() -> None:
    metrics = Metrics()
    metrics.settled(record())
    metrics.settled(record())
    metrics.settled(record(outcome=Outcome.ACCEPTED, response_code=None, provider="fcm"))
    metrics.settled(record(outcome=Outcome.NO_DEVICE, response_code=None, provider="", authority=""))
    value = metrics.registry.get_sample_value
    assert value("pushsvc_pushes_total", {"provider": "apns", "outcome": "bad_token", "code": "911"}) == 2
    assert value("pushsvc_pushes_total", {"provider": "fcm", "outcome": "accepted", "code": ""}) == 1
    assert value("pushsvc_push_seconds_sum", {"provider": "apns", "outcome": "bad_token"}) == pytest.approx(0.5)
    assert value("pushsvc_push_seconds_count", {"provider": "", "outcome": "no_device"}) is None


def test_the_operator_is_told_once_an_hour_of_one_subject_of_an_app(logs: io.StringIO) -> None:
    configure_logging("info", "text", logs)
    now = [1000.0]
    metrics = Metrics(clock=lambda: now[0])
    metrics.tell_operator(1, "credential 4 paused", "refused", "replace it")
    metrics.tell_operator(1, "credential 4 paused", "refused", "replace it")
    metrics.tell_operator(2, "credential 4 paused", "refused", "replace it")
    assert logs.getvalue().count("credential 4 paused") == 2
    now[0] += 3601
    metrics.tell_operator(1, "credential 4 paused", "refused", "replace it")
    assert logs.getvalue().count("credential 4 paused") == 3
    assert metrics.registry.get_sample_value("pushsvc_operator_notices_total", {"app": "1"}) == 2


def test_certificates_that_are_gone_leave_the_metrics() -> None:
    metrics = Metrics()
    metrics.certificate_days_left({(1, 1): 10.0, (1, 2): 20.0})
    metrics.certificate_days_left({(1, 2): 19.0})
    days = [line for line in metrics.exposition().decode().splitlines() if "days_left{" in line]
    assert days == ['pushsvc_certificate_days_left{app="1",credential="2"} 19.0']


def test_every_gauge_is_in_the_exposition_under_its_name() -> None:
    metrics = Metrics()
    for name in GAUGES:
        metrics.gauge(name, 3)
    text = metrics.exposition().decode()
    for name in GAUGES:
        assert f"\npushsvc_{name} 3.0\n" in text
    with pytest.raises(KeyError):
        metrics.gauge("made_up", 1)


def test_two_processes_worth_of_metrics_live_in_one_process() -> None:
    one, two = Metrics(), Metrics()
    one.gauge("in_flight", 5)
    assert two.registry.get_sample_value("pushsvc_in_flight") == 0


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_the_metrics_server_answers_its_three_paths_and_turns_unready() -> None:
    metrics = Metrics()
    checks = {"loop": "", "valkey": ""}
    server = MetricsServer(("127.0.0.1", 0), metrics, lambda: Look(checks), lambda: metrics.gauge("in_flight", 9))
    try:
        assert get(server.port, "/healthz") == (200, '{"alive":true}')
        assert get(server.port, "/readyz")[0] == 200
        assert "pushsvc_in_flight 9.0" in get(server.port, "/metrics")[1]
        checks["valkey"] = "connection refused. Start it."
        status, body = get(server.port, "/readyz")
        assert status == 503
        checked = {"loop": "ok", "valkey": "connection refused. Start it."}
        assert json.loads(body) == {"ready": False, "checks": checked, "providers": {}}
        assert get(server.port, "/else")[0] == 404
    finally:
        server.close()


def test_a_check_that_raises_makes_the_worker_unready_and_a_failing_refresh_leaves_the_metrics() -> None:
    def broken() -> Look:
        raise OSError(f"no {HEX_TOKEN}")

    def stale() -> None:
        raise OSError("gone")

    server = MetricsServer(("127.0.0.1", 0), Metrics(), broken, stale)
    try:
        status, body = get(server.port, "/readyz")
        assert status == 503
        assert "OSError" in body
        assert HEX_TOKEN not in body
        assert get(server.port, "/metrics")[0] == 200
    finally:
        server.close()


def test_formatters_keep_percent_signs_of_arguments() -> None:
    line = logging.LogRecord("x", logging.INFO, "f", 1, "%s", ("100%d",), None)
    assert json.loads(JsonFormatter().format(line))["message"] == "100%d"
    assert TextFormatter().format(line).endswith("100%d")


def test_logs_are_text_on_a_terminal_and_json_elsewhere_unless_the_config_says() -> None:
    program = (
        "import logging, sys; from pushsvc.telemetry import configure_logging; configure_logging('info', sys.argv[1]); "
        "logging.getLogger('alembic.runtime.plugins').info('setup plugin'); logging.getLogger('pushsvc').info('hello')"
    )

    def written(form: str, ends: tuple[int, int]) -> str:
        ours, theirs = ends
        subprocess.run([sys.executable, "-c", program, form], stderr=theirs, check=True, timeout=30)
        out = os.read(ours, 65_536).decode()
        os.close(ours)
        os.close(theirs)
        assert "setup plugin" not in out
        return out.rstrip()

    assert written("", os.openpty()).endswith("info    hello")
    assert json.loads(written("json", os.openpty()))["message"] == "hello"
    assert json.loads(written("", os.pipe()))["message"] == "hello"
    assert written("text", os.pipe()).endswith("info    hello")


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()], ids=["json", "text"])
def test_a_traceback_tells_frames_and_types_and_quotes_no_event(formatter: logging.Formatter) -> None:
    def decide(text: str) -> int:
        try:
            return int(text)
        except ValueError as error:
            raise KeyError(text) from error

    try:
        decide("gnimoc"[::-1])
    except KeyError:
        info = sys.exc_info()
    line = formatter.format(logging.LogRecord("x", logging.ERROR, __file__, 1, "failed", (), info))
    for said in ("Traceback", "in decide", "ValueError", "KeyError"):
        assert said in line
    assert "coming" not in line
    assert line.index("ValueError") < line.rindex("KeyError")


def test_a_traceback_says_what_the_system_said() -> None:
    try:
        raise ConnectionRefusedError(111, "Connection refused")
    except OSError:
        info = sys.exc_info()
    line = JsonFormatter().format(logging.LogRecord("x", logging.ERROR, __file__, 1, "failed", (), info))
    assert "Connection refused" in line
