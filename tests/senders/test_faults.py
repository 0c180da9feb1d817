"""What a sender owes when things go wrong: every push comes back once, and none is processed twice unawares."""

from __future__ import annotations

import socket
import time
from collections import Counter
from pathlib import Path

import pytest

from pushsvc.domain.push import Answer, Fault, Identity, PushRequest, PushResponse, TransportFailure
from pushsvc.simulator import Simulator
from pushsvc.simulator.authority import ApnsKey, PushCertificate
from tests.senders.conftest import TOPIC, Apns, MakeSender, apns_of, faults, identity_of, jwt, statuses
from tests.senders.rawserver import Conn, RawServer, Seen

PLAIN = Identity("plain")


def one(make: MakeSender, authority: str, identity: Identity = PLAIN, **options: object) -> Answer:
    """The answer to a single request."""
    return raw(make, authority, 1, identity, **options)[0]


def raw(make: MakeSender, authority: str, count: int, identity: Identity = PLAIN, **options: object) -> list[Answer]:
    sender = make(**options)
    for number in range(count):
        sender.submit(number, PushRequest(authority, f"/{number}", (), b"{}"), identity)
    answers: dict[object, Answer] = {}
    ends = time.monotonic() + 20
    while sender.in_flight:
        assert time.monotonic() < ends, f"{sender.in_flight} still in flight"
        for tag, answer in sender.poll(0.5):
            assert tag not in answers
            answers[tag] = answer
    return [answers[number] for number in range(count)]


def accounted(apns: Apns, simulator: Simulator) -> Counter[str]:
    """Each push by what the sender says of it, checked against what the simulator did with it."""
    told: Counter[str] = Counter()
    for apns_id in apns.answers:
        answer = apns.one(apns_id)
        fates = Counter(arrival.fate for arrival in simulator.requests(apns_id=apns_id))
        processed = sum(fates[fate] for fate in ("answered", "reset", "silent", "closed"))
        if isinstance(answer, PushResponse):
            told["answered"] += 1
            assert fates["answered"] == 1
            assert processed == 1, f"sent again although it may have been processed: {fates}"
        else:
            told[answer.fault.value] += 1
            assert processed <= 1, f"sent again although it may have been processed: {fates}"
            if answer.fault is Fault.UNPROCESSED:
                assert processed == 0, f"called unprocessed, but {fates}"
    return told


# -- connecting ------------------------------------------------------------------------------------------------------


def test_a_refused_connection_is_told(make: MakeSender) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        answers = raw(make, f"127.0.0.1:{taken.getsockname()[1]}", 20)
    assert faults(answers) == [Fault.CONNECT] * 20


def test_an_unknown_host_is_told(make: MakeSender) -> None:
    answer = one(make, "nowhere.invalid:443")
    assert isinstance(answer, TransportFailure)
    assert answer.fault is Fault.DNS


def test_a_server_that_accepts_and_stalls_is_a_connect_timeout(
    make: MakeSender, simulator: Simulator, certificate: PushCertificate
) -> None:
    simulator.faults.add("tls-stall")
    apns = apns_of(simulator, make(connect_timeout_s=0.5))
    began = time.monotonic()
    assert faults(apns.push(10, identity_of(certificate))) == [Fault.CONNECT_TIMEOUT] * 10
    assert time.monotonic() - began < 4, "those that wait share the failure"


def test_a_connection_reset_at_once_is_told(
    make: MakeSender, simulator: Simulator, certificate: PushCertificate
) -> None:
    simulator.faults.add("reset-connections")
    apns = apns_of(simulator, make())
    assert set(faults(apns.push(5, identity_of(certificate)))) <= {Fault.CONNECT, Fault.LOST}
    assert simulator.requests() == []


def test_an_untrusted_server_is_told_and_gets_nothing(
    make: MakeSender, simulator: Simulator, certificate: PushCertificate
) -> None:
    apns = apns_of(simulator, make(provider_ca_pem=None))
    assert faults(apns.push(3, identity_of(certificate))) == [Fault.UNTRUSTED] * 3
    assert simulator.requests() == []


