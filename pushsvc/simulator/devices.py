"""The phones: which tokens exist, in which environment or project, for which topics, and in what state."""

import secrets
import string
from dataclasses import dataclass, field

from .clock import Clock

APNS_ENVIRONMENTS = ("production", "sandbox")
PLATFORMS = ("ios", "android", "web")
STATES = ("active", "unregistered", "expired")

# Bytes of an APNs token: a device's is 32 today, a Live Activity's is longer (160 to 200 hex digits are seen).
_TOKEN_BYTES = {"device": 32, "liveactivity": 80}
_FCM_ALPHABET = string.ascii_letters + string.digits + "_-"


def make_apns_token(form: str = "device") -> str:
    """A token of the right form that nobody knows; `form` is device or liveactivity."""
    return secrets.token_hex(_TOKEN_BYTES[form])


def make_fcm_token() -> str:
    """A well-formed FCM registration token that nobody knows: 22 characters, `:APA91b`, 134 characters."""

    def letters(count: int) -> str:
        return "".join(secrets.choice(_FCM_ALPHABET) for _ in range(count))

    return f"{letters(22)}:APA91b{letters(134)}"


@dataclass(slots=True, eq=False)
class Device:
    """One app on one phone.

    `home` is an APNs environment or a Firebase project; `topics` are APNs topics or, for FCM, the package or bundle id.
    `since_ms` says when the token died; `per_minute` is how many pushes a minute it takes before 429 (None: no limit).
    """

    provider: str
    home: str
    token: str = field(repr=False)
    topics: tuple[str, ...]
    platform: str
    state: str = "active"
    since_ms: int = 0
    per_minute: int | None = None
    online: bool = True
    minute: int = 0
    in_minute: int = 0
    hour: int = 0
    in_hour: int = 0
    # For a phone that is off, APNs keeps the newest push of each topic: topic -> number of the request.
    stored: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self.__slots__}


class Devices:
    """The token tables of all servers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.apns_tokens: dict[str, dict[str, Device]] = {name: {} for name in APNS_ENVIRONMENTS}
        self.fcm_tokens: dict[str, Device] = {}

    def apns(
        self,
        environment: str,
        *topics: str,
        token: str | None = None,
        form: str = "device",
        per_minute: int | None = None,
    ) -> Device:
        """Registers an Apple device for its topics (bundle id, with `.voip` for a PushKit token)."""
        device = Device("apns", environment, token or make_apns_token(form), topics, "ios", per_minute=per_minute)
        self.apns_tokens[environment][device.token.lower()] = device
        return device

    def fcm(
        self,
        project_id: str,
        package: str = "com.example.chat",
        *,
        platform: str = "android",
        token: str | None = None,
        per_minute: int | None = 240,
    ) -> Device:
        """Registers a Firebase device; 240 pushes a minute is Google's published limit for one Android device."""
        if platform not in PLATFORMS:
            raise ValueError(f"unknown platform {platform!r}: use one of {', '.join(PLATFORMS)}")
        device = Device("fcm", project_id, token or make_fcm_token(), (package,), platform, per_minute=per_minute)
        self.fcm_tokens[device.token] = device
        return device

    def find(self, token: str) -> Device | None:
        """The device of a token, wherever it is registered."""
        for environment in APNS_ENVIRONMENTS:
            if found := self.apns_tokens[environment].get(token.lower()):
                return found
        return self.fcm_tokens.get(token)

    def by_fid(self, fid: str) -> Device | None:
        """The Firebase device of an installation id, which is the first part of its registration token."""
        return next((device for token, device in self.fcm_tokens.items() if token.startswith(fid + ":")), None)

    def unregister(self, token: str, state: str = "unregistered", since_ms: int | None = None) -> Device:
        """Lets a token die (unregistered, expired) or live again (active); `since_ms` defaults to now."""
        device = self.find(token)
        if device is None:
            raise KeyError("no device has this token: register it first")
        if state not in STATES:
            raise ValueError(f"unknown state {state!r}: use one of {', '.join(STATES)}")
        device.state = state
        device.since_ms = int(self._clock.now() * 1000) if since_ms is None else since_ms
        return device

    def set_online(self, device: Device, online: bool) -> None:
        """Switches a phone off, or on again: what was stored for it is then delivered and forgotten."""
        device.online = online
        if online:
            device.stored.clear()

    def over_rate(self, device: Device, per_hour: int | None = None) -> bool:
        """Counts one push; True when the device has had its share of this minute or hour."""
        if device.per_minute is None:
            return False
        now = int(self._clock.now())
        if device.minute != now // 60:
            device.minute, device.in_minute = now // 60, 0
        if device.hour != now // 3600:
            device.hour, device.in_hour = now // 3600, 0
        device.in_minute += 1
        device.in_hour += 1
        return device.in_minute > device.per_minute or (per_hour is not None and device.in_hour > per_hour)

    def all(self) -> list[Device]:
        return [d for table in (*self.apns_tokens.values(), self.fcm_tokens) for d in list(table.values())]

    def reset(self) -> None:
        for table in (*self.apns_tokens.values(), self.fcm_tokens):
            table.clear()
