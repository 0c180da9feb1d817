"""The demo's cast and plot: apps, phones, events, and what must come of each, written down beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

TEAM = "DEMOTEAM01"
PRODUCTION, SANDBOX, FCM = "apns-production", "apns-sandbox", "fcm"


class Phones(Protocol):
    """The simulator's devices, as far as the demo plays with them."""

    def apns(self, environment: str, *topics: str, per_minute: int | None = None) -> Any: ...
    def fcm(self, project_id: str, package: str, *, platform: str = "android") -> Any: ...
    def unregister(self, token: str, state: str = "unregistered") -> Any: ...


@dataclass(frozen=True, slots=True)
class Expected:
    """One request that has to arrive at a simulator, with the answer that the simulator has to give."""

    site: str
    token: str = field(repr=False)
    push_type: str  # apns-push-type; for FCM: data or notification
    topic: str = ""  # apns-topic; empty for FCM
    priority: str = ""  # apns-priority (also of an iPhone through FCM), or android.priority in lower case
    status: int = 200
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """An event as the messaging server sends it; what arrives, and how it ends at each token ("" = no device)."""

    app: str
    event: dict[str, Any]
    arrives: tuple[Expected, ...]
    ends: dict[str, tuple[str, int | None]]
    why: str = ""


@dataclass(slots=True)
class AppPlan:
    """An app as its operator sets it up through the HTTP API."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    uploads: list[tuple[str, bytes, dict[str, str]]] = field(default_factory=list)  # file name, content, form fields
    devices: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Phone:
    """A phone of the cast: the tokens that its app registers."""

    user: str
    platform: str
    appid: str
    environment: str | None = None
    push: str | None = None
    voip: str | None = None
    fcm: str | None = None

    def registration(self) -> dict[str, Any]:
        fields = {
            "user": self.user,
            "platform": self.platform,
            "appid": self.appid,
            "environment": self.environment,
            "push_token": self.push,
            "voip_token": self.voip,
            "fcm_token": self.fcm,
        }
        return {name: value for name, value in fields.items() if value is not None}


class Cast:
    """Makes phones that exist at the simulator too, and registers them with an app."""

    def __init__(self, phones: Phones) -> None:
        self._phones = phones

    def iphone(
        self,
        app: AppPlan,
        user: str,
        bundle: str,
        *,
        home: str = "production",
        voip: bool = False,
        registered_as: str | None = None,
        topic: str | None = None,
    ) -> Phone:
        """An iPhone whose token lives in `home`; `registered_as` is the environment that the app told, if another."""
        phone = Phone(user, "ios", bundle, registered_as or home)
        phone.push = self._phones.apns(home, topic or bundle).token
        if voip:
            phone.voip = self._phones.apns(home, f"{bundle}.voip").token
        app.devices.append(phone.registration())
        return phone

    def android(self, app: AppPlan, user: str, package: str, project: str) -> Phone:
        phone = Phone(user, "android", package)
        phone.fcm = self._phones.fcm(project, package).token
        app.devices.append(phone.registration())
        return phone


def background(phone: Phone, site: str = PRODUCTION, status: int = 200, reason: str = "") -> Expected:
    assert phone.push
    return Expected(site, phone.push, "background", phone.appid, "5", status, reason)


def alert(phone: Phone, site: str = PRODUCTION, status: int = 200, reason: str = "") -> Expected:
    assert phone.push
    return Expected(site, phone.push, "alert", phone.appid, "10", status, reason)


def call(phone: Phone, site: str = PRODUCTION) -> Expected:
    assert phone.voip
    return Expected(site, phone.voip, "voip", f"{phone.appid}.voip", "10")


def data(phone: Phone, status: int = 200, reason: str = "", priority: str = "high") -> Expected:
    assert phone.fcm
    return Expected(FCM, phone.fcm, "data", "", priority, status, reason)


def accepted(*expected: Expected) -> dict[str, tuple[str, int | None]]:
    return {one.token: ("accepted", 200) for one in expected}
