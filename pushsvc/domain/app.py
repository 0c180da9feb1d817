"""An app and its settings: the operator's options, stored, changed at run time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta, Struct

from pushsvc.domain.credential import Credential

Template = Annotated[str, Meta(max_length=1024)]
LocalisationKey = Annotated[str, Meta(min_length=1, max_length=256)]


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an app's events become pushes."""

    push: bool = True  # off: every event ends as 902
    background: bool = True  # wake the app silently; off: visible alerts
    sound: Annotated[str, Meta(max_length=128)] | None = None  # only with background push off
    collapse: bool = False  # one waiting notification per conversation instead of one per message
    sandbox_to_production: bool = False  # send sandbox pushes to the production APNs server
    autoroute: bool = False  # iOS devices that also have an FCM token go through FCM where the app has its credential
    print_push_logs: bool = False  # a log line for each request to a provider and its answer, without texts
    notify_failed_pushes: bool = False  # takes effect with webhooks
    privacy: bool = False  # ids only: no name, text or data leaves for a provider
    title_template: Template | None = None  # {name} {from} {title} {body} {gid}
    body_template: Template | None = None
    title_loc_key: LocalisationKey | None = None
    title_loc_args: Annotated[list[Template], Meta(max_length=10)] = []
    body_loc_key: LocalisationKey | None = None
    body_loc_args: Annotated[list[Template], Meta(max_length=10)] = []
    min_interval_s: Annotated[int, Meta(ge=0, le=86_400)] = 0  # between wake-ups of one device; calls are exempt


@dataclass(frozen=True, slots=True)
class App:
    """An app with all that its pushes need, as one snapshot: settings and opened credentials of one version."""

    id: int
    name: str
    settings: Settings
    credentials: tuple[Credential, ...] = field(default=(), repr=False)
    active: bool = True
