"""The fault switches, as a client sees them."""

import socket
import ssl
import time
from collections.abc import Callable

import h2.events
import pytest
from conftest import ALERT, BUNDLE, TEAM, Apns, Raw, provider_token, tls
from h2.settings import SettingCodes

from pushsvc.simulator import Simulator

Connect = Callable[..., Apns]
Open = Callable[..., Raw]


class Pusher:
    """A raw connection by certificate, and phones to push to."""

    def __init__(self, simulator: Simulator, connection: Raw) -> None:
        self.simulator = simulator
        self.raw = connection
        self.token = simulator.devices.apns("production", BUNDLE).token

    def push(self, token: str | None = None, body: bytes | None = ALERT) -> int:
        return self.raw.request(f"/3/device/{token or self.token}", body, ("apns-topic", BUNDLE))

    def answered(self, *streams: int) -> list[int | None]:
        self.raw.until(lambda c: c.finished(*streams))
        return [self.raw.status(stream) for stream in streams]

    def resets(self) -> dict[int, int]:
        return {event.stream_id: event.error_code for event in self.raw.of(h2.events.StreamReset)}

    def goaway(self) -> h2.events.ConnectionTerminated:
        self.raw.until(lambda c: bool(c.of(h2.events.ConnectionTerminated)))
        found: h2.events.ConnectionTerminated = self.raw.of(h2.events.ConnectionTerminated)[0]
        return found

    def ended(self) -> None:
        with pytest.raises(AssertionError, match="the connection ended"):
            self.raw.until(lambda _: False)


@pytest.fixture
def pusher(simulator: Simulator, raw: Open) -> Pusher:
    connection = raw(certificate=simulator.authority.issue_push_certificate(BUNDLE))
    connection.until(lambda c: bool(c.of(h2.events.RemoteSettingsChanged)))
    return Pusher(simulator, connection)


def test_a_delayed_answer_does_not_hold_up_the_others(simulator: Simulator, pusher: Pusher) -> None:
    slow = simulator.devices.apns("production", BUNDLE).token
    simulator.faults.add("delay", token=slow, delay_s=0.3)
    first, second = pusher.push(slow), pusher.push()
    assert pusher.answered(second) == [200]
    assert pusher.raw.status(first) is None
    assert pusher.answered(first) == [200]


def test_a_silent_push_was_taken_all_the_same(simulator: Simulator, pusher: Pusher) -> None:
    simulator.faults.add("silence", times=1)
    first, second = pusher.push(), pusher.push()
    assert pusher.answered(second) == [200]
    assert pusher.raw.status(first) is None
    assert [arrival.fate for arrival in simulator.requests()] == ["silent", "answered"]


def test_answers_come_out_of_order(simulator: Simulator, pusher: Pusher) -> None:
    simulator.faults.add("out-of-order", hold=3)
    streams = [pusher.push() for _ in range(3)]
    assert pusher.answered(*streams) == [200, 200, 200]
    order = [event.stream_id for event in pusher.raw.of(h2.events.ResponseReceived)]
    assert order == streams[::-1]


@pytest.mark.parametrize(
    ("code", "number", "fate"),
    [("REFUSED_STREAM", 7, "refused"), ("INTERNAL_ERROR", 2, "reset"), ("CANCEL", 8, "reset")],
)
def test_a_stream_is_reset_with_a_chosen_code(
    code: str, number: int, fate: str, simulator: Simulator, pusher: Pusher
) -> None:
    simulator.faults.add("reset-stream", code=code, every=2)
    streams = [pusher.push() for _ in range(4)]
    assert pusher.answered(*streams) == [200, None, 200, None]
    assert pusher.resets() == {streams[1]: number, streams[3]: number}
    assert [arrival.fate for arrival in simulator.requests()] == ["answered", fate] * 2


