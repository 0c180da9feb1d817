"""Runs one server process for as long as standard input stays open: it must not outlive who started it.

Run by path with nothing but the standard library, as a process of its own: a parent-death signal follows the thread
that forked, and this process has one thread. Standard input is a pipe whose other end the starter holds, so its death,
however sudden, is an end of file here, on every system.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time

SHUTDOWN_S = 10.0
STEADY_S = 1.0  # a server that ends sooner cannot start; one that ends later has crashed and is started again
PAUSE_S = 1.0


def _die_with_parent() -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: even if this supervisor is killed


def run(command: list[str], kept_fd: int) -> int | None:
    """Runs `command` until it ends (its exit code) or standard input does (None: it was stopped)."""
    ended, alive = os.pipe()  # the server inherits `alive`; when it ends, `ended` reads end of file
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(alive, kept_fd), preexec_fn=_die_with_parent)
    os.close(alive)
    ready, _, _ = select.select([0, ended], [], [])
    os.close(ended)
    if 0 not in ready:
        return server.wait()
    server.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(SHUTDOWN_S)
    server.kill()
    server.wait()
    return None


def main(kept_fd: int, command: list[str]) -> int:
    """Keeps the server running; returns its exit code when it cannot start, 0 when it was stopped."""
    while True:
        started = time.monotonic()
        code = run(command, kept_fd)
        if not code or time.monotonic() - started < STEADY_S:
            return code or 0
        if select.select([0], [], [], PAUSE_S)[0]:
            return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
