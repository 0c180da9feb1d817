"""pushsvc app: apps, their tokens and their settings."""

from __future__ import annotations

from typing import Any

import click

from pushsvc.cli.session import at, json_option, print_json, print_table, service


@click.group()
def app() -> None:
    """Apps: add, list, settings, rotate tokens, delete."""


@app.command()
@click.argument("name")
@json_option
def add(name: str, as_json: bool) -> None:
    """Make an app and print its id and its token. The token is shown this once."""
    with service() as built:
        stored, token = built.apps.create(name)
    if as_json:
        print_json({"id": stored.app.id, "name": stored.app.name, "token": token})
    else:
        click.echo(f"app       {stored.app.id} ({stored.app.name})\napp token {token}   (shown this once)")


@app.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List all apps."""
    with service() as built:
        apps = built.apps.all()
    if as_json:
        print_json([{"id": one.app.id, "name": one.app.name, "active": one.app.active} for one in apps])
        return
    rows = [(one.app.id, one.app.name, "active" if one.app.active else "off", at(one.created_at)) for one in apps]
    print_table(("id", "name", "state", "made"), rows, "there is no app; pushsvc app add NAME makes one")


@app.command()
@click.argument("app_id", type=int)
@click.confirmation_option(prompt="Delete the app with all its devices, credentials and records?")
def delete(app_id: int) -> None:
    """Delete an app with its users, devices, credentials and records."""
    with service() as built:
        built.apps.delete(app_id)
    click.echo(f"app {app_id} deleted")


@app.command()
@click.argument("app_id", type=int)
def rotate(app_id: int) -> None:
    """Give the app a new token and print it; the old one stops working at once."""
    with service() as built:
        token = built.apps.rotate_token(app_id)
    click.echo(f"app token {token}   (shown this once)")


@app.command()
@click.argument("app_id", type=int)
@click.argument("state", type=click.Choice(["on", "off"]))
def switch(app_id: int, state: str) -> None:
    """Switch a whole app on or off; off, its events end as 902 and its token opens nothing."""
    with service() as built:
        built.apps.set_active(app_id, state == "on")
    click.echo(f"app {app_id} is {state}")


@app.group()
def settings() -> None:
    """How an app's events become pushes: show, set."""


@settings.command()
@click.argument("app_id", type=int)
@json_option
def show(app_id: int, as_json: bool) -> None:
    """Show an app's settings."""
    with service() as built:
        _print(built.apps.get(app_id).app.settings, as_json)


@settings.command("set")
@click.argument("app_id", type=int)
@click.argument("pairs", nargs=-1, required=True, metavar="NAME=VALUE...")
@json_option
def set_(app_id: int, pairs: tuple[str, ...], as_json: bool) -> None:
    """Change settings, as in background=false sound=ping.caf min_interval_s=30; NAME=null takes one back.

    A value is JSON where it can be read as JSON, else text. In force in every worker within 2 seconds.
    """
    changes = dict(_pair(pair) for pair in pairs)
    with service() as built:
        _print(built.apps.change_settings(app_id, changes), as_json)


def _pair(text: str) -> tuple[str, Any]:
    import json

    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"{text!r}: write NAME=VALUE.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _print(settings: Any, as_json: bool) -> None:
    import msgspec

    values: dict[str, Any] = msgspec.to_builtins(settings)
    if as_json:
        print_json(values)
    else:
        import json

        print_table(("setting", "value"), [(name, json.dumps(value)) for name, value in values.items()])
