"""pushsvc doctor: what is wrong with a set-up, and the cure."""

from __future__ import annotations

import click

from pushsvc.cli.session import json_option, print_json


@click.command()
@click.option("--network", is_flag=True, help="Also resolve the providers' hosts and shake hands with them.")
@json_option
def doctor(network: bool, as_json: bool) -> None:
    """Find what is wrong with this set-up: config, data folder, Valkey, store, vault, credentials, workers.

    Each finding is OK, WARN (works, and will trouble you) or FAIL (does not work), with cause and cure. Exit code 1
    when anything fails.
    """
    import os
    from dataclasses import asdict

    from pushsvc.cli.diagnosis import examine
    from pushsvc.cli.failure import REFUSED
    from pushsvc.cli.finding import Level

    findings = examine(os.environ, network=network)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        colours = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}
        for finding in findings:
            click.echo(
                f"{click.style(f'{finding.level:4}', colours[finding.level])}  {finding.subject}: {finding.cause}"
            )
            if finding.cure:
                click.echo(f"      cure: {finding.cure}")
        counts = {level: sum(finding.level is level for finding in findings) for level in Level}
        click.echo(f"{counts[Level.OK]} ok, {counts[Level.WARN]} warnings, {counts[Level.FAIL]} failures")
    if any(finding.level is Level.FAIL for finding in findings):
        raise SystemExit(REFUSED)
