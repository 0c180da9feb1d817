"""The Celery app: `celery -A workers.app worker`. Its config is PUSHSVC_*, read when Celery first asks for it."""

from __future__ import annotations

import os
import ssl
import sys
import warnings
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from celery import Celery, signals
from celery.exceptions import SecurityWarning

from pushsvc.config import BadConfig, Config
from pushsvc.stream.valkey import client_url
from workers.consumer import EventConsumer

EX_CONFIG = 78  # sysexits.h: something is wrong with the configuration
QUEUE = "pushsvc"  # where producers that speak Celery send their tasks
VISIBILITY_S = 300  # far above the longest task: a task that a dead worker held comes back after this time

app = Celery("pushsvc", include=("workers.tasks",))
app.steps["worker"].add(EventConsumer)


@app.on_configure.connect
def configure(sender: Any, **_: Any) -> None:
    """Gives Celery its settings, or ends the process with the variable at fault."""
    try:
        config = Config.from_env(os.environ)
    except BadConfig as error:
        print(f"error: config: {error}", file=sys.stderr)
        raise SystemExit(EX_CONFIG) from None
    sender.config_from_object(settings(config))


@signals.celeryd_init.connect
def without_warning_of_root(**_: Any) -> None:
    """Celery warns root of what pickled messages could do; JSON is all that is accepted here."""
    warnings.filterwarnings("ignore", category=SecurityWarning)


@signals.setup_logging.connect
def log_as_pushsvc_does(**_: Any) -> None:
    from workers import logs  # here: it loads Celery's worker, which a producer does not need

    logs.configure(Config.from_env(os.environ))


def settings(config: Config) -> dict[str, Any]:
    """Celery's own settings for this config."""
    url = broker_url(config)
    found: dict[str, Any] = {
        "broker_url": url,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,  # for ever: Valkey may be away for longer than anyone planned
        "broker_transport_options": {
            "visibility_timeout": VISIBILITY_S,
            "unacked_restore_interval": 10,
            "unacked_restore_throttle": 1,  # the sweep at every interval, not at every tenth
            "socket_keepalive": True,
            "health_check_interval": 25,
        },
        "task_default_queue": QUEUE,
        "accept_content": ["json"],  # JSON cannot carry code
        "task_serializer": "json",
        "task_ignore_result": True,
        "task_acks_late": True,
        # Threads: a fork would share TLS connections and lose the consumer's thread. The hot path is in neither.
        "worker_pool": "threads",
        "worker_concurrency": 4,
        "worker_prefetch_multiplier": 1,
        "worker_send_task_events": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,  # threads cannot be cancelled
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
    }
    if url.startswith("rediss://") and "ssl_" not in url:
        found["broker_use_ssl"] = {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    return found


def broker_url(config: Config) -> str:
    """PUSHSVC_BROKER_URL, or the stream's Valkey in kombu's spelling: redis+socket:// for a unix socket."""
    url = client_url(config.broker_url or config.valkey_url)
    if not url.startswith("unix://"):
        return url
    parts = urlsplit(url)
    db = parse_qs(parts.query).get("db", ["0"])[0]
    return f"redis+socket://{parts.netloc}{parts.path}?{urlencode({'virtual_host': db})}"
