"""The control port: plain HTTP/1.1 with JSON, for whoever drives the simulator from another process, and its page."""

import asyncio
import base64
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from dataclasses import fields as policy_fields
from importlib import resources
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from .faults import KINDS
from .fields import Field, checked, required, text, whole
from .http1 import RequestReader
from .notice import notice
from .site import Answer, Policy

if TYPE_CHECKING:
    from .simulator import Simulator

_JSON = (b"content-type", b"application/json")
_HTML = (b"content-type", b"text/html; charset=utf-8")
_WAITS_S = 10.0
Fields = dict[str, Any]


class NotHere(Exception):
    """No such path."""


def _endpoints(simulator: "Simulator", _: Fields) -> object:
    return simulator.endpoints()


def _certificate(simulator: "Simulator", fields: Fields) -> object:
    file = {name: fields.pop(name) for name in ("password", "encryption", "chain") if name in fields}
    if fields.get("topics") is not None:
        fields["topics"] = tuple((str(topic), str(kind)) for topic, kind in fields["topics"])
    issued = simulator.authority.issue_push_certificate(**fields)
    return {
        # A serial number has more digits than JSON numbers keep.
        "serial_number": str(issued.serial_number),
        "p12": base64.b64encode(issued.pkcs12(**file)).decode(),
        "certificate_pem": issued.certificate_pem.decode(),
        "key_pem": issued.key_pem.decode(),
    }


def _key(simulator: "Simulator", fields: Fields) -> object:
    if fields.get("topics") is not None:
        fields["topics"] = tuple(fields["topics"])
    key = simulator.authority.issue_apns_key(**fields)
    return {"team_id": key.team_id, "key_id": key.key_id, "p8": key.p8.decode()}


def _service_account(simulator: "Simulator", fields: Fields) -> object:
    return simulator.authority.issue_service_account(**fields).as_json()


def _revoke(simulator: "Simulator", fields: Fields) -> object:
    authority = simulator.authority
    if "serial_number" in fields:
        authority.revoke_serial_number(int(fields["serial_number"]))
    elif "key_id" in fields:
        authority.revoke(authority.apns_keys[fields["key_id"]])
    elif "client_email" in fields:
        authority.revoke(authority.service_accounts[fields["client_email"]])
    else:
        raise ValueError("say what to revoke: serial_number, key_id or client_email")
    return {}


def _apns_device(simulator: "Simulator", fields: Fields) -> object:
    topics = fields.pop("topics")
    return simulator.devices.apns(fields.pop("environment"), *topics, **fields).as_json()


def _fcm_device(simulator: "Simulator", fields: Fields) -> object:
    return simulator.devices.fcm(**fields).as_json()


def _device_state(simulator: "Simulator", fields: Fields) -> object:
    online = fields.pop("online", None)
    device = simulator.devices.find(fields["token"])
    if device is not None and online is not None:
        simulator.devices.set_online(device, bool(online))
    if "state" in fields:
        device = simulator.devices.unregister(**fields)
    if device is None:
        raise ValueError("no device has this token: register it first")
    return device.as_json()


def _devices(simulator: "Simulator", _: Fields) -> object:
    return {"devices": [device.as_json() for device in simulator.devices.all()]}


def _add_fault(simulator: "Simulator", fields: Fields) -> object:
    return simulator.faults.add(**fields).as_json()


def _faults(simulator: "Simulator", _: Fields) -> object:
    kinds = [asdict(kind) for kind in KINDS.values()]
    return {"active": [fault.as_json() for fault in simulator.faults.active], "kinds": kinds}


def _drop_faults(simulator: "Simulator", fields: Fields) -> object:
    if "id" in fields:
        simulator.faults.remove(fields["id"])
    else:
        simulator.faults.reset()
    return {}


def _policy(simulator: "Simulator", fields: Fields) -> object:
    for name, value in fields.items():
        simulator.policy.set(name, value)
    return asdict(simulator.policy)


def _project(simulator: "Simulator", fields: Fields) -> object:
    project, fcm = fields["project_id"], simulator.fcm
    if "apns_credential" in fields:
        fcm.set_apns_credential(project, fields["apns_credential"])
    if "disabled" in fields:
        (fcm.disabled_projects.add if fields["disabled"] else fcm.disabled_projects.discard)(project)
    return {}


