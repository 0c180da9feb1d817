"""Every reason of APNs, for the cause that the documentation gives it."""

import re
from collections.abc import Callable, Iterator

import httpx
import pytest
from conftest import ALERT, BUNDLE, TEAM, Apns, provider_token

from pushsvc.simulator import Simulator
from pushsvc.simulator.apns_reasons import BROADCAST_REASONS, REASONS
from pushsvc.simulator.apns_rules import RULES

Connect = Callable[..., Apns]
Cause = Callable[[Simulator, Connect], httpx.Response]
CAUSES: dict[str, list[Cause]] = {}


def causes(reason: str) -> Callable[[Cause], Cause]:
    def note(cause: Cause) -> Cause:
        CAUSES.setdefault(reason, []).append(cause)
        return cause

    return note


def phone(simulator: Simulator, *topics: str, environment: str = "production") -> str:
    return simulator.devices.apns(environment, *(topics or (BUNDLE,))).token


@causes("BadCollapseId")
def collapse_id_of_65_bytes(simulator: Simulator, apns: Connect) -> httpx.Response:
    connection = apns()
    assert connection.push(phone(simulator), apns_collapse_id="c" * 64).status_code == 200
    return connection.push(phone(simulator), apns_collapse_id="c" * 65)


@causes("BadDeviceToken")
def token_that_is_not_hex(simulator: Simulator, apns: Connect) -> httpx.Response:
    return apns().push("not-a-token")


@causes("BadDeviceToken")
def token_of_the_other_environment(simulator: Simulator, apns: Connect) -> httpx.Response:
    token = phone(simulator, environment="sandbox")
    assert apns(environment="sandbox").push(token).status_code == 200
    return apns().push(token)


@causes("BadExpirationDate")
def expiration_that_is_no_number(simulator: Simulator, apns: Connect) -> httpx.Response:
    return apns().push(phone(simulator), apns_expiration="tomorrow")


@causes("BadMessageId")
def apns_id_that_is_no_uuid(simulator: Simulator, apns: Connect) -> httpx.Response:
    return apns().push(phone(simulator), apns_id="1234")


@causes("BadPriority")
def priority_seven(simulator: Simulator, apns: Connect) -> httpx.Response:
    return apns().push(phone(simulator), apns_priority="7")


@causes("BadPriority")
def background_push_with_priority_ten(simulator: Simulator, apns: Connect) -> httpx.Response:
    connection, token = apns(), phone(simulator)
    assert connection.push(token, apns_push_type="background", apns_priority="5").status_code == 200
    return connection.push(token, apns_push_type="background", apns_priority="10")


@causes("BadPriority")
def background_push_with_the_default_priority(simulator: Simulator, apns: Connect) -> httpx.Response:
    return apns().push(phone(simulator), apns_push_type="background")


@causes("BadTopic")
def topic_with_a_space(simulator: Simulator, apns: Connect) -> httpx.Response:
    return apns().push(phone(simulator), apns_topic="com example chat")


@causes("DeviceTokenNotForTopic")
def token_of_another_app(simulator: Simulator, apns: Connect) -> httpx.Response:
    return apns().push(phone(simulator, "com.example.other"))


@causes("DeviceTokenNotForTopic")
def alert_token_for_a_voip_push(simulator: Simulator, apns: Connect) -> httpx.Response:
    return apns().push(phone(simulator), apns_topic=f"{BUNDLE}.voip", apns_push_type="voip")


@causes("DuplicateHeaders")
def topic_given_twice(simulator: Simulator, apns: Connect) -> httpx.Response:
    connection = apns()
    headers = [("authorization", f"bearer {connection.bearer}"), ("apns-topic", BUNDLE), ("apns-topic", BUNDLE)]
    return connection.http.post(f"{connection.url}/3/device/{phone(simulator)}", headers=headers, content=ALERT)


@causes("InvalidPushType")
def unknown_push_type(simulator: Simulator, apns: Connect) -> httpx.Response:
    return apns().push(phone(simulator), apns_push_type="shout")


