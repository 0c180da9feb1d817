"""Admission: the one check that every door makes of an event."""

from __future__ import annotations

from collections.abc import Mapping

from pushsvc.domain.event import Event, parse
from pushsvc.providers.provider import Provider


def admit(raw: bytes, *, now: float, app: int | None, make_id: str, providers: Mapping[str, Provider]) -> Event:
    """The event in a producer's JSON, with its overrides checked; raises BadEvent with property, cause and cure.

    `app` is the app that the door knows already, `make_id` the id of an event that brings none.
    """
    event = parse(raw, now=now, app=app, make_id=make_id)
    for name, provider in providers.items():
        overrides = getattr(event, name)
        if overrides:
            provider.check_overrides(overrides)
    return event
