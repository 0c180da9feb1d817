"""What became of events."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from pushsvc.api.answers import Refused, refusals
from pushsvc.api.auth import CallingApp
from pushsvc.api.shapes import record_dict
from pushsvc.bootstrap import Service
from pushsvc.domain.outcome import Outcome

MAX_RECORDS = 1000
OUTCOMES = {outcome.name.lower(): outcome for outcome in Outcome}

EXAMPLE = {
    "records": [
        {
            "app_id": 1, "event_id": "m-81723", "recipient": "alice", "token_id": 12,
            "push_id": "5f0c6c0e-1c39-8d2a-a4c1-3f6b0f4c8d21", "outcome": "bad_token", "response_code": 911,
            "status": 410, "reason": "Unregistered", "cause": "Bad push token.",
            "cure": "The app has to register its new token.",
            "provider": "apns", "authority": "api.push.apple.com:443", "push_type": "alert", "priority": "10",
            "topic": "com.example.chat", "attempts": 1, "enqueued_at": 1764500000.0, "answered_at": 1764500000.04,
            "due_at": None,
        }
    ]
}  # fmt: skip


def router(service: Service) -> APIRouter:
    routes = APIRouter(tags=["records"])
    found: dict[int | str, dict[str, Any]] = {200: {"content": {"application/json": {"example": EXAMPLE}}}}

    @routes.get(
        "/v1/events/{event_id:path}", summary="What became of an event", responses=found | refusals(401, 404, 429, 503)
    )
    def of_event(event_id: str, app_id: CallingApp) -> JSONResponse:
        """One record for each device, the newest state; `token_id` is 0 for a user without a device."""
        records = service.journal.of_event(app_id, event_id)
        if not records:
            raise Refused(
                404, "NOTFOUND", "nothing is recorded of this event", "It may wait still, or be of another app.", ["id"]
            )
        return JSONResponse({"records": [record_dict(record) for record in records]})

    @routes.get("/v1/records", summary="The newest records", responses=found | refusals(400, 401, 429, 503))
    def newest(
        app_id: CallingApp,
        limit: Annotated[int, Query(ge=1, le=MAX_RECORDS)] = 100,
        outcome: Annotated[str | None, Query(description=f"One of: {', '.join(OUTCOMES)}.")] = None,
    ) -> JSONResponse:
        """Of all events of the app, newest first."""
        if outcome is not None and outcome not in OUTCOMES:
            raise Refused(
                400, "BADVALUE", f"outcome is not {outcome[:40]!r}", f"Give one of {', '.join(OUTCOMES)}.", ["outcome"]
            )
        records = service.journal.newest(app_id, limit, OUTCOMES[outcome] if outcome else None)
        return JSONResponse({"records": [record_dict(record) for record in records]})

    return routes