def test_after_a_reject_one_stream_is_left_until_an_accept(simulator: Simulator, pusher: Pusher) -> None:
    simulator.faults.add("settings-drop")
    streams = [pusher.push("00" * 32), pusher.push(), pusher.push()]
    assert pusher.answered(*streams) == [400, None, None]
    assert pusher.resets() == {streams[1]: 7, streams[2]: 7}
    pusher.raw.until(lambda c: c.h2.remote_settings.max_concurrent_streams == 1)
    assert pusher.answered(pusher.push()) == [200]
    pusher.raw.until(lambda c: c.h2.remote_settings.max_concurrent_streams == 1000)
    assert simulator.requests()[0].connection.stream_limits == [1000, 1, 1000]


def test_goaway_answers_what_it_counted_and_nothing_above(simulator: Simulator, pusher: Pusher) -> None:
    simulator.faults.add("goaway", every=3, last="this")
    streams = [pusher.push() for _ in range(5)]
    goodbye = pusher.goaway()
    assert goodbye.last_stream_id == streams[2]
    pusher.ended()
    assert [pusher.raw.status(stream) for stream in streams] == [200, 200, 200, None, None]
    assert len(simulator.requests()) == 3


def test_goaway_may_leave_the_request_that_caused_it_unprocessed(simulator: Simulator, pusher: Pusher) -> None:
    slow = simulator.devices.apns("production", BUNDLE).token
    simulator.faults.add("delay", token=slow, delay_s=0.3)
    first = pusher.push(slow)
    last = pusher.push()
    simulator.faults.add(
        "goaway", token=pusher.token, last="previous", data="Maximum active streams violated", code="REFUSED_STREAM"
    )
    goodbye = pusher.goaway()
    assert (goodbye.last_stream_id, goodbye.error_code) == (first, 7)
    assert goodbye.additional_data == b"Maximum active streams violated"
    pusher.ended()
    assert (pusher.raw.status(first), pusher.raw.status(last)) == (200, None)
    assert [arrival.fate for arrival in simulator.requests()] == ["answered", "unprocessed"]


def test_goaway_with_a_chosen_last_stream_drops_what_is_above(simulator: Simulator, pusher: Pusher) -> None:
    slow = simulator.devices.apns("production", BUNDLE).token
    simulator.faults.add("delay", token=slow, delay_s=5)
    streams = [pusher.push(slow) for _ in range(3)]
    pusher.raw.flush()
    assert simulator.wait(lambda: len(simulator.requests()) == 3)
    simulator.faults.add("goaway", token=pusher.token, last=0)
    pusher.push()
    assert pusher.goaway().last_stream_id == 0
    pusher.ended()
    assert [pusher.raw.status(stream) for stream in streams] == [None] * 3
    assert {arrival.fate for arrival in simulator.requests()} == {"unprocessed"}


def test_shutdown_is_answered_and_followed_by_goaway(simulator: Simulator, pusher: Pusher) -> None:
    simulator.faults.add("shutdown", times=1)
    stream = pusher.push()
    assert pusher.goaway().last_stream_id == stream
    pusher.ended()
    assert (pusher.raw.status(stream), pusher.raw.body(stream)) == (503, b'{"reason":"Shutdown"}')


@pytest.mark.parametrize("how", ["fin", "reset"])
@pytest.mark.parametrize("kind", ["close-before-body", "close-during-body", "close-after-request"])
def test_a_connection_ends_abruptly(kind: str, how: str, simulator: Simulator, pusher: Pusher) -> None:
    simulator.faults.add(kind, how=how, times=1)
    pusher.push()
    pusher.ended()
    assert not pusher.raw.of(h2.events.ResponseReceived)
    assert simulator.wait(lambda: simulator.requests()[0].fate == "closed")


def test_an_idle_connection_is_closed(simulator: Simulator, pusher: Pusher) -> None:
    simulator.faults.add("idle-close", idle_s=0.2)
    stream = pusher.push()
    assert pusher.answered(stream) == [200]
    assert pusher.goaway().last_stream_id == stream
    pusher.ended()


