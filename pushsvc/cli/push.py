"""pushsvc push: test pushes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pushsvc.cli.session import app_option, json_option, print_json, read_secret, service, without_empty
from pushsvc.cli.session import user as named_user

if TYPE_CHECKING:
    from pushsvc.dispatch.trial import Trial


@click.group()
def push() -> None:
    """Send a test push to one device or token."""


@push.command()
@app_option
@click.option("--user", "named", help="All devices of this user: address, or uid where it is a number.")
@click.option("--token", help="One device token, or @file; one that is not registered with the four options below.")
@click.option("--platform", type=click.Choice(["ios", "android", "web"]), help="Of a token that is not registered.")
@click.option("--appid", help="Its bundle id, or package name.")
@click.option("--environment", type=click.Choice(["production", "sandbox"]), help="Of an APNs or PushKit token.")
@click.option("--voip", is_flag=True, help="It is a PushKit token.")
@click.option("--token-id", type=int, help="One registered device token, by its id (pushsvc device list).")
@click.option(
    "--kind", type=click.Choice(["message", "call", "call_cancelled", "silent"]), help="message; call with --voip."
)
@click.option("--from", "sender", default="pushsvc", show_default=True, help="Who it is from.")
@click.option("--title", help="Title of the alert.")
@click.option("--body", default="A test push", show_default=True, help="Text of the alert.")
@click.option("--dry-run", is_flag=True, help="FCM validates without delivering; for APNs all short of sending.")
@json_option
def test(
    app_id: int,
    named: str | None,
    token: str | None,
    token_id: int | None,
    platform: str | None,
    appid: str | None,
    environment: str | None,
    voip: bool,
    kind: str | None,
    dry_run: bool,
    as_json: bool,
    sender: str,
    **texts: str | None,
) -> None:
    """Send a push now and show the request as sent (secrets cut out), the answer, the outcome, its cause and its cure.

    A token need not be registered, and nothing of it is stored. Exit code 0 when every provider took it, 1 when one did
    not.
    """
    from dataclasses import asdict

    from pushsvc.cli.failure import REFUSED
    from pushsvc.domain.outcome import Outcome
    from pushsvc.trials import Pasted, test_pushes

    if sum(one is not None for one in (named, token, token_id)) != 1:
        raise click.UsageError("give one of --user, --token and --token-id.")
    event: dict[str, Any] = {**without_empty({"kind": kind}), "message": {"from": sender, **without_empty(texts)}}
    with service() as built:
        done = test_pushes(
            built,
            app_id,
            user=named_user(named) if named is not None else None,
            token=read_secret(token) if token is not None else token_id,
            pasted=Pasted(platform, appid, environment, voip),
            event=event,
            dry_run=dry_run,
        )
    if as_json:
        print_json([{**asdict(trial), "outcome": trial.word} for trial in done])
    else:
        for number, trial in enumerate(done):
            click.echo("\n" * bool(number), nl=False)
            _print(trial)
    if any(trial.outcome not in (None, Outcome.ACCEPTED) for trial in done):
        raise SystemExit(REFUSED)


def _print(trial: Trial) -> None:
    import json

    click.echo(f"device   {trial.device}")
    if trial.request is not None:
        headers: Any = trial.request["headers"]
        click.echo(
            f"request  {trial.request['method']} {trial.request['url']}" + ("" if trial.sent else "   (not sent)")
        )
        for name, value in headers.items():
            click.echo(f"         {name}: {value}")
        click.echo(f"         {json.dumps(trial.request['body'], ensure_ascii=False)}")
    if trial.answer is not None:
        answer = {name: value for name, value in trial.answer.items() if value != ""}  # APNs says yes without a body
        click.echo(f"answer   {json.dumps(answer, ensure_ascii=False)}   ({trial.took_ms:.0f} ms)")
    code = f" {trial.code}" if trial.code is not None else ""
    click.echo(f"outcome  {trial.word}{code}" + (f" ({trial.reason})" if trial.reason else ""))
    click.echo(f"cause    {trial.cause}\ncure     {trial.cure}")
    if trial.note:
        click.echo(f"note     {trial.note}")
