"""How a sender is made, and that both keep the Protocol's word when they are closed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import respx

from pushsvc.domain.push import Answer, Fault, Identity, PushRequest, PushResponse, TransportFailure
from pushsvc.senders import make_sender
from pushsvc.senders.httpx import HttpxSender
from pushsvc.senders.trust import Trust
from tests.senders.conftest import MakeSender


def test_an_unknown_sender_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="use curl or httpx"):
        make_sender("pigeon", capacity=1, connect_timeout_s=1, answer_timeout_s=1, provider_ca_pem=None, proxy="")


def test_a_sender_can_be_closed_unused_and_twice(make: MakeSender) -> None:
    sender = make()
    sender.close()
    sender.close()


def test_the_file_of_the_extra_authority_goes_with_the_sender() -> None:
    trust = Trust(b"-----BEGIN CERTIFICATE-----")
    file = Path(trust.ca_file)
    assert file.read_bytes().endswith(b"-----BEGIN CERTIFICATE-----")
    trust.close()
    trust.close()
    assert not file.exists()
    forgotten = Trust(b"")
    file = Path(forgotten.ca_file)
    del forgotten
    assert not file.exists()


def test_importing_the_package_loads_neither_library() -> None:
    code = "import sys, pushsvc.senders; sys.exit('pycurl' in sys.modules or 'httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _through(route: respx.MockRouter) -> Answer:
    sender = HttpxSender(capacity=10, connect_timeout_s=1, answer_timeout_s=1, trust=Trust(None), proxy="")
    try:
        sender.submit("tag", PushRequest("oauth.example:443", "/token", (("x-y", "z"),), b"a=b"), Identity("oauth"))
        [(tag, answer)] = sender.poll(5)
        assert tag == "tag"
        assert sender.in_flight == 0
        return answer
    finally:
        sender.close()


def test_httpx_hands_on_what_it_is_given() -> None:
    with respx.mock as router:
        reply = httpx.Response(201, headers=[("X-One", "1"), ("x-one", "2")], content=b"body")
        route = router.post("https://oauth.example/token").mock(return_value=reply)
        answer = _through(router)
        assert route.calls.last.request.content == b"a=b"
        assert route.calls.last.request.headers["x-y"] == "z"
    assert isinstance(answer, PushResponse)
    assert (answer.status, answer.body) == (201, b"body")
    assert [value for name, value in answer.headers if name == "x-one"] == ["1", "2"]


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (httpx.ConnectTimeout("x"), Fault.CONNECT_TIMEOUT),
        (httpx.ConnectError("x"), Fault.CONNECT),
        (httpx.ProxyError("407 Proxy Authentication Required"), Fault.CONNECT),
        (RuntimeError("a bug in a library"), Fault.CONNECT),
    ],
)
def test_whatever_httpx_raises_comes_back_as_a_failure(error: Exception, fault: Fault) -> None:
    with respx.mock as router:
        router.post("https://oauth.example/token").mock(side_effect=error)
        answer = _through(router)
    assert isinstance(answer, TransportFailure)
    assert answer.fault is fault
