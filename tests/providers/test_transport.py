from __future__ import annotations

import pytest

from pushsvc.domain.outcome import Action, Outcome
from pushsvc.domain.push import Fault, TransportFailure
from pushsvc.providers.transport import TRANSPORT_ROWS, read_failure, status_at_deadline

A, R = Action, Outcome


@pytest.mark.parametrize(
    ("alert", "code", "action"),
    [
        ("certificate_expired", 903, A.PAUSE_CREDENTIAL),
        ("certificate_revoked", 904, A.PAUSE_CREDENTIAL),
        ("bad_certificate", 904, A.PAUSE_CREDENTIAL),
        ("unsupported_certificate", 904, A.PAUSE_CREDENTIAL),
        ("certificate_unknown", 904, A.PAUSE_CREDENTIAL),
        ("access_denied", 904, A.PAUSE_CREDENTIAL),
        ("unknown_ca", 904, A.PAUSE_CREDENTIAL),
        ("certificate_required", 904, A.PAUSE_CREDENTIAL),
        ("handshake_failure", 904, A.BACK_OFF_AND_TELL),
        ("internal_error", 904, A.BACK_OFF_AND_TELL),
        ("decrypt_error", 904, A.BACK_OFF_AND_TELL),
        ("user_canceled", None, A.BACK_OFF_AND_TELL),
        ("", None, A.BACK_OFF_AND_TELL),
    ],
)
def test_every_tls_alert_has_its_row(alert: str, code: int | None, action: Action) -> None:
    verdict = read_failure(TransportFailure(Fault.TLS_ALERT, alert))
    assert (verdict.row.outcome.code, verdict.row.action, verdict.row.provider) == (code, action, "tls")
    assert verdict.reason == (alert or "unknown TLS alert")


@pytest.mark.parametrize(
    "spelling", ["SSLV3_ALERT_CERTIFICATE_EXPIRED", "sslv3 alert certificate expired", "certificate-expired"]
)
def test_an_alert_is_known_in_openssls_spellings(spelling: str) -> None:
    assert read_failure(TransportFailure(Fault.TLS_ALERT, spelling)).row.outcome.code == 903


@pytest.mark.parametrize(
    ("fault", "action", "status", "word"),
    [
        (Fault.DNS, A.BACK_OFF, 503, "Unreachable"),
        (Fault.CONNECT, A.BACK_OFF, 503, "Unreachable"),
        (Fault.CONNECT_TIMEOUT, A.BACK_OFF, 504, "Timeout"),
        (Fault.ANSWER_TIMEOUT, A.BACK_OFF, 504, "Timeout"),
        (Fault.LOST, A.RETRY_AT_ONCE, 503, "Unreachable"),
        (Fault.UNPROCESSED, A.RETRY_AT_ONCE, 503, "Unreachable"),
        (Fault.GOAWAY, A.BACK_OFF_AND_TELL, 503, "Unreachable"),
        (Fault.UNTRUSTED, A.BACK_OFF_AND_TELL, 503, "Unreachable"),
        (Fault.PROTOCOL, A.BACK_OFF_AND_TELL, 503, "Unreachable"),
    ],
)
def test_every_fault_is_tried_again_and_blames_no_credential(
    fault: Fault, action: Action, status: int, word: str
) -> None:
    verdict = read_failure(TransportFailure(fault, "somewhere"))
    assert (verdict.row.outcome, verdict.row.action) == (R.PROVIDER, action)
    assert verdict.status is None
    assert verdict.reason == f"{fault.value}: somewhere"
    assert status_at_deadline(verdict.row) == (status, word)


def test_no_fault_is_without_a_row() -> None:
    assert {row.reason for row in TRANSPORT_ROWS} | {"tls_alert"} == {fault.value for fault in Fault}
