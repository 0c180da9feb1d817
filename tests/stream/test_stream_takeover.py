import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from streams import Lossy, event, stream, until

from pushsvc.dispatch.ports import Again, Changes, Due, Lane, StreamUnavailable
from pushsvc.domain import event as events
from pushsvc.domain.event import Kind
from pushsvc.stream import events as stream_events
from pushsvc.stream import heartbeat, keys
from pushsvc.stream.embedded import EmbeddedValkey
from pushsvc.stream.events import ValkeyStream
from pushsvc.stream.figures import durability, figures
from pushsvc.stream.valkey import Valkey

READER = """
import sys, time
from pushsvc.stream.events import ValkeyStream
from pushsvc.stream.valkey import Valkey
one = ValkeyStream(Valkey(sys.argv[1]), 3600, "doomed")
print(len(one.read(int(sys.argv[2]), 0)), flush=True)
time.sleep(600)
"""


def reader(url: str, count: int) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", READER, url, str(count)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_what_a_killed_worker_held_is_taken_over_within_15_s_and_nothing_is_lost(running_valkey, valkey: Valkey):
    survivor = stream(valkey, "survivor")
    survivor.append([event(f"m{n}") for n in range(20)] + [event("ring", Kind.CALL)])
    doomed = reader(running_valkey.url, 6)
    assert survivor.claim(100) == [], "the other lives"
    doomed.kill()
    doomed.wait()
    killed = time.monotonic()
    assert len(survivor.read(100, 0)) == 15
    found = until(lambda: survivor.claim(4), 16)
    found += survivor.claim(100)
    assert time.monotonic() - killed < 15
    assert [e.lane for e in found] == [Lane.CALLS] + [Lane.MESSAGES] * 5
    assert [e.deliveries for e in found] == [2] * 6
    assert survivor.claim(100) == []
    assert len(figures(valkey).workers) == 1
    assert all(len(valkey.call("XINFO CONSUMERS", key, keys.GROUP)) == 1 for key in keys.LANES.values())
    survivor.close()
    doomed.stdout.close()


def test_what_two_workers_died_with_is_taken_over_one_by_one(valkey: Valkey):
    """The entry that kills workers must not drag its neighbours towards the dead letters."""
    first, second, third, fourth = (stream(valkey, name) for name in ("first", "second", "third", "fourth"))
    first.append([event(f"m{n}") for n in range(4)])
    assert len(first.read(100, 0)) == 4
    first.close()
    assert [e.deliveries for e in second.claim(100)] == [2] * 4
    second.close()
    suspects = third.claim(100)
    assert [e.deliveries for e in suspects] == [3]
    third.close()
    claims = [fourth.claim(100) for _ in range(4)]
    assert [len(claim) for claim in claims] == [1] * 4
    assert {claim[0].id: claim[0].deliveries for claim in claims}.pop(suspects[0].id) == 4
    assert sorted(claim[0].deliveries for claim in claims) == [3, 3, 3, 4]
    assert fourth.claim(100) == []
    fourth.close()


def test_a_worker_that_leaves_frees_what_it_held_at_once(valkey: Valkey):
    first, second = stream(valkey, "first"), stream(valkey, "second")
    first.append([event("a"), event("b")])
    first.read(2, 0)
    assert second.claim(10) == []
    first.close()
    assert [e.deliveries for e in second.claim(10)] == [2, 2]
    second.close()


def test_two_survivors_never_take_the_same_entry(valkey: Valkey):
    first, second, third = (stream(valkey, name) for name in ("first", "second", "third"))
    first.append([event(f"m{n}") for n in range(10)])
    first.read(10, 0)
    first.close()
    taken = second.claim(6) + third.claim(6) + second.claim(6)
    assert sorted(events.decode(e.raw).id for e in taken) == [f"m{n}" for n in range(10)]
    second.close()
    third.close()


def test_deliveries_are_counted_from_worker_to_worker(valkey: Valkey):
    stream(valkey).append([event("poison")])
    counts = []
    for n in range(4):
        one = stream(valkey, f"w{n}")
        (entry,) = one.read(1, 0) or one.claim(1)
        counts.append(entry.deliveries)
        one.close()
    assert counts == [1, 2, 3, 4]


def test_a_worker_whose_heartbeat_is_missing_for_a_moment_is_not_taken_for_dead(valkey: Valkey):
    busy, other = stream(valkey, "busy"), stream(valkey, "other")
    busy.append([event("a")])
    busy.read(1, 0)
    valkey.call("DEL", keys.worker(busy.consumer))  # as after an outage of Valkey that outlasts a heartbeat
    assert other.claim(10) == []
    until(lambda: valkey.call("EXISTS", keys.worker(busy.consumer)))
    assert other.claim(10) == []
    busy.close()
    other.close()


