"""The names of everything kept in Valkey. One hash tag, so that a script's keys share a slot of a cluster."""

from __future__ import annotations

from pushsvc.dispatch.ports import Lane

CALLS = "{pushsvc}:calls"  # STREAM of entries, see docs/events.md
MESSAGES = "{pushsvc}:messages"  # STREAM of entries
DUE = "{pushsvc}:due"  # ZSET due id -> UNIX seconds
DUE_ENTRIES = "{pushsvc}:due:entries"  # HASH due id -> payload (see due.py)
DEAD = "{pushsvc}:dead"  # STREAM of dead letters
VERSIONS = "{pushsvc}:versions"  # HASH app id -> number of changes
GROUP = "pushsvc"  # the consumer group of both lanes

LANES = {Lane.CALLS: CALLS, Lane.MESSAGES: MESSAGES}  # in the order in which they are read


def mark(app_id: int, event_id: str) -> str:
    """HASH of what is known of an event: `owner` (its first entry) and the ids of the tokens it has ended for."""
    return f"{{pushsvc}}:mark:{app_id}:{event_id}"


def quiet(app_id: int, token_id: int) -> str:
    """STRING "end event-id": the quiet window of a device."""
    return f"{{pushsvc}}:quiet:{app_id}:{token_id}"


def worker(name: str) -> str:
    """STRING that lives while the worker does; its value is "alive" or "left"."""
    return f"{{pushsvc}}:worker:{name}"


def reach(name: str) -> str:
    """STRING: how a worker reaches the providers, JSON of authority -> Reach (see board.py)."""
    return f"{{pushsvc}}:reach:{name}"


def shelf(key: str) -> str:
    """STRING: a sealed bearer."""
    return f"{{pushsvc}}:shelf:{key}"


def turn(key: str) -> str:
    """STRING that exists while somebody has the turn to do something that one process at a time does."""
    return f"{{pushsvc}}:turn:{key}"