def test_a_certificate_for_another_name_is_untrusted(make: MakeSender, tmp_path: Path) -> None:
    with RawServer(tmp_path, names=("elsewhere.example",)) as server:
        answer = one(make, server.authority, provider_ca_pem=server.ca.certificate_pem)
    assert faults([answer]) == [Fault.UNTRUSTED]


@pytest.mark.parametrize("alpn", [("http/1.1",), ()])
def test_a_server_without_http2_is_told(make: MakeSender, tmp_path: Path, alpn: tuple[str, ...]) -> None:
    with RawServer(tmp_path, alpn=alpn, speaks_http1=True) as server:
        answer = one(make, server.authority, provider_ca_pem=server.ca.certificate_pem)
    assert faults([answer]) == [Fault.PROTOCOL]


# -- the server's mind on the connection -----------------------------------------------------------------------------


@pytest.mark.parametrize("every", [50, 7])
def test_goaway_in_mid_flight_loses_nothing_and_repeats_nothing(
    make: MakeSender, simulator: Simulator, key: ApnsKey, every: int, kind: str
) -> None:
    simulator.faults.add("goaway", every=every, last="previous")
    apns = apns_of(simulator, make())
    count = 400 if every == 50 else 100
    apns.push(count, Identity("key", one_first=True), jwt(key))
    told = accounted(apns, simulator)
    assert sum(told.values()) == count
    if every == 50:
        assert told["answered"] + told["lost"] == count
        assert told["lost"] == 0 or kind == "httpx", "httpx drops what a GOAWAY would still have answered"
    assert len(simulator.requests(fate="unprocessed")) > 0
    assert simulator.requests(fate="refused") == [], "a new connection takes one push first, too"


def test_goaway_that_answers_what_it_took_loses_nothing(tmp_path: Path, make: MakeSender, kind: str) -> None:
    def on_request(conn: Conn, seen: Seen) -> None:
        if conn.requests == 1 or conn.number > 1:
            conn.answer(seen.stream)
        elif conn.requests == 6:
            conn.goaway(5, b"maintenance")

            def rest() -> None:
                conn.answer(3)
                conn.answer(5)
                conn.close()

            conn.after(0.2, rest)

    with RawServer(tmp_path, on_request) as server:
        answers = raw(make, server.authority, 30, provider_ca_pem=server.ca.certificate_pem)
    seen = Counter(seen.headers[":path"] for seen in server.seen)
    if kind == "curl":
        assert statuses(answers) == [200] * 30
    else:  # httpx drops every stream at a GOAWAY, also those that would still be answered
        assert set(faults(answers)) <= {Fault.LOST}
        assert len(faults(answers)) <= 2
    taken = [seen.headers[":path"] for seen in server.seen if seen.connection == 1 and seen.stream <= 5]
    assert all(seen[path] == 1 for path in taken), "what the server took was sent again"


def test_refused_streams_are_sent_again_and_answered_once(
    make: MakeSender, simulator: Simulator, certificate: PushCertificate
) -> None:
    simulator.faults.add("reset-stream", every=20)
    apns = apns_of(simulator, make())
    assert statuses(apns.push(300, identity_of(certificate))) == [200] * 300
    assert accounted(apns, simulator)["answered"] == 300
    assert len(simulator.requests(fate="refused")) >= 15


def test_a_stream_that_is_always_refused_comes_back_unprocessed(
    make: MakeSender, simulator: Simulator, certificate: PushCertificate
) -> None:
    apns = apns_of(simulator, make())
    assert statuses(apns.push(1, identity_of(certificate))) == [200]
    simulator.faults.add("reset-stream")
    assert faults(apns.push(1, identity_of(certificate))) == [Fault.UNPROCESSED]
    assert 2 <= len(simulator.requests(fate="refused")) <= 6


