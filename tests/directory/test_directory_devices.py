"""Registration of devices: what is taken, and what a wrong token is told to be."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from pushsvc.directory.devices import NewDevice
from pushsvc.directory.refused import BadValue, NotFound
from pushsvc.domain.device import Environment, TokenKind
from tests.directory.use_cases import NOW, Directory

PUSH, VOIP = "a1" * 32, "b2" * 32
FCM = "c" * 22 + ":APA91b" + "D" * 134
IPHONE: dict[str, Any] = {"user": "alice", "platform": "ios", "appid": "com.example.chat", "environment": "production"}


def test_a_phone_with_all_three_tokens_is_one_device(directory: Directory, app_id: int) -> None:
    device = directory.devices.register(app_id, **IPHONE, push_token=PUSH, voip_token=VOIP, fcm_token=FCM)
    assert [(t.kind, t.token, t.registered_at) for t in device.tokens] == [
        (TokenKind.APNS, PUSH, NOW),
        (TokenKind.VOIP, VOIP, NOW),
        (TokenKind.FCM, FCM, NOW),
    ]
    assert directory.devices.of_user(app_id, "alice") == directory.devices.of_user(app_id, device.uid) == (device,)


def test_the_case_of_hexadecimal_tokens_is_folded_and_that_of_fcm_tokens_kept(
    directory: Directory, app_id: int
) -> None:
    first = directory.devices.register(app_id, **IPHONE, push_token=PUSH.upper(), voip_token=VOIP.upper())
    again = directory.devices.register(app_id, **IPHONE, push_token=PUSH, voip_token=VOIP, fcm_token=FCM)
    assert first.push_token == again.push_token
    assert first.voip_token == again.voip_token
    assert again.fcm_token is not None
    assert again.fcm_token.token == FCM
    assert directory.devices.with_token(app_id, PUSH.upper()) == again
    assert directory.devices.with_token(app_id, FCM) == again


def test_an_fcm_token_given_as_the_push_token_of_an_iphone_is_taken_as_one(directory: Directory, app_id: int) -> None:
    device = directory.devices.register(app_id, user="alice", platform="ios", appid="com.example.chat", push_token=FCM)
    assert (device.push_token, device.fcm_token.token if device.fcm_token else None) == (None, FCM)


@pytest.mark.parametrize("platform", ["android", "web"])
def test_android_and_the_web_need_no_environment(directory: Directory, app_id: int, platform: str) -> None:
    device = directory.devices.register(app_id, user="bob", platform=platform, appid="com.x", fcm_token=FCM)
    assert device.fcm_token is not None
    assert device.fcm_token.environment is None


@pytest.mark.parametrize(
    ("change", "prop", "says"),
    [
        ({"push_token": PUSH, "environment": None}, "environment", "no default"),
        ({"voip_token": VOIP, "environment": None}, "environment", "no default"),
        ({"push_token": PUSH, "environment": "prod"}, "environment", "no such environment"),
        ({"push_token": PUSH, "platform": "iphone"}, "platform", "no such platform"),
        ({}, "push_token", "no token"),
        ({"push_token": "", "voip_token": ""}, "push_token", "no token"),
        ({"push_token": base64.b64encode(bytes(range(32))).decode()}, "push_token", "base64"),
        ({"voip_token": base64.b64encode(b"\xff" * 32).decode().rstrip("=")}, "voip_token", "base64"),
        ({"push_token": "<" + " ".join([PUSH[:8]] * 8) + ">"}, "push_token", "description of an NSData"),
        ({"push_token": PUSH[:-1]}, "push_token", "64 to 200"),
        ({"push_token": PUSH + "0"}, "push_token", "64 to 200"),
        ({"push_token": PUSH * 4}, "push_token", "64 to 200"),
        ({"push_token": "no token at all"}, "push_token", "64 to 200"),
        ({"voip_token": FCM}, "voip_token", "FCM token"),
        ({"push_token": PUSH, "voip_token": PUSH.upper()}, "voip_token", "the same"),
        ({"fcm_token": PUSH}, "fcm_token", "APNs token"),
        ({"fcm_token": "short"}, "fcm_token", "32 to 1024"),
        ({"fcm_token": "x" * 1025}, "fcm_token", "32 to 1024"),
        ({"fcm_token": FCM + "\n"}, "fcm_token", "32 to 1024"),
        ({"push_token": FCM, "fcm_token": FCM + "x"}, "push_token", "another"),
        ({"push_token": PUSH, "platform": "android"}, "push_token", "android"),
        ({"push_token": PUSH, "appid": ""}, "appid", "1 to 255"),
        ({"push_token": PUSH, "appid": "com x"}, "appid", "no spaces"),
        ({"push_token": PUSH, "name": "x" * 256}, "name", "0 to 255"),
        ({"push_token": PUSH, "name": "a\x00b"}, "name", "printable"),
        ({"push_token": PUSH, "user": ""}, "user", "length"),
        ({"push_token": PUSH, "user": "a,b"}, "user", "match"),
        ({"push_token": PUSH, "user": 0}, "user", ">= 1"),
    ],
)
def test_what_is_wrong_is_named_with_its_cure_and_without_its_value(
    directory: Directory, app_id: int, change: dict[str, Any], prop: str, says: str
) -> None:
    with pytest.raises(BadValue, match=says) as caught:
        directory.devices.register(app_id, **{**IPHONE, **change})
    assert caught.value.prop == prop
    assert caught.value.cure
    for token in (change.get("push_token"), change.get("voip_token"), change.get("fcm_token")):
        assert not token or token not in f"{caught.value}{caught.value.cure}"
    assert directory.users.page(app_id) == []


def test_long_tokens_are_taken(directory: Directory, app_id: int) -> None:
    device = directory.devices.register(app_id, **IPHONE, push_token="ab" * 100)
    assert device.push_token is not None
    assert device.push_token.environment is Environment.PRODUCTION


def test_many_devices_are_registered_together_or_not_at_all(directory: Directory, app_id: int) -> None:
    many = [NewDevice(user=f"u{n}", platform="android", appid="com.x", fcm_token=f"{n:040}") for n in range(100)]
    registered = directory.devices.register_many(app_id, many)
    assert [device.fcm_token.token for device in registered if device.fcm_token] == [new.fcm_token for new in many]
    assert len({device.uid for device in registered}) == 100
    bad = NewDevice(user="late", platform="android", appid="com.x")
    with pytest.raises(BadValue):
        directory.devices.register_many(app_id, [NewDevice(user="x", platform="web", appid="y", fcm_token=FCM), bad])
    assert directory.devices.of_user(app_id, "x") == ()


def test_a_uid_that_is_nobody_is_not_made(directory: Directory, app_id: int) -> None:
    with pytest.raises(NotFound):
        directory.devices.register(app_id, **{**IPHONE, "user": 77}, push_token=PUSH)
    for unknown in (PUSH, "", "a\x00b", "ä", 7):
        with pytest.raises(NotFound):
            directory.devices.with_token(app_id, unknown)


def test_tokens_are_removed_one_or_all(directory: Directory, app_id: int) -> None:
    directory.devices.register(app_id, **IPHONE, push_token=PUSH, voip_token=VOIP)
    assert directory.devices.remove(app_id, "alice", VOIP.upper()) == 1
    assert directory.devices.remove(app_id, "alice", VOIP) == 0
    assert directory.devices.remove(app_id, "alice", "\x00") == 0
    assert directory.devices.remove(app_id, "alice") == 1
    assert directory.devices.of_user(app_id, "alice") == ()
    with pytest.raises(NotFound):
        directory.devices.remove(app_id, "nobody")


def test_tokens_are_not_in_the_repr_of_what_is_registered() -> None:
    new = NewDevice(**IPHONE, push_token=PUSH, voip_token=VOIP, fcm_token=FCM)
    assert not any(token in repr(new) for token in (PUSH, VOIP, FCM))


def test_a_pushkit_token_given_as_the_push_token_is_refused_until_it_is_removed(
    directory: Directory, app_id: int
) -> None:
    phone = {"platform": "ios", "appid": "com.example.chat", "environment": "production"}
    voip = "AB" * 32
    directory.devices.register(app_id, user="alice", voip_token=voip, **phone)
    with pytest.raises(BadValue, match="voip_token") as caught:
        directory.devices.register(app_id, user="bob", push_token=voip, **phone)
    assert caught.value.prop == "push_token"
    other = directory.apps.create("other")[0].app.id
    assert directory.devices.register(other, user="bob", push_token=voip, **phone)
    directory.devices.register(app_id, user="alice", voip_token=voip, push_token="cd" * 32, **phone)
    directory.devices.remove(app_id, "alice", voip)
    assert directory.devices.register(app_id, user="bob", push_token=voip, **phone).push_token
