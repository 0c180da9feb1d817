"""Both codecs against servers that share no code with them: what is built is taken, what is answered is understood."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from values import BUNDLE_ID, SANDBOX, device, event

from pushsvc.dispatch.plan import Launch, plan
from pushsvc.dispatch.ports import Sender
from pushsvc.domain.app import App, Settings
from pushsvc.domain.credential import Credential
from pushsvc.domain.device import Device, Platform
from pushsvc.domain.event import Event, Kind
from pushsvc.domain.push import Answer, Bearer, Identity, Push, PushRequest, Verdict
from pushsvc.providers import Apns, Fcm
from pushsvc.senders import make_sender
from pushsvc.simulator import Simulator
from pushsvc.simulator.authority import ApnsKey, PushCertificate, ServiceAccount

NEVER_S = 20.0


class World:
    """One app with real credentials, the two providers pointed at the simulator, and a sender."""

    def __init__(self, simulator: Simulator, sender: Sender, credentials: tuple[Credential, ...]) -> None:
        self.simulator = simulator
        self.sender = sender
        self.credentials = credentials
        self.apns = Apns(simulator.apns_production.host, simulator.apns_sandbox.host)
        self.fcm = Fcm(simulator.fcm.host, simulator.oauth.host)

    def push(self, of: Event, to: Device, **settings: Any) -> Push:
        by = App(1, "chat", Settings(**settings), self.credentials)
        now = self.simulator.clock.now()
        (launch,) = plan(of, by, (to,), recipient="bob", enqueued_at=now, now=now)
        assert isinstance(launch, Launch), launch
        return launch.push

    def sent(self, push: Push) -> Verdict:
        provider = self.apns if push.route.provider == "apns" else self.fcm
        bearer = provider.bearer(push.route.credential, push.now)
        if isinstance(bearer, PushRequest):
            got = provider.read_bearer(push.route.credential, self._answer(bearer, Identity("oauth")), push.now)
            assert isinstance(got, Bearer), got
            bearer = got
        request = provider.build(push, bearer.token if bearer else None)
        answer = self._answer(request, provider.identity(push.route.credential, push.route.environment))
        return provider.read(push, answer)

    def _answer(self, request: PushRequest, identity: Identity) -> Answer:
        self.sender.submit("one", request, identity)
        found: list[tuple[object, Answer]] = []
        while not found:
            found = self.sender.poll(NEVER_S)
        return found[0][1]

    def event(self, **given: Any) -> Event:
        return event(sent_at=self.simulator.clock.now(), **given)

    def phone(self, environment: str = "production", **given: Any) -> Device:
        push, voip = (
            self.simulator.devices.apns(environment, topic).token for topic in (BUNDLE_ID, f"{BUNDLE_ID}.voip")
        )
        return device(push=push, voip=voip, **given)

    def fcm_device(self, platform: Platform) -> Device:
        return device(platform, fcm=self.simulator.devices.fcm("chat-1", BUNDLE_ID, platform=platform.value).token)

    @property
    def body(self) -> Any:
        return json.loads(self.simulator.requests()[-1].body)


@pytest.fixture(scope="module")
def issued(running_simulator: Simulator) -> tuple[PushCertificate, ApnsKey, ServiceAccount]:
    authority = running_simulator.authority
    return (
        authority.issue_push_certificate(BUNDLE_ID, kind="multi-topic"),
        authority.issue_apns_key(),
        authority.issue_service_account("chat-1"),
    )


@pytest.fixture
def sender(simulator: Simulator) -> Iterator[Sender]:
    made = make_sender(
        "curl",
        capacity=10,
        connect_timeout_s=NEVER_S,
        answer_timeout_s=NEVER_S,
        provider_ca_pem=simulator.ca_pem,
        proxy="",
    )
    yield made
    made.close()


MakeWorld = Callable[[str], World]


@pytest.fixture
def world_with(
    simulator: Simulator, sender: Sender, issued: tuple[PushCertificate, ApnsKey, ServiceAccount]
) -> MakeWorld:
    """A world whose APNs credential is a certificate or a key, inspected from the uploaded file."""
    certificate, key, account = issued
    apns, fcm = Apns("a:1", "b:1"), Fcm("a:1", "b:1")
    now = simulator.clock.now()

    def made(kind: str) -> World:
        if kind == "certificate":
            finding, secret = apns.inspect(certificate.pkcs12("push", "rc2-40", chain=True), now=now, password="push")
        else:
            finding, secret = apns.inspect(key.p8, now=now, team_id=key.team_id, key_id=key.key_id)
        google, json_file = fcm.inspect(json.dumps(account.as_json()).encode(), now=now)
        return World(simulator, sender, (Credential(1, 1, finding, secret), Credential(2, 1, google, json_file)))

    return made


FULL = {"id": 5, "from": "alice", "name": "Alice", "gid": 42, "title": "Hello", "body": "How are you?", "badge": 3}
SETTINGS = [{}, {"background": False, "sound": "ping", "collapse": True}, {"privacy": True, "background": False}]


@pytest.mark.parametrize("credential", ["certificate", "key"])
@pytest.mark.parametrize("settings", SETTINGS, ids=["background", "alert", "privacy"])
def test_apns_takes_every_kind_of_event(world_with: MakeWorld, credential: str, settings: dict[str, Any]) -> None:
    world = world_with(credential)
    phone = world.phone()
    for kind in Kind:
        push = world.push(world.event(kind=kind, message=FULL), phone, **settings)
        assert world.sent(push).accepted, kind
        assert world.simulator.requests()[-1].apns_id == push.id


@pytest.mark.parametrize("platform", list(Platform))
@pytest.mark.parametrize("settings", SETTINGS, ids=["background", "alert", "privacy"])
def test_fcm_takes_every_kind_of_event(world_with: MakeWorld, platform: Platform, settings: dict[str, Any]) -> None:
    world = world_with("key")
    to = world.fcm_device(platform)
    for kind in Kind:
        verdict = world.sent(world.push(world.event(kind=kind, message=FULL), to, **settings))
        assert verdict.accepted, (kind, verdict)


def test_what_was_made_to_fit_is_taken(world_with: MakeWorld) -> None:
    world = world_with("key")
    long = {**FULL, "title": "ü" * 3000, "body": "🇩🇪" * 3000, "data": {"k": "d" * 3000}}
    for to in (world.phone(), *(world.fcm_device(platform) for platform in Platform)):
        for settings in ({}, {"background": False}):
            assert world.sent(world.push(world.event(message=long), to, **settings)).accepted
        assert world.sent(world.push(world.event(kind=Kind.CALL, message=long), to)).accepted


OVERRIDES = {
    "complication": {},
    "controls": {"payload": {"aps": {"content-changed": True}}},
    "fileprovider": {"payload": {"container-identifier": "c"}},
    "liveactivity": {"payload": {"aps": {"event": "update", "content-state": {"score": 1}}}},
    "location": {},
    "pushtotalk": {},
    "widgets": {"payload": {"aps": {"content-changed": True}}},
}


@pytest.mark.parametrize("push_type", sorted(OVERRIDES))
def test_apns_takes_the_other_push_types(world_with: MakeWorld, push_type: str) -> None:
    world = world_with("key")
    over = {"push_type": push_type, **OVERRIDES[push_type]}
    world.apns.check_overrides(over)
    of = world.event(apns=over)
    push = world.push(of, device(push="a1" * 32))
    token = world.simulator.devices.apns("production", push.route.topic).token
    assert world.sent(world.push(of, device(push=token))).accepted


def test_a_token_of_the_other_environment_is_a_bad_one_here_and_taken_there(world_with: MakeWorld) -> None:
    world = world_with("certificate")
    phone = world.phone("sandbox")
    assert world.sent(world.push(world.event(), phone)).reason == "BadDeviceToken"
    assert phone.push_token is not None
    there = device(push=phone.push_token.token, environment=SANDBOX)
    assert world.sent(world.push(world.event(), there)).accepted


def test_a_dead_token_is_known_with_its_time(world_with: MakeWorld) -> None:
    world = world_with("certificate")
    phone = world.phone()
    assert phone.push_token is not None
    world.simulator.devices.unregister(phone.push_token.token, since_ms=1_700_000_000_123)
    verdict = world.sent(world.push(world.event(), phone))
    assert (verdict.status, verdict.reason, verdict.unregistered_at) == (410, "Unregistered", 1_700_000_000.123)
    android = world.fcm_device(Platform.ANDROID)
    assert android.fcm_token is not None
    world.simulator.devices.unregister(android.fcm_token.token)
    assert world.sent(world.push(world.event(), android)).reason == "UNREGISTERED"
