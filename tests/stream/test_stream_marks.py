from collections.abc import Callable
from itertools import count
from typing import Any

from streams import event, stream

from pushsvc.dispatch.ports import Changes, Entry
from pushsvc.stream import keys
from pushsvc.stream.marks import ValkeyWindows
from pushsvc.stream.shelf import ValkeyShelf, has_turn
from pushsvc.stream.valkey import Valkey
from pushsvc.stream.versions import ValkeyVersions

NOW = 1_800_000_000.125


def test_the_first_wake_up_opens_a_window_and_the_others_learn_its_end(valkey: Valkey):
    windows = ValkeyWindows(valkey)
    wakes = [(1, 7, "a", 30.0), (1, 7, "b", 30.0), (1, 8, "b", 30.0), (2, 7, "b", 5.5)]
    assert windows.enter(wakes, NOW) == [None, NOW + 30.0, None, None]
    assert windows.enter([(1, 7, "c", 30.0)], NOW + 29.9) == [NOW + 30.0]


def test_the_event_that_opened_a_window_is_let_through_again(valkey: Valkey):
    windows = ValkeyWindows(valkey)
    windows.enter([(1, 7, "a", 30.0)], NOW)
    assert windows.enter([(1, 7, "a", 30.0)], NOW + 3) == [None]
    assert windows.enter([(1, 7, "b", 30.0)], NOW + 3) == [NOW + 30.0]


def test_a_window_that_has_ended_is_opened_anew_and_forgets_itself(valkey: Valkey):
    windows = ValkeyWindows(valkey)
    windows.enter([(1, 7, "a", 30.0)], NOW)
    assert 29_000 < valkey.call("PTTL", keys.quiet(1, 7)) <= 30_000
    assert windows.enter([(1, 7, "b", 30.0)], NOW + 30) == [None]
    assert windows.enter([(1, 7, "c", 30.0)], NOW + 31) == [NOW + 60]


def test_windows_work_on_a_full_valkey(valkey: Valkey):
    valkey.call("CONFIG SET", "maxmemory", 1)
    assert ValkeyWindows(valkey).enter([(1, 7, "a", 30.0), (1, 7, "b", 30.0)], NOW) == [None, NOW + 30]


def xor(blob: bytes) -> bytes:
    return bytes(byte ^ 0x5A for byte in blob)


def never(blob: bytes) -> bytes:
    raise ValueError("another key")


def test_a_bearer_on_the_shelf_is_shared_sealed_and_gone_at_its_time(valkey: Valkey):
    shelf = ValkeyShelf(valkey, xor, xor, clock=lambda: NOW)
    assert shelf.take("fcm:1") is None
    shelf.put("fcm:1", "ya29.secret", NOW + 60)
    assert ValkeyShelf(valkey, xor, xor).take("fcm:1") == ("ya29.secret", NOW + 60)
    assert b"ya29" not in valkey.call("GET", keys.shelf("fcm:1"))
    assert 59_000 < valkey.call("PTTL", keys.shelf("fcm:1")) <= 60_000
    assert ValkeyShelf(valkey, xor, never).take("fcm:1") is None
    assert ValkeyShelf(valkey, xor, bytes).take("fcm:1") is None, "opened to nonsense"
    shelf.put("fcm:2", "late", NOW - 1)
    assert shelf.take("fcm:2") is None


def test_one_worker_at_a_time_may_fetch_even_on_a_full_valkey(valkey: Valkey):
    valkey.call("CONFIG SET", "maxmemory", 1)
    shelf = ValkeyShelf(valkey, xor, xor, clock=lambda: NOW)
    assert [shelf.may_fetch("k", 30), shelf.may_fetch("k", 30), shelf.may_fetch("other", 30)] == [True, False, True]
    shelf.put("k", "token", NOW + 60)
    shelf.forget("k")
    assert shelf.take("k") is None
    assert shelf.may_fetch("k", 30)


def test_a_turn_comes_back_after_its_time(valkey: Valkey):
    assert has_turn(valkey, "upkeep", 0.001)
    while valkey.call("EXISTS", keys.turn("upkeep")):
        pass
    assert has_turn(valkey, "upkeep", 60)
    assert not has_turn(valkey, "upkeep", 60)


def test_a_bumped_app_has_a_higher_version_than_before(valkey: Valkey):
    versions = ValkeyVersions(valkey)
    assert versions.versions([]) == []
    assert versions.versions([1, 2]) == [0, 0]
    versions.bump(2)
    versions.bump(2)
    assert versions.versions([2, 1, 2]) == [2, 0, 2]


def test_every_operation_on_a_batch_is_one_command_and_reading_two(valkey: Valkey):
    one = stream(valkey)
    one.read(1, 0)
    one.close()  # no heartbeat between the counted commands

    def sent(act: Callable[[], Any]) -> int:
        """What clients sent, by the server's count; commands within scripts have other names."""
        act()  # a first time, so that the server knows the script
        valkey.call("CONFIG RESETSTAT")
        act()
        stats = valkey.call("INFO", "commandstats")
        outside = ("evalsha", "eval", "xreadgroup", "multi", "exec", "mget", "hmget")
        return sum(stats[f"cmdstat_{name}"]["calls"] for name in outside if f"cmdstat_{name}" in stats)

    numbers = count()
    batches: list[list[Entry]] = []
    windows = ValkeyWindows(valkey)
    assert sent(lambda: one.append([event(f"e{next(numbers)}") for _ in range(200)])) == 1
    assert sent(lambda: batches.append(one.read(100, 0))) == 2
    pairs = [(entry, event(f"m{n}")) for n, entry in enumerate(batches[0])]
    assert len(pairs) == 100
    assert sent(lambda: one.marks(pairs)) == 1
    assert sent(lambda: one.apply(Changes(done=batches.pop(), marks=[(e, 5) for _, e in pairs]))) == 1
    assert sent(lambda: windows.enter([(1, n, "x", 1.0) for n in range(200)], NOW)) == 1
    assert sent(lambda: ValkeyVersions(valkey).versions(range(50))) == 1
