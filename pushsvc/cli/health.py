"""pushsvc health: whether the parts work now."""

from __future__ import annotations

import click

from pushsvc.cli.session import json_option, print_json, service


@click.command()
@json_option
def health(as_json: bool) -> None:
    """Tell whether Valkey, the store, the workers and the ways to the providers work now, and how much waits.

    Exit code 1 when one does not.
    """
    from pushsvc.cli.failure import REFUSED
    from pushsvc.dispatch.ports import StreamUnavailable
    from pushsvc.stream.figures import figures

    with service() as built:
        look = built.health.look()
        try:
            now = figures(built.valkey)
        except StreamUnavailable:
            now = None
    numbers = (
        {}
        if now is None
        else {
            "waiting": now.waiting,
            "in_flight": now.in_flight,
            "oldest_s": round(now.oldest_s, 1),
            "due": now.due,
            "dead": now.dead,
            "workers": list(now.workers),
        }
    )
    if as_json:
        print_json({"ready": look.ready, "checks": look.checks, "providers": look.providers, **numbers})
    else:
        for name, what in look.checks.items():
            click.echo(f"{name:10} {what or 'ok'}")
        for authority, state in look.providers.items():
            click.echo(f"{'':10} {authority}: {state}")
        for name, value in numbers.items():
            click.echo(f"{name:10} {', '.join(value) if isinstance(value, list) else value}")
    if not look.ready:
        raise SystemExit(REFUSED)
