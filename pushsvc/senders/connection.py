"""One HTTP/2 connection on libcurl: a CurlMulti that is kept from ever opening a second one.

libcurl resends by itself what a dead connection took along, and spreads over new connections what has no room. We want
to decide both, since only we know that a push may not go out twice and that a fresh connection takes one request first:

- Once the connection stands, every further socket that libcurl asks for is refused (`_socket`). A request that comes
  back with E_ABORTED_BY_CALLBACK is thereby known to be unprocessed: it found no free stream, or
  the server refused its stream (REFUSED_STREAM, or beyond the last stream id of a GOAWAY).
- Curl_retry_request in libcurl resends what was on a connection that died, unless the request is marked as RTSP's
  RECEIVE, which has no other effect on HTTP. So whatever may have been processed comes back as an error, unsent.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any

import pycurl

from pushsvc.domain.push import Answer, Fault, Identity, PushRequest, PushResponse, TransportFailure
from pushsvc.senders.faults import SUDDEN, failure

_FIRST_STREAMS = 100  # until SETTINGS and answers show more: what RFC 9113 (6.5.2) asks of every server
_SETTINGS_S = 0.5  # without an answer: by then the server's SETTINGS are here, and libcurl knows its limit
_BEARER_REFUSED = frozenset((401, 403, 429))
# Looked up once, for the hot path.
_URL, _HTTPHEADER, _POSTFIELDS, _STATUS = pycurl.URL, pycurl.HTTPHEADER, pycurl.POSTFIELDS, pycurl.RESPONSE_CODE
_KEEPALIVE_IDLE_S = 60  # below the few minutes after which NAT tables and load balancers forget a silent connection
_KEPT_IDLE_S = 86_400  # Apple: keep connections open, for hours or days


@dataclass(frozen=True, slots=True)
class Settings:
    """What every connection of a sender shares."""

    max_streams: int  # on one connection, whatever the server would allow
    connect_timeout_s: float
    answer_timeout_s: float
    ca_file: str
    proxy: str


class Flight:
    """A submitted request on its way; `tries` counts how often a server has refused it unprocessed."""

    __slots__ = ("request", "since", "tag", "tries")

    def __init__(self, tag: object, request: PushRequest) -> None:
        self.tag = tag
        self.request = request
        self.since = time.monotonic()
        self.tries = 0


@dataclass(frozen=True, slots=True)
class Unprocessed:
    """The server did not look at the request; `tried`: because it refused it or closed, not for want of a stream."""

    tried: bool


class Connection:
    """Opens with one request; takes more while `room`; `run` yields each started request once.

    `watch(connection, fd, events)` tells which socket to wait on, with libcurl's POLL_* values; `due` is when to call
    `run` without one (time.monotonic).
    """

    def __init__(
        self,
        settings: Settings,
        identity: Identity,
        authority: str,
        watch: Callable[[Connection, int, int], None],
    ) -> None:
        self.due = inf
        self.born = time.monotonic()
        self.flying = 0
        self.answered = 0
        self.established = False  # TLS stands
        self.proven = False  # others may follow the first request: its answer is here, and the SETTINGS with it
        self.retired = False  # takes no further request
        self.sudden = False  # broke off in a way that may hide the server's reason
        self._parked = False  # has fewer streams than it had: waits until it is empty
        self._window = min(_FIRST_STREAMS, settings.max_streams)
        self._refused_at = 0  # requests in flight when the last one found no room; 0: never
        self._since_growth = 0
        self._last_answer = self.born
        self._stands_since = self.born
        self._settings = settings
        self._identity = identity
        self._base = f"https://{authority}"
        self._free: list[Any] = []
        self._all: set[Any] = set()
        self._watch = watch
        self._watched: set[int] = set()
        self._closed = False
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAX_CONCURRENT_STREAMS, settings.max_streams)
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_socket)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)

    @property
    def leaving(self) -> bool:
        """Takes nothing now, so that another connection may be opened in its place."""
        return self.retired or self._parked

    @property
    def room(self) -> bool:
        if self.retired or self._parked:
            return False
        if self.proven:
            return self.flying < self._window
        if self.established and not self._identity.one_first and time.monotonic() - self._stands_since > _SETTINGS_S:
            self.proven = True
            return self.flying < self._window
        return self.flying == 0

    @property
    def full(self) -> bool:
        """The server allows no more streams; `room` may also be missing because nothing has shown yet that it does."""
        return self.flying >= self._window and (self._refused_at > 0 or self._window == self._settings.max_streams)

    def start(self, flight: Flight) -> None:
        """Gives the request to libcurl; the caller has asked `room`."""
        easy = self._free.pop() if self._free else self._handle()
        request = flight.request
        easy.flight = flight
        setopt = easy.setopt
        setopt(_URL, self._base + request.path)
        setopt(_HTTPHEADER, _header_lines(request.headers))
        setopt(_POSTFIELDS, request.body)
        self._multi.add_handle(easy)
        self.flying += 1

    def run(
        self,
        done: list[tuple[object, Answer]],
        descriptor: int = pycurl.SOCKET_TIMEOUT,
        events: int = 0,
    ) -> list[tuple[Flight, TransportFailure | Unprocessed]]:
        """Lets libcurl work: appends (tag, answer) to `done` for what was answered, returns what was not."""
        if descriptor == pycurl.SOCKET_TIMEOUT:
            self.due = inf
        self._multi.socket_action(descriptor, events)
        _, answered, failed = self._multi.info_read()
        if answered:
            self._take(answered, done)
        ended: list[tuple[Flight, TransportFailure | Unprocessed]] = []
        no_room = False
        for easy, number, message in failed:
            answer: TransportFailure | Unprocessed
            if number == pycurl.E_ABORTED_BY_CALLBACK:
                answer = Unprocessed(tried=easy.getinfo(pycurl.REQUEST_SIZE) > 0)
                if answer.tried:
                    self.retired = True  # libcurl uses no connection again on which a stream was refused
                else:
                    no_room = True
            else:
                answer = self._failure(easy, number, message)
            ended.append((easy.flight, answer))
            self._land(easy)
        if no_room:
            self._shrink(self.flying + len(answered))
        if self._parked and not self.flying:
            self._parked = False
        return ended

    def _take(self, answered: list[Any], done: list[tuple[object, Answer]]) -> None:
        for easy in answered:
            status = easy.getinfo(_STATUS)
            head, body = easy.head, easy.body
            done.append((easy.flight.tag, PushResponse(status, _headers(head), b"".join(body))))
            self._land(easy)
            if not self.proven:
                self.proven = not (self._identity.one_first and status in _BEARER_REFUSED)
        self.answered += len(answered)
        self._last_answer = time.monotonic()
        self._grow(len(answered))

    def trim(self) -> None:
        """Gives back the memory of the handles that a burst has left."""
        for easy in self._free:
            self._all.discard(easy)
            easy.close()
        self._free.clear()

    def close(self) -> None:
        """Closes the socket; what is in flight is forgotten."""
        for easy in self._all:
            if easy.flight is not None:
                self._multi.remove_handle(easy)
            easy.close()
        self._all.clear()
        self._free.clear()
        for descriptor in list(self._watched):
            self._on_socket(pycurl.POLL_REMOVE, descriptor, None, None)
        self._closed = True
        self._multi.close()

    def _failure(self, easy: Any, number: int, message: str) -> TransportFailure | Unprocessed:
        answer = failure(number, message, connected=self.established)
        if not self.established:
            self.retired = True
        if number in SUDDEN:
            self.sudden = True
            self.retired = True
            if self.established and answer.fault is Fault.LOST and not easy.getinfo(pycurl.REQUEST_SIZE):
                return Unprocessed(tried=True)
        if (
            answer.fault is Fault.ANSWER_TIMEOUT
            and self._last_answer <= time.monotonic() - self._settings.answer_timeout_s
        ):
            self.retired = True  # silent for the whole time: as good as dead
        return answer

    def _grow(self, answers: int) -> None:
        if not self._refused_at:
            self._window = min(self._settings.max_streams, self._window + answers)
            return
        # The server's limit was met at _refused_at; it may rise again, so ask for a little more once in a while.
        self._since_growth += answers
        if self._since_growth >= self._window:
            self._since_growth = 0
            self._window = min(self._settings.max_streams, self._window + max(1, self._window // 16))

    def _shrink(self, in_flight: int) -> None:
        if in_flight == 0:
            self.retired = True  # an idle connection that takes nothing is closed, or was told to go away
        elif in_flight < self._refused_at:
            self._parked = True
        self._refused_at = self._window = max(1, in_flight)
        self._since_growth = 0

    def _land(self, easy: Any) -> None:
        self._multi.remove_handle(easy)
        self.flying -= 1
        easy.flight = None
        if easy.opening:  # has a callback and a time limit of its own
            self._all.discard(easy)
            easy.close()
            return
        easy.head.clear()
        easy.body.clear()
        self._free.append(easy)

    def _handle(self) -> Any:
        easy: Any = pycurl.Curl()
        easy.opening = not self.established
        easy.head = []
        easy.body = []
        setopt = easy.setopt
        setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE)
        setopt(pycurl.PIPEWAIT, 1)
        setopt(pycurl.OPT_RTSP_REQUEST, pycurl.RTSPREQ_RECEIVE)
        setopt(pycurl.SOCKOPTFUNCTION, self._socket)
        setopt(pycurl.HEADERFUNCTION, easy.head.append)
        setopt(pycurl.WRITEFUNCTION, easy.body.append)
        setopt(pycurl.PATH_AS_IS, 1)
        setopt(pycurl.POST, 1)
        setopt(pycurl.NOSIGNAL, 1)
        setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTPS)
        setopt(pycurl.CAINFO, self._settings.ca_file)
        setopt(pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2)
        setopt(pycurl.PROXY, self._settings.proxy)
        setopt(pycurl.NOPROXY, "")
        setopt(pycurl.CONNECTTIMEOUT_MS, int(self._settings.connect_timeout_s * 1000))
        setopt(pycurl.TIMEOUT_MS, int(self._settings.answer_timeout_s * 1000))
        setopt(pycurl.TCP_KEEPALIVE, 1)
        setopt(pycurl.TCP_KEEPIDLE, _KEEPALIVE_IDLE_S)
        setopt(pycurl.TCP_KEEPINTVL, _KEEPALIVE_IDLE_S // 4)
        setopt(pycurl.MAXAGE_CONN, _KEPT_IDLE_S)
        if self._identity.certificate_pem and self._identity.private_key_pem:
            setopt(pycurl.SSLCERTTYPE, "PEM")
            setopt(pycurl.SSLCERT_BLOB, self._identity.certificate_pem)
            setopt(pycurl.SSLKEYTYPE, "PEM")
            setopt(pycurl.SSLKEY_BLOB, self._identity.private_key_pem)
        setopt(pycurl.USERAGENT, "")
        if easy.opening:
            setopt(pycurl.PREREQFUNCTION, self._on_established)
            setopt(pycurl.TIMEOUT_MS, int((self._settings.connect_timeout_s + self._settings.answer_timeout_s) * 1000))
        self._all.add(easy)
        return easy

    def _socket(self, _descriptor: int, _purpose: int) -> int:
        return int(pycurl.SOCKOPT_ERROR if self.established else pycurl.SOCKOPT_OK)

    def _on_established(self, *_addresses: object) -> int:
        self.established = True
        self._stands_since = time.monotonic()
        return int(pycurl.PREREQFUNC_OK)

    def _on_socket(self, events: int, descriptor: int, _multi: object, _data: object) -> None:
        if self._closed:  # libcurl says goodbye to the server; nobody waits for that
            return
        if events == pycurl.POLL_REMOVE:
            self._watched.discard(descriptor)
        else:
            self._watched.add(descriptor)
        self._watch(self, descriptor, events)

    def _on_timer(self, timeout_ms: int) -> None:
        self.due = inf if timeout_ms < 0 else time.monotonic() + timeout_ms / 1000


def _header_lines(headers: tuple[tuple[str, str], ...]) -> list[str]:
    lines = [f"{name}: {value}" if value else f"{name};" for name, value in headers]
    # libcurl would add an Accept, and the content type of a web form.
    lines.append("accept:")
    for name, _ in headers:
        if name == "content-type":
            return lines
    lines.append("content-type:")
    return lines


def _headers(head: list[bytes]) -> tuple[tuple[str, str], ...]:
    """The fields of the last header block (an interim 1xx answer and a proxy have theirs before it)."""
    fields: list[tuple[str, str]] = []
    for line in b"".join(head).decode("latin-1").split("\r\n"):
        name, colon, value = line.partition(": ")
        if colon:
            fields.append((name, value))
        elif name.startswith("HTTP/"):
            fields.clear()
    return tuple(fields)