def test_too_many_errors_end_the_connection_and_410_is_none(simulator: Simulator, pusher: Pusher) -> None:
    gone = simulator.devices.apns("production", BUNDLE).token
    simulator.devices.unregister(gone)
    simulator.faults.add("disconnect-after-errors", errors=4)
    for _ in range(6):
        assert pusher.answered(pusher.push(gone)) == [410]
    assert pusher.answered(pusher.push("00" * 32)) == [400]
    pusher.push("00" * 32)
    assert pusher.goaway().error_code == 11


def test_connections_are_refused_and_the_port_comes_back(simulator: Simulator, apns: Connect) -> None:
    token = simulator.devices.apns("production", BUNDLE).token
    fault = simulator.faults.add("refuse-connections", site="apns-production")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", simulator.apns_production.port), timeout=5)
    socket.create_connection(("127.0.0.1", simulator.apns_sandbox.port), timeout=5).close()
    simulator.faults.remove(fault)
    assert apns().push(token).status_code == 200


def test_connections_are_reset_at_once(simulator: Simulator) -> None:
    simulator.faults.add("reset-connections", times=1)
    with pytest.raises((ConnectionError, ssl.SSLError)):
        Raw("localhost", simulator.apns_production.port, tls(simulator))
    assert simulator.journal.connections[-1].closed_because == "fault"


def test_churn_is_punished(simulator: Simulator) -> None:
    simulator.faults.add("churn-limit", site="apns-sandbox", per_minute=2)
    port = simulator.apns_sandbox.port
    before = len([c for c in simulator.journal.connections if c.site == "apns-sandbox"])
    assert before == 0
    for _ in range(2):
        Raw("localhost", port, tls(simulator)).close()
    with pytest.raises((ConnectionError, ssl.SSLError)):
        Raw("localhost", port, tls(simulator))


def test_tls_may_stall(simulator: Simulator) -> None:
    simulator.faults.add("tls-stall", times=1)
    plain = socket.create_connection(("127.0.0.1", simulator.apns_production.port), timeout=0.3)
    with pytest.raises(TimeoutError):
        tls(simulator).wrap_socket(plain, server_hostname="localhost")
    plain.close()


def test_odd_answers(simulator: Simulator, apns: Connect) -> None:
    token = simulator.devices.apns("production", BUNDLE).token
    connection = apns()
    simulator.faults.add("empty-error-body", times=1, status=503)
    answer = connection.push(token)
    assert (answer.status_code, answer.content) == (503, b"")
    simulator.faults.add("unknown-reason", times=1)
    assert connection.push(token).json() == {"reason": "BadMoonPhase"}
    simulator.faults.add("gone-without-body", times=1)
    answer = connection.push(token)
    assert (answer.status_code, answer.content) == (410, b"")
    for retry_after in (7, "Fri, 31 Dec 2027 23:59:59 GMT"):
        simulator.faults.add("reason", times=1, reason="TooManyRequests", retry_after=retry_after)
        assert connection.push(token).headers["retry-after"] == str(retry_after)
    simulator.faults.add("reason", times=1, reason="Unregistered", timestamp_ms=1_700_000_000_000)
    assert connection.push(token).json() == {"reason": "Unregistered", "timestamp": 1_700_000_000_000}
    assert connection.push(token).status_code == 200


def test_more_error_bodies_than_a_window_holds(simulator: Simulator, pusher: Pusher) -> None:
    """HTTP/2 gives a connection 65 535 bytes; the client's updates must let the rest through."""
    streams = [pusher.push("00" * 32) for _ in range(900)]
    assert set(pusher.answered(*streams)) == {400}
    more = [pusher.push("00" * 32) for _ in range(900)]
    assert set(pusher.answered(*more)) == {400}
    last = [pusher.push("00" * 32) for _ in range(900)]
    streams += more + last
    pusher.raw.until(lambda c: all(c.status(stream) for stream in last))
    assert not pusher.raw.finished(*last)
    frames = pusher.raw.of(h2.events.DataReceived)
    for frame in frames:
        pusher.raw.h2.acknowledge_received_data(frame.flow_controlled_length, frame.stream_id)
    pusher.raw.until(lambda c: c.finished(*last))
    bodies = {pusher.raw.body(stream) for stream in streams[:5] + streams[-5:]}
    assert bodies == {b'{"reason":"BadDeviceToken"}'}
    assert len(streams) * len(b'{"reason":"BadDeviceToken"}') > 65_535


