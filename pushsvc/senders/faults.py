"""What libcurl and OpenSSL say, in the words of `Fault`."""

from __future__ import annotations

import re

import pycurl

from pushsvc.domain.push import Fault, TransportFailure

_FAULTS = {
    pycurl.E_COULDNT_RESOLVE_HOST: Fault.DNS,
    pycurl.E_COULDNT_RESOLVE_PROXY: Fault.DNS,
    pycurl.E_COULDNT_CONNECT: Fault.CONNECT,
    pycurl.E_SSL_CONNECT_ERROR: Fault.CONNECT,
    pycurl.E_PEER_FAILED_VERIFICATION: Fault.UNTRUSTED,
    pycurl.E_SSL_ISSUER_ERROR: Fault.UNTRUSTED,
    pycurl.E_SSL_INVALIDCERTSTATUS: Fault.UNTRUSTED,
    pycurl.E_HTTP2: Fault.PROTOCOL,
    pycurl.E_UNSUPPORTED_PROTOCOL: Fault.PROTOCOL,
    pycurl.E_FTP_WEIRD_SERVER_REPLY: Fault.PROTOCOL,  # the number that libcurl calls CURLE_WEIRD_SERVER_REPLY today
}
# Ends of a connection behind which a TLS alert or a GOAWAY may hide that libcurl does not show.
SUDDEN = frozenset(
    (
        pycurl.E_SSL_CONNECT_ERROR,
        pycurl.E_GOT_NOTHING,
        pycurl.E_SEND_ERROR,
        pycurl.E_RECV_ERROR,
        pycurl.E_PARTIAL_FILE,
        pycurl.E_HTTP2,
    )
)
_ALERT = re.compile(r"(?:tlsv1|tlsv13|sslv3)[ _]alert[ _]([a-z _]+)", re.IGNORECASE)
_TUNNEL = re.compile(r"CONNECT tunnel failed, response (\d+)|response (\d+) (?:to|from proxy)")


def failure(number: int, message: str, *, connected: bool) -> TransportFailure:
    """A libcurl error; `connected`: the connection (TLS too) stood when it happened."""
    if alert := alert_in(message):
        return alert
    if number == pycurl.E_OPERATION_TIMEDOUT:
        return TransportFailure(Fault.ANSWER_TIMEOUT if connected else Fault.CONNECT_TIMEOUT, message)
    if number == pycurl.E_PEER_FAILED_VERIFICATION and message == "SSL certificate verification failed":
        # libcurl takes this alert of the server's for a fault of the server's certificate, and words it so.
        return TransportFailure(Fault.TLS_ALERT, "certificate_expired")
    if number in (pycurl.E_SSL_CERTPROBLEM, pycurl.E_BAD_FUNCTION_ARGUMENT):
        # Our own certificate or key cannot be read: no server saw it, but to the operator it is the same fault.
        return TransportFailure(Fault.TLS_ALERT, "bad_certificate")
    if tunnel := _TUNNEL.search(message):
        return TransportFailure(Fault.CONNECT, f"the proxy answered {tunnel[1] or tunnel[2]}")
    return TransportFailure(_FAULTS.get(number, Fault.LOST if connected else Fault.CONNECT), message)


def alert_in(message: str) -> TransportFailure | None:
    """The TLS alert that an OpenSSL message names, as RFC 8446 (section 6) spells it, or None."""
    found = _ALERT.search(message)
    if found is None:
        return None
    name = found[1].strip().lower().replace(" ", "_")
    if name == "no_application_protocol":
        return TransportFailure(Fault.PROTOCOL, "the server does not speak HTTP/2")
    return TransportFailure(Fault.TLS_ALERT, name)
