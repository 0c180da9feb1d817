"""Firebase Cloud Messaging, HTTP v1: `POST /v1/projects/<project>/messages:send`."""

import json
import re
import secrets
from typing import Any

from . import fcm_schema
from .devices import Device
from .faults import Fault
from .fcm_errors import ENVELOPES, JSON, Envelope, apns, bad_request, fcm, quota
from .journal import VALIDATED, Arrival
from .oauth import OAuth
from .site import Answer, Session, Site, World

# https://firebase.google.com/docs/cloud-messaging/concept-options and .../customize-messages/set-message-type
MAX_BYTES, MAX_TOPIC_BYTES, MAX_APNS_BYTES = 4096, 2048, 4096
MAX_TTL_S = 2_419_200
TARGETS = ("token", "fid", "topic", "condition")

_PATH = re.compile(r"/v1/projects/([^/]+)/messages:send")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{22}:APA91b[A-Za-z0-9_-]{110,160}")
_TOPIC = re.compile(r"[a-zA-Z0-9\-_.~%]{1,900}")
_LABEL = re.compile(r"[a-zA-Z0-9\-_.~%]{1,50}")
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")
# Why a project's own APNs key does not work -> how FCM says it.
APNS_CREDENTIALS = {
    "invalid": "THIRD_PARTY_AUTH_ERROR",
    "missing": "third-party-auth-misleading",
    "wrong-environment": "third-party-auth-environment",
}


class Refused(Exception):
    """Ends a judgement with an envelope; `name` is what the journal calls it."""

    def __init__(self, name: str, envelope: Envelope | None = None) -> None:
        super().__init__(name)
        self.name = name
        self.envelope = envelope or ENVELOPES[name]


