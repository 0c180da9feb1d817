import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace
from streams import event, stream

from pushsvc.dispatch.ports import Again, Changes, Due, Lane, Mark, StreamUnavailable
from pushsvc.domain import event as events
from pushsvc.domain.event import Kind
from pushsvc.stream import keys
from pushsvc.stream.dead import DeadLetters
from pushsvc.stream.valkey import Valkey


def ids(found):
    return [events.decode(entry.raw).id for entry in found]


def test_an_appended_event_is_read_once_and_gone_when_done(valkey: Valkey):
    one = stream(valkey)
    assert one.append([event("a"), event("b", Kind.CALL)]) == [True, True]
    found = one.read(10, 0)
    assert ids(found) == ["b", "a"]
    assert [(e.lane, e.deliveries, e.again) for e in found] == [(Lane.CALLS, 1, None), (Lane.MESSAGES, 1, None)]
    assert one.read(10, 0) == []
    one.apply(Changes(done=found))
    assert valkey.call("XLEN", keys.CALLS) == valkey.call("XLEN", keys.MESSAGES) == 0
    one.close()


def test_the_same_id_is_taken_once_within_a_batch_and_across_batches_but_once_per_app(valkey: Valkey):
    one = stream(valkey)
    assert one.append([event("a"), event("a"), event("a", app=2)]) == [True, False, True]
    assert one.append([event("a"), event("b")]) == [False, True]
    assert valkey.call("XLEN", keys.MESSAGES) == 3


def test_eight_threads_that_append_the_same_ids_make_one_entry_of_each(valkey: Valkey):
    one = stream(valkey)
    gate = threading.Barrier(8)

    def append(_: int) -> list[bool]:
        gate.wait()
        return one.append([event(f"e{n}") for n in range(50)])

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(append, range(8)))
    assert [sum(column) for column in zip(*answers, strict=True)] == [1] * 50
    assert valkey.call("XLEN", keys.MESSAGES) == 50


def test_a_call_overtakes_ten_thousand_messages(valkey: Valkey):
    one = stream(valkey)
    for start in range(0, 10_000, 1000):
        one.append([event(f"m{start + n}") for n in range(1000)])
    assert len(one.read(100, 0)) == 100
    one.append([event("ring", Kind.CALL)])
    found = one.read(100, 0)
    assert len(found) == 100
    assert ids(found)[0] == "ring"
    assert {e.lane for e in found[1:]} == {Lane.MESSAGES}
    one.close()


def test_a_call_that_arrives_while_the_reader_waits_ends_the_wait(valkey: Valkey):
    one = stream(valkey)
    one.read(1, 0)
    timer = threading.Timer(0.1, lambda: one.append([event("ring", Kind.CALL), event("m")]))
    timer.start()
    assert ids(one.read(10, 2900)) == ["ring", "m"]
    timer.join()
    one.close()


def test_what_was_appended_before_the_first_worker_came_is_read(valkey: Valkey):
    stream(valkey, "api").append([event("early")])
    one = stream(valkey)
    assert ids(one.read(10, 0)) == ["early"]
    one.close()


def test_a_worker_goes_on_after_valkey_was_wiped(valkey: Valkey):
    one = stream(valkey)
    one.read(1, 0)
    valkey.call("FLUSHALL")
    one.append([event("a")])
    assert ids(one.read(10, 0)) == ["a"]
    valkey.call("FLUSHALL")
    assert one.claim(10) == []
    threading.Timer(0.1, lambda: valkey.call("FLUSHALL")).start()  # in the middle of a wait
    assert one.read(10, 400) == []
    one.close()


