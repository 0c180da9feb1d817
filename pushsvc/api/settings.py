"""An app's settings."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from pushsvc.api.answers import Refused, refusals
from pushsvc.api.auth import CallingApp
from pushsvc.api.body import read_body
from pushsvc.bootstrap import Service
from pushsvc.domain.app import Settings

MAX_BYTES = 65_536
EXAMPLE = msgspec.to_builtins(Settings(background=False, sound="ping.caf", min_interval_s=30))


def schema_components() -> dict[str, Any]:
    """The settings as OpenAPI components."""
    _, components = msgspec.json.schema_components([Settings], ref_template="#/components/schemas/{name}")
    return dict(components)


def router(service: Service) -> APIRouter:
    routes = APIRouter(tags=["settings"])
    shown: dict[int | str, dict[str, Any]] = {
        200: {
            "description": "All settings, as they are in force within 2 seconds.",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Settings"}, "example": EXAMPLE}},
        }
    }

    @routes.get("/v1/settings", summary="Show the settings", responses=shown | refusals(401, 429, 503))
    def show(app_id: CallingApp) -> JSONResponse:
        return JSONResponse(msgspec.to_builtins(service.apps.get(app_id).app.settings))

    @routes.patch(
        "/v1/settings",
        summary="Change some settings",
        responses=shown | refusals(400, 401, 413, 429, 503),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": {"$ref": "#/components/schemas/Settings"},
                        "example": {"background": False, "sound": "ping.caf", "min_interval_s": 30},
                    }
                },
            }
        },
    )
    async def change(request: Request, app_id: CallingApp) -> JSONResponse:
        """What is not named stays as it is; null takes a setting back to its default."""
        body = await read_body(request, MAX_BYTES)
        try:
            changes = msgspec.json.decode(body, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise Refused(400, "BADVALUE", f"the body is no JSON object: {str(error)[:200]}", "Send one.") from None
        settings = await run_in_threadpool(service.apps.change_settings, app_id, changes)
        return JSONResponse(msgspec.to_builtins(settings))

    return routes
