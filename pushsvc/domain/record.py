"""Records: what is written down of every push; the console, the CLI and the API read the same."""

from __future__ import annotations

from dataclasses import dataclass

from pushsvc.domain.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Record:
    """The newest state of one event at one device; a later attempt replaces it. Times are UNIX seconds.

    `token_id` is 0 where the user had no device. `response_code` is the 90x, or the provider's own status.
    """

    app_id: int
    event_id: str
    recipient: str  # the address or uid as the event gave it
    token_id: int
    push_id: str
    outcome: Outcome
    response_code: int | None
    reason: str
    cause: str
    cure: str
    provider: str
    authority: str
    push_type: str
    priority: str  # in the provider's words: 10, 5, 1; high, normal
    topic: str
    attempts: int
    enqueued_at: float
    answered_at: float
    status: int | None = None  # the provider's own HTTP status, where it answered
    due_at: float | None = None  # when a retry or a trailing wake-up goes out
