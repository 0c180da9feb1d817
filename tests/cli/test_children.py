from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from pushsvc.cli.children import Child, Children


def until(true: Callable[[], object], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def pids(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def says_its_pid(path: Path, then: str) -> list[str]:
    return [
        sys.executable,
        "-c",
        f"import os, signal, sys, time; open({str(path)!r}, 'a').write(f'{{os.getpid()}} '); {then}",
    ]


def test_a_child_that_dies_is_started_again_and_all_are_gone_after_the_stop(tmp_path: Path) -> None:
    told: list[str] = []
    file = tmp_path / "pids"
    children = Children([Child("one", says_its_pid(file, "time.sleep(60)"), os.environ, 5.0)], told.append)
    thread = threading.Thread(target=children.run)
    thread.start()
    try:
        until(lambda: len(pids(file)) == 1)
        os.kill(pids(file)[0], signal.SIGKILL)
        until(lambda: len(pids(file)) == 2)
    finally:
        children.stopping.set()
        thread.join(15)
    assert told == ["one ended (signal SIGKILL); it starts again in 0.5 s"]
    assert all(gone(pid) for pid in pids(file))


def test_a_child_that_keeps_dying_is_started_with_growing_delays(tmp_path: Path) -> None:
    told: list[str] = []
    file = tmp_path / "pids"
    children = Children([Child("one", says_its_pid(file, "sys.exit(3)"), os.environ, 5.0)], told.append)
    thread = threading.Thread(target=children.run)
    thread.start()
    try:
        until(lambda: len(told) == 2)
    finally:
        children.stopping.set()
        thread.join(15)
    assert told == [
        "one ended (exit code 3); it starts again in 0.5 s",
        "one ended (exit code 3); it starts again in 1 s",
    ]
    assert len(pids(file)) == 2


def test_a_child_that_ignores_sigterm_is_killed_with_its_own_children(tmp_path: Path) -> None:
    told: list[str] = []
    file, ready = tmp_path / "pids", tmp_path / "ready"
    deaf = (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); os.fork(); "
        f"open({str(file)!r}, 'a').write(f'{{os.getpid()}} '); open({str(ready)!r}, 'a').write('x'); time.sleep(60)"
    )
    children = Children([Child("deaf", says_its_pid(file, deaf), os.environ, 0.3)], told.append)
    thread = threading.Thread(target=children.run)
    thread.start()
    try:
        until(lambda: ready.exists() and len(ready.read_text()) == 2)
    finally:
        children.stopping.set()
        thread.join(15)
    assert told == ["deaf did not stop in 0.3 s and is killed; others take over its events"]
    until(lambda: all(gone(pid) for pid in pids(file)))


def test_no_orphan_is_left_when_the_parent_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, sys\n"
            "from pushsvc.cli.children import Child, Children\n"
            f"Children([Child('one', {says_its_pid(file, 'time.sleep(60)')!r}, os.environ, 5.0)], print).run()",
        ]
    )
    until(lambda: len(pids(file)) == 1)
    parent.kill()
    parent.wait()
    until(lambda: gone(pids(file)[0]))