def _revoke_access_tokens(simulator: "Simulator", _: Fields) -> object:
    simulator.oauth.revoke_access_tokens()
    return {}


def _clock(simulator: "Simulator", fields: Fields) -> object:
    simulator.clock.advance(float(fields["advance_s"]))
    return {"now": simulator.clock.now()}


def _requests(simulator: "Simulator", fields: Fields) -> object:
    since, limit = fields.pop("since", 0), fields.pop("limit", 1000)
    found = [arrival for arrival in simulator.requests(**fields) if arrival.number > since]
    return {"total": len(found), "requests": [arrival.as_json() for arrival in found[:limit]]}


def _connections(simulator: "Simulator", _: Fields) -> object:
    return {"connections": [connection.as_json() for connection in list(simulator.journal.connections)]}


def _summary(simulator: "Simulator", _: Fields) -> object:
    return simulator.journal.summary() | {"duplicates": simulator.journal.duplicates()}


def _journal(simulator: "Simulator", fields: Fields) -> object:
    simulator.journal.counters_only = bool(fields["counters_only"])
    return {"counters_only": simulator.journal.counters_only}


def _reset(simulator: "Simulator", _: Fields) -> object:
    simulator.reset()
    return {}


def _live(simulator: "Simulator", fields: Fields) -> object:
    since, journal = fields.get("since", 0), simulator.journal
    arrivals = journal.since(since, fields.get("limit", 200))
    # What still waits for its answer is told again, unless it waits so long that it may wait for ever.
    young = simulator.clock.now() - _WAITS_S
    waiting = [arrival.number for arrival in arrivals if arrival.fate == "pending" and arrival.at > young]
    return {
        "started_at": simulator.started_at,
        "summary": journal.summary(),
        "faults": len(simulator.faults.active),
        "notices": [notice(arrival, simulator.devices) for arrival in arrivals if arrival.site != "oauth"],
        "last": waiting[0] - 1 if waiting else arrivals[-1].number if arrivals else since,
    }


