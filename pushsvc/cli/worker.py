"""pushsvc worker: one Celery worker that reads the stream."""

from __future__ import annotations

import click


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("celery_options", nargs=-1, type=click.UNPROCESSED)
def worker(celery_options: tuple[str, ...]) -> None:
    """Run one worker that dispatches events.

    It is `celery -A workers.app worker`; options after the word go to Celery, as in
    `pushsvc worker --hostname w1@%h --beat`. SIGTERM drains it: answers are waited for, the rest is left to others.
    """
    import os
    import sys

    from pushsvc.config import Config

    Config.from_env(os.environ)  # a wrong variable is told here in one line, not in Celery's traceback
    os.execv(sys.executable, command(*celery_options))


def command(*celery_options: str) -> list[str]:
    """The command line of a worker process."""
    import sys

    return [sys.executable, "-m", "celery", "--quiet", "-A", "workers.app", "worker", *celery_options]
