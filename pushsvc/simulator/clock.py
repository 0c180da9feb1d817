"""The simulator's own time, which a test may move."""

import time


class Clock:
    """Seconds since the epoch, UTC; `advance` moves every check that asks for the time (token age, quotas, expiry)."""

    def __init__(self) -> None:
        self._ahead_s = 0.0

    def now(self) -> float:
        return time.time() + self._ahead_s

    def advance(self, seconds: float) -> None:
        self._ahead_s += seconds

    def reset(self) -> None:
        self._ahead_s = 0.0
