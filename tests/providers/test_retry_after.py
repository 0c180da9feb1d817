"""Retry-After, in seconds and as a date, in the answers of APNs, FCM and Google's OAuth server."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from values import ANDROID, NOW, push, service_account

from pushsvc.domain.push import PushResponse, Verdict
from pushsvc.providers import Apns, Fcm

APNS, FCM = Apns("apns.test:443", "sandbox.test:443"), Fcm("fcm.test:443", "oauth.test:443")
Reader = Callable[[PushResponse], object]
READERS: dict[str, Reader] = {
    "apns": lambda answer: APNS.read(push(), answer),
    "fcm": lambda answer: FCM.read(push(to=ANDROID), answer),
    "oauth": lambda answer: FCM.read_bearer(service_account(), answer, NOW),
}


def waits(reader: str, value: str, date: str | None = None) -> float | None:
    headers = (("retry-after", value), *((("date", date),) if date is not None else ()))
    verdict = READERS[reader](PushResponse(503, headers, b""))
    assert isinstance(verdict, Verdict)
    return verdict.retry_after_s


def date(seconds: float) -> str:
    return formatdate(NOW + seconds, usegmt=True)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("value", "answered", "expected"),
    [
        ("0", None, 0),
        ("120", None, 120),
        (" 120 ", None, 120),
        (date(90), None, 90),
        (date(90), date(0), 90),
        (date(90), date(-3600), 3690),  # their clock is an hour behind ours: it is theirs that counts
        (date(3690), date(3600), 90),
        (date(90), "yesterday", 90),
        (date(-90), None, 0),
        (date(0), date(90), 0),
        ("Friday, 15-Jan-27 08:01:30 GMT", None, 90),  # RFC 850
        ("Fri Jan 15 08:01:30 2027", None, 90),  # asctime, UTC without saying so
        ("", None, None),
        ("soon", None, None),
        ("-5", None, None),
        ("1.5", None, None),
        ("1e3", None, None),
        ("٣", None, None),
        ("9" * 10, None, None),
        ("Fri, 32 Jan 2027 08:01:30 GMT", None, None),
        ("Fri, 15 Jan 2027 08:61:30 GMT", None, None),
        ("Fri, 15 Jan 2027", None, None),
    ],
)
def test_it_is_read_as_seconds_from_the_answer(
    reader: str, value: str, answered: str | None, expected: float | None
) -> None:
    assert waits(reader, value, answered) == expected


@given(st.text(max_size=40), st.text(max_size=40))
@example("Mon, 1 Jan 0001 00:00:00 +2359", "Fri, 31 Dec 9999 23:59:59 -2359")
@example("Mon, 1 Jan 2027 00:00:00 +99999999999", "1 Jan 99999999999 0:0")
def test_whatever_stands_there_is_never_negative_and_breaks_nothing(value: str, date: str) -> None:
    found = waits("apns", value, date)
    assert found is None or found >= 0
