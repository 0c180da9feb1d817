"""pushsvc outcomes: the closed list, and every refusal of a provider with the row it maps into."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pushsvc.domain.outcome import Row


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--markdown", is_flag=True, help="Print the page docs/outcomes.md.")
def outcomes(as_json: bool, markdown: bool) -> None:
    """Print the table of outcomes: what can become of a push, why, and what to do about it."""
    import json

    from pushsvc.domain.outcome import Outcome

    if markdown:
        click.echo(page())
    elif as_json:
        listed = [
            {"outcome": o.name.lower(), "code": o.code, "final": o.final, "cause": o.cause, "cure": o.cure}
            for o in Outcome
        ]
        told = [
            {
                "provider": row.provider,
                "status": row.status,
                "reason": row.reason,
                "outcome": row.outcome.name.lower(),
                "code": row.outcome.code,
                "action": row.action.value,
                "cause": row.cause,
                "cure": row.cure,
            }
            for row in rows()
        ]
        click.echo(json.dumps({"outcomes": listed, "reasons": told}, indent=2, ensure_ascii=False))
    else:
        from rich.console import Console
        from rich.table import Table

        console = Console(markup=False)
        short = Table("outcome", "code", "cause", "cure", box=None, pad_edge=False)
        for o in Outcome:
            short.add_row(o.name.lower(), code(o.code), o.cause, o.cure)
        console.print(short)
        console.print()
        long = Table("provider", "status", "reason", "outcome", "code", "action", "cure", box=None, pad_edge=False)
        for row in rows():
            long.add_row(
                row.provider,
                str(row.status or ""),
                row.reason,
                row.outcome.name.lower(),
                code(row.outcome.code),
                row.action.value,
                row.cure,
            )
        console.print(long)


def code(number: int | None) -> str:
    return "" if number is None else str(number)


def rows() -> list[Row]:
    """Every row, ours first, then each provider's in its own order."""
    from pushsvc.domain import refusals
    from pushsvc.providers import PROVIDERS

    return [*refusals.ROWS, *(row for provider in PROVIDERS for row in provider.rows)]


def page() -> str:
    """docs/outcomes.md, whole."""
    from pushsvc.domain.outcome import Outcome

    lines = [
        "# Outcomes",
        "",
        "What can become of a push, as records, metrics, test pushes and the demo tell it. This page is the output of",
        "`pushsvc outcomes --markdown`, and a test keeps it so.",
        "",
        "`code` is what `response_code` holds. An accepted push has none. Where it is empty for `provider`, the code",
        "is the provider's own HTTP status, and `reason` its own word.",
        "",
        "| outcome | code | cause | cure |",
        "|---|---|---|---|",
        *(f"| `{o.name.lower()}` | {code(o.code)} | {_cell(o.cause)} | {_cell(o.cure)} |" for o in Outcome),
        "",
        "A token is dropped only where a row says so, only if it is unchanged since the push was planned, and only if",
        "it was registered before the time that the provider names. Nothing is dropped or paused in bulk on an answer.",
    ]
    provider = ""
    for row in rows():
        if row.provider != provider:
            provider = row.provider
            lines += [
                "",
                f"## {provider}",
                "",
                "| status | reason | outcome | code | action | cause | cure |",
                "|---|---|---|---|---|---|---|",
            ]
        lines.append(
            f"| {row.status or ''} | `{row.reason}` | `{row.outcome.name.lower()}` | {code(row.outcome.code)} "
            f"| {row.action.value} | {_cell(row.cause)} | {_cell(row.cure)} |"
        )
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
