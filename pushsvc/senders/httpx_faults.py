"""What an exception of httpx, httpcore, h2 or ssl says of a request: a fault, or that the server never looked at it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import h2.errors
import h2.events
import httpx

from pushsvc.domain.push import Fault, TransportFailure
from pushsvc.senders.diagnose import reason
from pushsvc.senders.faults import alert_in


@dataclass(frozen=True, slots=True)
class Unprocessed:
    """The server has not looked at the request; `refused`: it saw it and said so."""

    refused: bool


class NoHttp2(Exception):
    """The server chose another protocol than h2."""


@dataclass(frozen=True, slots=True)
class Explained:
    """`spent`: the connection takes no further request. `goaway`: the reason that the server gave for closing."""

    answer: TransportFailure | Unprocessed
    spent: bool = True
    goaway: str = ""


def explained(error: Exception, stream: int, connected: bool) -> Explained:
    """`stream` is the request's stream id, 0 while it has none; `connected` tells whether TLS stood."""
    for cause in _chain(error):
        if isinstance(cause, h2.events.StreamReset):
            if cause.error_code == h2.errors.ErrorCodes.REFUSED_STREAM:
                return Explained(Unprocessed(refused=True), spent=False)
            answer = TransportFailure(Fault.LOST, f"the stream was reset with error {cause.error_code}")
            return Explained(answer, spent=False)
        if isinstance(cause, h2.events.ConnectionTerminated):
            said = reason(cause.additional_data)
            if stream > (cause.last_stream_id or 0) or not stream:
                return Explained(Unprocessed(refused=True), goaway=said)
            return Explained(TransportFailure(Fault.LOST, f"GOAWAY {said}".strip()))
    return Explained(_without_word(error, stream, connected))


def _without_word(error: Exception, stream: int, connected: bool) -> TransportFailure | Unprocessed:
    """The server said nothing in HTTP/2."""
    for cause in _chain(error):
        if isinstance(cause, NoHttp2):
            return TransportFailure(Fault.PROTOCOL, "the server does not speak HTTP/2")
        if isinstance(cause, socket.gaierror):
            return TransportFailure(Fault.DNS, cause.strerror or "")
        if isinstance(cause, ssl.SSLCertVerificationError):
            return TransportFailure(Fault.UNTRUSTED, cause.verify_message)
        if isinstance(cause, ssl.SSLError) and (alert := alert_in(str(cause))):
            return alert
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, httpx.ConnectTimeout):
        return TransportFailure(Fault.CONNECT_TIMEOUT)
    if isinstance(error, httpx.ConnectError | httpx.ProxyError) or not connected:
        return TransportFailure(Fault.CONNECT, text)
    return TransportFailure(Fault.LOST, text) if stream else Unprocessed(refused=True)


def _chain(error: BaseException) -> Iterator[object]:
    """The error, what it carries and what it came from."""
    seen: list[BaseException] = []
    todo: list[BaseException] = [error]
    while todo:
        current = todo.pop(0)
        if any(current is other for other in seen):
            continue
        seen.append(current)
        yield current
        yield from current.args
        if isinstance(current, BaseExceptionGroup):
            todo.extend(current.exceptions)
        todo.extend(e for e in (current.__cause__, current.__context__) if e is not None)
