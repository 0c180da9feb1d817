"""Tells every process that an app was changed."""

from __future__ import annotations

import logging

from pushsvc.directory.ports import Versions

log = logging.getLogger("pushsvc.directory")


def announce(versions: Versions, app_id: int) -> None:
    """Called after the change is committed, so that who reads now reads it; never raises.

    The change is stored, whatever happens here: where it cannot be announced, snapshots learn of it by their age.
    """
    try:
        versions.bump(app_id)
    except Exception as error:
        log.warning("a change of app %d is not announced (%s); workers see it within 10 s", app_id, error)
