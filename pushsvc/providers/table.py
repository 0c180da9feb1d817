"""The outcome table as Markdown: `pushsvc outcomes` and docs/outcomes.md are the same."""

from __future__ import annotations

from collections.abc import Iterable

from pushsvc.domain.outcome import Action, Outcome, Row

_INTRO = """# Outcomes

What can become of a push, and what every refusal comes to. `pushsvc outcomes` prints the same tables; this page is made
from them.

`response.code` in records, answers and webhooks is the code of the outcome where it has one. Where it has none the
provider's own status is passed through, with the provider's own word in `response.reason`; a push that got no answer
until its deadline ends with 503 `Unreachable` or 504 `Timeout`. Codes 906 to 910 are unassigned.

A token is dropped only where a row says so, only if it is unchanged since the push was planned, and only if it was
registered before the time that the provider names. Nothing is dropped or paused in bulk on one answer.

## The closed list
"""
_TITLES = {
    "local": "Refused here, before anything is sent",
    "apns": "APNs",
    "fcm": "FCM",
    "oauth": "Google's OAuth server",
    "tls": "TLS",
    "transport": "The network",
}
_NOTES = {
    "apns": "Where a reason stands twice the push decides: the first row holds when the event's `apns` override set "
    "the value, or when the production server was asked; the second holds otherwise.",
    "fcm": "Where FCM passes on what APNs said (an `ApnsError` among the details), the row of that APNs reason holds; "
    "it is read before FCM's own code. The token is dropped where APNs' row would try the other environment, since FCM "
    "chooses that itself; and nothing of ours is paused or renewed, since the APNs credential lies with Firebase.",
    "tls": "What APNs' TLS says about a client certificate, found out by a connection of its own when an app's "
    "connections die unanswered.",
}


def markdown(rows: Iterable[Row]) -> str:
    """The page: the closed list, the actions, and one table for each source of refusals."""
    out = [_INTRO, _table(("outcome", "code", "cause", "cure"), map(_outcome, Outcome))]
    out += ["\n## Actions\n", _table(("action", "what is done"), ((a.name.lower(), a.value) for a in Action))]
    by_provider: dict[str, list[Row]] = {}
    for row in rows:
        by_provider.setdefault(row.provider, []).append(row)
    for provider, its in by_provider.items():
        out.append(f"\n## {_TITLES[provider]}\n")
        if provider in _NOTES:
            out.append(f"{_NOTES[provider]}\n")
        out.append(_table(("status", "reason", "code", "outcome", "action", "cause", "cure"), map(_row, its)))
    return "\n".join(out) + "\n"


def _outcome(outcome: Outcome) -> tuple[str, ...]:
    return outcome.name.lower(), _code(outcome), outcome.cause, outcome.cure


def _row(row: Row) -> tuple[str, ...]:
    return (
        str(row.status or "–"),
        f"`{row.reason}`" if row.reason else "–",
        _code(row.outcome),
        row.outcome.name.lower(),
        row.action.name.lower(),
        row.cause,
        row.cure,
    )


def _code(outcome: Outcome) -> str:
    if outcome.code is not None:
        return str(outcome.code)
    return "passed through" if outcome is Outcome.PROVIDER else "–"


def _table(head: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ("---",) * len(head), *lines))
