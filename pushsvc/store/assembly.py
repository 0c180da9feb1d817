"""Tokens to devices, pure: which stored tokens are one phone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from pushsvc.domain.device import Device, DeviceToken, Platform, TokenKind


@dataclass(frozen=True, slots=True)
class TokenOfUser:
    """A stored token with the device it was registered for."""

    app_id: int
    uid: int
    name: str
    platform: Platform
    appid: str
    token: DeviceToken


def devices_of(tokens: Sequence[TokenOfUser]) -> tuple[Device, ...]:
    """The devices that the tokens of one user belong to; every token in one device at most.

    Tokens belong together by platform, appid and name. A client that gives its installation a name has one device, by
    the newest token of each kind; older ones are what it had before. Where clients give none, the tokens of a kind are
    as many phones: the newest APNs, VoIP and FCM tokens are taken for one phone, the next newest for another, and so
    on, since a phone registers its tokens together. A wrong pair costs nothing: each token is a phone of its own kind.
    """
    if len(tokens) == 1:
        return (_device(tokens[0], tokens[0].token),)
    groups: dict[tuple[Platform, str, str], list[TokenOfUser]] = {}
    for token in tokens:
        groups.setdefault((token.platform, token.appid, token.name), []).append(token)
    found = []
    for (_, _, name), group in groups.items():
        kinds: dict[TokenKind, list[DeviceToken]] = {kind: [] for kind in TokenKind}
        for stored in sorted(group, key=lambda t: (t.token.registered_at, t.token.id), reverse=True):
            kinds[stored.token.kind].append(stored.token)
        if name:
            found.append(_device(group[0], *(newest[0] for newest in kinds.values() if newest)))
        else:
            for phone in zip_longest(*kinds.values()):
                found.append(_device(group[0], *(token for token in phone if token is not None)))
    return tuple(found)


def _device(of: TokenOfUser, *tokens: DeviceToken) -> Device:
    push_token = voip_token = fcm_token = None
    for token in tokens:
        if token.kind is TokenKind.APNS:
            push_token = token
        elif token.kind is TokenKind.VOIP:
            voip_token = token
        else:
            fcm_token = token
    return Device(of.app_id, of.uid, of.name, of.platform, of.appid, push_token, voip_token, fcm_token)