@causes("MissingDeviceToken")
def path_without_token(simulator: Simulator, apns: Connect) -> httpx.Response:
    return apns().push("", path="/3/device/")


@causes("MissingTopic")
def no_topic_with_a_provider_token(simulator: Simulator, apns: Connect) -> httpx.Response:
    return apns().push(phone(simulator), apns_topic=None)


@causes("MissingTopic")
def no_topic_with_a_multi_topic_certificate(simulator: Simulator, apns: Connect) -> httpx.Response:
    certificate = simulator.authority.issue_push_certificate(BUNDLE, kind="multi-topic")
    return apns(certificate=certificate).push(phone(simulator), apns_topic=None)


@causes("PayloadEmpty")
def no_body(simulator: Simulator, apns: Connect) -> httpx.Response:
    return apns().push(phone(simulator), b"")


@causes("TopicDisallowed")
def topic_that_the_certificate_lacks(simulator: Simulator, apns: Connect) -> httpx.Response:
    certificate = simulator.authority.issue_push_certificate(BUNDLE, kind="universal")
    connection = apns(certificate=certificate)
    return connection.push(phone(simulator, f"{BUNDLE}.voip"), apns_topic=f"{BUNDLE}.voip", apns_push_type="voip")


@causes("TopicDisallowed")
def topic_that_the_key_lacks(simulator: Simulator, apns: Connect) -> httpx.Response:
    key = simulator.authority.issue_apns_key(TEAM, topics=("com.example.other",))
    return apns(key=key).push(phone(simulator))


@causes("TopicDisallowed")
def voip_push_without_the_voip_suffix(simulator: Simulator, apns: Connect) -> httpx.Response:
    return apns().push(phone(simulator), apns_push_type="voip")


@causes("TopicDisallowed")
def location_push_with_a_certificate(simulator: Simulator, apns: Connect) -> httpx.Response:
    topic = f"{BUNDLE}.location-query"
    token = phone(simulator, topic)
    assert apns().push(token, apns_topic=topic, apns_push_type="location").status_code == 200
    listed = ((BUNDLE, "app"), (topic, "location"))
    certificate = simulator.authority.issue_push_certificate(BUNDLE, kind="multi-topic", topics=listed)
    return apns(certificate=certificate).push(token, apns_topic=topic, apns_push_type="location")


@causes("BadCertificate")
def certificate_revoked_on_an_open_connection(simulator: Simulator, apns: Connect) -> httpx.Response:
    certificate = simulator.authority.issue_push_certificate(BUNDLE)
    connection, token = apns(certificate=certificate), phone(simulator)
    assert connection.push(token).status_code == 200
    simulator.authority.revoke(certificate)
    return connection.push(token)


@causes("ExpiredProviderToken")
def provider_token_of_61_minutes(simulator: Simulator, apns: Connect) -> httpx.Response:
    connection = apns()
    assert connection.key is not None
    connection.bearer = provider_token(connection.key, age_s=3660)
    return connection.push(phone(simulator))


@causes("Forbidden")
def another_team_on_the_connection(simulator: Simulator, apns: Connect) -> httpx.Response:
    connection, token = apns(), phone(simulator)
    assert connection.push(token).status_code == 200
    other = simulator.authority.issue_apns_key("TEAM000002")
    return connection.push(token, authorization=f"bearer {provider_token(other)}")


@causes("Forbidden")
def revoked_key(simulator: Simulator, apns: Connect) -> httpx.Response:
    connection, token = apns(), phone(simulator)
    assert connection.push(token).status_code == 200
    assert connection.key is not None
    simulator.authority.revoke(connection.key)
    return connection.push(token)


@causes("InvalidProviderToken")
def provider_token_signed_by_another_key(simulator: Simulator, apns: Connect) -> httpx.Response:
    connection = apns()
    assert connection.key is not None
    other = simulator.authority.issue_apns_key(TEAM)
    connection.bearer = provider_token(connection.key, sign_with=other)
    return connection.push(phone(simulator))