def test_a_loop_that_stands_still_too_long_loses_its_heartbeat(valkey: Valkey, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(heartbeat, "STUCK_AFTER_S", 0.05)
    monkeypatch.setattr(heartbeat, "EVERY_S", 0.02)
    monkeypatch.setattr(heartbeat, "LIVES_S", 1)
    monkeypatch.setattr(stream_events, "CONFIRM_DEAD_S", 0.05)
    stuck, other = stream(valkey, "stuck"), stream(valkey, "other")
    stuck.append([event("a")])
    stuck.read(1, 0)
    assert [e.deliveries for e in until(lambda: other.claim(1), 5)] == [2]
    stuck.close()
    other.close()


def test_entries_whose_delivery_was_lost_on_the_way_are_found_again(running_valkey, valkey: Valkey, tmp_path: Path):
    """The server has counted them as delivered, the answer never came: a connection broken in the middle of a read."""
    with Lossy(running_valkey.socket, tmp_path / "lossy.sock") as wire:
        one = stream(Valkey(f"unix://{tmp_path / 'lossy.sock'}"))
        one.append([event("a"), event("b"), event("c")])
        held = one.read(1, 0)
        wire.losing.set()
        with pytest.raises(StreamUnavailable):
            one.read(10, 0)
        wire.losing.clear()
        assert one.append([event("d")]) == [True]
        wire.losing.set()
        with pytest.raises(StreamUnavailable):
            one.append([event("e")])
        wire.losing.clear()
        assert one.append([event("e")]) == [False], "it was taken, and the repetition is told so"
        found = one.read(10, 0)
        assert sorted(events.decode(e.raw).id for e in [*held, *found]) == ["a", "b", "c", "d", "e"]
        assert one.read(10, 0) == []
        one.apply(Changes(done=[*held, *found]))
        assert valkey.call("XLEN", keys.MESSAGES) == 0
        one.close()


def test_a_worker_goes_on_when_valkey_is_killed_and_comes_back_and_nothing_answered_is_lost(tmp_path: Path):
    server = EmbeddedValkey(tmp_path)
    server.start()
    one = ValkeyStream(Valkey(server.url), 3600, "w")
    one.append([event("a"), event("b")])
    held = one.read(1, 0)
    os.kill(server.pid, signal.SIGKILL)
    for attempt in (lambda: one.append([event("c")]), lambda: one.read(1, 0), lambda: one.apply(Changes(done=held))):
        with pytest.raises(StreamUnavailable) as refused:
            attempt()
        assert "PUSHSVC_VALKEY_URL" in refused.value.cure
    server.stop()
    server.start()
    assert one.append([event("a"), event("c")]) == [False, True]
    one.apply(Changes(done=held))
    assert [events.decode(e.raw).id for e in one.read(10, 0)] == ["b", "c"]
    one.close()
    server.stop()


def test_the_figures_tell_what_waits_what_is_in_flight_and_who_works(valkey: Valkey):
    now = time.time()
    assert not figures(valkey).consumed
    one = stream(valkey, "w")
    one.append([event("a"), event("b"), event("c"), event("ring", Kind.CALL)])
    assert figures(valkey).lanes[Lane.MESSAGES].waiting == 3, "before any worker has come"
    one.read(2, 0)
    again = Again(token_id=1, uid=1, recipient="ada", attempt=1, enqueued_at=now)
    one.apply(Changes(due=[Due("d", now - 5, Lane.MESSAGES, b"{}", again)]))
    seen = figures(valkey, now + 100)
    assert (seen.lanes[Lane.CALLS].waiting, seen.lanes[Lane.CALLS].in_flight) == (0, 1)
    assert (seen.lanes[Lane.MESSAGES].waiting, seen.lanes[Lane.MESSAGES].in_flight) == (2, 1)
    assert (seen.waiting, seen.in_flight, seen.due, seen.dead) == (2, 2, 1, 0)
    assert 98 < seen.oldest_s <= 101
    assert seen.due_late_s == pytest.approx(105)
    assert seen.workers == (one.consumer,)
    one.close()
    assert not figures(valkey).consumed


def test_the_embedded_server_is_durable_and_a_volatile_one_is_called_so(running_valkey, valkey: Valkey):
    assert durability(valkey).faults == []
    try:
        valkey.call("CONFIG SET", "maxmemory-policy", "allkeys-lru", "appendfsync", "everysec")
        assert [cause.split()[0] for cause, _ in durability(valkey).faults] == ["appendfsync", "maxmemory-policy"]
    finally:
        valkey.call("CONFIG SET", "maxmemory-policy", "noeviction", "appendfsync", "always")
