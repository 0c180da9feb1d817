from __future__ import annotations

import itertools

import pytest
from values import (
    ANDROID,
    APNS_TOKEN,
    BOTH,
    BUNDLE_ID,
    FCM_IPHONE,
    FCM_TOKEN,
    IPHONE,
    NOW,
    PRODUCTION,
    SANDBOX,
    VOIP_TOKEN,
    WEB,
    app,
    certificate,
    device,
    event,
    key,
    service_account,
)

from pushsvc.domain.app import App
from pushsvc.domain.credential import Credential
from pushsvc.domain.device import Device, Environment
from pushsvc.domain.event import Kind
from pushsvc.domain.push import PushType, Refusal, Route
from pushsvc.routing import choose_credential, route

MESSAGE, CALL, CANCELLED, SILENT = Kind.MESSAGE, Kind.CALL, Kind.CALL_CANCELLED, Kind.SILENT
PUSH_ONLY, VOIP_ONLY = device(push=APNS_TOKEN), device(voip=VOIP_TOKEN)
BOTH_WAYS = device(push=APNS_TOKEN, fcm=FCM_TOKEN)
ALL_THREE = device(push=APNS_TOKEN, voip=VOIP_TOKEN, fcm=FCM_TOKEN)
VOIP_TOPIC = f"{BUNDLE_ID}.voip"
A, F = "apns", "fcm"

# device, kind, settings -> (provider, token, push type, topic), None where the device takes no part
TABLE = [
    (IPHONE, MESSAGE, {}, (A, APNS_TOKEN, "background", BUNDLE_ID)),
    (IPHONE, MESSAGE, {"background": False}, (A, APNS_TOKEN, "alert", BUNDLE_ID)),
    (IPHONE, SILENT, {"background": False}, (A, APNS_TOKEN, "background", BUNDLE_ID)),
    (IPHONE, CALL, {}, (A, VOIP_TOKEN, "voip", VOIP_TOPIC)),
    (IPHONE, CANCELLED, {}, (A, VOIP_TOKEN, "voip", VOIP_TOPIC)),
    (PUSH_ONLY, CALL, {}, (A, APNS_TOKEN, "alert", BUNDLE_ID)),
    (PUSH_ONLY, CANCELLED, {}, (A, APNS_TOKEN, "alert", BUNDLE_ID)),
    (VOIP_ONLY, CALL, {}, (A, VOIP_TOKEN, "voip", VOIP_TOPIC)),
    (VOIP_ONLY, MESSAGE, {}, None),
    (VOIP_ONLY, MESSAGE, {"background": False}, None),
    (VOIP_ONLY, SILENT, {}, None),
    (ANDROID, MESSAGE, {}, (F, FCM_TOKEN, "background", BUNDLE_ID)),
    (ANDROID, MESSAGE, {"background": False}, (F, FCM_TOKEN, "alert", BUNDLE_ID)),
    (ANDROID, SILENT, {"background": False}, (F, FCM_TOKEN, "background", BUNDLE_ID)),
    (ANDROID, CALL, {}, (F, FCM_TOKEN, "voip", BUNDLE_ID)),
    (ANDROID, CANCELLED, {}, (F, FCM_TOKEN, "voip", BUNDLE_ID)),
    (WEB, CALL, {}, (F, FCM_TOKEN, "voip", BUNDLE_ID)),
    (WEB, MESSAGE, {"background": False}, (F, FCM_TOKEN, "alert", BUNDLE_ID)),
    (FCM_IPHONE, MESSAGE, {}, (F, FCM_TOKEN, "background", BUNDLE_ID)),
    (FCM_IPHONE, CALL, {}, (F, FCM_TOKEN, "alert", BUNDLE_ID)),
    (BOTH_WAYS, MESSAGE, {}, (A, APNS_TOKEN, "background", BUNDLE_ID)),
    (BOTH_WAYS, MESSAGE, {"autoroute": True}, (F, FCM_TOKEN, "background", BUNDLE_ID)),
    (BOTH_WAYS, CALL, {"autoroute": True}, (F, FCM_TOKEN, "alert", BUNDLE_ID)),
    (ALL_THREE, MESSAGE, {"autoroute": True}, (F, FCM_TOKEN, "background", BUNDLE_ID)),
    (ALL_THREE, CALL, {"autoroute": True}, (A, VOIP_TOKEN, "voip", VOIP_TOPIC)),
    (PUSH_ONLY, MESSAGE, {"autoroute": True}, (A, APNS_TOKEN, "background", BUNDLE_ID)),
]


@pytest.mark.parametrize(("to", "kind", "settings", "expected"), TABLE)
def test_a_device_is_reached_by_its_route(
    to: Device, kind: Kind, settings: dict[str, bool], expected: tuple[str, ...] | None
) -> None:
    found = route(event(kind=kind), to, app(**settings), NOW)
    if expected is None:
        assert found is None
    else:
        assert isinstance(found, Route)
        assert (found.provider, found.token.token, found.push_type.value, found.topic) == expected