def _help(_: "Simulator", __: Fields) -> object:
    return {
        "operations": [
            {
                "method": operation.method,
                "path": operation.path,
                "description": operation.description,
                "fields": [asdict(field) for field in operation.fields],
            }
            for operation in OPERATIONS
        ]
    }


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the control port; the fields come from the query of a GET and the JSON object of a POST."""

    method: str
    path: str
    run: Callable[["Simulator", Fields], object]
    description: str
    fields: tuple[Field, ...] = ()


_OPTIONS = dict.fromkeys(option for kind in KINDS.values() for option in kind.options)

OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", "/help", _help, "The operations with their fields."),
    Operation("GET", "/endpoints", _endpoints, "Hosts, URLs and the CA to trust."),
    Operation(
        "POST",
        "/certificates",
        _certificate,
        "Issues a push certificate; p12 is base64.",
        (
            *required("bundle_id"),
            *text("team_id", "kind", "validity", "issuer", "password", "encryption"),
            Field("valid_for_s", "a number"),
            Field("topics", "a list"),
            Field("chain", "true or false"),
        ),
    ),
    Operation(
        "POST",
        "/keys",
        _key,
        "Issues an APNs auth key.",
        (*text("team_id", "key_id", "environment"), Field("topics", "a list")),
    ),
    Operation(
        "POST",
        "/service-accounts",
        _service_account,
        "Issues a service account; the answer is its file.",
        (*required("project_id"), Field("may_send", "true or false")),
    ),
    Operation(
        "POST",
        "/revoke",
        _revoke,
        "Revokes by serial_number, key_id or client_email.",
        text("serial_number", "key_id", "client_email"),
    ),
    Operation(
        "POST",
        "/devices/apns",
        _apns_device,
        "Registers an APNs device; topics are the bundle id, with .voip for a PushKit token.",
        (
            *required("environment"),
            Field("topics", "a list", required=True),
            *text("token", "form"),
            *whole("per_minute"),
        ),
    ),
    Operation(
        "POST",
        "/devices/fcm",
        _fcm_device,
        "Registers an FCM device.",
        (*required("project_id"), *text("package", "platform", "token"), *whole("per_minute")),
    ),
    Operation(
        "POST",
        "/devices/state",
        _device_state,
        "Changes a device: lets its token die or live again, switches the phone off or on.",
        (*required("token"), *text("state"), *whole("since_ms"), Field("online", "true or false")),
    ),
    Operation("GET", "/devices", _devices, "All devices."),
    Operation(
        "POST",
        "/faults",
        _add_fault,
        "Turns a fault on: its kind, what it strikes, how often, and the options of its kind.",
        (
            *required("kind"),
            *text("site", "token", "topic"),
            *whole("times", "every"),
            Field("rate", "a number"),
            *(Field(option, "") for option in _OPTIONS),
        ),
    ),
    Operation("GET", "/faults", _faults, "The faults that are on, and the kinds there are."),
    Operation("DELETE", "/faults", _drop_faults, "Turns one fault off by id, or all.", whole("id")),
    Operation(
        "POST",
        "/policy",
        _policy,
        "Changes figures the servers go by; answers with all of them.",
        tuple(Field(each.name, "text" if each.type is str else "a number") for each in policy_fields(Policy)),
    ),
    Operation(
        "POST",
        "/projects",
        _project,
        "Breaks or mends a Firebase project.",
        (*required("project_id"), *text("apns_credential"), Field("disabled", "true or false")),
    ),
    Operation("POST", "/access-tokens/revoke", _revoke_access_tokens, "Makes every access token invalid now."),
    Operation(
        "POST", "/clock", _clock, "Moves the simulator's clock.", (Field("advance_s", "a number", required=True),)
    ),
    Operation(
        "GET",
        "/requests",
        _requests,
        "What arrived, oldest first.",
        (*text("site", "token", "topic", "reason", "fate", "apns_id"), *whole("status", "since", "limit")),
    ),
    Operation("GET", "/connections", _connections, "Connections with their tokens and stream limits."),
    Operation("GET", "/summary", _summary, "Counts, and apns-ids accepted twice."),
    Operation(
        "POST",
        "/journal",
        _journal,
        "counters_only: keep counts, not requests.",
        (Field("counters_only", "true or false", required=True),),
    ),
    Operation("POST", "/reset", _reset, "Forgets requests, devices, faults and policies."),
    Operation("GET", "/live", _live, "What the page shows, newer than since.", whole("since", "limit")),
)
_TABLE = {(operation.method, operation.path): operation for operation in OPERATIONS}


class ControlLink(asyncio.Protocol):
    """One connection to the control port."""

    def __init__(self, simulator: "Simulator") -> None:
        self._simulator = simulator
        self._target = ("", "")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._simulator.control_transports.add(transport)
        self._requests = RequestReader(self, self._on_headers, self._on_request)

    def connection_lost(self, error: Exception | None) -> None:
        self._simulator.control_transports.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._requests.receive(data)

    def send(self, data: bytes) -> None:
        self._transport.write(data)

    def finish(self, because: str) -> None:
        self._transport.close()

    def _on_headers(self, method: str, path: str, headers: list[tuple[bytes, bytes]]) -> None:
        self._target = method, path

    def _on_request(self, body: bytes) -> None:
        self._requests.answer(self._answer(*self._target, body))

    def _answer(self, method: str, target: str, body: bytes) -> Answer:
        url = urlsplit(target)
        if (method, url.path) == ("GET", "/"):
            return Answer(200, (_HTML,), resources.files(__package__).joinpath("page.html").read_bytes())
        try:
            if (method, url.path) not in _TABLE:
                raise NotHere(f"no operation {method} {unquote(url.path)}: GET /help lists all")
            operation = _TABLE[method, url.path]
            fields = checked(operation.fields, dict(parse_qsl(url.query)), _object(body) if body else {})
            return Answer(200, (_JSON,), json.dumps(operation.run(self._simulator, fields)).encode())
        except NotHere as error:
            return _failed(404, error)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return _failed(400, error)


def _object(body: bytes) -> Fields:
    try:
        value = json.loads(body)
    except ValueError as error:
        raise ValueError(f"the body is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError("the body has to be a JSON object")
    return value


def _failed(status: int, error: Exception) -> Answer:
    text = f"missing or unknown: {error}" if isinstance(error, KeyError) else str(error)
    return Answer(status, (_JSON,), json.dumps({"error": text}).encode())
