"""pushsvc device: where the pushes of a user go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pushsvc.cli.session import (
    app_option,
    at,
    json_option,
    print_done,
    print_json,
    print_table,
    read_secret,
    service,
    user,
)

if TYPE_CHECKING:
    from pushsvc.domain.device import Device

user_option = click.option("--user", "named", required=True, help="Address, or uid where it is a number.")


@click.group()
def device() -> None:
    """Devices: register, list, remove."""


@device.command()
@app_option
@user_option
@click.option("--platform", required=True, type=click.Choice(["ios", "android", "web"]))
@click.option("--appid", required=True, help="Bundle id, or package name.")
@click.option("--push-token", help="APNs device token, or @file.")
@click.option("--voip-token", help="PushKit token, or @file.")
@click.option("--fcm-token", help="FCM registration token, or @file.")
@click.option("--environment", type=click.Choice(["production", "sandbox"]), help="Of APNs and PushKit tokens.")
@click.option("--name", default="", help="The client's own id of the installation.")
@json_option
def register(
    app_id: int,
    named: str,
    platform: str,
    appid: str,
    environment: str | None,
    name: str,
    as_json: bool,
    **tokens: str | None,
) -> None:
    """Register a device of a user; safe to repeat. The user is made where it is new."""
    given = {kind: read_secret(token) if token else None for kind, token in tokens.items()}
    with service() as built:
        stored = built.devices.register(
            app_id, user=user(named), platform=platform, appid=appid, environment=environment, name=name, **given
        )
    _print((stored,), as_json, named)


@device.command("list")
@app_option
@user_option
@json_option
def list_(app_id: int, named: str, as_json: bool) -> None:
    """List a user's devices; tokens are shown shortened."""
    with service() as built:
        found = built.devices.of_user(app_id, user(named))
        if not found:  # there may be no such app or user
            built.apps.get(app_id)
            built.users.get(app_id, user(named))
    _print(found, as_json, named)


@device.command()
@app_option
@user_option
@click.option("--token", help="The token to forget, or @file; without it all of the user's.")
@json_option
def remove(app_id: int, named: str, token: str | None, as_json: bool) -> None:
    """Forget one token of a user, or all. Exit code 1 when there is none to forget."""
    from pushsvc.cli.failure import Failure

    with service() as built:
        built.apps.get(app_id)
        gone = built.devices.remove(app_id, user(named), read_secret(token) if token else None)
    if not gone:
        raise Failure(
            "token", "the user has no such token" if token else "the user has no token", "See pushsvc device list."
        )
    print_done({"removed": gone}, f"{gone} removed", as_json)


def _print(devices: tuple[Device, ...], as_json: bool, named: str) -> None:
    """`named` is the user as asked for: an address, where the devices have the uid alone."""
    from pushsvc.domain.device import redacted

    if as_json:
        print_json(
            [
                {
                    "uid": one.uid,
                    "name": one.name,
                    "platform": one.platform.value,
                    "appid": one.appid,
                    "tokens": [
                        {
                            "id": token.id,
                            "kind": token.kind.value,
                            "token": redacted(token.token),
                            "environment": token.environment.value if token.environment else None,
                            "registered_at": token.registered_at,
                        }
                        for token in one.tokens
                    ],
                }
                for one in devices
            ]
        )
        return
    rows = [
        (
            named, one.uid, one.platform.value, one.appid, one.name, token.id, token.kind.value, redacted(token.token),
            token.environment.value if token.environment else "", at(token.registered_at),
        )
        for one in devices
        for token in one.tokens
    ]  # fmt: skip
    columns = ("user", "uid", "platform", "app", "name", "token id", "kind", "token", "environment", "registered")
    print_table(columns, rows, "the user has no device")
