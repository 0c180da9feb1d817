"""pushsvc up: the embedded stack for real use, in one terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pushsvc.cli.children import Child
    from pushsvc.config import Config

API_STOP_S = 20.0
WORKER_EXTRA_STOP_S = 10.0  # on top of the drain time: leaving the stream, closing connections


@click.command()
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 64), help="Worker processes.")
def up(workers: int) -> None:
    """Run everything here: embedded Valkey, SQLite, the HTTP API and workers.

    Data lives in the folder PUSHSVC_DATA. The first start makes an app and prints its token, once. Where
    PUSHSVC_VALKEY_URL or PUSHSVC_DATABASE_URL is set, that server is used instead of the embedded one. What dies is
    started again; Ctrl-C or SIGTERM stops all, workers first, and what was not finished is there at the next start.
    """
    import os
    import signal

    from pushsvc.cli.children import Children
    from pushsvc.config import Config
    from pushsvc.stream.embedded import EmbeddedValkey

    config = Config.from_env(os.environ)
    _private_folder(config)
    embedded = None if os.environ.get("PUSHSVC_VALKEY_URL", "").strip() else EmbeddedValkey(config.data)
    children = Children([], lambda line: click.echo(line, err=True))

    def stop(*_: object) -> None:
        children.stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    if embedded is not None:
        embedded.start()
    try:
        _first_start(config)
        children.children += _commands(config, workers)
        host, port = config.listen
        click.echo(f"API       http://{f'[{host}]' if ':' in host else host}:{port}")
        click.echo(f"data      {config.data}")
        click.echo(f"workers   {workers}; Ctrl-C stops all")
        children.run()
    finally:
        if embedded is not None:
            embedded.stop()
    click.echo("stopped")


def _private_folder(config: Config) -> None:
    from pushsvc.cli.failure import MISUSED, Failure

    try:
        config.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = config.data / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise Failure(
            "data folder",
            f"{config.data} cannot be written: {error.strerror}",
            "Set PUSHSVC_DATA to one that can.",
            MISUSED,
        ) from error


def _first_start(config: Config) -> None:
    """Brings the store to this version and makes the first app where there is none."""
    from pushsvc.bootstrap import build
    from pushsvc.store.migrate import migrate

    service = build(config)
    try:
        migrate(service.database)
        if not service.apps.all():
            stored, token = service.apps.create("default")
            click.echo(f"app       {stored.app.id} (default)")
            click.echo(f"app token {token}   (shown this once; pushsvc app rotate {stored.app.id} makes another)")
    finally:
        service.close()


def _commands(config: Config, workers: int) -> list[Child]:
    import os
    import sys

    from pushsvc.cli.children import Child
    from pushsvc.cli.worker import command

    children = [Child("api", [sys.executable, "-m", "pushsvc", "api"], os.environ, API_STOP_S)]
    for number in range(1, workers + 1):
        environ = dict(os.environ)
        if config.metrics_listen is not None:  # a port for each worker, counted up from the one given
            host, port = config.metrics_listen
            environ["PUSHSVC_METRICS_LISTEN"] = f"{f'[{host}]' if ':' in host else host}:{port + number - 1}"
        name = f"worker{number}"
        children.append(Child(name, command("--hostname", f"{name}@%h"), environ, config.drain_s + WORKER_EXTRA_STOP_S))
    return children
