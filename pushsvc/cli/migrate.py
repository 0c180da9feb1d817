"""pushsvc migrate: brings the store to this version."""

from __future__ import annotations

import click


@click.command()
def migrate() -> None:
    """Create or upgrade the tables of the store; safe to run at any time, by any number of processes."""
    import os

    from pushsvc.config import Config
    from pushsvc.store.database import Database
    from pushsvc.store.migrate import migrate as bring_up

    database = Database(Config.from_env(os.environ).database_url)
    try:
        bring_up(database)
    finally:
        database.close()
    click.echo("the store is at this version")
