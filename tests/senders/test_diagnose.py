"""The diagnosis itself: what it reads, what it costs, and what it never writes."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path

import pytest

from pushsvc.domain.push import Fault, Identity, TransportFailure
from pushsvc.senders.diagnose import Diagnoses, examine, reason
from pushsvc.senders.trust import Trust
from pushsvc.simulator import Simulator
from pushsvc.simulator.authority import PushCertificate
from tests.senders.conftest import TOPIC, MakeSender, apns_of, identity_of
from tests.senders.rawserver import RawServer


def look(authority: str, identity: Identity, ca_pem: bytes) -> TransportFailure | None:
    trust = Trust(ca_pem)
    try:
        return examine(authority, identity, trust=trust, proxy="", timeout_s=3.0)
    finally:
        trust.close()


def test_a_healthy_connection_has_nothing_to_find(simulator: Simulator, certificate: PushCertificate) -> None:
    assert look(simulator.apns_production.host, identity_of(certificate), simulator.ca_pem) is None
    assert simulator.requests() == [], "a diagnosis sends no request"


def test_an_alert_and_a_goaway_are_found(simulator: Simulator) -> None:
    revoked = simulator.authority.issue_push_certificate(TOPIC)
    simulator.authority.revoke(revoked)
    development = simulator.authority.issue_push_certificate(TOPIC, kind="development")
    host = simulator.apns_production.host
    assert look(host, identity_of(revoked), simulator.ca_pem) == TransportFailure(
        Fault.TLS_ALERT, "certificate_revoked"
    )
    assert look(host, identity_of(development), simulator.ca_pem) == TransportFailure(
        Fault.GOAWAY, "BadCertificateEnvironment"
    )


def test_a_server_that_is_not_there_leaves_nothing_to_find(simulator: Simulator) -> None:
    simulator.faults.add("reset-connections")
    assert look(simulator.apns_production.host, Identity("any"), simulator.ca_pem) is None
    assert look("nowhere.invalid:443", Identity("any"), simulator.ca_pem) is None


def test_a_server_that_sends_only_goaway_without_a_word_leaves_nothing_to_find(tmp_path: Path) -> None:
    with RawServer(tmp_path, on_connect=lambda conn: conn.goaway(0)) as server:
        assert look(server.authority, Identity("any"), server.ca.certificate_pem) is None


@pytest.mark.parametrize(
    ("debug_data", "word"),
    [
        (b'{"reason":"BadCertificateEnvironment"}', "BadCertificateEnvironment"),
        (b"Maximum active streams violated for this endpoint.", "Maximum active streams violated for this endpoint."),
        (b"[1,2]", "[1,2]"),
        (b'{"other":1}', '{"other":1}'),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"", ""),
        (None, ""),
    ],
)
def test_the_reason_of_a_goaway_is_read(debug_data: bytes | None, word: str) -> None:
    assert reason(debug_data) == word


def test_a_storm_of_failures_costs_one_diagnosis(simulator: Simulator, make: MakeSender, kind: str) -> None:
    development = simulator.authority.issue_push_certificate(TOPIC, kind="development")
    apns = apns_of(simulator, make())
    for _ in range(3):
        apns.push(40, identity_of(development))
    opened = len(simulator.journal.connections)
    before = len(simulator.requests())
    assert opened <= 3 * 2 + 1 if kind == "curl" else opened <= 3 * 40 * 2
    assert before <= 3 * 2 if kind == "curl" else before <= 3 * 40 * 2


def test_a_private_key_is_never_in_a_file_in_clear(
    simulator: Simulator, certificate: PushCertificate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    written: list[bytes] = []
    fdopen = os.fdopen

    def recording(descriptor: int, *args: object, **options: object) -> object:
        file = fdopen(descriptor, *args, **options)  # type: ignore[call-overload]  # passed through as given
        write = file.write

        class Recorder:
            def __enter__(self) -> Recorder:
                return self

            def __exit__(self, *_: object) -> None:
                file.close()

            def write(self, data: bytes) -> None:
                written.append(data)
                write(data)

        return Recorder()

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(os, "fdopen", recording)
    for in_memory in (True, False):
        written.clear()
        if not in_memory:
            monkeypatch.delattr(os, "memfd_create", raising=False)
        trust = Trust(None)
        trust.context(identity_of(certificate))
        trust.close()
        assert any(b"BEGIN ENCRYPTED PRIVATE KEY" in data for data in written)
        assert not any(b"BEGIN PRIVATE KEY" in data or b"BEGIN RSA PRIVATE KEY" in data for data in written)
        assert list(tmp_path.iterdir()) == []


def test_a_diagnosis_is_remembered_for_its_interval_and_forgotten_on_demand() -> None:
    woken = threading.Event()
    diagnoses = Diagnoses(woken.set, interval_s=60)
    found = TransportFailure(Fault.TLS_ALERT, "unknown_ca")
    assert diagnoses.recall("key") is None
    diagnoses.begin("key", lambda: found)
    assert woken.wait(5)
    assert diagnoses.finished() == [("key", found)]
    assert diagnoses.recall("key") == (found,)
    diagnoses.forget("key")
    assert diagnoses.recall("key") is None
    short = Diagnoses(woken.set, interval_s=-1)
    woken.clear()
    short.begin("key", lambda: None)
    assert woken.wait(5)
    assert short.finished() == [("key", None)]
    assert short.recall("key") is None
