"""pushsvc migrate: brings the store to this version."""

from __future__ import annotations

import click

from pushsvc.cli.session import json_option, print_done


@click.command()
@json_option
def migrate(as_json: bool) -> None:
    """Create or upgrade the tables of the store; safe to run at any time, by any number of processes."""
    import os

    from pushsvc.config import Config
    from pushsvc.store.database import Database
    from pushsvc.store.migrate import migrate as bring_up

    config = Config.from_env(os.environ)
    database = Database(config.database_url)
    try:
        before, now = bring_up(database, make_folder=config.own_database)
    finally:
        database.close()
    where = database.path or database.engine.url.render_as_string()  # with *** for the password
    if before is None:
        done = "tables made"
    else:
        done = "nothing to do" if before == now else f"tables upgraded from version {before}"
    told = {"store": str(where), "before": before, "now": now}
    print_done(told, f"{where}: {done}; they are of version {now}", as_json)
