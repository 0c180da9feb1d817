"""The main flow, read top to bottom: read, gather, decide, send, settle, apply. One per worker, single-threaded."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import cast

from pushsvc.dispatch.courier import Courier, Delivery
from pushsvc.dispatch.inbox import Inbox
from pushsvc.dispatch.ledger import Ledger
from pushsvc.dispatch.plan import Launch, Refused, for_one, plan, plan_entry, recipients
from pushsvc.dispatch.ports import (
    Again,
    Apps,
    Board,
    Devices,
    Due,
    Entry,
    Lane,
    Stream,
    Telemetry,
    Windows,
)
from pushsvc.dispatch.printed import printed
from pushsvc.dispatch.records import of_refused, of_settled, of_superseded, of_waiting
from pushsvc.dispatch.settle import settle
from pushsvc.domain import event as events
from pushsvc.domain.device import Device
from pushsvc.domain.event import Event
from pushsvc.domain.outcome import Action
from pushsvc.domain.push import Push
from pushsvc.domain.refusals import QUIET_WINDOW
from pushsvc.providers.provider import Provider

log = logging.getLogger("pushsvc.flow")

WRITE_COUNT = 500  # settled pushes written together at most
WRITE_AFTER_S = 0.05  # and at the latest after this time: each write waits for two disks, the journal's and Valkey's
POLL_S = 0.01  # how long an event that arrives while pushes are in flight may wait for the loop
SHOW_EVERY_S = 5.0  # how a worker reaches the providers: for people and their alarms
REFUSAL_SPACING_S = 1.0  # refusals of one credential within this time are one: a burst shares one cause


@dataclass(slots=True)
class _Open:
    """An entry with pushes under way; it is acknowledged when the last has ended or waits in the due set."""

    entry: Entry
    event: Event
    left: int


@dataclass(slots=True)
class _Flight:
    """One push under way, with what it carries from attempt to attempt."""

    open: _Open
    again: Again


class Flow:
    """Turns entries of the stream into pushes and their outcomes; `step` is one turn of the worker's loop."""

    def __init__(
        self,
        *,
        stream: Stream,
        windows: Windows,
        apps: Apps,
        devices: Devices,
        ledger: Ledger,
        courier: Courier,
        board: Board,
        telemetry: Telemetry,
        providers: Mapping[str, Provider],
        capacity: int,
        clock: Callable[[], float] = time.time,
        pulse: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`clock` gives UNIX seconds; `pulse` measures intervals, and goes on when the machine's time is put back."""
        self._stream = stream
        self._windows = windows
        self._apps = apps
        self._devices = devices
        self._ledger = ledger
        self._courier = courier
        self._board = board
        self._telemetry = telemetry
        self._capacity = capacity
        self._clock = clock
        self._jitter = jitter
        self.draining = False
        self._pulse = pulse
        self._inbox = Inbox(stream, providers, pulse)
        self._open = 0
        self._again: list[_Flight] = []  # to be decided anew and sent at once
        self._write_at = 0.0
        self._show_at = 0.0
        self._refusals: dict[str, tuple[int, float]] = {}  # by credential: refusals in a row, when last counted

    @property
    def in_flight(self) -> int:
        """What would be done again if the worker died now: entries under way, and settled pushes not written yet."""
        return self._open + len(self._ledger)

    def step(self, block_ms: int) -> None:
        """One turn. Raises StreamUnavailable or StoreUnavailable where one is away: nothing is lost, call again.

        Answers come first: while a store is away they are still taken, and their pushes are not sent again.
        """
        for delivery in self._courier.poll(POLL_S if self._courier.in_flight else 0):
            flight = cast(_Flight, delivery.tag)
            try:
                self._end(flight, delivery)
            except Exception as error:
                self._give_up(flight.open, error)
        self._send_again()
        if self._pulse() >= self._show_at:
            self._show_reach()
        if len(self._ledger):
            self._write()
        if not self.draining:
            busy = self._courier.in_flight or len(self._ledger)
            calls = self._courier.room_for_calls
            self._inbox.fill(self._clock(), self._room(), calls, self._open, 0 if busy else block_ms)
            self._begin()

    def _room(self) -> int:
        """Pushes that may be begun: none until there is room for a good many, since each read has its price."""
        room = self._capacity - self._courier.in_flight
        return room if room >= max(1, self._capacity // 4) else 0

    def _show_reach(self) -> None:
        self._show_at = self._pulse() + SHOW_EVERY_S
        reach = self._courier.reach
        self._telemetry.reached(reach)
        self._board.show(reach)

    def close(self) -> None:
        """Leaves the stream first: whatever becomes of the connections, the others may take over what is held here."""
        try:
            self._stream.close()
        finally:
            self._courier.close()

    def _write(self) -> None:
        """Some hundred at a time, at once where nothing else is under way."""
        pulse = self._pulse()
        self._write_at = self._write_at or pulse + WRITE_AFTER_S
        if len(self._ledger) >= WRITE_COUNT or pulse >= self._write_at or not self._courier.in_flight:
            self._ledger.write()
            self._write_at = 0.0
            self._telemetry.gauge("in_flight", self._courier.in_flight)

    # -- gather, decide

    def _begin(self) -> None:
        """Gathers for the slice, decides, and only then acts: where a store is away, the slice is begun anew."""
        if not self._inbox.slice:
            return
        now = self._clock()
        read = sorted(self._inbox.slice, key=lambda item: not item[1].is_call)  # also a call on the wrong lane
        marks = self._stream.marks(read)
        slice_ = [(entry, event, mark) for (entry, event), mark in zip(read, marks, strict=True)]
        apps = self._apps.get(list({event.app for _, event in read}))
        devices = self._devices.of(
            [(e.app, user) for entry, e, mark in slice_ if not mark.repeated for user in recipients(entry, e)]
        )
        opened: list[_Open] = []
        refused: list[tuple[_Open, Refused]] = []
        launches: list[tuple[_Open, Launch]] = []
        failed: list[tuple[_Open, Exception]] = []
        for entry, event, mark in slice_:
            open_ = _Open(entry, event, left=1)  # one for this method, so that no entry ends before all is under way
            opened.append(open_)
            if mark.repeated:
                continue
            try:
                found = plan_entry(entry, event, mark.ended, apps.get(event.app), devices, now)
            except Exception as error:
                failed.append((open_, error))
                continue
            for planned in found:
                if isinstance(planned, Launch):
                    launches.append((open_, planned))
                else:
                    refused.append((open_, planned))
        waits = self._quiet_windows(launches, now)
        self._inbox.begun()
        self._open += len(opened)
        for open_, defect in failed:
            open_.left += 1
            self._give_up(open_, defect)
        for open_, refusal in refused:
            open_.left += 1
            self._refuse(open_, refusal, devices, now)
        for open_, launch in launches:
            open_.left += 1
            until = waits.get(launch.push.id)
            if until is None:
                self._hand_over(_Flight(open_, launch.again), launch.push)
            else:
                self._wait_for_window(open_, launch, until, now)
        for open_ in opened:
            self._one_less(open_)

    def _hand_over(self, flight: _Flight, push: Push) -> None:
        try:
            self._courier.hand_over(flight, push)
        except Exception as error:
            self._give_up(flight.open, error)

    def _give_up(self, open_: _Open, error: Exception) -> None:
        """A bug must neither sink the other pushes nor be tried for ever."""
        about = {"app": open_.event.app, "event": open_.event.id}
        log.error("a push could not be handled", extra=about, exc_info=error)
        # With all that was filled in on reading, so that the dead letter can be retried.
        whole = replace(open_.entry, raw=events.encode(open_.event))
        self._ledger.bury(whole, f"error in pushsvc: {type(error).__name__}")
        self._one_less(open_)

    def _quiet_windows(self, launches: list[tuple[_Open, Launch]], now: float) -> dict[str, float]:
        """Until when a push has to wait, by push id: a first attempt where the app has a minimum interval."""
        wakes = [
            (push.event.app, push.route.token.id, push.event.id, float(push.app.settings.min_interval_s), push.id)
            for push in (launch.push for _, launch in launches)
            if push.app.settings.min_interval_s and push.attempt == 1 and not push.event.is_call
        ]
        if not wakes:
            return {}
        untils = self._windows.enter([wake[:4] for wake in wakes], now)
        return {wake[4]: until for wake, until in zip(wakes, untils, strict=True) if until is not None}

    def _wait_for_window(self, open_: _Open, launch: Launch, until: float, now: float) -> None:
        """One wake-up waits at the end of the window, the newest; where it would come too late it is not needed."""
        push, event = launch.push, open_.event
        if until >= event.deadline:
            self._ledger.ended(event, of_superseded(event, launch.again, push.id, QUIET_WINDOW, now))
        else:
            # One for each device and type: a newer event takes its place, but nothing silent that of an alert.
            due_id = f"wake:{event.app}:{push.route.token.id}:{push.route.push_type.value}"
            due = Due(due_id, until, Lane.MESSAGES, for_one(event, launch.again), launch.again)
            self._ledger.later(of_waiting(push, launch.again, until, now), due)
        self._one_less(open_)

    def _refuse(
        self,
        open_: _Open,
        refused: Refused,
        devices: Mapping[tuple[int, int | str], tuple[Device, ...]],
        now: float,
    ) -> None:
        event, row, again = open_.event, refused.row, refused.again
        self._ledger.ended(event, of_refused(event, refused, now))
        if row.action is Action.DROP_TOKEN:
            known = (token for found in devices.values() for device in found for token in device.tokens)
            self._ledger.drop_token(event.app, next(token for token in known if token.id == again.token_id), None)
        elif row.action is Action.TELL_OPERATOR:
            self._telemetry.tell_operator(event.app, row.reason, row.cause, row.cure)
        self._one_less(open_)

    # -- settle

    def _end(self, flight: _Flight, delivery: Delivery) -> None:
        """Decides what a verdict comes to, and notes it down or sends again."""
        push, now = delivery.push, self._clock()
        app_id, route, verdict = push.event.app, push.route, delivery.verdict
        if verdict is None:
            self._again.append(flight)
            return
        if push.app.settings.print_push_logs and delivery.request is not None:
            self._telemetry.exchanged(printed(delivery, delivery.request, verdict))
        key = route.credential.identity
        pulse, (counted, counted_at) = self._pulse(), self._refusals.get(key, (0, 0.0))
        settled = settle(push, verdict, flight.again, refusals=counted, now=now, jitter=self._jitter())
        burst = settled.refusals > counted and (delivery.shared or pulse - counted_at < REFUSAL_SPACING_S)
        if settled.refusals != counted and not burst:
            self._refusals[key] = (settled.refusals, pulse)
        if settled.renew_bearer:
            self._courier.renew(delivery)
        elif settled.reconnect:
            self._courier.reconnect(push)
        if settled.drop_token:
            self._ledger.drop_token(app_id, route.token, verdict.unregistered_at)
        if settled.remember is not None:
            self._ledger.remember_environment(app_id, route.token, settled.remember)
        if settled.pause and not burst:
            self._ledger.pause(route.credential, f"{settled.reason}: {settled.cause}")
        if settled.tell:
            self._telemetry.tell_operator(app_id, settled.reason, settled.cause, settled.cure)
        if settled.again is not None and settled.retry_at is not None and settled.retry_at <= now:
            self._again.append(_Flight(flight.open, settled.again))
            return
        record = of_settled(push, flight.again, delivery.request, verdict.status, settled, now)
        event = flight.open.event
        if settled.again is not None and settled.retry_at is not None:
            lane = Lane.CALLS if event.is_call else Lane.MESSAGES
            due = Due(push.id, settled.retry_at, lane, for_one(event, settled.again), settled.again)
            self._ledger.later(record, due)
        else:
            self._ledger.ended(event, record)
        self._one_less(flight.open)

    def _send_again(self) -> None:
        """What goes out at once is decided anew, where a store is away at the next turn.

        Its token may have moved to another user, another environment has another server and may have another
        credential, and what waited for a bearer may have expired.
        """
        if not self._again:
            return
        now = self._clock()
        users = [(one.open.event.app, one.again.uid or one.again.recipient) for one in self._again]
        apps = self._apps.get(list({app_id for app_id, _ in users}))
        devices = self._devices.of(users)
        flights, self._again = self._again, []
        for flight, user in zip(flights, users, strict=True):
            event, again = flight.open.event, flight.again
            try:
                (planned,) = plan(
                    event,
                    apps.get(event.app),
                    devices.get(user, ()),
                    again=again,
                    recipient=again.recipient,
                    enqueued_at=again.enqueued_at,
                    now=now,
                )
            except Exception as error:
                self._give_up(flight.open, error)
                continue
            if isinstance(planned, Launch):
                self._hand_over(_Flight(flight.open, planned.again), planned.push)
            else:
                self._refuse(flight.open, planned, devices, now)

    def _one_less(self, open_: _Open) -> None:
        open_.left -= 1
        if not open_.left:
            self._open -= 1
            self._ledger.done(open_.entry)
