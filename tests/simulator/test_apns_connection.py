"""How a connection to APNs begins, what it allows, and how credentials fail on it."""

import ssl
import time
import uuid
from collections.abc import Callable

import h2.events
import httpx
import pytest
from conftest import ALERT, BUNDLE, TEAM, Apns, Raw, provider_token, tls
from h2.settings import SettingCodes

from pushsvc.simulator import Simulator

Connect = Callable[..., Apns]
ConnectRaw = Callable[..., Raw]


def limits(connection: Raw) -> list[int]:
    code = SettingCodes.MAX_CONCURRENT_STREAMS
    changed = connection.of(h2.events.RemoteSettingsChanged)
    return [event.changed_settings[code].new_value for event in changed if code in event.changed_settings]


def test_one_stream_until_the_first_token_was_accepted_and_then_a_thousand(
    simulator: Simulator, raw: ConnectRaw
) -> None:
    key = simulator.authority.issue_apns_key(TEAM)
    token = simulator.devices.apns("production", BUNDLE).token
    connection = raw()
    connection.until(lambda c: limits(c) == [1])
    stream = connection.request(f"/3/device/{token}", ALERT, ("apns-topic", BUNDLE))
    connection.until(lambda c: c.finished(stream))
    assert connection.status(stream) == 403
    assert limits(connection) == [1]
    authorization = ("authorization", f"bearer {provider_token(key)}")
    stream = connection.request(f"/3/device/{token}", ALERT, ("apns-topic", BUNDLE), authorization)
    connection.until(lambda c: c.finished(stream))
    assert connection.status(stream) == 200
    assert limits(connection) == [1, 1000]


def test_a_second_stream_before_that_is_refused(simulator: Simulator, raw: ConnectRaw) -> None:
    connection = raw()
    first = connection.request("/3/device/00", None)
    second = connection.request("/3/device/00", None)
    connection.until(lambda c: c.finished(second))
    assert connection.of(h2.events.StreamReset)[0].error_code == 7
    connection.h2.send_data(first, ALERT, end_stream=True)
    connection.until(lambda c: c.finished(first))
    assert connection.status(first) == 403
    assert [arrival.fate for arrival in simulator.requests()] == ["answered", "refused"]


def test_a_certificate_allows_a_thousand_streams_at_once(simulator: Simulator, raw: ConnectRaw) -> None:
    connection = raw(certificate=simulator.authority.issue_push_certificate(BUNDLE))
    connection.until(lambda c: limits(c) == [1000])
    settings = connection.of(h2.events.RemoteSettingsChanged)[0].changed_settings
    assert settings[SettingCodes.MAX_HEADER_LIST_SIZE].new_value == 8000


def test_success_is_headers_only_and_echoes_the_apns_id(simulator: Simulator, raw: ConnectRaw) -> None:
    token = simulator.devices.apns("production", BUNDLE).token
    connection = raw(certificate=simulator.authority.issue_push_certificate(BUNDLE))
    apns_id = str(uuid.uuid4())
    stream = connection.request(f"/3/device/{token}", ALERT, ("apns-topic", BUNDLE), ("apns-id", apns_id))
    connection.until(lambda c: c.finished(stream))
    answer = connection.of(h2.events.ResponseReceived)[0]
    assert dict(answer.headers) == {":status": "200", "apns-id": apns_id}
    assert answer.stream_ended is not None


def test_an_error_is_one_data_frame(simulator: Simulator, raw: ConnectRaw) -> None:
    connection = raw()
    stream = connection.request("/3/device/00", ALERT)
    connection.until(lambda c: c.finished(stream))
    (frame,) = connection.of(h2.events.DataReceived)
    assert frame.data == b'{"reason":"MissingProviderToken"}'
    assert frame.stream_ended is not None


def test_only_the_sandbox_gives_a_unique_id(simulator: Simulator, apns: Connect) -> None:
    for environment, given in (("production", False), ("sandbox", True)):
        token = simulator.devices.apns(environment, BUNDLE).token
        answer = apns(environment=environment).push(token)
        assert answer.status_code == 200
        assert answer.headers["apns-id"] == answer.headers["apns-id"].upper()
        assert ("apns-unique-id" in answer.headers) is given


def test_a_certificate_of_the_other_environment_gets_goaway(simulator: Simulator, raw: ConnectRaw) -> None:
    cases = (("development", simulator.apns_production), ("production", simulator.apns_sandbox))
    for kind, site in cases:
        certificate = simulator.authority.issue_push_certificate(BUNDLE, kind=kind)
        connection = raw(site.port, certificate=certificate)
        connection.until(lambda c: bool(c.of(h2.events.ConnectionTerminated)))
        (goodbye,) = connection.of(h2.events.ConnectionTerminated)
        assert (goodbye.error_code, goodbye.last_stream_id) == (0, 0)
        assert goodbye.additional_data == b'{"reason":"BadCertificateEnvironment"}'
        assert limits(connection) == [1000]


