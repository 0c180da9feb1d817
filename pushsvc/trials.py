"""Test pushes as the doors ask for them: whom, with what, and what came of each."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from pushsvc.bootstrap import Service
from pushsvc.directory.devices import NOBODY
from pushsvc.directory.refused import BadValue, NotFound
from pushsvc.dispatch.admit import admit
from pushsvc.dispatch.trial import Trial
from pushsvc.domain.device import Device, DeviceToken

MAX_DEVICES = 20


@dataclass(frozen=True, slots=True)
class Pasted:
    """What has to be known of a token that is not registered; `environment` for APNs and PushKit tokens alone."""

    platform: str | None = None
    appid: str | None = None
    environment: str | None = None
    voip: bool = False  # a PushKit token


NOTHING = Pasted()


def test_pushes(
    service: Service,
    app_id: int,
    *,
    user: int | str | None,
    token: str | int | None,
    pasted: Pasted = NOTHING,
    event: Mapping[str, Any],
    dry_run: bool,
) -> list[Trial]:
    """Sends an event now to all devices of a user, or to the one that a token (or a token's id) belongs to.

    A token with anything in `pasted` is taken as it is, registered or not, and nothing is stored. `event` holds
    properties of an event beside id, app and user. Raises BadEvent, BadValue, NotFound.
    """
    devices = _devices(service, app_id, user, token, pasted)
    body = {**event, "user": devices[0].uid or NOBODY}
    if pasted.voip:
        body.setdefault("kind", "call")  # all that such a token is for
    ready = admit(
        json.dumps(body).encode(),
        now=time.time(),
        app=app_id,
        make_id=f"test-{uuid.uuid4()}",
        providers=service.providers,
    )
    return [service.test_push(ready, device, dry_run=dry_run) for device in devices]


def _devices(
    service: Service, app_id: int, user: int | str | None, token: str | int | None, pasted: Pasted
) -> list[Device]:
    if (user is None) == (token is None):
        raise BadValue("user", "a test push goes to a user or to a token", "Give one of user and token.")
    if pasted != NOTHING:
        if not isinstance(token, str):
            cause = "platform, appid, environment and voip are for a token that is not registered"
            raise BadValue("token", cause, "Give the token, or leave them out.")
        return [service.devices.pasted(app_id, token, **asdict(pasted))]
    if token is not None:
        return [_alone(service.devices.with_token(app_id, token), token)]
    assert user is not None
    devices = service.devices.of_user(app_id, user)
    if not devices:
        service.users.get(app_id, user)
        raise NotFound("user", "the user has no device", "Register one first.")
    if len(devices) > MAX_DEVICES:
        raise BadValue("user", f"the user has {len(devices)} devices, too many to test at once", "Give a token.")
    return list(devices)


def _alone(device: Device, token: str | int) -> Device:
    """The device as if it had this token only, so that this token is what is tested."""
    wanted = token.lower() if isinstance(token, str) else token

    def only(one: DeviceToken | None) -> DeviceToken | None:
        return one if one is not None and wanted in (one.id, one.token.lower()) else None

    return replace(
        device,
        push_token=only(device.push_token),
        voip_token=only(device.voip_token),
        fcm_token=only(device.fcm_token),
    )
