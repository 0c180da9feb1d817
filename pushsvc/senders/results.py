"""What the last request to each authority came to; written by a sender's own thread, read by any."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

from pushsvc.dispatch.ports import Reach
from pushsvc.domain.push import Answer, Fault, TransportFailure

_REFUSED = (Fault.TLS_ALERT, Fault.GOAWAY)  # the server is there, and it is a credential that it does not want


class Results:
    """Keeps the last result of each authority, for a Sender's `reach`."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[str, float, float]] = {}  # fault or "", since, at

    def note(self, authority: str, answer: Answer | None) -> None:
        """Notes what a request came to; None stands for any number of answers."""
        fault = answer.fault.value if isinstance(answer, TransportFailure) and answer.fault not in _REFUSED else ""
        now = time.time()
        before = self._last.get(authority)
        same = before is not None and (not before[0]) == (not fault)
        self._last[authority] = (fault, before[1] if before is not None and same else now, now)

    def reach(self, standing: Iterable[str]) -> dict[str, Reach]:
        """`standing` names the authority of each connection that stands."""
        connections = Counter(standing)
        return {authority: Reach(connections[authority], *last) for authority, last in self._last.copy().items()}
