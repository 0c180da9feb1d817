"""Tokens to devices, pure: which stored tokens are one phone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

from pushsvc.domain.device import Device, DeviceToken, Platform, TokenKind


class TokenOfUser(NamedTuple):
    """A stored token with the device it was registered for."""

    app_id: int
    uid: int
    name: str
    platform: Platform
    appid: str
    token: DeviceToken
    user_active: bool = True


def devices_of(tokens: Sequence[TokenOfUser]) -> tuple[Device, ...]:
    """The devices that the tokens of one user belong to; every token in one device at most.

    Tokens belong together by platform, appid and name. A client that gives its installation a name has one device, by
    the newest token of each kind; older ones are what it had before. Where clients give none, the tokens of a kind are
    as many phones: the newest APNs, VoIP and FCM tokens are taken for one phone, the next newest for another, and so
    on, since a phone registers its tokens together. A wrong pair costs nothing: each token is a phone of its own kind.
    """
    if len(tokens) == 1:
        return (device_of(tokens),)
    groups: dict[tuple[Platform, str, str], list[TokenOfUser]] = {}
    for token in tokens:
        groups.setdefault((token.platform, token.appid, token.name), []).append(token)
    found = []
    for (_, _, name), group in groups.items():
        if len({stored.token.kind for stored in group}) == len(group):  # nothing to choose: nearly all devices
            found.append(device_of(group))
            continue
        kinds: dict[TokenKind, list[TokenOfUser]] = {kind: [] for kind in TokenKind}
        for stored in sorted(group, key=_age):
            kinds[stored.token.kind].append(stored)
        if name:
            found.append(device_of([newest[0] for newest in kinds.values() if newest]))
        else:
            for phone in zip_longest(*kinds.values()):
                found.append(device_of([token for token in phone if token is not None]))
    return tuple(found)


def device_of(tokens: Sequence[TokenOfUser]) -> Device:
    """The device that has these tokens, one of a kind."""
    push_token = voip_token = fcm_token = None
    for stored in tokens:
        if stored.token.kind is TokenKind.APNS:
            push_token = stored.token
        elif stored.token.kind is TokenKind.VOIP:
            voip_token = stored.token
        else:
            fcm_token = stored.token
    one = tokens[0]
    tokens_by_kind = (push_token, voip_token, fcm_token)
    return Device(one.app_id, one.uid, one.name, one.platform, one.appid, *tokens_by_kind, one.user_active)


def _age(stored: TokenOfUser) -> tuple[float, int]:
    return (-stored.token.registered_at, -stored.token.id)  # newest first
