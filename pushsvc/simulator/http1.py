"""HTTP/1.1, on h11: Google's servers speak it too, its own libraries use it, and so does the control port."""

from collections.abc import Callable
from typing import Protocol

import h11
from h2.errors import ErrorCodes

from .faults import HEADERS
from .journal import Arrival, Connection
from .link import Link
from .mischief import complete
from .site import Answer, Session, Site


class Wire(Protocol):
    """What bytes go out on."""

    def send(self, data: bytes) -> None: ...
    def finish(self, because: str) -> None: ...


class Http1:
    """One HTTP/1.1 connection of a simulated server; requests are answered one after the other."""

    def __init__(self, link: Link, site: Site, session: Session, connection: Connection) -> None:
        self.link = link
        self.site = site
        self.session = session
        self.connection = connection
        self.held: list[tuple[Arrival, Answer]] = []
        self._current: Arrival | None = None
        self._requests = RequestReader(link, self._on_headers, self._on_request)

    def receive(self, data: bytes) -> None:
        self._requests.receive(data)

    def lost(self) -> None:
        if self._current is not None:
            self.site.world.journal.settled(self._current, "closed")

    def _on_headers(self, method: str, path: str, headers: list[tuple[bytes, bytes]]) -> None:
        world = self.site.world
        number = self.connection.requests + 1
        self._current = world.journal.arrived(self.site.name, self.connection, number, method, path, headers)
        self.connection.max_concurrent_streams = 1
        self.site.locate(self._current)
        for fault in world.faults.take(HEADERS, self.site.name, "", self._current.topic) if world.faults.active else ():
            self.drop(self._current, "closed")
            self.link.cut("fault", fault.options["how"])

    def _on_request(self, body: bytes) -> None:
        if self._current is not None and self._current.fate == "pending":
            self._current.body = body
            complete(self, self._current)

    def respond(self, arrival: Arrival, answer: Answer) -> None:
        if arrival.fate != "pending":
            return
        arrival.status, arrival.reason = answer.status, answer.reason
        arrival.answer_headers, arrival.answer_body = answer.headers, answer.body
        self.drop(arrival, "answered")
        self._requests.answer(answer)

    def reset_stream(self, arrival: Arrival, code: ErrorCodes, fate: str) -> None:
        """There are no streams here: the connection is reset."""
        self.drop(arrival, fate)
        self.link.reset(f"instead of RST_STREAM {code.name}")

    def goaway(self, code: ErrorCodes, last_stream: int, data: bytes) -> None:
        """There is no GOAWAY here: the answer says that the connection closes."""
        self._requests.close_next = True

    def drop(self, arrival: Arrival, fate: str) -> None:
        self.site.world.journal.settled(arrival, fate)
        self._current = None


class RequestReader:
    """Reads requests from a connection and writes their answers."""

    def __init__(
        self,
        wire: Wire,
        on_headers: Callable[[str, str, list[tuple[bytes, bytes]]], None],
        on_request: Callable[[bytes], None],
    ) -> None:
        self._wire = wire
        self._on_headers = on_headers
        self._on_request = on_request
        self._h11 = h11.Connection(h11.SERVER)
        self._chunks: list[bytes] = []
        self.close_next = False

    def receive(self, data: bytes) -> None:
        self._h11.receive_data(data)
        self._next()

    def _next(self) -> None:
        try:
            while True:
                event = self._h11.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    if self._h11.they_are_waiting_for_100_continue:
                        informed = h11.InformationalResponse(status_code=100, headers=[])
                        self._wire.send(self._h11.send(informed) or b"")
                    return
                if isinstance(event, h11.Request):
                    self._chunks = []
                    self._on_headers(event.method.decode(), event.target.decode("latin-1"), list(event.headers))
                elif isinstance(event, h11.Data):
                    self._chunks.append(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    self._on_request(b"".join(self._chunks))
                else:
                    self._wire.finish("closed by the client")
                    return
        except h11.RemoteProtocolError:
            self._wire.finish("HTTP/1.1 protocol error by the client")

    def answer(self, answer: Answer) -> None:
        headers = [*answer.headers, (b"content-length", str(len(answer.body)).encode())]
        if self.close_next:
            headers.append((b"connection", b"close"))
        parts = [
            self._h11.send(h11.Response(status_code=answer.status, headers=headers)),
            self._h11.send(h11.Data(data=answer.body)),
            self._h11.send(h11.EndOfMessage()),
        ]
        self._wire.send(b"".join(part or b"" for part in parts))
        if self._h11.our_state is h11.MUST_CLOSE:
            self._wire.finish("as announced")
        elif self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
            self._next()