@causes("InvalidProviderToken")
def provider_token_of_an_unknown_key(simulator: Simulator, apns: Connect) -> httpx.Response:
    connection = apns()
    assert connection.key is not None
    connection.bearer = provider_token(connection.key, kid="UNKNOWN000")
    return connection.push(phone(simulator))


@causes("InvalidProviderToken")
def provider_token_of_another_team(simulator: Simulator, apns: Connect) -> httpx.Response:
    connection = apns()
    assert connection.key is not None
    connection.bearer = provider_token(connection.key, iss="TEAM000009")
    return connection.push(phone(simulator))


@causes("InvalidProviderToken")
def provider_token_in_milliseconds(simulator: Simulator, apns: Connect) -> httpx.Response:
    connection = apns()
    assert connection.key is not None
    connection.bearer = provider_token(connection.key, iat=int(simulator.clock.now() * 1000))
    return connection.push(phone(simulator))


@causes("InvalidProviderToken")
def authorization_that_is_no_jwt(simulator: Simulator, apns: Connect) -> httpx.Response:
    return apns().push(phone(simulator), authorization="bearer abc")


@causes("MissingProviderToken")
def neither_certificate_nor_token(simulator: Simulator, apns: Connect) -> httpx.Response:
    return apns().push(phone(simulator), authorization=None)


@causes("UnrelatedKeyIdInToken")
def topic_key_after_a_team_key(simulator: Simulator, apns: Connect) -> httpx.Response:
    connection, token = apns(), phone(simulator)
    assert connection.push(token).status_code == 200
    narrow = simulator.authority.issue_apns_key(TEAM, topics=(BUNDLE,))
    return connection.push(token, authorization=f"bearer {provider_token(narrow)}")


@causes("BadEnvironmentKeyInToken")
def sandbox_key_on_production(simulator: Simulator, apns: Connect) -> httpx.Response:
    key = simulator.authority.issue_apns_key(TEAM, environment="sandbox")
    sandbox_token = phone(simulator, environment="sandbox")
    assert apns(key=key, environment="sandbox").push(sandbox_token).status_code == 200
    return apns(key=key).push(phone(simulator))


@causes("BadPath")
def old_path(simulator: Simulator, apns: Connect) -> httpx.Response:
    return apns().push("", path="/2/device/00")


@causes("MethodNotAllowed")
def get_instead_of_post(simulator: Simulator, apns: Connect) -> httpx.Response:
    return apns().push(phone(simulator), method="GET")


@causes("ExpiredToken")
def expired_device_token(simulator: Simulator, apns: Connect) -> httpx.Response:
    token = phone(simulator)
    simulator.devices.unregister(token, "expired", since_ms=1_700_000_000_123)
    return apns().push(token)


@causes("Unregistered")
def uninstalled_app(simulator: Simulator, apns: Connect) -> httpx.Response:
    token = phone(simulator)
    simulator.devices.unregister(token, since_ms=1_700_000_000_123)
    return apns().push(token.upper())


@causes("PayloadTooLarge")
def alert_of_4097_bytes(simulator: Simulator, apns: Connect) -> httpx.Response:
    connection, token = apns(), phone(simulator)
    assert connection.push(token, b"x" * 4096).status_code == 200
    return connection.push(token, b"x" * 4097)


@causes("PayloadTooLarge")
def voip_push_of_5121_bytes(simulator: Simulator, apns: Connect) -> httpx.Response:
    topic = f"{BUNDLE}.voip"
    connection, token = apns(), phone(simulator, topic)
    assert connection.push(token, b"x" * 5120, apns_topic=topic, apns_push_type="voip").status_code == 200
    return connection.push(token, b"x" * 5121, apns_topic=topic, apns_push_type="voip")


@causes("TooManyProviderTokenUpdates")
def token_renewed_within_20_minutes(simulator: Simulator, apns: Connect) -> httpx.Response:
    connection, token = apns(), phone(simulator)
    assert connection.push(token).status_code == 200
    assert connection.key is not None
    return connection.push(token, authorization=f"bearer {provider_token(connection.key, age_s=60)}")