def test_a_pushkit_token_never_carries_a_message_whatever_the_settings() -> None:
    names = ("background", "collapse", "autoroute", "sandbox_to_production", "privacy")
    for values in itertools.product((False, True), repeat=len(names)):
        by = app(**dict(zip(names, values, strict=True)))
        for kind, to in itertools.product((MESSAGE, SILENT), (IPHONE, VOIP_ONLY, ALL_THREE)):
            found = route(event(kind=kind), to, by, NOW)
            assert found is None or (isinstance(found, Route) and found.token.token != VOIP_TOKEN)


def test_autoroute_without_an_fcm_credential_stays_with_apns() -> None:
    found = route(event(), BOTH_WAYS, app(certificate(), autoroute=True), NOW)
    assert isinstance(found, Route)
    assert found.provider == "apns"


SANDBOX_PHONE = device(push=APNS_TOKEN, environment=SANDBOX)


@pytest.mark.parametrize(
    ("to", "settings", "given", "expected"),
    [
        (PUSH_ONLY, {}, {}, PRODUCTION),
        (SANDBOX_PHONE, {}, {}, SANDBOX),
        (SANDBOX_PHONE, {"sandbox_to_production": True}, {}, PRODUCTION),
        (PUSH_ONLY, {"sandbox_to_production": True}, {}, PRODUCTION),
        (PUSH_ONLY, {}, {"refused_by": PRODUCTION}, SANDBOX),
        (SANDBOX_PHONE, {"sandbox_to_production": True}, {"refused_by": PRODUCTION}, SANDBOX),
        (PUSH_ONLY, {}, {"environment": SANDBOX}, SANDBOX),
        (PUSH_ONLY, {}, {"environment": SANDBOX, "refused_by": SANDBOX}, SANDBOX),
        (ANDROID, {}, {}, None),
    ],
)
def test_the_server_asked_is_the_tokens_own_unless_something_says_otherwise(
    to: Device, settings: dict[str, bool], given: dict[str, Environment], expected: Environment | None
) -> None:
    found = route(event(), to, app(**settings), NOW, **given)
    assert isinstance(found, Route)
    assert found.environment is expected


DEV = {"environments": frozenset({SANDBOX})}
PROD = {"environments": frozenset({PRODUCTION})}
OLD = {"not_after": NOW - 1}
EARLY = {"not_before": NOW + 1}
OTHER = {"topics": ("com.example.other",)}


def paused(credential: Credential) -> Credential:
    return Credential(credential.id, 1, credential.finding, b"", paused="BadCertificate")


REFUSALS = [
    (app(service_account()), PUSH_ONLY, MESSAGE, "NotConfigured", 901),
    (app(certificate()), ANDROID, MESSAGE, "NotConfigured", 901),
    (app(certificate(), push=False), PUSH_ONLY, MESSAGE, "PushDisabled", 902),
    (app(certificate(), active=False), PUSH_ONLY, MESSAGE, "AppDisabled", 902),
    (app(paused(certificate())), PUSH_ONLY, MESSAGE, "CredentialPaused", 902),
    (app(certificate(**OLD)), PUSH_ONLY, MESSAGE, "CertificateExpired", 903),
    (app(certificate(**EARLY)), PUSH_ONLY, MESSAGE, "CertificateNotYetValid", 904),
    (app(certificate(**PROD)), SANDBOX_PHONE, MESSAGE, "SandboxNotServed", 904),
    (app(certificate(**DEV)), PUSH_ONLY, MESSAGE, "ProductionNotServed", 905),
    (app(key(**DEV)), PUSH_ONLY, MESSAGE, "ProductionNotServed", 905),
    (app(certificate(**OTHER)), PUSH_ONLY, MESSAGE, "TopicNotServed", 912),
    (app(key(**OTHER)), PUSH_ONLY, MESSAGE, "TopicNotServed", 912),
    (app(certificate(topics=(BUNDLE_ID,))), IPHONE, CALL, "TopicNotServed", 912),
    (app(certificate()), device(push="xyz"), MESSAGE, "MalformedToken", 911),
    (app(certificate()), device(push="a" * 63), MESSAGE, "MalformedToken", 911),
    (app(certificate()), device(push="ab" * 16 + "/../x"), MESSAGE, "MalformedToken", 911),
    # Several credentials: the reason of the one that came furthest.
    (app(certificate(1, **OTHER), certificate(2, **OLD)), PUSH_ONLY, MESSAGE, "CertificateExpired", 903),
    (app(certificate(1, **OLD), paused(certificate(2))), PUSH_ONLY, MESSAGE, "CredentialPaused", 902),
    (app(certificate(1, **DEV), certificate(2, **OTHER)), PUSH_ONLY, MESSAGE, "ProductionNotServed", 905),
]


