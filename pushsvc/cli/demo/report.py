"""What the demo shows and how it judges: arrivals held against the plot, records held against the plot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from pushsvc.cli.demo.scenario import FCM, PRODUCTION, SANDBOX, Case, Expected
from pushsvc.domain.device import redacted
from pushsvc.domain.outcome import Outcome

SITES = (PRODUCTION, SANDBOX, FCM)
ORDINARY_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Line:
    """One event at one device, as recorded."""

    app: str
    event: str
    recipient: str
    token: str = field(repr=False)
    provider: str
    host: str
    push_type: str
    priority: str
    topic: str
    answer: str
    outcome: str
    code: int | None
    reason: str
    attempts: int
    took_ms: float
    why: str


@dataclass(frozen=True, slots=True)
class Judgement:
    missing: list[str]
    unexpected: list[str]
    wrong: list[str]
    never_seen: list[str]  # outcomes of the closed list that did not occur

    @property
    def passed(self) -> bool:
        return not (self.missing or self.unexpected or self.wrong or self.never_seen)


def line(case: Case, record: Mapping[str, Any], tokens: Mapping[int, str]) -> Line:
    """A record as the API gives it; `tokens` are the registered tokens by their id."""
    code, reason = record["response_code"], record["reason"]
    answered = record["authority"] and record["attempts"]
    return Line(
        app=case.app,
        event=record["event_id"],
        recipient=record["recipient"],
        token=tokens.get(record["token_id"], ""),
        provider=record["provider"],
        host=record["authority"],
        push_type=record["push_type"],
        priority=record["priority"],
        topic=record["topic"],
        answer=f"{record['status'] or 'no answer:'} {reason}".strip() if answered else "",
        outcome=record["outcome"],
        code=code,
        reason=reason,
        attempts=record["attempts"],
        took_ms=round((record["answered_at"] - record["enqueued_at"]) * 1000, 1),
        why=case.why,
    )


def ended(case: Case, lines: Sequence[Line]) -> bool:
    """Whether the event has come to exactly the ends that the plot says."""
    return Counter(_end(one) for one in lines) == Counter((token, *end) for token, end in case.ends.items())


def _end(one: Line) -> tuple[str, str, int | None]:
    return one.token, one.outcome, one.code


def judge(cases: Sequence[Case], arrived: Sequence[Expected], lines: Sequence[Line]) -> Judgement:
    """Holds what the simulators saw, and what the journal says, against the plot; each as a multiset."""
    wanted, got = Counter(one for case in cases for one in case.arrives), Counter(arrived)
    ends = Counter((case.event["id"], token, *end) for case in cases for token, end in case.ends.items())
    recorded = Counter((one.event, *_end(one)) for one in lines)
    seen = {one.outcome for one in lines}
    return Judgement(
        missing=[_said(one) for one in (wanted - got).elements()],
        unexpected=[_said(one) for one in (got - wanted).elements()],
        wrong=[f"expected {_shown(end)}" for end in (ends - recorded).elements()]
        + [f"recorded {_shown(end)}" for end in (recorded - ends).elements()],
        never_seen=[outcome.name.lower() for outcome in Outcome if outcome.name.lower() not in seen],
    )


def _shown(end: tuple[str, str, str, int | None]) -> str:
    event, token, outcome, code = end
    return f"{event} at {redacted(token) if token else 'no device'}: {code or ''} {outcome}"


def _said(one: Expected) -> str:
    answer = f"{one.status} {one.reason}".strip()
    return f"{one.site} {one.push_type} {one.topic} {redacted(one.token)} -> {answer}"


def table(lines: Sequence[Line], console: Console) -> None:
    """Every event that has a story, and the first of the ordinary ones."""
    out = Table(header_style="bold", expand=False)
    for name in ("event", "device", "route", "type · priority · topic", "answer", "outcome"):
        out.add_column(name, overflow="fold")
    ordinary = [one for one in lines if not one.why]
    for one in [*ordinary[:ORDINARY_SHOWN], *(one for one in lines if one.why)]:
        colour = {"accepted": "green", "retrying": "yellow"}.get(one.outcome, "red" if one.code else "cyan")
        kind = " · ".join(part for part in (one.push_type, one.priority, one.topic) if part)
        again = f" (attempt {one.attempts})" if one.attempts > 1 else ""
        out.add_row(
            f"{one.event}\n[dim]{one.recipient}[/]",
            redacted(one.token) if one.token else "—",
            f"{one.provider} {one.host}".strip() or "—",
            kind or "—",
            (one.answer or "—") + again,
            f"[{colour}]{f'{one.code} ' if one.code else ''}{one.outcome}[/]"
            + (f"\n[dim]{one.why}[/]" if one.why else ""),
        )
    console.print(out)
    if len(ordinary) > ORDINARY_SHOWN:
        console.print(f"[dim]… and {len(ordinary) - ORDINARY_SHOWN} more ordinary lines; --json has them all.[/]")


def summary(burst: Sequence[Line], singles: Sequence[Line], arrived: int, sent: int, took_s: float) -> dict[str, Any]:
    """Counts by outcome and code, retries, and times from enqueue to answer, all at once and one by one."""
    lines = [*burst, *singles]
    refused = Counter(str(one.code) for one in lines if one.code and one.outcome not in ("accepted", "retrying"))
    own = Counter(one.outcome for one in lines if not one.code)
    return {
        "events_sent": sent + len({one.event for one in singles}),
        "records": len(lines),
        "requests_at_providers": arrived,
        "accepted": sum(one.outcome == "accepted" for one in lines),
        "refused_by_code": dict(sorted(refused.items())),
        "not_sent": dict(sorted(own.items())),
        "retried": sum(one.attempts > 1 and one.outcome == "accepted" for one in lines),
        "waiting_for_retry": sum(one.outcome == "retrying" for one in lines),
        "enqueue_to_answer_ms": {"all_at_once": _quantiles(burst), "one_by_one": _quantiles(singles)},
        "took_s": round(took_s, 1),
    }


def as_json(lines: Sequence[Line], summed: dict[str, Any], judged: Judgement) -> dict[str, Any]:
    """The same as the tables, tokens redacted."""
    rows = [{**asdict(one), "token": redacted(one.token) if one.token else None} for one in lines]
    return {"passed": judged.passed, "summary": summed, "judgement": asdict(judged), "records": rows}


def _quantiles(lines: Sequence[Line]) -> dict[str, float | None]:
    """Of what was accepted at the first attempt."""
    took = sorted(one.took_ms for one in lines if one.outcome == "accepted" and one.attempts == 1)
    return {f"p{share}": took[min(len(took) - 1, len(took) * share // 100)] if took else None for share in (50, 99)}


def tell(summed: dict[str, Any], judged: Judgement, console: Console) -> None:
    burst, single = (summed["enqueue_to_answer_ms"][name] for name in ("all_at_once", "one_by_one"))
    refused, own = (
        ", ".join(f"{name}: {count}" for name, count in summed[part].items())
        for part in ("refused_by_code", "not_sent")
    )
    console.print(
        f"\n[bold]{summed['events_sent']} events[/] → {summed['records']} records, "
        f"{summed['requests_at_providers']} requests at the providers, in {summed['took_s']} s with set-up\n"
        f"accepted  {summed['accepted']}, of them {summed['retried']} after a retry\n"
        f"refused   {refused}\n"
        f"not sent  {own}\n"
        f"waiting   {summed['waiting_for_retry']} for a retry\n"
        f"enqueue to answer, one by one:             p50 {single['p50']} ms, p99 {single['p99']} ms\n"
        f"enqueue to answer, all at once, all cold:  p50 {burst['p50']} ms, p99 {burst['p99']} ms",
        highlight=False,
    )
    for title, found in (
        ("did not arrive", judged.missing),
        ("arrived and was not expected", judged.unexpected),
        ("ended otherwise", judged.wrong),
        ("never occurred", judged.never_seen),
    ):
        for one in found:
            console.print(f"[red]{title}:[/] {one}")
    if judged.passed:
        console.print("[green]What arrived is exactly what was expected.[/]")
