"""Child processes that are kept alive, stopped together, and never outlive their parent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

PR_SET_PDEATHSIG = 1  # linux/prctl.h
BACKOFF_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
STEADY_S = 60.0  # a child that lived this long starts again without delay


@dataclass(slots=True)
class Child:
    """A command that is to run for as long as we do."""

    name: str
    command: Sequence[str]
    environ: Mapping[str, str]
    stop_s: float  # how long it may take to stop after SIGTERM
    output: BinaryIO | None = None  # where both its streams go; None: errors where ours go, the rest nowhere
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    deaths: int = 0
    ending: str = ""  # how it ended the last time
    start_at: float = field(default=0.0)

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None


class Children:
    """Starts children, restarts those that die (with growing delays), stops all; times are monotonic seconds."""

    def __init__(self, children: Sequence[Child], tell: Callable[[str], None]) -> None:
        self.children = list(children)
        self._tell = tell
        self.stopping = threading.Event()

    def run(self) -> None:
        """Keeps all alive until `stopping` is set, then stops them; returns when none is left."""
        try:
            while not self.stopping.is_set():
                for child in self.children:
                    self._tend(child, time.monotonic())
                self.stopping.wait(0.1)
        finally:
            self.stop()

    def stop(self) -> None:
        """SIGTERM to all at once; what is left after its time is killed with its own children."""
        for child in self.children:
            if child.alive:
                self._signal(child, signal.SIGTERM, group=False)
        began = time.monotonic()
        for child in self.children:
            if child.process is None:
                continue
            try:
                child.process.wait(max(0.0, child.stop_s - (time.monotonic() - began)))
            except subprocess.TimeoutExpired:
                self._tell(
                    f"{child.name} did not stop in {child.stop_s:g} s and is killed; others take over its events"
                )
            self._signal(child, signal.SIGKILL, group=True)
            child.process.wait()
            child.process = None

    def _tend(self, child: Child, now: float) -> None:
        if child.process is not None:
            code = child.process.poll()
            if code is None:
                return
            self._signal(child, signal.SIGKILL, group=True)  # what it may have left behind
            child.process = None
            child.deaths = 1 if now - child.started_at >= STEADY_S else child.deaths + 1
            delay = BACKOFF_S[min(child.deaths, len(BACKOFF_S)) - 1]
            child.start_at = now + delay
            child.ending = _ending(code)
            self._tell(f"{child.name} ended ({child.ending}); it starts again in {delay:g} s")
        if now >= child.start_at:
            child.process = subprocess.Popen(
                child.command,
                env=dict(child.environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL if child.output is None else child.output,
                stderr=child.output,
                start_new_session=True,  # Ctrl-C reaches us alone, and we stop them in order
                preexec_fn=_die_with_parent(os.getpid()),
            )
            child.started_at = now

    @staticmethod
    def _signal(child: Child, number: int, *, group: bool) -> None:
        assert child.process is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            (os.killpg if group else os.kill)(child.process.pid, number)


def _die_with_parent(parent: int) -> Callable[[], None] | None:
    """What a child does first: asks Linux for SIGTERM when its parent dies, so that kill -9 leaves no orphans."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return ask


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
