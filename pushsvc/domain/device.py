"""Devices: where the pushes of a user go."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Platform(StrEnum):
    IOS = "ios"
    ANDROID = "android"
    WEB = "web"  # an FCM web client


class Environment(StrEnum):
    """The APNs environment of a token; there is no default, since a wrong guess looks like a dead token."""

    PRODUCTION = "production"
    SANDBOX = "sandbox"

    @property
    def other(self) -> Environment:
        return Environment.SANDBOX if self is Environment.PRODUCTION else Environment.PRODUCTION


class TokenKind(StrEnum):
    APNS = "apns"  # a remote-notification token: alerts and background pushes
    VOIP = "voip"  # a PushKit token: calls and nothing else
    FCM = "fcm"  # an FCM registration token, on Android, the web or iOS


@dataclass(frozen=True, slots=True)
class DeviceToken:
    """One token of one device, a row of the store. `registered_at` is UNIX seconds of its newest registration."""

    id: int
    kind: TokenKind
    token: str
    environment: Environment | None  # None for FCM tokens: FCM knows it from the token
    registered_at: float

    def __repr__(self) -> str:
        return f"DeviceToken(id={self.id}, kind={self.kind.value}, token={redacted(self.token)})"


@dataclass(frozen=True, slots=True)
class Device:
    """A phone (or browser) of a user, with the tokens it may be reached by; at least one of the three is there."""

    app_id: int
    uid: int
    name: str  # the client's own id of the installation, or "" where it gave none
    platform: Platform
    appid: str  # bundle id (iOS) or package name (Android)
    push_token: DeviceToken | None = None
    voip_token: DeviceToken | None = None
    fcm_token: DeviceToken | None = None
    user_active: bool = True  # False: the user is switched off, and no push goes out

    @property
    def tokens(self) -> tuple[DeviceToken, ...]:
        return tuple(t for t in (self.push_token, self.voip_token, self.fcm_token) if t is not None)


def redacted(token: str) -> str:
    """What a person needs to recognise a token, and nobody can push with: its first 6 and last 2 characters."""
    return f"{token[:6]}…{token[-2:]}" if len(token) > 16 else "…"