@pytest.mark.parametrize(
    "fields",
    [
        ("naked", "{}"),
        ("event", b"\x00\xff\xfe"),
        ("event", "{}", "again", "junk"),
        ("event", "{}", "again", b"\xff"),
        (b"\xff\xfe", b"\x00"),
        ("event", ""),
    ],
)
def test_foreign_junk_comes_out_as_an_entry_that_can_be_buried_and_stops_nobody(valkey: Valkey, fields):
    one = stream(valkey)
    valkey.call("XADD", keys.MESSAGES, "*", *fields)
    one.append([event("good")])
    junk, good = one.read(10, 0)
    with pytest.raises(events.BadEvent):
        events.decode(junk.raw)
    one.bury(junk, "cannot be read")
    assert ids([good]) == ["good"]
    (letter,) = DeadLetters(valkey, 60).list()
    assert (letter.reason, letter.entry, letter.lane, letter.deliveries) == (
        "cannot be read",
        junk.id,
        Lane.MESSAGES,
        1,
    )
    assert valkey.call("XLEN", keys.MESSAGES) == 1
    one.close()


def test_an_entry_of_a_foreign_producer_takes_its_event_and_a_repetition_is_seen(valkey: Valkey):
    one = stream(valkey)
    for _ in range(2):
        valkey.call("XADD", keys.MESSAGES, "*", "event", events.encode(event("foreign")), "trace", "x")
    first, second = one.read(10, 0)
    pair = [(first, event("foreign")), (second, event("foreign"))]
    assert one.marks(pair) == [Mark(False, frozenset()), Mark(True, frozenset())]
    assert one.marks(pair) == [Mark(False, frozenset()), Mark(True, frozenset())], "a redelivery owns its event"
    assert one.append([event("foreign")]) == [False]
    assert 3590 < valkey.call("TTL", keys.mark(1, "foreign")) <= 3600
    one.close()


def test_entries_of_the_two_lanes_with_the_same_id_are_not_taken_for_one(valkey: Valkey):
    one = stream(valkey)
    for key in (keys.CALLS, keys.MESSAGES):
        valkey.call("XADD", key, "5-1", "event", events.encode(event("twice")))
    found = one.read(10, 0)
    assert [mark.repeated for mark in one.marks([(entry, event("twice")) for entry in found])] == [False, True]
    one.apply(Changes(done=found[:1]))
    assert valkey.call("XLEN", keys.MESSAGES) == 1
    one.close()


AGAIN = Again(token_id=7, uid=3, recipient="ada", attempt=2, enqueued_at=1_700_000_000.25)


def test_marks_are_kept_with_the_event_and_seen_by_a_retry_which_is_no_repetition(valkey: Valkey):
    one = stream(valkey)
    one.append([event("a")])
    found = one.read(1, 0)
    later = Due("a:7", 50.0, Lane.MESSAGES, found[0].raw, AGAIN)
    one.apply(Changes(marks=[(event("a"), 4), (event("a"), AGAIN.token_id)], due=[later], done=found))
    assert one.release_due(49.9, 10) == 0
    assert one.release_due(50.0, 10) == 1
    (again,) = one.read(10, 0)
    assert (again.again, again.raw, again.enqueued_at) == (AGAIN, found[0].raw, AGAIN.enqueued_at)
    assert one.marks([(again, event("a"))]) == [Mark(False, frozenset({AGAIN.token_id}))], "its own alone"
    assert one.append([event("a")]) == [False], "a repetition is refused while the event is being retried"
    one.close()


def test_due_pushes_are_released_in_the_order_of_their_time_and_no_more_than_asked(valkey: Valkey):
    one = stream(valkey)
    raw = {n: events.encode(event(f"e{n}")) for n in (3, 1, 2)}
    one.apply(Changes(due=[Due(f"d{n}", float(n), Lane.MESSAGES, raw[n], AGAIN) for n in raw]))
    assert one.release_due(10.0, 2) == 2
    assert one.release_due(10.0, 2) == 1
    assert one.release_due(10.0, 2) == 0
    assert ids(one.read(10, 0)) == ["e1", "e2", "e3"]
    assert valkey.call("EXISTS", keys.DUE, keys.DUE_ENTRIES) == 0
    one.close()


