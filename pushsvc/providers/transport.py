"""What TLS and the network say in place of a provider, as rows of the outcome table."""

from __future__ import annotations

from pushsvc.domain.outcome import Action, Outcome, Row
from pushsvc.domain.push import Fault, TransportFailure, Verdict

_TLS_PREFIXES = ("sslv3_alert_", "tlsv1_alert_", "tlsv13_alert_", "ssl_alert_", "alert_")
_NEW_P12 = "Make a new certificate in Apple's developer portal and upload its .p12."

# RFC 8446, section 6.2: the alerts a server sends about a client's certificate, in their own words.
TLS_ROWS = tuple(
    Row("tls", None, alert, outcome, action, cause, cure)
    for alert, outcome, action, cause, cure in (
        (
            "certificate_expired",
            Outcome.CERTIFICATE_EXPIRED,
            Action.PAUSE_CREDENTIAL,
            "The provider closed the connection because the app's certificate has expired.",
            _NEW_P12,
        ),
        (
            "certificate_revoked",
            Outcome.CERTIFICATE_ERROR,
            Action.PAUSE_CREDENTIAL,
            "The app's certificate was revoked in Apple's developer portal.",
            _NEW_P12,
        ),
        (
            "bad_certificate",
            Outcome.CERTIFICATE_ERROR,
            Action.PAUSE_CREDENTIAL,
            "The provider found the app's certificate damaged or wrongly signed.",
            "Export certificate and private key again from the same key chain entry and upload that .p12.",
        ),
        (
            "unsupported_certificate",
            Outcome.CERTIFICATE_ERROR,
            Action.PAUSE_CREDENTIAL,
            "The provider does not take certificates of this type.",
            "Upload an Apple Push Services certificate, not one made for signing or for another service.",
        ),
        (
            "certificate_unknown",
            Outcome.CERTIFICATE_ERROR,
            Action.PAUSE_CREDENTIAL,
            "The provider did not accept the app's certificate and does not say why.",
            _NEW_P12,
        ),
        (
            "access_denied",
            Outcome.CERTIFICATE_ERROR,
            Action.PAUSE_CREDENTIAL,
            "The provider knows the app's certificate and denies it access.",
            "Check in Apple's developer portal that the app id still has push notifications enabled.",
        ),
        (
            "unknown_ca",
            Outcome.CERTIFICATE_ERROR,
            Action.PAUSE_CREDENTIAL,
            "The app's certificate was not issued by an authority that the provider trusts.",
            "Upload a certificate issued by Apple, with its chain.",
        ),
        (
            "certificate_required",
            Outcome.CERTIFICATE_ERROR,
            Action.PAUSE_CREDENTIAL,
            "The provider wants a client certificate and got none.",
            "Upload the app's .p12 again.",
        ),
        (
            "handshake_failure",
            Outcome.CERTIFICATE_ERROR,
            Action.BACK_OFF_AND_TELL,
            "The provider broke off the TLS handshake; with a client certificate its chain is mostly broken.",
            "Export the .p12 again with its chain; if all apps are affected, look at proxies and firewalls on the way.",
        ),
        (
            "internal_error",
            Outcome.CERTIFICATE_ERROR,
            Action.BACK_OFF_AND_TELL,
            "The provider's TLS failed on this connection; with a client certificate that can mean a broken chain.",
            "Wait if all apps are affected; otherwise export the .p12 again with its chain.",
        ),
        (
            "decrypt_error",
            Outcome.CERTIFICATE_ERROR,
            Action.BACK_OFF_AND_TELL,
            "The provider could not verify the signature made with the app's private key.",
            "Export certificate and private key again as one .p12; they may not be a pair.",
        ),
        (
            "unknown TLS alert",
            Outcome.PROVIDER,
            Action.BACK_OFF_AND_TELL,
            "The provider's TLS closed the connection with an alert that is not in this table.",
            "Look at the alert's name beside this row; if it lasts, check proxies and TLS versions on the way.",
        ),
    )
)