@pytest.mark.parametrize("kind", ["universal", "voip", "multi-topic"])
def test_some_certificates_serve_both_environments(kind: str, simulator: Simulator, apns: Connect) -> None:
    certificate = simulator.authority.issue_push_certificate(BUNDLE, kind=kind)
    topic, push_type = (f"{BUNDLE}.voip", "voip") if kind == "voip" else (BUNDLE, "alert")
    for environment in ("production", "sandbox"):
        token = simulator.devices.apns(environment, topic).token
        connection = apns(certificate=certificate, environment=environment)
        answer = connection.push(token, apns_topic=topic, apns_push_type=push_type)
        assert answer.status_code == 200


def test_a_single_topic_certificate_has_a_default_topic(simulator: Simulator, apns: Connect) -> None:
    token = simulator.devices.apns("production", BUNDLE).token
    connection = apns(certificate=simulator.authority.issue_push_certificate(BUNDLE))
    assert connection.push(token, apns_topic=None).status_code == 200
    # The authorization header is ignored beside a certificate.
    assert connection.push(token, authorization="bearer nonsense").status_code == 200


@pytest.mark.parametrize(
    ("alert", "options"),
    [
        ("certificate expired", {"validity": "expired"}),
        ("bad certificate", {"validity": "not-yet-valid"}),
        ("unknown ca", {"issuer": "other"}),
        ("certificate revoked", {"revoked": True}),
    ],
)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_refuses_a_bad_certificate_by_its_own_alert(
    alert: str, options: dict[str, object], version: ssl.TLSVersion, simulator: Simulator, raw: ConnectRaw
) -> None:
    given = dict(options)
    revoked = given.pop("revoked", False)
    certificate = simulator.authority.issue_push_certificate(BUNDLE, **given)  # type: ignore[arg-type]
    if revoked:
        simulator.authority.revoke(certificate)
    with pytest.raises(ssl.SSLError, match=f"alert {alert}"):
        raw(certificate=certificate, version=version).until(lambda _: False)


def test_a_certificate_works_until_its_last_second(simulator: Simulator, raw: ConnectRaw) -> None:
    certificate = simulator.authority.issue_push_certificate(BUNDLE, valid_for_s=4)
    raw(certificate=certificate).until(lambda c: limits(c) == [1000])
    ends = certificate.certificate.not_valid_after_utc.timestamp()
    time.sleep(max(0.0, ends - time.time()) + 1.1)
    with pytest.raises(ssl.SSLError, match="alert certificate expired"):
        raw(certificate=certificate).until(lambda _: False)


@pytest.mark.parametrize("alert", [40, 42, 43, 44, 45, 46, 48, 80, 116])
def test_a_fault_switch_gives_any_tls_alert(alert: int, simulator: Simulator) -> None:
    simulator.faults.add("tls-alert", site="apns-production", alert=alert, times=1)
    with pytest.raises(ssl.SSLError) as raised:
        Raw("localhost", simulator.apns_production.port, tls(simulator))
    # OpenSSL numbers an alert's reason 1000 above the alert.
    names = {40: "HANDSHAKE_FAILURE", 42: "BAD_CERTIFICATE", 43: "UNSUPPORTED_CERTIFICATE", 44: "CERTIFICATE_REVOKED"}
    names |= {45: "CERTIFICATE_EXPIRED", 46: "CERTIFICATE_UNKNOWN", 48: "UNKNOWN_CA", 80: "INTERNAL_ERROR"}
    names |= {116: "CERTIFICATE_REQUIRED"}
    assert names[alert] in (raised.value.reason or "")


def test_without_h2_there_is_no_conversation(simulator: Simulator, raw: ConnectRaw) -> None:
    with pytest.raises(AssertionError, match="the connection ended"):
        raw(alpn=("http/1.1",)).until(lambda _: False)


def test_tls_1_1_is_too_old(simulator: Simulator) -> None:
    context = tls(simulator)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        Raw("localhost", simulator.apns_production.port, context)


def test_after_an_expired_token_the_connection_stays_wedged(simulator: Simulator, apns: Connect) -> None:
    token = simulator.devices.apns("production", BUNDLE).token
    connection = apns()
    assert connection.key is not None
    fresh, connection.bearer = connection.bearer, provider_token(connection.key, age_s=4000)
    assert connection.push(token).json() == {"reason": "ExpiredProviderToken"}
    connection.bearer = fresh
    assert connection.push(token).json() == {"reason": "ExpiredProviderToken"}
    assert apns(key=connection.key).push(token).status_code == 200


