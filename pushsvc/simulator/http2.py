"""The HTTP/2 side of a connection, on h2: streams in, answers out, and the faults a client should survive."""

import asyncio
from collections import deque
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    PingReceived,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import Frame, GoAwayFrame, SettingsFrame

from .faults import HEADERS, Fault
from .journal import Arrival, Connection
from .link import Link
from .mischief import complete
from .site import Answer, Session, Site

# The frame APNs is seen to send; the stream limit is added to it.
SETTINGS: dict[int, int] = {
    SettingCodes.HEADER_TABLE_SIZE: 4096,
    SettingCodes.INITIAL_WINDOW_SIZE: 65535,
    SettingCodes.MAX_FRAME_SIZE: 16384,
    SettingCodes.MAX_HEADER_LIST_SIZE: 8000,
}
_WINDOW_STEP = 32_768
_BODY_LIMIT = 1 << 20
_WATCH_S = 4.0


class _Inbound:
    """A request that is still coming in, or waits for its answer."""

    __slots__ = ("arrival", "chunks", "complete", "cut", "heard_at", "size", "unseen")

    def __init__(self, arrival: Arrival, heard_at: float) -> None:
        self.arrival = arrival
        self.chunks: list[bytes] = []
        self.size = 0
        self.unseen = 0
        self.complete = False
        self.cut: str | None = None
        self.heard_at = heard_at


