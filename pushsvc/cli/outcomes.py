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


def page() -> str:
    """docs/outcomes.md, whole, without its last newline."""
    from pushsvc.providers import outcome_rows
    from pushsvc.providers.table import markdown

    return markdown(outcome_rows()).removesuffix("\n")
