"""Puts the bearer on a push and hands it to the sender; pushes whose bearer is being fetched wait here."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from pushsvc.dispatch.ports import Reach, Sender, Shelf, StreamUnavailable
from pushsvc.domain.credential import Credential
from pushsvc.domain.push import Answer, Bearer, Identity, Push, PushRequest, Verdict
from pushsvc.providers.provider import PayloadRefused, Provider

FETCH_LOCK_S = 15.0  # one worker's time to fetch a bearer before another may try
LOOK_AGAIN_S = 0.1  # how often a worker looks whether another has fetched the bearer
FAILURE_HOLDS_S = 5.0  # pushes that come within this time of a failed fetch share its verdict
STALE_S = 1.0  # what has waited here for longer is decided anew: it may have expired, or its token may have moved


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came of a push that was handed over: the provider's answer, or why it never went out.

    Without a verdict it has waited for so long that it has to be decided anew. `shared` says that the verdict came with
    another push already: one answer of the OAuth server serves many.
    """

    tag: object
    push: Push
    request: PushRequest | None
    answer: Answer | None
    verdict: Verdict | None
    bearer: str | None = field(default=None, repr=False)
    shared: bool = False


class _Sent(NamedTuple):
    """What the sender gives back beside the answer."""

    tag: object
    push: Push
    request: PushRequest
    bearer: str | None
    since: float  # the pulse at which it was built


@dataclass(slots=True)
class _Fetch:
    """A bearer that is on its way: who waits for it, and when to look on the shelf again."""

    credential: Credential
    waiting: list[tuple[object, Push, float]] = field(default_factory=list)  # with the pulse of their coming
    asked: bool = False
    look_at: float = 0.0


