"""What a producer is told of a bad event."""

from __future__ import annotations

import pytest

from pushsvc.domain.event import BadEvent, Event, Message, parse
from pushsvc.domain.explained import TAKES

TOLD = [
    (b'{"user":"a","id":"a b"}', "id", "a character that may not", "1 to 64 printable ASCII characters without spaces"),
    (b'{"user":"a","id":7}', "id", "it is a whole number", "1 to 64 printable ASCII"),
    (b'{"user":"a","expiry":-1}', "expiry", "too small", "31536000"),
    (b'{"user":"a","kind":"SECRET"}', "kind", "no such value", "call_cancelled"),
    (b'{"user":["a",true]}', "user[1]", "true or false", "an address"),
    (b'{"usr":"a"}', "usr", "no such property", "Did you mean `user`?"),
    (b'{"user":"a","bdy":"SECRET"}', "bdy", "no such property", "Did you mean `message.body`?"),
    (b'{"user":"a","body":"SECRET"}', "body", "no such property", "Did you mean `message.body`?"),
    (b'{"user":"a","message":{"bdy":1}}', "message.bdy", "no such property", "Did you mean `message.body`?"),
    (b'{"user":"a","message":{"expiry":1}}', "message.expiry", "no such property", "Did you mean `expiry`?"),
    (b'{"user":"a","message":{"%s":1}}' % (b"q" * 999), f"message.{'q' * 64}…", "no such property", "schema"),
    (b'{"id":"a"}', "user", "missing", "an address"),
    (b'"SECRET"', "", "an event is an object", "schema"),
    (b" ", "", "empty", "user"),
    (b'{"user":"SEC', "", "ends in the middle", "JSON object"),
    (b'{"user":"a"}x', "", "trailing characters (byte 1", "JSON object"),
    (b'{"user":"\xff"}', "", "not UTF-8", "UTF-8"),
]


@pytest.mark.parametrize(("raw", "prop", "cause", "cure"), TOLD)
def test_a_bad_event_is_told_in_sentences_without_what_was_written(
    raw: bytes, prop: str, cause: str, cure: str
) -> None:
    with pytest.raises(BadEvent) as caught:
        parse(raw, now=1.0, app=1, make_id="x")
    assert caught.value.prop == prop
    assert cause in caught.value.cause
    assert cure in caught.value.cure
    assert "SEC" not in f"{caught.value} {caught.value.cure}"


def test_every_property_has_a_sentence_that_says_what_it_takes() -> None:
    of_message = [f"message.{name}" for name in Message.__struct_encode_fields__]
    assert set(TAKES) == {*Event.__struct_encode_fields__, *of_message}
