"""pushsvc demo: the main job against simulated providers, from certificates to outcomes, and a judgement at the end."""

from __future__ import annotations

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option(
    "--keep", type=click.Path(file_okay=False), help="Keep the data in this folder instead of a temporary one."
)
def demo(as_json: bool, keep: str | None) -> None:
    """Show every outcome against simulated providers.

    Starts an embedded Valkey, SQLite, the API, two workers and simulated APNs and FCM servers; uploads credentials and
    registers devices through the API; sends a file of events through the stream; prints what became of each. Exit code
    0 only if what arrived at the simulators, and what was recorded, is exactly what was expected.
    """
    import sys

    from pushsvc.cli.demo.run import run

    sys.exit(0 if run(as_json=as_json, keep=keep) else 1)
