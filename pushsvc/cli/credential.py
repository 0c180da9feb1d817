"""pushsvc credential: what an app proves itself to Apple and Google with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pushsvc.cli.session import (
    app_option,
    json_option,
    print_done,
    print_json,
    print_table,
    read_secret,
    service,
    without_empty,
)

if TYPE_CHECKING:
    from pushsvc.directory.ports import StoredCredential

MAX_FILE_BYTES = 1024 * 1024


@click.group()
def credential() -> None:
    """Credentials: upload, list, pause, resume, delete."""


@credential.command()
@app_option
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--password", help="Of a .p12, or @file.")
@click.option("--password-prompt", is_flag=True, help="Ask for the .p12's password.")
@click.option("--team-id", help="Of a .p8: the 10 characters of your team.")
@click.option("--key-id", help="Of a .p8: by default from the name AuthKey_<key id>.p8.")
@click.option("--environment", type=click.Choice(["production", "sandbox"]), help="Of a .p8 that serves only one.")
@click.option("--topics", help="Of a .p8 that serves only these, comma separated.")
@json_option
def upload(
    app_id: int, file: Path, password: str | None, password_prompt: bool, as_json: bool, **options: str | None
) -> None:
    """Upload a .p12, a .p8 or a service-account JSON, and tell what it is; in use within seconds in every worker.

    Exit code 1 when it cannot be used, with the code (903, 904, 905, 912), the cause and the cure.
    """
    from pushsvc.cli.failure import Failure

    if file.stat().st_size > MAX_FILE_BYTES:
        raise Failure(str(file), f"it is larger than {MAX_FILE_BYTES} bytes", "Give a .p12, .p8 or .json.")
    if password_prompt:
        password = click.prompt("Password", hide_input=True, default="", show_default=False)
    elif password is not None:
        password = read_secret(password)
    given = without_empty({"password": password, **options})
    with service() as built:
        before = {one.id: one.finding.fingerprint for one in built.credentials.of(app_id)}
        stored = built.credentials.upload(app_id, file.read_bytes(), file.name, **given)
        replaced = next((i for i, fingerprint in before.items() if fingerprint == stored.finding.fingerprint), None)
    if as_json:
        print_json({**_dict(stored), "replaces": replaced})
        return
    click.echo(f"credential {stored.id}: {stored.finding.summary}")
    if replaced is not None:
        click.echo(f"note: it takes the place of credential {replaced}, the same file", err=True)
    for warning in stored.finding.warnings:
        click.echo(f"warning: {warning}", err=True)


@credential.command("list")
@app_option
@json_option
def list_(app_id: int, as_json: bool) -> None:
    """List an app's credentials: what each is, what it serves, until when, whether it is paused or cannot be opened."""
    with service() as built:
        built.apps.get(app_id)
        found = [(one, built.credentials.locked(one)) for one in built.credentials.of(app_id)]
    if as_json:
        print_json([{**_dict(one), "locked": locked} for one, locked in found])
        return
    rows = [(one.id, one.finding.kind.value, one.finding.summary, _state(one.paused, locked)) for one, locked in found]
    print_table(("id", "kind", "what it is", "state"), rows, "the app has no credential")


def _state(paused: str, locked: str) -> str:
    told = [f"paused: {paused}"] if paused else []
    return "; ".join([*told, f"cannot be opened: {locked}"] if locked else told) or "in use"


def _dict(stored: StoredCredential) -> dict[str, Any]:
    from dataclasses import asdict

    finding = asdict(stored.finding)
    finding["environments"] = sorted(stored.finding.environments)
    return {"id": stored.id, **finding, "paused": stored.paused, "uploaded_at": stored.uploaded_at}


@credential.command()
@app_option
@click.argument("credential_id", type=int)
@json_option
def delete(app_id: int, credential_id: int, as_json: bool) -> None:
    """Delete a credential."""
    with service() as built:
        built.credentials.delete(app_id, credential_id)
    print_done({"id": credential_id, "deleted": True}, f"credential {credential_id} deleted", as_json)


@credential.command()
@app_option
@click.argument("credential_id", type=int)
@click.option("--reason", default="by hand", show_default=True, help="Shown with every push that ends as 902.")
@json_option
def pause(app_id: int, credential_id: int, reason: str, as_json: bool) -> None:
    """Stop using a credential for now."""
    with service() as built:
        built.credentials.pause_by_hand(app_id, credential_id, reason)
    print_done({"id": credential_id, "paused": reason}, f"credential {credential_id} is paused", as_json)


@credential.command()
@app_option
@click.argument("credential_id", type=int)
@json_option
def resume(app_id: int, credential_id: int, as_json: bool) -> None:
    """Use a paused credential again."""
    with service() as built:
        built.credentials.resume(app_id, credential_id)
    print_done({"id": credential_id, "paused": ""}, f"credential {credential_id} is in use", as_json)


@credential.command("rotate-keys")
@json_option
def rotate_keys(as_json: bool) -> None:
    """Encrypt every credential with the first key of PUSHSVC_VAULT_KEYS, or of vault.key where that is not set.

    Before: put the new key first, keep the old ones behind it, and start every process anew with these keys. After:
    the old keys can go.
    """
    from pushsvc.vault import key_names

    with service() as built:
        first, *others = built.vault.key_names
        file = built.config.data / "vault.key"
        in_use = "PUSHSVC_VAULT_KEYS" if built.config.vault_keys else str(file)
        if built.config.vault_keys and file.exists() and first not in key_names(file.read_text("ascii", "replace")):
            click.echo(
                f"warning: the key {first!r} is in PUSHSVC_VAULT_KEYS alone: what runs with {file} (pushsvc up) cannot "
                "use the credentials from now on. Put the key into that file too, or set the variable for it.",
                err=True,
            )
        done = built.credentials.rotate_keys()
    told = f"{done} credentials encrypted anew with the key {first!r}"
    if not done and not others:
        told += f"; it is the only one: put a new key first in {in_use}, and start every process anew with it, before"
    print_done({"encrypted_anew": done, "key": first}, told, as_json)