class Http2:
    """One HTTP/2 connection of a simulated server."""

    def __init__(self, link: Link, site: Site, session: Session, connection: Connection) -> None:
        self.link = link
        self.site = site
        self.session = session
        self.connection = connection
        self.held: list[tuple[Arrival, Answer]] = []
        self._faults = site.world.faults
        self._streams: dict[int, _Inbound] = {}
        self._bodies: deque[tuple[Arrival, Answer]] = deque()
        self._unseen = 0
        self._last_stream: int | None = None
        self._refuse_rest = False
        self._dropped = False
        self._receiving = False
        self._heard_at = link.loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._h2 = H2Connection(
            H2Configuration(
                client_side=False,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        # h2 ends the connection over one stream too many, APNs refuses the stream: so this class keeps the limit.
        self._h2.local_settings = Settings(client=False, initial_values={SettingCodes.MAX_HEADER_LIST_SIZE: 8000})
        self._h2.initiate_connection()
        self._h2.clear_outbound_data_buffer()
        self._advertised = session.stream_limit
        connection.stream_limits.append(session.stream_limit)
        self._send_frame(
            SettingsFrame(0, settings={**SETTINGS, SettingCodes.MAX_CONCURRENT_STREAMS: session.stream_limit})
        )
        if session.farewell is not None:
            self.goaway(ErrorCodes.NO_ERROR, 0, session.farewell)
        self._watch()

    # -- in ------------------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        self._heard_at = self.link.loop.time()
        self._receiving = True
        try:
            for event in self._h2.receive_data(data):
                handler = _HANDLERS.get(type(event))
                if handler is not None:
                    handler(self, event)
        except ProtocolError:
            # h2 has put the GOAWAY that says so in its buffer.
            self.link.send(self._h2.data_to_send())
            self.link.finish("HTTP/2 protocol error by the client")
            return
        finally:
            self._receiving = False
            self._refuse_rest = False
        if self._unseen >= _WINDOW_STEP:
            self._h2.increment_flow_control_window(self._unseen)
            self._unseen = 0
        self._flush()

    def _on_request(self, event: RequestReceived) -> None:
        stream_id = event.stream_id
        if self._last_stream is not None and stream_id > self._last_stream:
            return
        headers: list[tuple[bytes, bytes]] = event.headers
        method = path = ""
        for name, value in headers:
            if name == b":method":
                method = value.decode("latin-1")
            elif name == b":path":
                path = value.decode("latin-1")
            elif name[0] != 58:
                break
        site = self.site
        arrival = site.world.journal.arrived(site.name, self.connection, stream_id, method, path, headers)
        if len(self._streams) >= self._advertised or self._refuse_rest:
            self._h2.reset_stream(stream_id, ErrorCodes.REFUSED_STREAM)
            site.world.journal.settled(arrival, "refused")
            return
        inbound = self._streams[stream_id] = _Inbound(arrival, self._heard_at)
        if len(self._streams) > self.connection.max_concurrent_streams:
            self.connection.max_concurrent_streams = len(self._streams)
        if self._faults.active:
            site.locate(arrival)
            for fault in self._faults.take(HEADERS, site.name, arrival.token, arrival.topic):
                self._strike_headers(fault, inbound)

    def _strike_headers(self, fault: Fault, inbound: _Inbound) -> None:
        if fault.kind.name == "close-during-body":
            inbound.cut = fault.options["how"]
        else:
            self.drop(inbound.arrival, "closed")
            self.link.cut("fault", fault.options["how"])

    def _on_data(self, event: DataReceived) -> None:
        self._unseen += event.flow_controlled_length
        inbound = self._streams.get(event.stream_id)
        if inbound is None:
            return
        if inbound.cut is not None:
            self.drop(inbound.arrival, "closed")
            self.link.cut("fault", inbound.cut)
            return
        inbound.heard_at = self._heard_at
        inbound.size += len(event.data)
        inbound.unseen += event.flow_controlled_length
        if inbound.size <= _BODY_LIMIT:
            inbound.chunks.append(event.data)
        if inbound.unseen >= _WINDOW_STEP and event.stream_ended is None:
            self._h2.increment_flow_control_window(inbound.unseen, event.stream_id)
            inbound.unseen = 0

    def _on_end(self, event: StreamEnded) -> None:
        inbound = self._streams.get(event.stream_id)
        if inbound is None:
            return
        inbound.complete = True
        arrival = inbound.arrival
        chunks = inbound.chunks
        arrival.body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        complete(self, arrival)

    def _on_reset(self, event: StreamReset) -> None:
        inbound = self._streams.get(event.stream_id)
        if inbound is not None:
            self.connection.streams_cancelled += 1
            self.drop(inbound.arrival, "cancelled")

    def _on_ping(self, event: PingReceived) -> None:
        self.connection.pings += 1

    def _on_window(self, event: WindowUpdated) -> None:
        waiting, self._bodies = self._bodies, deque()
        for arrival, answer in waiting:
            self._send_body(arrival, answer)

    def _on_goaway(self, event: ConnectionTerminated) -> None:
        self._flush()
        self.link.finish("GOAWAY by the client")

    def lost(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for inbound in list(self._streams.values()):
            self.drop(inbound.arrival, "closed")

    # -- out -----------------------------------------------------------------------------------------------------

    def respond(self, arrival: Arrival, answer: Answer) -> None:
        """Sends an answer, unless its stream is gone."""
        stream_id = arrival.stream_id
        if stream_id not in self._streams:
            return
        arrival.status, arrival.reason = answer.status, answer.reason
        arrival.answer_headers, arrival.answer_body = answer.headers, answer.body
        if self.session.stream_limit != self._advertised and not self._dropped:
            # Before the answer, so that a client that has one may fan out at once.
            self._limit_streams(self.session.stream_limit)
        status = (b":status", b"%d" % answer.status)
        self._h2.send_headers(stream_id, [status, *answer.headers], end_stream=not answer.body)
        if answer.body:
            self._send_body(arrival, answer)
        else:
            self._answered(arrival)
        if self._faults.active:
            self._strike_answer(answer)
        self._flush()

    def _send_body(self, arrival: Arrival, answer: Answer) -> None:
        if arrival.stream_id not in self._streams:
            return
        if self._bodies or self._h2.local_flow_control_window(arrival.stream_id) < len(answer.body):
            self._bodies.append((arrival, answer))
            return
        self._h2.send_data(arrival.stream_id, answer.body, end_stream=True)
        self._answered(arrival)

    def _answered(self, arrival: Arrival) -> None:
        self.drop(arrival, "answered")

    def _strike_answer(self, answer: Answer) -> None:
        name = self.site.name
        if answer.status >= 400:
            if answer.status != 410:
                self.session.errors += 2 if answer.reason == "BadDeviceToken" else 1
            patience = self._faults.standing("disconnect-after-errors", name)
            if patience is not None and self.session.errors >= patience.options["errors"]:
                self.goaway(ErrorCodes.ENHANCE_YOUR_CALM, self._h2.highest_inbound_stream_id, b"too many errors")
                return
            if self._faults.standing("settings-drop", name) is not None and not self._dropped:
                self._dropped = True
                self._limit_streams(1)
                self._refuse_rest = self._receiving
                for inbound in list(self._streams.values()):
                    self.reset_stream(inbound.arrival, ErrorCodes.REFUSED_STREAM, "refused")
        elif self._dropped:
            self._dropped = False
            self._limit_streams(self.session.stream_limit)

    def _limit_streams(self, limit: int) -> None:
        self._advertised = limit
        self.connection.stream_limits.append(limit)
        self._send_frame(SettingsFrame(0, settings={SettingCodes.MAX_CONCURRENT_STREAMS: limit}))

    def reset_stream(self, arrival: Arrival, code: ErrorCodes, fate: str) -> None:
        """Ends one stream with RST_STREAM."""
        if arrival.stream_id in self._streams:
            self._h2.reset_stream(arrival.stream_id, code)
            self.drop(arrival, fate)
            self._flush()

    def goaway(self, code: ErrorCodes, last_stream: int, data: bytes) -> None:
        """Says which streams were the last; those are still answered, and then the connection closes."""
        self._last_stream = last_stream
        frame = GoAwayFrame(0, last_stream_id=last_stream, error_code=code, additional_data=data)
        self._send_frame(frame)
        for stream_id, inbound in list(self._streams.items()):
            if stream_id > last_stream:
                self.drop(inbound.arrival, "unprocessed")
        self._close_after_goaway()

    def drop(self, arrival: Arrival, fate: str) -> None:
        """Takes a stream off the books."""
        self._streams.pop(arrival.stream_id, None)
        self.site.world.journal.settled(arrival, fate)
        if self._last_stream is not None:
            self._close_after_goaway()

    def _close_after_goaway(self) -> None:
        if not any(True for _ in self._streams):
            self._flush()
            self.link.loop.call_soon(self.link.finish, "GOAWAY")

    def _send_frame(self, frame: Frame) -> None:
        self.link.send(self._h2.data_to_send() + frame.serialize())

    def _flush(self) -> None:
        if not self._receiving and (data := self._h2.data_to_send()):
            self.link.send(data)

    # -- time ----------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Looks now and then for stalled requests and an idle connection."""
        now = self.link.loop.time()
        stall_s = self.site.world.policy.request_idle_s
        for inbound in [each for each in self._streams.values() if not each.complete]:
            if now - inbound.heard_at >= stall_s:
                self.respond(inbound.arrival, self.site.stalled(inbound.arrival))
        idle = self._faults.standing("idle-close", self.site.name)
        if idle is not None and not self._streams and now - self._heard_at >= idle.options["idle_s"]:
            self.goaway(ErrorCodes.NO_ERROR, self._h2.highest_inbound_stream_id, b"")
            return
        step_s = min(stall_s, idle.options["idle_s"] if idle is not None else stall_s, _WATCH_S) / 4
        self._timer = self.link.loop.call_later(max(step_s, 0.01), self._watch)


_HANDLERS: dict[type[Event], Any] = {
    RequestReceived: Http2._on_request,
    DataReceived: Http2._on_data,
    StreamEnded: Http2._on_end,
    StreamReset: Http2._on_reset,
    PingReceived: Http2._on_ping,
    WindowUpdated: Http2._on_window,
    ConnectionTerminated: Http2._on_goaway,
}
