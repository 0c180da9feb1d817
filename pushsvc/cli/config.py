"""pushsvc config: the variables, their values, and where they come from."""

from __future__ import annotations

import click

from pushsvc.cli.session import json_option, print_json, print_table


@click.command()
@json_option
@click.option("--markdown", is_flag=True, help="Print the table of docs/operations.md: names, defaults, meanings.")
def config(as_json: bool, markdown: bool) -> None:
    """Print the config: every PUSHSVC_* variable, its value now, its meaning. Secrets are not shown.

    Exit code 2 where the environment holds a value that cannot be used.
    """
    import os

    from pushsvc.config import VARIABLES, Config

    if markdown:
        click.echo(table())
        return
    rows = []
    for variable in VARIABLES:
        given = os.environ.get(variable.name, "").strip()
        value = given or variable.default
        rows.append(
            {
                "name": variable.name,
                "value": "(set)" if variable.secret and value else value,
                "source": "environment" if given else "default",
                "help": variable.help,
            }
        )
    if as_json:
        print_json(rows)
    else:
        cells = [(row["name"], row["value"] or "(empty)", row["source"], row["help"]) for row in rows]
        print_table(("variable", "value", "from", "meaning"), cells)
    Config.from_env(os.environ)


def table() -> str:
    """The Markdown table of all variables, as docs/operations.md has it."""
    from pushsvc.config import VARIABLES

    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for variable in VARIABLES:
        default = f"`{variable.default}`" if variable.default else "(empty)"
        lines.append(f"| `{variable.name}` | {default} | {variable.help}{' Secret.' if variable.secret else ''} |")
    return "\n".join(lines)
