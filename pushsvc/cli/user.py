"""pushsvc user: users, most of which are made by the registration of their first device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pushsvc.cli.session import app_option, json_option, print_done, print_json, print_table, service
from pushsvc.cli.session import user as named

if TYPE_CHECKING:
    from pushsvc.directory.ports import StoredUser


@click.group()
def user() -> None:
    """Users: add, list, switch on and off, delete."""


@user.command()
@app_option
@click.argument("address")
@json_option
def add(app_id: int, address: str, as_json: bool) -> None:
    """Make a user with this address, and print the uid."""
    with service() as built:
        _print([built.users.add(app_id, address)], as_json)


@user.command("list")
@app_option
@click.option("--after", default=0, help="Begin after this uid.")
@click.option("--count", default=100, show_default=True, type=click.IntRange(1, 1000))
@json_option
def list_(app_id: int, after: int, count: int, as_json: bool) -> None:
    """List users in the order of their uids."""
    with service() as built:
        built.apps.get(app_id)
        _print(built.users.page(app_id, after, count), as_json)


@user.command()
@app_option
@click.argument("who", metavar="USER")
@click.argument("state", type=click.Choice(["on", "off"]))
@json_option
def switch(app_id: int, who: str, state: str, as_json: bool) -> None:
    """Switch a user on or off; off, the devices stay registered and get no push."""
    with service() as built:
        built.users.set_active(app_id, named(who), state == "on")
    print_done({"user": named(who), "active": state == "on"}, f"user {who} is {state}", as_json)


@user.command()
@app_option
@click.argument("who", metavar="USER")
@json_option
def delete(app_id: int, who: str, as_json: bool) -> None:
    """Delete a user with the device tokens."""
    with service() as built:
        built.users.delete(app_id, named(who))
    print_done({"user": named(who), "deleted": True}, f"user {who} deleted", as_json)


def _print(users: list[StoredUser], as_json: bool) -> None:
    if as_json:
        print_json([{"uid": one.uid, "address": one.address, "active": one.active} for one in users])
        return
    rows = [(one.uid, one.address, "active" if one.active else "off") for one in users]
    print_table(("uid", "address", "state"), rows, "the app has no such user")
