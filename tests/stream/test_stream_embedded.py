import contextlib
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from streams import event, until

from pushsvc.dispatch.ports import StreamUnavailable
from pushsvc.stream import embedded, keys
from pushsvc.stream.embedded import EmbeddedValkey
from pushsvc.stream.events import ValkeyStream
from pushsvc.stream.valkey import Valkey, short_socket_path

STARTER = """
import sys, threading, time
from pathlib import Path
from pushsvc.stream.embedded import EmbeddedValkey
server = EmbeddedValkey(Path(sys.argv[1]))
thread = threading.Thread(target=server.start)  # a thread that ends must not take the server with it
thread.start()
thread.join()
print(server.pid, flush=True)
time.sleep(600)
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_server_has_a_private_socket_no_port_and_syncs_every_write(tmp_path: Path):
    with EmbeddedValkey(tmp_path / "data") as server:
        assert stat.S_IMODE(server.socket.stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) & 0o077 == 0
        valkey = Valkey(server.url)
        asked = {
            "port": "0",
            "appendonly": "yes",
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
            "save": "",
        }
        assert {name: valkey.call("CONFIG GET", name)[name] for name in asked} == asked
        assert valkey.call("INFO", "server")["process_id"] == server.pid
        valkey.close()
        pid = server.pid
    assert not alive(pid)


def test_a_second_start_on_the_same_folder_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embedded, "ENDING_S", 0.1)
    with EmbeddedValkey(tmp_path) as server:
        with pytest.raises(StreamUnavailable) as refused:
            EmbeddedValkey(tmp_path).start()
        assert str(server.pid) in refused.value.cause
        assert "PUSHSVC_DATA" in refused.value.cure
        connection = Valkey(server.url)
        assert connection.call("PING")
        connection.close()


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_the_server_goes_with_the_process_that_started_it_and_its_data_are_there_again(tmp_path: Path, sign: int):
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        first = EmbeddedValkey(tmp_path)
        connection = Valkey(first.url)
        ValkeyStream(connection, 3600, "api").append([event("kept")])
        starter.send_signal(sign)
        starter.wait()
    until(lambda: not alive(pid), 5)
    connection.close()
    with EmbeddedValkey(tmp_path) as server:
        connection = Valkey(server.url)
        assert connection.call("XLEN", keys.MESSAGES) == 1
        connection.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
def test_the_server_goes_even_when_its_supervisor_is_killed(tmp_path: Path):
    server = EmbeddedValkey(tmp_path)
    server.start()
    pid = server.pid
    supervisor = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(supervisor, signal.SIGKILL)
    until(lambda: not alive(pid), 5)
    server.stop()


def test_a_server_that_crashes_is_started_again_with_its_data(tmp_path: Path):
    with EmbeddedValkey(tmp_path) as server:
        connection = Valkey(server.url)
        ValkeyStream(connection, 3600, "api").append([event("kept")])
        first = server.pid
        until(lambda: connection.call("INFO", "server")["uptime_in_seconds"] >= 2)
        os.kill(first, signal.SIGKILL)

        def back() -> bool:
            with contextlib.suppress(StreamUnavailable):
                return connection.call("INFO", "server")["process_id"] not in (first, 0)
            return False

        until(back)
        assert connection.call("XLEN", keys.MESSAGES) == 1
        second = server.pid
        assert alive(second)
        connection.close()
    assert not alive(second)


def test_the_torn_tail_of_a_crash_does_not_stop_a_start(tmp_path: Path):
    with EmbeddedValkey(tmp_path) as server:
        connection = Valkey(server.url)
        ValkeyStream(connection, 3600, "api").append([event("kept")])
        connection.close()
    (log,) = (tmp_path / "valkey" / "appendonlydir").glob("*.incr.aof")
    with log.open("ab") as tail:
        tail.write(b"*3\r\n$3\r\nSET\r\n$5\r\nhal")
    with EmbeddedValkey(tmp_path) as server:
        connection = Valkey(server.url)
        assert connection.call("XLEN", keys.MESSAGES) == 1
        connection.close()


def test_a_server_that_cannot_start_says_why(tmp_path: Path):
    folder = tmp_path / "valkey" / "appendonlydir"
    folder.mkdir(parents=True)
    (folder / "appendonly.aof.manifest").write_text("nonsense\n")
    with pytest.raises(StreamUnavailable) as refused:
        EmbeddedValkey(tmp_path).start()
    assert "exit code 1" in refused.value.cause
    assert "valkey.log" in refused.value.cure


def test_a_data_folder_with_a_long_path_gets_a_short_private_socket(tmp_path: Path):
    data = tmp_path / ("long-" * 20)
    with EmbeddedValkey(data) as server:
        assert stat.S_IMODE(server.socket.parent.stat().st_mode) == 0o700
        connection = Valkey(f"unix://{data / 'valkey.sock'}?db=0")  # what PUSHSVC_VALKEY_URL stands for
        assert connection.call("PING")
        connection.close()
    server.socket.parent.rmdir()


def test_a_short_socket_folder_made_by_somebody_else_is_refused(tmp_path: Path):
    data = tmp_path / ("long-" * 20)
    folder = short_socket_path(data / "valkey.sock").parent
    folder.mkdir(mode=0o755)
    try:
        with pytest.raises(StreamUnavailable, match="private folder"):
            EmbeddedValkey(data).start()
    finally:
        folder.rmdir()
