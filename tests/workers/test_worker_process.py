import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from celery import Celery
from celery_process import until

from pushsvc.config import Config
from pushsvc.domain.event import Event
from pushsvc.stream import keys
from pushsvc.stream.dead import DeadLetters
from pushsvc.stream.embedded import EmbeddedValkey
from pushsvc.stream.events import ValkeyStream
from pushsvc.stream.valkey import Valkey


def append(valkey: Valkey, *ids: str) -> None:
    ValkeyStream(valkey, 3600, "test").append([Event(app=1, id=one, user="ada", sent_at=1.7e9) for one in ids])


def sent(valkey: Valkey) -> list[str]:
    return [one.decode() for one in valkey.call("LRANGE", "sent", 0, -1)]


def test_a_stopped_worker_ends_what_it_has_begun_leaves_the_rest_and_exits_with_0(worker, valkey):
    append(valkey, *(f"e{n}" for n in range(20)))
    one = worker(STANDIN_SEND_S="1")
    until(lambda: _pending(valkey) == 8)
    one.process.send_signal(signal.SIGTERM)
    assert one.wait() == 0
    assert sorted(sent(valkey)) == sorted(f"e{n}" for n in range(8)), "the eight it held, none twice"
    assert valkey.call("XLEN", keys.MESSAGES) == 12
    assert valkey.call("GET", "closed") == b"1"
    second = worker()
    until(lambda: len(sent(valkey)) == 20)
    second.process.send_signal(signal.SIGTERM)
    assert second.wait() == 0


def test_a_worker_that_may_not_drain_leaves_its_events_to_the_others_at_once(worker, valkey):
    append(valkey, "a", "b")
    slow = worker(STANDIN_SEND_S="60", PUSHSVC_DRAIN_S="0.2")
    until(lambda: _pending(valkey) == 2)
    slow.process.send_signal(signal.SIGTERM)
    assert slow.wait() == 0
    assert "2 events are left to other workers" in slow.log
    worker()
    until(lambda: sorted(sent(valkey)) == ["a", "b"], 8)


def test_what_a_killed_worker_had_begun_is_ended_by_another(worker, valkey):
    ids = [f"e{n}" for n in range(40)]
    append(valkey, *ids)
    doomed = worker(STANDIN_SEND_S="60")
    until(lambda: _pending(valkey) == 8)
    doomed.process.kill()
    worker()
    until(lambda: set(sent(valkey)) == set(ids), 30)
    assert len(sent(valkey)) == 40
    until(lambda: valkey.call("XLEN", keys.MESSAGES) == 0)


def test_an_event_that_breaks_the_flow_becomes_a_dead_letter_and_the_others_are_sent(worker, valkey):
    append(valkey, "a", "boom", "b")
    worker()
    until(lambda: sorted(sent(valkey)) == ["a", "b"])
    (letter,) = until(lambda: DeadLetters(valkey, 60).list())
    assert (letter.reason, letter.deliveries) == ("boom", 3)


def test_an_error_of_config_in_the_flow_ends_the_worker_with_its_cause(worker, valkey):
    append(valkey, "fatal")
    one = worker()
    assert one.wait() == 78
    assert "PUSHSVC_VAULT_KEYS: no key opens this credential." in one.log


@pytest.mark.parametrize(
    ("options", "environ", "said"),
    [
        ((), {"PUSHSVC_VALKEY_URI": "redis://x"}, "did you mean PUSHSVC_VALKEY_URL?"),
        (("--pool", "processes"), {}, "--pool threads or solo"),
        ((), {"PUSHSVC_METRICS_LISTEN": "192.0.2.1:9"}, "PUSHSVC_METRICS_LISTEN=192.0.2.1:9"),
    ],
)
def test_a_worker_that_cannot_run_says_why_in_one_line_and_exits_with_78(worker, valkey, options, environ, said):
    one = worker(*options, **environ)
    assert one.wait() == 78
    assert said in one.log
    assert "Traceback" not in one.log