@causes("TooManyProviderTokenUpdates")
def second_key_of_the_team_on_the_connection(simulator: Simulator, apns: Connect) -> httpx.Response:
    connection, token = apns(), phone(simulator)
    assert connection.push(token).status_code == 200
    second = simulator.authority.issue_apns_key(TEAM)
    return connection.push(token, authorization=f"bearer {provider_token(second)}")


@causes("TooManyRequests")
def third_push_to_a_device_that_takes_two(simulator: Simulator, apns: Connect) -> httpx.Response:
    device = simulator.devices.apns("production", BUNDLE, per_minute=2)
    connection = apns()
    assert [connection.push(device.token).status_code for _ in range(2)] == [200, 200]
    return connection.push(device.token)


# Apple's side is in trouble, or they arrive in another form, or (the last) only the documentation spells it so.
WITHOUT_A_CAUSE = {
    "IdleTimeout": "test_a_request_that_stalls_is_answered_with_idle_timeout",
    "BadCertificateEnvironment": "test_a_certificate_of_the_other_environment_gets_goaway",
    "InternalServerError": "fault switch only",
    "ServiceUnavailable": "fault switch only",
    "Shutdown": "test_shutdown_is_answered_and_followed_by_goaway",
    "BadEnvironmentKeyIdInToken": "fault switch only",
}


@pytest.fixture(autouse=True)
def steady_clock(simulator: Simulator) -> Iterator[None]:
    """Keeps the per-minute count of a test within one minute."""
    simulator.clock.advance(60 - simulator.clock.now() % 60)
    yield


@pytest.mark.parametrize(
    ("reason", "cause"),
    [pytest.param(reason, cause, id=f"{reason}-{cause.__name__}") for reason in CAUSES for cause in CAUSES[reason]],
)
def test_a_reason_is_given_for_its_cause(reason: str, cause: Cause, simulator: Simulator, apns: Connect) -> None:
    answer = cause(simulator, apns)
    assert (answer.status_code, answer.json()["reason"]) == (REASONS[reason], reason)
    assert answer.headers["content-type"].startswith("application/json")
    assert re.fullmatch(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}|1234", answer.headers["apns-id"])
    expected = {"reason", "timestamp"} if answer.status_code == 410 else {"reason"}
    assert answer.json().keys() == expected
    if answer.status_code == 410:
        assert answer.json()["timestamp"] == 1_700_000_000_123
    assert simulator.requests(reason=reason)[-1].status == answer.status_code


def test_every_reason_has_a_cause_or_says_why_not() -> None:
    assert CAUSES.keys() | WITHOUT_A_CAUSE.keys() == REASONS.keys()
    assert not CAUSES.keys() & WITHOUT_A_CAUSE.keys()


def test_every_reason_that_a_rule_gives_has_a_cause_here() -> None:
    assert {reason for _, reasons in RULES for reason in reasons} == CAUSES.keys()


@pytest.mark.parametrize("reason", [*REASONS, *BROADCAST_REASONS])
def test_a_fault_switch_gives_any_reason(reason: str, simulator: Simulator, apns: Connect) -> None:
    token, other = phone(simulator), phone(simulator)
    simulator.faults.add("reason", token=token, reason=reason, times=1)
    connection = apns()
    answer = connection.push(token)
    assert (answer.status_code, answer.json()["reason"]) == ((REASONS | BROADCAST_REASONS)[reason], reason)
    assert connection.push(other).status_code == 200
    assert connection.push(token).status_code == 200


def test_the_credential_is_judged_before_the_token_and_the_payload(simulator: Simulator, apns: Connect) -> None:
    connection = apns()
    assert connection.push("nonsense", b"", authorization=None, apns_topic=None).json() == {
        "reason": "MissingProviderToken"
    }
    assert connection.push("nonsense", b"", apns_topic=None).json() == {"reason": "MissingTopic"}
    assert connection.push("nonsense", b"").json() == {"reason": "PayloadEmpty"}
    assert connection.push("nonsense").json() == {"reason": "BadDeviceToken"}