class Fcm(Site):
    """Judges in this order: access, project, JSON, target, data, ttl, size, token, package, sender, state, quota."""

    name = "fcm"
    # Google serves HTTP/1.1 as well, and its own libraries use it.
    alpn = ("h2", "http/1.1")

    def __init__(self, world: World, oauth: OAuth) -> None:
        super().__init__(world)
        self._oauth = oauth
        self._minute = 0
        self._in_minute: dict[str, int] = {}
        # Project -> what is wrong with the APNs key in its Firebase console (see APNS_CREDENTIALS); absent: nothing.
        self.apns_credentials: dict[str, str] = {}
        self.disabled_projects: set[str] = set()

    def accepted(self, arrival: Arrival) -> None:
        """Nothing is kept of it."""

    def locate(self, arrival: Arrival) -> None:
        found = _PATH.fullmatch(arrival.path)
        arrival.topic = found.group(1) if found else ""
        try:
            sent = json.loads(arrival.body) if arrival.body else {}
            arrival.token = str(sent["message"].get("token") or "")
        except (ValueError, KeyError, TypeError, AttributeError):
            arrival.token = ""

    def answer(self, session: Session, arrival: Arrival) -> Answer:
        try:
            name, validated_only = self._judge(arrival)
        except Refused as refused:
            return refused.envelope.answer(refused.name)
        body = json.dumps({"name": name}, indent=2).encode() + b"\n"
        return Answer(200, (JSON,), body, VALIDATED if validated_only else "")

    def fault_answer(self, fault: Fault, arrival: Arrival) -> Answer:
        options = fault.options
        if fault.kind.name == "empty-error-body":
            return Answer(int(options["status"]), (JSON,))
        if fault.kind.name == "gone-without-body":
            return Answer(410, (JSON,))
        name = "UNAVAILABLE" if fault.kind.name == "shutdown" else str(options["reason"])
        # APNs' word is the default of the switch; any other unknown one is sent as an error code that nobody knows.
        name = "INTERNAL" if name == "InternalServerError" else name
        status = int(options.get("status") or 400)
        answer = (ENVELOPES.get(name) or Envelope(status, "UNKNOWN", "Unknown.", (fcm(name),))).answer(name)
        if options.get("retry_after") is not None:
            answer.headers = (*answer.headers, (b"retry-after", str(options["retry_after"]).encode()))
        return answer

    def stalled(self, arrival: Arrival) -> Answer:
        return Envelope(408, "", "The client did not send its request in time.").answer("request-timeout")

    def set_apns_credential(self, project_id: str, wrong: str | None) -> None:
        """Breaks a project's APNs key in the Firebase console (invalid, missing, wrong-environment); None mends it."""
        if wrong is None:
            self.apns_credentials.pop(project_id, None)
        elif wrong in APNS_CREDENTIALS:
            self.apns_credentials[project_id] = wrong
        else:
            raise ValueError(f"unknown APNs credential {wrong!r}: use one of {', '.join(APNS_CREDENTIALS)} or null")

    def reset(self) -> None:
        self._in_minute.clear()
        self.apns_credentials.clear()
        self.disabled_projects.clear()

    def _judge(self, arrival: Arrival) -> tuple[str, bool]:
        found = _PATH.fullmatch(arrival.path)
        if found is None or arrival.method != "POST":
            raise Refused("html-404")
        project = found.group(1)
        self._check_access(arrival, project)
        request = self._read(arrival.body)
        message = request.get("message", {})
        kind = self._check_target(message)
        self._check_fields(message, kind)
        device = self._check_device(message, kind, project)
        self._check_rates(device, project)
        if request.get("validate_only"):
            return f"projects/{project}/messages/fake_message_id", True
        return f"projects/{project}/messages/0:{int(self.world.clock.now() * 1e6)}%{secrets.token_hex(8)}", False

    def _check_access(self, arrival: Arrival, project: str) -> None:
        given = arrival.headers.get("authorization")
        if given is None:
            raise Refused("credential-missing")
        access = self._oauth.access(given)
        if access is None:
            raise Refused("credential-invalid")
        if project not in {account.project_id for account in self.world.authority.service_accounts.values()}:
            raise Refused("project-not-found")
        if project in self.disabled_projects:
            raise Refused("service-disabled")
        if access.account.project_id != project or not access.account.may_send:
            raise Refused("permission-denied")

    @staticmethod
    def _read(body: bytes) -> dict[str, Any]:
        try:
            return fcm_schema.read(json.loads(body or b"{}"))
        except fcm_schema.SchemaError as error:
            text = "\n".join(description for _, description in error.violations)
            details = bad_request(*error.violations)
            raise Refused("bad-request", Envelope(400, "INVALID_ARGUMENT", text, (details,))) from None
        except ValueError:
            text = "Invalid JSON payload received. Unexpected token."
            raise Refused("bad-json", Envelope(400, "INVALID_ARGUMENT", text, (bad_request(("", text)),))) from None

    @staticmethod
    def _check_target(message: dict[str, Any]) -> str:
        targets = [name for name in TARGETS if message.get(name)]
        if not targets:
            raise _invalid("message", "Recipient of the message is not set.")
        if len(targets) > 1:
            text = f"Invalid value at 'message' (oneof), oneof field 'target' is already set. Cannot set '{targets[1]}'"
            details = bad_request(("message", text))
            raise Refused("bad-request", Envelope(400, "INVALID_ARGUMENT", text, (details,)))
        return targets[0]

    def _check_fields(self, message: dict[str, Any], kind: str) -> None:
        android = message.get("android", {})
        for path, data in (
            ("message.data", message.get("data", {})),
            ("message.android.data", android.get("data", {})),
        ):
            for key in data:
                if key in ("from", "message_type") or key.startswith(("google", "gcm")):
                    raise _invalid(path, f"Invalid data payload key: {key}")
        for config in ("android", "android_v2"):
            ttl = message.get(config, {}).get("ttl")
            if ttl is not None and not 0 <= float(ttl[:-1]) <= MAX_TTL_S:
                raise _invalid(f"message.{config}.ttl", "Invalid time to live: it must be 0 to 2419200 seconds")
        self._check_looks(message, android)
        limit = MAX_TOPIC_BYTES if kind in ("topic", "condition") else MAX_BYTES
        if _size(message) > limit:
            raise Refused("bare-invalid-argument")
        if kind == "topic" and not _TOPIC.fullmatch(message["topic"]):
            raise _invalid("message.topic", "Malformed topic name")
        if kind == "condition" and message["condition"].count(" in topics") not in range(1, 6):
            raise _invalid("message.condition", "Invalid condition expression provided.")

    @staticmethod
    def _check_looks(message: dict[str, Any], android: dict[str, Any]) -> None:
        notification = android.get("notification", {})
        if "color" in notification and not _COLOR.fullmatch(notification["color"]):
            raise _invalid("message.android.notification.color", "Invalid color: use the form #rrggbb")
        for part in ("title", "body"):
            if f"{part}_loc_args" in notification and f"{part}_loc_key" not in notification:
                raise _invalid(f"message.android.notification.{part}_loc_args", f"{part}_loc_key is required")
        light = notification.get("light_settings")
        if light is not None and not {"color", "light_on_duration", "light_off_duration"} <= light.keys():
            raise _invalid("message.android.notification.light_settings", "All light settings are required")
        link = message.get("webpush", {}).get("fcm_options", {}).get("link")
        if link is not None and not link.startswith("https://"):
            raise _invalid("message.webpush.fcm_options.link", "The link must be an https URL")
        for config in (message, android, message.get("apns", {}), message.get("webpush", {})):
            label = config.get("fcm_options", {}).get("analytics_label")
            if label is not None and not _LABEL.fullmatch(label):
                raise _invalid("message.fcm_options.analytics_label", "Invalid analytics label")

    def _check_device(self, message: dict[str, Any], kind: str, project: str) -> Device | None:
        if kind in ("topic", "condition"):
            return None
        if kind == "token":
            if not _TOKEN.fullmatch(message["token"]):
                raise Refused("invalid-token")
            device = self.world.devices.fcm_tokens.get(message["token"])
        else:
            device = self.world.devices.by_fid(message["fid"])
        if device is None:
            raise Refused("UNREGISTERED")
        package = message.get("android", {}).get("restricted_package_name")
        if package is not None and device.platform == "android" and package not in device.topics:
            raise _invalid("message.android.restricted_package_name", "The package name does not match the token's")
        if device.home != project:
            raise Refused("SENDER_ID_MISMATCH")
        if device.state != "active":
            raise Refused("ios-unregistered" if device.platform == "ios" else "UNREGISTERED")
        if device.platform == "ios":
            self._check_ios(message, project)
        return device

    def _check_ios(self, message: dict[str, Any], project: str) -> None:
        wrong = self.apns_credentials.get(project)
        if wrong is not None:
            raise Refused(APNS_CREDENTIALS[wrong])
        config = message.get("apns", {})
        payload = config.get("payload", {})
        if len(json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()) > MAX_APNS_BYTES:
            details = (fcm("INVALID_ARGUMENT"), apns(413, "PayloadTooLarge"))
            raise Refused("ios-payload-too-large", Envelope(400, "INVALID_ARGUMENT", "Payload too large.", details))
        aps = payload.get("aps", {})
        visible = "notification" in message or (isinstance(aps, dict) and {"alert", "badge", "sound"} & aps.keys())
        headers = {name.lower(): value for name, value in config.get("headers", {}).items()}
        if not visible and headers.get("apns-push-type", "background") == "background":
            priority = headers.get("apns-priority")
            if priority not in (None, "5"):
                raise _invalid("message.apns.headers", "Data messages to iOS allow apns-priority 5 only")
        if headers.get("apns-priority", "10") not in ("10", "5", "1"):
            details = (fcm("INVALID_ARGUMENT"), apns(400, "BadPriority"))
            raise Refused("ios-bad-priority", Envelope(400, "INVALID_ARGUMENT", "BadPriority", details))

    def _check_rates(self, device: Device | None, project: str) -> None:
        policy, minute = self.world.policy, int(self.world.clock.now()) // 60
        if minute != self._minute:
            self._minute, self._in_minute = minute, {}
        self._in_minute[project] = self._in_minute.get(project, 0) + 1
        over_project = self._in_minute[project] > policy.project_per_minute
        over_device = device is not None and self.world.devices.over_rate(device, policy.device_per_hour)
        if over_project or over_device:
            subject = f"project:{project}" if over_project else "device"
            details = (fcm("QUOTA_EXCEEDED"), quota(subject, "Message rate exceeded."))
            raise Refused("QUOTA_EXCEEDED", Envelope(429, "RESOURCE_EXHAUSTED", "Quota exceeded.", details))


def _invalid(field: str, text: str) -> Refused:
    details = (fcm("INVALID_ARGUMENT"), bad_request((field, text)))
    return Refused("INVALID_ARGUMENT", Envelope(400, "INVALID_ARGUMENT", text, details))


def _size(message: dict[str, Any]) -> int:
    """Bytes of the payload: keys and values of the data, and the texts of the notification."""
    android = message.get("android", {})
    data = android.get("data") or message.get("data", {})
    total = sum(len(key.encode()) + len(value.encode()) for key, value in data.items())
    for notification in (message.get("notification", {}), android.get("notification", {})):
        total += sum(len(key) + len(value.encode()) for key, value in notification.items() if isinstance(value, str))
    return total
