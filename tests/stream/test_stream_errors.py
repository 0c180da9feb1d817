import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from streams import event, stream, until

from pushsvc.dispatch.ports import StreamUnavailable
from pushsvc.stream import keys
from pushsvc.stream.embedded import EmbeddedValkey
from pushsvc.stream.figures import durability
from pushsvc.stream.valkey import Valkey, client_url


@contextlib.contextmanager
def refused(cause: str) -> Iterator[None]:
    with pytest.raises(StreamUnavailable) as error:
        yield
    assert cause in error.value.cause
    assert error.value.cure.endswith((".", ")"))


def as_user(server: EmbeddedValkey, user: str) -> Valkey:
    return Valkey(f"unix://{user}@{server.socket}")


def test_a_wrong_password_or_none_is_told_apart_from_a_server_that_is_away(running_valkey, valkey: Valkey):
    valkey.call("ACL SETUSER", "default", "resetpass", ">right")
    try:
        with refused("user and password"):
            stream(as_user(running_valkey, ":wrong")).append([event("a")])
        with refused("user and password"):
            stream(Valkey(running_valkey.url)).append([event("a")])
        assert stream(as_user(running_valkey, ":right")).append([event("a")]) == [True]
    finally:
        valkey.call("ACL SETUSER", "default", "nopass")


def test_a_user_without_the_rights_is_told_so_and_one_with_the_rights_of_the_cure_can_do_all(
    running_valkey, valkey: Valkey
):
    valkey.call("ACL SETUSER", "poor", "on", ">p", "~other:*", "+@all")
    valkey.call("ACL SETUSER", "right", "on", ">p", "~{pushsvc}:*", "+@all", "-@dangerous")
    with refused("ACL forbids"):
        stream(as_user(running_valkey, "poor:p")).append([event("a")])
    right = as_user(running_valkey, "right:p")
    one = stream(right)
    assert one.append([event("a")]) == [True]
    (entry,) = one.read(10, 0)
    assert one.claim(1) == []
    one.bury(entry, "no")
    one.release_due(1.0, 1)
    one.close()
    assert durability(right).appendonly == "", "CONFIG is not for everybody"
    valkey.call("ACL DELUSER", "poor", "right")


def test_a_replica_is_refused_as_one_and_keeps_nothing(tmp_path: Path):
    with EmbeddedValkey(tmp_path) as server:
        valkey = Valkey(server.url)
        valkey.call("REPLICAOF", "127.0.0.1", "1")
        with refused("read-only replica"):
            stream(valkey).append([event("a")])
        with refused("read-only replica"):
            stream(valkey).read(1, 0)
        valkey.call("REPLICAOF", "NO", "ONE")
        assert valkey.call("DBSIZE") == 0
        valkey.close()


def test_a_server_that_does_not_answer_is_given_up_after_a_few_seconds(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("pushsvc.stream.valkey.ANSWER_TIMEOUT_S", 0.2)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen()
        with refused("cannot be reached"):
            Valkey(f"unix://{tmp_path / 's'}").call("PING")


def test_no_error_tells_the_password(tmp_path: Path):
    with pytest.raises(StreamUnavailable) as error:
        Valkey(f"unix://me:geheim@{tmp_path / 'nothing'}").call("PING")
    assert "geheim" not in f"{error.value} {error.value.cure}"


def test_a_full_server_takes_events_again_when_it_has_room(valkey: Valkey):
    one = stream(valkey)
    valkey.call("CONFIG SET", "maxmemory", 1)
    with refused("no memory"):
        one.append([event("a")])
    valkey.call("CONFIG SET", "maxmemory", 0)
    assert one.append([event("a")]) == [True]
    assert until(lambda: valkey.call("XLEN", keys.MESSAGES)) == 1


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("redis://h:1/2", "redis://h:1/2"),
        ("valkey://u:p@h:1/2", "redis://u:p@h:1/2"),
        ("valkeys://h:1", "rediss://h:1"),
        ("unix:///a/b.sock", "unix:///a/b.sock"),
        ("unix://u:p@/a/b.sock?db=2", "unix://u:p@/a/b.sock?db=2"),
    ],
)
def test_the_urls_of_the_config_are_those_of_the_client(url: str, taken: str):
    assert client_url(url) == taken
