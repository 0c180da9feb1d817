"""pushsvc app: apps, their tokens and their settings."""

from __future__ import annotations

from typing import Any

import click

from pushsvc.cli.session import at, json_option, print_done, print_json, print_table, service


@click.group()
def app() -> None:
    """Apps: add, list, settings, rotate tokens, delete."""


@app.command()
@click.argument("name")
@json_option
def add(name: str, as_json: bool) -> None:
    """Make an app and print its token, alone on standard output, this once; its id is told beside it."""
    with service() as built:
        stored, token = built.apps.create(name)
    if as_json:
        print_json({"id": stored.app.id, "name": stored.app.name, "token": token})
    else:
        _tell_token(f"app {stored.app.id} ({stored.app.name}); its token, shown this once:", token)


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
@json_option
def delete(app_id: int, as_json: bool) -> None:
    """Delete an app with its users, devices, credentials and records."""
    with service() as built:
        built.apps.delete(app_id)
    print_done({"id": app_id, "deleted": True}, f"app {app_id} deleted", as_json)


@app.command()
@click.argument("app_id", type=int)
@json_option
def rotate(app_id: int, as_json: bool) -> None:
    """Give the app a new token and print it, alone on standard output; the old one stops working at once."""
    with service() as built:
        token = built.apps.rotate_token(app_id)
    if as_json:
        print_json({"id": app_id, "token": token})
    else:
        _tell_token(f"the new token of app {app_id}, shown this once:", token)


def _tell_token(about: str, token: str) -> None:
    """The token alone on standard output, so that it can be piped and copied; the rest is for the person."""
    click.echo(about, err=True)
    click.echo(token)


@app.command()
@click.argument("app_id", type=int)
@click.argument("state", type=click.Choice(["on", "off"]))
@json_option
def switch(app_id: int, state: str, as_json: bool) -> None:
    """Switch a whole app on or off; off, its events end as 902 and its token opens nothing."""
    with service() as built:
        built.apps.set_active(app_id, state == "on")
    print_done({"id": app_id, "active": state == "on"}, f"app {app_id} is {state}", as_json)


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
