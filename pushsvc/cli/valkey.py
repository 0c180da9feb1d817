"""pushsvc valkey: the embedded Valkey alone."""

from __future__ import annotations

import click


@click.command()
def valkey() -> None:
    """Run the embedded Valkey of the data folder until SIGTERM, for parts that are started one by one (Procfile)."""
    import os
    import signal
    import threading

    from pushsvc.config import Config
    from pushsvc.stream.embedded import EmbeddedValkey

    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    with EmbeddedValkey(Config.from_env(os.environ).data) as server:
        click.echo(f"valkey    {server.url}")
        stopped.wait()
