import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from celery_process import Worker


@pytest.fixture
def worker(running_valkey, tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Starts workers on the session's Valkey, or on what PUSHSVC_VALKEY_URL says; none outlives the test."""
    started: list[Worker] = []

    def start(*options: str, app: str = "standin", **environ: str) -> Worker:
        environ.setdefault("PUSHSVC_VALKEY_URL", running_valkey.url)
        started.append(Worker(app, tmp_path / f"worker-{len(started)}.log", options, environ))
        return started[-1]

    yield start
    for one in started:
        with contextlib.suppress(ProcessLookupError):
            one.process.kill()
        one.process.wait()
        print(one.log)