def test_a_trailing_wake_up_displaces_the_older_one_which_comes_back_as_superseded(valkey: Valkey):
    one = stream(valkey)
    old = Due("wake:7", 20.5, Lane.MESSAGES, b'{"text":"line\\n"}', AGAIN)
    new = Due("wake:7", 21.0, Lane.CALLS, events.encode(event("new", Kind.CALL)), AGAIN)
    one.apply(Changes(due=[old]))
    assert one.read(10, 0) == []
    one.apply(Changes(due=[new]))
    one.apply(Changes(due=[new]))  # repeated after a lost answer
    displaced = one.read(10, 0)
    assert [(entry.raw, entry.again) for entry in displaced] == [(old.raw, replace(old.again, superseded=True))]
    assert one.release_due(30.0, 10) == 1
    assert [(e.lane, e.raw) for e in one.read(10, 0)] == [(Lane.CALLS, new.raw)]
    one.close()


def test_a_retry_of_the_same_push_takes_the_older_one_s_place_in_silence(valkey: Valkey):
    one = stream(valkey)
    one.apply(Changes(due=[Due("p", 20.5, Lane.MESSAGES, b"{}", AGAIN)]))
    one.apply(Changes(due=[Due("p", 21.0, Lane.MESSAGES, b'{"a":1}', AGAIN)]))
    assert one.read(10, 0) == []
    assert one.release_due(30.0, 10) == 1
    assert [entry.raw for entry in one.read(10, 0)] == [b'{"a":1}']
    one.close()


def test_burying_twice_makes_one_dead_letter(valkey: Valkey):
    one = stream(valkey)
    one.append([event("a")])
    (entry,) = one.read(1, 0)
    one.bury(entry, "no")
    one.bury(entry, "no")
    assert DeadLetters(valkey, 60).count() == 1
    one.close()


def test_more_entries_than_lua_can_unpack_are_settled_in_one_call(valkey: Valkey):
    one = stream(valkey)
    one.append([event(f"e{n}") for n in range(9000)])
    found = one.read(9000, 0)
    assert len(found) == 9000
    one.apply(Changes(done=found, marks=[(event(f"e{n}"), n) for n in range(9000)]))
    assert valkey.call("XLEN", keys.MESSAGES) == 0
    assert valkey.call("XPENDING", keys.MESSAGES, keys.GROUP)["pending"] == 0
    one.close()


def full(valkey: Valkey) -> None:
    valkey.call("CONFIG SET", "maxmemory", 1)


def test_an_append_without_memory_is_refused_with_a_cure_and_nothing_of_it_is_kept(valkey: Valkey):
    one = stream(valkey)
    full(valkey)
    with pytest.raises(StreamUnavailable) as refused:
        one.append([event(f"e{n}") for n in range(10)])
    assert "memory" in refused.value.cause
    assert "maxmemory" in refused.value.cure
    assert valkey.call("DBSIZE") == 0


def test_workers_settle_on_a_full_valkey_so_that_it_empties(valkey: Valkey):
    one = stream(valkey)
    one.append([event("a"), event("b"), event("c")])
    valkey.call("XADD", keys.MESSAGES, "*", "event", events.encode(event("foreign")))
    one.read(1, 0)
    one.apply(Changes(due=[Due("d", 1.0, Lane.MESSAGES, b"{}", AGAIN)]))
    full(valkey)
    assert one.release_due(2.0, 10) == 1
    found = one.read(10, 0)
    assert len(found) == 4
    assert not any(mark.repeated for mark in one.marks([(found[2], event("foreign"))]))
    later = Due("a:7", 50.0, Lane.MESSAGES, found[0].raw, AGAIN)
    one.apply(Changes(marks=[(event("b"), 4)]))
    one.apply(Changes(due=[later], done=found[:3]))
    one.bury(found[3], "no")
    other = stream(valkey, "second")
    assert other.read(1, 0) == []
    assert valkey.call("GET", keys.worker(other.consumer)) == b"alive"
    one.close()
    other.close()