def test_a_worker_goes_on_when_valkey_is_killed_and_comes_back(worker, tmp_path: Path):
    server = EmbeddedValkey(tmp_path / "data")
    server.start()
    valkey = Valkey(server.url)
    one = worker(PUSHSVC_VALKEY_URL=server.url)
    append(valkey, "before")
    until(lambda: sent(valkey) == ["before"] and valkey.call("XLEN", keys.MESSAGES) == 0)  # or it is sent again
    os.kill(server.pid, signal.SIGKILL)
    server.stop()
    until(lambda: "events wait" in one.log)
    valkey.close()  # its connection is to the one that died
    server.start()
    valkey = Valkey(server.url)
    append(valkey, "after")
    until(lambda: sent(valkey) == ["before", "after"])
    producer(server.url).send_task("pushsvc.dispatch", [{"app": 1, "id": "task", "user": "ada"}])
    until(lambda: sent(valkey) == ["before", "after", "task"], 30)
    one.process.send_signal(signal.SIGTERM)
    assert one.wait() == 0
    valkey.close()
    server.stop()


def test_a_worker_can_be_stopped_while_valkey_is_away(worker, tmp_path: Path):
    server = EmbeddedValkey(tmp_path / "data")
    server.start()
    valkey = Valkey(server.url)
    one = worker(PUSHSVC_VALKEY_URL=server.url)
    append(valkey, "before")
    until(lambda: sent(valkey) == ["before"])
    valkey.close()
    server.stop()
    until(lambda: "events wait" in one.log)
    one.process.send_signal(signal.SIGTERM)
    assert one.wait() == 0


def test_a_cold_stop_does_not_wait(worker, valkey):
    append(valkey, "a")
    one = worker(STANDIN_SEND_S="60", PUSHSVC_DRAIN_S="60")
    until(lambda: _pending(valkey) == 1)
    one.process.send_signal(signal.SIGQUIT)
    one.wait(10)
    worker()
    until(lambda: sent(valkey) == ["a"])


def test_a_cold_stop_ends_a_drain_that_is_under_way(worker, valkey):
    append(valkey, "a")
    one = worker(STANDIN_SEND_S="60", PUSHSVC_DRAIN_S="60")
    until(lambda: _pending(valkey) == 1 and "ready." in one.log)
    one.process.send_signal(signal.SIGTERM)
    until(lambda: "Warm shutdown" in one.log)
    one.process.send_signal(signal.SIGQUIT)
    one.wait(10)


def test_two_workers_do_the_upkeep_once(worker, valkey):
    one, two = worker("-n", "one@test"), worker("-n", "two@test")
    until(lambda: valkey.call("GET", "upkept"))
    append(valkey, *(f"e{n}" for n in range(50)))
    until(lambda: len(sent(valkey)) == 50)
    for process in (one.process, two.process):
        process.send_signal(signal.SIGTERM)
    assert (one.wait(), two.wait()) == (0, 0)
    assert valkey.call("GET", "upkept") == b"1"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def readyz(port: int) -> tuple[int, dict]:
    """Status 0 where nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
    except OSError:
        return 0, {}


def test_a_worker_shows_its_metrics_and_its_health(worker, valkey):
    port = free_port()
    one = worker(PUSHSVC_METRICS_LISTEN=f"127.0.0.1:{port}")
    status, body = until(lambda: (seen := readyz(port))[0] and seen)
    assert (status, body["ready"], body["checks"]["loop"]) == (200, True, "ok")
    one.process.send_signal(signal.SIGTERM)
    assert one.wait() == 0


def test_a_worker_whose_loop_does_not_turn_is_not_ready_until_it_turns_again(worker, valkey):
    port = free_port()
    worker(PUSHSVC_METRICS_LISTEN=f"127.0.0.1:{port}", STANDIN_STILL_S="1.2")
    until(lambda: readyz(port)[0] == 200)
    append(valkey, "hang")
    body = until(lambda: (seen := readyz(port))[0] == 503 and seen[1])
    assert "the event loop has not turned for" in body["checks"]["loop"]
    until(lambda: sent(valkey) == ["hang"] and readyz(port)[0] == 200)


def producer(url: str) -> Celery:
    """As a producer that knows nothing of pushsvc but the broker, the queue and the task's name."""
    app = Celery("elsewhere", broker=url.replace("unix://", "redis+socket://"), set_as_current=False)
    app.conf.update(task_default_queue="pushsvc", broker_transport_options={"socket_timeout": 5})
    return app


