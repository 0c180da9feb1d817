"""Use cases over devices."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from pushsvc.directory.ports import DeviceStore, Registration, UserStore
from pushsvc.directory.refused import BadValue, NotFound, no_app
from pushsvc.directory.tokens import tokens_of
from pushsvc.directory.users import checked_user, no_user
from pushsvc.domain.device import Device, DeviceToken, Environment, Platform, TokenKind

MAX_APPID = 255
MAX_NAME = 255
NOBODY = "nobody"  # stands for the user where a token belongs to none


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDevice:
    """A device as a client gives it, unchecked: one to three tokens, and the environment of the APNs and VoIP ones."""

    user: int | str
    platform: str
    appid: str
    push_token: str | None = field(default=None, repr=False)
    voip_token: str | None = field(default=None, repr=False)
    fcm_token: str | None = field(default=None, repr=False)
    environment: str | None = None
    name: str = ""


class DeviceDirectory:
    def __init__(self, store: DeviceStore, users: UserStore, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._users = users
        self._clock = clock

    def register(
        self,
        app_id: int,
        *,
        user: int | str,
        platform: str,
        appid: str,
        push_token: str | None = None,
        voip_token: str | None = None,
        fcm_token: str | None = None,
        environment: str | None = None,
        name: str = "",
    ) -> Device:
        """Stores a device's tokens for a user; safe to repeat. Raises BadValue, NotFound.

        `user` is a uid, or an address that becomes a user where it is new. A token that another user of the app had
        is now this one's.
        """
        new = NewDevice(
            user=user,
            platform=platform,
            appid=appid,
            push_token=push_token,
            voip_token=voip_token,
            fcm_token=fcm_token,
            environment=environment,
            name=name,
        )
        return self.register_many(app_id, [new])[0]

    def register_many(self, app_id: int, devices: Iterable[NewDevice]) -> list[Device]:
        """All of them or none, in one transaction. Raises BadValue, NotFound for the first that cannot be taken."""
        registrations = [_checked(app_id, device) for device in devices]
        self._refuse_pushkit(app_id, registrations)
        found: list[Device] = []
        for registration, stored in zip(registrations, self._store.register(registrations, self._clock()), strict=True):
            if stored is None:
                raise no_user(registration.user) if isinstance(registration.user, int) else no_app(app_id)
            found.append(stored)
        return found

    def _refuse_pushkit(self, app_id: int, registrations: Sequence[Registration]) -> None:
        """A PushKit token given as push_token looks right, and every message to it would end as 912."""
        given = [token for one in registrations for kind, token in one.tokens if kind is TokenKind.APNS]
        if given and self._store.known_as(app_id, TokenKind.VOIP, given):
            raise BadValue(
                "push_token",
                "the app has this token registered as voip_token: it is one of PushKit, which takes calls alone",
                "Give the token of didRegisterForRemoteNotificationsWithDeviceToken; if it is that one, remove it "
                "first and register it anew.",
            )

    def of_user(self, app_id: int, user: int | str) -> tuple[Device, ...]:
        """The devices of a user, of an inactive one too; none for a user who does not exist. Raises BadValue."""
        return self._store.of_user(app_id, checked_user(user))

    def with_token(self, app_id: int, token: int | str) -> Device:
        """The device that a token id, or a token (hexadecimal in any case), belongs to. Raises NotFound."""
        device = None
        for form in _forms(token) if isinstance(token, str) else (token,):
            device = device or self._store.with_token(app_id, form)
        if device is None:
            cure = "List the user's devices. To test a token that is not registered, give its platform and appid too, "
            raise NotFound("token", "the app has no such device token", f"{cure}and an APNs token's environment.")
        return device

    def pasted(
        self,
        app_id: int,
        token: str,
        *,
        platform: str | None,
        appid: str | None,
        environment: str | None,
        voip: bool,
    ) -> Device:
        """Nobody's device with this one token, for a test push; its uid and ids are 0, and nothing is stored.

        Whether it is an FCM token shows; a PushKit token looks like any of APNs, so `voip` tells. Raises BadValue.
        """
        if platform is None or appid is None:
            missing = [name for name, given in (("platform", platform), ("appid", appid)) if given is None]
            lacks = " and ".join(missing) + (" are" if len(missing) > 1 else " is")
            cause = f"{lacks} missing, and the token is tested as one that is not registered"
            raise BadValue(missing[0], cause, "Give platform and appid, or the token alone where it is registered.")
        kind = {"voip_token" if voip else "push_token": token}
        new = NewDevice(user=NOBODY, platform=platform, appid=appid, environment=environment, **kind)
        try:
            checked = _checked(app_id, new)
        except BadValue as bad:
            raise BadValue("token" if bad.prop in kind else bad.prop, bad.cause, bad.cure) from None
        ((found, value),) = checked.tokens
        one = DeviceToken(0, found, value, None if found is TokenKind.FCM else checked.environment, self._clock())
        return Device(
            app_id,
            0,
            "",
            checked.platform,
            checked.appid,
            push_token=one if found is TokenKind.APNS else None,
            voip_token=one if found is TokenKind.VOIP else None,
            fcm_token=one if found is TokenKind.FCM else None,
        )

    def remove(self, app_id: int, user: int | str, token: str | None = None) -> int:
        """Deletes one token of the user, or all; returns how many. Raises NotFound for a user who does not exist."""
        found = self._users.get(app_id, checked_user(user))
        if found is None:
            raise no_user(user)
        if token is None:
            return self._store.remove(app_id, found.uid, None)
        return sum(self._store.remove(app_id, found.uid, form) for form in _forms(token))


def _forms(token: str) -> tuple[str, ...]:
    """As it may be stored: hexadecimal ones are in lower case; what no token looks like is not asked for."""
    if not token.isascii() or not token.isprintable():
        return ()
    return (token,) if token == token.lower() else (token, token.lower())


def _checked(app_id: int, new: NewDevice) -> Registration:
    try:
        platform = Platform(new.platform)
    except ValueError:
        raise BadValue("platform", "there is no such platform", "Give 'ios', 'android' or 'web'.") from None
    environment = None
    if new.environment is not None:
        try:
            environment = Environment(new.environment)
        except ValueError:
            raise BadValue(
                "environment", "there is no such environment", "Give 'production' or 'sandbox' (a build from Xcode)."
            ) from None
    return Registration(
        app_id=app_id,
        user=checked_user(new.user),
        platform=platform,
        appid=_text("appid", new.appid, 1, MAX_APPID, "Give the bundle id (iOS) or package name (Android)."),
        name=_text("name", new.name, 0, MAX_NAME, "Give the client's own id of the installation, or leave it out."),
        environment=environment,
        tokens=tokens_of(platform, new.push_token, new.voip_token, new.fcm_token, environment),
    )


def _text(prop: str, value: str, low: int, high: int, cure: str) -> str:
    if not low <= len(value) <= high or not value.isprintable() or " " in value:
        raise BadValue(prop, f"it has {low} to {high} printable characters and no spaces", cure)
    return value
