"""What a sender owes when the provider behaves: answers, connections, identities, streams."""

from __future__ import annotations

import time

from pushsvc.domain.push import Fault, Identity, PushRequest, PushResponse
from pushsvc.simulator import Simulator
from pushsvc.simulator.authority import ApnsKey, PushCertificate
from tests.senders.conftest import TOPIC, Apns, MakeSender, apns_of, faults, identity_of, jwt, statuses


def test_a_push_with_a_certificate_is_answered(apns: Apns, simulator: Simulator, certificate: PushCertificate) -> None:
    [apns_id] = apns.submit(1, identity_of(certificate))
    assert apns.sender.in_flight == 1
    apns.collect()
    answer = apns.one(apns_id)
    assert isinstance(answer, PushResponse)
    assert (answer.status, answer.header("apns-id"), answer.body) == (200, apns_id, b"")
    [arrival] = simulator.requests()
    assert arrival.method == "POST"
    assert arrival.body == b'{"aps":{"alert":"Hello"}}'
    assert set(arrival.headers) - {":method", ":scheme", ":authority", ":path", "content-length"} == {
        "apns-id",
        "apns-topic",
        "apns-push-type",
        "apns-priority",
    }, "a sender adds no header of its own"


def test_a_push_with_a_bearer_is_answered(apns: Apns, key: ApnsKey) -> None:
    assert statuses(apns.push(1, Identity("key", one_first=True), jwt(key))) == [200]


def test_a_refusal_brings_its_body_and_headers(apns: Apns, certificate: PushCertificate) -> None:
    [answer] = apns.push(1, identity_of(certificate), token="ab" * 32)
    assert isinstance(answer, PushResponse)
    assert (answer.status, answer.body) == (400, b'{"reason":"BadDeviceToken"}')
    assert answer.header("content-type") == "application/json; charset=utf-8"


def test_a_thousand_pushes_share_one_connection(apns: Apns, simulator: Simulator, certificate: PushCertificate) -> None:
    assert statuses(apns.push(1000, identity_of(certificate))) == [200] * 1000
    assert apns.connections() == 1


def test_a_second_batch_goes_over_the_same_connection(apns: Apns, certificate: PushCertificate) -> None:
    for _ in range(3):
        assert statuses(apns.push(5, identity_of(certificate))) == [200] * 5
    assert apns.connections() == 1


def test_two_identities_never_share_a_connection(apns: Apns, simulator: Simulator, key: ApnsKey) -> None:
    other = simulator.authority.issue_apns_key("TEAM000002")
    bearers = {key.team_id: jwt(key), other.team_id: jwt(other)}
    ids = []
    for _ in range(50):
        for team, bearer in bearers.items():
            ids += apns.submit(1, Identity(team, one_first=True), bearer)
    apns.collect()
    assert statuses([apns.one(apns_id) for apns_id in ids]) == [200] * 100
    seen: dict[int, set[str]] = {}
    for arrival in simulator.requests():
        seen.setdefault(arrival.connection.id, set()).add(arrival.headers["authorization"])
    assert len(seen) == 2
    assert all(len(authorizations) == 1 for authorizations in seen.values())


def test_nothing_follows_the_first_push_before_its_bearer_is_accepted(
    apns: Apns, simulator: Simulator, key: ApnsKey
) -> None:
    simulator.faults.add("delay", times=1, delay_s=0.3)
    assert statuses(apns.push(300, Identity("key", one_first=True), jwt(key))) == [200] * 300
    first, *others = simulator.requests()
    assert not [arrival for arrival in simulator.requests() if arrival.fate == "refused"]
    assert min(arrival.at for arrival in others) >= first.answered_at
    assert apns.connections() == 1


def test_after_a_refused_bearer_the_next_push_goes_alone_again(apns: Apns, simulator: Simulator, key: ApnsKey) -> None:
    identity = Identity("key", one_first=True)
    ids = apns.submit(1, identity, "not.a.jwt") + apns.submit(40, identity, jwt(key))
    apns.collect()
    assert statuses([apns.one(apns_id) for apns_id in ids]) == [403] + [200] * 40
    assert not [arrival for arrival in simulator.requests() if arrival.fate == "refused"]


def test_more_than_the_server_s_streams_are_all_answered(
    make: MakeSender, simulator: Simulator, certificate: PushCertificate
) -> None:
    simulator.policy.set("streams", 7)
    simulator.faults.add("delay", delay_s=0.01)
    apns = apns_of(simulator, make())
    assert statuses(apns.push(200, identity_of(certificate))) == [200] * 200
    assert max(arrival.connection.max_concurrent_streams for arrival in simulator.requests()) <= 7
    assert not [arrival for arrival in simulator.requests() if arrival.fate == "refused"]
    assert 1 <= apns.connections() <= 4


def test_more_connections_are_opened_when_streams_run_out(
    make: MakeSender, simulator: Simulator, certificate: PushCertificate
) -> None:
    simulator.policy.set("streams", 3)
    apns = apns_of(simulator, make(answer_timeout_s=15.0))
    assert statuses(apns.push(1, identity_of(certificate))) == [200]
    simulator.faults.add("delay", delay_s=3.5)
    apns.submit(12, identity_of(certificate))
    began = time.monotonic()
    while time.monotonic() - began < 3.3 and len(simulator.requests(fate="pending")) < 12:
        assert apns.sender.poll(0.02) == []
    assert len(simulator.requests(fate="pending")) == 12
    assert apns.connections() == 4
    simulator.faults.reset()
    apns.collect()


