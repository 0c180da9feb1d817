"""Routing: which token of a device an event goes to, through which provider and server, with which credential."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from pushsvc.domain.app import App
from pushsvc.domain.credential import Credential, CredentialKind
from pushsvc.domain.device import Device, DeviceToken, Environment, Platform, TokenKind
from pushsvc.domain.event import Event, Kind
from pushsvc.domain.outcome import Row
from pushsvc.domain.push import PushType, Refusal, Route
from pushsvc.domain.refusals import (
    APP_DISABLED,
    CERTIFICATE_EXPIRED,
    CERTIFICATE_NOT_YET_VALID,
    CREDENTIAL_LOCKED,
    CREDENTIAL_PAUSED,
    MALFORMED_TOKEN,
    NO_CERTIFICATE_FOR_TYPE,
    NO_KEY_FOR_TYPE,
    NOT_CONFIGURED,
    PRODUCTION_NOT_SERVED,
    PUSH_DISABLED,
    SANDBOX_NOT_SERVED,
    TOPIC_NOT_SERVED,
    VOIP_WITHOUT_CALL,
)

# https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns: apns-push-type
_TOPIC_SUFFIX = {
    PushType.COMPLICATION: ".complication",
    PushType.CONTROLS: ".push-type.controls",
    PushType.FILEPROVIDER: ".pushkit.fileprovider",
    PushType.LIVEACTIVITY: ".push-type.liveactivity",
    PushType.LOCATION: ".location-query",
    PushType.PUSHTOTALK: ".voip-ptt",
    PushType.VOIP: ".voip",
    PushType.WIDGETS: ".push-type.widgets",
}
_THROUGH_FCM = (PushType.ALERT, PushType.BACKGROUND)  # what FCM can carry to an iPhone
_HEX = re.compile(r"(?:[0-9a-fA-F]{2}){8,200}")  # Apple asks to assume no size; 32 bytes today, longer for activities


def route(
    event: Event,
    device: Device,
    app: App,
    now: float,
    *,
    refused_by: Environment | None = None,
    environment: Environment | None = None,
) -> Route | Refusal | None:
    """The way an event takes to a device; None where it takes none, as a message to a VoIP token.

    `environment` names the APNs server to ask, where it is not the token's own; so does `refused_by`, the one that has
    refused the token already.
    """
    found = _token(event, device, app)
    if found is None:
        return None
    token, push_type = found
    row = _switched_off(app)
    if row is not None:
        return Refusal(row, token.id)
    over = event.apns or {}
    if token.kind is TokenKind.FCM:
        provider, server, topic = "fcm", None, device.appid
    else:
        if not _HEX.fullmatch(token.token):
            return Refusal(MALFORMED_TOKEN, token.id)
        if push_type is PushType.VOIP and not event.is_call:
            return Refusal(VOIP_WITHOUT_CALL, token.id)
        provider = "apns"
        topic = over.get("topic") or device.appid + _TOPIC_SUFFIX.get(push_type, "")
        server = environment or (refused_by.other if refused_by else _server(token, app))
    chosen = choose_credential(app.credentials, provider, topic, server, push_type, now)
    if isinstance(chosen, Row):
        return Refusal(chosen, token.id)
    return Route(provider, token, push_type, topic, server, chosen)


def _switched_off(app: App) -> Row | None:
    if not app.active:
        return APP_DISABLED
    return None if app.settings.push else PUSH_DISABLED


def _token(event: Event, device: Device, app: App) -> tuple[DeviceToken, PushType] | None:
    """The token to use, and the push type that goes with it."""
    asked = (event.apns or {}).get("push_type") if device.platform is Platform.IOS else None
    if asked is not None:
        return _asked_for(PushType(asked), device, app)
    if event.is_call and device.platform is Platform.IOS and device.voip_token is not None:
        return device.voip_token, PushType.VOIP
    if event.is_call:
        # A VoIP push is Apple's own; on an iPhone without a VoIP token the call comes as an alert.
        push_type = PushType.ALERT if device.platform is Platform.IOS else PushType.VOIP
    elif event.kind is Kind.SILENT or app.settings.background:
        push_type = PushType.BACKGROUND
    else:
        push_type = PushType.ALERT
    token = _message_token(device, app)
    return None if token is None else (token, push_type)


def _asked_for(push_type: PushType, device: Device, app: App) -> tuple[DeviceToken, PushType] | None:
    """The token for the push type that the event's 'apns' override asks for."""
    if push_type is PushType.VOIP:
        token = device.voip_token
    elif push_type in _THROUGH_FCM:
        token = _message_token(device, app)
    else:
        token = device.push_token
    return None if token is None else (token, push_type)


