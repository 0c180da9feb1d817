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

SHUTDOWN_S = 10.0


def _die_with_parent() -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: even if this supervisor is killed


def main(command: list[str], kept_fds: tuple[int, ...]) -> int:
    """Starts `command`, waits for its end or for the end of standard input, stops it then; returns its exit code."""
    ended, alive = os.pipe()  # the server inherits `alive`; when it ends, `ended` reads end of file
    server = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, pass_fds=(alive, *kept_fds), preexec_fn=_die_with_parent
    )
    os.close(alive)
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    ready, _, _ = select.select([0, ended], [], [])
    if ended not in ready:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return server.wait(SHUTDOWN_S)
        server.kill()
    return server.wait()


if __name__ == "__main__":
    kept, _, rest = " ".join(sys.argv[1:2]), None, sys.argv[2:]
    sys.exit(main(rest, tuple(int(fd) for fd in kept.split(",") if fd)))