@pytest.mark.parametrize("code", ["INTERNAL_ERROR", "CANCEL"])
def test_a_stream_reset_that_says_nothing_about_processing_is_lost(
    make: MakeSender, simulator: Simulator, certificate: PushCertificate, code: str
) -> None:
    apns = apns_of(simulator, make())
    simulator.faults.add("reset-stream", every=10, code=code)
    answers = apns.push(30, identity_of(certificate))
    assert faults(answers) == [Fault.LOST] * 3
    assert accounted(apns, simulator) == {"answered": 27, "lost": 3}
    assert apns.connections() == 1


def test_settings_that_drop_to_one_stream_and_come_back_lose_nothing(
    make: MakeSender, simulator: Simulator, certificate: PushCertificate, kind: str
) -> None:
    simulator.faults.add("settings-drop")
    apns = apns_of(simulator, make())
    ids = []
    for _ in range(5):
        ids += apns.submit(30, identity_of(certificate))
        ids += apns.submit(1, identity_of(certificate), token="ef" * 32)
        ids += apns.submit(30, identity_of(certificate))
        apns.collect()
    told = accounted(apns, simulator)
    if kind == "curl":
        assert told == {"answered": len(ids)}
    else:  # httpcore locks itself up when streams in use are taken away; its reader is ended, and its push is lost
        assert told["answered"] + told["lost"] == len(ids)
    limits = [arrival.connection.stream_limits for arrival in simulator.requests()]
    assert any(1 in limit for limit in limits)


def test_a_server_that_closes_every_connection_at_once_ends_it(make: MakeSender, tmp_path: Path) -> None:
    with RawServer(tmp_path, on_connect=lambda conn: conn.close()) as server:
        answers = raw(make, server.authority, 5, provider_ca_pem=server.ca.certificate_pem)
        assert len(server.connections) <= 60
    assert set(faults(answers)) <= {Fault.LOST, Fault.UNPROCESSED, Fault.CONNECT, Fault.PROTOCOL}
    assert len(answers) == 5


# -- sudden ends -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["close-before-body", "close-during-body", "close-after-request"])
@pytest.mark.parametrize("how", ["fin", "reset"])
def test_an_abrupt_close_loses_at_most_what_was_under_way(
    make: MakeSender, simulator: Simulator, certificate: PushCertificate, fault: str, how: str
) -> None:
    simulator.faults.add(fault, every=40, how=how)
    apns = apns_of(simulator, make())
    apns.push(120, identity_of(certificate))
    told = accounted(apns, simulator)
    assert told["answered"] + told["lost"] == 120
    assert told["lost"] >= 1
    for arrivals in (simulator.requests(apns_id=apns_id) for apns_id in apns.answers):
        assert len(arrivals) <= 1, "a push that was under way when the connection died was sent again"


def test_silence_ends_as_an_answer_timeout(
    make: MakeSender, simulator: Simulator, certificate: PushCertificate
) -> None:
    apns = apns_of(simulator, make(answer_timeout_s=0.6))
    assert statuses(apns.push(1, identity_of(certificate))) == [200]
    simulator.faults.add("silence", times=3)
    assert faults(apns.push(3, identity_of(certificate))) == [Fault.ANSWER_TIMEOUT] * 3
    assert statuses(apns.push(3, identity_of(certificate))) == [200] * 3
    assert accounted(apns, simulator) == {"answered": 4, "answer_timeout": 3}


def test_an_idle_connection_that_the_server_closed_is_replaced_unnoticed(
    make: MakeSender, simulator: Simulator, certificate: PushCertificate, kind: str
) -> None:
    simulator.faults.add("idle-close", idle_s=0.4)
    apns = apns_of(simulator, make())
    for _ in range(3):
        assert statuses(apns.push(3, identity_of(certificate))) == [200] * 3
        time.sleep(1.0)  # nothing tells when the server's FIN has come
    assert 3 <= apns.connections() <= (3 if kind == "curl" else 6)
    assert {arrival.fate for arrival in simulator.requests()} == {"answered"}


