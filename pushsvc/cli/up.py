"""pushsvc up: the embedded stack for real use, in one terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pushsvc.cli.children import Child
    from pushsvc.config import Config

API_STOP_S = 20.0
SHOWN_APPS = 10
METRICS_LISTEN = ("127.0.0.1", 9401)  # of the first worker, where PUSHSVC_METRICS_LISTEN does not say
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
    from pushsvc.cli.listening import refuse_taken, shown
    from pushsvc.config import Config
    from pushsvc.stream.embedded import EmbeddedValkey
    from pushsvc.telemetry import without_secrets

    config = Config.from_env(os.environ)
    refuse_taken("api", "PUSHSVC_LISTEN", config.listen)
    metrics, metrics_told = _metrics(config, workers)
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
        children.children += _commands(config, metrics, workers)
        click.echo(f"API       http://{shown(config.listen)}")
        click.echo(f"valkey    {embedded.url if embedded else without_secrets(config.valkey_url)}")
        click.echo(f"metrics   {metrics_told}")
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
    """Brings the store to this version and makes the first app where there is none.

    Raises StreamUnavailable where nobody answers at PUSHSVC_VALKEY_URL.
    """
    from pushsvc.bootstrap import build
    from pushsvc.store.migrate import migrate

    service = build(config)
    try:
        service.valkey.call("PING")
        migrate(service.database, make_folder=config.own_database)
        apps = service.apps.all()
        for known in apps[:SHOWN_APPS]:
            name = f"{known.app.id} ({known.app.name})"
            click.echo(f"app       {name}; a lost token: pushsvc app rotate {known.app.id}")
        if not apps:
            stored, token = service.apps.create("default")
            click.echo(f"app       {stored.app.id} (default)")
            click.echo(f"app token {token}   (shown this once; pushsvc app rotate {stored.app.id} makes another)")
    finally:
        service.close()


def _metrics(config: Config, workers: int) -> tuple[list[tuple[str, int]], str]:
    """Where each worker serves its metrics, counted up from the first, and what is said of it.

    Ports that were asked for have to be free. Without those that nobody asked for everything else works.
    """
    from pushsvc.cli.listening import cannot_listen, refuse_taken, shown

    host, port = config.metrics_listen or METRICS_LISTEN
    listens = [(host, port + number) for number in range(workers)]
    for listen in listens:
        if config.metrics_listen is not None:
            refuse_taken("metrics", "PUSHSVC_METRICS_LISTEN", listen)
        elif cause := cannot_listen(listen):
            return [], f"of the workers are not served: {cause}; set PUSHSVC_METRICS_LISTEN"
    return listens, ", ".join(f"http://{shown(listen)}/metrics" for listen in (config.listen, *listens))


def _commands(config: Config, metrics: list[tuple[str, int]], workers: int) -> list[Child]:
    import os
    import sys

    from pushsvc.cli.children import Child
    from pushsvc.cli.listening import shown
    from pushsvc.cli.worker import command

    children = [Child("api", [sys.executable, "-m", "pushsvc", "api"], os.environ, API_STOP_S)]
    for number in range(1, workers + 1):
        environ = dict(os.environ)
        if metrics:
            environ["PUSHSVC_METRICS_LISTEN"] = shown(metrics[number - 1])
        name = f"worker{number}"
        children.append(Child(name, command("--hostname", f"{name}@%h"), environ, config.drain_s + WORKER_EXTRA_STOP_S))
    return children
