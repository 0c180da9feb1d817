import pytest
from streams import event, stream

from pushsvc.dispatch.ports import Again, Changes, Due, Lane
from pushsvc.domain import event as events
from pushsvc.domain.event import BadEvent, Kind
from pushsvc.stream import keys
from pushsvc.stream.dead import DeadLetters
from pushsvc.stream.valkey import Valkey


def test_a_dead_letter_is_shown_retried_as_its_own_event_and_then_gone(valkey: Valkey):
    one, dead = stream(valkey), DeadLetters(valkey, 60)
    one.append([event("a", Kind.CALL)])
    (entry,) = one.read(1, 0)
    one.bury(entry, "delivered too often")
    (letter,) = dead.list()
    assert (letter.lane, letter.entry, letter.reason) == (Lane.CALLS, entry.id, "delivered too often")
    assert "ada" not in repr(letter)
    assert dead.get(letter.id) == letter
    assert dead.retry(letter.id)
    assert not dead.retry(letter.id)
    (again,) = one.read(1, 0)
    assert again.raw == entry.raw
    assert [mark.repeated for mark in one.marks([(again, event("a", Kind.CALL))])] == [False]
    assert dead.count() == 0
    one.close()


def test_a_retried_push_keeps_its_attempt_and_leaves_the_event_to_its_owner(valkey: Valkey):
    one, dead = stream(valkey), DeadLetters(valkey, 60)
    one.append([event("a")])
    (first,) = one.read(1, 0)
    again = Again(token_id=1, uid=1, recipient="ada", attempt=3, enqueued_at=5.5)
    one.apply(Changes(due=[Due("d", 1.0, Lane.MESSAGES, first.raw, again)]))
    one.release_due(2.0, 1)
    (second,) = one.read(1, 0)
    one.bury(second, "no")
    assert dead.list()[0].retrying
    assert dead.retry(dead.list()[0].id)
    (third,) = one.read(1, 0)
    assert third.again == again
    assert not one.marks([(first, event("a"))])[0].repeated
    one.close()


def test_an_event_that_cannot_be_read_is_not_retried_only_dropped(valkey: Valkey):
    one, dead = stream(valkey), DeadLetters(valkey, 60)
    valkey.call("XADD", keys.MESSAGES, "*", "naked", "{}", "other", "1")
    one.bury(one.read(1, 0)[0], "no event")
    dead.add(b"[", "not an event")
    newest, oldest = dead.list()
    assert (newest.raw, newest.entry, oldest.fields) == (b"[", "", "naked other")
    assert dead.list(before=newest.id) == [oldest]
    for letter in (newest, oldest):
        with pytest.raises(BadEvent):
            dead.retry(letter.id)
        assert dead.drop(letter.id)
        assert not dead.drop(letter.id)
    assert (dead.get("nonsense"), dead.drop("nonsense"), dead.retry("1-1")) == (None, False, False)
    one.close()


def test_a_junk_entry_that_breaks_decoding_everywhere_is_still_listed(valkey: Valkey):
    DeadLetters(valkey, 60).add(b"\xff\xfe", "x" * 5000)
    (letter,) = DeadLetters(valkey, 60).list()
    assert (letter.raw, len(letter.reason)) == (b"\xff\xfe", 1000)
    with pytest.raises(BadEvent):
        events.decode(letter.raw)