class Courier:
    """One per worker loop, single-threaded; every push handed over comes back from `poll` exactly once."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        sender: Sender,
        control: Sender,
        shelf: Shelf,
        *,
        capacity: int,
        clock: Callable[[], float] = time.time,
        pulse: Callable[[], float] = time.monotonic,
    ) -> None:
        """`capacity` is how many requests may wait for their answers; what is more waits here."""
        self._providers = providers
        self._sender = sender
        self._control = control
        self._shelf = shelf
        self._capacity = capacity
        self._clock = clock
        self._pulse = pulse
        self._bearers: dict[str, Bearer] = {}
        self._fetches: dict[str, _Fetch] = {}
        self._failed: dict[str, tuple[float, Verdict]] = {}
        self._identities: dict[tuple[str, str | None], Identity] = {}
        self._refused: list[Delivery] = []
        self._waiting = 0
        self._held: deque[_Sent] = deque()
        self._held_calls: deque[_Sent] = deque()

    @property
    def in_flight(self) -> int:
        """What has been handed over and has not come back, wherever it waits."""
        held = len(self._held) + len(self._held_calls)
        return self._sender.in_flight + held + self._waiting + len(self._refused)

    @property
    def room_for_calls(self) -> int:
        """How many calls could go out now, whatever messages wait."""
        return self._capacity - self._sender.in_flight - len(self._held_calls)

    @property
    def reach(self) -> Mapping[str, Reach]:
        """How each authority is reached, those of the bearers too."""
        return {**self._control.reach, **self._sender.reach}

    def hand_over(self, tag: object, push: Push) -> None:
        """Sends the push as soon as its bearer is there; what cannot be built comes back as a verdict."""
        credential = push.route.credential
        key = credential.identity
        bearer = self._bearers.get(key)
        if bearer is not None and bearer.use_until > push.now:
            self._send(tag, push, bearer.token)
            return
        provider = self._providers[push.route.provider]
        fetch = self._fetches.get(key)
        if fetch is None:
            failed = self._failed.get(key)
            if failed is not None and failed[0] > self._pulse():
                self._refused.append(Delivery(tag, push, None, None, failed[1], shared=True))
                return
            made = provider.bearer(credential, push.now)
            if made is None:
                self._send(tag, push, None)
                return
            if isinstance(made, Bearer):
                self._bearers[key] = made
                self._send(tag, push, made.token)
                return
            fetch = self._fetches[key] = _Fetch(credential)
        fetch.waiting.append((tag, push, self._pulse()))
        self._waiting += 1

    def renew(self, refused: Delivery) -> None:
        """The provider refused the bearer: this credential's next push goes with a new one, on a new connection."""
        key = refused.push.route.credential.identity
        bearer = self._bearers.get(key)
        if bearer is not None and bearer.token != refused.bearer:
            return  # renewed already, by another push of the same burst
        self._bearers.pop(key, None)
        with suppress(StreamUnavailable):  # then the refused one may be taken once more, and is refused once more
            lying = self._shelf.take(key)
            if lying is not None and lying[0] == refused.bearer:
                self._shelf.forget(key)
        self.reconnect(refused.push)

    def reconnect(self, push: Push) -> None:
        """This credential's next push goes on a new connection."""
        self._sender.renew(self._identity(push))

    def poll(self, timeout_s: float) -> list[Delivery]:
        """What has ended, as soon as there is any, or nothing after `timeout_s`."""
        if self._fetches:
            with suppress(StreamUnavailable):  # the answers of pushes under way are taken all the same
                self._fetch()
            timeout_s = min(timeout_s, 0.02)
        done, self._refused = self._refused, []
        for sent, answer in self._sender.poll(0 if done else timeout_s):
            tag, push, request, bearer, _ = cast(_Sent, sent)
            verdict = self._providers[push.route.provider].read(push, answer)
            done.append(Delivery(tag, push, request, answer, verdict, bearer))
        self._submit()
        return done

    def close(self) -> None:
        try:
            self._sender.close()
        finally:
            self._control.close()

    def _send(self, tag: object, push: Push, bearer: str | None) -> None:
        try:
            request = self._providers[push.route.provider].build(push, bearer)
        except PayloadRefused as refused:
            verdict = Verdict(refused.row, reason=refused.cause)
            self._refused.append(Delivery(tag, push, None, None, verdict))
            return
        held = self._held_calls if push.event.is_call else self._held
        held.append(_Sent(tag, push, request, bearer, self._pulse()))
        self._submit()

    def _submit(self) -> None:
        """One event may be for thousands of devices: they go out as others are answered, calls first.

        A tenth of the places is kept for calls, so that a provider that is silent to messages does not hold them up.
        """
        self._submit_within(self._held_calls, self._capacity)
        self._submit_within(self._held, self._capacity - self._capacity // 10)

    def _submit_within(self, held: deque[_Sent], places: int) -> None:
        while held and self._sender.in_flight < places:
            sent = held.popleft()
            if self._is_stale(sent.since):
                self._refused.append(Delivery(sent.tag, sent.push, None, None, None))
            else:
                self._sender.submit(sent, sent.request, self._identity(sent.push))

    def _is_stale(self, since: float) -> bool:
        return self._pulse() - since > STALE_S

    def _identity(self, push: Push) -> Identity:
        route = push.route
        key = (route.credential.identity, route.environment)
        identity = self._identities.get(key)
        if identity is None:
            if len(self._identities) > 10_000:  # credentials come and go over months; connections close by themselves
                self._identities.clear()
            identity = self._providers[route.provider].identity(route.credential, route.environment)
            self._identities[key] = identity
        return identity

    def _fetch(self) -> None:
        """One fetch for all workers: the shelf first, then whoever holds the lock asks the provider."""
        now, pulse = self._clock(), self._pulse()
        for key, fetch in list(self._fetches.items()):
            if fetch.asked or fetch.look_at > pulse:
                continue
            fetch.look_at = pulse + LOOK_AGAIN_S
            lying = self._shelf.take(key)
            if lying is not None and lying[1] > now:
                self._fetched(key, Bearer(*lying))
            elif self._shelf.may_fetch(key, FETCH_LOCK_S):
                request = self._providers[fetch.credential.finding.kind.provider].bearer(fetch.credential, now)
                if isinstance(request, PushRequest):
                    fetch.asked = True
                    self._control.submit(key, request, Identity(f"bearer:{request.authority}"))
        for asked, answer in self._control.poll(0):
            key = cast(str, asked)
            fetch = self._fetches[key]
            provider = self._providers[fetch.credential.finding.kind.provider]
            got = provider.read_bearer(fetch.credential, answer, now)
            if isinstance(got, Bearer):
                with suppress(StreamUnavailable):  # then the other workers fetch their own
                    self._shelf.put(key, got.token, got.use_until)
            self._fetched(key, got)

    def _fetched(self, key: str, got: Bearer | Verdict) -> None:
        fetch = self._fetches.pop(key)
        self._waiting -= len(fetch.waiting)
        if isinstance(got, Bearer):
            self._bearers[key] = got
            for tag, push, since in fetch.waiting:
                if self._is_stale(since):
                    self._refused.append(Delivery(tag, push, None, None, None))
                else:
                    self._send(tag, push, got.token)
        else:
            self._failed[key] = (self._pulse() + FAILURE_HOLDS_S, got)
            self._refused += [
                Delivery(tag, push, None, None, got, shared=place > 0)
                for place, (tag, push, _) in enumerate(fetch.waiting)
            ]