def test_the_dispatch_task_takes_one_event_or_a_list_and_buries_the_bad_ones(worker, valkey, running_valkey):
    one = worker()
    elsewhere = producer(running_valkey.url)
    elsewhere.send_task("pushsvc.dispatch", [{"app": 1, "id": "one", "user": "ada"}])
    bad = [{"app": 1}, "text", {"app": 1, "user": "ada", "apns": {"aps": {}}}, {"app": 2**70, "user": "ada"}, None]
    good = [{"app": 1, "id": f"e{n}", "user": ["ada", 7]} for n in range(3)]
    elsewhere.send_task(
        "pushsvc.dispatch", [[good[0], *bad, good[1], {"app": 1, "user": "no-id"}, good[2]]], task_id="T"
    )
    elsewhere.send_task("pushsvc.dispatch", [[{"app": 1, "user": "no-id"}] * 8], task_id="T")  # again: 7 is T.7
    elsewhere.send_task("pushsvc.dispatch", [[]])
    elsewhere.send_task("pushsvc.dispach", [{"app": 1, "user": "ada", "message": {"body": "SECRET"}}])
    until(lambda: len(sent(valkey)) == 12)
    assert sorted(sent(valkey)) == sorted(["one", "e0", "e1", "e2", *(f"T.{n}" for n in range(8))])
    letters = until(lambda: DeadLetters(valkey, 60).list()[4:] and DeadLetters(valkey, 60).list())
    assert len(letters) == 5
    assert all("(" in letter.reason for letter in letters), "cause and cure"
    elsewhere.send_task("pushsvc.dispatch")
    elsewhere.send_task("pushsvc.dispatch", [{"app": 1}, {"app": 2}])
    elsewhere.send_task("pushsvc.dispatch", kwargs={"events": {"app": 1, "id": "named", "user": "ada"}})
    letters = until(lambda: DeadLetters(valkey, 60).list()[6:] and DeadLetters(valkey, 60).list())
    assert sum("it takes one" in letter.reason for letter in letters) == 2
    until(lambda: "named" in sent(valkey))
    until(lambda: "unknown type 'pushsvc.dispach'" in one.log)
    assert "Traceback" not in one.log
    assert "SECRET" not in one.log
    assert "ada" not in one.log
    elsewhere.close()


def test_events_of_a_task_wait_while_the_stream_takes_none_and_are_not_lost(worker, valkey, tmp_path: Path):
    with EmbeddedValkey(tmp_path / "broker") as broker:
        elsewhere = producer(broker.url)
        one = worker(PUSHSVC_BROKER_URL=broker.url, STANDIN_PATIENCE_S="0.3")
        append(valkey, "first")
        until(lambda: sent(valkey) == ["first"])
        valkey.call("CONFIG SET", "maxmemory", 1)
        elsewhere.send_task("pushsvc.dispatch", [{"app": 1, "id": "late", "user": "ada"}])
        until(lambda: one.log.count("events of a task wait in its queue") >= 2)
        valkey.call("CONFIG SET", "maxmemory", 0)
        until(lambda: sent(valkey) == ["first", "late"])
        elsewhere.close()
        one.process.send_signal(signal.SIGTERM)
        assert one.wait() == 0


def test_importing_the_app_reads_no_config_and_opens_nothing():
    code = "import workers.app, threading, sys; sys.exit(threading.active_count() != 1 or workers.app.app.configured)"
    environ = {**os.environ, "PUSHSVC_NONSENSE": "1"}
    assert subprocess.run([sys.executable, "-c", code], env=environ, check=False).returncode == 0


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"PUSHSVC_VALKEY_URL": "unix:///run/v.sock"}, "redis+socket:///run/v.sock?virtual_host=0"),
        ({"PUSHSVC_VALKEY_URL": "unix://u:p@/run/v.sock?db=3"}, "redis+socket://u:p@/run/v.sock?virtual_host=3"),
        ({"PUSHSVC_VALKEY_URL": "valkey://v:6379/2"}, "redis://v:6379/2"),
        ({"PUSHSVC_VALKEY_URL": "valkeys://v:6379/2"}, "rediss://v:6379/2"),
        ({"PUSHSVC_BROKER_URL": "amqp://guest@mq//"}, "amqp://guest@mq//"),
        ({"PUSHSVC_DATA": "/d"}, "redis+socket:///d/valkey.sock?virtual_host=0"),
    ],
)
def test_the_broker_is_the_streams_valkey_unless_another_is_named(environ, url):
    from workers.app import broker_url

    assert broker_url(Config.from_env(environ)) == url


def _pending(valkey: Valkey) -> int:
    if not valkey.call("EXISTS", keys.MESSAGES) or not valkey.call("XINFO GROUPS", keys.MESSAGES):
        return 0
    return int(valkey.call("XPENDING", keys.MESSAGES, keys.GROUP)["pending"])
