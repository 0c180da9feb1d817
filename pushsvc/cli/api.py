"""pushsvc api: the HTTP API alone."""

from __future__ import annotations

import click


@click.command()
def api() -> None:
    """Run the HTTP API on PUSHSVC_LISTEN until SIGTERM; requests under way are finished first."""
    import os

    import uvicorn

    from pushsvc.cli.listening import refuse_taken
    from pushsvc.config import Config
    from pushsvc.telemetry import configure_logging

    config = Config.from_env(os.environ)
    refuse_taken("api", "PUSHSVC_LISTEN", config.listen)
    configure_logging(config.log_level, config.log_format)
    host, port = config.listen
    uvicorn.run(
        "pushsvc.api.app:from_env",
        factory=True,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=15,
        limit_concurrency=1000,
    )