def test_a_body_waits_for_the_window_and_then_comes(simulator: Simulator, pusher: Pusher) -> None:
    pusher.raw.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 10})
    pusher.raw.until(lambda c: bool(c.of(h2.events.SettingsAcknowledged)))
    stream = pusher.push("00" * 32)
    pusher.raw.until(lambda c: c.status(stream) == 400)
    assert pusher.raw.body(stream) == b""
    pusher.raw.h2.increment_flow_control_window(1000, stream)
    pusher.raw.until(lambda c: c.finished(stream))
    assert pusher.raw.body(stream) == b'{"reason":"BadDeviceToken"}'


def test_a_large_body_gets_its_window_updates(simulator: Simulator, pusher: Pusher) -> None:
    stream = pusher.push(body=None)
    left = 200_000
    while left:
        size = min(left, pusher.raw.h2.local_flow_control_window(stream), 16_384)
        if not size:
            pusher.raw.until(lambda c: c.h2.local_flow_control_window(stream) > 0)
            continue
        pusher.raw.h2.send_data(stream, b"x" * size, end_stream=size == left)
        left -= size
    assert pusher.answered(stream) == [413]


def test_a_share_of_the_pushes_fails(simulator: Simulator, pusher: Pusher) -> None:
    simulator.faults.add("reason", reason="InternalServerError", rate=0.3)
    streams = [pusher.push() for _ in range(200)]
    failed = pusher.answered(*streams).count(500)
    assert 30 <= failed <= 90


def test_a_fault_may_concern_one_topic(simulator: Simulator, apns: Connect) -> None:
    other = simulator.devices.apns("production", "com.example.other").token
    token = simulator.devices.apns("production", BUNDLE).token
    simulator.faults.add("reason", topic="com.example.other", reason="ServiceUnavailable")
    connection = apns()
    assert connection.push(token).status_code == 200
    assert connection.push(other, apns_topic="com.example.other").status_code == 503


def test_a_wrong_switch_names_the_right_ones(simulator: Simulator) -> None:
    with pytest.raises(ValueError, match="use one of refuse-connections"):
        simulator.faults.add("explode")
    with pytest.raises(ValueError, match="its options are delay_s"):
        simulator.faults.add("delay", seconds=3)
    assert simulator.faults.active == ()


def test_a_cancelled_stream_is_not_answered(simulator: Simulator, pusher: Pusher) -> None:
    simulator.faults.add("delay", times=1, delay_s=0.2)
    stream = pusher.push()
    pusher.raw.flush()
    assert simulator.wait(lambda: bool(simulator.requests()))
    pusher.raw.h2.reset_stream(stream, 8)
    assert pusher.answered(pusher.push()) == [200]
    time.sleep(0.25)
    assert pusher.answered(pusher.push()) == [200]
    assert simulator.requests()[0].fate == "cancelled"


def test_a_token_connection_is_told_the_reason_of_the_fault_and_still_opens_up(simulator: Simulator, raw: Open) -> None:
    key = simulator.authority.issue_apns_key(TEAM)
    simulator.faults.add("reason", reason="InternalServerError")
    connection = raw()
    authorization = ("authorization", f"bearer {provider_token(key)}")
    stream = connection.request(f"/3/device/{'00' * 32}", ALERT, ("apns-topic", BUNDLE), authorization)
    connection.until(lambda c: c.finished(stream))
    assert connection.status(stream) == 500
    connection.until(lambda c: c.h2.remote_settings.max_concurrent_streams == 1000)