def _message_token(device: Device, app: App) -> DeviceToken | None:
    """Never the PushKit token: iOS ends apps that get messages by it."""
    if device.platform is not Platform.IOS or device.push_token is None:
        return device.fcm_token
    autoroute = app.settings.autoroute and device.fcm_token is not None
    if autoroute and any(c.finding.kind is CredentialKind.FCM_SERVICE_ACCOUNT for c in app.credentials):
        return device.fcm_token
    return device.push_token


def _server(token: DeviceToken, app: App) -> Environment | None:
    return Environment.PRODUCTION if app.settings.sandbox_to_production else token.environment


def choose_credential(
    credentials: Iterable[Credential],
    provider: str,
    topic: str,
    environment: Environment | None,
    push_type: PushType,
    now: float,
) -> Credential | Row:
    """The credential that serves a push, or the row that says why none does.

    A credential has to serve, in this order: the provider, the push type, the topic, the environment, the day; and it
    must not be paused. Where none does, the row is that of the one that came furthest. Of several the one wins that
    names the topic over one for every topic, the one for this environment alone over one for both, and the newest.
    """
    best: Credential | None = None
    best_rank = (False, False, -1)
    refusal, furthest = NOT_CONFIGURED, 0
    for credential in credentials:
        if credential.finding.kind.provider != provider:
            continue
        step, row = _serves(credential, topic, environment, push_type, now)
        if row is None:
            finding = credential.finding
            rank = (bool(finding.topics), len(finding.environments) == 1, credential.id)
            if best is None or rank > best_rank:
                best, best_rank = credential, rank
        elif step > furthest:
            refusal, furthest = row, step
    return best or refusal


def _serves(
    credential: Credential, topic: str, environment: Environment | None, push_type: PushType, now: float
) -> tuple[int, Row | None]:
    """How far the credential gets, and the row of what stops it."""
    finding = credential.finding
    if push_type is PushType.LOCATION and finding.kind is CredentialKind.APNS_CERTIFICATE:
        return 1, NO_KEY_FOR_TYPE
    if push_type is PushType.MDM and finding.kind is CredentialKind.APNS_KEY:
        return 1, NO_CERTIFICATE_FOR_TYPE
    if finding.topics and topic not in finding.topics:
        # A certificate lists every topic; a key is given bundle ids, and serves each with its suffixes.
        bundle_id = topic.removesuffix(_TOPIC_SUFFIX.get(push_type, ""))
        if finding.kind is not CredentialKind.APNS_KEY or bundle_id not in finding.topics:
            return 2, TOPIC_NOT_SERVED
    if environment is not None and finding.environments and environment not in finding.environments:
        return 3, PRODUCTION_NOT_SERVED if environment is Environment.PRODUCTION else SANDBOX_NOT_SERVED
    if finding.not_after is not None and now >= finding.not_after:
        return 4, CERTIFICATE_EXPIRED
    if finding.not_before is not None and now < finding.not_before:
        return 4, CERTIFICATE_NOT_YET_VALID
    if credential.paused:
        return 5, _why_paused(credential)
    return 6, None


def _why_paused(credential: Credential) -> Row:
    """The row, with this credential and its own reason as the cause: what an operator looks for in a record."""
    row, what = (CREDENTIAL_LOCKED, "cannot be opened") if credential.locked else (CREDENTIAL_PAUSED, "is paused")
    return replace(row, cause=f"Credential {credential.id} {what}: {credential.paused}")
