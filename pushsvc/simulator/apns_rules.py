"""The order in which APNs judges a push. Apple says only that the credential comes first; the rest is this table's."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from .apns_session import ApnsSession, Renewals, authenticate, bind
from .devices import Device
from .journal import Arrival
from .provider_token import TokenReader
from .site import World

# https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns
PUSH_TYPES: dict[bytes, str] = {
    b"alert": "",
    b"background": "",
    b"complication": ".complication",
    b"controls": ".push-type.controls",
    b"fileprovider": ".pushkit.fileprovider",
    b"liveactivity": ".push-type.liveactivity",
    b"location": ".location-query",
    b"mdm": "",
    b"pushtotalk": ".voip-ptt",
    b"voip": ".voip",
    b"widgets": ".push-type.widgets",
}
SUFFIXES = tuple(suffix for suffix in PUSH_TYPES.values() if suffix)
MAX_BYTES, MAX_VOIP_BYTES = 4096, 5120
MAX_COLLAPSE_ID_BYTES = 64
PATH = b"/3/device/"

_TOPIC = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,254}")
_UUID = re.compile(rb"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
_TOKEN = re.compile(r"(?:[0-9a-fA-F]{2}){32,100}")
_SECONDS = re.compile(rb"[0-9]{1,15}")


@dataclass(slots=True)
class Push:
    """A request while it is judged, and what it is judged by."""

    world: World
    environment: str
    tokens: TokenReader
    renewals: Renewals
    session: ApnsSession
    arrival: Arrival
    fields: dict[bytes, bytes]
    device: Device | None = None


def method(push: Push) -> str | None:
    return None if push.arrival.method == "POST" else "MethodNotAllowed"


def path(push: Push) -> str | None:
    sent = push.arrival.path
    if sent in ("/3/device", "/3/device/"):
        return "MissingDeviceToken"
    return None if sent.startswith("/3/device/") else "BadPath"


def repeated_headers(push: Push) -> str | None:
    return None if len(push.fields) == len(push.arrival.raw_headers) else "DuplicateHeaders"


def credential(push: Push) -> str | None:
    session, world = push.session, push.world
    if session.identity is not None:
        # The authorization header is ignored when a certificate was used.
        return "BadCertificate" if world.authority.is_revoked(session.identity.serial_number) else None
    return authenticate(
        session,
        push.fields.get(b"authorization"),
        push.tokens.read,
        world.clock,
        world.policy,
        push.renewals,
    )


def binding(push: Push) -> str | None:
    session = push.session
    if session.identity is not None:
        return None
    reason = bind(session, push.environment)
    if reason is None:
        session.stream_limit = push.world.policy.streams
    return reason


def topic_given(push: Push) -> str | None:
    if b"apns-topic" in push.fields:
        return None
    identity = push.session.identity
    if identity is None or identity.lists_topics:
        return "MissingTopic"
    push.arrival.topic = identity.default_topic
    return None


def topic_allowed(push: Push) -> str | None:
    topic, session = push.arrival.topic, push.session
    if not _TOPIC.fullmatch(topic):
        return "BadTopic"
    push_type = push.fields.get(b"apns-push-type")
    if session.identity is not None:
        # Location pushes need a provider token.
        if topic not in session.identity.topics or push_type == b"location":
            return "TopicDisallowed"
    elif session.token is not None and session.token.key.topics is not None:
        bundle_id = topic
        for suffix in SUFFIXES:
            bundle_id = bundle_id.removesuffix(suffix)
        if not {topic, bundle_id} & set(session.token.key.topics):
            return "TopicDisallowed"
    if push_type == b"mdm":
        return None if topic.startswith("com.apple.mgmt.") else "TopicDisallowed"
    if push_type in PUSH_TYPES:
        suffix = PUSH_TYPES[push_type]
        if not topic.endswith(suffix) if suffix else topic.endswith(SUFFIXES):
            return "TopicDisallowed"
    return None


def push_type(push: Push) -> str | None:
    sent = push.fields.get(b"apns-push-type")
    return None if sent is None or sent in PUSH_TYPES else "InvalidPushType"


def message_id(push: Push) -> str | None:
    sent = push.fields.get(b"apns-id")
    return None if sent is None or _UUID.fullmatch(sent.lower()) else "BadMessageId"


def expiration(push: Push) -> str | None:
    sent = push.fields.get(b"apns-expiration")
    return None if sent is None or _SECONDS.fullmatch(sent) else "BadExpirationDate"


def priority(push: Push) -> str | None:
    sent = push.fields.get(b"apns-priority")
    if sent is not None and sent not in (b"10", b"5", b"1"):
        return "BadPriority"
    # A background push may not ask for 10, and 10 is the default.
    return "BadPriority" if push.fields.get(b"apns-push-type") == b"background" and sent in (None, b"10") else None


def collapse_id(push: Push) -> str | None:
    return "BadCollapseId" if len(push.fields.get(b"apns-collapse-id", b"")) > MAX_COLLAPSE_ID_BYTES else None


def payload(push: Push) -> str | None:
    body = push.arrival.body
    if not body:
        return "PayloadEmpty"
    kind = push.fields.get(b"apns-push-type")
    voip = kind == b"voip" or (kind is None and push.arrival.topic.endswith(".voip"))
    return "PayloadTooLarge" if len(body) > (MAX_VOIP_BYTES if voip else MAX_BYTES) else None


def device_token(push: Push) -> str | None:
    token = push.arrival.token
    push.device = push.world.devices.apns_tokens[push.environment].get(token.lower())
    # A token of the other environment is unknown here, and gets no reason of its own.
    return None if push.device is not None and _TOKEN.fullmatch(token) else "BadDeviceToken"


def device_state(push: Push) -> str | None:
    state = push.device.state if push.device is not None else "active"
    return {"unregistered": "Unregistered", "expired": "ExpiredToken"}.get(state)


def device_topic(push: Push) -> str | None:
    return None if push.device is None or push.arrival.topic in push.device.topics else "DeviceTokenNotForTopic"


def device_rate(push: Push) -> str | None:
    return "TooManyRequests" if push.device is not None and push.world.devices.over_rate(push.device) else None


RULES: tuple[tuple[Callable[[Push], str | None], tuple[str, ...]], ...] = (
    (method, ("MethodNotAllowed",)),
    (path, ("BadPath", "MissingDeviceToken")),
    (repeated_headers, ("DuplicateHeaders",)),
    (
        credential,
        (
            "BadCertificate",
            "MissingProviderToken",
            "InvalidProviderToken",
            "ExpiredProviderToken",
            "TooManyProviderTokenUpdates",
        ),
    ),
    (binding, ("Forbidden", "BadEnvironmentKeyInToken", "UnrelatedKeyIdInToken")),
    (topic_given, ("MissingTopic",)),
    (topic_allowed, ("BadTopic", "TopicDisallowed")),
    (push_type, ("InvalidPushType",)),
    (message_id, ("BadMessageId",)),
    (expiration, ("BadExpirationDate",)),
    (priority, ("BadPriority",)),
    (collapse_id, ("BadCollapseId",)),
    (payload, ("PayloadEmpty", "PayloadTooLarge")),
    (device_token, ("BadDeviceToken",)),
    (device_state, ("Unregistered", "ExpiredToken")),
    (device_topic, ("DeviceTokenNotForTopic",)),
    (device_rate, ("TooManyRequests",)),
)
CHECKS = tuple(check for check, _ in RULES)