def test_a_refused_provider_that_comes_back_is_used_again(
    make: MakeSender, simulator: Simulator, certificate: PushCertificate
) -> None:
    apns = apns_of(simulator, make())
    refusing = simulator.faults.add("refuse-connections")
    assert faults(apns.push(3, identity_of(certificate))) == [Fault.CONNECT] * 3
    simulator.faults.remove(refusing)
    assert statuses(apns.push(3, identity_of(certificate))) == [200] * 3


# -- refused identities ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (40, "handshake_failure"),
        (42, "bad_certificate"),
        (44, "certificate_revoked"),
        (45, "certificate_expired"),
        (46, "certificate_unknown"),
        (48, "unknown_ca"),
        (49, "access_denied"),
        (80, "internal_error"),
    ],
)
def test_an_alert_in_the_handshake_is_named(
    make: MakeSender, simulator: Simulator, certificate: PushCertificate, number: int, name: str
) -> None:
    simulator.faults.add("tls-alert", alert=number)
    apns = apns_of(simulator, make())
    assert apns.push(3, identity_of(certificate)) == [TransportFailure(Fault.TLS_ALERT, name)] * 3


def test_an_expired_certificate_is_named(make: MakeSender, simulator: Simulator) -> None:
    expired = simulator.authority.issue_push_certificate(TOPIC, validity="expired")
    apns = apns_of(simulator, make())
    expected = TransportFailure(Fault.TLS_ALERT, "certificate_expired")
    assert apns.push(30, identity_of(expired)) == [expected] * 30
    opened = len(simulator.journal.connections)
    assert apns.push(30, identity_of(expired)) == [expected] * 30
    assert len(simulator.journal.connections) <= opened + 30


def test_a_revoked_certificate_is_named(make: MakeSender, simulator: Simulator) -> None:
    revoked = simulator.authority.issue_push_certificate(TOPIC)
    simulator.authority.revoke(revoked)
    apns = apns_of(simulator, make())
    assert apns.push(5, identity_of(revoked)) == [TransportFailure(Fault.TLS_ALERT, "certificate_revoked")] * 5


def test_a_certificate_of_an_unknown_issuer_is_named(make: MakeSender, simulator: Simulator) -> None:
    foreign = simulator.authority.issue_push_certificate(TOPIC, issuer="other")
    apns = apns_of(simulator, make())
    assert apns.push(5, identity_of(foreign)) == [TransportFailure(Fault.TLS_ALERT, "unknown_ca")] * 5


def test_a_certificate_of_the_other_environment_is_named(make: MakeSender, simulator: Simulator) -> None:
    development = simulator.authority.issue_push_certificate(TOPIC, kind="development")
    apns = apns_of(simulator, make())
    expected = TransportFailure(Fault.GOAWAY, "BadCertificateEnvironment")
    assert apns.push(20, identity_of(development)) == [expected] * 20
    assert not [arrival for arrival in simulator.requests() if arrival.fate == "answered"]


def test_a_key_that_does_not_fit_its_certificate_is_told(
    make: MakeSender, simulator: Simulator, certificate: PushCertificate
) -> None:
    other = simulator.authority.issue_push_certificate(TOPIC)
    identity = Identity("mixed", certificate.certificate_pem, other.key_pem)
    apns = apns_of(simulator, make())
    assert apns.push(2, identity) == [TransportFailure(Fault.TLS_ALERT, "bad_certificate")] * 2


def test_a_refused_identity_does_not_hold_up_another(
    make: MakeSender, simulator: Simulator, certificate: PushCertificate
) -> None:
    revoked = simulator.authority.issue_push_certificate(TOPIC)
    simulator.authority.revoke(revoked)
    apns = apns_of(simulator, make())
    bad = apns.submit(5, identity_of(revoked, "revoked"))
    good = apns.submit(50, identity_of(certificate))
    apns.collect()
    assert statuses([apns.one(apns_id) for apns_id in good]) == [200] * 50
    assert faults([apns.one(apns_id) for apns_id in bad]) == [Fault.TLS_ALERT] * 5
