"""What a sender knows of the way to each authority: connections that stand, and what the last request came to."""

from __future__ import annotations

import time

from pushsvc.domain.push import Fault, Identity, PushRequest
from pushsvc.simulator import Simulator
from pushsvc.simulator.authority import PushCertificate
from tests.senders.conftest import TOPIC, Apns, MakeSender, faults, identity_of

NOWHERE = "127.0.0.1:1"


def test_a_sender_that_has_sent_nothing_has_reached_nothing(make: MakeSender) -> None:
    assert make().reach == {}


def test_an_answer_shows_the_authority_reached_over_a_connection_that_stands(
    apns: Apns, certificate: PushCertificate
) -> None:
    began = time.time()
    apns.push(3, identity_of(certificate))
    reach = apns.sender.reach
    assert list(reach) == [apns.authority]
    one = reach[apns.authority]
    assert (one.connections, one.fault) == (1, "")
    assert began <= one.since <= one.at <= time.time()
    apns.push(1, identity_of(certificate))
    later = apns.sender.reach[apns.authority]
    assert later.since == one.since, "it has been reached since then"
    assert later.at > one.at


def test_an_authority_that_cannot_be_reached_is_shown_with_its_fault_since_the_first_of_a_row(make: MakeSender) -> None:
    sender = make()
    for _ in range(2):
        sender.submit(None, PushRequest(NOWHERE, "/", (), b"{}"), Identity("plain"))
        while not sender.poll(1):
            pass
    one = sender.reach[NOWHERE]
    assert (one.connections, one.fault) == (0, Fault.CONNECT)
    assert one.since < one.at


def test_an_authority_that_answers_again_is_reached_again(
    apns: Apns, certificate: PushCertificate, simulator: Simulator
) -> None:
    apns.push(1, identity_of(certificate))
    simulator.faults.add("close-after-request", site="apns-production", times=1)
    assert faults(apns.push(1, identity_of(certificate))) == [Fault.LOST]
    lost = apns.sender.reach[apns.authority]
    assert (lost.connections, lost.fault) == (0, Fault.LOST)
    apns.push(1, identity_of(certificate))
    again = apns.sender.reach[apns.authority]
    assert (again.connections, again.fault) == (1, "")
    assert again.since > lost.since


def test_a_server_that_refuses_one_credential_is_reached(apns: Apns, simulator: Simulator) -> None:
    expired = simulator.authority.issue_push_certificate(TOPIC, validity="expired")
    assert faults(apns.push(1, identity_of(expired, "expired"))) == [Fault.TLS_ALERT]
    assert apns.sender.reach[apns.authority].fault == ""