def test_answers_come_as_they_come(make: MakeSender, simulator: Simulator, certificate: PushCertificate) -> None:
    apns = apns_of(simulator, make(answer_timeout_s=2.0))
    assert statuses(apns.push(1, identity_of(certificate))) == [200]
    simulator.faults.add("silence", times=1)
    slow, *others = apns.submit(20, identity_of(certificate))
    apns.collect(until=1, deadline_s=1.8)
    assert apns.answers[slow] == []
    assert statuses([apns.one(apns_id) for apns_id in others]) == [200] * 19
    apns.collect()
    assert faults([apns.one(slow)]) == [Fault.ANSWER_TIMEOUT]


def test_a_provider_that_never_answers_does_not_delay_another(
    make: MakeSender, simulator: Simulator, certificate: PushCertificate
) -> None:
    apns = apns_of(simulator, make(connect_timeout_s=2.0, answer_timeout_s=2.0))
    simulator.faults.add("silence", site="apns-sandbox")
    device = simulator.devices.apns("sandbox", TOPIC)
    sick = Apns(simulator, apns.sender, simulator.apns_sandbox.host, device.token, apns.answers)
    sick_ids = sick.submit(20, identity_of(certificate))
    began = time.monotonic()
    ids = apns.submit(100, identity_of(certificate))
    apns.collect(until=20)
    assert time.monotonic() - began < 1.9
    assert statuses([apns.one(apns_id) for apns_id in ids]) == [200] * 100
    apns.collect()
    assert set(faults([apns.one(apns_id) for apns_id in sick_ids])) == {Fault.ANSWER_TIMEOUT}


def test_poll_waits_without_burning_the_processor(
    apns: Apns, simulator: Simulator, certificate: PushCertificate
) -> None:
    assert statuses(apns.push(1, identity_of(certificate))) == [200]
    simulator.faults.add("delay", delay_s=2.0)
    apns.submit(3, identity_of(certificate))
    apns.sender.poll(0.1)
    began, cpu = time.monotonic(), time.thread_time()
    assert apns.sender.poll(0.5) == []
    assert time.monotonic() - began >= 0.45
    assert time.thread_time() - cpu < 0.1
    apns.collect()


def test_an_empty_poll_returns_after_its_time(apns: Apns) -> None:
    began = time.monotonic()
    assert apns.sender.poll(0.1) == []
    assert 0.09 <= time.monotonic() - began < 2


def test_a_renewed_identity_gets_a_new_connection_and_the_old_one_finishes(
    apns: Apns, simulator: Simulator, key: ApnsKey
) -> None:
    identity, bearer = Identity("key", one_first=True), jwt(key)
    assert statuses(apns.push(1, identity, bearer)) == [200]
    simulator.faults.add("delay", times=5, delay_s=0.3)
    before = apns.submit(5, identity, bearer)
    assert simulator.wait(lambda: apns.sender.poll(0.01) == [] and len(simulator.requests(fate="pending")) == 5)
    apns.sender.renew(identity)
    after = apns.submit(5, identity, bearer)
    apns.collect()
    assert statuses([apns.one(apns_id) for apns_id in before + after]) == [200] * 10
    old = {simulator.requests(apns_id=apns_id)[0].connection for apns_id in before}
    new = {simulator.requests(apns_id=apns_id)[0].connection for apns_id in after}
    assert len(old) == len(new) == 1
    assert old != new
    assert simulator.wait(lambda: old.pop().closed_at is not None if old else True)


def test_renewing_frees_a_connection_that_an_expired_bearer_has_wedged(apns: Apns, key: ApnsKey) -> None:
    identity = Identity("key", one_first=True)
    assert statuses(apns.push(1, identity, jwt(key, age_s=4000))) == [403]
    assert statuses(apns.push(1, identity, jwt(key))) == [403]
    apns.sender.renew(identity)
    assert statuses(apns.push(3, identity, jwt(key))) == [200] * 3


def test_fcm_and_oauth_speak_through_the_same_sender(make: MakeSender, simulator: Simulator) -> None:
    sender = make()
    body = b"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=x.y.z"
    headers = (("content-type", "application/x-www-form-urlencoded"),)
    sender.submit("token", PushRequest(simulator.oauth.host, "/token", headers, body), Identity("oauth"))
    sender.submit("send", PushRequest(simulator.fcm.host, "/v1/projects/p/messages:send", (), b"{}"), Identity("fcm"))
    answers = {}
    began = time.monotonic()
    while sender.in_flight and time.monotonic() - began < 10:
        answers.update(sender.poll(0.5))
    assert isinstance(answers["token"], PushResponse)
    assert answers["token"].status == 400
    assert b"invalid_grant" in answers["token"].body
    assert isinstance(answers["send"], PushResponse)
    assert answers["send"].status in (401, 404)


def test_more_than_64_kib_of_error_bodies_on_one_connection(
    apns: Apns, simulator: Simulator, certificate: PushCertificate
) -> None:
    simulator.faults.add("unknown-reason", reason="BadMoonPhase" * 20)
    answers = apns.push(400, identity_of(certificate))
    assert statuses(answers) == [400] * 400
    assert sum(len(answer.body) for answer in answers if isinstance(answer, PushResponse)) > 65_536
    assert apns.connections() == 1
