"""POST /v1/events: events in over HTTP, and the schema that every door checks."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from pushsvc.api.answers import Refused, refusals
from pushsvc.api.auth import CallingApp
from pushsvc.api.body import read_body
from pushsvc.bootstrap import Service
from pushsvc.dispatch.admit import admit
from pushsvc.domain.event import BadEvent, Event, Submitted, schema
from pushsvc.domain.explained import no_json
from pushsvc.providers.provider import Provider

MAX_EVENTS = 1000
LISTED_EVENTS = 100

EXAMPLES = {
    "message": {
        "summary": "A message waits for one user",
        "value": {
            "id": "m-81723",
            "user": "alice",
            "kind": "message",
            "message": {"id": 81723, "from": "bob", "name": "Bob", "body": "Are you coming?"},
            "expiry": 86400,
        },
    },
    "call": {
        "summary": "A call rings; it is worthless after 45 seconds",
        "value": {"id": "c-19", "user": 4711, "kind": "call", "message": {"from": "bob", "name": "Bob"}, "expiry": 45},
    },
    "several": {
        "summary": "Several events, taken all or none",
        "value": {
            "events": [{"id": "m-1", "user": "alice"}, {"id": "m-2", "user": ["bob", "carol"], "kind": "silent"}]
        },
    },
}


# An array read into a list is as large as its sender likes: 8 MiB of "1,1,1…" take 400 MiB. Of one that is read into a
# struct with room for one event too many, the rest is skipped.
_Array: Any = msgspec.defstruct(
    "_Array", [(f"event_{n}", msgspec.Raw, msgspec.Raw()) for n in range(MAX_EVENTS + 1)], array_like=True
)
_Wrapped: Any = msgspec.defstruct("_Wrapped", [("events", _Array | msgspec.UnsetType, msgspec.UNSET)])
_wrapped = msgspec.json.Decoder(_Wrapped)
_array = msgspec.json.Decoder(_Array)


def read_events(body: bytes, app_id: int, now: float, providers: Mapping[str, Provider]) -> list[Event]:
    """The events of a body; raises Refused, naming every bad one, where any cannot be taken."""
    raws = _split(body)
    if not raws:
        raise Refused(400, "BADVALUE", "there is no event in the body", "Send one event at least.", ["events"])
    if len(raws) > MAX_EVENTS:
        raise Refused(
            400, "BADVALUE", f"more events than the limit, {MAX_EVENTS}", "Send several requests.", ["events"]
        )
    taken: list[Event] = []
    refused: list[dict[str, Any]] = []
    for index, raw in enumerate(raws):
        try:
            event = admit(bytes(raw), now=now, app=app_id, make_id=str(uuid.uuid4()), providers=providers)
        except BadEvent as bad:
            refused.append(
                {"index": index, "id": _id_of(raw), "property": bad.prop, "cause": bad.cause, "cure": bad.cure}
            )
        else:
            taken.append(event)
    if refused:
        first = refused[0]
        where = f"event {first['index']}" + (f": {first['property']}" if first["property"] else "")
        raise Refused(
            400,
            "BADEVENT",
            f"{len(refused)} of {len(raws)} events are bad, none was taken; {where}: {first['cause']}",
            first["cure"],
            [f"events[{bad['index']}]" + (f".{bad['property']}" if bad["property"] else "") for bad in refused],
            refused=refused[:LISTED_EVENTS],
        )
    return taken


def _split(body: bytes) -> list[msgspec.Raw]:
    if not body.strip():
        raise Refused(400, "BADVALUE", "the body is empty", "Send one event at least.", ["events"])
    try:
        if body.lstrip()[:1] == b"[":
            return _events(_array.decode(body))
        wrapped = _wrapped.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Refused(
            400,
            "BADVALUE",
            f"the body is no JSON of events: {no_json(error)}",
            'Send one event object, an array of events, or {"events": [...]}, in UTF-8.',
        ) from None
    return [msgspec.Raw(body.strip())] if wrapped.events is msgspec.UNSET else _events(wrapped.events)


def _events(array: Any) -> list[msgspec.Raw]:
    return [raw for raw in msgspec.structs.astuple(array) if raw]


def _id_of(raw: msgspec.Raw) -> str | None:
    class Named(msgspec.Struct):
        id: str | None = None

    try:
        found = msgspec.json.decode(raw, type=Named).id
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return found[:64] if found else None


def router(service: Service) -> APIRouter:
    routes = APIRouter(tags=["events"])

    @routes.post(
        "/v1/events",
        status_code=202,
        summary="Take events: one, or up to 1000",
        response_class=JSONResponse,
        responses={
            202: {
                "description": "All events are kept durably. repeated: the id was taken before, nothing happens again.",
                "content": {"application/json": {"example": {"accepted": [{"id": "m-81723", "repeated": False}]}}},
            },
            **refusals(400, 401, 413, 429, 503),
        },
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {"schema": {"$ref": "#/components/schemas/Events"}, "examples": EXAMPLES}
                },
            }
        },
    )
    async def post_events(request: Request, app_id: CallingApp) -> JSONResponse:
        """The answer comes when the append is durable. Where one event is bad, none of the request is taken and each
        bad one is named with property, cause and cure. Sending a request again is safe: ids are taken once."""
        body = await read_body(request)
        return await run_in_threadpool(_take, body, app_id)

    def _take(body: bytes, app_id: int) -> JSONResponse:
        events = read_events(body, app_id, time.time(), service.providers)
        new = service.stream.append(events)
        accepted = [{"id": event.id, "repeated": not first} for event, first in zip(events, new, strict=True)]
        return JSONResponse({"accepted": accepted}, 202)

    @routes.get("/v1/events/schema", summary="The JSON Schema of an event", response_model=dict[str, Any])
    def get_schema() -> JSONResponse:
        """JSON Schema 2020-12; no token is needed."""
        return JSONResponse(schema(), media_type="application/schema+json")

    return routes


def schema_components() -> dict[str, Any]:
    """The event's schema as OpenAPI components, `Events` being what POST /v1/events takes."""
    (event,), components = msgspec.json.schema_components([Submitted], ref_template="#/components/schemas/{name}")
    many = {"type": "array", "items": event, "minItems": 1, "maxItems": MAX_EVENTS}
    wrapped = {"type": "object", "required": ["events"], "properties": {"events": many}}
    return {**components, "Events": {"anyOf": [event, many, wrapped]}}
