"""A Celery worker as a process of its own, and waiting for what it does."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def until(done: Callable[[], Any], within_s: float = 20.0) -> Any:
    """What `done` returns as soon as it is true; fails after `within_s`."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if value := done():
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {within_s} s")


class Worker:
    """A real `celery worker` process; `log` is all that it wrote."""

    def __init__(self, app: str, log: Path, options: tuple[str, ...], environ: dict[str, str]) -> None:
        self._log = log
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PUSHSVC_")}
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", app, "worker", *options],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**kept, "PYTHONPATH": str(Path(__file__).parent), "PUSHSVC_LOG_FORMAT": "text", **environ},
            )

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def wait(self, within_s: float = 20.0) -> int:
        return self.process.wait(within_s)
