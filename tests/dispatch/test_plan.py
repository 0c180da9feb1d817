from __future__ import annotations

import uuid
from dataclasses import replace

import pytest
from values import ANDROID, APNS_TOKEN, IPHONE, NOW, PRODUCTION, SANDBOX, VOIP_TOKEN, app, certificate, device, event

from pushsvc.dispatch.plan import Launch, Planned, Refused, plan, useful_until
from pushsvc.dispatch.ports import Again
from pushsvc.domain.app import App
from pushsvc.domain.device import Device
from pushsvc.domain.event import MAX_EXPIRY_S, Event, Kind
from pushsvc.domain.outcome import Outcome
from pushsvc.domain.push import push_id


def planned(
    of: Event,
    *devices: Device,
    by: App | None = None,
    now: float = NOW,
    ended: tuple[int, ...] = (),
    again: Again | None = None,
) -> list[Planned]:
    return plan(of, by or app(), devices, again=again, recipient="bob", enqueued_at=NOW, ended=ended, now=now)


def test_every_device_that_takes_part_gets_its_push() -> None:
    first, second = planned(event(), IPHONE, ANDROID)
    assert isinstance(first, Launch)
    assert isinstance(second, Launch)
    assert (first.push.route.provider, second.push.route.provider) == ("apns", "fcm")
    assert first.again == Again(token_id=1, uid=7, recipient="bob", attempt=1, enqueued_at=NOW)
    assert (first.push.attempt, first.push.now) == (1, NOW)


def test_the_push_id_is_a_uuid_of_what_the_push_is_about_and_the_same_on_every_attempt() -> None:
    (first,) = planned(event(), IPHONE)
    (retry,) = planned(event(), IPHONE, again=Again(1, 7, "bob", 4, NOW), now=NOW + 500)
    assert isinstance(first, Launch)
    assert isinstance(retry, Launch)
    assert first.push.id == retry.push.id == push_id(1, "event-1", 1) == str(uuid.UUID(first.push.id))
    assert retry.push.attempt == 4


@pytest.mark.parametrize(
    ("given", "now", "reason", "outcome"),
    [
        ({"expiry": 0}, NOW, "OnlineOnly", Outcome.SUPPRESSED),
        ({"expiry": 60}, NOW + 60, "Expired", Outcome.EXPIRED),
        ({"expiry": 60}, NOW + 61, "Expired", Outcome.EXPIRED),
        ({"kind": Kind.CALL}, NOW + 60, "Expired", Outcome.EXPIRED),
        ({"kind": Kind.CALL_CANCELLED}, NOW + 60, "Expired", Outcome.EXPIRED),
    ],
)
def test_what_is_not_to_be_sent_any_more_is_refused_once(
    given: dict[str, object], now: float, reason: str, outcome: Outcome
) -> None:
    (refused,) = planned(event(**given), IPHONE, ANDROID, now=now)
    assert isinstance(refused, Refused)
    assert (refused.row.reason, refused.row.outcome, refused.again.token_id) == (reason, outcome, 0)


@pytest.mark.parametrize(
    ("kind", "expiry", "useful_s"),
    [
        (Kind.MESSAGE, MAX_EXPIRY_S, MAX_EXPIRY_S),
        (Kind.MESSAGE, 10, 10),
        (Kind.CALL, MAX_EXPIRY_S, 60),
        (Kind.CALL, 90, 90),
        (Kind.CALL, 20, 20),
        (Kind.CALL_CANCELLED, MAX_EXPIRY_S, 60),
    ],
)
def test_a_call_without_an_expiry_is_useful_for_a_minute(kind: Kind, expiry: int, useful_s: int) -> None:
    assert useful_until(event(kind=kind, expiry=expiry)) == NOW + useful_s


def test_the_ttl_is_what_is_left_of_the_expiry() -> None:
    (launch,) = planned(event(expiry=100), IPHONE, now=NOW + 30.5)
    assert isinstance(launch, Launch)
    assert launch.push.ttl_s == 69


@pytest.mark.parametrize("devices", [(), (device(voip=VOIP_TOKEN),)], ids=["none at all", "a VoIP token alone"])
def test_a_user_without_a_fitting_device_has_none(devices: tuple[Device, ...]) -> None:
    (refused,) = planned(event(), *devices)
    assert isinstance(refused, Refused)
    assert (refused.row.outcome, refused.again.token_id) == (Outcome.NO_DEVICE, 0)


def test_an_app_that_is_unknown_is_not_configured() -> None:
    (refused,) = plan(event(), None, (), recipient="bob", enqueued_at=NOW, now=NOW)
    assert isinstance(refused, Refused)
    assert (refused.row.reason, refused.row.outcome.code) == ("UnknownApp", 901)


def test_a_refusal_of_one_device_leaves_the_others_alone() -> None:
    first, second = planned(event(), IPHONE, ANDROID, by=app(certificate()))
    assert isinstance(first, Launch)
    assert isinstance(second, Refused)
    assert (second.row.outcome.code, second.again.token_id) == (901, 3)
    assert second.push_id == push_id(1, "event-1", 3)


def test_what_has_ended_is_left_out() -> None:
    assert [p.again.token_id for p in planned(event(), IPHONE, ANDROID, ended=(1,))] == [3]
    assert planned(event(), IPHONE, ANDROID, ended=(1, 3)) == []


def test_a_retry_is_for_its_token_alone() -> None:
    other = device(push="cc" * 32)
    again = Again(3, 7, "bob", 2, NOW - 5)
    (launch,) = planned(event(), other, IPHONE, ANDROID, again=again)
    assert isinstance(launch, Launch)
    assert (launch.push.route.token.id, launch.push.attempt, launch.again) == (3, 2, again)


def test_a_retry_does_not_move_to_another_token_of_the_device() -> None:
    call_by_alert = Again(1, 7, "bob", 2, NOW)
    (refused,) = planned(event(kind=Kind.CALL), IPHONE, again=call_by_alert)
    assert isinstance(refused, Refused)
    assert (refused.row.outcome, refused.again) == (Outcome.NO_DEVICE, call_by_alert)


def test_a_retry_asks_the_server_that_it_carries() -> None:
    again = Again(1, 7, "bob", 2, NOW, refused_by=PRODUCTION)
    (launch,) = planned(event(), device(push=APNS_TOKEN), again=again)
    assert isinstance(launch, Launch)
    assert launch.push.route.environment is SANDBOX


def test_a_retry_whose_token_is_gone_has_no_device() -> None:
    (refused,) = planned(event(), ANDROID, again=Again(99, 7, "bob", 2, NOW))
    assert isinstance(refused, Refused)
    assert (refused.row.outcome, refused.again.token_id) == (Outcome.NO_DEVICE, 99)


def test_a_user_who_is_switched_off_gets_nothing_for_a_reason_of_its_own() -> None:
    (refused,) = planned(event(), replace(IPHONE, user_active=False), replace(ANDROID, user_active=False))
    assert isinstance(refused, Refused)
    assert (refused.row.reason, refused.row.outcome) == ("UserDisabled", Outcome.NO_DEVICE)