def test_a_token_grows_old_while_the_connection_is_open(simulator: Simulator, apns: Connect) -> None:
    token = simulator.devices.apns("production", BUNDLE).token
    connection = apns()
    assert connection.push(token).status_code == 200
    simulator.clock.advance(3700)
    assert connection.push(token).json() == {"reason": "ExpiredProviderToken"}


def test_a_token_may_be_renewed_after_twenty_minutes(simulator: Simulator, apns: Connect) -> None:
    token = simulator.devices.apns("production", BUNDLE).token
    connection = apns()
    assert connection.push(token).status_code == 200
    assert connection.key is not None
    simulator.clock.advance(1201)
    connection.bearer = provider_token(connection.key, age_s=-1200)
    assert connection.push(token).status_code == 200
    (seen,) = {arrival.connection for arrival in simulator.requests()}
    assert [jwt["kid"] for jwt in seen.jwts] == [connection.key.key_id] * 2
    assert len({jwt["iat"] for jwt in seen.jwts}) == 2


def test_renewals_may_be_counted_over_all_connections_of_a_team(simulator: Simulator, apns: Connect) -> None:
    token = simulator.devices.apns("production", BUNDLE).token
    key = simulator.authority.issue_apns_key(TEAM)
    first, second, third = apns(key=key), apns(key=key), apns(key=key)
    second.bearer = provider_token(key, age_s=-30)
    assert (first.push(token).status_code, second.push(token).status_code) == (200, 200)
    simulator.policy.set("renewals_counted", "team")
    third.bearer = provider_token(key, age_s=-90)
    assert first.push(token).status_code == 200
    other = apns(key=key)
    assert other.push(token).status_code == 200
    assert third.push(token).json() == {"reason": "TooManyProviderTokenUpdates"}


def test_a_request_that_stalls_is_answered_with_idle_timeout(simulator: Simulator, raw: ConnectRaw) -> None:
    simulator.policy.set("request_idle_s", 0.2)
    connection = raw()
    stream = connection.request("/3/device/00", None)
    connection.until(lambda c: c.finished(stream))
    assert connection.body(stream) == b'{"reason":"IdleTimeout"}'


def test_pings_are_answered(raw: ConnectRaw, simulator: Simulator) -> None:
    connection = raw()
    connection.h2.ping(b"12345678")
    connection.until(lambda c: bool(c.of(h2.events.PingAckReceived)))
    assert simulator.journal.connections[-1].pings == 1


def test_a_frame_out_of_place_ends_the_connection_with_a_protocol_error(raw: ConnectRaw) -> None:
    connection = raw()
    connection.socket.sendall(bytes.fromhex("0000040800" + "00000000" + "00000000"))
    connection.until(lambda c: bool(c.of(h2.events.ConnectionTerminated)))
    assert connection.of(h2.events.ConnectionTerminated)[0].error_code == 1


def test_the_journal_keeps_what_was_sent_and_said(simulator: Simulator, apns: Connect) -> None:
    token = simulator.devices.apns("production", BUNDLE).token
    connection, apns_id = apns(), str(uuid.uuid4())
    for _ in range(2):
        answer = connection.push(token, apns_id=apns_id, apns_collapse_id="talk")
    assert isinstance(answer, httpx.Response)
    first, second = simulator.requests(token=token)
    assert (first.body, first.topic, first.status, first.accepted) == (ALERT, BUNDLE, 200, True)
    assert first.headers["apns-collapse-id"] == "talk"
    assert (first.connection is second.connection, first.stream_id < second.stream_id) == (True, True)
    assert simulator.journal.duplicates() == {apns_id: 2}
    simulator.journal.counters_only = True
    connection.push(token)
    assert len(simulator.requests()) == 2
    assert simulator.journal.summary()["answers"] == [
        {"site": "apns-production", "status": 200, "reason": "", "count": 3}
    ]


def test_a_phone_that_is_off_keeps_the_newest_push_of_each_topic(simulator: Simulator, apns: Connect) -> None:
    device = simulator.devices.apns("production", BUNDLE)
    simulator.devices.set_online(device, False)
    connection = apns()
    connection.push(device.token)
    connection.push(device.token)
    connection.push(device.token, apns_expiration="0")
    assert device.stored == {BUNDLE: simulator.requests()[1].number}
    simulator.devices.set_online(device, True)
    assert device.stored == {}
