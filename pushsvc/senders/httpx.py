"""The Sender on httpx: for control traffic (OAuth) and as the fallback; some fifty times the CPU of libcurl.

It runs httpx's async client in a thread of its own: the sync client lets threads race for HTTP/2 stream ids, and what
waits there for a free stream cannot be interrupted.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from typing import Any

import httpx

from pushsvc.dispatch.ports import Reach
from pushsvc.domain.push import Answer, Fault, Identity, PushRequest, PushResponse, TransportFailure
from pushsvc.senders.diagnose import Finding, examine
from pushsvc.senders.httpx_faults import NoHttp2, Unprocessed, explained
from pushsvc.senders.results import Results
from pushsvc.senders.trust import Trust

_MAX_CONNECTIONS = 4
_MAX_REFUSALS = 5
_SEATS = 50  # requests at one time; httpcore never uses more than 100 streams, and needs its time for each
_ESTABLISHED = 1  # tcpi_state, from Linux's tcp_states.h
_NO_STREAM_S = 0.5  # what waits longer for a free stream is moved to another connection
_STALLED_S = 1.0  # httpcore can lock itself up when SETTINGS takes streams away: then its reader is ended
_DIAGNOSIS_S = 60.0
_BEARER_REFUSED = frozenset((401, 403, 429))
_KEPT_IDLE_S = 86_400.0
CLOSE_S = 5.0


class _Client:
    """One httpx client that holds one connection."""

    def __init__(self, line: _Line) -> None:
        self.line = line
        self.proven = False
        self.retired = False
        self.full = False
        self.answered = 0
        self.users = 0
        self.last_answer = 0.0
        self.failure: TransportFailure | None = None
        self.stream: Any = None
        self.trying = False  # a request is out that has to prove the connection
        self._moved = asyncio.Event()
        self.seats = asyncio.Semaphore(line.sender.seats)
        sender = line.sender
        self.http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(
                verify=sender.trust.context(line.identity),
                http1=False,
                http2=True,
                trust_env=False,
                limits=httpx.Limits(max_connections=1, keepalive_expiry=_KEPT_IDLE_S),
                proxy=httpx.Proxy(sender.proxy) if sender.proxy else None,
            ),
            trust_env=False,
        )

    def closed_by_server(self) -> bool:
        """Whether an idle connection has got its FIN: httpcore would not look, and write into a closed one."""
        if self.users or self.stream is None or not hasattr(socket, "TCP_INFO"):
            return False
        state = self.stream.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        return bool(state != _ESTABLISHED)

    def prove(self) -> None:
        self.proven = True
        self.move()

    def move(self) -> None:
        """Lets the requests that wait for the first one look again."""
        self._moved.set()
        self._moved = asyncio.Event()

    async def moved(self) -> None:
        await self._moved.wait()

    async def exchange(self, request: PushRequest) -> Answer | Unprocessed:
        """Sends the request and waits for its answer, or for the time in which one has to come."""
        sender = self.line.sender
        budget = sender.answer_timeout_s + (0 if self.proven else sender.connect_timeout_s)
        connected = self.proven
        stream = 0
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        secured = "proxy.start_tls.complete" if sender.proxy else "connection.start_tls.complete"
        guards: dict[str, asyncio.TimerHandle] = {}
        if task is not None and self.proven:
            guards["stream"] = loop.call_later(_NO_STREAM_S, task.cancel)

        async def trace(name: str, info: dict[str, Any]) -> None:
            nonlocal connected, stream
            if name == secured:
                self.stream = info["return_value"]
                if self.stream.get_extra_info("ssl_object").selected_alpn_protocol() != "h2":
                    await self.stream.aclose()
                    raise NoHttp2
                connected = True
                if not self.line.identity.one_first:
                    self.prove()
            elif name == "http2.send_request_headers.started":
                stream = info["stream_id"]
                if "stream" in guards:
                    guards.pop("stream").cancel()
                    self.full = False
            elif name == "http2.receive_remote_settings.started" and task is not None:
                guards["settings"] = loop.call_later(_STALLED_S, task.cancel)
            elif name == "http2.receive_remote_settings.complete" and "settings" in guards:
                guards.pop("settings").cancel()

        extensions = {
            "trace": trace,
            "timeout": {"connect": sender.connect_timeout_s, "read": None, "write": None, "pool": None},
        }
        started = time.monotonic()
        url = f"https://{request.authority}{request.path}"
        outgoing = httpx.Request("POST", url, headers=request.headers, content=request.body, extensions=extensions)
        try:
            async with asyncio.timeout(budget):
                response = await self.http.send(outgoing)
        except TimeoutError:
            if self.last_answer <= started:
                self.retired = True
            if connected and not stream:
                return TransportFailure(Fault.UNPROCESSED, "no free stream in time")
            return TransportFailure(Fault.ANSWER_TIMEOUT if connected else Fault.CONNECT_TIMEOUT)
        except asyncio.CancelledError:
            if task is None or not task.cancelling() or self.line.sender.closing:
                raise
            task.uncancel()
            if not stream:
                self.full = True
                return Unprocessed(refused=False)
            return TransportFailure(Fault.LOST, "the connection was given up after its streams were taken away")
        except Exception as error:
            found = explained(error, stream, connected)
            self.retired = self.retired or found.spent
            self.line.goaway = found.goaway or self.line.goaway
            return found.answer
        finally:
            for guard in guards.values():
                guard.cancel()
        self.answered += 1
        self.last_answer = time.monotonic()
        if not (self.line.identity.one_first and response.status_code in _BEARER_REFUSED):
            self.prove()
        headers = tuple((k.decode("ascii").lower(), v.decode("latin-1")) for k, v in response.headers.raw)
        return PushResponse(response.status_code, headers, response.content)


class _Line:
    """The clients of one identity to one authority."""

    def __init__(self, sender: HttpxSender, authority: str, identity: Identity) -> None:
        self.sender = sender
        self.authority = authority
        self.identity = identity
        self.clients: list[_Client] = []
        self.goaway = ""
        self._looking = asyncio.Lock()
        self._looked: tuple[float, Finding] | None = None

    async def carry(self, request: PushRequest) -> Answer:
        """Sends a request until a server has looked at it, or five have refused it."""
        refusals = 0
        since = time.monotonic()
        patience = self.sender.connect_timeout_s + self.sender.answer_timeout_s
        while time.monotonic() - since <= patience:
            client = await self._client()
            client.users += 1
            try:
                answer = await self._turn(client, request)
            finally:
                client.users -= 1
                await self._drop_if_spent(client)
            if answer is None:
                continue
            if isinstance(answer, PushResponse):
                self._looked, self.goaway = None, ""
                return answer
            if isinstance(answer, Unprocessed):
                refusals += answer.refused
                if refusals < 2 or client.answered:
                    if refusals >= _MAX_REFUSALS:
                        return TransportFailure(Fault.UNPROCESSED, f"refused {refusals} times")
                    continue
                if self.goaway:  # every connection is told to go before it has answered anything: this is the answer
                    return TransportFailure(Fault.GOAWAY, self.goaway)
                if refusals >= _MAX_REFUSALS:
                    return TransportFailure(Fault.UNPROCESSED, f"refused {refusals} times")
                continue
            if client.retired and not client.answered and answer.fault in (Fault.LOST, Fault.CONNECT):
                return await self._diagnose() or answer
            return answer
        return TransportFailure(Fault.UNPROCESSED, "no free stream in time")

    async def renew(self) -> None:
        for client in list(self.clients):
            client.retired = True
            await self._drop_if_spent(client)

    async def _turn(self, client: _Client, request: PushRequest) -> Answer | Unprocessed | None:
        """None: the client came to nothing while the request waited for its turn."""
        while not client.proven:
            if client.retired:
                return client.failure  # what waits for a connection that could not be opened shares its failure
            if not client.trying:
                client.trying = True
                try:
                    answer = await client.exchange(request)
                    if client.retired and not client.answered and isinstance(answer, TransportFailure):
                        client.failure = answer
                    return answer
                finally:
                    client.trying = False
                    client.move()
            await client.moved()
        async with client.seats:
            return None if client.retired or client.full else await client.exchange(request)

    async def _client(self) -> _Client:
        live = [client for client in self.clients if not client.retired]
        for client in live:
            if client.closed_by_server():
                client.retired = True
                await self._drop_if_spent(client)
            elif not client.full:
                return client
        if len(live) < _MAX_CONNECTIONS:
            self.clients.append(_Client(self))
            return self.clients[-1]
        await asyncio.sleep(_NO_STREAM_S)
        for client in live:
            client.full = False
        return live[0]

    async def _drop_if_spent(self, client: _Client) -> None:
        if client.retired and not client.users and client in self.clients:
            self.clients.remove(client)
            with contextlib.suppress(Exception):  # its connection may be in any state; it is given up
                await client.http.aclose()

    async def _diagnose(self) -> Finding:
        async with self._looking:
            if self._looked is None or time.monotonic() - self._looked[0] > _DIAGNOSIS_S:
                sender = self.sender
                timeout_s = min(sender.connect_timeout_s, 5.0)
                found = await asyncio.to_thread(
                    examine, self.authority, self.identity, trust=sender.trust, proxy=sender.proxy, timeout_s=timeout_s
                )
                self._looked = (time.monotonic(), found)
            return self._looked[1]


class HttpxSender:
    """The Sender of `dispatch.ports` on httpx; the caller keeps `in_flight` within its own bound."""

    def __init__(
        self, *, capacity: int, connect_timeout_s: float, answer_timeout_s: float, trust: Trust, proxy: str
    ) -> None:
        self.seats = min(capacity, _SEATS)
        self.connect_timeout_s = connect_timeout_s
        self.answer_timeout_s = answer_timeout_s
        self.trust = trust
        self.proxy = proxy
        self.closing = False
        self._in_flight = 0
        self._results = Results()
        self._lines: dict[tuple[str, str], _Line] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._answers: queue.SimpleQueue[tuple[object, Answer]] = queue.SimpleQueue()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="pushsvc-httpx", daemon=True)
        self._thread.start()

    @property
    def in_flight(self) -> int:
        return self._in_flight

    @property
    def reach(self) -> Mapping[str, Reach]:
        """An idle connection that its server has closed counts until the next request finds out."""
        return self._results.reach(
            line.authority
            for line in list(self._lines.values())
            for client in list(line.clients)
            if client.stream is not None and not client.retired
        )

    def submit(self, tag: object, request: PushRequest, identity: Identity) -> None:
        """Starts a request; returns at once."""
        self._in_flight += 1
        self._loop.call_soon_threadsafe(self._start, tag, request, identity)

    def poll(self, timeout_s: float) -> list[tuple[object, Answer]]:
        """What has ended, as soon as there is any, or nothing after `timeout_s`."""
        done: list[tuple[object, Answer]] = []
        with contextlib.suppress(queue.Empty):
            done.append(self._answers.get(timeout=max(timeout_s, 0)))
            while True:
                done.append(self._answers.get_nowait())
        self._in_flight -= len(done)
        return done

    def renew(self, identity: Identity) -> None:
        """Lets the identity's connections finish what they have; further requests open new ones."""
        self._loop.call_soon_threadsafe(self._renew, identity.key)

    def close(self) -> None:
        """Closes every connection; what is in flight is not reported any more."""
        if self.closing:
            return
        self.closing = True
        # A name that is being looked up cannot be interrupted; its thread ends with the process.
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(CLOSE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_S)
        if not self._thread.is_alive():
            self._loop.close()
        self.trust.close()

    def _start(self, tag: object, request: PushRequest, identity: Identity) -> None:
        key = (request.authority, identity.key)
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line(self, request.authority, identity)
        self._keep(self._carry(line, tag, request))

    def _renew(self, identity_key: str) -> None:
        for (_, key), line in self._lines.items():
            if key == identity_key:
                self._keep(line.renew())

    def _keep(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, line: _Line, tag: object, request: PushRequest) -> None:
        answer: Answer
        try:
            answer = await line.carry(request)
        except (ssl.SSLError, ValueError):  # the identity's own certificate or key cannot be read
            answer = TransportFailure(Fault.TLS_ALERT, "bad_certificate")
        except Exception as error:  # whatever it is, the push has to come back
            answer = TransportFailure(Fault.LOST, type(error).__name__)
        self._results.note(request.authority, answer)
        self._answers.put((tag, answer))

    async def _shut(self) -> None:
        mine = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not mine]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for line in self._lines.values():
            for client in line.clients:
                with contextlib.suppress(Exception):
                    await client.http.aclose()