@pytest.mark.parametrize(("by", "to", "kind", "reason", "code"), REFUSALS)
def test_what_cannot_be_served_is_refused_with_its_row(by: App, to: Device, kind: Kind, reason: str, code: int) -> None:
    found = route(event(kind=kind), to, by, NOW)
    assert isinstance(found, Refusal)
    assert (found.row.reason, found.row.outcome.code) == (reason, code)
    assert found.token_id == to.tokens[1 if kind is CALL else 0].id


RANKING = [
    ("the topic by name before every topic of the team", [key(9), certificate(1)], 1),
    ("one environment before both", [certificate(9), certificate(1, **PROD)], 1),
    ("the newest of two alike", [certificate(3), certificate(7), certificate(5)], 7),
    ("the one that serves at all", [certificate(9, **DEV), certificate(8, **OLD), key(1)], 1),
    ("the one that is not paused", [paused(certificate(9)), certificate(1)], 1),
    ("a key for this topic before one for all", [key(9), key(2, topics=(BUNDLE_ID,))], 2),
]


@pytest.mark.parametrize(("why", "credentials", "expected"), RANKING)
def test_of_several_credentials_one_is_chosen(why: str, credentials: list[Credential], expected: int) -> None:
    for order in itertools.permutations(credentials):
        found = choose_credential(order, "apns", BUNDLE_ID, PRODUCTION, PushType.BACKGROUND, NOW)
        assert isinstance(found, Credential)
        assert found.id == expected, why


def test_a_key_for_a_bundle_id_serves_that_id_with_its_suffixes() -> None:
    found = route(event(kind=CALL), IPHONE, app(key(topics=(BUNDLE_ID,))), NOW)
    assert isinstance(found, Route)


SUFFIXES = {
    "alert": "",
    "background": "",
    "complication": ".complication",
    "controls": ".push-type.controls",
    "fileprovider": ".pushkit.fileprovider",
    "liveactivity": ".push-type.liveactivity",
    "location": ".location-query",
    "mdm": "",
    "pushtotalk": ".voip-ptt",
    "voip": ".voip",
    "widgets": ".push-type.widgets",
}


@pytest.mark.parametrize("push_type", [kind.value for kind in PushType])
def test_every_push_type_can_be_asked_for_and_has_its_topic(push_type: str) -> None:
    kind = CALL if push_type == "voip" else MESSAGE
    by = app(key(), certificate(topics=()), service_account(), autoroute=True)
    found = route(event(kind=kind, apns={"push_type": push_type}), IPHONE, by, NOW)
    assert isinstance(found, Route)
    assert (found.push_type.value, found.topic) == (push_type, BUNDLE_ID + SUFFIXES[push_type])
    assert found.token.token == (VOIP_TOKEN if push_type == "voip" else APNS_TOKEN)


def test_push_types_that_fcm_cannot_carry_go_to_apns_despite_autoroute() -> None:
    found = route(event(apns={"push_type": "widgets"}), BOTH_WAYS, app(key(), service_account(), autoroute=True), NOW)
    assert isinstance(found, Route)
    assert found.provider == "apns"
    assert route(event(apns={"push_type": "widgets"}), FCM_IPHONE, app(), NOW) is None


def test_the_overrides_topic_is_taken_as_it_is() -> None:
    found = route(event(apns={"topic": "com.example.chat.voip"}), IPHONE, app(), NOW)
    assert isinstance(found, Route)
    assert found.topic == "com.example.chat.voip"


def test_an_apns_override_does_not_touch_android() -> None:
    found = route(event(apns={"push_type": "widgets"}), ANDROID, app(), NOW)
    assert isinstance(found, Route)
    assert found.push_type is PushType.BACKGROUND


def test_a_voip_push_without_a_call_is_refused() -> None:
    found = route(event(apns={"push_type": "voip"}), IPHONE, app(), NOW)
    assert isinstance(found, Refusal)
    assert (found.row.reason, found.row.outcome.code) == ("VoipWithoutCall", 913)


@pytest.mark.parametrize(
    ("push_type", "credential", "reason"),
    [("location", certificate(), "KeyRequired"), ("mdm", key(), "CertificateRequired")],
)
def test_some_push_types_need_a_credential_of_one_kind(push_type: str, credential: Credential, reason: str) -> None:
    found = route(event(apns={"push_type": push_type}), IPHONE, app(credential), NOW)
    assert isinstance(found, Refusal)
    assert (found.row.reason, found.row.outcome.code) == (reason, 904)


def test_a_credential_of_unknown_environment_is_tried_in_both() -> None:
    for environment in BOTH:
        found = route(
            event(), device(push=APNS_TOKEN, environment=environment), app(key(environments=frozenset())), NOW
        )
        assert isinstance(found, Route)
