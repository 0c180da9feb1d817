"""Makes apps, devices, events and pushes for tests: what a test does not name has an ordinary value."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pushsvc.domain.app import App, Settings
from pushsvc.domain.credential import Credential, CredentialKind, Finding
from pushsvc.domain.device import Device, DeviceToken, Environment, Platform, TokenKind
from pushsvc.domain.event import Event, Message
from pushsvc.domain.push import Push, PushType, Route, push_id

NOW = 1_800_000_000.0
BUNDLE_ID = "com.example.chat"
PRODUCTION, SANDBOX = Environment.PRODUCTION, Environment.SANDBOX
BOTH = frozenset(Environment)
APNS_TOKEN = "a1" * 32
VOIP_TOKEN = "b2" * 32
FCM_TOKEN = "cdefghijklmnopqrstuvwx:APA91b" + "E" * 120


def event(**given: Any) -> Event:
    """An event of app 1 for one user, sent now; `message` may be a dict."""
    message = given.pop("message", {})
    if isinstance(message, dict):
        if "from" in message:
            message = {**message, "sender": message["from"]}
            del message["from"]
        message = Message(**message)
    return Event(**{"app": 1, "id": "event-1", "user": "bob", "sent_at": NOW, "message": message, **given})


def certificate(id: int = 11, **finding: Any) -> Credential:
    """An APNs certificate for the bundle id and its VoIP topic, in both environments."""
    known = {
        "topics": (BUNDLE_ID, f"{BUNDLE_ID}.voip"),
        "environments": BOTH,
        "not_before": NOW - 1000,
        "not_after": NOW + 1e6,
        "fingerprint": f"{id:02x}" * 32,
    }
    return Credential(id, 1, Finding(CredentialKind.APNS_CERTIFICATE, "certificate", **{**known, **finding}), b"")


def key(id: int = 12, **finding: Any) -> Credential:
    """An APNs key for every topic of the team, in both environments."""
    known = {"environments": BOTH, "team_id": "TEAM000001", "key_id": "KEY0000001", "fingerprint": f"{id:02x}" * 32}
    return Credential(id, 1, Finding(CredentialKind.APNS_KEY, "key", **{**known, **finding}), b"")


def service_account(id: int = 13) -> Credential:
    finding = Finding(CredentialKind.FCM_SERVICE_ACCOUNT, "account", project_id="chat-1", fingerprint=f"{id:02x}" * 32)
    return Credential(id, 1, finding, b"")


def app(*credentials: Credential, active: bool = True, **settings: Any) -> App:
    """An app with a certificate and a service account, unless other credentials are given."""
    return App(1, "chat", Settings(**settings), credentials or (certificate(), service_account()), active)


def device(
    platform: Platform = Platform.IOS,
    push: str | None = None,
    voip: str | None = None,
    fcm: str | None = None,
    environment: Environment = PRODUCTION,
    appid: str = BUNDLE_ID,
    uid: int = 7,
) -> Device:
    def token(id: int, kind: TokenKind, value: str | None) -> DeviceToken | None:
        where = None if kind is TokenKind.FCM else environment
        return None if value is None else DeviceToken(id, kind, value, where, NOW - 1000)

    return Device(
        1,
        uid,
        "",
        platform,
        appid,
        token(1, TokenKind.APNS, push),
        token(2, TokenKind.VOIP, voip),
        token(3, TokenKind.FCM, fcm),
    )


IPHONE = device(push=APNS_TOKEN, voip=VOIP_TOKEN)
ANDROID = device(Platform.ANDROID, fcm=FCM_TOKEN)
WEB = device(Platform.WEB, fcm=FCM_TOKEN)
FCM_IPHONE = device(fcm=FCM_TOKEN)


def push(
    kind: PushType = PushType.BACKGROUND,
    of: Event | None = None,
    to: Device = IPHONE,
    by: App | None = None,
    environment: Environment = PRODUCTION,
    attempt: int = 1,
    **settings: Any,
) -> Push:
    """A push of this type to the device's natural token."""
    its_event = of or event()
    its_app = by or app(**settings)
    token = to.voip_token if kind is PushType.VOIP and to.voip_token else to.push_token or to.fcm_token
    assert token is not None
    provider = "fcm" if token.kind is TokenKind.FCM else "apns"
    credential = next(c for c in its_app.credentials if c.finding.kind.provider == provider)
    where = None if provider == "fcm" else environment
    topic = f"{to.appid}.voip" if kind is PushType.VOIP and where else to.appid
    route = Route(provider, token, kind, topic, where, credential)
    ttl_s = max(0, int(its_event.deadline - NOW))
    return Push(push_id(1, its_event.id, token.id), its_app, its_event, to, route, attempt, ttl_s, NOW)


def with_settings(of: App, **settings: Any) -> App:
    return replace(of, settings=Settings(**settings))