TRANSPORT_ROWS = tuple(
    Row("transport", None, fault.value, Outcome.PROVIDER, action, cause, cure)
    for fault, action, cause, cure in (
        (
            Fault.DNS,
            Action.BACK_OFF,
            "The provider's host name did not resolve. At the deadline: 503 Unreachable.",
            "Check the name servers of this machine and the configured host.",
        ),
        (
            Fault.CONNECT,
            Action.BACK_OFF,
            "No connection to the provider: refused or no route. At the deadline: 503 Unreachable.",
            "Check that the firewall lets port 443 (APNs: or 2197) out, and the proxy if one is set.",
        ),
        (
            Fault.CONNECT_TIMEOUT,
            Action.BACK_OFF,
            "The connection to the provider was not up in time. At the deadline: 504 Timeout.",
            "Check the firewall and the network on the way; raise PUSHSVC_CONNECT_TIMEOUT_S on slow lines.",
        ),
        (
            Fault.ANSWER_TIMEOUT,
            Action.BACK_OFF,
            "The push went out and no answer came in time; it may have been delivered. At the deadline: 504 Timeout.",
            "Nothing if it is rare: it is sent again under the same id. Otherwise look at the provider's status page.",
        ),
        (
            Fault.LOST,
            Action.RETRY_AT_ONCE,
            "The connection ended before the answer came; the push may have been delivered. At the deadline: 503 "
            "Unreachable.",
            "Nothing if it is rare: it is sent again under the same id. If it is constant for one app alone, its "
            "certificate is being refused: run pushsvc doctor.",
        ),
        (
            Fault.UNPROCESSED,
            Action.RETRY_AT_ONCE,
            "The provider did not look at the push (stream refused, or connection closing). At the deadline: 503 "
            "Unreachable.",
            "Nothing; it is sent again on another stream or connection.",
        ),
        (
            Fault.GOAWAY,
            Action.BACK_OFF_AND_TELL,
            "The provider closed the connection with a reason of its own. At the deadline: 503 Unreachable.",
            "Read the reason beside this row; if it speaks of limits, run fewer connections or pushes in flight.",
        ),
        (
            Fault.UNTRUSTED,
            Action.BACK_OFF_AND_TELL,
            "The server's certificate is not trusted here; the app's credential is not at fault. At the deadline: 503 "
            "Unreachable.",
            "Renew this machine's CA certificates; behind an inspecting proxy set PUSHSVC_PROVIDER_CA.",
        ),
        (
            Fault.PROTOCOL,
            Action.BACK_OFF_AND_TELL,
            "The far end does not speak HTTP/2 as it should. At the deadline: 503 Unreachable.",
            "Check that the configured host is the provider's, and that no proxy on the way turns HTTP/2 off.",
        ),
    )
)

_TLS = {row.reason: row for row in TLS_ROWS}
_TRANSPORT = {row.reason: row for row in TRANSPORT_ROWS}
_TIMEOUTS = (Fault.CONNECT_TIMEOUT.value, Fault.ANSWER_TIMEOUT.value)


def read_failure(failure: TransportFailure) -> Verdict:
    """What a request that got no answer comes to; the fault's detail is kept beside the reason."""
    if failure.fault is Fault.TLS_ALERT:
        alert = "_".join(failure.detail.lower().replace("-", " ").replace("_", " ").split())
        for prefix in _TLS_PREFIXES:
            alert = alert.removeprefix(prefix)
        return Verdict(_TLS.get(alert) or _TLS["unknown TLS alert"], reason=alert[:200] or "unknown TLS alert")
    row = _TRANSPORT[failure.fault.value]
    return Verdict(row, reason=f"{row.reason}: {failure.detail[:200]}" if failure.detail else row.reason)


def status_at_deadline(row: Row) -> tuple[int, str]:
    """The status and reason of a push that never got an answer: 504 Timeout, else 503 Unreachable."""
    return (504, "Timeout") if row.reason in _TIMEOUTS else (503, "Unreachable")
