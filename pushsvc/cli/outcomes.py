"""pushsvc outcomes: the closed list, and every refusal of a provider with the row it maps into."""

from __future__ import annotations

import click

from pushsvc.cli.session import json_option, print_json, print_table


@click.command()
@json_option
@click.option("--markdown", is_flag=True, help="Print the page docs/outcomes.md.")
def outcomes(as_json: bool, markdown: bool) -> None:
    """Print the table of outcomes: what can become of a push, why, and what to do about it."""
    from pushsvc.domain.outcome import Outcome
    from pushsvc.providers import outcome_rows

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
            for row in outcome_rows()
        ]
        print_json({"outcomes": listed, "reasons": told})
    else:
        print_table(("outcome", "code", "cause", "cure"), [(o.name.lower(), o.code, o.cause, o.cure) for o in Outcome])
        click.echo()
        print_table(
            ("provider", "status", "reason", "outcome", "code", "action", "cure"),
            [
                (r.provider, r.status, r.reason, r.outcome.name.lower(), r.outcome.code, r.action.value, r.cure)
                for r in outcome_rows()
            ],
        )


def code(number: int | None) -> str:
    return "" if number is None else str(number)


def page() -> str:
    """docs/outcomes.md, whole."""
    from pushsvc.domain.outcome import Outcome
    from pushsvc.providers import outcome_rows

    lines = [
        "# Outcomes",
        "",
        "What can become of a push, as records, metrics, test pushes and the demo tell it. This page is the output of",
        "`pushsvc outcomes --markdown`, and a test keeps it so.",
        "",
        "`code` is the 90x in `response_code`. Where it is empty, `response_code` is the provider's own HTTP status,",
        "or nothing where no provider was asked; `reason` is the provider's own word.",
        "",
        "| outcome | code | cause | cure |",
        "|---|---|---|---|",
        *(f"| `{o.name.lower()}` | {code(o.code)} | {_cell(o.cause)} | {_cell(o.cure)} |" for o in Outcome),
        "",
        "A token is dropped only where a row says so, only if it is unchanged since the push was planned, and only if",
        "it was registered before the time that the provider names. Nothing is dropped or paused in bulk on an answer.",
    ]
    provider = ""
    for row in outcome_rows():
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
