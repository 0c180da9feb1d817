"""The hot path: pushes on libcurl's multi interface, every connection of every identity in one event loop."""

from __future__ import annotations

import selectors
import socket
import time
from collections import deque
from collections.abc import Mapping
from functools import partial
from math import inf

import pycurl

from pushsvc.dispatch.ports import Reach
from pushsvc.domain.push import Answer, Fault, Identity, PushRequest, TransportFailure
from pushsvc.senders.connection import Connection, Flight, Settings, Unprocessed
from pushsvc.senders.diagnose import Diagnoses, Finding, examine
from pushsvc.senders.results import Results
from pushsvc.senders.trust import Trust

_MAX_STREAMS = 1000  # what APNs is seen to allow
_MAX_CONNECTIONS = 4  # per identity and authority, in use at one time
_MAX_LEAVING = 4  # and so many more that only finish what they have
_MAX_REFUSALS = 5  # of one request, before it comes back as UNPROCESSED
_FULL_S = 0.1  # a request that waits longer for a free stream asks for another connection
_STUCK_S = 3.0  # or for a connection that is still opening
_LOOK_S = 0.05  # how often waiting requests are looked at when nothing else happens
_TRIM_S = 15.0
_IN = selectors.EVENT_READ
_OUT = selectors.EVENT_WRITE
_WATCHED = {pycurl.POLL_IN: _IN, pycurl.POLL_OUT: _OUT, pycurl.POLL_INOUT: _IN | _OUT}
_READY = {_IN: pycurl.CSELECT_IN, _OUT: pycurl.CSELECT_OUT, _IN | _OUT: pycurl.CSELECT_IN | pycurl.CSELECT_OUT}


class _Pool:
    """The connections of one identity to one authority, and what waits for them."""

    def __init__(self, key: tuple[str, str], identity: Identity) -> None:
        self.key = key
        self.identity = identity
        self.connections: list[Connection] = []
        self.waiting: deque[Flight] = deque()
        self.diagnosed: list[tuple[Flight, TransportFailure | Unprocessed]] = []  # not empty: a diagnosis is under way

    def live(self) -> list[Connection]:
        return [connection for connection in self.connections if not connection.leaving]


