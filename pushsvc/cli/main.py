"""The pushsvc command: a table of subcommands, each loaded when it is called."""

from __future__ import annotations

import atexit
import gc
import importlib

import click

from pushsvc.cli.failure import told

COMMANDS = {
    "up": ("pushsvc.cli.up:up", "Run everything here: Valkey, SQLite, API and workers."),
    "demo": ("pushsvc.cli.demo:demo", "Show every outcome against simulated providers."),
    "api": ("pushsvc.cli.api:api", "Run the HTTP API alone."),
    "worker": ("pushsvc.cli.worker:worker", "Run one Celery worker that dispatches events."),
    "valkey": ("pushsvc.cli.valkey:valkey", "Run the embedded Valkey alone."),
    "simulate": ("pushsvc.cli.simulate:simulate", "Run simulated APNs and FCM servers."),
    "app": ("pushsvc.cli.app:app", "Apps: add, list, settings, rotate tokens, delete."),
    "credential": ("pushsvc.cli.credential:credential", "Credentials: upload, list, pause, resume, delete."),
    "user": ("pushsvc.cli.user:user", "Users: add, list, switch on and off, delete."),
    "device": ("pushsvc.cli.device:device", "Devices: register, list, remove."),
    "event": ("pushsvc.cli.event:event", "Events: send, show, schema."),
    "push": ("pushsvc.cli.push:push", "Send a test push to one device or token."),
    "dead": ("pushsvc.cli.dead:dead", "Dead letters: list, show, retry, drop."),
    "outcomes": ("pushsvc.cli.outcomes:outcomes", "Print the table of outcomes."),
    "migrate": ("pushsvc.cli.migrate:migrate", "Bring the store to this version."),
    "config": ("pushsvc.cli.config:config", "Print the config and where it comes from."),
    "health": ("pushsvc.cli.health:health", "Tell whether the parts work now."),
    "doctor": ("pushsvc.cli.doctor:doctor", "Find what is wrong with a set-up, and say the cure."),
}


class Subcommands(click.Group):
    """Loads a subcommand when it is called, so that --help is quick; turns known errors into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise click.UsageError(f"there is no command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        # msgspec may free a Struct's nested types twice in the interpreter's last collection: SIGSEGV after a good end
        atexit.register(gc.freeze)
        with told():
            return super().invoke(ctx)


@click.group(
    cls=Subcommands,
    epilog="Exit codes: 0 done; 1 done in part or refused; 2 wrong usage or config; 3 a part (Valkey, store, API) "
    "cannot be reached. Config comes from PUSHSVC_* variables: see pushsvc config.",
)
@click.version_option(package_name="pushsvc", message="%(version)s")
def cli() -> None:
    """An open push notification dispatcher."""
