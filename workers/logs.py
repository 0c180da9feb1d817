"""Our logging for Celery's processes, without what Celery would tell of messages: events hold people's texts."""

from __future__ import annotations

import logging

from celery.worker.consumer.consumer import (
    INVALID_TASK_ERROR,
    MESSAGE_DECODE_ERROR,
    UNKNOWN_FORMAT,
    UNKNOWN_TASK_ERROR,
)

from pushsvc.config import Config
from pushsvc.telemetry import configure_logging

CONSUMER = "celery.worker.consumer.consumer"
POOL = "celery.pool"  # tells each task with its arguments at debug
TELLS_ARGUMENTS = ("celery.worker.strategy", "celery.worker.request", "celery.app.trace")


def configure(config: Config) -> None:
    """Logs of this process go where and how the config says."""
    configure_logging(config.log_level, config.log_format)
    logging.getLogger(POOL).setLevel(logging.INFO)
    for name in (CONSUMER, *TELLS_ARGUMENTS):
        logging.getLogger(name).addFilter(without_content)
    if config.log_level != "debug":  # a line for each task received and ended; our own tasks say what they did
        for name in TELLS_ARGUMENTS:
            logging.getLogger(name).setLevel(logging.WARNING)


def without_content(record: logging.LogRecord) -> bool:
    """Takes the arguments of tasks and the bodies of messages out of a record; lets every record pass."""
    record.__dict__.pop("data", None)  # on each task received or ended: its arguments
    if record.msg == UNKNOWN_TASK_ERROR and isinstance(record.args, tuple):
        record.msg, record.args = "a task of the unknown type %s was refused", record.args[:1]
        record.exc_info = None
    elif record.msg in (INVALID_TASK_ERROR, UNKNOWN_FORMAT, MESSAGE_DECODE_ERROR):
        record.msg, record.args, record.exc_info = "a message that is no task was refused", (), None
    return True