class CurlSender:
    """The Sender of `dispatch.ports` on libcurl; the caller keeps `in_flight` within its own bound."""

    def __init__(
        self, *, capacity: int, connect_timeout_s: float, answer_timeout_s: float, trust: Trust, proxy: str
    ) -> None:
        max_streams = min(capacity, _MAX_STREAMS)
        self._settings = Settings(max_streams, connect_timeout_s, answer_timeout_s, trust.ca_file, proxy)
        self._trust = trust
        self._in_flight = 0
        self._pools: dict[tuple[str, str], _Pool] = {}
        self._of: dict[Connection, _Pool] = {}
        self._hungry: set[_Pool] = set()  # pools with requests that wait
        self._done: list[tuple[object, Answer]] = []
        self._results = Results()
        self._trimmed = time.monotonic()
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._selector.register(self._woken, _IN, None)
        self._diagnoses = Diagnoses(self._wake)

    @property
    def in_flight(self) -> int:
        return self._in_flight

    @property
    def reach(self) -> Mapping[str, Reach]:
        """An idle connection that its server has closed counts until the next request finds out."""
        return self._results.reach(pool.key[0] for one, pool in self._of.items() if one.established and not one.retired)

    def submit(self, tag: object, request: PushRequest, identity: Identity) -> None:
        """Queues a request; it goes out with the next `poll`."""
        key = (request.authority, identity.key)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = _Pool(key, identity)
        pool.waiting.append(Flight(tag, request))
        self._hungry.add(pool)
        self._in_flight += 1

    def poll(self, timeout_s: float) -> list[tuple[object, Answer]]:
        """Moves every connection on; returns as soon as anything has ended, or after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while True:
            now = time.monotonic()
            if now - self._trimmed > _TRIM_S:
                self._trim(now)
            for pool in list(self._hungry):
                self._feed(pool, now)
            due = self._run_due()
            wait = 0.0 if self._done else min(due, deadline) - time.monotonic()
            if self._hungry:
                wait = min(wait, _LOOK_S)
            for key, events in self._selector.select(max(0.0, wait)):
                connection: Connection | None = key.data
                if connection is None:
                    self._settle_diagnoses()
                elif connection in self._of:
                    self._run(connection, key.fd, _READY[events])
            if self._done or time.monotonic() >= deadline:
                done, self._done = self._done, []
                self._in_flight -= len(done)
                return done

    def renew(self, identity: Identity) -> None:
        """Lets the identity's connections finish what they have and close; further requests open new ones."""
        for pool in self._pools.values():
            if pool.identity.key == identity.key:
                for connection in list(pool.connections):
                    connection.retired = True
                    self._drop_if_spent(pool, connection)

    def close(self) -> None:
        """Closes every connection; what is in flight is not reported any more."""
        for connection in list(self._of):
            connection.close()
        self._of.clear()
        self._pools.clear()
        self._selector.close()
        self._woken.close()
        self._waker.close()
        self._trust.close()

    def _feed(self, pool: _Pool, now: float) -> None:
        waiting = pool.waiting
        if pool.diagnosed:
            return
        for connection in pool.connections:
            while waiting and connection.room:
                connection.start(waiting.popleft())
        if waiting and self._may_open(pool, now):
            connection = Connection(self._settings, pool.identity, pool.key[0], self._watch)
            pool.connections.append(connection)
            self._of[connection] = pool
            connection.start(waiting.popleft())
        patience = self._settings.connect_timeout_s + self._settings.answer_timeout_s
        while waiting and now - waiting[0].since > patience:
            self._finish(waiting.popleft(), TransportFailure(Fault.UNPROCESSED, "no free stream in time"))
        if not waiting:
            self._hungry.discard(pool)

    def _may_open(self, pool: _Pool, now: float) -> bool:
        live = pool.live()
        if not live:
            return len(pool.connections) < _MAX_CONNECTIONS + _MAX_LEAVING
        if len(live) >= _MAX_CONNECTIONS:
            return False
        newest = max(connection.born for connection in live)
        if not all(connection.proven for connection in live):
            return now - newest > _STUCK_S
        if not all(connection.full for connection in live):
            return False
        return now - newest > _FULL_S and now - pool.waiting[0].since > _FULL_S

    def _run_due(self) -> float:
        """Runs the connections whose timer is due until none is; returns the time of the next."""
        while True:
            now = time.monotonic()
            soonest = inf
            ran = False
            for connection in list(self._of):
                if connection.due <= now:
                    ran = True
                    self._run(connection)
                elif connection.due < soonest:
                    soonest = connection.due
            if not ran:
                return soonest

    def _run(self, connection: Connection, *ready: int) -> None:
        before = connection.answered
        ended = connection.run(self._done, *ready)
        if connection.answered > before:
            self._results.note(self._of[connection].key[0], None)
        self._ended(connection, ended)

    def _ended(self, connection: Connection, ended: list[tuple[Flight, TransportFailure | Unprocessed]]) -> None:
        pool = self._of[connection]
        again: list[Flight] = []
        for flight, answer in ended:
            if isinstance(answer, Unprocessed) and answer.tried:
                flight.tries += 1
            if self._wants_diagnosis(connection, flight, answer):
                self._diagnose(pool, flight, answer)
            elif isinstance(answer, TransportFailure):
                self._finish(flight, answer)
                if not connection.established:
                    self._give_up_waiting(pool, connection, answer)
            elif flight.tries >= _MAX_REFUSALS:
                self._finish(flight, TransportFailure(Fault.UNPROCESSED, f"refused {flight.tries} times"))
            else:
                again.append(flight)
        if again:
            pool.waiting.extendleft(reversed(again))
        if pool.waiting:
            self._hungry.add(pool)
        if connection.answered:
            self._diagnoses.forget(pool.key)
        self._drop_if_spent(pool, connection)

    def _finish(self, flight: Flight, answer: TransportFailure) -> None:
        self._results.note(flight.request.authority, answer)
        self._done.append((flight.tag, answer))

    def _give_up_waiting(self, pool: _Pool, connection: Connection, answer: TransportFailure) -> None:
        """What waits for a connection that could not be opened shares its failure: trying each would take for ever."""
        if all(other is connection for other in pool.live()):
            while pool.waiting:
                self._finish(pool.waiting.popleft(), answer)

    def _drop_if_spent(self, pool: _Pool, connection: Connection) -> None:
        if connection.retired and not connection.flying and connection in self._of:
            del self._of[connection]
            pool.connections.remove(connection)
            connection.close()

    def _wants_diagnosis(self, connection: Connection, flight: Flight, answer: TransportFailure | Unprocessed) -> bool:
        """Whether the server closed on this identity before it answered anything, for a reason that libcurl hides."""
        if connection.answered:
            return False
        if isinstance(answer, Unprocessed):
            return answer.tried and flight.tries > 1
        return connection.sudden and answer.fault in (Fault.LOST, Fault.CONNECT, Fault.PROTOCOL)

    def _diagnose(self, pool: _Pool, flight: Flight, answer: TransportFailure | Unprocessed) -> None:
        known = self._diagnoses.recall(pool.key)
        if known is not None and not pool.diagnosed:
            self._apply(pool, [(flight, answer)], known[0])
            return
        pool.diagnosed.append((flight, answer))
        if len(pool.diagnosed) == 1:
            timeout_s = min(self._settings.connect_timeout_s, 5.0)
            look = partial(
                examine,
                pool.key[0],
                pool.identity,
                trust=self._trust,
                proxy=self._settings.proxy,
                timeout_s=timeout_s,
            )
            self._diagnoses.begin(pool.key, look)

    def _settle_diagnoses(self) -> None:
        self._woken.recv(4096)
        for key, found in self._diagnoses.finished():
            for pool in self._pools.values():
                if pool.key == key:
                    held, pool.diagnosed = pool.diagnosed, []
                    self._apply(pool, held, found)

    def _apply(self, pool: _Pool, held: list[tuple[Flight, TransportFailure | Unprocessed]], found: Finding) -> None:
        for flight, answer in held:
            if found is not None:
                self._finish(flight, found)
            elif not isinstance(answer, Unprocessed):
                self._finish(flight, answer)
            elif flight.tries >= _MAX_REFUSALS:
                self._finish(flight, TransportFailure(Fault.UNPROCESSED, f"refused {flight.tries} times"))
            else:
                pool.waiting.append(flight)
        if found is not None:
            while pool.waiting:
                self._finish(pool.waiting.popleft(), found)
        if pool.waiting:
            self._hungry.add(pool)

    def _wake(self) -> None:
        self._waker.send(b".")

    def _watch(self, connection: Connection, descriptor: int, events: int) -> None:
        known = self._selector.get_map().get(descriptor)
        if events == pycurl.POLL_REMOVE:
            if known is not None:
                self._selector.unregister(descriptor)
        elif known is None:
            self._selector.register(descriptor, _WATCHED[events], connection)
        else:
            self._selector.modify(descriptor, _WATCHED[events], connection)

    def _trim(self, now: float) -> None:
        self._trimmed = now
        for connection in self._of:
            if not connection.flying:
                connection.trim()
